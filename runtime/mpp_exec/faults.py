"""Names each failure of a file or database with one word; stores translate these words."""

from __future__ import annotations

import errno
from typing import Final, Literal

Fault = Literal["full", "read_only", "io", "damaged", "cannot_open", "descriptors", "memory", "busy"]

# https://sqlite.org/rescode.html: primary result codes, the low eight bits of an extended one
_SQLITE: Final[dict[int, Fault]] = {
    5: "busy",  # SQLITE_BUSY
    6: "busy",  # SQLITE_LOCKED
    7: "memory",  # SQLITE_NOMEM
    8: "read_only",  # SQLITE_READONLY
    10: "io",  # SQLITE_IOERR
    11: "damaged",  # SQLITE_CORRUPT
    13: "full",  # SQLITE_FULL
    14: "cannot_open",  # SQLITE_CANTOPEN
    26: "damaged",  # SQLITE_NOTADB
}
_ERRNO: Final[dict[int, Fault]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.ENOMEM: "memory",
}


def of_os_error(error: OSError) -> Fault:
    """Return what the kernel's *error* means for whoever wanted to read or write."""
    return _ERRNO.get(error.errno or 0, "io")


def of_sqlite(error: Exception, *, default: Fault) -> Fault:
    """Return what SQLite's *error* means; *default* where it has no result code, or one not known here."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return _SQLITE.get(code & 0xFF, default)
