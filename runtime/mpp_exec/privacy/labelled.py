"""Detectors for values that somebody has announced: ``DOB: 1985-01-06``, ``my ssn is 219 09 9999``.

A word that announces is searched for, and what follows it is looked at; the text is never searched for what
might be a value. So text without such words costs nothing, and numbers that nobody has announced are left
alone. Work is linear: every look ahead is bounded, and starts at a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, assignments, declared, labels, meter, names, national, people
from mpp_exec.privacy.finding import Candidate, is_in_mask, is_word, listed

# What people write between an announcement and its value. All of it is optional, so nothing is read twice.
# (No possessive groups here: before Python 3.11.5 they can lose a match, gh-106052.)
_FILLING: Final = lazily(
    r"(?:'?s(?![A-Za-z]))?"
    r"(?:[\s_.:#-]{0,2}(?:numbers?|num|no|nr|id|is|was|be|of|on|record|file|date|ending|in|at|with|me|us|my|your|her|his"
    r"|the|by|back|up|or|call|text|txt|cell|mobile|phone|office|home|work|security|license|licence|lic|card|line|addr(?:ess)?"
    r"|identification|support|request|please|assistance|am|le|el|il|op|den)(?![A-Za-z])){0,5}"
    r"[\s:=#\"'*|>\\~,.?!\u2013-]{0,6}+(?:n(?=[0-9]))?",
    re.IGNORECASE,
)


# ``reach Rhonda M. Stokes at 2405166545``
_SOMEBODY_AT: Final = lazily(r"(?: [A-Z][\w.'-]{0,24},?){1,4} (?:at|on) (?=[0-9(+])")


class _Announced(NamedTuple):
    """A kind, the words that announce it, and where a value of it that starts at an offset ends (or 0)."""

    kind: str
    words: str
    end: Callable[[str, int], int]
    score: float
    fewest: int = 0  # digits, where the word says little
    rule: str = ""


_ANNOUNCED: Final = (
    _Announced(
        "phone",
        "phone phones telephone tel mobile cell cellphone cellular fax ph callback whatsapp telefon landline"
        " msisdn",
        people.phone, 0.9,
    ),
    _Announced(
        "phone",
        "call contact contacted text txt ring reach hmu dial sms caller confirm",
        people.phone, 0.7, 10,
    ),
    _Announced("ssn", "ssn ssns ss social security itin", people.ssn, 0.95),
    _Announced("ssn", "tax taxpayer", people.ssn, 0.7),
    _Announced(
        "date_of_birth",
        "dob birth birthdate birthday born bday d.o.b b-day geburtsdatum geboren",
        people.date, 0.95,
    ),
    _Announced("passport", "passport reisepass", people.passport, 0.9),
    _Announced("passport", "travel document", people.passport, 0.7),
    _Announced(
        "drivers_license",
        "license licence dl dln driver drivers driving permit",
        people.licence, 0.85,
    ),
    _Announced(
        "credit_card",
        "card cards cc credit debit visa mastercard amex pan charge",
        people.card, 0.95,
    ),
    _Announced("ip_address", "ip ips", people.ip, 0.8),
    _Announced(
        "ip_address",
        "logged in from|signed in from|connecting from|connected from|connection from|login from"
        "|accessed from|requests from|request from|posted from",
        people.ip, 0.7,
    ),
    _Announced(
        "phone",
        "hit me up|my number|her number|his number|our number|their number",
        people.phone, 0.7, 10,
    ),
    _Announced("mac_address", "mac hardware bssid", people.mac, 0.8),
    _Announced("vin", "vin vins vehicle identification chassis", people.vin, 0.9),
    _Announced("email", "email e-mail mail", people.split_email, 0.6),
    _Announced("bank_account", "account acct accounts checking savings routing a/c", people.account, 0.96),
)  # fmt: skip


def _words(table: str) -> list[str]:
    return table.split("|") if "|" in table else table.split()


_BY_WORD: Final = {word: announced for announced in _ANNOUNCED for word in _words(announced.words)}
# Glued together, a label is one word of a text: what may be found then is found by its first part.
_GLUED: Final = listed(
    """
    phonenumber phoneno telephonenumber mobilenumber mobilephone cellnumber cellphonenumber
    faxnumber contactnumber ssnumber socialsecuritynumber birthday dateofbirth birthdate
    passportnumber passportno licensenumber licenseno licencenumber driverslicense driverlicense
    dlnumber accountnumber acctnumber accountno bankaccount
    """
)
# The words that each glued one starts with, or else ends in.
_PARTS: Final = {
    glued: tuple((0, word) for word in _BY_WORD if glued.startswith(word))
    or tuple((len(glued) - len(word), word) for word in _BY_WORD if glued.endswith(word))
    for glued in sorted(_GLUED)
}
_CHECKS: Final = {"email": anchors.AT_SIGN, "mac_address": 0}


def _checks(word: str) -> int:
    return anchors.WORD | anchors.WHOLE | _CHECKS.get(_BY_WORD[word].kind, anchors.DIGIT)


# What is searched for, and the words that it is then read as.
_READ_AS: Final = {word: ((0, word),) for word in _BY_WORD} | _PARTS
NEEDLES: Final = tuple(anchors.Needle(word, _checks(parts[0][1])) for word, parts in _READ_AS.items())
# ``Your account 123`` and ``the license 2.0``: two of these say that the rest is no label.
_NOT_BEFORE: Final = lazily(
    r"(?:software|apache|mit|gpl|bsd|open|source|api|aws|azure|cloud) $", re.IGNORECASE
)
_BEFORE: Final = 12
_DIGIT: Final = lazily(r"[0-9]")


def announced(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the values in *text* that a word announces; *places* are the offsets of such words."""
    found: list[Candidate] = []
    for at, written in places:
        meter.step(len(found))
        if is_in_mask(text, at):
            continue
        for offset, word in _READ_AS[written]:
            start = at + offset
            if candidate := _value(text, start, start + len(word), _BY_WORD[word]):
                found.append(candidate)
    return found


IDENTIFIER_NEEDLES: Final = tuple(
    anchors.Needle(word, anchors.WORD | anchors.WHOLE | anchors.DIGIT) for word in national.ANNOUNCED
)


def identified(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the identifiers in *text* that a word announces; *places* are the offsets of such words."""
    found: list[Candidate] = []
    for at, word in places:
        meter.step(len(found))
        end = at + len(word)
        start = _FILLING.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
        if is_in_mask(text, at) or (start == end and is_word(text[end : end + 1])):
            continue
        kind, stop = national.announced(word, text, start)
        if stop:
            found.append(Candidate(kind, start, stop, 0.85, canonical(kind, text[start:stop])))
    return found


def _value(text: str, at: int, end: int, rule: _Announced) -> Candidate | None:
    start = _FILLING.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
    if start == end and len(rule.words) and is_word(text[end : end + 1]):
        return None
    stop = rule.end(text, start)
    if not stop and rule.fewest and (somebody := _SOMEBODY_AT.match(text, end)):
        start = somebody.end()
        stop = rule.end(text, start)
    if not stop or (rule.fewest and len(_DIGIT.findall(text, start, stop)) < rule.fewest):
        return None
    if rule.kind in ("drivers_license", "bank_account") and _NOT_BEFORE.search(
        text, max(0, at - _BEFORE), at
    ):
        return None
    weak = rule.kind == "phone" and people.is_service_line(text, start, stop)
    return Candidate(rule.kind, start, stop, rule.score, canonical(rule.kind, text[start:stop]), weak=weak)


_NOT_DIGIT: Final = lazily(r"[^0-9]+")
_OCTETS: Final = lazily(r"[._/-]| (?=[0-9])")
_NOT_WORD: Final = lazily(r"[^0-9A-Za-z]+")


_OF_WORDS: Final = ("passport", "drivers_license", "vin", "mac_address", "national_id", "tax_id", "health_id")


def canonical(kind: str, written: str) -> str:
    """Return a value in one spelling, so that two ways to write it are the same value."""
    if kind == "ip_address":
        return ".".join(filter(None, _OCTETS.split(written)))
    if kind == "email":
        return written.replace(" ", "").casefold()
    if kind in ("phone", "ssn", "bank_account", "credit_card"):
        return _NOT_DIGIT.sub("", written.partition("x")[0])
    if kind in _OF_WORDS:
        return _NOT_WORD.sub("", written).upper()
    return " ".join(written.split()).casefold()


# --- the same kinds where a JSON key or a column header announces the whole value

_WHOLE: Final = {
    "phone": people.phone,
    "ssn": people.ssn,
    "date_of_birth": people.date,
    "passport": people.passport,
    "drivers_license": people.licence,
    "bank_account": people.account,
    "national_id": national.whole,
    "tax_id": national.whole,
    "health_id": national.whole,
    "vin": people.vin,
    "mac_address": people.mac,
    "credit_card": people.card,
}


def under(label: str, key: str, text: str) -> list[Candidate]:
    """Return what a string is that stands under a JSON key or column header: one value, or nothing.

    *label* is the kind that the header announces (``labels.of_key``), *key* its own words.
    """
    if label == "secret":
        found = assignments.under_label(key, text)
    elif label == labels.DECLARED:
        found = declared.whole(text)
    elif label in _WHOLE:
        start = len(text) - len(text.lstrip())
        stop = _WHOLE[label](text, start)
        found = Candidate(label, start, stop, 0.95, canonical(label, text[start:stop])) if stop else None
    elif label in ("person", "person?", "address", "place", "username"):
        found = names.under_label(label, text, key)
    else:
        found = None
    return [found] if found else []
