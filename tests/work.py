"""Measures cost by counting, so that it is the same on every machine, however busy the machine is."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType


def calls(run: Callable[[], object], *, of_patterns: bool = False) -> int:
    """Return the number of functions that *run* calls, including those in C; or only those *of_patterns*."""
    count = 0

    def watch(_frame: FrameType, event: str, function: object) -> None:
        nonlocal count
        is_pattern = isinstance(getattr(function, "__self__", None), re.Pattern)
        count += (event == "c_call" and is_pattern) if of_patterns else event in ("call", "c_call")

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count
