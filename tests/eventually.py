"""Waiting for what another process or thread does."""

from __future__ import annotations

import select
import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Check *condition* until it is true; return False if it did not become true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True
