"""Values beside their names, one pair below the other: records that a shell prints turned, and forms sent.

``full_name | Jane Doe`` (psql, expanded), ``[full_name] => Jane Doe`` (print_r of PHP), two columns called
key and value; the parts of ``multipart/form-data`` (RFC 7578).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import headers, meter
from mpp_exec.privacy.anchors import Needle
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.headers import Pair

NEEDLES: Final = (Needle('form-data; name="'),)
_PAIR: Final = lazily(
    r"^[ \t]{0,40}(?:\[(?P<key>[\w .-]{1,40})\][ ]=>|(?P<name>[A-Za-z][\w .-]{0,39})\|)[ \t]{1,16}"
    r"(?P<value>[^|\n]{1,200})$",
    re.MULTILINE,
)
_COLUMNS: Final = lazily(
    r"^(?:key|name|field|property|setting|variable|option)[ \t]{2,40}(?:value|data|setting)[ \t\r]{0,40}$",
    re.MULTILINE | re.IGNORECASE,
)
_COLUMN: Final = lazily(r"(?P<name>[A-Za-z][\w.-]{0,63})[ \t]{2,40}(?P<value>[^\n]{1,512})(?:\n|\Z)")
_RULE: Final = lazily(r"[-=]{2,64}[ \t]{1,40}[-=]{2,64}[ \t\r]{0,40}\n")
_FAR: Final = 256  # code points between two pairs of one record
_FEWEST: Final = 2  # pairs of a record; one may be anything
_PART: Final = lazily(
    r"(?P<name>[^\"\r\n]{1,64})\"[^\r\n]{0,200}\r?\n(?:[A-Za-z-]{1,40}:[^\n]{0,200}\n){0,4}\r?\n"
)


def pairs(text: str) -> list[Candidate]:
    """Return what the lines of *text* hold that begin with a name, and columns called key and value."""
    found: list[Candidate] = []
    if "| " in text or "] => " in text:
        record: list[Pair] = []
        last = 0
        for line in _PAIR.finditer(text):
            meter.step(len(found))
            if record and line.start() - last > _FAR:
                found += _record(record)
                record = []
            last = line.end()
            name = (line["key"] or line["name"]).rstrip()
            record.append(Pair(name, line["value"].rstrip(), line.start("value")))
        found += _record(record)
    if not any(word in text for word in ("value", "Value", "VALUE", "data", "DATA", "etting")):
        return found
    for names in _COLUMNS.finditer(text):
        found += _columns(text, names.end() + 1)
    return found


def parts(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what the parts of a form in *text* hold whose names announce it; *places* are before these."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        if part := _PART.match(text, at + len(word)):
            end = text.find("\n--", part.end(), part.end() + _FAR)
            value = text[part.end() : end if end >= 0 else part.end() + _FAR].rstrip()
            found += headers.below(headers.announced([part["name"]])[0], value, part.end())
    return found


INPUT_NEEDLES: Final = (Needle("<input"), Needle("<textarea"))
_ATTRIBUTE: Final = lazily(
    r"\s(?P<name>name|id|value|type)=(?:\"(?P<double>[^\"<>]{0,200})\"|'(?P<single>[^'<>]{0,200})')",
    re.IGNORECASE,
)
_TAG_MAX: Final = 1024


def inputs(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what the fields of HTML forms in *text* hold, whose names announce it (HTML standard, 4.10)."""
    fields: list[Pair] = []
    for at, word in places:
        meter.step(len(fields))
        end = text.find(">", at, at + _TAG_MAX)
        if end < 0:
            continue
        held = {each["name"].lower(): each for each in _ATTRIBUTE.finditer(text, at + len(word), end)}
        naming = held.get("name") or held.get("id")
        if naming is None:
            continue
        name = naming["double"] or naming["single"] or ""
        if word == "<textarea":
            stop = text.find("<", end + 1, end + 1 + _TAG_MAX)
            fields.append(Pair(name, text[end + 1 : max(stop, end + 1)].rstrip(), end + 1))
        elif value := held.get("value"):
            group = "double" if value["double"] is not None else "single"
            fields.append(Pair(name, value[group], value.start(group)))
    columns = headers.announced([field.name for field in fields])
    return [
        each
        for column, field in zip(columns, fields, strict=True)
        for each in headers.below(column, field.text, field.at)
    ]


def _record(record: Sequence[Pair]) -> list[Candidate]:
    return [each for _, each in headers.paired(record)] if len(record) >= _FEWEST else []


def _columns(text: str, at: int) -> list[Candidate]:
    rows: list[Pair] = []
    if rule := _RULE.match(text, at):
        at = rule.end()
    while row := _COLUMN.match(text, at):
        meter.step(len(rows))
        rows.append(Pair(row["name"], row["value"].rstrip(), row.start("value")))
        at = row.end()
    return [each for _, each in headers.paired(rows)]
