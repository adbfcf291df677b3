"""What waits for the disk: a commit to come, a record that is held back; and what the disk is for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from mpp_exec.audit.faults import busy
from mpp_exec.errors import InternalError, MppError

if TYPE_CHECKING:
    from mpp_exec.audit.record import Record


class Store(Protocol):
    """What is driven. All of it is called by one thread at a time, and raises MppErrors."""

    def commit(self, records: list[Record]) -> None:
        """Make *records* durable, all or none."""

    def last(self) -> int:
        """Return the number of an entry; everything that is committed from now on follows that entry."""

    def seal(self) -> None:
        """Renew the head over everything committed."""

    def suspend(self) -> None:
        """Close what a forked child must not inherit; the next commit opens it again. Raises nothing."""

    def close(self) -> None:
        """End for good. Raises if something could not be recorded or sealed."""


class Commit:
    """One commit to come, and what became of it. Everyone whose record is in it shares it.

    (``concurrent.futures.Future`` takes 7 ms to import.)
    """

    __slots__ = ("_error", "_settled")

    def __init__(self) -> None:
        self._settled = threading.Event()
        self._error: MppError | None = None

    @property
    def settled(self) -> bool:
        """Whether it is known what became of it."""
        return self._settled.is_set()

    def settle(self, error: BaseException | None = None) -> None:
        """Record that the commit is durable, or the *error* why it is not."""
        self._error = None if error is None else as_ours(error)
        self._settled.set()

    def wait(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until this is settled.

        Raises:
            InternalError: why it failed; ``ledger.busy`` after the time-out.
        """
        if not self._settled.wait(timeout):
            raise busy("the ledger did not answer in time")
        if self._error is not None:
            raise copy_of(self._error) from self._error


class Pending:
    """A record on its way: held back, then in a commit, then written.

    Attributes:
        commit: the one that it is in, None while it is held back.
        written: whether its own thread has seen it become durable.
        due: when the committer's thread writes it at the latest (``time.monotonic``).
        tried_after: the last entry before an attempt to write it of which nobody saw the end.
        quiet: its caller tells the committer's thread itself when there is something to do for it.
    """

    __slots__ = ("commit", "due", "quiet", "record", "tried_after", "written")

    def __init__(self, record: Record, due: float, *, quiet: bool = False) -> None:
        self.record = record
        self.due = due
        self.quiet = quiet
        self.commit: Commit | None = None
        self.written = False
        self.tried_after: int | None = None

    @property
    def settled(self) -> bool:
        """Whether it is known what became of it."""
        return self.written or (self.commit is not None and self.commit.settled)

    def to_write(self) -> Record:
        """Return the record, told where to look for itself if it may have been written already."""
        if self.tried_after is None:
            return self.record
        return self.record._replace(maybe_after=self.tried_after)


def as_ours(error: BaseException) -> MppError:
    """Return *error* as an MppError."""
    if isinstance(error, MppError):
        return error
    what = f"the ledger failed: {type(error).__name__}: {error}"
    return InternalError("ledger.fault", what, "please report this")


def copy_of(error: MppError) -> MppError:
    """Return a copy of *error*, for one of several threads that raise it."""
    return type(error)(error.code, error.message, error.hint)
