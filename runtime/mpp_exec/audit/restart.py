"""Move a ledger aside, so that its home can begin another: the one way on after it was tampered with.

Nothing is removed: what was on record stays as it is, for whoever finds out what happened to it.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpp_exec.audit import head, writers
from mpp_exec.audit.faults import translated
from mpp_exec.errors import UsageError

if TYPE_CHECKING:
    from mpp_exec.audit.journal import Files

_LOG: Final = ("-wal", "-shm")


def set_aside(files: Files, at: datetime, *, deadline: float) -> list[str]:
    """Rename the files of the ledger; return their new names. *deadline* is in seconds.

    The database goes last: a crash in between leaves one that is refused, and this can be done again.

    Raises:
        UsageError: ``ledger.in_use``: another process writes to it.
        InternalError: see :mod:`mpp_exec.audit.faults`.
    """
    with translated(files.home):
        files.locks.mkdir(mode=0o700, exist_ok=True)
        with head.exclusive(files.head_lock, time.monotonic() + deadline):
            if others := writers.alive(files.locks):
                raise UsageError(
                    "ledger.in_use",
                    f"process {others[0].partition('-')[0]} writes to the ledger of this home",
                    "end every program that uses this home first",
                )
            logs = (files.database.with_name(f"{files.database.name}{suffix}") for suffix in _LOG)
            return _renamed((files.head, *logs, files.database), f"{at:%Y%m%dt%H%M%Sz}")


def _renamed(paths: tuple[Path, ...], stamp: str) -> list[str]:
    names = []
    for path in paths:
        # The log is found by the name of its database, so the stamp goes in front of both.
        aside = path.with_name(path.name.replace("ledger.", f"ledger.{stamp}.", 1))
        if aside.exists():
            raise FileExistsError(aside)
        try:
            path.rename(aside)
        except FileNotFoundError:
            continue
        names.append(aside.name)
    folder = os.open(paths[0].parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return names
