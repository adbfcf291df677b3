"""What is written where a number of somebody's is announced: the values, without their labels.

Each function says where the value that starts at an offset ends, or 0 if there is none. Labels are
generous: where somebody says that a number is an SSN, its form is enough, since a mistyped one is still
mostly the real one. Without a label, ``shapes`` asks for more.

Sources: SSN, SSA POMS RM 10201.035; telephone numbers, ITU-T E.164 and the NANP; passports, ICAO 9303-4 (nine
characters); driving licences, AAMVA DL/ID card design standard and the states' published formats.
"""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import numbers
from mpp_exec.privacy.finding import is_word

# A digit that goes on with a number. Separators are written so that there is one way to read them, and a
# number that goes on does not match at all: there is nothing to go back to.
_MORE: Final = r"[ ]?[-./_]?[ ]?[0-9]"
# Digits with a separator and spaces between them.
_RUN: Final = lazily(rf"[+(]{{0,2}}[0-9](?:[ ]{{0,2}}(?:[-./_()\u2013][ ]{{0,2}})?[0-9]){{5,19}}(?!{_MORE})")
_SEPARATED: Final = lazily(
    r"\+?(?:[0-9]{1,3}[-. _/]{1,2}|00[0-9]-)?\(?[0-9]{3}\)?[-. _/]{0,2}[0-9]{3}[-. _/]{0,2}[0-9]{4}(?![0-9])"
)
_EXTENSION: Final = lazily(r"[ ,]{0,2}(?:x|ext\.?|extension|#) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_AFTER: Final = lazily(r"-?[0-9A-Za-z]")
_DIGIT: Final = lazily(r"[0-9]")


def phone(text: str, start: int) -> int:
    """Return where the telephone number at *start* ends, 0 if none starts there. 7 to 15 digits."""
    for pattern in (_SEPARATED, _RUN):
        match = pattern.match(text, start)
        if match and 7 <= len(_DIGIT.findall(match[0])) <= 15 and not _is_date(match[0]):
            extension = _EXTENSION.match(text, match.end())
            end = extension.end() if extension else match.end()
            if not _AFTER.match(text, end) or text[end : end + 1] == "x":
                return end
    return 0


def _is_date(text: str) -> bool:
    return bool(_DATE.fullmatch(text))


_SSN: Final = lazily(r"[0-9](?:[ ]{0,2}(?:[-./_\u2013][ ]{0,2})?[0-9]){8}(?![0-9]|-[0-9A-Za-z])")


def ssn(text: str, start: int) -> int:
    """Return where the nine digits at *start* end, 0 if there are not nine. Nine equal ones are a form's."""
    match = _SSN.match(text, start)
    if not match or len(set(_DIGIT.findall(match[0]))) == 1:
        return 0
    return match.end()


# --- dates, in any order of day, month and year, the month as a number or an English name

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_BETWEEN: Final = r"[ ]{0,2}[-./_,\u2013]{0,2}[ ]{0,2}"
_JOINT: Final = r"[ ]?[-./_\u2013 ][ ]?"
_YEAR: Final = "(?:18|19|20)[0-9]{2}"
_MONTH_NUMBER: Final = "(?:1[0-2]|0?[1-9])"
_DAY: Final = "(?:3[01]|[12][0-9]|0?[1-9])"
_DATE: Final = lazily(
    rf"(?:{_YEAR}{_JOINT}{_MONTH_NUMBER}{_JOINT}{_DAY}|{_DAY}{_JOINT}{_DAY}{_JOINT}(?:{_YEAR}|[0-9]{{2}})"
    rf"|{_YEAR}(?:1[0-2]|0[1-9])(?:3[01]|[12][0-9]|0[1-9])|(?:3[01]|[12][0-9]|0[1-9]){{2}}{_YEAR}"
    rf"|{_MONTH}\.?{_BETWEEN}{_DAY}(?:st|nd|rd|th)?{_BETWEEN}(?:{_YEAR}|[0-9]{{2}})"
    rf"|{_DAY}(?:st|nd|rd|th)?(?: of)?{_BETWEEN}{_MONTH}\.?{_BETWEEN}(?:{_YEAR}|[0-9]{{2}}))"
    r"(?![0-9])(?:T[0-9:.]{5,15}Z?)?",
    re.IGNORECASE,
)
# As it is when a space has slipped in between two digits: six to eight digits in three parts.
_BROKEN_DATE: Final = lazily(
    r"[0-9](?: ?[0-9]){0,3} ?[-./_] ?[0-9](?: ?[0-9])? ?[-./_] ?[0-9](?: ?[0-9]){1,3}(?![0-9])"
)


def date(text: str, start: int) -> int:
    """Return where the date at *start* ends, 0 if there is none."""
    match = _DATE.match(text, start)
    if match and not is_word(text[match.end() : match.end() + 1]):
        return match.end()
    match = _BROKEN_DATE.match(text, start)
    if match and len(_DIGIT.findall(match[0])) in (6, 7, 8):
        return match.end()
    return 0


# --- documents: letters and digits of which most are digits

_PASSPORT: Final = lazily(
    r"[A-Za-z]{0,2} ?[0-9](?: ?[0-9]){5,8}[A-Za-z]?(?![0-9A-Za-z])|[0-9A-Z]{8,9}(?![0-9A-Za-z])"
)


def passport(text: str, start: int) -> int:
    """Return where the passport number at *start* ends, 0 if none starts there."""
    match = _PASSPORT.match(text, start)
    return match.end() if match and len(_DIGIT.findall(match[0])) >= 4 else 0


def licence(text: str, start: int) -> int:
    """Return where the driving licence number at *start* ends, 0 if none starts there."""
    match = _LICENCE.match(text, start)
    if not match or _DATE.fullmatch(match[0]):
        return 0
    return match.end() if len(_DIGIT.findall(match[0])) >= 5 else 0


_LICENCE: Final = lazily(
    r"[A-Za-z]{1,2} ?[0-9](?:[ -]?[0-9]){5,13}(?![0-9A-Za-z])|[0-9](?: ?[0-9]){6,11}(?![0-9A-Za-z]|[-.][0-9])"
    r"|[A-Z0-9]{5,20}(?![0-9A-Za-z]|[-.][0-9])"
)


def account(text: str, start: int) -> int:
    """Return where the bank account number at *start* ends, 0 if none starts there. 6 to 17 digits."""
    match = _ACCOUNT.match(text, start)
    return match.end() if match else 0


_ACCOUNT: Final = lazily(r"[0-9](?:[ -]?[0-9]){5,16}(?![ ]?[0-9]|[A-Za-z]|[-./:][0-9A-Za-z])")


# --- a payment card that is called one: any issuer's, in any grouping, with its check digit

_CARD: Final = lazily(
    r"[0-9](?:(?:[ ]{0,2}(?:[-._/\u2013][ ]{0,2})?|[ \t]{0,2}[\t\r\n][ \t]{0,2})[0-9]){11,18}"
    rf"(?!{_MORE})"
)


def card(text: str, start: int) -> int:
    """Return where the card number at *start* ends, 0 if there are no 12 to 19 digits with a Luhn digit."""
    match = _CARD.match(text, start)
    if not match:
        return 0
    digits = "".join(_DIGIT.findall(match[0]))
    return match.end() if numbers.is_luhn(digits) and len(set(digits)) > 1 else 0


# --- an address that is called one, with separators or a space that have slipped in

_IP: Final = lazily(
    r"[0-9](?: ?[0-9]){0,2}(?:[ ]?[._/-][ ]?[0-9](?: ?[0-9]){0,2}){3}(?![0-9A-Za-z]|[._/-][0-9])"
    r"|[0-9]{1,3}(?: [0-9]{1,3}){3}(?![0-9A-Za-z]|[._/ -][0-9])"
)
_NUMBERS: Final = lazily(r"[._/-]")


def ip(text: str, start: int) -> int:
    """Return where the four octets at *start* end, 0 if there are not four."""
    match = _IP.match(text, start)
    if not match:
        return 0
    octets = [part.replace(" ", "") for part in _NUMBERS.split(match[0])]
    octets = match[0].split() if len(octets) != 4 else octets
    return match.end() if max(map(int, octets)) <= 255 and octets[0] not in ("0", "127") else 0


# --- a hardware address that is called one, whatever separates its pairs

_MAC: Final = lazily(r"[0-9A-Fa-f]{2}(?:[:._ -]?[0-9A-Fa-f]{2}){5}(?![0-9A-Za-z])")


def mac(text: str, start: int) -> int:
    """Return where the six pairs at *start* end, 0 if there are not six, or they are nobody's."""
    match = _MAC.match(text, start)
    return match.end() if match and len(set(match[0].lower()) & set("0123456789abcdef")) > 1 else 0


_SPLIT_EMAIL: Final = lazily(
    r"[\w.+-]{1,64}(?: [\w.+-]{1,64})?@[\w-]{1,63}(?: [\w-]{1,63})?(?: ?\.[\w-]{1,63}){0,3} ?\. ?"
    r"(?:c ?o ?m|o ?r ?g|n ?e ?t|edu|gov|b ?i ?z|i ?n ?f ?o|io|co|uk|de|fr|us|eu)(?![\w@-])"
)


def split_email(text: str, start: int) -> int:
    """Return where the address at *start* ends that a single space has split, 0 if there is none."""
    match = _SPLIT_EMAIL.match(text, start)
    return match.end() if match and match[0].count(" ") == 1 else 0


# --- a vehicle that is called one: 17 letters and digits; only North America has a check digit

_VIN: Final = lazily(r"[0-9A-Za-z](?: ?[0-9A-Za-z]){16}(?![0-9A-Za-z])")


def vin(text: str, start: int) -> int:
    """Return where the vehicle identification number at *start* ends, 0 if none starts there."""
    match = _VIN.match(text, start)
    if not match or match[0].count(" ") > 1:
        return 0
    return match.end() if 4 <= len(_DIGIT.findall(match[0])) <= 16 else 0


# --- a line that a business publishes for everybody is nobody's

_SERVICE_BEFORE: Final = lazily(
    r"(?:support|help|service|sales|order|information|emergency|crisis)[ -]?(?:line|desk)(?: hours)?"
    r"[ :]{0,3}\Z"
    r"|(?:hot|help)line[ :]{0,3}\Z|toll[- ]free[ :]{0,3}\Z",
    re.IGNORECASE,
)
_SERVICE_AFTER: Final = lazily(r"[ ,]{0,2}\(?(?:press|option) [0-9]|[ ,]{0,2}\(?for orders", re.IGNORECASE)
_NEAR: Final = 28


def is_service_line(text: str, start: int, end: int) -> bool:
    """Tell whether the number from *start* to *end* is introduced as a business's published one."""
    before = _SERVICE_BEFORE.search(text, max(0, start - _NEAR), start)
    return bool(before or _SERVICE_AFTER.match(text, end))
