"""The reading side of the ledger: list, show, prove, verify, export.

Nothing here writes. The database is opened for a few rows at a time, so that a long read holds up
neither a checkpoint nor a fork, and an unfinished one leaves nothing open.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.audit import commitment, head, writers
from mpp_exec.audit.check import Checker, VerifyReport
from mpp_exec.audit.database import Database
from mpp_exec.audit.entry import ENDINGS, Entry, Kind, milliseconds, moment
from mpp_exec.audit.faults import busy, tampered, translated
from mpp_exec.audit.record import SEAL_PURPOSE, open_key
from mpp_exec.audit.storable import clip
from mpp_exec.errors import MppError, UsageError

if TYPE_CHECKING:
    from mpp_exec.audit.journal import Files
    from mpp_exec.audit.tables import Row
    from mpp_exec.trust.keys import HomeKey

_CHUNK: Final = 200
_SHORTEST_PREFIX: Final = 4

Progress = Callable[[int, int], None]


class Reader:
    """Reads one home's ledger. Safe to use from many threads."""

    def __init__(self, files: Files, home_key: HomeKey, *, deadline: float, begun: bool = False) -> None:
        """Nothing is opened yet. *deadline*: seconds to wait for others; *begun* as for a ``Journal``."""
        self._files = files
        self._home_key = home_key
        self._deadline = deadline
        self.begun = begun
        self._lock = threading.Lock()

    def hold(self) -> bool:
        """Before a fork: wait until nothing is open, and keep it so. False after the deadline."""
        return self._lock.acquire(timeout=self._deadline)

    def let_go(self) -> None:
        """After a fork, in the parent."""
        self._lock.release()

    def newest(
        self,
        *,
        limit: int | None,
        kinds: Sequence[str],
        package: str | None,
        tool: str | None,
        outcome: str | None,
        since: datetime | None,
    ) -> Iterator[Entry]:
        """Yield entries, newest first; see ``Ledger.list``."""
        before: int | None = None
        left = -1 if limit is None else limit
        while left != 0:
            chunk = _CHUNK if limit is None or outcome is not None else min(_CHUNK, left)
            with self._open() as database:
                rows = database and database.newest(
                    before=before,
                    limit=chunk,
                    kinds=kinds,
                    package=None if package is None else clip(package),
                    tool=None if tool is None else clip(tool),
                    since=None if since is None else milliseconds(since),
                )
                if not database or not rows:
                    return
                entries = [self._entry(database, row) for row in rows]
            before = rows[-1].sequence
            for entry in entries:
                if left != 0 and outcome in (None, entry.outcome):
                    left -= 1
                    yield entry

    def find(self, name: str) -> Entry:
        """Return the entry that *name* means: an invocation, the beginning of one, or a sequence number.

        Raises:
            UsageError: ``ledger.unknown_entry`` or ``ledger.ambiguous``.
        """
        with self._open() as database:
            row = None if database is None else self._find(database, name)
            if database is None or row is None:
                raise UsageError(
                    "ledger.unknown_entry",
                    f"there is no entry {name}",
                    "`mpp-exec audit list` shows what there is",
                )
            return self._entry(database, row)

    def with_keys(self, sequences: Iterable[int]) -> list[int]:
        """Return those of the entries whose commitment key is still there."""
        with self._open() as database:
            if database is None:
                return []
            rows = [database.row(sequence) for sequence in sequences]
            return [row.sequence for row in rows if row is not None and row.key is not None]

    def prove(self, name: str, what: commitment.What, value: Any) -> commitment.Match:
        """Compare *value* with the commitment that the call *name* was recorded with."""
        entry = self.find(name)
        holder = entry if what == "arguments" else entry.ending
        if holder is None or what not in holder.content:
            return commitment.Match.ABSENT
        with self._open() as database:
            row = database and database.row(holder.sequence)
        if not row or not isinstance(row.key, bytes):
            return commitment.Match.ERASED
        key = open_key(self._home_key.derive(SEAL_PURPOSE), row.key, holder.content.get("key"))
        made = holder.content[what]
        if key is None or not holder.intact or not isinstance(made, bytes):
            raise tampered(f"entry {holder.sequence} or its key is not what was recorded")
        is_same = commitment.matches(key, what, value, made)
        return commitment.Match.MATCHES if is_same else commitment.Match.DIFFERS

    def verify(self, progress: Progress | None) -> VerifyReport:
        """Recheck everything; see ``Ledger.verify``."""
        report = self._verify(progress)
        if [problem.code for problem in report.problems] == ["head.missing"]:
            # The first head of a home comes right after its first entry, and the head is read first:
            # whoever looks at this very moment finds entries and no head. The second look decides.
            report = self._verify(progress)
        return report

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in the order of the chain, each by itself."""
        last = 0
        while True:
            with self._open() as database:
                rows = database.rows(after=last, limit=_CHUNK) if database else []
            if not rows:
                return
            last = rows[-1].sequence
            yield from map(_plain, rows)

    def sealed_head(self) -> bytes | None:
        """Return the bytes of the head, None if there is none."""
        with translated(self._files.head):
            return head.read(self._files.head)

    def _verify(self, progress: Progress | None) -> VerifyReport:
        key = head.signing_key(self._home_key)
        checker = Checker(self._home_key.derive(SEAL_PURPOSE))
        data = self.sealed_head()  # before the chain, which then can only be longer
        sealed = None
        if data is not None:
            try:
                sealed = head.decode(data, key.public_key)
            except head.HeadForgedError:
                checker.report("head.forged", f"{self._files.head.name} was not signed by this home")
        running: int | None = 0
        try:
            running = self._walk(checker, sealed, progress)
        except MppError as error:
            checker.report("database.damaged", error.message, checker.last + 1)
        if running is None:
            running = 0
            if data is not None or self.begun:
                checker.report("database.missing", f"{self._files.database.name} is gone")
        else:
            if self.begun and checker.count == 0:
                checker.report("database.emptied", f"every entry of {self._files.database.name} is gone")
            if data is None and checker.last > 1:
                checker.report("head.missing", f"{self._files.head.name} is gone")
            checker.finish(sealed)
        return VerifyReport(
            entries=checker.count,
            sealed_sequence=sealed.sequence if sealed else None,
            sealed_at=moment(sealed.at) if sealed else None,
            unsealed=max(0, checker.last - (sealed.sequence if sealed else 0)),
            running=running,
            erased=checker.erased,
            key=key.key_id,
            problems=checker.problems,
            more_problems=checker.more_problems,
        )

    def _walk(self, checker: Checker, sealed: head.Head | None, progress: Progress | None) -> int | None:
        """Take every row; return how many calls are running, None if there is no database."""
        with self._open() as database:
            if database is None:
                return None
            for line in database.damage():
                checker.report("database.damaged", line)
            for name in database.foreign_objects():
                checker.report("database.foreign", f"{name} is not as mpp-exec makes it")
            for number in database.outside(_CHUNK):
                checker.report("entry.misplaced", f"entry {number} stands before the first", number)
            total = database.total()
        if sealed is not None:
            checker.watch(sealed.sequence)
        last = 0
        while True:
            with self._open() as database:
                rows = database.rows(after=last, limit=_CHUNK) if database else []
            for row in rows:
                checker.take(row)
            if not rows:
                break
            last = rows[-1].sequence
            if progress is not None:
                progress(checker.count, max(total, checker.count))
        with self._open() as database:
            if database is None:
                return None
            for line in database.index_faults():
                checker.report("index.differs", line)
            return sum(writers.is_alive(self._files.locks, call.writer) for call in database.open_calls())

    @contextlib.contextmanager
    def _open(self) -> Iterator[Database | None]:
        """Hand out the database, open, or None if this home has none yet."""
        if not self._lock.acquire(timeout=self._deadline):
            raise busy("others read the ledger all the time")
        try:
            database = Database(self._files.database, deadline=self._deadline)
            try:
                yield database if database.exists() and database.open_readable() else None
            finally:
                database.close()
        finally:
            self._lock.release()

    def _find(self, database: Database, name: str) -> Row | None:
        if len(name) >= _SHORTEST_PREFIX:
            calls = database.calls_like(clip(name.lower()), 2)
            if len(calls) > 1:
                raise UsageError(
                    "ledger.ambiguous", f"{name} begins more than one invocation", "give more of the id"
                )
            if calls:
                return database.row(calls[0][1])
        number = name.removeprefix("#")
        is_number = number.isascii() and number.isdecimal() and len(number) < 19
        return database.row(int(number)) if is_number else None

    def _entry(self, database: Database, row: Row) -> Entry:
        entry = _plain(row)
        if entry.kind != Kind.START:
            return entry
        ending = database.row(row.ended) if isinstance(row.ended, int) else None
        last = None if ending is None else _plain(ending)
        if last is not None and (last.invocation != entry.invocation or last.kind not in ENDINGS):
            last = None  # the index points somewhere else: verify reports it
        alive = last is None and writers.is_alive(self._files.locks, row.writer)
        return Entry(entry.sequence, entry.previous, entry.hash, entry.body, ending=last, alive=alive)


def _plain(row: Row) -> Entry:
    """Return the row as an entry by itself, whatever somebody may have put into its columns."""
    previous, digest, body = (
        value if isinstance(value, bytes) else b"" for value in (row.previous, row.hash, row.body)
    )
    return Entry(row.sequence, previous, digest, body)
