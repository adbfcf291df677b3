"""Waits for a thread to end, but no longer than until a given moment."""

from __future__ import annotations

import math
import threading
import time


def ended_by(until: float, thread: threading.Thread | None) -> bool:
    """Wait for the end of *thread*, if there is one; return whether it has come by *until*.

    That is a moment of ``time.monotonic``; ``math.inf`` for any.
    """
    if thread is None:
        return True
    left = until - time.monotonic()
    thread.join(None if left == math.inf else max(0.0, left))
    return not thread.is_alive()
