"""A Ctrl-C leaves no lease open, and no package without its folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ctrl_c import CtrlC
from mpp_exec.registry import database, folders, store
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Store
from store_samples import install, open_store

TRACED = (folders.__file__, store.__file__)


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def taken(store: Store, installed: Installed, number: int) -> bool:
    """Take a lease that is interrupted before its instruction *number*; return whether there was one."""
    interruption = CtrlC(number, TRACED, instructions=True)
    lease = store.leased(installed)
    try:
        with interruption:
            lease.__enter__()
    except KeyboardInterrupt:
        return True
    lease.__exit__(None, None, None)
    return interruption.was_raised


def test_ctrl_c_at_any_instruction_of_a_lease_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    with open_store(tmp_path / "home") as opened:
        installed = install(opened, tmp_path / "built")
        assert not taken(opened, installed, 1 << 30)
        before = descriptors()
        number = 1
        while taken(opened, installed, number):
            assert descriptors() == before, f"instruction {number}"
            number += 1
        assert number > 50


def test_ctrl_c_behind_any_call_of_an_installation_leaves_it_done_or_not(tmp_path: Path) -> None:
    """Above all while it commits, which takes the longest: what was committed is not undone."""
    (tmp_path / "built").mkdir()
    with open_store(tmp_path / "home") as opened:
        number, done = 0, set()
        interruption = CtrlC(1, (database.__file__,), calls=True)
        while interruption.was_raised or number == 0:
            number += 1
            interruption = CtrlC(number, (database.__file__,), calls=True)
            with suppress(KeyboardInterrupt), interruption:
                install(opened, tmp_path / "built", version=f"1.0.{number}")
            there = opened.installed()
            assert all(opened.home.package_folder(each.digest).is_dir() for each in there), f"call {number}"
            done.add([each.version for each in there] == [f"1.0.{number}"])
        assert number > 40
        assert done == {True, False}
