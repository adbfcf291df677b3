"""Group commit: a lone caller writes its own record, and one thread writes the records of many callers.

A caller without concurrent callers commits in its own thread, which saves two thread switches. While that or
any other commit waits for the disk, new records join the next commit, which the committer's thread makes. So
concurrent callers share an fsync, and a lone caller waits for no timer. The thread also does work that is
due at a certain time:

==================  ===========================================================================
``START_AFTER``     a start, for which nobody waits yet, is committed
``OUTCOME_AFTER``   an outcome, for which nobody waits, is committed
``SEAL_AFTER``      the head is renewed over entries that no head covers yet
``RETRY_AFTER``     either is tried again after it failed
==================  ===========================================================================

The writable database belongs to whoever has the turn. A Ctrl-C hits the main thread between any two
steps, of a commit too; so who commits for itself commits only what is its own, and before it does, it
notes where the chain ended. Whatever came of it, the thread finds out and does the rest.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_exec.audit.commit import Commit, Pending, Store, as_ours, copy_of
from mpp_exec.audit.faults import busy
from mpp_exec.errors import InternalError, MppError

if TYPE_CHECKING:
    from mpp_exec.audit.record import Record

START_AFTER: Final = 0.005
"""Seconds. Most calls are over by then, and their start and outcome are one commit."""

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
_LOOK: Final = (
    0.05  # seconds between two looks at a turn: an interrupted owner may not have said that it ended
)
_NEVER: Final = float("inf")


class _Queued(NamedTuple):
    """A record, and whether to try it again if it cannot be committed: nobody waits to be told."""

    record: Record
    again: bool


class Committer:
    """The turn, the thread and its queue. The first record starts it; ``close`` leaves no thread."""

    def __init__(self, store: Store, *, deadline: float) -> None:
        """Drive *store*. *deadline*: seconds that anybody waits for it at the most."""
        self._store = store
        self._deadline = deadline
        self._lock = threading.RLock()  # guards everything below; by itself, it is safe from Ctrl-C
        self._condition = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._turn: object | None = None  # of whoever drives the store
        self._owner = 0  # the thread that has the turn, where it has one
        self._held: dict[Pending, None] = {}  # in the order in which they are due
        self._queue: list[_Queued] = []  # in the order in which they came, which is that of the chain
        self._urgent = False
        self._flushing = False
        self._next = Commit()
        self._in_flight: Commit | None = None
        self._late_due: float | None = None
        self._seal_due: float | None = None
        self._seal_failing_since: float | None = None
        self._seal_error: MppError | None = None
        self._wakes_at = _NEVER
        self._active = False
        self._pausing = 0
        self._paused = False
        self._works = False
        self._ready = False
        self._running = False
        self._closing = False
        self._close_error: MppError | None = None

    @property
    def works(self) -> bool:
        """Whether the last commit succeeded; False before the first."""
        return self._works

    # -- what callers do ---------------------------------------------------------------------------

    def hold(self, record: Record, *, quietly: bool = False, at_once: bool = False) -> Pending:
        """Take *record*, for which nobody waits yet; it is committed within ``START_AFTER`` at the latest.

        *quietly*: the thread that does so is not woken before :meth:`wake`, which the caller promises to
        call while it waits for anything, and when it has committed it itself. *at_once*: it is due.

        Raises:
            InternalError: ``ledger.closed``, ``ledger.busy``, ``ledger.thread``; or why the head
                cannot be renewed any more: nothing new begins on a ledger that cannot be sealed.
        """
        with self._lock:
            self._start()
            if self._seal_error is not None:
                raise copy_of(self._seal_error)
            if len(self._queue) + len(self._held) >= MAX_WAITING:
                raise busy("too many calls wait for the ledger")
            due = time.monotonic() + (0.0 if at_once else START_AFTER)
            pending = Pending(record, due, quiet=quietly)
            self._held[pending] = None
            self._active = True
            if not quietly:
                self._wake_by(pending.due)
            return pending

    def wake(self) -> None:
        """Make sure that records that were held quietly are committed, and sealed, in time."""
        with self._lock:
            due = self._due()
            if due is not None:
                self._wake_by(due)

    def alone(self, pending: Pending, *more: Record) -> bool:
        """Commit *pending* and *more* in this thread; do nothing and return False if there are other callers.

        Raises:
            InternalError: it cannot be committed, and will not be.
        """
        turn, done = object(), False
        try:
            if self._take_turn(turn, pending):
                self._commit_own(pending, more)
                done = True
        finally:
            # Signals are looked for after calls and jumps back, and there is none before this.
            if self._turn is turn:  # no signal
                self._turn = None  # no signal
                self._let_go()
        return done

    def commit(self, pending: Pending) -> Commit:
        """Put *pending* into the next shared commit, and return that commit."""
        with self._lock:
            if pending.commit is None:
                self._held.pop(pending, None)
                pending.commit = self._next
                self._queue.append(_Queued(pending.to_write(), again=False))
                self._urgent = True
                self._condition.notify_all()
            self._refuse_own_turn()
            return pending.commit

    def defer(self, record: Record) -> None:
        """Queue *record* to be committed within ``OUTCOME_AFTER``, or along with whatever comes first.

        One that cannot be committed is tried again until the ledger closes.

        Raises:
            InternalError: ``ledger.closed`` or ``ledger.busy``.
        """
        with self._lock:
            self._start()
            if len(self._queue) >= 2 * MAX_WAITING:  # as many outcomes as there may be starts
                raise busy("too many outcomes wait for the ledger")
            self._queue.append(_Queued(record, again=True))
            if self._late_due is None:
                self._late_due = time.monotonic() + OUTCOME_AFTER
                self._wake_by(self._late_due)

    def flush(self) -> None:
        """Commit held and deferred records now, and wait until nothing is on its way to the disk.

        Raises:
            InternalError: why it cannot be committed.
        """
        with self._lock:
            commit = self._in_flight
            if self._running and (self._queue or self._held or self._turn is not None):
                self._refuse_own_turn()
                commit = self._next
                self._flushing = True
                self._condition.notify_all()
        if commit is not None:
            commit.wait(self._deadline)

    def close(self) -> None:
        """Commit and seal everything, then end the thread. Closing again does nothing.

        Raises:
            InternalError: something could not be recorded or sealed. The thread has ended all the
                same, unless the disk holds it (``ledger.busy``).
        """
        with self._lock:
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
        with self._lock:
            self._pausing += 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._paused or not self._running, self._deadline)

    def resume(self) -> None:
        """After a fork, in the parent."""
        with self._lock:
            self._pausing -= 1
            self._condition.notify_all()

    def _take_turn(self, turn: object, pending: Pending) -> bool:
        with self._lock:
            if (
                self._turn is not None
                or pending.commit is not None
                or pending.written
                or pending.tried_after is not None
                or self._urgent  # others wait: whoever comes later does not overtake them
                or not self._ready
                or self._pausing
                or self._closing
            ):
                return False
            # From here on, nobody knows whether it was written until somebody has looked.
            pending.tried_after = self._store.last()
            self._owner = threading.get_ident()
            self._turn = turn
            return True

    def _commit_own(self, pending: Pending, more: tuple[Record, ...]) -> None:
        try:
            self._store.commit([pending.record, *more])
        except MppError:
            self._works = self._ready = False
            with self._lock:
                self._held.pop(pending, None)
            raise
        pending.written = True
        with self._lock:
            self._held.pop(pending, None)
            self._sealed_later(quietly=pending.quiet)

    def _refuse_own_turn(self) -> None:
        """Refuse, in a signal handler, to wait for a commit of this thread that the signal interrupted."""
        if self._turn is not None and self._owner == threading.get_ident():
            raise busy("the ledger is being written by what this call has interrupted")

    def _let_go(self) -> None:
        with self._lock:
            self._owner = 0
            if self._urgent or self._flushing or self._pausing or self._closing:
                self._condition.notify_all()

    def _wake_by(self, due: float) -> None:
        if due < self._wakes_at:
            self._wakes_at = due
            self._condition.notify_all()

    def _sealed_later(self, *, quietly: bool = False) -> None:
        if self._seal_due is None:
            self._seal_due = time.monotonic() + SEAL_AFTER
            if not quietly:
                self._wake_by(self._seal_due)

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

    # -- what the thread does ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            try:
                while self._wait_until_due():
                    self._step()
                    self._end_turn()
            finally:
                with self._lock:
                    self._closing = True
                self._finish()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever closes
            self._close_error = as_ours(error)
        finally:
            with self._lock:
                self._turn, self._running = None, False
                self._condition.notify_all()

    def _wait_until_due(self) -> bool:
        """Wait until there is something to do, and for the turn; False means to finish."""
        with self._lock:
            while not self._is_due() or self._turn is not None:
                if self._pausing and not self._paused and self._turn is None:
                    self._store.suspend()
                    self._ready, self._paused = False, True
                    self._condition.notify_all()
                self._condition.wait(self._seconds_to_wait())
            self._paused = False
            self._turn, self._owner = self, threading.get_ident()
            return not self._closing

    def _end_turn(self) -> None:
        with self._lock:
            self._turn = None
            self._condition.notify_all()

    def _is_due(self) -> bool:
        if self._pausing:
            return False
        if self._closing or self._urgent or self._flushing:
            return True
        due = self._due()
        return due is not None and time.monotonic() >= due

    def _due(self) -> float | None:
        first = next(iter(self._held), None)
        dues = (self._late_due, self._seal_due, None if first is None else first.due)
        return min((due for due in dues if due is not None), default=None)

    def _seconds_to_wait(self) -> float | None:
        """Return how long to wait. While calls come and go, it looks by itself: waking it costs them."""
        now = time.monotonic()
        due = None if self._pausing else self._due()
        if self._active:
            due, self._active = min(due or _NEVER, now + START_AFTER), False
        if self._turn is not None and (due is None or due <= now):
            due = now + _LOOK
        self._wakes_at = _NEVER if due is None else due
        return None if due is None else max(0.0, due - now)

    def _step(self) -> None:
        queued, commit = self._take()
        if queued:
            try:
                self._store.commit([record for record, _ in queued])
            except BaseException as error:  # noqa: BLE001 -- handed to everyone who waits for it
                self._works = self._ready = False
                self._put_back(queued)
                commit.settle(error)
            else:
                self._works = self._ready = True
                with self._lock:
                    self._sealed_later()
        if not commit.settled:
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
        """Take the records that are due, and the commit that will contain them."""
        with self._lock:
            now = time.monotonic()
            everything = self._flushing or self._closing
            held = [each for each in self._held if everything or each.due <= now]
            for pending in held:
                del self._held[pending]
                pending.commit = self._next
            # In front: the end of one of them may be in the queue.
            queued = [_Queued(each.to_write(), again=False) for each in held] + self._queue
            commit = self._next
            self._queue, self._urgent, self._flushing, self._late_due = [], False, False, None
            self._next, self._in_flight = Commit(), commit
            return queued, commit

    def _put_back(self, queued: list[_Queued]) -> None:
        with self._lock:
            self._queue[:0] = [each for each in queued if each.again]
            if self._queue:
                self._late_due = time.monotonic() + RETRY_AFTER

    def _seal(self) -> None:
        try:
            self._store.seal()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever begins the next call
            now = time.monotonic()
            problem = as_ours(error)
            since = self._seal_failing_since = self._seal_failing_since or now
            self._seal_due = now + RETRY_AFTER
            if problem.code != "ledger.busy" or now - since > SEAL_GRACE:
                self._seal_error = problem
        else:
            self._seal_due = self._seal_failing_since = self._seal_error = None
