"""What a call without a resident runtime imports: whoever runs a tool waits for that each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from command import Shell

CODE = """
import gc, sys
from mpp_exec.cli.main import command
code = command()
print(*sorted(sys.modules), file=sys.stderr)
print(gc.get_freeze_count() > 0, gc.get_threshold()[0] > 10_000, file=sys.stderr)
sys.exit(code)
"""
COSTLY = {
    "asyncio",
    "ctypes",
    "difflib",
    "multiprocessing",
    "shutil",
    "ssl",
    "subprocess",
    "tomllib",
    "typing_extensions",
    "unittest",
    "urllib3",
}
OTHERS = ("distribution", "egress", "guest", "integrations", "mcp", "serving", "wrap")
"""Parts of the project that only other verbs need."""
MOST = 430
"""Modules, those of Python's own start included."""


def test_a_call_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.install()
    shell.ok("run", "acme/echo", "text=first")  # keeps what it learnt of the host's Python
    words = ["--home", str(shell.home), "run", "acme/echo", "text=hello"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, *words],
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "hello\n"
    listed, ended = done.stderr.splitlines()[-2:]
    modules = listed.split()
    assert set(modules) & COSTLY == set()
    assert [each for each in modules if each.startswith(tuple(f"mpp_exec.{part}" for part in OTHERS))] == []
    assert len(modules) <= MOST
    assert ended == "True True"  # the end of the process takes nothing apart, and few looks are taken before


@pytest.mark.parametrize("words", [["serve", "--status"], ["mcp"]], ids=" ".join)
def test_what_lives_long_collects_as_often_as_python_does(tmp_path: Path, words: list[str]) -> None:
    shell = Shell(tmp_path)
    shell.install()
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, "--home", str(shell.home), *words],
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "True False"
