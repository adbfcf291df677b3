"""What happened, on the record: the ledger of a home.

Promise 6. :meth:`Ledger.begin` puts a call's start on record; where its terms let it reach outside
(network, write, subprocess, storage), it returns only when that is durable. (So it does, too, before
the ledger was first written to and after it could not be.) Any other start is written while the call
runs, and :meth:`Ledger.finish` returns, so that the result may be handed over, only when it is
durable. The outcome follows within 100 ms. A process that dies in between leaves a start without
outcome, which reads as ``unknown`` at once and is recorded as that by the next process that writes.

What cannot be recorded is refused: every method that writes raises InternalError (``ledger.*``),
and the caller must then neither run the tool nor hand over its result.

Safe to use from many threads and processes, and across ``os.fork``. The clock is a parameter;
nothing depends on it but the times that are shown.

Not defended: someone who can write the home's files *and* read its key can write another history;
a home put back as a whole to an older state looks like that older home; entries that a killed
process had not sealed yet (up to a second's) can be cut off unnoticed; and whoever can write the database
alone can append entries behind the last one, which the next writer seals. Whoever needs more keeps
copies of ``ledger.head`` elsewhere: a later ledger must contain the entry that each of them names.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mpp_exec.audit import commitment, export, forks, head, record, restart
from mpp_exec.audit.commit import Pending
from mpp_exec.audit.commitment import Match
from mpp_exec.audit.committer import Committer
from mpp_exec.audit.entry import Caller, Entry, Kind, Outcome, PackageRef, Terms, milliseconds
from mpp_exec.audit.faults import tampered
from mpp_exec.audit.journal import Files, Journal
from mpp_exec.audit.reader import Progress, Reader
from mpp_exec.audit.record import SEAL_PURPOSE, Ending, Record
from mpp_exec.errors import InternalError, MppError, UsageError

if TYPE_CHECKING:
    from mpp_exec.audit.check import VerifyReport
    from mpp_exec.trust.keys import HomeKey

DEADLINE: Final = 10.0
"""Seconds that any one step waits for the disk and for other processes."""


@dataclass(slots=True)
class Token:
    """A call that has begun, for ``finish``. ``invocation`` is its id: 128 random bits, like a UUID."""

    invocation: str
    start: Pending = field(repr=False)
    promise: record.Promise = field(repr=False)
    process: int = field(repr=False, default_factory=os.getpid)
    finished: bool = field(repr=False, default=False)


class Ledger:
    """The ledger of one home. A context manager; ``close`` seals it and leaves no thread.

    Nothing is opened or made before it is needed, and reading makes nothing.
    """

    def __init__(
        self,
        home: Path,
        key: HomeKey,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        deadline: float = DEADLINE,
        begun: bool = False,
    ) -> None:
        """Use the ledger in the folder *home*, which exists, with the home's *key*.

        *clock* returns the time (aware) that entries are stamped with; *deadline* is in seconds.
        *begun* says that something was put on record before, so that a ledger without any entry was
        removed and is no new one.
        """
        self._files = Files(home)
        self._key = key
        self._clock = clock
        self._deadline = deadline
        self._seal_key = key.derive(SEAL_PURPOSE)
        self._reader = Reader(self._files, key, deadline=deadline, begun=begun)
        self._journal = Journal(self._files, key, clock=clock, deadline=deadline, begun=begun)
        self._committer = Committer(self._journal, deadline=deadline)
        self._closing = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._held = False
        self._at_exit = False
        forks.watch(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write and seal what is left; calls that have not finished become ``unknown``.

        Raises:
            InternalError: something could not be recorded or sealed. Closed it is all the same.
        """
        with self._closing:
            self._closed = True
            if self._at_exit:
                self._at_exit = False
                atexit.unregister(self._close_at_exit)
        if self._process == os.getpid():
            self._committer.close()
            self._journal.let_go()

    # -- calls -----------------------------------------------------------------------------------

    def begin(
        self,
        terms: Terms,
        caller: Caller,
        arguments: Any,
        *,
        confirmed_by: str = "",
        invocation: str | None = None,
        received: Mapping[str, int] | None = None,
        quietly: bool = False,
        at_once: bool = False,
    ) -> Token:
        """Put the start of a call on record, before anything of it runs.

        *arguments* is the JSON value that the tool gets, with the tokens in it that it was called with;
        only a keyed commitment to it is kept. *received* says how many values of each kind it was handed
        in their places.
        *confirmed_by* says who confirmed the call, where that was needed. Whoever may be interrupted
        makes the *invocation* first (``record.new_invocation``), and so can :meth:`abandon` it. A start that
        need not be durable yet costs less *quietly*: the caller sees to it that :meth:`wake` is called when
        the call has lasted for some milliseconds, and again when it is over. One that will last is committed
        *at_once*, by the ledger's thread, so that nobody waits for that in the end.

        Raises:
            InternalError: it cannot be recorded (``ledger.*``): the call must not run.
        """
        call = invocation or record.new_invocation()
        token = self._submit_start(
            call,
            terms,
            caller,
            arguments,
            confirmed_by=confirmed_by,
            received=received or {},
            quietly=quietly,
            at_once=at_once,
        )
        if (terms.reaches_outside or not self._committer.works) and not self._alone(token):
            self._wait_for_start(token)
        return token

    @property
    def works(self) -> bool:
        """Whether what was put on record last is durable. If not, a call waits for its start."""
        return self._committer.works

    def wake(self) -> None:
        """See to it that what was begun quietly is on record and under the head in time. May be repeated."""
        self._committer.wake()

    def finish(self, token: Token, ending: Ending) -> None:
        """Put the end of a call on record. Only after this has returned may its result be handed over.

        Raises:
            InternalError: that the call happened could not be recorded: its result must be dropped.
        """
        outcome = self._outcome(token, ending)
        if self._alone(token, outcome):
            return
        self._wait_for_start(token)
        self._committer.defer(outcome)

    def abandon(self, invocation: str, ending: Ending) -> None:
        """Record *ending* for a call that was interrupted, wherever: before it began, nothing is to be said.

        A Ctrl-C can come between any two steps of :meth:`begin` and :meth:`finish`, and take the token
        with it. What is on record tells how far they got.

        Raises:
            InternalError: it cannot be read or recorded; a start without an end reads as ``unknown``.
        """
        self._refuse_if_forked(self._process)
        self._committer.flush()
        try:
            entry = self._reader.find(invocation)
        except UsageError:
            return
        if entry.ending is None:
            self._committer.defer(
                record.outcome(
                    milliseconds(self._clock()), invocation, ending, record.Promise.new(self._seal_key)
                )
            )

    # -- everything else ---------------------------------------------------------------------------

    def event(
        self,
        kind: Kind,
        caller: Caller,
        *,
        package: PackageRef | None = None,
        tool: str = "",
        code: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Put on record, durably, something that is no call; *detail* holds CBOR values only.

        For a refused call, *code* is the code of the error it was refused with.

        Raises:
            InternalError: it cannot be recorded: what it reports must not be done.
        """
        entry = record.event(
            milliseconds(self._clock()),
            kind,
            writer=self._writer(),
            caller=caller,
            package=package,
            tool=tool,
            code=code,
            detail=detail or {},
        )
        self._write(entry)

    def erase(self, invocation: str, caller: Caller) -> int:
        """Erase the keys of a call's commitments, for good; return how many there were.

        Its entries and every hash stay as they are. What was committed to can then not be confirmed
        by anybody any more. (Copies of the home, and blocks that a disk has freed, are out of reach.)

        Raises:
            UsageError: ``ledger.unknown_entry``, ``ledger.ambiguous``, or ``ledger.running``: the call
                has not ended.
            InternalError: it could not be done.
        """
        entry = self.show(invocation)
        if entry.kind == Kind.START and entry.ending is None:
            raise UsageError("ledger.running", f"{entry.invocation} has not ended", "erase it when it has")
        parts = [part.sequence for part in (entry, entry.ending) if part is not None]
        erased = tuple(self._reader.with_keys(parts))
        if erased:
            at, writer = milliseconds(self._clock()), self._writer()
            erasure = record.erase(at, entry.invocation, writer=writer, caller=caller, erased=erased)
            self._write(erasure)
        return len(erased)

    def restart(self, caller: Caller) -> list[str]:
        """Move all of the ledger aside and begin another, which says so; return the names of what was moved.

        Raises:
            UsageError: ``ledger.in_use``: another process writes to it.
            InternalError: it could not be done.
        """
        self._refuse_if_forked(self._process)
        moved = restart.set_aside(self._files, self._clock(), deadline=self._deadline)
        self._reader.begun = self._journal.begun = False
        self.event(Kind.RESTART, caller, detail={"aside": moved})
        return moved

    # -- reading -----------------------------------------------------------------------------------

    def list(
        self,
        *,
        limit: int | None = None,
        kinds: Sequence[str] = (),
        package: str | None = None,
        tool: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[Entry]:
        """Yield entries, newest first, that pass every filter; a call is one entry with its ``ending``.

        *kinds* are values of :class:`Kind`; naming ``outcome`` or ``unknown`` lists these by
        themselves. *outcome* is a value of :class:`Outcome`.
        """
        self._flush()
        return self._reader.newest(
            limit=limit, kinds=kinds, package=package, tool=tool, outcome=outcome, since=since
        )

    def show(self, name: str) -> Entry:
        """Return one entry, by invocation, the beginning of one (4 characters or more), or number.

        Raises:
            UsageError: ``ledger.unknown_entry`` or ``ledger.ambiguous``.
        """
        self._flush()
        return self._reader.find(name)

    def prove(self, name: str, what: commitment.What, value: Any) -> Match:
        """Say whether *value* is what the call *name* was given (``arguments``) or gave (``result``).

        Raises:
            UsageError: as :meth:`show`.
            InternalError: ``ledger.tampered``, the commitment or its key was changed.
        """
        self._flush()
        return self._reader.prove(name, what, value)

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Recheck the whole ledger (:mod:`mpp_exec.audit.check`). *progress* gets done and total, in entries.

        Raises:
            InternalError: it cannot be read at all, for a reason that is no tampering.
        """
        self._flush()
        return self._reader.verify(progress)

    def export(self) -> Iterator[str]:
        """Yield the ledger as JSON Lines (:mod:`mpp_exec.audit.export`), without line ends.

        Raises:
            InternalError: ``ledger.tampered``, there is a head that is none.
        """
        self._flush()
        sealed = self._reader.sealed_head()  # before the entries, so that its entry is among them
        public_key = head.signing_key(self._key).public_key
        try:
            parts = None if sealed is None else head.parts(sealed)
        except head.HeadForgedError:
            raise tampered(f"{self._files.head.name} is not a head") from None
        return export.lines(self._reader.entries(), public_key=public_key, sealed=parts)

    # -- forks -------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close everything that a forked child must not inherit."""
        self._held = self._reader.hold()
        self._committer.pause()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._committer.resume()
        if self._held:
            self._reader.let_go()

    def after_fork_in_child(self) -> None:
        """Begin anew, as another writer; what the parent has queued is the parent's to write."""
        is_clean = self._journal.abandon()
        if not (is_clean and self._held):
            return  # the process id stays the parent's, so every method refuses
        begun = self._journal.begun or self._journal.last() > 0
        self._reader = Reader(self._files, self._key, deadline=self._deadline, begun=begun)
        self._journal = Journal(
            self._files, self._key, clock=self._clock, deadline=self._deadline, begun=begun
        )
        self._committer = Committer(self._journal, deadline=self._deadline)
        self._closing = threading.Lock()
        self._process = os.getpid()

    # -- inside ------------------------------------------------------------------------------------

    def _submit_start(
        self,
        call: str,
        terms: Terms,
        caller: Caller,
        arguments: Any,
        *,
        confirmed_by: str,
        received: Mapping[str, int],
        quietly: bool,
        at_once: bool,
    ) -> Token:
        start = record.start(
            milliseconds(self._clock()),
            call,
            writer=self._writer(),
            terms=terms,
            caller=caller,
            arguments=arguments,
            confirmed_by=confirmed_by,
            received=received,
            seal_key=self._seal_key,
        )
        held = self._committer.hold(start, quietly=quietly, at_once=at_once)
        return Token(call, held, record.Promise.new(self._seal_key))

    def _outcome(self, token: Token, ending: Ending) -> Record:
        self._refuse_if_forked(token.process)
        if token.finished:
            raise InternalError(
                "ledger.finished", f"call {token.invocation} has its outcome already", "please report this"
            )
        token.finished = True
        return record.outcome(milliseconds(self._clock()), token.invocation, ending, token.promise)

    def _write(self, entry: Record) -> None:
        self._committer.commit(self._committer.hold(entry)).wait(self._deadline)

    def _alone(self, token: Token, *more: Record) -> bool:
        """Write a start that is not written yet, and *more*, if nobody else is writing; False if not."""
        try:
            return self._committer.alone(token.start, *more)
        except BaseException as error:
            if not isinstance(error, MppError):
                self._give_up(token, error)
            raise

    def _wait_for_start(self, token: Token) -> None:
        if token.start.written:
            return
        try:
            self._committer.commit(token.start).wait(self._deadline)
        except BaseException as error:
            self._give_up(token, error)
            raise

    def _give_up(self, token: Token, error: BaseException) -> None:
        """Nobody waits for this start any more. If it is written yet, say how its call ended."""
        if token.start.settled:
            return
        code = error.code if isinstance(error, MppError) else "ledger.interrupted"
        token.finished = False
        with contextlib.suppress(MppError):
            self._committer.commit(token.start)  # in front of its end
        with contextlib.suppress(MppError):
            self._committer.defer(self._outcome(token, Ending(Outcome.FAILED, code=code)))

    def _writer(self) -> str:
        self._refuse_if_forked(self._process)
        with self._closing:
            if self._closed:
                raise InternalError("ledger.closed", "the ledger is closed", "open the runtime again")
            if not self._at_exit:
                self._at_exit = True
                atexit.register(self._close_at_exit)
            return self._journal.writer

    def _close_at_exit(self) -> None:
        with contextlib.suppress(MppError):  # what could not be written shows as unknown
            self.close()

    def _refuse_if_forked(self, process: int) -> None:
        if process != os.getpid():
            raise InternalError(
                "ledger.forked",
                "the ledger or this call was opened before this process was forked",
                "fork first, or fork with os.fork so that the ledger can be prepared for it",
            )

    def _flush(self) -> None:
        self._refuse_if_forked(self._process)
        with contextlib.suppress(MppError):  # what cannot be written now does not keep one from reading
            self._committer.flush()
