"""Somebody's card in the formats that address books, calendars, mail and hospitals exchange.

vCard (RFC 6350, section 6.2 and 6.3), CN of an attendee (RFC 5545, section 3.2.2), the name beside an address
in angle brackets (RFC 5322, section 3.4), and the segments of HL7 version 2 that identify a patient (PID) and
who is next of kin (NK1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import labelled, meter
from mpp_exec.privacy.anchors import Needle
from mpp_exec.privacy.finding import Candidate

NEEDLES: Final = tuple(Needle(word) for word in ("begin:vcard", ";cn=", "pid|", "nk1|"))
_CARD_MAX: Final = 1 << 14
_LINE: Final = lazily(
    r"(?:\n|\\n)(?:item[0-9]{1,2}\.)?(?P<property>FN|N|ADR|NICKNAME|BDAY)(?:;[^:\r\n]{0,128})?:"
    r"(?P<value>(?:(?!\\[nr])[^\r\n]){1,512})",
)
_END: Final = lazily(r"(?:END|BEGIN):VCARD", re.IGNORECASE)  # a card in a card is one of its own
_PARTS: Final = lazily(r"(?:[^;,\\]|\\.){2,128}")
_CN: Final = lazily(
    r";CN=(?:\"(?P<quoted>[^\"\r\n]{2,80})\"|(?P<name>[^;:,\"\r\n]{2,80}))",
)
_FIELD: Final = "|"
_COMPONENT: Final = lazily(r"[^|^~&\r\n]{1,128}")
# By their number in a segment: what the components of a field are.
_PATIENT: Final = {
    2: "health_id", 3: "health_id", 4: "health_id", 5: "person", 6: "person", 7: "date_of_birth", 9: "person",
    11: "address", 13: "phone", 14: "phone", 18: "bank_account", 19: "ssn", 20: "drivers_license",
}  # fmt: skip
_KIN: Final = {2: "person", 4: "address", 5: "phone", 6: "phone"}
_SEGMENT_MAX: Final = 1 << 12
_BEFORE: Final = 80
_NAME: Final = r"[^\W\d_][^\s<>\"@:;,|()\[\]{}=]{0,30}"
_DISPLAYED: Final = lazily(
    rf"(?:\"(?P<quoted>[^\"<>\r\n]{{2,64}})\"|"
    rf"(?<![^\W_])(?P<name>{_NAME}(?:(?:, ?|  ?){_NAME}){{0,4}}))[ ]?<\Z"
)


def cards(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what the cards in *text* say of somebody; *places* are the offsets of what they start with."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        if word == "begin:vcard":
            found += _card(text, at)
        elif word == ";cn=":
            match = _CN.match(text, at)
            group = "quoted" if match and match["quoted"] else "name"
            found += _under("person?", text, *match.span(group)) if match else ()
        elif text[at - 1 : at] in ("", "\n", "\r", "n", "r") and text[at : at + 3].isupper():
            found += _segment(text, at, _PATIENT if word == "pid|" else _KIN)
    return found


def beside_emails(text: str, emails: Sequence[Candidate]) -> list[Candidate]:
    """Return the names in front of those *emails* that stand in angle brackets: ``Jane Doe <jane@…>``."""
    found: list[Candidate] = []
    for email in emails:
        meter.step(len(found))
        if text[email.start - 1 : email.start] != "<" or text[email.end : email.end + 1] != ">":
            continue
        match = _DISPLAYED.search(text, max(0, email.start - _BEFORE), email.start)
        if match:
            group = "quoted" if match["quoted"] else "name"
            found += _under("person?", text, *match.span(group))
    return found


def _under(label: str, text: str, start: int, end: int) -> Iterator[Candidate]:
    for each in labelled.under(label, "", text[start:end]):
        yield each._replace(start=each.start + start, end=each.end + start)


def _card(text: str, at: int) -> Iterator[Candidate]:
    ends = _END.search(text, at + 1, at + _CARD_MAX)
    stop = ends.start() if ends else min(len(text), at + _CARD_MAX)
    for line in _LINE.finditer(text, at, stop):
        meter.step()
        start, end = line.span("value")
        kind = {"BDAY": "date_of_birth", "ADR": "place"}.get(line["property"], "person")
        if line["property"] in ("N", "ADR"):
            parts = [part.span() for part in _PARTS.finditer(text, start, end)]
            if kind == "place" and len(parts) > 1 and text[parts[-1][0] : parts[-1][1]].isalpha():
                parts.pop()  # the country
            for part in parts:
                yield from _under(kind, text, *part)
        else:
            yield from _under(kind, text, start, end)


def _segment(text: str, at: int, kinds: dict[int, str]) -> Iterator[Candidate]:
    start = at
    for number in range(max(kinds) + 1):
        end = _end_of_field(text, start, at + _SEGMENT_MAX)
        kind = kinds.get(number, "")
        if kind and end > start:
            for part in _COMPONENT.finditer(text, start, end):
                if kind == "address":
                    yield from _under("place", text, *part.span())
                    continue
                yield from _under(kind, text, *part.span())
                if kind == "health_id":
                    break
        if text[end : end + 1] != _FIELD:
            return
        start = end + 1


def _end_of_field(text: str, start: int, most: int) -> int:
    end = start
    most = min(most, len(text))
    while end < most and text[end] not in "|\r\n":
        end += 1
    return end
