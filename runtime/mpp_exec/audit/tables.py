"""The tables of ``HOME/ledger.db``, and how their rows look in Python.

Four kinds of data, of which only the first is evidence:

==========  =======================================================================================
entries     the chain: number, previous hash, body, hash; and columns to search by, which repeat what
            the body says and are compared with it by ``Ledger.verify``
calls       for each call its writer, its first and its last entry: an index over the chain
keys        the sealed commitment keys; the one thing that may be erased
==========  =======================================================================================
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

APPLICATION_ID: Final = 0x4D505045  # "MPPE", at byte 68 of the file: file(1) shows it
SCHEMA_VERSION: Final = 1

SCHEMA: Final = (
    (
        "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, previous BLOB NOT NULL, body BLOB NOT NULL, "
        "hash BLOB NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, call TEXT NOT NULL, "
        "package TEXT NOT NULL, tool TEXT NOT NULL)"
    ),
    (
        "CREATE TABLE calls (started INTEGER PRIMARY KEY, ended INTEGER, call TEXT NOT NULL, "
        "writer TEXT NOT NULL)"
    ),
    # Invocations are random: an index over all of them would touch another page with every call.
    "CREATE INDEX open_calls ON calls (call) WHERE ended IS NULL",
    "CREATE TABLE keys (sequence INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
    "CREATE TRIGGER no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


class Tip(NamedTuple):
    """The last entry of the chain; number 0 and :data:`NO_ENTRY` before the first."""

    sequence: int
    hash: bytes


class Row(NamedTuple):
    """One entry as stored, with its row of calls if it is a start and its sealed key, None where absent."""

    sequence: Any
    previous: Any
    hash: Any
    body: Any
    kind: Any
    at: Any
    call: Any
    package: Any
    tool: Any
    writer: Any
    ended: Any
    key: Any


class OpenCall(NamedTuple):
    """A call that has a start and no ending yet."""

    call: str
    writer: str
    started: int


SELECT_ROW: Final = (
    "SELECT e.sequence, e.previous, e.hash, e.body, e.kind, e.at, e.call, e.package, e.tool, "
    "c.writer, c.ended, k.sealed FROM entries e "
    "LEFT JOIN calls c ON c.started = e.sequence LEFT JOIN keys k ON k.sequence = e.sequence "
)

INDEX_FAULTS: Final = {
    "calls whose first or last entry is not theirs": "FROM calls c "
    "LEFT JOIN entries s ON s.sequence = c.started LEFT JOIN entries x ON x.sequence = c.ended "
    "WHERE s.kind IS NOT 'start' OR s.call IS NOT c.call OR c.ended IS NOT NULL AND "
    "(x.call IS NOT c.call OR x.kind NOT IN ('outcome', 'unknown'))",
    "starts that no call has": "FROM entries e LEFT JOIN calls c ON c.started = e.sequence "
    "WHERE e.kind = 'start' AND c.call IS NOT e.call",
    "outcomes that no call has": "FROM entries e LEFT JOIN calls c ON c.call = e.call "
    "WHERE e.kind IN ('outcome', 'unknown') AND (c.ended IS NULL OR c.ended < e.sequence)",
    "keys that no entry has": "FROM keys k LEFT JOIN entries e ON e.sequence = k.sequence "
    "WHERE e.sequence IS NULL",
}
