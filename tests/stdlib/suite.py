"""CPython's own tests, inside a sandbox and outside of it, and the list of what must differ.

``expected.toml`` holds, for each module, what does not end inside as it does outside, and why. Outside is the
same interpreter with the same flags, an unprivileged user and an empty temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from sandbox_lab import CACHE, Lab, answer, install, run

HERE = Path(__file__).parent
FETCHED = HERE.parents[1] / ".cpython-tests"
# What some tests need on purpose; that ordinary programs do with the defaults is tested elsewhere.
LIMITS = Limits(
    wall_ms=300_000,
    cpu_ms=400_000,
    memory=2 << 30,
    processes=200,
    open_files=512,
    output=8 << 20,
    scratch=1 << 30,
)
Ended = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """Tests that pass outside and inside end ``how``, saying something with ``shows``, because ``why``."""

    why: str
    how: str
    shows: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """What must differ in one module; ``left_out`` are patterns of tests that are run on neither side."""

    differences: tuple[Difference, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def expected() -> tuple[str, dict[str, Expected]]:
    """Return the version of Python that the list is for, and the list by module."""
    document: dict[str, Any] = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))
    modules = {
        name: Expected(
            tuple(
                Difference(row["why"], row["how"], row["shows"], tuple(row["tests"]))
                for row in module.get("differs", [])
            ),
            module.get("left_out", {}),
        )
        for name, module in document["modules"].items()
    }
    return document["python"], modules


class Bench:
    """The tests as a package, and as a folder that an unprivileged user can read. A context manager."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.python = CACHE.program(Requirement("python", ">=3.11"))
        self.folder = Path(tempfile.mkdtemp(prefix="mpp-cpython-", dir="/var/tmp"))
        self.app = self.folder / "app"

    def __enter__(self) -> Self:
        self.folder.chmod(0o755)
        install(self.app, {"tool.py": (HERE / "conformance.py").read_bytes()})
        shutil.copytree(FETCHED / "test", self.app / "vendor" / "test")
        for path in (self.app / "vendor", *(self.app / "vendor").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def inside(self, module: str, left_out: Sequence[str], only: Sequence[str] | None) -> Ended:
        """Run the tests of *module* as a tool."""
        compiled = self.lab.installed(self.app, path=("vendor",), limits=LIMITS)
        done = run(compiled, json.dumps({"arguments": _arguments(module, left_out, only)}).encode())
        document = answer(done)
        assert "value" in document, document
        return {name: (how, why) for name, (how, why) in document["value"].items()}

    def outside(self, module: str, left_out: Sequence[str], only: Sequence[str] | None) -> Ended:
        """Run the tests of *module* as a program: without a sandbox, and as nobody in particular."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            Path(scratch).chmod(0o777)
            other: dict[str, Any] = {"user": 1000, "group": 1000, "extra_groups": []}
            done = subprocess.run(
                [
                    *(self.python.files[0].source, "-I", "-S", "-B"),
                    *(self.app / "tool.py", self.app / "vendor"),
                ],
                input=json.dumps(_arguments(module, left_out, only)).encode(),
                capture_output=True,
                check=True,
                cwd=scratch,
                env={"PATH": "/usr/bin:/bin", "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8"},
                timeout=LIMITS.wall_ms / 1000,
                **(other if os.geteuid() == 0 else {}),
            )
        return {name: (how, why) for name, (how, why) in json.loads(done.stdout).items()}

    def compare(self, module: str, wanted: Expected) -> list[str]:
        """Return what is not as the list says; CPython's tests depend on time, so that is asked twice."""
        left_out = list(wanted.left_out)
        first = disagreements(
            self.outside(module, left_out, None), self.inside(module, left_out, None), wanted
        )
        if not first:
            return []
        names = list(first)
        again = disagreements(
            self.outside(module, left_out, names), self.inside(module, left_out, names), wanted
        )
        return sorted(text for name, text in again.items() if name in first)


def _arguments(module: str, left_out: Sequence[str], only: Sequence[str] | None) -> dict[str, Any]:
    return {"module": module, "left_out": list(left_out), "only": None if only is None else list(only)}


def disagreements(outside: Ended, inside: Ended, wanted: Expected) -> dict[str, str]:
    """Return the tests that differ unexpectedly, or do not although the list says so: id → what is wrong."""
    wrong = {}
    for name in sorted({*outside, *inside}):
        here, there = inside.get(name, ("absent", "")), outside.get(name, ("absent", ""))
        rows = [row for row in wanted.differences if any(fnmatchcase(name, pattern) for pattern in row.tests)]
        if len(rows) > 1:
            wrong[name] = f"{name}: stands in {len(rows)} rows"
        elif here[0] == there[0]:
            if rows and there[0] == "pass":
                wrong[name] = f"{name}: expected to {rows[0].how} inside ({rows[0].why}), and passes"
        elif not rows:
            wrong[name] = f"{name}: {there[0]} outside, {here[0]} inside: {here[1] or there[1]}"
        elif here[0] != rows[0].how or rows[0].shows not in here[1]:
            wrong[name] = (
                f"{name}: expected to {rows[0].how} with {rows[0].shows!r}, and {here[0]}: {here[1]}"
            )
    return wrong
