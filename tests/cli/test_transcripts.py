"""Transcripts of sessions (``transcripts/*.txt``), replayed with the real command.

::

    # a comment
    $ mpp-exec keygen acme          a command line for a shell, in a folder that is empty at the beginning
    > more of it                    (lines that belong to the same command)
    public key  <key A>             what it prints on standard output
    ! the private key is in …       what it prints on standard error
    [4]                             its exit code, where that is not 0

Placeholders stand for what differs from run to run: ``<digest>``, ``<key>``, ``<time>``, ``<call>``,
``<number>``, ``<home>``, ``<work>``, ``<version>``, and ``<...>`` for the rest of a line. One with a
letter, such as ``<digest A>``, is the same text wherever it stands. A line ``...`` stands for any
number of lines, and two spaces for any number of them above one. Empty lines do not count.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import mpp_exec
from command import DEADLINE, PROGRAM, Shell

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))

PATTERNS = {
    "digest": r"sha256:[0-9a-f]{64}",
    "key": r"ed25519:[A-Za-z0-9_-]{43}",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+Z| [0-9:]+ UTC)?",
    "call": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "number": r"[0-9]+",
    "version": re.escape(mpp_exec.__version__),
    "...": r".*",
}


@dataclass
class Step:
    """One command and what it must print."""

    line: int
    command: str
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    code: int = 0


def parse(text: str) -> list[Step]:
    """Take a transcript apart."""
    steps: list[Step] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("$ "):
            steps.append(Step(number, line[2:]))
        elif line.startswith("> "):
            steps[-1].command += "\n" + line[2:]
        elif line.startswith("#") or not line:
            continue
        elif line == ">":
            steps[-1].command += "\n"
        elif line.startswith("! "):
            steps[-1].err.append(line[2:])
        elif match := re.fullmatch(r"\[([0-9]+)\]", line):
            steps[-1].code = int(match[1])
        else:
            steps[-1].out.append(line)
    return steps


class Known:
    """What placeholders with a letter have stood for so far."""

    def __init__(self, shell: Shell) -> None:
        self._texts = {"home": str(shell.home), "work": str(shell.cwd), "user": str(shell.root / "user")}

    def match(self, expected: list[str], actual: str) -> str:
        """Compare; return what is wrong, "" if nothing is."""
        pattern = "".join(self._line(line) for line in expected)
        lines = [line for line in actual.splitlines() if line]
        found = re.fullmatch(pattern, "".join(f"{line}\n" for line in lines))
        if found is None:
            return f"expected\n  {chr(10).join(expected)}\ngot\n  {actual}"
        for name, text in found.groupdict().items():
            self._texts[name.replace("_", " ")] = text
        return ""

    def _line(self, line: str) -> str:
        if line == "...":
            return r"(?:.*\n)*?"
        parts = re.split(r"<([a-z]+(?: [A-Z])?|\.\.\.)>", line)
        new: set[str] = set()
        pattern = ""
        for at, part in enumerate(parts):
            if at % 2 == 0:
                pattern += re.sub(r"(?:\\ ){2,}", r" {2,}", re.escape(part))
            elif part in self._texts:
                pattern += re.escape(self._texts[part])
            else:
                kind = part.partition(" ")[0]
                name = part.replace(" ", "_")
                assert kind in PATTERNS, f"no placeholder <{part}>"
                if " " not in part:
                    pattern += PATTERNS[kind]
                elif name in new:
                    pattern += f"(?P={name})"
                else:
                    pattern += f"(?P<{name}>{PATTERNS[kind]})"
                    new.add(name)
        return pattern + r"\n"


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(transcript: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    known = Known(shell)
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "mpp-exec"
    command.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    command.chmod(0o755)
    environment = shell.environment()
    environment["PATH"] = f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}"
    for step in parse(transcript.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=shell.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=DEADLINE,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        where = f"{transcript.name}:{step.line}: {step.command}"
        assert done.returncode == step.code, f"{where}\nexit {done.returncode}\n{out}{err}"
        for stream, expected, actual in (("stdout", step.out, out), ("stderr", step.err, err)):
            wrong = known.match(expected, actual)
            assert not wrong, f"{where}\n{stream}: {wrong}"


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 6
