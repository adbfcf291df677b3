"""Waits for a thread to end, but no longer than until a given moment; and makes events to wait for."""

from __future__ import annotations

import math
import os
import threading
import time

from mpp_exec.errors import InternalError


def ended_by(until: float, thread: threading.Thread | None) -> bool:
    """Wait for the end of *thread*, if there is one; return whether it has come by *until*.

    That is a moment of ``time.monotonic``; ``math.inf`` for any.
    """
    if thread is None:
        return True
    left = until - time.monotonic()
    thread.join(None if left == math.inf else max(0.0, left))
    return not thread.is_alive()


def event(purpose: str) -> int:
    """Return a new eventfd, close-on-exec and non-blocking, for *purpose*.

    Raises:
        InternalError: ``host.exhausted``: no descriptor is left.
    """
    try:
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except OSError as error:
        raise InternalError(
            "host.exhausted",
            f"no descriptor is left for {purpose}: {error.strerror}",
            "try again later, or raise the limit on open files (ulimit -n)",
        ) from error
