"""Tells whether the host's mounts have changed: a waiting sandbox holds those of the time it was made."""

from __future__ import annotations

import contextlib
import os
import select


class MountTable:
    """Counts the changes of this process's mount table (proc_pid_mountinfo(5) is told by poll(2)).

    Not for two threads at once.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._changes = 0
        with contextlib.suppress(OSError):
            self._descriptor = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        if self._descriptor >= 0:
            self._poll.register(self._descriptor, select.POLLPRI)
            self._poll.poll(0)  # the first one tells of what was before

    def changes(self) -> int | None:
        """Return a number that is another one after each change; None where that cannot be told."""
        if self._descriptor < 0:
            return None
        if self._poll.poll(0):
            self._changes += 1
        return self._changes

    def close(self) -> None:
        """Let it go. May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
