"""What whoever has the committer's turn does with the ledger: append, renew the head, account for the dead.

Opening the ledger to write is where trust in it is established: the head is checked against the
chain before anything is added. Calls whose writer has died get their ``unknown`` whenever the head is
renewed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpp_exec.audit import head, record, writers
from mpp_exec.audit.database import Database
from mpp_exec.audit.entry import NO_ENTRY, link, milliseconds
from mpp_exec.audit.faults import tampered, translated
from mpp_exec.audit.record import Record
from mpp_exec.audit.tables import OpenCall, Tip
from mpp_exec.errors import MppError

if TYPE_CHECKING:
    from mpp_exec.trust.keys import HomeKey, SigningKey

_PATIENCE: Final = 0.05  # seconds that the thread waits for the head's lock while calls wait for it
_CHUNK: Final = 200  # entries read at a time


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts of a home's ledger lie."""

    home: Path

    @property
    def database(self) -> Path:
        """The chain."""
        return self.home / "ledger.db"

    @property
    def head(self) -> Path:
        """The sealed head."""
        return self.home / "ledger.head"

    @property
    def locks(self) -> Path:
        """The folder of lock files."""
        return self.home / "locks"

    @property
    def head_lock(self) -> Path:
        """Held while the head is renewed."""
        return self.locks / "ledger-head"


class Journal:
    """The writing side of one process. All but ``writer`` is called from one thread at a time."""

    def __init__(
        self,
        files: Files,
        home_key: HomeKey,
        *,
        clock: Callable[[], datetime],
        deadline: float,
        begun: bool = False,
    ) -> None:
        """Name the parts; nothing is opened before the first commit. *deadline* is in seconds.

        *begun* says that this home is known to have a ledger: then one without an entry is no new one.
        """
        self._files = files
        self._home_key = home_key
        self._clock = clock
        self._deadline = deadline
        self.begun = begun
        self._database = Database(files.database, deadline=deadline)
        self._taking = threading.Lock()
        self._lock: writers.WriterLock | None = None
        self._signing_key: SigningKey | None = None
        self._has_written = False

    @property
    def writer(self) -> str:
        """The name of this writer in the entries it makes. Takes the lock that keeps the name alive.

        Raises:
            InternalError: the lock cannot be had.
        """
        lock = self._lock
        if lock is not None:  # once taken, its name is the writer's until it is let go
            return lock.name
        with self._taking, translated(self._files.locks):
            if self._lock is None:
                self._lock = writers.WriterLock(self._files.locks)
            return self._lock.name

    def commit(self, records: list[Record]) -> None:
        """Append *records*, durably, all or none.

        Raises:
            InternalError: see :mod:`mpp_exec.audit.faults`.
        """
        self._open()
        try:
            self._database.append(records)
        except MppError:
            self._database.close()  # whatever state it was left in, the next commit opens it afresh
            raise
        self._has_written = True

    def last(self) -> int:
        """Return the number of the last entry seen here: what is committed from now on follows it."""
        return self._database.last

    def seal(self) -> None:
        """Renew the head over everything committed, and record which calls died with their writer.

        Raises:
            InternalError: see :mod:`mpp_exec.audit.faults`.
        """
        self._open()
        self._record_unknown(self._is_dead)
        self._renew_head(_PATIENCE)

    def suspend(self) -> None:
        """Close the database; the next commit opens it again."""
        self._database.close()

    def close(self) -> None:
        """Record the calls that are still open as unknown, seal, and let go of everything.

        Raises:
            InternalError: see :mod:`mpp_exec.audit.faults`. Everything has been let go of.
        """
        try:
            if self._has_written:
                self._open()
                self._record_unknown(lambda call: call.writer == self.writer or self._is_dead(call))
                self._renew_head(self._deadline)
        finally:
            self._database.close()
            self.let_go()

    def let_go(self) -> None:
        """Give up the lock that says that this writer lives."""
        with self._taking:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def abandon(self) -> bool:
        """In a forked child: leave the parent's part alone. False if it could not be told apart.

        SQLite keeps what it knows of a file's locks per process, and a fork copies that knowledge
        without the locks. So the database must have been closed before (``suspend``); if it was not,
        this process must never open it (https://sqlite.org/howtocorrupt.html, 2.6).
        """
        if self._lock is not None:
            self._lock.abandon()
            self._lock = None
        return not self._database.is_open

    def _open(self) -> None:
        if self._database.is_open:
            return
        writer = self.writer
        with translated(self._files.head):
            sealed = head.read(self._files.head)
        if (sealed is not None or self.begun) and not self._database.exists():
            raise tampered(f"{self._files.database.name} is gone")
        self._database.open_writable()
        try:
            if self._database.tip().sequence == 0:
                self._begin(writer)
            self._renew_head(self._deadline)
            writers.sweep(self._files.locks)
        except BaseException:
            self._database.close()
            raise

    def _begin(self, writer: str) -> None:
        """Write the first entry, of a home that never had one."""
        if self.begun:
            raise tampered(f"every entry of {self._files.database.name} is gone")
        self._database.append([record.genesis(milliseconds(self._clock()), writer=writer)])

    def _is_dead(self, call: OpenCall) -> bool:
        return call.writer != self.writer and not writers.is_alive(self._files.locks, call.writer)

    def _record_unknown(self, is_over: Callable[[OpenCall], bool]) -> None:
        at = milliseconds(self._clock())
        records = [
            record.unknown(at, call.call, started=call.started, writer=self.writer)
            for call in self._database.open_calls()
            if is_over(call)
        ]
        if records:
            self._database.append(records)

    def _renew_head(self, patience: float) -> None:
        """Seal the last entry, if what was sealed before still stands and everything since is in order."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(translated(self._files.head))
            stack.enter_context(head.exclusive(self._files.head_lock, time.monotonic() + patience))
            key = self._signing_key = self._signing_key or head.signing_key(self._home_key)
            sealed = self._sealed(key)
            if sealed is None and self._database.tip().sequence > 1:
                raise tampered(f"{self._files.head.name} is gone")
            tip = self._check_since(sealed)
            if sealed is not None and tip.sequence == sealed.sequence:
                return
            renewed = head.Head(tip.sequence, tip.hash, milliseconds(self._clock()))
            head.write(self._files.head, head.encode(renewed, key))

    def _sealed(self, key: SigningKey) -> head.Head | None:
        data = head.read(self._files.head)
        try:
            return None if data is None else head.decode(data, key.public_key)
        except head.HeadForgedError:
            raise tampered(f"{self._files.head.name} was not signed by this home") from None

    def _check_since(self, sealed: head.Head | None) -> Tip:
        """Return the last entry, having followed the chain to it from the sealed one.

        What this process appended itself it has followed already, and remembers.
        """
        tip = Tip(0, NO_ENTRY) if sealed is None else self._known(Tip(sealed.sequence, sealed.hash))
        followed = self._database.followed
        if followed is not None and followed.sequence > tip.sequence:
            tip = self._known(followed)
        while rows := self._database.rows(after=tip.sequence, limit=_CHUNK):
            for row in rows:
                if row.sequence != tip.sequence + 1 or row.previous != tip.hash:
                    raise tampered(f"entry {row.sequence} does not follow entry {tip.sequence}")
                is_body = isinstance(row.body, bytes)
                if not is_body or link(row.sequence, row.previous, row.body) != row.hash:
                    raise tampered(f"entry {row.sequence} does not have its hash")
                tip = Tip(row.sequence, row.hash)
        self._database.followed = tip
        return tip

    def _known(self, tip: Tip) -> Tip:
        row = self._database.row(tip.sequence)
        if row is None or row.hash != tip.hash:
            raise tampered(f"entry {tip.sequence} is gone, or not the one that was sealed or written here")
        return tip
