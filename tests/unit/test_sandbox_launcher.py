"""The launcher of Python tools: as bytecode, and with and without the C part of ``json``."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from mpp_exec.errors import HostError
from mpp_exec.sandbox import interpreter, launcher
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.interpreter import HostFile, Program

OWN = os.path.realpath(interpreter.own_interpreter())


def program(executable: str) -> Program:
    return Program("python", "3.11", "/python/bin/python3", (HostFile(executable, "/x"),), (), ())


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(body: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


class TestBytecode:
    def test_it_is_what_an_interpreter_runs(self) -> None:
        made = launcher.compiled(program(OWN))
        assert made.startswith(importlib.util.MAGIC_NUMBER)
        assert isinstance(marshal.loads(made[16:]), CodeType)

    def test_another_interpreter_compiles_it_itself(self, script: Callable[[str], str]) -> None:
        theirs, own = (launcher.compiled(program(path)) for path in (script(f'exec {OWN} "$@"'), OWN))
        assert theirs[:16] == own[:16]
        assert marshal.loads(theirs[16:]) == marshal.loads(own[16:])

    @pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "true"])
    def test_one_that_cannot_is_refused(self, script: Callable[[str], str], body: str) -> None:
        with pytest.raises(HostError) as caught:
            launcher.compiled(program(script(body)))
        assert caught.value.code == "host.launcher"

    def test_it_is_compiled_once_for_a_home(self, tmp_path: Path, script: Callable[[str], str]) -> None:
        other = program(script(f'exec {OWN} "$@"'))
        first = SandboxCache(tmp_path / "cache").launcher(other)
        script("exit 1")
        assert SandboxCache(tmp_path / "cache").launcher(other) == first
        with pytest.raises(HostError):
            SandboxCache(tmp_path / "another").launcher(other)


TOOL = """
import math
VALUES = {
    "plain": {"a": [1, 2.5, None, True, -0.0, 10**30], "": {}},
    "characters": "\\u00e9\\u2028\\x00\\x1f\\"\\\\\\U0001f600",
    "keys": {1: "a", None: "b", True: "c", 2.5: "d"},
    "nan": math.nan,
    "surrogate": "\\udc80",
    "object": object,
    "tuple": (1, (2,)),
}
CIRCLE = []
CIRCLE.append(CIRCLE)
VALUES["circle"] = CIRCLE
def run(name, **more):
    if name == "raise":
        raise OSError(2, "no \\udc80 \\u00e9", "a\\udc80b")
    return more or VALUES[name]
"""


def alone(folder: Path, request: bytes, *, blocked: bool) -> tuple[bytes, int]:
    """Run the launcher outside of a sandbox, on a tool of this test's."""
    path = str(folder / "launch.py")
    begin = "import sys; sys.modules['_json'] = None\n" if blocked else "import sys\n"
    begin += f"sys.argv = ['launch.py', 'tool:run', {str(folder)!r}]\n"
    begin += f"__file__ = {path!r}\nexec(compile(open(__file__).read(), __file__, 'exec'))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", begin], input=request, capture_output=True, check=False
    )
    return done.stdout, done.returncode


class TestJson:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        shutil.copy(Path(launcher.FOLDER, "launch.py"), tmp_path)
        (tmp_path / "_seal.py").write_text("def seal(program): pass\n")
        (tmp_path / "seal.bpf").write_bytes(b"")
        (tmp_path / "tool.py").write_text(TOOL)
        return tmp_path

    @pytest.mark.parametrize(
        "name",
        ["plain", "characters", "keys", "nan", "surrogate", "object", "tuple", "circle", "raise"],
    )
    def test_its_answers_are_those_of_json(self, folder: Path, name: str) -> None:
        request = json.dumps({"arguments": {"name": name}}).encode()
        first, second = (alone(folder, request, blocked=blocked) for blocked in (False, True))
        if name == "nan":  # without the C part json names it
            second = second[0].replace(b": nan", b""), second[1]
        assert first == second
        assert first[1] == 0
        assert set(json.loads(first[0])) == (
            {"value"} if name in ("plain", "characters", "keys", "tuple") else {"error"}
        )

    def test_arguments_are_those_of_json(self, folder: Path) -> None:
        more = {"name": "", "a": [1, -2.5e3, None, {"b": "\u00e9\U0001f600\n\udc80"}], "c": 10**20}
        for request in (json.dumps({"arguments": more}), f" \n{json.dumps({'arguments': more})}\t"):
            answer, _ = alone(folder, request.encode(), blocked=False)
            assert alone(folder, request.encode(), blocked=True)[0] == answer

    def test_neither_re_nor_enum_is_imported(self, folder: Path) -> None:
        (folder / "tool.py").write_text("import sys\ndef run():\n    return sorted(sys.modules)\n")
        modules = json.loads(alone(folder, b'{"arguments":{}}', blocked=False)[0])["value"]
        assert not {"re", "enum", "json", "contextlib", "functools", "typing"} & set(modules)
