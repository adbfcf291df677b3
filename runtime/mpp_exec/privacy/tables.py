"""Values in tables of text: CSV, Markdown, what a database's shell prints, and columns that spaces align.

The header of a column announces what stands below it.
"""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import headers, meter
from mpp_exec.privacy.finding import MASK, Candidate
from mpp_exec.privacy.headers import Column

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
        if _BORDER.fullmatch(text, start, end):  # of a table with a frame
            start, end = end + 1, _end_of_line(text, end + 1)
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


# The line above, below and under the header of a frame.
_BORDER: Final = lazily(r"[ \t]{0,8}\+(?:[-=]{1,512}\+){1,128}[ \t\r]{0,8}")
# Columns that spaces align: names with two spaces or more between them.
_ALIGNED: Final = lazily(r"\S+(?: \S+)*")
_SPACES: Final = "  "


def _header(line: str) -> tuple[str, list[tuple[int, Column]]]:
    """Return the delimiter of a line, and where and what its cells announce; nothing where none does."""
    delimiter = max(_DELIMITERS, key=line.count)
    count = line.count(delimiter)
    if len(line) > _HEADER_MAX or count > _COLUMNS_MAX:
        return "", []
    cells = line.split(delimiter)
    starts = [0] * len(cells)
    if not count:
        delimiter = _SPACES
        aligned = list(_ALIGNED.finditer(line)) if _SPACES in line.strip() else []
        if any(cell[0].endswith(":") for cell in aligned):
            return "", []  # labels, and not of columns: ``passwd:  files``
        cells, starts = [cell[0] for cell in aligned], [cell.start() for cell in aligned]
    names = [cell.strip(" \t\r\"'*`") for cell in cells]
    if len(names) < _FEWEST or not all(
        _CELL.fullmatch(name) and name.count(" ") < _MOST_WORDS for name in names
    ):
        return "", []
    columns = headers.announced(names)
    return (delimiter, list(zip(starts, columns, strict=True))) if headers.announce(columns) else ("", [])


_FEWEST: Final = 2  # one column is a list


def _row(
    text: str, start: int, end: int, delimiter: str, header: list[tuple[int, Column]]
) -> list[Candidate]:
    if delimiter not in text[start:end]:
        return []  # no row, but the end of a sentence
    if delimiter == _SPACES:
        return _aligned(text, start, end, header)
    found: list[Candidate] = []
    at = start
    for _, column in header:
        cell = _CELLS[delimiter].match(text, at, end)
        if not cell:
            break
        group = 1 if cell[1] is not None else 2
        if not (group == 2 and column.kind == "secret" and _IS_CODE.search(cell[2])):
            found += headers.below(column, cell[group], cell.start(group))
        at = cell.end() + 1
        if at > end:
            break
    return found


def _aligned(text: str, start: int, end: int, header: list[tuple[int, Column]]) -> list[Candidate]:
    """Return what stands below each name of a *header* whose columns spaces align."""
    found: list[Candidate] = []
    if "[" in (line := text[start:end]) and MASK.search(
        line
    ):  # masks are of another length, and nothing is aligned
        cells = list(_ALIGNED.finditer(line))
        for cell, (_, column) in zip(cells, header, strict=False) if len(cells) == len(header) else ():
            found += headers.below(column, cell[0], start + cell.start())
        return found
    for number, (offset, column) in enumerate(header):
        low = start + offset
        high = min(end, start + header[number + 1][0]) if number + 1 < len(header) else end
        # A cell begins where its name does, and no other runs into it.
        if low < high and not text[low].isspace() and (not offset or text[low - 1].isspace()):
            found += headers.below(column, text[low:high].rstrip(), low)
    return found
