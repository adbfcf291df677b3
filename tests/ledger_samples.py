"""A small ledger for tests, and functions to attack a ledger."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mpp_exec.audit.entry import Caller, Kind, Outcome, PackageRef, Terms
from mpp_exec.audit.ledger import Ledger
from mpp_exec.audit.record import Ending
from mpp_exec.encoding import dumps, loads
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.trust.keys import HomeKey

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOME_KEY = HomeKey(b"\x07" * 32)
OTHER_HOME_KEY = HomeKey(b"\x08" * 32)

PACKAGE = PackageRef("acme/csv", "1.4.0", "acme", "sha256:" + "11" * 32, "sha256:" + "22" * 32)
CALLER = Caller(1000, 4242, "ann", "agent-7", "inspector 1.0")

INSIDE = Terms(
    package=PACKAGE,
    tool="query",
    granted=Permissions(environment=("TZ",), read=("/data",)),
    withheld=("network=api.example.com:443",),
    limits=Limits(),
    mechanisms=("landlock", "seccomp"),
)
OUTSIDE = replace(INSIDE, tool="save", granted=Permissions(write=("/data",)))

ARGUMENTS = {"path": "/data/salaries.csv", "name": "Jane Doe"}
RESULT = {"content": [{"type": "text", "text": "born 1984-02-29"}], "isError": False}
ENDING = Ending(
    Outcome.OK, result=RESULT, redactions={"email": 2, "iban": 1}, timing={"spawn": 412, "tool": 1890}
)


class Clock:
    """A clock that advances by one second with every reading, and that can be set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def open_ledger(home: Path, **options: Any) -> Ledger:
    """Open the ledger of *home* under :data:`HOME_KEY`."""
    return Ledger(home, options.pop("key", HOME_KEY), clock=options.pop("clock", Clock()), **options)


def call(ledger: Ledger, terms: Terms = INSIDE, arguments: Any = ARGUMENTS, ending: Ending = ENDING) -> str:
    """Record one call from beginning to end; return its invocation."""
    token = ledger.begin(terms, CALLER, arguments)
    ledger.finish(token, ending)
    return token.invocation


def fill(home: Path, calls: int = 3, **options: Any) -> list[str]:
    """Make a sealed ledger in *home*: genesis, an install, and *calls* calls with two entries each."""
    with open_ledger(home, **options) as ledger:
        ledger.event(Kind.INSTALL, CALLER, package=PACKAGE)
        return [call(ledger, OUTSIDE if number % 2 else INSIDE) for number in range(calls)]


def codes(home: Path, **options: Any) -> list[str]:
    """Return the codes of what ``verify`` finds."""
    return [problem.code for problem in open_ledger(home, **options).verify().problems]


def snapshot(home: Path) -> dict[str, bytes]:
    """Return the contents of every file of *home*."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@contextlib.contextmanager
def attacker(home: Path) -> Iterator[sqlite3.Connection]:
    """Open the database like somebody who may write to it: drop its triggers, and restore them unchanged."""
    database = sqlite3.connect(home / "ledger.db", isolation_level=None)
    try:
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        yield database
        for _, sql in triggers:
            with contextlib.suppress(sqlite3.OperationalError):  # the attack left no table for them
                database.execute(sql)
    finally:
        database.close()


def entry_hash(sequence: int, previous: bytes, body: bytes) -> bytes:
    """Hash an entry as the documentation says, without using the project's code."""
    data = b"mpp-exec ledger entry v1\x00" + sequence.to_bytes(8, "big") + previous + body
    return hashlib.sha256(data).digest()


def rechain(database: sqlite3.Connection, start: int = 1) -> None:
    """Give every entry from *start* on matching hashes, as a careful attacker would."""
    found = database.execute("SELECT hash FROM entries WHERE sequence = ?", (start - 1,)).fetchone()
    previous = found[0] if found else bytes(32)
    for sequence, body in database.execute(
        "SELECT sequence, body FROM entries WHERE sequence >= ? ORDER BY sequence", (start,)
    ).fetchall():
        digest = entry_hash(sequence, previous, body)
        database.execute(
            "UPDATE entries SET previous = ?, hash = ? WHERE sequence = ?", (previous, digest, sequence)
        )
        previous = digest


def edited(body: bytes, **changes: Any) -> bytes:
    """Return an entry's body with *changes* to its fields."""
    return dumps({**loads(body, max_size=1 << 20), **changes})


def run(program: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run *program* (Python) in a process of its own, which can import these samples; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment(),
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done


def environment() -> dict[str, str]:
    """Return an environment in which a child process finds the project and these samples."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
