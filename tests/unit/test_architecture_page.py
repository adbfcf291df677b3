"""The page on the architecture names every folder and module of the root and every folder of tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import mpp_exec

ROOT = Path(__file__).parents[2]
CODE = Path(mpp_exec.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _table(heading: str) -> list[str]:
    """Return the rows of the first table below *heading*."""
    below = PAGE.partition(f"\n## {heading}\n")[2]
    table: str = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)[0]
    return table.splitlines()[2:]


def _rooms(row: str) -> set[str]:
    """Return what the first cells of a row of the table of layers name."""
    return set(re.findall(r"`([^`]+)`", row.split("|")[2]))


def test_every_folder_and_module_has_a_place() -> None:
    named = set().union(*map(_rooms, _table("The layers")))
    there = {f"{path.name}/" for path in CODE.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in CODE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == there


def test_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    checked = [{name.strip().removeprefix("mpp_exec.") for name in layer.split("|")} for layer in layers]
    told: list[set[str]] = []
    for row in _table("The layers"):
        if row.split("|")[1].strip():
            told.append(set())
        told[-1] |= {name.removesuffix("/").removesuffix(".py") for name in _rooms(row)}
    assert told == checked


def test_every_folder_of_tests_is_named() -> None:
    named = {re.findall(r"`tests/(\w+)`", row)[0] for row in _table("Tests")}
    there = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert named == there


def test_every_file_that_is_named_is_there() -> None:
    places = [ROOT, CODE, CODE / "sandbox", ROOT / "native", CODE / "cli", CODE / "privacy"]
    for name in re.findall(r"`([\w/]+\.(?:py|c|h|md|cddl))`", PAGE):
        assert any((place / name).exists() for place in places), name
