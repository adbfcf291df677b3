"""Recheck a ledger from its first entry to its last, and against its sealed head.

What is compared with what, in this order; each difference is a :class:`Problem` of its own, and one
change makes one or two of them, not one for every entry that follows:

1. the file's structure, by SQLite (``database.damaged``), and its tables (``database.foreign``)
2. numbers without a gap (``entry.missing``), each entry after the one it names, and none before the first
   (``entry.misplaced``)
3. each body with its hash (``entry.changed``), and that it is an entry (``entry.malformed``)
4. the search columns with the body (``columns.differ``), the index of calls (``index.differs``)
5. commitment keys with their digest (``key.changed``), absent ones with an ``erase`` (``key.missing``)
6. that there is one, where the home knows of entries (``database.missing``, ``database.emptied``)
7. the head: there (``head.missing``), signed by this home (``head.forged``), not ahead of the chain
   (``head.ahead``: entries were cut off), of the same entry (``head.differs``)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.audit.entry import ENDINGS, HASH_SIZE, NO_ENTRY, Entry, Kind, iso, link, moment
from mpp_exec.audit.head import Head
from mpp_exec.audit.record import open_key

if TYPE_CHECKING:
    from mpp_exec.audit.tables import Row

_MOST_PROBLEMS: Final = 100
"""Beyond it they are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One difference. ``sequence`` is the entry that it was found at, if it was at one."""

    code: str
    message: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :meth:`Ledger.verify` found.

    Attributes:
        entries: how many there are.
        sealed_sequence: the last entry that the head covers; None without a head of this home.
        sealed_at: when that was.
        unsealed: entries after it. They are chained, but that none of the last are missing is not
            proven before the next renewal.
        running: calls without an outcome whose writer lives.
        erased: commitments whose key was erased, with an entry that says so.
        key: id of the public key that seals this home's ledger.
        problems: empty if nothing was changed, removed, moved or cut off.
        more_problems: how many were found beyond those listed.
    """

    entries: int
    sealed_sequence: int | None
    sealed_at: datetime | None
    unsealed: int
    running: int
    erased: int
    key: str
    problems: tuple[Problem, ...]
    more_problems: int = 0

    @property
    def ok(self) -> bool:
        """Whether the ledger is what this home wrote, as far as it is sealed."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "sealed": None
            if self.sealed_sequence is None
            else {"sequence": self.sealed_sequence, "at": self.sealed_at and iso(self.sealed_at)},
            "unsealed": self.unsealed,
            "running": self.running,
            "erased": self.erased,
            "key": self.key,
            "problems": [
                {"code": problem.code, "message": problem.message, "sequence": problem.sequence}
                for problem in self.problems
            ],
            "more_problems": self.more_problems,
        }


class Checker:
    """Takes the rows of a ledger one by one and remembers what is wrong with them."""

    def __init__(self, seal_key: bytes) -> None:
        """*seal_key* opens the commitment keys."""
        self._seal_key = seal_key
        self._previous = NO_ENTRY
        self._heads: dict[int, bytes] = {}
        self._without_key: set[int] = set()
        self._erased: set[int] = set()
        self._problems: list[Problem] = []
        self.count = 0
        self.last = 0
        self.more_problems = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was found so far, in the order found."""
        return tuple(self._problems)

    @property
    def erased(self) -> int:
        """Commitments whose key is gone and was erased on record."""
        return len(self._erased & self._without_key)

    def report(self, code: str, message: str, sequence: int | None = None) -> None:
        """Add a problem."""
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(Problem(code, message, sequence))
        else:
            self.more_problems += 1

    def watch(self, sequence: int) -> None:
        """Remember the hash of this entry when it comes by: it is the sealed one."""
        self._heads.setdefault(sequence, b"")

    def take(self, row: Row) -> None:
        """Check the next row in the order of its number."""
        self.count += 1
        if not self._is_well_formed(row):
            self.report("entry.malformed", f"entry {row.sequence!r} holds what no entry holds")
            return
        number: int = row.sequence
        if number != self.last + 1:
            gone = (
                f"entry {self.last + 1}"
                if number == self.last + 2
                else f"entries {self.last + 1} to {number - 1}"
            )
            self.report("entry.missing", f"{gone} missing before entry {number}", number)
        elif row.previous != self._previous:
            self.report("entry.misplaced", f"entry {number} does not follow entry {self.last}", number)
        if link(number, row.previous, row.body) != row.hash:
            self.report("entry.changed", f"entry {number} is not what its hash says", number)
        if number in self._heads:
            self._heads[number] = row.hash
        self.last, self._previous = number, row.hash
        entry = Entry(number, row.previous, row.hash, row.body)
        if not entry.content or (entry.kind == Kind.GENESIS) != (number == 1):
            self.report("entry.malformed", f"entry {number} is not an entry of this version", number)
            return
        self._check_columns(row, entry)
        self._check_key(row, entry)

    def finish(self, sealed: Head | None) -> None:
        """Check what only shows when all rows have been taken."""
        for number in sorted(self._without_key - self._erased):
            self.report("key.missing", f"the key of entry {number} is gone without being erased", number)
        for number in sorted(self._erased - self._without_key):
            self.report("key.restored", f"the key of entry {number} was erased and is back", number)
        if sealed is None:
            return
        if sealed.sequence > self.last:
            cut = sealed.sequence - self.last
            self.report(
                "head.ahead",
                f"the ledger was cut off: entry {sealed.sequence} was sealed at {iso(moment(sealed.at))} and "
                f"the last one is {self.last} ({cut} gone)",
                self.last,
            )
        elif sealed.hash != self._heads.get(sealed.sequence):
            self.report(
                "head.differs", f"entry {sealed.sequence} is not the one that was sealed", sealed.sequence
            )

    def _is_well_formed(self, row: Row) -> bool:
        return (
            isinstance(row.sequence, int)
            and isinstance(row.body, bytes)
            and all(
                isinstance(value, bytes) and len(value) == HASH_SIZE for value in (row.previous, row.hash)
            )
        )

    def _check_columns(self, row: Row, entry: Entry) -> None:
        content = entry.content
        ends = entry.kind in ENDINGS
        wanted = (entry.kind, content["at"], entry.invocation, "" if ends else entry.package, entry.tool)
        if (row.kind, row.at, row.call, row.package, row.tool) != wanted:
            self.report("columns.differ", f"entry {row.sequence} is indexed as something else", row.sequence)
        if entry.kind == Kind.START and row.writer != content.get("writer"):
            self.report("index.differs", f"the call of entry {row.sequence} has another writer", row.sequence)

    def _check_key(self, row: Row, entry: Entry) -> None:
        digest = entry.content.get("key")
        if entry.kind == Kind.ERASE:
            erased = entry.content.get("erased")
            listed = erased if isinstance(erased, list) else ()
            self._erased.update(number for number in listed if isinstance(number, int))
        if not isinstance(digest, bytes):
            if row.key is not None:
                self.report("key.foreign", f"entry {row.sequence} has no commitment, but a key", row.sequence)
            return
        if row.key is None:
            self._without_key.add(row.sequence)
            return
        if open_key(self._seal_key, row.key, digest) is None:
            self.report("key.changed", f"the key of entry {row.sequence} is another one", row.sequence)
