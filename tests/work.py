"""What something costs, counted: the same on every machine, however busy that is."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType


def calls(run: Callable[[], object], *, of_patterns: bool = False) -> int:
    """Return how many functions *run* calls, those in C as well; or *of_patterns* alone."""
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
