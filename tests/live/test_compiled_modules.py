"""The modules of a Python package are compiled when it is installed, in a sandbox, and loaded from that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import forge
from mpp_exec.lifecycle import installing
from mpp_exec.lifecycle.compiling import compile_ahead
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.manifest import Tool
from mpp_exec.registry.records import Installed
from mpp_exec.sandbox import bytecode
from mpp_exec.sandbox.cache import SandboxCache
from stage import NAME, OPEN, Stage

LONG = "# " + "x" * bytecode.WORTH + "\n"
CODE = """
import inspect, sys
from inner import thing
def run():
    return {
        "value": thing.VALUE,
        "loaders": [type(sys.modules[name].__loader__).__name__ for name in ("code", "inner", "inner.thing")],
        "source": inspect.getsource(thing.function),
        "files": [sys.modules["inner"].__file__, thing.function.__code__.co_filename],
        "open": len(__import__("os").listdir("/dev/fd")) if __import__("os").path.exists("/dev/fd") else 0,
    }
"""
THING = "VALUE = 1\ndef function():\n    return 2\n"
FILES = {
    "code.py": (CODE + LONG).encode(),
    "inner/__init__.py": b"",
    "inner/thing.py": THING.encode(),
    "inner/broken.py": b"def (:\n",
    "inner/deep.py": b"(" * 5000 + b")" * 5000,
    "inner/nul.py": b"x = '\0'\n",
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def install(stage: Stage, files: dict[str, bytes], **changes: Any) -> Installed:
    tool = Tool(name="run", description="", input_schema=OPEN, entry="code:run")
    installed, signed = stage.install(forge.package_of(files, tools=(tool,), **changes))
    stage.approve(signed)
    return installed


def compile_for(stage: Stage, installed: Installed) -> None:
    with Session(stage.home) as session:
        compile_ahead(session, installed)


def kept(stage: Stage) -> list[Path]:
    return sorted((stage.home / "cache").glob("modules-*"))


def seen(stage: Stage) -> Any:
    structured = stage.runtime.call(NAME).structured
    assert structured is not None
    return structured


@pytest.mark.parametrize("parked", [False, True])
def test_tool_runs_from_what_was_compiled(stage: Stage, parked: bool) -> None:
    compile_for(stage, install(stage, FILES))
    assert len(kept(stage)) == 1
    plain = [seen(stage) for _ in range(4 if parked else 1)][-1]
    assert plain["loaders"] == ["Compiled"] * 3
    assert plain["source"] == THING[len("VALUE = 1\n") :]
    kept(stage)[0].unlink()
    seen_without = seen(stage)
    assert seen_without["loaders"] == ["SourceFileLoader"] * 3
    assert {**plain, "loaders": 0} == {**seen_without, "loaders": 0}


def test_little_is_not_compiled_ahead(stage: Stage) -> None:
    compile_for(stage, install(stage, {**FILES, "code.py": CODE.encode(), "inner/deep.py": b""}))
    assert kept(stage) == []


def test_what_was_changed_in_the_cache_is_not_run(stage: Stage) -> None:
    """Between two calls of one process, and before the first of another."""
    compile_for(stage, install(stage, FILES))
    assert seen(stage)["loaders"] == ["Compiled"] * 3
    file = kept(stage)[0]
    whole = file.read_bytes()
    # The constant that the module has, as marshal writes it, becomes another one.
    at = whole.index(b"VALUE")
    forged = bytearray(whole)
    forged[at : at + 5] = b"value"
    before = file.stat()
    file.write_bytes(forged)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    changed = seen(stage)
    assert changed["loaders"] == ["SourceFileLoader"] * 3
    assert changed["value"] == 1
    plans = stage.runtime._open().preparer._kept
    made = list(plans.values())
    assert seen(stage)["value"] == 1
    assert list(plans.values()) == made, "what is no good is looked at, and does not make each call the first"


def test_update_is_not_run_from_what_was_compiled_before(stage: Stage) -> None:
    compile_for(stage, install(stage, FILES))
    first = kept(stage)
    new = {**FILES, "inner/thing.py": THING.replace("1", "3").encode()}
    installed = install(stage, new, version="1.0.1")
    assert seen(stage)["value"] == 3
    compile_for(stage, installed)
    assert len(kept(stage)) == 1
    assert kept(stage) != first, "what is installed no more is forgotten"
    again = seen(stage)
    assert (again["value"], again["loaders"]) == (3, ["Compiled"] * 3)


def test_files_that_change_while_they_are_compiled_leave_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(stage, FILES)
    place = stage.home / "packages"
    thing = next(place.glob("*/files/inner/thing.py"))

    def compile_another(*given: Any) -> bytes:
        thing.chmod(0o644)
        thing.write_text(THING.replace("1", "7"))
        try:
            return bytecode.compile_modules(*given)
        finally:
            thing.write_text(THING)

    monkeypatch.setattr("mpp_exec.lifecycle.compiling.compile_modules", compile_another)
    compile_for(stage, installed)
    assert kept(stage) == []


def test_package_that_is_uninstalled_before_what_was_compiled_is_kept_leaves_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(stage, FILES)

    keep = SandboxCache.keep_modules

    def uninstall_and_keep(cache: SandboxCache, *given: Any) -> None:
        with Session(stage.home) as other:
            installing.uninstall(other, NAME)
        keep(cache, *given)

    monkeypatch.setattr(SandboxCache, "keep_modules", uninstall_and_keep)
    compile_for(stage, installed)
    assert kept(stage) == []


def test_compiler_that_does_not_end_leaves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_LIMITS", replace(bytecode._LIMITS, wall_ms=1))
    compile_for(stage, install(stage, FILES))
    assert kept(stage) == []
    assert seen(stage)["value"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b'{"value":1}',
        b'{"value":{"magic":1,"modules":{"code.py":"*"}}}',
        b'{"value":{"modules":[]}}',
    ],
)
def test_answer_that_is_none(answer: bytes) -> None:
    assert bytecode._answered(answer) is None
