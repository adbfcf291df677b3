"""The images of packages that are called repeatedly: which exist, and which are worth making.

With an image (``sandbox.image``), a call does not have to check every installed file. An image takes memory.
So images are made only for packages of many files, within bounds, and only while sandboxes are kept for the
package. A thread of its own makes them: no call waits for an image.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from mpp_exec.errors import MppError
from mpp_exec.package.manifest import FileEntry
from mpp_exec.sandbox.image import Image
from mpp_exec.waits import ended_by

FILES_LEAST: Final = 64
"""A look at fewer takes less than a quarter of a millisecond."""

SIZE_MOST: Final = 64 << 20
"""Bytes of one image."""

ALL_MOST: Final = 128 << 20
"""Bytes of all images of a process, one that is being made included."""

_PAGE: Final = 4096
_EACH: Final = 1024  # bytes of kernel memory for each file or folder
_BACKOFF: Final = 30.0  # seconds after a failure; doubled after each further one
_BACKOFF_MOST: Final = 3600.0
_FAILURES_KEPT: Final = 256


def size_of(files: Sequence[FileEntry]) -> int:
    """Return the bytes of memory that the image of *files* takes, kernel memory included."""
    return sum(-(-entry.size // _PAGE) * _PAGE + 2 * _EACH for entry in files)


class Images:
    """The images of one process, by package digest. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards everything below
        self._made: dict[str, tuple[Image, int]] = {}
        self._kept: frozenset[str] = frozenset()
        self._failed: dict[str, tuple[int, float]] = {}  # failures; no retry before
        self._making: threading.Thread | None = None
        self._closing = False

    def of(self, digest: str) -> Image | None:
        """Return the verified image of the package with *digest*, None if there is none."""
        made = self._made.get(digest)
        return None if made is None else made[0]

    def wanted(self, digest: str, files: Sequence[FileEntry], make: Callable[[], Image]) -> Image | None:
        """Return the image of a package of *files*. If there is none and one is worthwhile, have it made.

        *make* returns the verified image, or raises MppError.
        """
        found = self.of(digest)
        if found is not None or len(files) < FILES_LEAST:
            return found
        size = size_of(files)
        with self._lock:
            _, not_before = self._failed.get(digest, (0, 0.0))
            used = sum(each for _, each in self._made.values())
            if self._closing or self._making is not None or time.monotonic() < not_before:
                return None
            if size > SIZE_MOST or used + size > ALL_MOST or digest not in self._kept:
                return None
            thread = threading.Thread(
                target=self._make, args=(digest, size, make), name="mpp-exec-image", daemon=True
            )
            with contextlib.suppress(RuntimeError):  # no thread: nothing is made
                thread.start()
                self._making = thread
        return None

    def _make(self, digest: str, size: int, make: Callable[[], Image]) -> None:
        image = None
        try:
            with contextlib.suppress(MppError):  # the check of the installed files reports faults
                image = make()
        finally:
            with self._lock:
                self._making = None
                if image is None:
                    self._failed_again(digest)
                elif digest in self._kept and not self._closing:
                    self._failed.pop(digest, None)
                    self._made[digest] = image, size

    def _failed_again(self, digest: str) -> None:
        failures, _ = self._failed.pop(digest, (0, 0.0))
        self._failed[digest] = failures + 1, time.monotonic() + min(_BACKOFF * 2.0**failures, _BACKOFF_MOST)
        while len(self._failed) > _FAILURES_KEPT:
            del self._failed[next(iter(self._failed))]

    def failed(self, digest: str) -> None:
        """Do without the image of a package for a while: no sandbox could be made from it."""
        with self._lock:
            gone = self._made.pop(digest, None)
            self._failed_again(digest)
        del gone  # freed here, outside of the lock

    def drop(self, digest: str) -> None:
        """Release the image of a package: the installed files changed, or nobody knows whether they did."""
        with self._lock:
            gone = self._made.pop(digest, None)
        del gone

    def keep(self, digests: frozenset[str]) -> None:
        """Release all images except those of *digests*, for which sandboxes are kept."""
        if digests == self._kept:
            return
        with self._lock:
            self._kept = digests
            gone = [self._made.pop(digest) for digest in self._made.keys() - digests]
        del gone

    def close(self, until: float = math.inf) -> bool:
        """Release all images and wait for the thread that makes one; return whether that thread has ended.

        The wait ends at *until* (``time.monotonic``). An image that is made later is released at once.
        """
        with self._lock:
            self._closing = True
            gone, self._made = self._made, {}
            thread = self._making
        del gone
        return ended_by(until, thread)
