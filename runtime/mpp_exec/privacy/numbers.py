"""Detectors for numbers that carry their own proof: payment cards (Luhn) and IBANs (mod 97)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import WORD_START, Candidate, is_word

# --- payment cards: ISO/IEC 7812. A random number passes the Luhn check one time in ten, so the
# issuer's prefix must exist and have the right length too. That also tells a card from an IMEI
# (15 digits, 35…), a time in milliseconds (13 digits, 1…) and an ISBN (13 digits, 978…).

# (first prefix, last prefix, lengths) over the first four digits; from the networks' published
# ranges. Visa's and Maestro's 13 and 12 digits and JCB's 15 are old, but still in files.
_ISSUERS: Final = (
    (604, 604, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro (0604)
    (1800, 1800, (15,)),  # JCB
    (2131, 2131, (15,)),  # JCB
    (2200, 2205, (16, 17, 18, 19)),  # Mir, BORICA
    (2221, 2720, (16,)),  # Mastercard
    (3000, 3059, (14, 16, 17, 18, 19)),  # Diners Club
    (3088, 3094, (16,)),  # JCB
    (3095, 3095, (14, 16, 17, 18, 19)),  # Diners Club
    (3096, 3102, (16,)),  # JCB
    (3112, 3120, (16,)),  # JCB
    (3158, 3159, (16,)),  # JCB
    (3337, 3349, (16,)),  # JCB
    (3400, 3499, (15,)),  # American Express
    (3528, 3589, (16, 17, 18, 19)),  # JCB, RuPay, LankaPay
    (3600, 3699, (14, 15, 16, 17, 18, 19)),  # Diners Club
    (3700, 3799, (15,)),  # American Express
    (3800, 3999, (14, 16, 17, 18, 19)),  # Diners Club
    (4000, 4999, (13, 16, 19)),  # Visa, Dankort
    (5000, 5099, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, Verve, Elo, RuPay
    (5100, 5599, (16,)),  # Mastercard
    (5600, 5899, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, Uzcard
    (6000, 6199, (16, 17, 18, 19)),  # Discover, RuPay, Hipercard
    (6200, 6299, (16, 17, 18, 19)),  # UnionPay
    (6300, 6399, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, InstaPayment, Elo
    (6400, 6599, (16, 17, 18, 19)),  # Discover, Verve, Troy, RuPay
    (6700, 6799, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (8100, 8299, (16, 17, 18, 19)),  # UnionPay, RuPay
    (8600, 8600, (16,)),  # Uzcard
    (9792, 9792, (16,)),  # Troy
    (9860, 9860, (16,)),  # Humo
)
_FIRST: Final = tuple(low for low, _, _ in _ISSUERS)

# Maximal runs of digits and the separators that people put between them; possessive, so that a run
# is read once. Inside a run: the way cards are printed, all with the same separator, or no separator
# at all. ``(?<![0-9]\..)`` keeps out the digits behind a decimal point.
_RUN: Final = lazily(r"[0-9][0-9 \t._/-]{11,}+")
_NOT_DIGIT: Final = lazily(r"[^0-9]+")
_DIGITS: Final = lazily(r"[0-9]+")
_PRINTED: Final = lazily(
    rf"[0-9]{WORD_START}(?<![0-9]\..)[0-9]{{3}}"
    r"(?:[0-9]{8,15}|([ \t._/-]| {2,3}| - )"
    r"(?:[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}(?:\1[0-9]{1,3})?|[0-9]{6}\1[0-9]{4,5}))"
    r"(?![0-9A-Za-z])"
)
# Any other grouping counts only if the whole run is one card number.
_REGROUPED: Final = lazily(
    rf"[0-9]{WORD_START}(?<![0-9][ -].)(?<![0-9]\..)(?:[ -]?[0-9]){{11,18}}+(?![ -]?[0-9A-Za-z])"
)
_MOST_GROUPS: Final = 6
# Digits and nothing else between letters, which are a word: ``PAN4111…``, or a magnetic track: ``%B4111…^``.
_GLUED: Final = lazily(
    r"[0-9](?<![0-9.].)(?:(?<=[A-Za-z].)|(?=[0-9]{11,18}[A-Za-z]))[0-9]{11,18}(?![0-9])"
    r"(?=[A-Za-z]{0,12}(?![0-9A-Za-z]))"
)
_WORD: Final = 14
_LETTERS: Final = lazily(r"[A-Za-z]*")
_HEXADECIMAL: Final = lazily(r"[a-f]*|[A-F]*")
_LETTERS_BEFORE: Final = lazily(r"(?<![0-9A-Za-z])[A-Za-z]{0,12}\Z")
_FRACTION: Final = lazily(r"\.[0-9]+")


def cards(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the payment card numbers in *text*, in the runs of twelve digits and more at *starts*."""
    found: list[Candidate] = []
    for at in starts:
        meter.step(len(found))
        if not (run := _RUN.match(text, at)):
            continue
        known = len(found)
        limit = run.end() + 2  # as far as the patterns look ahead
        match = meter.search(_PRINTED, text, run.start(), limit)
        while match:
            meter.step(len(found))
            card = _card(text, match)
            if card:
                found.append(card)
            match = meter.search(_PRINTED, text, card.end if card else _resume(text, match), limit)
        if len(found) == known:
            found += _regrouped(text, run) or _glued(text, run)
    return found


def _resume(text: str, match: re.Match[str]) -> int:
    """Return where a card may start inside a number that is none."""
    if text[match.start() - 1 : match.start()] == "%":
        return match.start() + 2  # the end of an escape: ``%204111…``
    return match.start() + 4 if match[1] else match.end()


def _card(text: str, match: re.Match[str]) -> Candidate | None:
    """Return the card at *match*; after a space, its last group may be a security code."""
    start, end = match.span()
    digits = _NOT_DIGIT.sub("", match[0])
    if not is_card(digits) and match[1] == " ":
        end = text.rfind(" ", start, end)
        digits = _NOT_DIGIT.sub("", text[start:end])
    # 4111111111111111.0 is how a table shows a card. No amount has a card's digits before its point.
    fraction = None if match[1] else _FRACTION.match(text, end)
    if not is_card(digits):
        return None
    return Candidate("credit_card", start, fraction.end() if fraction else end, 0.95, digits)


def _regrouped(text: str, run: re.Match[str]) -> list[Candidate]:
    match = meter.search(_REGROUPED, text, run.start(), run.end() + 2)
    if not match or not 1 < len(_DIGITS.findall(match[0])) <= _MOST_GROUPS:
        return []
    digits = _NOT_DIGIT.sub("", match[0])
    return [Candidate("credit_card", match.start(), match.end(), 0.7, digits)] if is_card(digits) else []


def _glued(text: str, run: re.Match[str]) -> list[Candidate]:
    """Return the card that letters stand around. All digits between them must be its own.

    Where all of them could be hexadecimal digits, the whole is more likely to be a number of these.
    """
    match = meter.search(_GLUED, text, run.start(), min(len(text), run.end() + _WORD))
    if not match or not is_card(match[0]):
        return []
    start, end = match.span()
    before = _LETTERS_BEFORE.search(text[max(0, start - _WORD) : start])
    if not before or _is_hexadecimal(text, start - len(before[0]), start, end):
        return []
    return [Candidate("credit_card", start, end, 0.6, match[0])]


def _is_hexadecimal(text: str, word: int, start: int, end: int) -> bool:
    if text[word - 1 : start] == "%B" and text[end : end + 1] == "^":  # ISO/IEC 7813, track 1
        return False
    letters = text[word:start] + _LETTERS.match(text, end)[0]  # type: ignore[index]  # it matches the empty string
    return _HEXADECIMAL.fullmatch(letters) is not None


def is_card(digits: str) -> bool:
    """Tell whether *digits* have a known issuer, its length and the Luhn check digit."""
    prefix = int(digits[:4])
    issuer = _ISSUERS[bisect_right(_FIRST, prefix) - 1]
    if not issuer[0] <= prefix <= issuer[1] or len(digits) not in issuer[2]:
        return False
    return is_luhn(digits) and digits.count(digits[0]) < len(digits)


def is_luhn(digits: str) -> bool:
    """Tell whether the last of *digits* is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


# --- IBAN: ISO 13616; lengths from the SWIFT IBAN registry, release 101. Written together or in
# groups of four with spaces; searched for by its check digits, which follow two letters.

_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}
_IBAN: Final = lazily(
    r"[0-9](?<=[A-Za-z].)(?<=[A-Za-z][A-Za-z].)"
    r"(?:(?<![0-9A-Za-z]...)|(?<=\\[nrt]...)|(?<=%[0-9A-Fa-f]{2}...))[0-9](?:[ -]?[0-9A-Za-z]){11,32}"
)
_SEPARATORS: Final = lazily(r"[ -]")


def ibans(text: str, _key: str, digits: Sequence[int]) -> list[Candidate]:
    """Return the international bank account numbers in *text*, with the first of their *digits*."""
    found: list[Candidate] = []
    free = 0
    for at in digits:
        meter.step(len(found))
        match = _IBAN.match(text, at) if at >= free else None
        if not match:
            continue
        start = match.start() - 2
        end, value = _iban(text, start, match.end())
        if value:
            found.append(Candidate("iban", start, end, 1.0, value))
        free = end
    return found


def _iban(text: str, start: int, end: int) -> tuple[int, str]:
    """Return end and value of the IBAN at *start*, or where to go on looking and ""."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    compact = _SEPARATORS.sub("", text[start:end]).upper()[:length]
    if length and len(compact) == length and _is_mod_97(compact):
        stop, left = start, length
        while left:
            left -= text[stop] not in " -"
            stop += 1
        if not is_word(text[stop : stop + 1]):
            return stop, compact
    return start + 4, ""


def _is_mod_97(iban: str) -> bool:
    return int("".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])) % 97 == 1
