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
# What a label may say of a value by itself. Of names and addresses it says more often what a page explains,
# so there somebody has to be described besides.
_BY_ITS_LABEL: Final = frozenset(
    ("secret", "ssn", "passport", "drivers_license", "bank_account", "phone", "date_of_birth", "iban")
)
_DESCRIBED: Final = 2  # labels that say that somebody is
_MOST_WORDS: Final = 5  # more are a sentence


class Column(NamedTuple):
    """What stands below a name: the kind that it announces, "" if none, and the name."""

    kind: str
    name: str


class Pair(NamedTuple):
    """A name and the text of its value, which starts at an offset."""

    name: str
    text: str
    at: int


def trimmed(text: str) -> str:
    """Return the name that a cell is, "" if it is a sentence."""
    name = text.strip(" \t\r\n:*")
    return name if name.count(" ") < _MOST_WORDS else ""


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


def paired(pairs: Sequence[Pair]) -> list[tuple[int, Candidate]]:
    """Return what the values of *pairs* are that their names announce, which stand beside each other.

    Each with the offset of its text.
    """
    columns = announced([pair.name for pair in pairs])
    somebody = len({each.name for each in columns if labels.is_personal(each.name)}) >= _DESCRIBED
    return [
        (pair.at, each)
        for column, pair in zip(columns, pairs, strict=True)
        if column.kind in _BY_ITS_LABEL or somebody
        for each in below(column, pair.text, pair.at)
    ]
