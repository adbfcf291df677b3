"""What broke underneath the store, in the words of :mod:`mpp_exec.errors`.

Whatever it is, the state before stays: every change is one transaction.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from mpp_exec.errors import InternalError

_FULL: Final = (
    "store.full",
    "there is no room",
    "free space on the file system of the home; nothing changed",
)
_READ_ONLY: Final = ("store.read_only", "it may not be written", "make the home writable for its owner")
_IO: Final = ("store.io", "it cannot be read or written", "check the disk under the home (dmesg)")
_CORRUPT: Final = (
    "store.corrupt",
    "it is damaged",
    "restore the home from a backup, or move state.db away and install again",
)
_CANNOT_OPEN: Final = ("store.cannot_open", "it cannot be opened", "check owner and mode of the home's files")
_DESCRIPTORS: Final = ("store.descriptors", "there is no file descriptor left", "raise the limit (ulimit -n)")
_MEMORY: Final = ("store.memory", "there is no memory left", "free some, or raise the limit (ulimit -v)")
_BUSY: Final = (
    "store.busy",
    "another process holds it",
    "try again; if it stays so, look for a stopped mpp-exec process",
)

# https://sqlite.org/rescode.html: primary result codes, the low eight bits of an extended one
_SQLITE: Final = {
    5: _BUSY,  # SQLITE_BUSY
    6: _BUSY,  # SQLITE_LOCKED
    7: _MEMORY,  # SQLITE_NOMEM
    8: _READ_ONLY,  # SQLITE_READONLY
    10: _IO,  # SQLITE_IOERR
    11: _CORRUPT,  # SQLITE_CORRUPT
    13: _FULL,  # SQLITE_FULL
    14: _CANNOT_OPEN,  # SQLITE_CANTOPEN
    26: _CORRUPT,  # SQLITE_NOTADB
}
_ERRNO: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.ENOMEM: _MEMORY,
}


def io_error(error: OSError, path: Path) -> InternalError:
    """Return the error for what the kernel said about *path*."""
    code, what, hint = _ERRNO.get(error.errno or 0, _IO)
    return InternalError(code, f"{path} cannot be used, {what}: {error.strerror or error}", hint)


def sqlite_error(error: Exception, path: Path) -> InternalError:
    """Return the error for what SQLite said about the database at *path*."""
    result = getattr(error, "sqlite_errorcode", 0) or 0
    code, what, hint = _SQLITE.get(result & 0xFF, _IO)
    return InternalError(code, f"{path} cannot be used, {what}: {error}", hint)


def corrupt(path: Path, what: str) -> InternalError:
    """Return the error for a database that holds something that was never written there."""
    code, _, hint = _CORRUPT
    return InternalError(code, f"{path} is damaged: {what}", hint)


def busy(path: Path, seconds: float) -> InternalError:
    """Return the error for a lock on *path* that was not had within *seconds*."""
    code, what, hint = _BUSY
    return InternalError(code, f"{path} cannot be used, {what} for more than {seconds:g} s", hint)
