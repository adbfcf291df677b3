"""Translates failures below the store into errors of :mod:`mpp_exec.errors`.

After any of them the previous state remains: every change is one transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mpp_exec.errors import InternalError
from mpp_exec.faults import Fault, of_os_error, of_sqlite

_FAULTS: Final[dict[Fault, tuple[str, str, str]]] = {
    "full": (
        "store.full",
        "there is no room",
        "free space on the file system of the home; nothing changed",
    ),
    "read_only": ("store.read_only", "it may not be written", "make the home writable for its owner"),
    "io": ("store.io", "it cannot be read or written", "check the disk under the home (dmesg)"),
    "damaged": (
        "store.corrupt",
        "it is damaged",
        "restore the home from a backup, or move state.db away and install again",
    ),
    "cannot_open": (
        "store.cannot_open",
        "it cannot be opened",
        "check owner and mode of the home's files",
    ),
    "descriptors": (
        "store.descriptors",
        "there is no file descriptor left",
        "raise the limit (ulimit -n)",
    ),
    "memory": ("store.memory", "there is no memory left", "free some, or raise the limit (ulimit -v)"),
    "busy": (
        "store.busy",
        "another process holds it",
        "try again; if it stays so, look for a stopped mpp-exec process",
    ),
}
"""For each fault: code, what is the matter, hint."""


def io_error(error: OSError, path: Path) -> InternalError:
    """Return the error for what the kernel said about *path*."""
    code, what, hint = _FAULTS[of_os_error(error)]
    return InternalError(code, f"{path} cannot be used, {what}: {error.strerror or error}", hint)


def sqlite_error(error: Exception, path: Path) -> InternalError:
    """Return the error for what SQLite said about the database at *path*."""
    code, what, hint = _FAULTS[of_sqlite(error, default="io")]
    return InternalError(code, f"{path} cannot be used, {what}: {error}", hint)


def replaced(path: Path) -> InternalError:
    """Return the error for a database whose file was replaced while it was in use."""
    return InternalError(
        "store.replaced",
        f"{path} cannot be used, it is another file than when it was opened",
        "start again whatever uses this home (mpp-exec serve --stop); end it before a backup is put back",
    )


def corrupt(path: Path, what: str) -> InternalError:
    """Return the error for a database that holds data which mpp-exec never wrote there."""
    code, _, hint = _FAULTS["damaged"]
    return InternalError(code, f"{path} is damaged: {what}", hint)


def busy(path: Path, seconds: float) -> InternalError:
    """Return the error for a lock on *path* that could not be taken within *seconds*."""
    code, what, hint = _FAULTS["busy"]
    return InternalError(code, f"{path} cannot be used, {what} for more than {seconds:g} s", hint)
