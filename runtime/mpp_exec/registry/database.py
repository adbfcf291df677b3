"""The one connection to ``state.db``: durable transactions, schema migrations, a cheap change counter.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit is on disk when it returns. Any number of
processes share a home; writers wait for one another with a deadline. See https://sqlite.org/wal.html.
https://sqlite.org/howtocorrupt.html says why a connection is never used on the other side of a fork.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mpp_exec.errors import MppError, UsageError
from mpp_exec.registry.faults import busy, corrupt, io_error, replaced, sqlite_error

APPLICATION_ID: Final = 0x6D70_7065  # "mppe"
BUSY_SECONDS: Final = 10.0
"""How long a writer waits for the others."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('generation', 1)",
        """CREATE TABLE publishers (
            name TEXT PRIMARY KEY, key BLOB NOT NULL, added_at INTEGER NOT NULL, origin TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE revoked (
            kind TEXT NOT NULL CHECK (kind IN ('key', 'digest')), id TEXT NOT NULL, at INTEGER NOT NULL,
            PRIMARY KEY (kind, id)
        ) WITHOUT ROWID""",
        """CREATE TABLE packages (
            name TEXT PRIMARY KEY, version TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, key_id TEXT NOT NULL,
            installed_at INTEGER NOT NULL, fingerprint TEXT, fingerprint_mac BLOB
        ) WITHOUT ROWID""",
        """CREATE TABLE versions (
            key_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
            seen_at INTEGER NOT NULL, PRIMARY KEY (key_id, name, version)
        ) WITHOUT ROWID""",
        """CREATE TABLE grants (
            name TEXT PRIMARY KEY, digest TEXT NOT NULL, body BLOB NOT NULL, mac BLOB NOT NULL
        )""",
        """CREATE TABLE secrets (
            name TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (name, key)
        )""",
        """CREATE TABLE confirmations (
            name TEXT NOT NULL, tool TEXT NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (name, tool)
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE pending (
            id TEXT PRIMARY KEY, call BLOB NOT NULL UNIQUE, owner BLOB NOT NULL, name TEXT NOT NULL,
            since INTEGER NOT NULL, until INTEGER NOT NULL, sealed BLOB NOT NULL
        )""",
    ),
    (
        """CREATE TABLE rotations (
            publisher TEXT NOT NULL, old_key BLOB NOT NULL, new_key BLOB NOT NULL, issued TEXT NOT NULL,
            taken_at INTEGER NOT NULL, statement BLOB NOT NULL,
            PRIMARY KEY (publisher, old_key), UNIQUE (publisher, new_key)
        ) WITHOUT ROWID""",
    ),
    ("ALTER TABLE rotations ADD COLUMN speaks INTEGER NOT NULL DEFAULT 1",),
)
"""What brings the schema from version N to N+1, in order. Never edited once released; only appended to."""

_inherited: list[sqlite3.Connection] = []  # of the parent process; never to be used or closed here


class Transaction:
    """One transaction: statements, and actions outside of the database to undo if it does not commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._undo: list[Callable[[], None]] = []

    def run(self, statement: str, *values: Any) -> int:
        """Execute *statement* and return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query, None if there is none."""
        found: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        return found

    def changed(self) -> None:
        """Mark this transaction as a change that running processes must notice."""
        self.run("UPDATE meta SET value = value + 1 WHERE key = 'generation'")

    def on_rollback(self, undo: Callable[[], None]) -> None:
        """Register *undo* to be called if the transaction does not commit, while other writers still wait.

        The last registered function is called first.
        """
        self._undo.append(undo)

    def undo(self) -> None:
        """Call the registered undo functions."""
        while self._undo:
            with suppress(OSError):
                self._undo.pop()()


def _identity_of(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 -- every call asks
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


class Database:
    """A connection to the database at *path*, made when first needed. Thread-safe, and safe across fork."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._generation: tuple[int, int] | None = None
        self._identity = (0, 0)  # device and inode of the file that is connected to
        self._closed = False
        self._forking = False
        _databases.add(self)

    def open(self) -> None:
        """Connect, creating or migrating the database.

        Raises:
            UsageError: ``store.newer`` or ``store.foreign``.
            InternalError: ``store.*``.
        """
        with self._held():
            self._connected()

    def close(self) -> None:
        """Close the connection; using it again is an error."""
        with self._held():
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Yield a read transaction, which sees one state of the database and changes nothing."""
        with self._transaction("BEGIN") as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Yield a write transaction, isolated from other writers; it commits, or leaves no trace."""
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction

    def generation(self) -> int:
        """Return a number that grows with every change that running processes must notice.

        This costs microseconds while nothing changes: SQLite reports through shared memory whether another
        connection has committed (https://sqlite.org/pragma.html#pragma_data_version).
        """
        # As with _held and _translated, and without: every call asks twice.
        held: list[bool] = []
        try:
            held.extend(map(self._lock.acquire, (True,), (self._busy_seconds,)))
            if not held[0]:
                raise busy(self.path, self._busy_seconds)
            connection = self._connection or self._connected()
            self._require_in_place()
            seen = int(connection.execute("PRAGMA data_version").fetchone()[0])
            known = self._generation
            if known is None or known[0] != seen:
                known = self._generation = (seen, self._read_generation(connection))
            return known[1]
        except sqlite3.Error as error:
            raise sqlite_error(error, self.path) from error
        except OSError as error:
            raise io_error(error, self.path) from error
        finally:
            if held and held[0]:
                self._lock.release()

    def _read_generation(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        if row is None:
            raise corrupt(self.path, "it has no generation")
        return int(row[0])

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._held(), self._translated():
            connection = self._connected()
            self._require_in_place()
            transaction = Transaction(connection)
            commits = False
            try:
                connection.execute(begin)  # inside: a signal that arrives meanwhile must not leave it open
                yield transaction
                commits = True
                connection.execute("COMMIT")
            except BaseException as error:
                # A signal that arrives while it commits is raised when that is done: nothing is undone then.
                if not commits or isinstance(error, sqlite3.Error) or connection.in_transaction:
                    try:
                        transaction.undo()
                    finally:  # nothing is called before that: a signal may be handled after any call
                        if connection.in_transaction:
                            try:  # noqa: SIM105
                                connection.execute("ROLLBACK")
                            except sqlite3.Error:
                                pass
                raise
            finally:
                self._generation = None

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold this process's turn; no thread waits for ever."""
        held: list[bool] = []
        try:
            # Take the lock and note it in one step: a signal may be handled between two steps.
            held.extend(map(self._lock.acquire, (True,), (self._busy_seconds,)))
            if not held[0]:
                raise busy(self.path, self._busy_seconds)
            yield
        finally:
            if held and held[0]:
                self._lock.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MppError:
            raise
        except sqlite3.Error as error:
            raise sqlite_error(error, self.path) from error
        except OSError as error:
            raise io_error(error, self.path.parent) from error

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError("the store is closed")
        if self._connection is None:
            with self._translated():
                self._connection = self._connect()
        return self._connection

    def _require_in_place(self) -> None:
        """Refuse a database that is no longer at its path: withdrawals by others go to the one that is there.

        Raises:
            InternalError: ``store.replaced``.
        """
        if _identity_of(self.path) != self._identity:
            raise replaced(self.path)

    def _connect(self) -> sqlite3.Connection:
        # SQLite gives its other files the mode of this one, and would create this one with the umask.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._identity = _identity_of(self.path)
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("BEGIN")  # one state of it: another process may be making it at this moment
            self._refuse_foreign(connection)
            connection.execute("ROLLBACK")
            self._set_up(connection)
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and (application or version or tables):
            raise UsageError(
                "store.foreign",
                f"{self.path} is a database of another program",
                "use another home: --home DIR or MPP_HOME",
            )
        if version > len(MIGRATIONS):
            raise UsageError(
                "store.newer",
                f"{self.path} was written by a newer mpp-exec (schema {version}, known: {len(MIGRATIONS)})",
                "update mpp-exec, or use another home: --home DIR or MPP_HOME",
            )

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # Turning WAL on takes an exclusive lock and does not wait for it by itself.
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                break
        if mode != "wal":
            raise corrupt(self.path, f"its file system cannot hold it (journal mode {mode})")
        for pragma in ("synchronous = FULL", "trusted_schema = OFF", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _pragma(connection, "user_version") == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._refuse_foreign(connection)  # another process may have been faster, and newer
            done = _pragma(connection, "user_version")
            for statement in (each for step in MIGRATIONS[done:] for each in step):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _before_fork(self) -> None:
        """Wait for this process's transactions, and close: SQLite's own lock tables survive a fork.

        A connection that the child opened would find them and assume locks that only the parent holds.
        """
        if self._lock.acquire(timeout=self._busy_seconds):
            self._forking = True
            if self._connection is not None and not self._connection.in_transaction:
                self._connection.close()
                self._connection = None
                self._generation = None

    def _after_fork(self, *, child: bool) -> None:
        if child:
            self._lock = threading.RLock()
            if self._connection is not None:  # forked in the middle of a transaction: not ours to touch
                _inherited.append(self._connection)
                self._connection = None
                self._generation = None
        elif self._forking:
            self._lock.release()
        self._forking = False


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _all(method: Callable[[Database], None]) -> Callable[[], None]:
    def call() -> None:
        for database in list(_databases):
            method(database)

    return call


os.register_at_fork(
    before=_all(Database._before_fork),  # noqa: SLF001 -- this module's own class
    after_in_parent=_all(lambda database: database._after_fork(child=False)),  # noqa: SLF001
    after_in_child=_all(lambda database: database._after_fork(child=True)),  # noqa: SLF001
)
