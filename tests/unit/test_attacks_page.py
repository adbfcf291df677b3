"""docs/attacks.md: at least 150 attacks, each with one test of its own that exists, and none left out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^\| (?P<attack>.+?) \| `(?P<test>test_\w+\.py::.+?)` \| (?P<defence>.+?) \| (?P<without>.+?) \|$"
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    lines = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ") and not line.startswith("| attack |")]
    found = [ROW.match(line) for line in table]
    assert [line for line, match in zip(table, found, strict=True) if match is None] == []
    return [match.groupdict() for match in found if match is not None]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The tests that pytest finds in ``tests/security`` and ``tests/live``, by file and name."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    folders = ["tests/security", "tests/live"]
    done = subprocess.run(
        [*command, *folders], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("tests/") and "::" in line]
    return {line.removeprefix("tests/security/").removeprefix("tests/live/") for line in lines}


def test_every_row_has_a_test_of_its_own(rows: list[dict[str, str]], collected: set[str]) -> None:
    named = [row["test"] for row in rows]
    assert [name for name in named if name not in collected] == []
    assert len(set(named)) == len(named)


def test_there_are_at_least_150(rows: list[dict[str, str]]) -> None:
    assert len({row["attack"] for row in rows}) >= 150


def test_no_attack_is_left_out(rows: list[dict[str, str]], collected: set[str]) -> None:
    """The tests that say something else of those files are named here."""
    others = ("test_every_attack_is_another_one", "test_shell_can_do", "test_32_bit_entry_is_killed",
              "test_kernel_release_is_told", "test_size_of_a_disk",
              "test_attack_is_real", "test_attacks_are_real", "test_copies_of_one_process")  # fmt: skip
    attacks = {name for name in collected if name.startswith("test_attacks_")}
    missing = attacks - {row["test"] for row in rows}
    assert [name for name in sorted(missing) if not name.partition("::")[2].startswith(others)] == []


UNSEEN = (
    "## The resident runtime",
    "## Tokens",
    "## An MCP server",
    "## The client of the MCP",
    "## Confirmation over",
)
"""Sections with attacks of which nobody has seen yet what comes of them without their defence."""


def test_every_attack_on_the_sandbox_says_what_comes_of_it_without_its_defence() -> None:
    """Or why that cannot be shown, by a word that the top of the page explains."""
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        if not f"## {section}".startswith(UNSEEN):
            assert " | - |\n" not in section, section.partition("\n")[0]
