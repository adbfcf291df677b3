"""A Ctrl-C before any instruction of taking a lease leaves no descriptor open."""

from __future__ import annotations

from pathlib import Path

from ctrl_c import CtrlC
from mpp_exec.registry import folders, store
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
