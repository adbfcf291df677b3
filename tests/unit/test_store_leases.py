"""A Ctrl-C before any instruction of taking a lease leaves no descriptor open."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Self

from mpp_exec.registry import folders, store
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Store
from store_samples import install, open_store

TRACED = {folders.__file__, store.__file__}


class Interruption:
    """Raises before the instruction *number* of what takes a lease."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.was_raised = False

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        frame.f_trace_opcodes = True
        self._left -= event == "opcode"
        if self._left == 0 and not self.was_raised:
            self.was_raised = True
            raise KeyboardInterrupt
        return self._trace


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def taken(store: Store, installed: Installed, number: int) -> bool:
    """Take a lease that is interrupted before its instruction *number*; return whether there was one."""
    interruption = Interruption(number)
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
