"""A Ctrl-C at a chosen place in the code."""

from __future__ import annotations

import dis
import functools
import itertools
import linecache
import sys
from types import CodeType, FrameType
from typing import Any, Self


class CtrlC:
    """Raises KeyboardInterrupt before the *number*-th line, or instruction, that runs of *files*. Once.

    Args:
        number: counted from 1; with less, none is raised.
        files: how the names of those files end.
        instructions: count instructions, between any two of which a signal may be handled; else lines.
        calls: of instructions, count only those behind a call: there a signal is raised that came meanwhile.

    Attributes:
        was_raised: whether the code got there.
    """

    def __init__(
        self, number: int, files: tuple[str, ...], *, instructions: bool = False, calls: bool = False
    ) -> None:
        self._left = number
        self._files = files
        self._instructions = instructions or calls
        self._calls = calls
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
        if self._instructions:
            self._left -= event == "opcode" and self._counts(frame)
        else:
            self._left -= event == "line" and is_step(frame)
        if self._left == 0 and not self.was_raised:
            self.was_raised = True
            raise KeyboardInterrupt
        return self._trace

    def _counts(self, frame: FrameType) -> bool:
        """Return whether the next instruction of *frame* counts."""
        return not self._calls or frame.f_lasti in behind_calls(frame.f_code)


@functools.cache
def behind_calls(code: CodeType) -> frozenset[int]:
    """Return where the instructions of *code* are that follow a call."""
    every = list(dis.get_instructions(code))
    return frozenset(
        each.offset for before, each in itertools.pairwise(every) if before.opname.startswith("CALL")
    )


def is_step(frame: FrameType) -> bool:
    """Return whether a signal may be handled before its line.

    Where a block is entered or left, a tracer is told, and no signal is looked for.
    """
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    return not source.startswith(("with ", "try:")) and "# no signal" not in source
