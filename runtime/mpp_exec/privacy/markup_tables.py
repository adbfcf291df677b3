"""Values in tables, lists and elements of HTML and XML: a header, a label or a tag announces them.

Source: the table model of the HTML standard, section 4.9: end tags of cells and rows may be left out; lists
of terms and what they are, section 4.4.9.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import headers, meter
from mpp_exec.privacy.anchors import Needle
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.headers import Column, Pair

NEEDLES: Final = (Needle("<tr"),)
TERM_NEEDLES: Final = (Needle("<dt"),)
# The ends of tags that name what an element holds: ``<firstName>``, ``<home_address>``.
_TAGS: Final = (
    "name address street line1 line2 phone mobile telephone tel fax cell birth dob birthday birthdate"
    " number username login ssn surname forename passport vorname nachname apellido apellidos prenom"
    " cognome nome nombre strasse adresse direccion indirizzo rue calle city town locality zip postcode"
    " postalcode postal_code zipcode plz ort stadt ville ciudad citta cidade nm strtnm twnnm pstcd"
)
ELEMENT_NEEDLES: Final = tuple(Needle(f"{word}>") for word in _TAGS.split())
_LONGEST_ROW: Final = 1 << 14
_MOST_CELLS: Final = 128
_INLINE: Final = r"(?:\s{0,64}<(?![/]?[Tt][dhrDHR][\s>]|/?[Dd][dtDT][\s>])[^<>]{0,256}>){0,6}\s{0,64}"
_CELL: Final = lazily(rf"<[Tt](?P<what>[hdHD])(?:\s[^<>]{{0,256}})?>{_INLINE}(?P<text>[^<]{{0,512}})")
_TABLE: Final = lazily(r"</?[Tt][Aa][Bb][Ll][Ee][\s>]")
_BEGINS: Final = lazily(r"<[Tt][Rr][\s>]")
_TERM: Final = lazily(
    rf"<[Dd][Tt](?:\s[^<>]{{0,256}})?>{_INLINE}(?P<name>[^<]{{1,64}})(?:</[A-Za-z]{{1,8}}>\s{{0,64}}){{0,3}}"
    rf"<[Dd][Dd](?:\s[^<>]{{0,256}})?>{_INLINE}(?P<text>[^<]{{0,512}})"
)
_FAR: Final = 2048  # code points between two terms of one list
_LONGEST_TAG: Final = 64
_ELEMENT: Final = lazily(r"(?P<text>[^<]{1,512})</")
_SOMEBODY: Final = lazily(
    r"<[\w:.-]{0,24}(?:e-?mail|phone|mobile|birth|dob|ssn|birthdate|birthday|address|surname|lastname)>",
    re.IGNORECASE,
)
_NEAR: Final = 512
_IN_TAG: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.:-")


class _Cell(NamedTuple):
    start: int
    text: str
    is_header: bool


def cells(text: str, _key: str, rows: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what stands in the cells of *rows* of *text* that a header or a label announces.

    *rows* are the offsets of all of them, in order: a header counts for those below it.
    """
    found: list[Candidate] = []
    header: list[Column] = []
    pairs: list[tuple[str, _Cell]] = []
    last = -1
    starts = [at for at, _ in rows if _BEGINS.match(text, at)]
    for at, end in zip(starts, [*starts[1:], len(text)], strict=False):
        meter.step(len(found))
        if last >= 0 and (at - last > _LONGEST_ROW or _TABLE.search(text, last, at)):
            last = -1
            found += _paired(pairs)
            pairs = []
        is_first, last = last < 0, at
        row = _row(text, at, min(end, at + _LONGEST_ROW))
        if is_first or (row and all(cell.is_header for cell in row)):
            header = _announced([cell.text for cell in row])
            if headers.announce(header) and len(row) != 2:  # a label and a value
                continue
        for column, cell in zip(header, row, strict=False):
            if cell.text != column.name and not cell.is_header:
                found += headers.below(column, cell.text, cell.start)
        if len(row) == 2 and not row[1].is_header:
            pairs.append((row[0].text, row[1]))
    return found + _paired(pairs)


def described(text: str, _key: str, terms: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what stands behind the *terms* of lists in *text*, whose offsets are in order."""
    found: list[Candidate] = []
    pairs: list[tuple[str, _Cell]] = []
    last = 0
    for at, _ in terms:
        meter.step(len(found))
        if pairs and at - last > _FAR:
            found += _paired(pairs)
            pairs = []
        last = at
        if term := _TERM.match(text, at):
            pairs.append((term["name"], _Cell(term.start("text"), term["text"].rstrip(), is_header=False)))
    return found + _paired(pairs)


def elements(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what the elements in *text* hold whose tags, of which *places* are the ends, announce it."""
    found: list[Candidate] = []
    somebody: list[int] | None = None  # where tags say that somebody is described, once that is asked
    beside: list[Pair] = []
    for at, word in places:
        meter.step(len(found))
        end = at + len(word)
        start = at
        while start > max(0, at - _LONGEST_TAG) and text[start - 1] in _IN_TAG:
            start -= 1
        tag = text[start : end - 1]
        element = _ELEMENT.match(text, end) if text[start - 1 : start] == "<" else None
        if not element or not text.startswith(tag, element.end()):
            continue
        if beside and end - beside[-1].at > _NEAR:
            found += _elements(beside, somebody or [])
            beside = []
        name = headers.trimmed(tag.rpartition(":")[2])
        if _announced([name])[0].kind == "name?" and somebody is None:
            area = (max(0, places[0][0] - _NEAR), places[-1][0] + _NEAR)
            somebody = [tag.start() for tag in _SOMEBODY.finditer(text, *area)]
        beside.append(Pair(name, element["text"], end))
    return found + _elements(beside, somebody or [])


def _elements(beside: Sequence[Pair], somebody: Sequence[int]) -> list[Candidate]:
    """Return what elements that stand *beside* each other hold; *somebody* is where one is described."""
    found: list[Candidate] = []
    columns = _announced([pair.name for pair in beside])
    for column, pair in zip(columns, beside, strict=True):
        if column.kind == "name?":
            first = bisect_left(somebody, pair.at - _NEAR)
            if first < len(somebody) and somebody[first] < pair.at + _NEAR:
                column = column._replace(kind="person")  # noqa: PLW2901  # what stands near says more
        if column.kind != "secret":  # what is in elements is read there as well (``assignments``)
            found += headers.below(column, pair.text, pair.at)
    return found


def _row(text: str, at: int, end: int) -> list[_Cell]:
    matches = _CELL.finditer(text, at, end)
    return [
        _Cell(match.start("text"), match["text"].rstrip(), match["what"] in "hH")
        for match, _ in zip(matches, range(_MOST_CELLS), strict=False)
    ]


def _announced(texts: Sequence[str]) -> list[Column]:
    return headers.announced([headers.trimmed(text) for text in texts])


def _paired(pairs: Sequence[tuple[str, _Cell]]) -> list[Candidate]:
    """Return what the values of *pairs* are that their labels name, which stand beside each other."""
    found = headers.paired([Pair(headers.trimmed(name), cell.text, cell.start) for name, cell in pairs])
    return [each for _, each in found]
