"""One connection to SQLite: atomic transactions, which wait for other processes.

Only SQLite opens descriptors of the database file here: closing any other descriptor would drop the locks of
every connection of the process (fcntl(2), ``F_SETLK``).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.audit.faults import tampered

if TYPE_CHECKING:
    import sqlite3

_FIRST_PAUSE: Final = 0.0001  # seconds; a commit of another process takes some 0.3 ms
_LONGEST_PAUSE: Final = 0.005


class _Transaction:
    """Makes the statements in a ``with`` block atomic. It may be used again."""

    __slots__ = ("_begin", "_commit", "_roll_back")

    def __init__(
        self, begin: Callable[[], None], commit: Callable[[], None], roll_back: Callable[[], None]
    ) -> None:
        self._begin = begin
        self._commit = commit
        self._roll_back = roll_back

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._commit()
        else:
            self._roll_back()


class Connection:
    """Not thread-safe: it belongs to one thread at a time. Errors are SQLite's and the system's own.

    Attributes:
        transaction: what is done in a ``with`` block of it is one transaction that writes.
    """

    def __init__(self, path: Path, *, deadline: float) -> None:
        """Name the file; nothing is opened yet. *deadline*: seconds to wait for other processes."""
        self._path = path
        self._deadline = deadline
        self._sqlite: sqlite3.Connection | None = None
        self._identity: tuple[int, int, int] | None = None
        self.transaction = _Transaction(self._begin, self._commit, self._roll_back)

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._sqlite is not None

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._sqlite, self._identity = self._sqlite, None, None
        if connection is not None:
            with contextlib.suppress(Exception):  # closing cannot make durable what commit did not
                connection.close()

    def open(self, mode: str, *, timeout: float) -> None:
        """Open it in SQLite's *mode*; *timeout*: seconds for which SQLite itself waits for a lock."""
        import sqlite3  # noqa: PLC0415 -- only a process that touches the ledger loads it

        self._sqlite = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,  # the fork hooks close it from the thread that forks
        )
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            self.execute(f"PRAGMA {pragma}")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run *statement*, of an open connection."""
        assert self._sqlite is not None
        return self._sqlite.execute(statement, values)

    def _begin(self) -> None:
        assert self._sqlite is not None
        if self._sqlite.in_transaction:  # left by whoever was interrupted in it
            self.execute("ROLLBACK")
        try:
            self.patiently("BEGIN IMMEDIATE")
        except BaseException:  # a signal, perhaps, when it had begun
            self._roll_back()
            raise

    def _commit(self) -> None:
        try:
            self.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            if self._sqlite is not None and self._sqlite.in_transaction:
                self.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 -- SQLite rolls back by itself after some errors
            self.close()

    def patiently(self, statement: str) -> sqlite3.Cursor:
        """Run *statement*, asking again while other processes hold the lock.

        SQLite's own waiting sleeps for up to 100 ms between two looks, which is 300 times what most
        commits take.
        """
        import sqlite3  # noqa: PLC0415 -- loaded already

        end = time.monotonic() + self._deadline
        pause = _FIRST_PAUSE
        while True:
            try:
                return self.execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                    raise
            time.sleep(pause * (0.5 + os.urandom(1)[0] / 512))  # not all in step
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def check_identity(self) -> None:
        """Refuse to commit into a file that no longer has its name: nobody would read that file again."""
        if self._look() != self._identity:
            self.close()
            raise tampered(f"{self._path} or its log was removed or replaced")

    def remember(self) -> None:
        """Note the identity of this file and of its log, for :meth:`check_identity`."""
        self._identity = self._look()

    def _look(self) -> tuple[int, int, int] | None:
        """Return what distinguishes this database and its log from others of the same name."""
        try:
            found, log = os.lstat(self._path), os.lstat(f"{self._path}-wal")
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, log.st_ino
