"""What broke underneath the ledger, in the words of :mod:`mpp_exec.errors`.

Every one of these stops the call: what cannot be recorded is not done, or not handed over.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final

from mpp_exec.errors import InternalError, MppError
from mpp_exec.faults import Fault, of_os_error, of_sqlite

_FAULTS: Final[dict[Fault, tuple[str, str, str]]] = {
    "full": ("ledger.full", "there is no room to write", "free space on the file system of the home"),
    "read_only": ("ledger.readonly", "may not be written", "make the home writable for its owner"),
    "io": ("ledger.io", "cannot be read or written", "check the disk under the home (dmesg)"),
    "damaged": (
        "ledger.damaged",
        "is damaged",
        "run `mpp-exec audit verify`; restore the home from a backup, or run `mpp-exec audit restart`",
    ),
    "cannot_open": (
        "ledger.unopenable",
        "cannot be opened",
        "check owner and mode of the home and its files",
    ),
    "descriptors": ("ledger.descriptors", "needs a file descriptor", "raise the limit (ulimit -n)"),
    "memory": ("ledger.memory", "needs memory", "free some, or raise the limit (ulimit -v)"),
    "busy": (
        "ledger.busy",
        "is held by another process",
        "look for a stopped mpp-exec process of this home",
    ),
}
"""For each fault: code, what is said of the file, hint."""


class translated:  # noqa: N801 -- what it does, in a with statement
    """Turn what SQLite and the kernel raise about *path* into an :class:`InternalError`.

    It holds nothing, so that one can be used again, and inside itself. (A generator takes eight times as
    long, and every call comes by here several times.)
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (fault := _of(self._path, error)) is not None:
            raise fault from error


def _of(path: Path, error: BaseException) -> InternalError | None:
    """Return what *error* is in the ledger's words; None for what passes as it is."""
    if isinstance(error, MppError) or not isinstance(error, Exception):
        return None
    if isinstance(error, MemoryError):  # also how SQLITE_NOMEM arrives
        return _error(path, "memory", "out of memory")
    if isinstance(error, OSError):
        return _error(path, of_os_error(error), str(error))
    if isinstance(error, UnicodeDecodeError):  # a text of the database, or SQLite's message about one
        return _error(path, "damaged", str(error))
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and not type(error).__module__.startswith("sqlite3"):
        return None
    # Damage may also show as a statement that no longer compiles: a table is gone.
    return _error(path, of_sqlite(error, default="damaged"), str(error))


def _error(path: Path, fault: Fault, detail: str) -> InternalError:
    code, what, hint = _FAULTS[fault]
    return InternalError(code, f"{path} {what}: {detail}", hint)


def busy(what: str) -> InternalError:
    """Return the error of a ledger that did not get its turn in time."""
    code, _, hint = _FAULTS["busy"]
    return InternalError(code, what, f"{hint}, or a disk that hangs")


def tampered(what: str) -> InternalError:
    """Return the error of a ledger that is not what it was when this home last wrote it."""
    return InternalError(
        "ledger.tampered",
        f"the ledger was changed from outside: {what}",
        "run `mpp-exec audit verify`; nothing is called until ledger.db and ledger.head are restored from a "
        "backup, or `mpp-exec audit restart` moves them aside and begins another",
    )
