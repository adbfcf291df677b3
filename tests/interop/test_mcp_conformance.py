"""The official conformance suite against ``mpp-exec mcp``: each scenario as docs/conformance.md says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, PROGRAM, Shell
from node import Node

pytestmark = pytest.mark.timeout(900)  # the first run makes the environment

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
SUITE = "@modelcontextprotocol/conformance/dist/index.js"
REVISIONS = ("2025-11-25", "2026-07-28")
WIRE = "wire-schema-valid"

Checks = dict[str, list[dict[str, Any]]]


def section(title: str) -> str:
    return PAGE.split(f"## {title}", 1)[1].split("\n## ", 1)[0]


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9-]+)`", text))


PASSING = {
    revision: names(re.split(r"\n(?=- |\n)", section("Passing, all checks").split(f"- {revision}: ")[1])[0])
    for revision in REVISIONS
}
EXCEPTIONS = {
    (scenario, check)
    for scenario, check in re.findall(r"^\| `(\S+)` \| `(\S+)` \|", section("Passing but for"), re.MULTILINE)
}
IN_PART = {scenario for scenario, _ in EXCEPTIONS}
HTTP = names(section("About HTTP alone"))
ABSENT = {
    name
    for row in re.findall(r"^\| (`.+?) \|", section("Not for a server of tools"), re.MULTILINE)
    for name in names(row)
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield where the bridge listens; behind it is a home with the package of the suite's tools."""
    shell = Shell(tmp_path_factory.mktemp("conformance"))
    shell.root.chmod(0o755)
    shell.ok("keygen", "acme")
    shell.ok("build", str(HERE / "conformance"))
    shell.ok("install", "acme-conformance-1.0.0.mpp", "--approve")
    server = [*PROGRAM, "mcp", "--package", "acme/conformance"]
    with subprocess.Popen(
        [sys.executable, str(HERE / "http_bridge.py"), *server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=shell.cwd,
        env=shell.environment(),
        text=True,
    ) as bridge:
        assert bridge.stdout is not None
        yield bridge.stdout.readline().strip()
        bridge.communicate(timeout=DEADLINE)


def required(node: Node, url: str, revision: str, folder: Path, scenario: str = "") -> Checks:
    """Run what the suite requires at *revision*, or one *scenario*, which gets more time."""
    what = ("--scenario", scenario, "--spec-version") if scenario else ("--requirements",)
    patience = "60000" if scenario else "8000"
    words = ("server", "--url", url, *what, revision, "-o", str(folder), "--timeout", patience)
    done = node.run(SUITE, *words, timeout=400)
    found = {}
    for report in folder.glob("*/checks.json"):
        match = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT.*", report.parent.name)
        assert match is not None, report
        found[match[1]] = json.loads(report.read_text())
    assert found, done.stdout + done.stderr
    return found


def failed(checks: list[dict[str, Any]]) -> set[str]:
    return {check["id"] for check in checks if check["status"] not in ("SUCCESS", "INFO", "SKIPPED")}


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_scenario_of_the_suite_ends_as_the_page_says(
    interop_node: Node, url: str, tmp_path: Path, revision: str
) -> None:
    found = required(interop_node, url, revision, tmp_path / "all")
    for scenario in PASSING[revision] | (IN_PART & set(found)):  # a busy machine may need more time for one
        if failed(found.get(scenario, [])) - {check for _, check in EXCEPTIONS}:
            again = required(interop_node, url, revision, tmp_path / scenario, scenario)
            found[scenario] = again[scenario]

    assert set(found) <= PASSING[revision] | IN_PART | HTTP | ABSENT, "the page says nothing of it"
    assert set(found) >= PASSING[revision], "it does not exist"
    for scenario, checks in sorted(found.items()):
        bad = failed(checks)
        assert WIRE not in bad, checks
        if scenario in PASSING[revision]:
            assert bad == set(), (scenario, checks)
            assert any(check["status"] == "SUCCESS" and check["id"] != WIRE for check in checks), scenario
        elif scenario in IN_PART:
            assert {(scenario, check) for check in bad} == {
                each for each in EXCEPTIONS if each[0] == scenario
            }


def test_the_page_lists_each_scenario_once() -> None:
    for revision in REVISIONS:
        lists = (PASSING[revision], IN_PART, HTTP, ABSENT)
        assert sum(map(len, lists)) == len(set().union(*lists))
        assert all(lists)
