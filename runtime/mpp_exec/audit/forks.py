"""What keeps ``os.fork`` and an open SQLite database apart.

SQLite keeps what it knows of a file's locks per process. A fork copies that knowledge, but not the
locks, so a child that opens the same file again believes in locks that it does not have
(https://sqlite.org/howtocorrupt.html, 2.6). Hence every database is closed before a fork and opened
again after it, in the parent; the child starts with nothing open.

This covers ``os.fork`` and what is built on it (``multiprocessing``). ``subprocess`` executes
another program at once and needs none of it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that has to know of a fork. None of it may raise."""

    def before_fork(self) -> None:
        """Close what must not be open during a fork, and let nobody open it."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin anew: there are no other threads, and every lock may have been left held."""


_guard = threading.Lock()  # held from before a fork until after it, so that nothing new is opened meanwhile
_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_stopped: list[Forkable] = []


def watch(forkable: Forkable) -> None:
    """Tell *forkable* of every fork from now on, until it is garbage."""
    with _guard:
        _known.add(forkable)


def _before() -> None:
    _guard.acquire()
    for forkable in list(_known):
        _stopped.append(forkable)
        forkable.before_fork()


def _after_in_parent() -> None:
    while _stopped:
        _stopped.pop().after_fork_in_parent()
    if _guard.locked():
        _guard.release()


def _after_in_child() -> None:
    global _guard  # noqa: PLW0603 -- a lock as good as new, whatever the other threads were doing
    _guard = threading.Lock()
    _stopped.clear()
    for forkable in list(_known):
        forkable.after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
