"""Checks many files at once for changes since they were last looked at.

Compared are device, inode, mode, owner, size, mtime and ctime: nobody but root and the owner can change a
file without changing one of these. What a name leads to is not opened, and one look says nothing by itself.
Only two equal looks are an answer: no file was touched between them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import native

_AT_FDCWD = -100  # <fcntl.h>


class Look:
    """The names of files to look at, and what was seen when this was made.

    Args:
        names: paths; relative ones lie in *folder*. Links are not followed.
        folder: a descriptor, or nothing where all names are absolute.
    """

    __slots__ = ("_count", "_names", "_seen", "names")

    def __init__(self, names: Iterable[str], folder: int = _AT_FDCWD) -> None:
        self.names = tuple(names)
        encoded = [os.fsencode(name) for name in self.names]
        if any(b"\0" in name for name in encoded):
            raise InternalError("sandbox.look", "a file name holds a NUL")
        self._count = len(encoded)
        self._names = b"\0".join(encoded) + b"\0"
        self._seen = native.look(folder, self._names, self._count)

    def is_same(self, folder: int = _AT_FDCWD) -> bool:
        """Tell whether every file is what it was, or as absent as it was."""
        return native.look(folder, self._names, self._count) == self._seen
