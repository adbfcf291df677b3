"""A Ctrl-C at a chosen place in the code."""

from __future__ import annotations

import linecache
import sys
from types import FrameType
from typing import Any, Self


class CtrlC:
    """Raises KeyboardInterrupt before the *number*-th line, or instruction, that runs of *files*. Once.

    Args:
        number: counted from 1; with less, none is raised.
        files: how the names of those files end.
        instructions: count instructions, between any two of which a signal may be handled; else lines.

    Attributes:
        was_raised: whether the code got there.
    """

    def __init__(self, number: int, files: tuple[str, ...], *, instructions: bool = False) -> None:
        self._left = number
        self._files = files
        self._instructions = instructions
        self.was_raised = False

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(self._files):
            return None
        frame.f_trace_opcodes = self._instructions
        self._left -= event == "opcode" if self._instructions else event == "line" and is_step(frame)
        if self._left == 0 and not self.was_raised:
            self.was_raised = True
            raise KeyboardInterrupt
        return self._trace


def is_step(frame: FrameType) -> bool:
    """Return whether a signal may be handled before its line.

    Where a block is entered or left, a tracer is told, and no signal is looked for.
    """
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    return not source.startswith(("with ", "try:")) and "# no signal" not in source
