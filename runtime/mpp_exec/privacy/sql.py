"""Values in SQL: the names of columns announce what a statement puts into them.

``INSERT INTO t (name, email) VALUES (…), (…)``, also with the names in ``CREATE TABLE t (…)`` above it, as
mysqldump writes it; and the lines below ``COPY t (name, email) FROM stdin;``, as pg_dump does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import headers, meter
from mpp_exec.privacy.anchors import WHOLE, WORD, Needle
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.headers import Column

NEEDLES: Final = tuple(
    Needle(word, WORD | WHOLE)
    for word in ("insert into", "insert ignore into", "replace into", "copy", "create table")
)
_NAME: Final = r"(?:[\w$-]{1,64}|[`\"\[][^`\"\[\]\n,]{1,64}[`\"\]])"
_TABLE: Final = rf"{_NAME}(?:\.{_NAME}){{0,2}}"
_NAMES: Final = rf"\(\s{{0,16}}(?P<names>{_NAME}(?:\s{{0,16}},\s{{0,16}}{_NAME}){{0,255}})\s{{0,16}}\)"
_INSERT: Final = lazily(
    rf"[A-Za-z ]{{10,20}}\s{{1,16}}(?P<table>{_TABLE})\s{{0,16}}"
    rf"(?:{_NAMES}\s{{0,16}})?(?i:values)\s{{0,16}}(?=\()"
)
_COPY: Final = lazily(rf"(?i:copy)\s(?P<table>{_TABLE})\s{{0,4}}{_NAMES}\s(?i:from\sstdin)[^\n]{{0,64}}\n")
_CREATE: Final = lazily(
    rf"(?i:create\stable)\s(?:(?i:if\snot\sexists)\s)?(?P<table>{_TABLE})\s{{0,16}}\((?P<body>[^;]{{1,16384}})"
)
# One line of a definition: the name of a column and its type. What else stands there is no column.
_DEFINED: Final = lazily(rf"\s{{0,16}}(?P<name>{_NAME})\s{{1,16}}[A-Za-z]")
_NO_COLUMN: Final = frozenset(
    ("primary", "key", "unique", "constraint", "index", "foreign", "check", "fulltext", "exclude", "spatial")
)
# One value of a row, and what ends it: a string with its quotes doubled or escaped, or anything else.
_VALUE: Final = lazily(
    r"\s{0,64}(?:[NEBnebXx]?'(?P<one>[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*)'|\"(?P<two>[^\"\\\n]*(?:\\.[^\"\\\n]*)*)\""
    r"|(?P<bare>[^,()'\"]{0,256}(?:\([^()]{0,256}\)[^,()'\"]{0,64})?))\s{0,64}(?P<then>[,)])"
)
_NEXT_ROW: Final = lazily(r"\s{0,64},\s{0,64}(?=\()")
_QUOTES: Final = '`"[] \t\r\n'
_MOST_COLUMNS: Final = 256
_FAR: Final = 1 << 21  # code points that are looked through for a statement that is not at its end


def statements(text: str, _key: str, starts: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what the statements of *text*, at the offsets *starts* in order, put into telling columns."""
    found: list[Candidate] = []
    defined: dict[str, list[Column]] = {}
    free = 0
    for at, word in starts:
        meter.step(len(found))
        if at < free:
            continue  # within a value
        if word == "create table":
            if match := _CREATE.match(text, at):
                defined[_plain(match["table"])] = _defined(match["body"])
        elif word == "copy":
            free = max(free, _copied(text, at, found))
        else:
            free = max(free, _inserted(text, at, defined, found))
    return found


def open_statement(text: str) -> str:
    """Return the line that names the columns of the statement in whose rows *text* ends, "" for none."""
    for word, pattern in (("COPY ", _COPY), ("INSERT INTO ", _INSERT)):
        at = text.rfind(word, max(0, len(text) - _FAR))
        match = pattern.match(text, at) if at >= 0 else None
        if not match or not match["names"] or not headers.announce(_columns(match["names"])):
            continue
        line = " ".join(match[0].split())
        closed = "\n\\." in text[at:] if word == "COPY " else text.rstrip().endswith(";")
        if not closed:
            return line
    return ""


def _columns(names: str) -> list[Column]:
    return headers.announced([_plain(name) for name in names.split(",")])


def _defined(body: str) -> list[Column]:
    names: list[str] = []
    for line in body.split("\n", _MOST_COLUMNS):
        defined = _DEFINED.match(line)
        if defined and _plain(defined["name"]).lower() not in _NO_COLUMN:
            names.append(_plain(defined["name"]))
    return headers.announced(names)


def _plain(name: str) -> str:
    return name.rpartition(".")[2].strip(_QUOTES)


def _inserted(text: str, at: int, defined: dict[str, list[Column]], found: list[Candidate]) -> int:
    """Take in what the rows of an ``INSERT`` hold, and return where they end."""
    match = _INSERT.match(text, at)
    if not match:
        return 0
    columns = _columns(match["names"]) if match["names"] else defined.get(_plain(match["table"]), [])
    end = match.end()
    if not headers.announce(columns):
        return 0
    while text.startswith("(", end):
        meter.step(len(found))
        end = _row(text, end + 1, columns, found)
        following = _NEXT_ROW.match(text, end) if end else None
        if not following:
            return end
        end = following.end()
    return end


def _row(text: str, at: int, columns: list[Column], found: list[Candidate]) -> int:
    """Take in what one row holds, behind its bracket, and return where it ends, 0 if it does not."""
    for number in range(_MOST_COLUMNS):
        value = _VALUE.match(text, at)
        if not value:
            return 0
        group = "one" if value["one"] is not None else "two" if value["two"] is not None else "bare"
        if number < len(columns):
            found += headers.below(columns[number], value[group], value.start(group))
        at = value.end()
        if value["then"] == ")":
            return at
    return 0


def _copied(text: str, at: int, found: list[Candidate]) -> int:
    """Take in what the lines below a ``COPY`` hold, and return where they end."""
    match = _COPY.match(text, at)
    columns = _columns(match["names"]) if match else []
    if not match or not headers.announce(columns):
        return 0
    start = match.end()
    while start < len(text) and not text.startswith("\\.", start):
        meter.step(len(found))
        end = text.find("\n", start)
        end = end if end >= 0 else len(text)
        offset = start
        for column, cell in zip(columns, text[start:end].split("\t"), strict=False):
            found += headers.below(column, cell, offset)
            offset += len(cell) + 1
        start = end + 1
    return start
