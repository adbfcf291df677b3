"""A snapshot: the memory of a process that has imported a Python tool, from which sandboxes are restored.

One sandbox of the plan is confined like any other and holds nothing of a call. It imports the tool, writes
its own memory into a file that the host has given it, and ends. Other sandboxes of the same plan restore
that process, each after it is complete and confined (``native/restore.c``). The content of the file is the
tool's: the host bounds its size, seals it, and reads none of it.

Restored sandboxes have one address-space layout and one hash secret in common. So a snapshot belongs to one
plan, is used for ``COPIES`` sandboxes or ``AGE`` seconds, and is used only where the user agreed to that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from mpp_exec.errors import MppError
from mpp_exec.sandbox import mappings, message
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.template import AGE, COPIES

_AS_IT_IS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def can_be_saved(plan: SandboxPlan) -> bool:
    """Return whether sandboxes of *plan* can be restored: tools of which the user agreed to it."""
    return plan.import_once and plan.bare is None and not plan.started


class Snapshot:
    """One snapshot of *plan*. Thread-safe but for :meth:`look`.

    Attributes:
        image: the image of the package that it was made with, and that its sandboxes have to have.
        copies: how many sandboxes it was lent for.
    """

    def __init__(
        self,
        plan: SandboxPlan,
        *,
        constants: message.Variables,
        cache: SandboxCache,
        image: Image | None,
        most: int,
        unchanged: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin to make one of at most *most* bytes; :meth:`look` goes on with it.

        Without an *image* it looks at the end whether the installed files, which it has, are *unchanged*.

        Raises:
            HostError, InternalError: as ``spawn.run``; nothing is left.
        """
        self.image = image
        self.copies = 0
        self._unchanged = unchanged
        self._began = time.monotonic()
        self._until = self._began + plan.limits.wall_ms / 1000
        self._is_spoilt = False
        self._lock = threading.Lock()
        self._size = 0
        self._file = os.memfd_create("snapshot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._maker: Parked | None = None
        try:
            # As large as it may become from the beginning: what is not written takes no room.
            os.ftruncate(self._file, min(most, plan.limits.memory))
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
            self._maker = Parked(
                plan,
                constants=constants,
                cache=cache,
                early_start=True,
                image=image,
                saves_to=self._file,
            )
        except BaseException:
            os.close(self._file)
            raise

    @property
    def is_making(self) -> bool:
        """Whether it is neither ready nor a failure yet."""
        return self._maker is not None

    @property
    def resident(self) -> int:
        """The bytes of memory that it has, and shares with what is restored."""
        return self._size if self._maker is None else self._maker.resident

    @property
    def serves(self) -> bool:
        """Whether sandboxes may be restored from it still."""
        is_fresh = self.copies < COPIES and time.monotonic() - self._began < AGE
        return is_fresh and not self._is_spoilt and self._maker is None and self._file >= 0

    @property
    def is_spoilt(self) -> bool:
        """Whether it came to nothing, or what was restored from it did."""
        return self._is_spoilt

    def spoil(self) -> None:
        """Have nothing more restored from it: it did not work."""
        self._is_spoilt = True

    def look(self, wait_ms: int = 0) -> None:
        """Go on with one that is being made; wait up to *wait_ms* for it. For the thread that began it."""
        maker = self._maker
        if maker is None:
            return
        try:
            state = maker.look(wait_ms)
            if state == "ready" and not maker.is_saving:
                maker.save()
            if state != "ended" and not self._is_spoilt and time.monotonic() < self._until:
                return
            if state != "ended" or not maker.is_saved:
                self._is_spoilt = True
        except (mappings.UnsavableError, MppError, OSError):
            self._is_spoilt = True
        if not maker.kill():
            return  # until it is dead: what is sealed has no writer
        maker.close()
        self._maker = None
        if not self._is_spoilt:
            self._seal()

    def _seal(self) -> None:
        try:
            if self.image is None and not self._unchanged():
                self._is_spoilt = True
            # A hole that is read becomes a page, for everybody who maps it: one copy could tell another by it
            # that it was there, and all of them take room that nobody counts. What is written has none.
            self._size = os.lseek(self._file, 0, os.SEEK_HOLE)
            os.ftruncate(self._file, self._size)
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, _AS_IT_IS)
        except OSError:
            self._is_spoilt = True

    @contextlib.contextmanager
    def lent(self) -> Iterator[int]:
        """Yield the descriptor of its file for one sandbox, -1 where it is closed."""
        with self._lock:
            self.copies += 1
            yield self._file

    def close(self) -> None:
        """Let it go, and end what makes it; what was restored from it stays. May be repeated."""
        if self._maker is not None:
            self._maker.close()
            self._maker = None
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
