"""The chain of entries in ``HOME/ledger.db``: append-only, SQLite in WAL mode.

A commit is durable when it returns (``synchronous=FULL``: one fsync of the WAL). Reading the last
entry and appending to it is one ``BEGIN IMMEDIATE`` transaction, so the processes that share a home
form one chain. The order of entries is the order of these transactions, whatever their clocks say.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mpp_exec.audit.connection import Connection
from mpp_exec.audit.entry import ENDINGS, NO_ENTRY, Kind, link
from mpp_exec.audit.faults import tampered, translated
from mpp_exec.audit.record import Record
from mpp_exec.audit.tables import (
    APPLICATION_ID,
    INDEX_FAULTS,
    SCHEMA,
    SCHEMA_VERSION,
    SELECT_ROW,
    OpenCall,
    Row,
    Tip,
)
from mpp_exec.errors import InternalError

_WAL_LIMIT: Final = 16 * 1024 * 1024  # bytes that a log keeps after it was written back


class Database:
    """One connection. Not thread-safe: each belongs to one thread at a time. All errors are MppErrors.

    ``followed`` is the entry up to which the chain is known to be in order: whoever has checked it up to
    some entry sets it, and it moves on with what is appended here right behind it.
    """

    def __init__(self, path: Path, *, deadline: float) -> None:
        """Name the file; nothing is opened yet. *deadline*: seconds to wait for other processes."""
        self._path = path
        self._translated = translated(path)
        self._deadline = deadline
        self._connection = Connection(path, deadline=deadline)
        self._execute = self._connection.execute
        self._last: Tip | None = None
        self._has_erased = False
        self.followed: Tip | None = None

    @property
    def last(self) -> int:
        """The number of the last entry that was seen here, 0 before the first."""
        return 0 if self._last is None else self._last.sequence

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection.is_open

    def exists(self) -> bool:
        """Say whether there is a database with anything in it."""
        with self._translated:
            try:
                return self._path.lstat().st_size > 0
            except FileNotFoundError:
                return False

    def open_writable(self) -> None:
        """Open for appending, making the file (mode 0600) if there is none.

        Raises:
            InternalError: see :mod:`mpp_exec.audit.faults`; ``ledger.tampered`` if its tables are not
                the ones made here; ``ledger.version`` if a later mpp-exec made it.
        """
        with self._translated, contextlib.ExitStack() as undo:
            with contextlib.suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(self._path, flags, 0o600))
            found = self._path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise tampered(f"{self._path} does not belong to its owner alone")
            self._connection.open("rw", timeout=0)
            undo.callback(self.close)
            mode = self._connection.patiently("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise InternalError(
                    "ledger.filesystem",
                    f"{self._path} is on a file system that cannot share memory between processes",
                    "put the home on a local disk",
                )
            self._execute("PRAGMA synchronous = FULL")
            self._execute("PRAGMA secure_delete = ON")
            self._execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
            with self._connection.transaction:
                if self._execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                    for statement in SCHEMA:
                        self._execute(statement)
                    self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._check_version()
            if self.foreign_objects():
                raise tampered("its tables are not the ones mpp-exec makes")
            self._connection.remember()
            undo.pop_all()

    def open_readable(self) -> bool:
        """Open for reading only; False, and closed, if nobody has made the tables yet.

        On a read-only file system this works, too.
        """
        with self._translated:
            try:
                # "rw", so that whoever closes last removes the log and its shared memory
                self._connection.open("rw", timeout=self._deadline)
                self._execute("PRAGMA query_only = ON")
                return self._has_tables()
            except Exception:
                self.close()
                has_log = self._path.with_name(f"{self._path.name}-wal").exists()
                if has_log or os.access(self._path.parent, os.W_OK):
                    raise
            # WAL mode wants to make a file of shared memory. Where nothing can be written, nobody
            # writes either, so it can do without.
            self._connection.open("ro&immutable=1", timeout=0)
            return self._has_tables()

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.close()

    def append(self, records: Sequence[Record]) -> None:
        """Append *records* to the chain: all of them, durably, or none.

        The ending of a call that has one already is left out: it was written before, by a commit
        that seemed to fail or by who found the writer dead. An outcome replaces ``unknown``.

        Raises:
            InternalError: see :mod:`mpp_exec.audit.faults`; ``ledger.tampered`` if the chain's end is
                not what this object last saw there.
        """
        with self._translated:
            with self._connection.transaction:
                before = tip = self._tip()
                self._check_continuity(tip)
                endings = _endings(records) if len(records) > 1 else {}
                for record in records:
                    tip = self._append(tip, record, endings)
                self._connection.check_identity()
            self._last = tip
            if self.followed == before:
                self.followed = tip
            if any(record.erases for record in records):
                self._has_erased = True
            if self._has_erased:
                # The keys are overwritten in the database, but their pages are still in the log. Where a
                # reader is in its way, it is cut to nothing after the next commit, or removed at the end.
                self._has_erased = self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] != 0

    def _append(self, tip: Tip, record: Record, endings: dict[str, Record]) -> Tip:
        """Append *record*, and right behind a start the ending that *endings* has for it."""
        if record.kind == Kind.GENESIS and tip.sequence != 0:
            return tip  # another process was faster
        if record.kind == Kind.START:
            if record.maybe_after is not None and self._has_start(record, record.maybe_after):
                return tip
            ending = endings.get(record.call)
            tip = self._insert(tip, record)
            ended = None if ending is None else tip.sequence + 1
            self._execute(
                "INSERT INTO calls VALUES (?, ?, ?, ?)", (tip.sequence, ended, record.call, record.writer)
            )
            return tip if ending is None else self._insert(tip, ending)
        is_there = endings.get(record.call) is record  # behind its start
        if record.kind in ENDINGS and (is_there or not self._end(record, tip.sequence + 1)):
            return tip
        return self._insert(tip, record)

    def _insert(self, tip: Tip, record: Record) -> Tip:
        sequence = tip.sequence + 1
        digest = link(sequence, tip.hash, record.body)
        self._execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                sequence,
                tip.hash,
                record.body,
                digest,
                str(record.kind),
                record.at,
                record.call,
                record.package,
                record.tool,
            ),
        )
        if record.key is not None:
            self._execute("INSERT INTO keys VALUES (?, ?)", (sequence, record.key))
        for erased in record.erases:
            self._execute("DELETE FROM keys WHERE sequence = ?", (erased,))
        return Tip(sequence, digest)

    def _has_start(self, record: Record, after: int) -> bool:
        found = self._execute(
            "SELECT 1 FROM entries WHERE sequence > ? AND kind = 'start' AND call = ?", (after, record.call)
        )
        return found.fetchone() is not None

    def _end(self, record: Record, sequence: int) -> bool:
        """Make entry *sequence* the ending of its call; False if the call needs none."""
        ended = "UPDATE calls SET ended = ? WHERE call = ? AND "
        if self._execute(ended + "ended IS NULL", (sequence, record.call)).rowcount:
            return True
        # Seldom: there is no index for it.
        is_unknown = "(SELECT kind FROM entries WHERE sequence = ended) = 'unknown'"
        return (
            record.kind == Kind.OUTCOME
            and self._execute(ended + is_unknown, (sequence, record.call)).rowcount > 0
        )

    def tip(self) -> Tip:
        """Return the last entry's number and hash."""
        with self._translated:
            return self._tip()

    def _tip(self) -> Tip:
        row = self._execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        return Tip(*row) if row else Tip(0, NO_ENTRY)

    def rows(self, *, after: int, limit: int) -> list[Row]:
        """Return up to *limit* entries that follow number *after*, in the order of the chain."""
        return self._rows("WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?", (after, limit))

    def outside(self, limit: int) -> list[int]:
        """Return up to *limit* numbers of entries before the first that a ledger can have."""
        with self._translated:
            found = self._execute("SELECT sequence FROM entries WHERE sequence < 1 LIMIT ?", (limit,))
            return [number for (number,) in found]

    def row(self, sequence: int) -> Row | None:
        """Return the entry of this number."""
        return next(iter(self._rows("WHERE e.sequence = ?", (sequence,))), None)

    def newest(
        self,
        *,
        before: int | None,
        limit: int,
        kinds: Sequence[str] = (),
        package: str | None = None,
        tool: str | None = None,
        since: int | None = None,
    ) -> list[Row]:
        """Return up to *limit* entries, newest first, of number below *before*, that pass all filters.

        Without *kinds*, the endings of calls are left out.
        """
        marks = ", ".join("?" * len(kinds))
        conditions = {
            f"e.kind IN ({marks})" if kinds else "e.kind NOT IN ('outcome', 'unknown')": tuple(kinds),
            "e.sequence < ?": None if before is None else (before,),
            "e.package = ?": None if package is None else (package,),
            "e.tool = ?": None if tool is None else (tool,),
            "e.at >= ?": None if since is None else (since,),
        }
        chosen = {text: values for text, values in conditions.items() if values is not None}
        values = [value for group in chosen.values() for value in group]
        return self._rows(f"WHERE {' AND '.join(chosen)} ORDER BY e.sequence DESC LIMIT ?", (*values, limit))

    def calls_like(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """Return up to *limit* pairs of call and number of its start, of calls beginning with *prefix*."""
        with self._translated:
            return self._execute(
                "SELECT call, started FROM calls WHERE substr(call, 1, ?) = ? LIMIT ?",
                (len(prefix), prefix, limit),
            ).fetchall()

    def open_calls(self) -> list[OpenCall]:
        """Return every call that has no ending, oldest first."""
        with self._translated:
            found = self._execute(
                "SELECT call, writer, started FROM calls WHERE ended IS NULL ORDER BY started"
            )
            return [OpenCall(*row) for row in found]

    def total(self) -> int:
        """Return how many entries there are."""
        with self._translated:
            return int(self._execute("SELECT count(*) FROM entries").fetchone()[0])

    def index_faults(self) -> list[str]:
        """Return how the rows of calls and keys disagree with the columns of the entries."""
        with self._translated:
            counted = {
                what: self._execute(f"SELECT count(*) {query}") for what, query in INDEX_FAULTS.items()
            }
            numbers = {what: cursor.fetchone()[0] for what, cursor in counted.items()}
            return [f"{what}: {number}" for what, number in numbers.items() if number]

    def foreign_objects(self) -> list[str]:
        """Return the names of tables, indexes and triggers that are missing, changed or not made here."""
        with self._translated:
            found = dict(
                self._execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            )
            wanted = {statement.split(maxsplit=3)[2]: statement for statement in SCHEMA}
            names = sorted(found.keys() | wanted.keys())
            return [name for name in names if found.get(name) != wanted.get(name)]

    def damage(self) -> list[str]:
        """Return what SQLite itself finds wrong with the file, at most ten lines."""
        with self._translated:
            found = [str(row[0]) for row in self._execute("PRAGMA integrity_check(10)")]
            return [] if found == ["ok"] else found

    def _rows(self, clauses: str, values: tuple[Any, ...]) -> list[Row]:
        with self._translated:
            return [Row(*row) for row in self._execute(SELECT_ROW + clauses, values)]

    def _has_tables(self) -> bool:
        if self._execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            self.close()
            return False
        self._check_version()
        return True

    def _check_version(self) -> None:
        if self._execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise tampered(f"{self._path} is not a ledger")
        version = self._execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise InternalError(
                "ledger.version",
                f"{self._path} has version {version} and this mpp-exec writes {SCHEMA_VERSION}",
                "use the mpp-exec that wrote it, or a later one",
            )

    def _check_continuity(self, tip: Tip) -> None:
        """Refuse to append where entries that this object has seen are gone or changed."""
        last = self._last
        if last is None or tip == last:
            return
        row = self._execute("SELECT hash FROM entries WHERE sequence = ?", (last.sequence,)).fetchone()
        if row is None or row[0] != last.hash:
            raise tampered(f"entry {last.sequence} is not what it was a moment ago")


def _endings(records: Sequence[Record]) -> dict[str, Record]:
    """Return the first ending of each call whose start is among *records*, too."""
    started = {record.call for record in records if record.kind == Kind.START and record.maybe_after is None}
    endings: dict[str, Record] = {}
    for record in records:
        if record.kind in ENDINGS and record.call in started:
            endings.setdefault(record.call, record)
    return endings
