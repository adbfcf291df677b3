"""Checks that a page of the documentation is true: runs its blocks, in order, in an empty home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class Page:
    """One Markdown page, and the folder in which its blocks run."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._text = path.read_text(encoding="utf-8")
        folder.chmod(0o755)
        programs = folder / "bin"
        programs.mkdir()
        command = programs / "mpp-exec"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mpp_exec "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPP_", "XDG_"))}
        self.environment = {**kept, "HOME": str(self.home), "PATH": f"{programs}:{os.environ['PATH']}"}

    def blocks(self, language: str) -> list[str]:
        """Return the blocks of code in *language*."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self._text, re.DOTALL | re.MULTILINE)

    def type_commands(self) -> int:
        """Run the commands of all console blocks, and compare their output. Return the number of commands."""
        told = 0
        for block in self.blocks("console"):
            for command, shown in _commands(block):
                done = subprocess.run(
                    ["sh", "-c", command],
                    cwd=self.home,
                    env=self.environment,
                    capture_output=True,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    check=False,
                )
                assert done.returncode == 0, (command, done.stderr)
                assert _matches(shown, done.stdout), (command, done.stdout)
                told += 1
        return told

    def run_python(self) -> list[str]:
        """Run each Python block, which must print the text behind ``# {`` or ``# [``. Return the outputs."""
        said = []
        for block in self.blocks("python"):
            done = subprocess.run(
                [sys.executable, "-c", block],
                cwd=self.home,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            for line in block.splitlines():
                if comment := re.search(r"# ([{\[].*)", line):
                    assert _matches(f"…{comment[1]}…", done.stdout), done.stdout
            said.append(done.stdout)
        return said


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that the page shows for it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def _matches(shown: str, said: str) -> bool:
    """Tell whether *said* matches *shown*, in which ``…`` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, said.strip(), re.DOTALL) is not None
