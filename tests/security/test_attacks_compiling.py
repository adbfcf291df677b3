"""A package attacks whoever installs it through the compiler of its modules, before anybody approved it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from mpp_exec.lifecycle.compiling import compile_ahead
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.manifest import Tool
from mpp_exec.registry.records import Installed
from mpp_exec.sandbox import bytecode
from mpp_exec.sandbox.cache import SandboxCache
from stage import NAME, OPEN, Stage

CODE = b"def run():\n    return 1\n" + b"# " + b"x" * bytecode.WORTH + b"\n"


def nested(levels: int) -> bytes:
    """A function whose code doubles with each of *levels*: the body of a finally is there twice."""
    lines = ["def f():"]
    for level in range(1, levels + 1):
        lines += [" " * level + "try:", " " * level + " y", " " * level + "finally:"]
    return "\n".join([*lines, " " * (levels + 1) + "x", ""]).encode()


FOLDED = b"".join(b"a = '%04x' * 1024\n" % number for number in range(2000))
GROWING = {"finally in finally": nested(13), "folded constants": FOLDED}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def install(stage: Stage, files: dict[str, bytes]) -> Installed:
    tool = Tool(name="run", description="", input_schema=OPEN, entry="code:run")
    installed, signed = stage.install(forge.package_of({"code.py": CODE, **files}, tools=(tool,)))
    stage.approve(signed)
    with Session(stage.home) as session:
        compile_ahead(session, installed)
    return installed


def kept(stage: Stage) -> list[Path]:
    return sorted((stage.home / "cache").glob("modules-*"))


@pytest.mark.parametrize("source", GROWING.values(), ids=GROWING.keys())
def test_source_that_grows_when_it_is_compiled(stage: Stage, source: bytes) -> None:
    install(stage, {"grows.py": source})
    size = len(source) + len(CODE)
    assert sum(file.stat().st_size for file in kept(stage)) <= 8 * size + (64 << 10)
    assert stage.runtime.call(NAME).structured == {"result": 1}


def test_source_that_keeps_the_compiler_busy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an end of it these are minutes: each level doubles what the one before took."""
    files = {f"m{number}.py": nested(16) for number in range(6)}
    assert bytecode._limits(len(CODE) + sum(map(len, files.values()))).wall_ms <= 5_000
    assert bytecode._limits(bytecode.MOST).wall_ms <= 60_000
    monkeypatch.setattr(bytecode, "_CPU_MS", 500)
    began = os.times().children_user
    install(stage, files)
    assert os.times().children_user - began < 3
    assert kept(stage) == []


def test_interpreter_that_changes_leaves_one_archive(stage: Stage) -> None:
    installed = install(stage, {})
    cache = stage.home / "cache"
    (first,) = kept(stage)
    digest, _, key = first.name.rpartition("-")
    first.rename(cache / f"{digest}-{key[::-1]}")  # of what the interpreter was before
    with Session(stage.home) as session:
        compile_ahead(session, installed)
    assert kept(stage) == [first]


def test_killed_writer_leaves_nothing_for_ever(stage: Stage) -> None:
    cache = stage.home / "cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    left, current = cache / "tmpabcdefgh", cache / "tmpijklmnop"
    for path in (left, current):
        path.write_bytes(bytes(1024))
    os.utime(left, (0, 0))
    SandboxCache(cache).forget_modules([])
    assert (left.exists(), current.exists()) == (False, True)
