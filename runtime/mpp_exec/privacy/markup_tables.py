"""Values in the tables of HTML: a header cell, or the cell in front, announces what a cell holds.

Source: the table model of the HTML standard, section 4.9: end tags of cells and rows may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from mpp_exec.privacy import labelled, labels, meter, places
from mpp_exec.privacy.anchors import Needle
from mpp_exec.privacy.finding import Candidate, lazily

NEEDLES: Final = (Needle("<tr"),)
_LONGEST_ROW: Final = 1 << 14
_MOST_CELLS: Final = 128
_CELL: Final = lazily(
    r"<[Tt](?P<what>[hdHD])(?:\s[^<>]{0,256})?>"
    r"(?:\s{0,64}<(?![/]?[Tt][dhrDHR][\s>])[^<>]{0,256}>){0,6}\s{0,64}(?P<text>[^<]{0,512})"
)
_TABLE: Final = lazily(r"</?[Tt][Aa][Bb][Ll][Ee][\s>]")
_BEGINS: Final = lazily(r"<[Tt][Rr][\s>]")
# What the cell in front may say of a cell. Of names and addresses it says more often what a page explains.
_BY_ITS_LABEL: Final = frozenset(
    ("secret", "ssn", "passport", "drivers_license", "bank_account", "phone", "date_of_birth", "iban")
)
_MOST_WORDS: Final = 5


class _Cell(NamedTuple):
    start: int
    text: str
    is_header: bool


def cells(text: str, _key: str, rows: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what stands in the cells of *rows* of *text* that a header or a label announces.

    *rows* are the offsets of all of them, in order: a header counts for those below it.
    """
    found: list[Candidate] = []
    header: list[tuple[str, str]] = []
    last = -1
    starts = [at for at, _ in rows if _BEGINS.match(text, at)]
    for at, end in zip(starts, [*starts[1:], len(text)], strict=False):
        meter.step(len(found))
        if last >= 0 and (at - last > _LONGEST_ROW or _TABLE.search(text, last, at)):
            last = -1
        is_first, last = last < 0, at
        row = _row(text, at, min(end, at + _LONGEST_ROW))
        if is_first or (row and all(cell.is_header for cell in row)):
            header = _announced(row)
            if any(kind for kind, _ in header) and len(row) != 2:
                continue
        found += _below(header, row)
        found += _beside(row)
    return found


def _row(text: str, at: int, end: int) -> list[_Cell]:
    matches = _CELL.finditer(text, at, end)
    return [
        _Cell(match.start("text"), match["text"].rstrip(), match["what"] in "hH")
        for match, _ in zip(matches, range(_MOST_CELLS), strict=False)
    ]


def _announced(row: list[_Cell]) -> list[tuple[str, str]]:
    """Return what each cell of a header announces, and its words."""
    names = [cell.text.strip(" \t\r\n:*") for cell in row]
    names = [name if name.count(" ") < _MOST_WORDS else "" for name in names]
    kinds = [labels.announced(name) if name else "" for name in names]
    somebody = any(map(labels.is_personal, names))
    kinds = places.settled(["person" if kind == "name?" and somebody else kind for kind in kinds])
    return list(zip(kinds, names, strict=True))


def _below(header: list[tuple[str, str]], row: list[_Cell]) -> list[Candidate]:
    found: list[Candidate] = []
    for (kind, name), cell in zip(header, row, strict=False):
        if kind and cell.text != name and not cell.is_header:
            found += _under(kind, name, cell)
    return found


def _beside(row: list[_Cell]) -> list[Candidate]:
    """Return what the second cell of a row of two is, if the first names it."""
    if len(row) != 2 or row[1].is_header:
        return []
    kind, name = _announced(row[:1])[0]
    return _under(kind, name, row[1]) if kind in _BY_ITS_LABEL else []


def _under(kind: str, name: str, cell: _Cell) -> list[Candidate]:
    return [
        each._replace(start=each.start + cell.start, end=each.end + cell.start)
        for each in labelled.under(kind, name, cell.text)
    ]
