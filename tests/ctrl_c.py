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
    """Raises KeyboardInterrupt once, before the *number*-th line or instruction of *files* that runs.

    Args:
        number: counted from 1; with a smaller number nothing is raised. files: how the names of the files
        end. instructions: count instructions instead of lines; a signal may be handled between any two
        instructions. calls: count only instructions behind a call: a signal that came during the call is
        handled there.

    Attributes:
        was_raised: whether the code got that far.
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
    """Return the offsets of the instructions of *code* that follow a call."""
    every = list(dis.get_instructions(code))
    return frozenset(
        each.offset for before, each in itertools.pairwise(every) if before.opname.startswith("CALL")
    )


def is_step(frame: FrameType) -> bool:
    """Return whether a signal may be handled before the frame's line.

    When a block is entered or left, the tracer is called, but the interpreter does not check for signals.
    """
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    return not source.startswith(("with ", "try:")) and "# no signal" not in source
