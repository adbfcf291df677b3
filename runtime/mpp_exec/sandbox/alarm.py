"""What the pool's thread waits for. Anybody may set it, and setting it wakes nobody before its time.

A condition variable would wake the thread at once, on another processor. The thread that notifies would pay
for that, and the woken thread would take the interpreter from a caller that is about to return.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import native


class Alarm:
    """An alarm clock for one thread, set by any. A time that comes before the one that is set replaces it."""

    def __init__(self) -> None:
        """Get the descriptor that it takes.

        Raises:
            InternalError: ``host.exhausted``: there is none left.
        """
        self._lock = threading.Lock()
        self._set = False
        self._poll = select.poll()
        try:
            self._descriptor = native.open_alarm()
        except OSError as error:
            raise InternalError(
                "host.exhausted", f"no timer can be had: {error.strerror}", "raise the limit on open files"
            ) from error
        self._poll.register(self._descriptor, select.POLLIN)

    def soon(self, seconds: float) -> None:
        """Let it go off in *seconds*, or when it was set to before: who comes often does not put it off."""
        with self._lock:
            if not self._set and self._descriptor >= 0:
                self._set = True
                native.set_alarm(self._descriptor, int(seconds * 1e9))

    def now(self) -> None:
        """Let it go off."""
        with self._lock:
            if self._descriptor >= 0:
                self._set = True
                native.set_alarm(self._descriptor, 0)

    def wait(self, seconds: float) -> bool:
        """Wait for it, up to *seconds*; return whether it went off. It has to be set anew then."""
        if self._descriptor < 0 or not self._poll.poll(seconds * 1000):
            return False
        with self._lock:
            self._set = False
            if self._descriptor >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._descriptor, 8)
        return True

    def close(self) -> None:
        """Let it go; setting it does nothing any more. May be repeated."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)
