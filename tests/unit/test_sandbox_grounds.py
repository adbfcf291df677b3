"""Which plans have a ground, and for how long."""

from __future__ import annotations

import gc
import weakref
from typing import Any, cast

import pytest

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import ground
from mpp_exec.sandbox.ground import IDLE, Ground, Grounds
from mpp_exec.sandbox.plan import SandboxPlan


class Plan:
    """As far as anybody asks one."""

    def __init__(self, *, bare: object = None, streams: object = ()) -> None:
        self.bare, self.streams = bare, streams


class Laid:
    """In the place of a ground."""

    made = 0

    def __init__(self, message: bytes, bounds: object) -> None:
        if message == b"no":
            raise InternalError("sandbox.ground", "no", "")
        assert bounds == "bounds"
        Laid.made += 1
        self.fits = True


class Clock:
    now = 100.0


class Table:
    """The host's mounts."""

    number: int | None = 0

    def changes(self) -> int | None:
        return self.number

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    Clock.now, Table.number, Laid.made = 100.0, 0, 0
    monkeypatch.setattr(ground, "Ground", Laid)
    monkeypatch.setattr(ground, "bounds_of", lambda _: "bounds")
    monkeypatch.setattr(ground, "MountTable", Table)
    monkeypatch.setattr("mpp_exec.sandbox.ground.time.monotonic", lambda: Clock.now)
    return Clock


def plan(**changes: Any) -> SandboxPlan:
    return cast("SandboxPlan", Plan(**changes))


def warm(grounds: Grounds, of: SandboxPlan, basis: object = 1) -> Ground:
    """Ask twice; return the ground that there is then."""
    grounds.of(of, basis, b"m")
    found = grounds.of(of, basis, b"m")
    assert found is not None
    return found


def test_second_call_has_it_laid_and_the_next_ones_have_the_same() -> None:
    grounds, mine = Grounds(), plan()
    assert grounds.of(mine, 1, b"m") is None
    first = grounds.of(mine, 1, b"m")
    assert first is not None
    assert grounds.of(mine, 1, b"m") is first
    assert Laid.made == 1


def test_each_plan_has_its_own() -> None:
    grounds, one, other = Grounds(), plan(), plan()
    assert warm(grounds, one) is not warm(grounds, other)


@pytest.mark.parametrize("why", ["basis", "mounts", "unfit", "idle"])
def test_it_is_let_go_with_what_it_was_laid_from(why: str, clock: type[Clock]) -> None:
    grounds, mine = Grounds(), plan()
    gone = weakref.ref(warm(grounds, mine))
    basis = 1
    if why == "basis":
        basis = 2
    elif why == "mounts":
        Table.number = 1
    elif why == "unfit":
        laid = gone()
        assert laid is not None
        laid.fits = False
        del laid
    else:
        clock.now += IDLE + 1
    again = grounds.of(mine, basis, b"m")
    gc.collect()
    assert gone() is None
    assert (again is None) == (why in ("basis", "idle")), "as for a first call"


def test_change_of_the_home_lets_all_of_them_go() -> None:
    grounds = Grounds()
    gone = [weakref.ref(warm(grounds, plan())) for _ in range(3)]
    grounds.of(plan(), 2, b"m")
    gc.collect()
    assert [each() for each in gone] == [None] * 3


def test_where_mounts_cannot_be_told_there_is_none() -> None:
    Table.number = None
    grounds, mine = Grounds(), plan()
    assert [grounds.of(mine, 1, b"m") for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("changes", [{"bare": object()}, {"streams": (443,)}], ids=["no namespaces", "hosts"])
def test_plan_that_is_built_on_the_hosts_tree_has_none(changes: dict[str, object]) -> None:
    grounds, mine = Grounds(), plan(**changes)
    assert [grounds.of(mine, 1, b"m") for _ in range(3)] == [None] * 3


def test_one_that_cannot_be_laid_is_tried_again() -> None:
    grounds, mine = Grounds(), plan()
    grounds.of(mine, 1, b"m")
    assert grounds.of(mine, 1, b"no") is None
    assert grounds.of(mine, 1, b"m") is not None


def test_there_are_no_more_than_the_bound() -> None:
    grounds = Grounds(most=2)
    plans = [plan() for _ in range(4)]
    kept = [weakref.ref(warm(grounds, each)) for each in plans]
    gc.collect()
    assert [each() is not None for each in kept] == [False, False, True, True]


def test_none_is_laid_once_it_is_closed() -> None:
    grounds, mine = Grounds(), plan()
    gone = weakref.ref(warm(grounds, mine))
    grounds.close()
    grounds.close()
    gc.collect()
    assert gone() is None
    assert [grounds.of(mine, 1, b"m") for _ in range(3)] == [None] * 3
