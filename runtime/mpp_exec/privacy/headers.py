"""What the names of columns, or of the pairs of a list, announce: the same for every form of a table.

CSV, Markdown and terminals, HTML, SQL and JSON differ in where a name and a value stand. What a name says,
and what its neighbours say of it, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from mpp_exec.privacy import labelled, labels, places
from mpp_exec.privacy.finding import Candidate

_SILENT: Final = frozenset(("", "name?", "people"))


class Column(NamedTuple):
    """What stands below a name: the kind that it announces, "" if none, and the name."""

    kind: str
    name: str


def announced(names: Sequence[str]) -> list[Column]:
    """Return what each of *names*, which stand beside each other, announces."""
    kinds = [labels.announced(name) if name else "" for name in names]
    somebody = any(map(labels.is_personal, names))
    kinds = places.settled(["person" if kind == "name?" and somebody else kind for kind in kinds])
    return [Column(kind, name) for kind, name in zip(kinds, names, strict=True)]


def announce(columns: Iterable[Column]) -> bool:
    """Tell whether any of *columns* announces a value."""
    return any(column.kind not in _SILENT for column in columns)


def below(column: Column, text: str, at: int) -> list[Candidate]:
    """Return what a cell with *text*, which starts at offset *at*, holds for standing below *column*."""
    if column.kind in _SILENT:
        return []
    return [
        each._replace(start=each.start + at, end=each.end + at)
        for each in labelled.under(column.kind, column.name, text)
    ]
