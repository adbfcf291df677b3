"""The plan is monotone in the grant: less granted is nowhere more mounted, allowed, bounded or reached.

What a plan gives of a path is read off the plan itself, as the kernel would: the last mount over it
decides, and Landlock's rules above it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sandbox_lab
from mpp_exec.consent.grant import Grant, effective
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import Policy, PolicyLayer
from mpp_exec.package.manifest import Operation
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.sandbox.allow import Arg
from mpp_exec.sandbox.plan import SandboxPlan
from permission_strategies import limits, unique
from planned import plan_of, reach

TREE: Final = ("a", "a/b", "a/b/c", "a/b/c/d", "a/b2", "ab", "a/.git", "a/.git/hooks", "z", "z/y")
UNPROTECTED: Final = Protected((), ())


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """Folders that hold one another; each holds a file."""
    root = Path(tempfile.mkdtemp(prefix="mpp-plan-", dir="/var/tmp"))
    for name in TREE:
        (root / name).mkdir(parents=True)
        (root / name / "file").touch()
    yield root
    shutil.rmtree(root)


def implies(one: Arg, other: Arg) -> bool:
    """Return whether an argument that satisfies *one* satisfies *other*, by their masks and values."""
    return (
        one.index == other.index
        and other.mask & ~one.mask == 0
        and {value & other.mask for value in one.values} <= set(other.values)
    )


def assert_no_wider(narrow: SandboxPlan, wide: SandboxPlan, places: list[str]) -> None:
    for place in places:
        assert reach(narrow, place) <= reach(wide, place), place
    assert set(narrow.touches) <= set(wide.touches)
    assert set(narrow.started) <= set(wide.started)
    profile = {allow.name: allow for allow in wide.tool_profile}
    for allow in narrow.tool_profile:
        if any(not one.values for one in allow.args):
            continue  # it is never made
        for condition in profile[allow.name].args:
            assert any(implies(one, condition) for one in allow.args), allow.name
    assert narrow.landlock == wide.landlock
    assert wide.limits.covers(narrow.limits)
    bounds = {number: (soft, hard) for number, soft, hard in wide.rlimits}
    for number, soft, hard in narrow.rlimits:
        assert soft <= bounds[number][0]
        assert hard <= bounds[number][1]
    sources = {entry.source for entry in wide.entries if entry.kind == "bind"}
    granted = {place for place in places if reach(wide, place)}
    for entry in narrow.entries:
        assert entry.kind != "bind" or entry.source in sources | granted, entry


chosen = unique(st.sampled_from(TREE), 3)
grants: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "read": chosen,
        "write": chosen,
        "covers": unique(st.sampled_from(["a/b/c", "a/.git"]), 1),
        "storage": st.sampled_from([0, 1 << 20, 1 << 30]),
        "subprocess": unique(st.sampled_from(["git", "rg"]), 2),
        "limits": limits,
    }
)
kinds = st.sampled_from(["python", "exec"])
operations: st.SearchStrategy[Operation] = st.sampled_from(["read", "write"])


def granted(tree: Path, values: dict[str, Any]) -> Grant:
    paths = {name: [tree / each for each in values[name]] for name in ("read", "write", "covers")}
    return sandbox_lab.grant(**{**values, **paths})


def places(tree: Path) -> list[str]:
    return [f"{tree}/{name}{file}" for name in TREE for file in ("", "/file")]


NESTED: Final = {"storage": 0, "subprocess": (), "limits": Limits()}


@example({**NESTED, "write": ("a",), "read": ("a/b", "a/b/c/d"), "covers": ()}, "python", "write")
@example({**NESTED, "write": ("a",), "read": ("a/b",), "covers": ("a/b/c",)}, "exec", "write")
@given(grants, kinds, operations)
def test_plan_gives_no_path_that_its_grant_does_not(
    tree: Path, values: dict[str, Any], kind: str, operation: Operation
) -> None:
    grant = granted(tree, values)
    plan = plan_of(grant, kind, operation)
    # What is protected by its name is mounted at the call (special_entries); in the plan, the grant decides.
    shown = replace(
        grant.permissions,
        read=tuple(path.replace("/.git", "/git") for path in grant.permissions.read),
        write=tuple(path.replace("/.git", "/git") for path in grant.permissions.write),
    )
    for place in places(tree):
        given = reach(plan, place)
        assert "read" not in given or grant.permissions.may_read(place), place
        assert "write" not in given or shown.may_write(place.replace("/.git", "/git")), place
        assert operation != "read" or "write" not in given


@given(grants, kinds, operations, st.data())
def test_withholding_a_permission_gives_no_wider_plan(
    tree: Path, values: dict[str, Any], kind: str, operation: Operation, data: st.DataObject
) -> None:
    wide = granted(tree, values)
    narrow = wide
    for _ in range(data.draw(st.integers(1, 3))):
        if words := narrow.permissions.words():
            word = data.draw(st.sampled_from(words))
            narrow = replace(narrow, permissions=narrow.permissions.without(word))
    assert_no_wider(plan_of(narrow, kind, operation), plan_of(wide, kind, operation), places(tree))


@given(grants, grants, kinds, operations)
def test_what_two_grants_have_in_common_gives_no_wider_plan_than_either(
    tree: Path, one: dict[str, Any], two: dict[str, Any], kind: str, operation: Operation
) -> None:
    wide, other = granted(tree, {**one, "covers": ()}), granted(tree, {**two, "covers": ()})
    narrow = replace(
        wide,
        permissions=wide.permissions.intersect(other.permissions),
        limits=wide.limits.intersect(other.limits),
    )
    plan = plan_of(narrow, kind, operation)
    assert_no_wider(plan, plan_of(wide, kind, operation), places(tree))
    assert_no_wider(plan, plan_of(other, kind, operation), places(tree))


@given(grants, kinds, st.tuples(chosen, chosen), st.none() | st.sampled_from([0, 1 << 20]))
def test_policy_of_the_moment_gives_no_wider_plan(
    tree: Path,
    values: dict[str, Any],
    kind: str,
    folders: tuple[tuple[str, ...], tuple[str, ...]],
    storage: int | None,
) -> None:
    layer = PolicyLayer(
        source="p",
        read=tuple(f"{tree}/{each}" for each in folders[0]) or None,
        write=tuple(f"{tree}/{each}" for each in folders[1]) or None,
        subprocess=("git",),
        storage=storage,
        limits={"memory": Limits().memory, "wall_ms": 1},
    )
    wide = granted(tree, {**values, "covers": ()})
    narrow = effective(wide, Policy((layer,)), UNPROTECTED)
    assert wide.permissions.covers(narrow.permissions)
    assert_no_wider(plan_of(narrow, kind, "write"), plan_of(wide, kind, "write"), places(tree))


def test_every_bound_of_a_grant_is_compared_here() -> None:
    """A field that permissions or limits gain has to be drawn above."""
    assert {each.name for each in fields(Permissions)} == {
        *("network", "environment", "subprocess", "storage", "read", "write")
    }
    assert len(fields(Limits)) == 7
