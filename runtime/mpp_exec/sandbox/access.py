"""What a traced call asked the kernel for, as the watcher noted it.

A note says what was asked, not what came of it: the watcher sees a call before the kernel decides it. The
tool chose the text of a path, and may have changed it a moment later.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from mpp_exec.sandbox import syscalls
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.supervise import RawNote, WatchedRow
from mpp_exec.sandbox.watching import watched_calls

Does = Literal["look", "read", "change", "make", "start", "socket", "fork"]


@dataclass(frozen=True, slots=True)
class Access:
    """One thing a tool asked for.

    Attributes:
        does: ``look`` (facts about a path), ``read``, ``change`` (what exists), ``make`` (or remove an
            entry of a folder), ``start`` (execute), ``socket``, ``fork`` (refused, both).
        call: the system call.
        path: absolute inside the sandbox, without ``..``; "" for a socket or a process, and where a
            relative path could not be resolved.
        family: of a socket (AF_*), else 0.
    """

    does: Does
    call: str
    path: str = ""
    family: int = 0


@cache
def watched_rows(profile: tuple[Allow, ...]) -> tuple[WatchedRow, ...]:
    """Return how the watcher reads the calls of a tool of *profile*."""
    return tuple(
        WatchedRow(syscalls.X86_64[row.name], row.path, row.folder, row.word, row.refuse)
        for row in watched_calls(profile)
    )


def read_notes(profile: tuple[Allow, ...], notes: Sequence[RawNote]) -> tuple[Access, ...]:
    """Return what *notes* of a tool of *profile* say, in the order of the first of each."""
    if not notes:  # of every call that is not traced: to look a profile up takes longer than a system call
        return ()
    rows = watched_calls(profile)
    found: dict[Access, None] = {}
    for note in notes:
        row = rows[note.row]
        if row.does in ("socket", "fork"):
            found[Access(row.does, row.name, family=note.word & 0xFFFF if row.does == "socket" else 0)] = None  # type: ignore[arg-type]
            continue
        does = _opens(note.word) if row.does == "open" else row.does
        found[Access(does, row.name, _absolute(note))] = None  # type: ignore[arg-type]
    return tuple(found)


def _opens(flags: int) -> Does:
    if flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        return "make"
    if flags & os.O_PATH:
        return "look"
    return "change" if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC) else "read"


def _absolute(note: RawNote) -> str:
    if note.folder is None:
        return ""
    whole = os.fsdecode(note.folder + b"/" + note.path if note.folder else note.path)
    # Two slashes in front mean nothing of their own on Linux; POSIX lets them, and normpath keeps them.
    return os.path.normpath(f"/{whole.lstrip('/')}")
