"""What broke underneath the ledger, in the words of :mod:`mpp_exec.errors`.

Every one of these stops the call: what cannot be recorded is not done, or not handed over.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mpp_exec.errors import InternalError, MppError

_FULL: Final = ("ledger.full", "there is no room to write", "free space on the file system of the home")
_READONLY: Final = ("ledger.readonly", "may not be written", "make the home writable for its owner")
_IO: Final = ("ledger.io", "cannot be read or written", "check the disk under the home (dmesg)")
_DAMAGED: Final = (
    "ledger.damaged",
    "is damaged",
    "run `mpp-exec audit verify`; restore the home from a backup, or move the ledger's files aside",
)
_OPEN: Final = ("ledger.unopenable", "cannot be opened", "check owner and mode of the home and its files")
_DESCRIPTORS: Final = ("ledger.descriptors", "needs a file descriptor", "raise the limit (ulimit -n)")
_MEMORY: Final = ("ledger.memory", "needs memory", "free some, or raise the limit (ulimit -v)")
_BUSY: Final = (
    "ledger.busy",
    "is held by another process",
    "look for a stopped mpp-exec process of this home",
)

# https://sqlite.org/rescode.html, primary result codes: the low eight bits
_SQLITE: Final = {
    5: _BUSY,  # SQLITE_BUSY
    6: _BUSY,  # SQLITE_LOCKED
    7: _MEMORY,  # SQLITE_NOMEM
    8: _READONLY,  # SQLITE_READONLY
    10: _IO,  # SQLITE_IOERR
    11: _DAMAGED,  # SQLITE_CORRUPT
    13: _FULL,  # SQLITE_FULL
    14: _OPEN,  # SQLITE_CANTOPEN
    26: _DAMAGED,  # SQLITE_NOTADB
}
_ERRNO: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READONLY,
    errno.EACCES: _READONLY,
    errno.EPERM: _READONLY,
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.ENOMEM: _MEMORY,
}


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the kernel raise about *path* into an :class:`InternalError`."""
    try:
        yield
    except MppError:
        raise
    except MemoryError as error:  # also how SQLITE_NOMEM arrives
        raise _error(path, _MEMORY, "out of memory") from error
    except OSError as error:
        raise _error(path, _ERRNO.get(error.errno or 0, _IO), str(error)) from error
    except UnicodeDecodeError as error:  # a text of the database, or SQLite's message about one
        raise _error(path, _DAMAGED, str(error)) from error
    except Exception as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and not type(error).__module__.startswith("sqlite3"):
            raise
        # Damage may also show as a statement that no longer compiles: a table is gone.
        raise _error(path, _SQLITE.get((code or 0) & 0xFF, _DAMAGED), str(error)) from error


def _error(path: Path, fault: tuple[str, str, str], detail: str) -> InternalError:
    code, what, hint = fault
    return InternalError(code, f"{path} {what}: {detail}", hint)


def busy(what: str) -> InternalError:
    """Return the error of a ledger that did not get its turn in time."""
    return InternalError(_BUSY[0], what, f"{_BUSY[2]}, or a disk that hangs")


def tampered(what: str) -> InternalError:
    """Return the error of a ledger that is not what it was when this home last wrote it."""
    return InternalError(
        "ledger.tampered",
        f"the ledger was changed from outside: {what}",
        "run `mpp-exec audit verify`; nothing is called until ledger.db and ledger.head are restored from a "
        "backup or moved aside, which begins a new ledger",
    )
