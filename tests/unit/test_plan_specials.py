"""What is mounted at a call, over names that other programs obey, opens nothing that the plan has closed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import sandbox_lab
from mpp_exec.package.manifest import Operation
from mpp_exec.permissions import Limits, is_protected_name, path_covers
from mpp_exec.sandbox.special import special_entries
from permission_strategies import unique
from planned import plan_of, reach

TREE: Final = (
    *("a", "a/b", "a/b/c", "a/b/c/d", "a/b2", "a/.git", "a/.git/hooks", "a/.config", "a/.config/git"),
    *("a/b/.git", "a/b/.ssh", "a/b/c/.vscode", "a/.github/workflows", "z", "z/.git"),
)
LINKS: Final = {"a/link": "b/.git", "a/.vscode": "b/c", "a/.profile": "b/c/d/file"}
COVERED: Final = ("a/b/c", "a/b/c/d", "a/b/.ssh", "a/.git", "a/.config/git", "a/.github/workflows")

chosen = unique(st.sampled_from((*TREE, "a/.bashrc", "a/b/file", "a/.git/file", "a/b/c/d/file")), 4)
grants: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "read": chosen,
        "write": chosen,
        "covers": unique(st.sampled_from(COVERED), 2),
        "subprocess": unique(st.sampled_from(["git", "rg"]), 2),
    }
)
operations: st.SearchStrategy[Operation] = st.sampled_from(["read", "write"])


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="mpp-specials-", dir="/var/tmp"))
    for name in TREE:
        (root / name).mkdir(parents=True, exist_ok=True)
        for file in ("file", "AGENTS.md"):
            (root / name / file).touch()
    (root / "a/.bashrc").touch()
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    yield root
    shutil.rmtree(root)


@example({"read": (), "write": ("a",), "covers": ("a/b/c", "a/b/c/d"), "subprocess": ()}, "write")
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(grants, operations)
def test_protecting_special_names_opens_nothing(
    tree: Path, values: dict[str, Any], operation: Operation
) -> None:
    paths = {name: [tree / each for each in values[name]] for name in ("read", "write", "covers")}
    granted = [*paths["read"], *paths["write"]]
    assume(not any(path_covers(str(cover), str(path)) for cover in paths["covers"] for path in granted))
    grant = sandbox_lab.grant(**{**values, **paths}, storage=0, limits=Limits())
    plan = plan_of(grant, "python", operation)
    called = replace(plan, entries=(*plan.entries, *special_entries(plan)))
    for place in [f"{tree}/{name}{file}" for name in TREE for file in ("", "/file", "/AGENTS.md", "/new")]:
        given = reach(called, place)
        assert given <= reach(plan, place), place
        assert not given or not any(path_covers(cover, place) for cover in grant.covers), place
        if "write" in given:
            assert grant.permissions.mounts_writable(place), place
            root = max((each for each in plan.write_roots if path_covers(each, place)), key=len)
            inner = place.removeprefix(root).strip("/").split("/")
            started = inner[0] == ".git" and "git" in values["subprocess"]
            assert not (is_protected_name(inner[0]) and Path(place).exists()) or started, place
