"""Group commit: one thread writes what all threads of a process hand it.

While one commit waits for the disk, whatever arrives joins the next one, so concurrent callers share
an fsync, and a lone caller waits for no timer. The thread also does what has a time to be done by:

==================  ===========================================================================
``OUTCOME_AFTER``   an outcome, for which nobody waits, is committed
``SEAL_AFTER``      the head is renewed over entries that no head covers yet
``RETRY_AFTER``     either is tried again after it failed
==================  ===========================================================================

Only this thread has the writable database open, and it is never the main thread: a Ctrl-C cannot
hit it between two steps.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mpp_exec.audit.faults import busy
from mpp_exec.errors import InternalError, MppError

if TYPE_CHECKING:
    from mpp_exec.audit.record import Record

OUTCOME_AFTER: Final = 0.02
"""Seconds. Promise 6 allows 100 ms; the rest is for the commit itself and a busy machine."""

SEAL_AFTER: Final = 0.5
"""Seconds. Promise 6 allows one."""

RETRY_AFTER: Final = 0.1
SEAL_GRACE: Final = 3.0
"""Seconds for which others may hold the head's lock before new calls are refused."""

MAX_WAITING: Final = 10_000
"""Records that may wait for a commit; beyond it, callers are refused rather than queued."""


_STEPS_TO_CLOSE: Final = 3  # the last commit, the calls left open, the head: each has its own deadline


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
        """Say that it is durable, or why it is not."""
        self._error = None if error is None else _as_ours(error)
        self._settled.set()

    def wait(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until this is settled.

        Raises:
            InternalError: why it failed; ``ledger.busy`` after the time-out.
        """
        if not self._settled.wait(timeout):
            raise busy("the ledger did not answer in time")
        if self._error is not None:
            raise _copy(self._error) from self._error


class _Queued(NamedTuple):
    """A record, and whether to try it again if it cannot be committed: nobody waits to be told."""

    record: Record
    again: bool


class Store(Protocol):
    """What the thread drives. All of it is called from that thread alone, and raises MppErrors."""

    def commit(self, records: list[Record]) -> None:
        """Make *records* durable, all or none."""

    def seal(self) -> None:
        """Renew the head over everything committed."""

    def suspend(self) -> None:
        """Close what a forked child must not inherit; the next commit opens it again. Raises nothing."""

    def close(self) -> None:
        """End for good. Raises if something could not be recorded or sealed."""


class Committer:
    """The thread and its queue. The first record starts it; ``close`` leaves no thread."""

    def __init__(self, store: Store, *, deadline: float) -> None:
        """Drive *store*. *deadline*: seconds that anybody waits for it at the most."""
        self._store = store
        self._deadline = deadline
        self._condition = threading.Condition()  # guards everything below
        self._thread: threading.Thread | None = None
        self._queue: list[_Queued] = []  # in the order in which they came, which is that of the chain
        self._urgent = False
        self._next = Commit()
        self._in_flight: Commit | None = None
        self._late_due: float | None = None
        self._seal_due: float | None = None
        self._seal_failing_since: float | None = None
        self._seal_error: MppError | None = None
        self._pausing = 0
        self._paused = False
        self._works = False
        self._running = False
        self._closing = False
        self._close_error: MppError | None = None

    @property
    def works(self) -> bool:
        """Whether the last commit succeeded; False before the first."""
        return self._works

    def submit(self, record: Record) -> Commit:
        """Queue *record* for the next commit, and return that commit.

        Raises:
            InternalError: ``ledger.closed``, ``ledger.busy``, ``ledger.thread``; or why the head
                cannot be renewed any more: nothing new begins on a ledger that cannot be sealed.
        """
        with self._condition:
            self._start()
            if self._seal_error is not None:
                raise _copy(self._seal_error)
            if len(self._queue) >= MAX_WAITING:
                raise busy("too many calls wait for the ledger")
            self._queue.append(_Queued(record, again=False))
            self._urgent = True
            self._condition.notify_all()
            return self._next

    def defer(self, record: Record) -> None:
        """Queue *record* to be committed within ``OUTCOME_AFTER``, or along with whatever comes first.

        One that cannot be committed is tried again until the ledger closes.

        Raises:
            InternalError: ``ledger.closed`` or ``ledger.busy``.
        """
        with self._condition:
            self._start()
            if len(self._queue) >= 2 * MAX_WAITING:  # as many outcomes as there may be starts
                raise busy("too many outcomes wait for the ledger")
            self._queue.append(_Queued(record, again=True))
            if self._late_due is None:
                self._late_due = time.monotonic() + OUTCOME_AFTER
                self._condition.notify_all()

    def flush(self) -> None:
        """Commit what is deferred now, and wait until nothing is on its way to the disk.

        Raises:
            InternalError: why it cannot be committed.
        """
        with self._condition:
            commit = self._in_flight
            if self._queue:
                commit = self._next
                self._late_due = time.monotonic()
                self._condition.notify_all()
        if commit is not None:
            commit.wait(self._deadline)

    def close(self) -> None:
        """Commit and seal everything, then end the thread. Closing again does nothing.

        Raises:
            InternalError: something could not be recorded or sealed. The thread has ended all the
                same, unless the disk holds it (``ledger.busy``).
        """
        with self._condition:
            self._closing = True
            self._condition.notify_all()
            thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.join(_STEPS_TO_CLOSE * self._deadline)
        if thread.is_alive():
            raise busy("the ledger did not close in time")
        if self._close_error is not None:
            raise self._close_error

    def pause(self) -> None:
        """Before a fork: let the thread finish its step and close the database."""
        with self._condition:
            self._pausing += 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._paused or not self._running, self._deadline)

    def resume(self) -> None:
        """After a fork, in the parent."""
        with self._condition:
            self._pausing -= 1
            self._condition.notify_all()

    def _start(self) -> None:
        if self._closing:
            raise InternalError("ledger.closed", "the ledger is closed", "open the runtime again")
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="mpp-exec ledger", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise InternalError(
                "ledger.thread",
                f"the ledger's thread cannot be started: {error}",
                "raise the limit on processes (ulimit -u), and call no tool while the interpreter exits",
            ) from error
        self._thread, self._running = thread, True

    def _run(self) -> None:
        try:
            try:
                while self._wait_until_due():
                    self._step()
            finally:
                with self._condition:
                    self._closing = True
                self._finish()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever closes
            self._close_error = _as_ours(error)
        finally:
            with self._condition:
                self._running = False
                self._condition.notify_all()

    def _wait_until_due(self) -> bool:
        """Wait until there is something to do; False means to finish."""
        with self._condition:
            while not self._is_due():
                if self._pausing and not self._paused:
                    self._store.suspend()
                    self._paused = True
                    self._condition.notify_all()
                self._condition.wait(self._seconds_to_wait())
            self._paused = False
            return not self._closing

    def _is_due(self) -> bool:
        if self._pausing:
            return False
        if self._closing or self._urgent:
            return True
        now = time.monotonic()
        return any(due is not None and now >= due for due in (self._late_due, self._seal_due))

    def _seconds_to_wait(self) -> float | None:
        dues = [due for due in (self._late_due, self._seal_due) if due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues and not self._pausing else None

    def _step(self) -> None:
        queued, commit = self._take()
        if queued:
            try:
                self._store.commit([record for record, _ in queued])
            except BaseException as error:  # noqa: BLE001 -- handed to everyone who waits for it
                self._works = False
                self._put_back(queued)
                commit.settle(error)
            else:
                self._works = True
                if self._seal_due is None:
                    self._seal_due = time.monotonic() + SEAL_AFTER
                commit.settle()
        if self._seal_due is not None and time.monotonic() >= self._seal_due:
            self._seal()

    def _finish(self) -> None:
        queued, commit = self._take()
        try:
            if queued:
                self._store.commit([record for record, _ in queued])
                commit.settle()
        except BaseException as error:
            commit.settle(error)
            raise
        finally:
            self._store.close()

    def _take(self) -> tuple[list[_Queued], Commit]:
        with self._condition:
            queued, commit = self._queue, self._next
            if queued:
                self._queue, self._urgent, self._late_due = [], False, None
                self._next, self._in_flight = Commit(), commit
            return queued, commit

    def _put_back(self, queued: list[_Queued]) -> None:
        with self._condition:
            self._queue[:0] = [each for each in queued if each.again]
            if self._queue:
                self._late_due = time.monotonic() + RETRY_AFTER

    def _seal(self) -> None:
        try:
            self._store.seal()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever begins the next call
            now = time.monotonic()
            problem = _as_ours(error)
            since = self._seal_failing_since = self._seal_failing_since or now
            self._seal_due = now + RETRY_AFTER
            if problem.code != "ledger.busy" or now - since > SEAL_GRACE:
                self._seal_error = problem
        else:
            self._seal_due = self._seal_failing_since = self._seal_error = None


def _as_ours(error: BaseException) -> MppError:
    if isinstance(error, MppError):
        return error
    what = f"the ledger failed: {type(error).__name__}: {error}"
    return InternalError("ledger.fault", what, "please report this")


def _copy(error: MppError) -> MppError:
    """Return *error* anew, for one of several threads that raise it."""
    return type(error)(error.code, error.message, error.hint)
