"""The image of a package: its files in memory, read-only, where no other process can reach them.

The content of a sealed image does not change: the kernel lets nobody write to it any more, whoever has a
descriptor of a file in it (``native/image.c``). So the image is verified once, after it was sealed, and
never again. It has no process and no path. It ends with its last reference, or with the host.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import Any, Final

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.native import ffi, lib

_SPARE: Final = 16  # inodes and pages beside those of the files: of the root folder, and more
_PAGE: Final = 4096
_CLOSED_S: Final = 1.0  # what another thread forked holds what was open here until it runs its program
_PAUSE_S: Final = 0.005


class Image:
    """A sealed copy of the files *names* below the open *folder*. Thread-safe.

    Nothing is said about what they hold: whoever makes one MUST verify what lies in it before anything runs.

    Args:
        folder: the folder of an installed package.
        names: what to copy, folders before what they hold; no links are followed.
        size: the most bytes that it may take, in pages.

    Raises:
        InternalError: ``sandbox.image``: this kernel cannot, the machine lacks memory, something is missing,
            is no file or folder, or has grown. Nothing is left of it.
    """

    __slots__ = ("_slot",)

    def __init__(self, folder: int, names: Sequence[str], size: int) -> None:
        encoded = [os.fsencode(name) for name in names]
        if any(b"\0" in name for name in encoded):
            raise InternalError("sandbox.image", "a file name holds a NUL")
        # Released with the last reference, also where an interruption lost it.
        self._slot = ffi.gc(ffi.new("struct mpp_image **"), lib.mpp_image_close)
        _check("made", lib.mpp_image_make(size + _SPARE * _PAGE, len(encoded) + _SPARE, self._slot))
        listed = ffi.from_buffer("char[]", b"\0".join(encoded) + b"\0")
        _check("filled", lib.mpp_image_fill(self._slot[0], folder, listed, len(encoded)))
        _check("sealed", self._seal())

    def _seal(self) -> int:
        """Return 0, or an errno: EBUSY where some process still could write to one of the files."""
        until = time.monotonic() + _CLOSED_S
        while True:
            error = int(lib.mpp_image_seal(self._slot[0]))
            if error != errno.EBUSY or time.monotonic() > until:
                return error
            time.sleep(_PAUSE_S)

    @property
    def folder(self) -> int:
        """A descriptor of its root folder, which is the image's: not to be closed."""
        return int(lib.mpp_image_folder(self._slot[0]))

    @property
    def handle(self) -> Any:
        """What a launch takes (``struct mpp_image *``), for as long as this object lives."""
        return self._slot[0]


def _check(what: str, error: int) -> None:
    if error != 0:
        raise InternalError(
            "sandbox.image", f"a package's image could not be {what}: {os.strerror(error)}", "try again later"
        )
