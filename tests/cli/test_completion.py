"""The completion scripts, in the shells that they are for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import DEADLINE, PROGRAM, Shell, Terminal

BASH = """
source ./bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_mpp_exec
printf '%s\\n' "${COMPREPLY[@]}"
"""

CASES = [
    (["inst"], ["install"]),
    (["in"], ["init", "inspect", "install"]),
    (["publisher", ""], ["add", "list", "remove", "revoke", "rotate", "show"]),
    (["audit", "v"], ["verify"]),
    (["install", "--appr"], ["--approve"]),
    (["init", "x", "--kind", ""], ["exec", "python"]),
    (["completion", ""], ["bash", "fish", "zsh"]),
    (["run", ""], ["acme/echo", "acme/other"]),
    (["run", "--timeout", "3", "acme/e"], ["acme/echo"]),
    (["uninstall", "acme/o"], ["acme/other"]),
    (["audit", "list", "--package", "acme/e"], ["acme/echo"]),
    (["publisher", "show", ""], ["acme"]),
    (["approve", "--degrade", "landlock-"], ["landlock-net", "landlock-scope", "landlock-truncate"]),
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a folder with the three scripts, a command of that name on PATH, and two packages installed."""
    root = tmp_path_factory.mktemp("completion")
    programs = root / "bin"
    programs.mkdir()
    command = programs / "mpp-exec"
    command.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    command.chmod(0o755)
    shell = Shell(root, {"PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"})
    shell.install("acme/echo")
    shell.install("acme/other")
    for name in ("bash", "zsh", "fish"):
        (shell.cwd / name).write_text(shell.ok("completion", name).out)
    return shell


def available(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed here; CI installs it")
    return path


@pytest.mark.parametrize(("words", "expected"), CASES, ids=" ".join)
def test_bash(shell: Shell, words: list[str], expected: list[str]) -> None:
    done = subprocess.run(
        [available("bash"), "--norc", "-c", BASH, "_", "mpp-exec", *words],
        capture_output=True,
        text=True,
        cwd=shell.cwd,
        env=shell.environment(),
        timeout=DEADLINE,
        check=True,
    )
    assert sorted(done.stdout.split()) == expected, done
    assert done.stderr == ""


@pytest.mark.parametrize(("words", "expected"), CASES, ids=" ".join)
def test_fish(shell: Shell, words: list[str], expected: list[str]) -> None:
    line = " ".join(["mpp-exec", *words])
    done = subprocess.run(
        [available("fish"), "--no-config", "-c", f"source ./fish; complete -C '{line}'"],
        capture_output=True,
        text=True,
        cwd=shell.cwd,
        env=shell.environment(),
        timeout=DEADLINE,
        check=True,
    )
    found = sorted(each.partition("\t")[0] for each in done.stdout.splitlines())
    assert found == expected, done
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("mpp-exec inst", "mpp-exec install "),
        ("mpp-exec publisher rem", "mpp-exec publisher remove "),
        ("mpp-exec install --appr", "mpp-exec install --approve "),
        ("mpp-exec init x --kind p", "mpp-exec init x --kind python "),
        ("mpp-exec run acme/o", "mpp-exec run acme/other "),
        ("mpp-exec publisher show a", "mpp-exec publisher show acme "),
    ],
)
def test_zsh(shell: Shell, typed: str, becomes: str) -> None:
    """At a real prompt: zsh has no way to ask its completion for anything from a script."""
    setup = "PS1='ready> '; autoload -Uz compinit; compinit -u -D; source ./zsh; echo set''up\n"
    environment = shell.environment() | {"TERM": "dumb", "ZDOTDIR": str(shell.root / "user")}
    with Terminal([available("zsh"), "-f", "-i"], shell.cwd, environment) as terminal:
        terminal.type(setup)
        terminal.expect("setup")
        terminal.expect("ready> ")
        terminal.type(f"{typed}\t")
        terminal.expect(becomes)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_shell_finds_no_fault_in_it(shell: Shell, name: str) -> None:
    done = subprocess.run(
        [available(name), "-n", name], capture_output=True, cwd=shell.cwd, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
