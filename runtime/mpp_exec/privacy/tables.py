"""Values in tables: CSV, TSV and Markdown, where the header of a column announces what stands below it."""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.privacy import labelled, labels, meter, places
from mpp_exec.privacy.finding import Candidate, lazily

_DELIMITERS: Final = ",\t;|"
_HEADER_MAX: Final = 2048
_COLUMNS_MAX: Final = 128
_TABLE_MAX: Final = 1 << 21  # code points that are looked through for the blank line above a table
# One cell: quoted as in RFC 4180 section 2, or up to the next delimiter.
_CELLS: Final = {
    delimiter: lazily(
        rf'[ ]{{0,8}}"((?:[^"\n]|"")*)"[^{re.escape(delimiter)}\n]*|([^{re.escape(delimiter)}\n]*)'
    )
    for delimiter in _DELIMITERS
}


def columns(text: str) -> list[Candidate]:
    """Return what stands in *text* in columns whose header announces it.

    A header is the first line, or the first after a blank one; a table ends at the next blank line.
    """
    found: list[Candidate] = []
    start = 0
    while start < len(text):
        meter.step(len(found))
        end = _end_of_line(text, start)
        if end - start <= 1 and not text[start:end].strip():
            start = end + 1
            continue
        blank = _BLANK.search(text, start)
        stop = blank.start() if blank else len(text)
        delimiter, header = _header(text[start : min(end, stop)])
        start = end + 1
        while header and start < stop:
            meter.step(len(found))
            end = _end_of_line(text, start)
            found += _row(text, start, end, delimiter, header)
            start = end + 1
        if not blank:
            break
        start = blank.end()
    return found


def header_of(text: str) -> str:
    """Return the header of the table that *text* ends in, "" if it ends in none."""
    start = 0
    for blank in _BLANK.finditer(text, max(0, len(text) - _TABLE_MAX)):
        start = blank.end()
    line = text[start : _end_of_line(text, start)]
    return line if line.strip() and len(line) <= _HEADER_MAX and _header(line)[1] else ""


# A line break and a line with at most one character, which is white space.
_BLANK: Final = lazily(r"\n[^\S\n]?\n")


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return end if end >= 0 else len(text)


# What a column is called; the parameters of a function (``password: str = None``) are none.
_MOST_WORDS: Final = 5  # more are a sentence
_CELL: Final = lazily(r"[^=(){};<>\[\]]{0,64}(?:[(\[][^=(){};<>\[\]]{0,32}[)\]])?")


_IS_CODE: Final = lazily(r"[;){(]\s*\Z")  # ``read(path, key_file);``


def _header(line: str) -> tuple[str, list[str]]:
    """Return the delimiter of a line and what its cells announce; nothing where none announces anything."""
    delimiter = max(_DELIMITERS, key=line.count)
    count = line.count(delimiter)
    if not 1 <= count <= _COLUMNS_MAX or len(line) > _HEADER_MAX:
        return "", []
    cells = [cell.strip(" \t\r\"'*`") for cell in line.split(delimiter)]
    if not all(_CELL.fullmatch(cell) and cell.count(" ") < _MOST_WORDS for cell in cells):
        return "", []
    kinds = [labels.announced(cell) for cell in cells]
    somebody = any(map(labels.is_personal, cells))
    kinds = places.settled(["person" if kind == "name?" and somebody else kind for kind in kinds])
    return (
        (delimiter, [f"{kind}\0{cell}" for kind, cell in zip(kinds, cells, strict=True)])
        if any(kinds)
        else ("", [])
    )


def _row(text: str, start: int, end: int, delimiter: str, header: list[str]) -> list[Candidate]:
    found: list[Candidate] = []
    if delimiter not in text[start:end]:
        return found  # no row, but the end of a sentence
    at = start
    for column in header:
        cell = _CELLS[delimiter].match(text, at, end)
        if not cell:
            break
        kind, _, label = column.partition("\0")
        group = 1 if cell[1] is not None else 2
        if kind and not (group == 2 and kind == "secret" and _IS_CODE.search(cell[2])):
            offset = cell.start(group)
            found += [
                each._replace(start=each.start + offset, end=each.end + offset)
                for each in labelled.under(kind, label, cell[group])
            ]
        at = cell.end() + 1
        if at > end:
            break
    return found
