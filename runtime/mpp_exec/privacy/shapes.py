"""Detectors for numbers that are recognised by how they are written: telephone, SSN, MAC, VIN.

Nobody has announced them, so their form has to be certain: separators that belong to the kind and no
other, a number plan, an assigned range, a check digit.

Sources: ITU-T E.164 and its list of country codes, the North American Numbering Plan (NPA and office code
start with 2 to 9), SSA POMS RM 10201.035, IEEE 802, ISO 3779 and 49 CFR 565.15 (check digit).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter, people
from mpp_exec.privacy.finding import WORD_START, Candidate, is_word, listed

# --- telephone: 212-555-0123, (212) 555-0123, +44 20 7123 4567. What is written with a plus has a country
# code, everything else is three, three and four digits.

_NANP: Final = lazily(
    rf"[0-9]{WORD_START}(?<![#$].)[0-9]{{2}}"
    r"(?:(?P<close>\) ?)|(?P<s>[-._/]| ))(?P<b>[0-9]{3})(?(close)[- .]|(?P=s))[0-9]{4}"
    r"(?![0-9A-WYZa-wyz]|[-./][0-9A-Za-z]|[xX][A-Za-z])"
)
_TRUNK: Final = lazily(r"(?:\+?1[-. /_]|001[-. /_]|\+[1-9][0-9]{0,2}[-. /_])\(?\Z|\(\Z|\+1\Z")
_PLUS: Final = lazily(
    r"\+(?<![0-9A-Za-z+=].)\(?[0-9](?:[-. /_()\u2013]{0,3}[0-9]){7,14}(?![-. /]?[0-9]|[A-WYZa-wyz])"
)
_EXTENSION: Final = lazily(r"[ ,]{0,2}(?:x|ext\.?|extension) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_DIGIT: Final = lazily(r"[0-9]")
# Country codes: one digit for zones 1 and 7, two digits for these, else three.
_TWO: Final = listed(
    """
    20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65
    66 81 82 84 86 90 91 92 93 94 95 98
    """
)
_UNASSIGNED: Final = listed(
    """
    210 214 215 217 219 259 28 29 801 802 803 804 805 806 807 809 83 89 99
    """
)
# What announces a number of another kind, in front of it or after it.
_OTHER: Final = listed(
    """
    order part item model reference ref invoice case serial sku isbn issn upc ean tracking lot batch
    ticket policy claim asin member membership reward rewards booking version build release patent
    catalog catalogue product barcode docket po id key code doi pmid usps fedex ups dhl ip oid mac
    uuid hash timestamp coordinate coordinates lat lon dimensions range confirmation reservation
    transaction
    """
)
_BETWEEN: Final = frozenset(("number", "num", "no", "id", "code", "nr"))
_WORDS: Final = lazily(r"[a-z]+")
_NEAR: Final = 28


def _is_other(text: str, start: int) -> bool:
    """Tell whether what precedes *start* announces a number of another kind: ``Part number: ``."""
    before = text[max(0, start - _NEAR) : start].rstrip(" :=.#'\"").lower()
    words = _WORDS.findall(before)
    if not words or not before.endswith(words[-1]):
        return False
    return words[-1] in _OTHER or (words[-1] in _BETWEEN and len(words) > 1 and words[-2] in _OTHER)


def international_phones(text: str, _key: str, pluses: Sequence[int]) -> list[Candidate]:
    """Return the telephone numbers in *text* that start with one of *pluses*. Service lines are weak."""
    found: list[Candidate] = []
    for at in pluses:
        meter.step(len(found))
        if match := _PLUS.match(text, at):
            digits = "".join(_DIGIT.findall(match[0]))
            if _is_international(digits, grouped=len(digits) + 1 < len(match[0])):
                found.append(_phone(text, match.start(), match.end(), digits))
    return found


def phones(text: str, _key: str, digits: Sequence[int]) -> list[Candidate]:
    """Return the numbers of the NANP in *text*, with the first of their *digits*. Service lines are weak."""
    found: list[Candidate] = []
    free = 0
    for at in digits:
        meter.step(len(found))
        match = _NANP.match(text, at) if at >= free else None
        if not match:
            continue
        free = match.end()
        start = _with_trunk(text, match)
        if start >= 0 and not _is_other(text, start):
            found.append(_phone(text, start, match.end(), "".join(_DIGIT.findall(match[0]))))
    return found


def _with_trunk(text: str, match: re.Match[str]) -> int:
    """Return where a number starts with its country code and bracket, -1 if it is none after all."""
    start = match.start()
    before = _TRUNK.search(text, max(0, start - 6), start)
    if match["close"] and (not before or not before[0].endswith("(")):
        return -1
    if not match["close"] and before and before[0].endswith("("):
        before = None  # a bracket around all of it
    if before:
        start = before.start()
    elif match["s"] == " " and not ("2" <= text[start] <= "9" and "2" <= match["b"][0] <= "9"):
        return -1  # three columns of a table
    previous, one_before = text[start - 1 : start], text[start - 2 : start - 1]
    if is_word(previous) and one_before != "\\":
        return -1
    if previous and (previous in "#$/-_+" or (previous in "., " and one_before.isdigit())):
        return -1
    return start


def _is_international(digits: str, *, grouped: bool) -> bool:
    """Tell whether digits behind a plus are a number of E.164: a country code and 7 to 15 digits in all."""
    if not 8 <= len(digits) <= 15 or digits[0] == "0":
        return False
    if digits[0] in "17":
        return len(digits) == 11
    if digits[:2] in _TWO:
        return len(digits) >= (9 if grouped else 10)
    return digits[:2] not in _UNASSIGNED and digits[:3] not in _UNASSIGNED and len(digits) >= 10


def _phone(text: str, start: int, end: int, digits: str) -> Candidate:
    extension = _EXTENSION.match(text, end)
    end = extension.end() if extension else end
    return Candidate("phone", start, end, 0.75, digits, weak=people.is_service_line(text, start, end))


# --- a bare number of ten digits in a line of somebody's: ``Kramer, Lee / lee@example.com / 6537932219``

_BARE: Final = lazily(r"[0-9](?<![0-9A-Za-z#=:+.-].)1?[0-9]{9}(?![0-9A-Za-z.]|[-/][0-9])")
_LINE: Final = 160


def beside_emails(text: str, emails: Sequence[Candidate], starts: Sequence[int]) -> list[Candidate]:
    """Return the numbers of ten digits at *starts* that are a field of a line in which an address stands."""
    found: list[Candidate] = []
    for at in starts:
        meter.step(len(found))
        run = _spaced(text, at) if not _BARE.match(text, at) else None
        if run and not _TEN.fullmatch(run[1].replace(" ", "")):
            continue
        low = max(text.rfind("\n", max(0, at - _LINE), at) + 1, at - _LINE)
        high = text.find("\n", at, at + _LINE)
        high = high if high >= 0 else at + _LINE
        first = bisect_left(emails, low, key=_start)
        beside = first < len(emails) and emails[first].start < high
        if not beside or _is_other(text, at):
            continue
        if run and run[1].count(" ") <= 2:
            found.append(Candidate("phone", run[0], run[0] + len(run[1]), 0.5, run[1].replace(" ", "")))
        elif match := _BARE.match(text, at):
            found.append(Candidate("phone", at, match.end(), 0.5, match[0]))
    return found


def _start(candidate: Candidate) -> int:
    return candidate.start


# --- SSN: 219-09-9999 in an area, group and serial that are issued

# Searched for by its first hyphen, which is rarer than digits.
_SSN: Final = lazily(
    r"-(?<=[0-9]{3}-)(?:(?<![0-9A-Za-z-][0-9]{3}-)|(?<=\\[nrt][0-9]{3}-)|(?<=%[0-9A-Fa-f]{2}[0-9]{3}-))"
    r"[0-9]{2}-[0-9]{4}(?![0-9A-Za-z]|-[0-9A-Za-z])"
)


# --- the same with a space that has slipped in: ``(642) 569 -0877``, ``1-376-184-787 0``

_SPACED_RUN: Final = lazily(r"[(]?[ ]?[0-9][0-9 ()./-]{9,24}")
_COMPACT: Final = lazily(
    r"(?:001[-.]?|\+?1[-.]?)?(?:\([0-9]{3}\)[-.]?[0-9]{3}[-.]?[0-9]{4}|[0-9]{3}([-.])[0-9]{3}\1[0-9]{4})"
)
_INSIDE: Final = frozenset("-./_$#=")
_TEN: Final = lazily(r"[0-9]{10}")


def spaced_phones(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the numbers of the NANP in *text*, in the runs of digits and spaces at *starts*."""
    found: list[Candidate] = []
    for at in starts:
        meter.step(len(found))
        if run := _spaced(text, at):
            compact = run[1].replace(" ", "")
            if _COMPACT.fullmatch(compact) and not _is_other(text, run[0]):
                found.append(_phone(text, run[0], run[0] + len(run[1]), "".join(_DIGIT.findall(compact))))
    return found


def _spaced(text: str, at: int) -> tuple[int, str] | None:
    """Return offset and text of the run of digits around *at*, None if it is part of something else."""
    start = at
    while start > max(0, at - 2) and text[start - 1] in "( ":
        start -= 1
    if text[start] == " ":
        start = at
    match = _SPACED_RUN.match(text, start)
    if not match:
        return None
    number = match[0].rstrip(" (./-)")
    before, behind = text[start - 1 : start], text[start + len(number) : start + len(number) + 1]
    if is_word(before) or before in _INSIDE or (is_word(behind) and behind != "x"):
        return None
    return start, number


def ssns(text: str, _key: str, hyphens: Sequence[int]) -> list[Candidate]:
    """Return the SSNs (and ITINs, which start with 9) in *text*, with the first of their *hyphens*."""
    found: list[Candidate] = []
    for at in hyphens:
        meter.step(len(found))
        if not (match := _SSN.match(text, at)):
            continue
        start = at - 3
        digits = text[start : match.end()].replace("-", "")
        if is_ssn(digits) and not _is_other(text, start):
            found.append(Candidate("ssn", start, match.end(), 0.85, digits))
    return found


def is_ssn(digits: str) -> bool:
    """Tell whether nine digits can have been issued as an SSN or an ITIN."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    if area[0] == "9":
        return "50" <= group <= "65" or "70" <= group <= "88" or "90" <= group <= "92" or group >= "94"
    return digits not in ("078051120", "219099999")  # SSA printed them on sample cards


# --- MAC: IEEE 802, six pairs with colons or hyphens, or three groups of four with stops

# Searched for by its first separator.
_MAC: Final = lazily(
    r"([:-])(?<=[0-9A-Fa-f]{2}.)(?:(?<![0-9A-Za-z:-]...)|(?<=\\[nrt]...)|(?<=%[0-9A-Fa-f]{2}...))"
    r"(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![0-9A-Za-z]|\1[0-9A-Fa-f])"
)
_MAC_DOTTED: Final = lazily(
    r"\.(?<=[0-9A-Fa-f]{4}.)(?<![0-9A-Za-z.].{5})[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![0-9A-Za-z]|\.[0-9A-Za-z])"
)
_NOT_HEX: Final = lazily(r"[^0-9A-Fa-f]")


def macs(text: str, _key: str, separators: Sequence[int]) -> list[Candidate]:
    """Return the hardware addresses in *text*, with the first of their *separators*.

    Broadcast and null are nobody's.
    """
    found: list[Candidate] = []
    for at in separators:
        meter.step(len(found))
        dotted = text[at] == "."
        if match := (_MAC_DOTTED if dotted else _MAC).match(text, at):
            start = at - (4 if dotted else 2)
            value = _NOT_HEX.sub("", text[start : match.end()]).upper()
            if value not in ("F" * 12, "0" * 12) and not (dotted and value.isdecimal()):
                found.append(Candidate("mac_address", start, match.end(), 0.9, value))
    return found


# --- VIN: 17 characters without I, O and Q; the ninth is a check digit (weights of 49 CFR 565.15)

_VIN: Final = lazily(r"[A-HJ-NPR-Z0-9](?<![0-9A-Za-z_-].)[A-HJ-NPR-Z0-9]{16}(?![0-9A-Za-z_-])")
_VIN_VALUES: Final = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True))
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vins(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the vehicle identification numbers in *text* at *starts*, by their check digit."""
    return [
        Candidate("vin", match.start(), match.end(), 0.9, match[0])
        for at in meter.steps(starts)
        if (match := _VIN.match(text, at)) and is_vin(match[0])
    ]


def is_vin(value: str) -> bool:
    """Tell whether the ninth of 17 characters is the check digit of the others."""
    if not 3 <= sum(map(str.isalpha, value)) <= 15:
        return False
    total = sum(
        (int(character) if character.isdecimal() else _VIN_VALUES[character]) * weight
        for character, weight in zip(value, _VIN_WEIGHTS, strict=True)
    )
    return value[8] == "0123456789X"[total % 11]
