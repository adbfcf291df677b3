"""Everything the README shows is true: its commands and its Python run here, in order, in an empty home."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.package.authoring import parse_toml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that the README shows for it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def matches(shown: str, said: str) -> bool:
    """Tell whether *said* is what is *shown*, where ``…`` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, said.strip(), re.DOTALL) is not None


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """An empty home folder and the command on PATH."""
    tmp_path.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "mpp-exec"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mpp_exec "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPP_", "XDG_"))}
    return home, {**kept, "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}


def test_the_console_blocks_and_the_python_work_in_order(place: tuple[Path, dict[str, str]]) -> None:
    home, environment = place
    told = []
    for block in blocks("console"):
        for command, shown in commands(block):
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
            assert matches(shown, done.stdout), (command, done.stdout)
            told.append(command)
    assert len(told) > 8
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for line in block.splitlines():
            if "# {" in line:
                assert line.partition("# ")[2] in done.stdout


def test_the_manifest_it_shows_is_one() -> None:
    for block in blocks("toml"):
        tomllib.loads(block)
        assert parse_toml(block).name == "acme/csv"


def test_the_targets_it_shows_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_files_it_links_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
