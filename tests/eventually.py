"""Waiting for what another process or thread does."""

from __future__ import annotations

import select
import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Look at *condition* until it is so; False where it was not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True
