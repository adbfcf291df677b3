"""The page of system calls is what the policy table says; ``make docs`` writes it."""

from __future__ import annotations

import os
from pathlib import Path

from mpp_exec.sandbox import surface
from mpp_exec.sandbox.profiles import SEALED_AWAY, tool_profile

PAGE = Path(__file__).parents[2] / "docs" / "system-calls.md"


def test_page_is_what_the_table_says() -> None:
    if os.environ.get("MPP_WRITE_DOCS") == "1":
        PAGE.write_text(surface.page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == surface.page(), "make docs"


def test_every_call_of_every_profile_is_on_the_page_with_its_reason() -> None:
    page = surface.page()
    for kind in ("python", "exec"):
        for subprocess in (False, True):
            for allow in tool_profile(kind, subprocess=subprocess):
                if allow.name not in SEALED_AWAY:
                    assert f"| `{allow.name}` |" in page
                    assert allow.why in page


def test_numbers_are_those_behind_the_seal() -> None:
    found = surface.profiles()
    assert not {allow.name for allow in found["python"]} & set(SEALED_AWAY)
    assert "execve" in {allow.name for allow in found["python, with subprocess"]}
    assert "seccomp" not in {allow.name for allow in found["python, with subprocess"]}
    assert len(found["python"]) == len(tool_profile("python", subprocess=False)) - 2
    assert len(found["python"]) < 150, "a new call is a decision: say why in the table, and raise this"
    assert f"python: {len(found['python'])}" in surface.summary()


def test_threat_model_has_the_numbers_of_the_table() -> None:
    counts = [len(found) for name, found in surface.profiles().items() if name != "init"]
    model = (PAGE.parent / "threat-model.md").read_text(encoding="utf-8")
    assert f"| {min(counts)} to {max(counts)} system calls by kind and grant" in model
