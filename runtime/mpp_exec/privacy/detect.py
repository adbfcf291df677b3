"""Every detector over one string.

A detector is added by writing a function and naming it in :data:`DETECTORS`. Detectors do not know
of each other; what overlaps is settled where actions are known (``redact``).

Most strings hold nothing, so what costs is asking. :func:`prepare` looks once at all strings of a value
together and says which detectors could find anything in them; only those are asked about each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_exec.privacy import (
    assignments,
    escapes,
    labelled,
    lookalikes,
    meter,
    names,
    network,
    numbers,
    rules,
    shapes,
    tables,
    tokens,
    wallets,
)
from mpp_exec.privacy.finding import Candidate, Detector

if TYPE_CHECKING:
    from mpp_exec.privacy.fold import Offsets

_IBAN_FORMS: Final = (b"aa00", b"al00", b"la00", b"ll00")
# Ordered by length, so that a short string meets few of them.
DETECTORS: Final = (
    Detector(4, ":", network.ipv6_addresses, network.IPV6_GATES),
    Detector(6, "@", network.emails),
    Detector(7, ".", network.ip_addresses, network.IPV4_GATES),
    Detector(10, "", shapes.phones, shapes.PHONE_GATES, digits=True),
    Detector(11, "-", shapes.ssns, shapes.SSN_GATES, forms=(b"000-00-0000",)),
    Detector(12, "://", assignments.url_credentials, assignments.URL_GATES),
    Detector(12, "-u", assignments.user_options),
    Detector(12, "", numbers.cards, numbers.CARD_GATES, digits=True),
    Detector(14, "", shapes.macs, shapes.MAC_GATES),
    Detector(15, "", numbers.ibans, numbers.IBAN_GATES, forms=_IBAN_FORMS),
    Detector(20, "A", rules.aws_key_ids),
    Detector(24, "eyJ", rules.jwts),
    Detector(26, "PRIVATE KEY", rules.private_keys),
    Detector(40, "g", rules.github_tokens, (rules.may_hold_github_token,)),
    Detector(40, "", rules.aws_secret_keys, (rules.may_hold_aws_secret,)),
)
_ANNOUNCING: Final = labelled.WORDS | names.WORDS
# Letters in lower case, digits kept (``9c56cc51`` is one word), everything else a space.
_LETTERS: Final = bytes(
    byte | 0x20 if 65 <= byte <= 90 else byte if chr(byte).isascii() and chr(byte).isalnum() else 32
    for byte in range(256)
)
_LONG: Final = 16  # no token, wallet or vehicle is shorter
# The bytes that tokens are made of; what separates them from their surroundings is a space.
_TOKEN_BYTES: Final = bytes(
    byte if (chr(byte).isascii() and chr(byte).isalnum()) or chr(byte) in "_-.+~$" else 32
    for byte in range(256)
)
_NINE_DIGITS: Final = re.compile(r"[0-9](?:[-. ()/_]{0,3}[0-9]){8}")
# The form of a text in bytes: digits 0, letters a (l where they look like digits), separators -, others x.
# What a number needs to be one is looked up there, which costs a tenth of a search by pattern.
_FORM: Final = bytes(
    ord(
        "0"
        if chr(byte) in "0123456789"
        else "l"
        if chr(byte) in "OoIli"
        else "a"
        if chr(byte).isascii() and chr(byte).isalpha()
        else "-"
        if chr(byte) in "-./ ()_"
        else "x"
    )
    for byte in range(256)
)
_MIXED_FORMS: Final = (b"0l", b"l0", b"0-l", b"l-0")


class Prepared(NamedTuple):
    """The detectors that could find something in some strings.

    Attributes:
        detectors: those that look for a form.
        by_word: those that look for words, which they have been told, in a string and its lower case.
        long: some word of the strings is a token, a wallet or a vehicle.
        mixed: letters may stand for digits in them.
        encoded: there may be base64 in them, or escapes.
    """

    detectors: tuple[Detector, ...]
    by_word: tuple[Callable[[str, str], list[Candidate]], ...]
    long: bool
    mixed: bool
    encoded: bool


def prepare(text: str) -> Prepared:
    """Return the detectors that could find something in *text*, or in any part of it."""
    lowered = _lowered(text)
    words = text.encode("utf-8", "replace").translate(_LETTERS).decode("ascii", "replace").split()
    present = _ANNOUNCING.intersection(words)
    by_word: list[Callable[[str, str], list[Candidate]]] = []
    announcing = [word for word in labelled.announcing(present & labelled.WORDS) if word in lowered]
    if announcing:
        by_word.append(partial(labelled.announced, words=announcing))
    if (named := present & names.WORDS) and (":" in text or "=" in text):
        by_word.append(partial(names.announced, words=sorted(named)))
    if stems := [stem for stem in assignments.STEMS if stem in lowered]:
        by_word.append(partial(assignments.assigned, stems=stems))
    form = text.encode("utf-8", "replace").translate(_FORM)
    digits = "+" in text or bool(_NINE_DIGITS.search(text))
    detectors = tuple(
        [each for each in DETECTORS if each.needle in text and _passes(each, text, form, digits=digits)]
    )
    meter.pass_over(text)
    pieces = _pieces(text)
    meter.pass_over(text)
    long = bool(pieces and _in_pieces(text, pieces))
    meter.pass_over(text)
    encoded = escapes.may_hold_base64(text) or bool(escapes.ESCAPED.search(text))
    mixed = any(each in form for each in _MIXED_FORMS) and bool(lookalikes.MIXED.search(text))
    return Prepared(detectors, tuple(by_word), long, mixed, encoded)


def detect(text: str, key: str = "", prepared: Prepared | None = None) -> list[Candidate]:
    """Return what every detector finds in *text*, in its offsets, in no particular order.

    *key* is the nearest JSON key above the text, "" if there is none; *prepared* is what :func:`prepare`
    said about a text that this one is part of. Candidates may overlap.
    """
    if text.isascii():
        prepared = prepared or prepare(f"{key}\n{text}" if key else text)
        hidden = _encoded(text) if prepared.encoded else []
        if not prepared.mixed or lookalikes.digits(text) == text:
            return _scan(text, key, prepared) + hidden
    placed: dict[tuple[str, int, int], Candidate] = {}
    for view, offsets in views(text):
        for candidate in _scan(view, key, prepare(f"{key}\n{view}" if key else view)):
            original = in_original(candidate, offsets)
            placed.setdefault((original.kind, original.start, original.end), original)
    return [*placed.values(), *_encoded(text)]


def _encoded(text: str) -> list[Candidate]:
    """Return what is found in *text* once one level of escapes and of base64 is undone."""
    found: list[Candidate] = []
    if escapes.ESCAPED.search(text):
        unescaped = escapes.Unescaped(text)
        for each in _scan(unescaped.text, "", prepare(unescaped.text)):
            start, end = unescaped.original(each.start), unescaped.original(each.end)
            if end - start > each.end - each.start:  # there was an escape in it
                found.append(each._replace(start=start, end=end))
    if escapes.may_hold_base64(text):
        hidden = list(escapes.decoded(text))
        prepared = prepare("\n".join([meaning for *_, meaning in hidden]))
        for start, end, meaning in hidden:
            sure = [each for each in _scan(meaning, "", prepared) if not each.weak]
            found += [each._replace(start=start, end=end, value=text[start:end]) for each in sure[:1]]
    return found


def views(text: str) -> Iterator[tuple[str, Offsets | None]]:
    """Yield *text* in each way it has to be read, with the way back to its own offsets.

    Invisible characters are read both as nothing (``jane@exa|mple.com``) and as the separators that
    they are as well (``order|4111111111111111``); letters that stand among digits as digits too.
    """
    if text.isascii():
        yield text, None
        if (digits := lookalikes.digits(text)) != text:
            yield digits, None
        return
    from mpp_exec.privacy import fold  # noqa: PLC0415  # tables that plain ASCII never needs

    spelled = fold.spelled(text)
    readings = dict.fromkeys((spelled, latin := fold.latin(spelled), lookalikes.digits(latin)))
    for reading in readings:
        yield reading, None
    for reading in readings:
        if shortened := fold.without_invisible(reading):
            yield shortened
            shorter, offsets = shortened
            for again in dict.fromkeys((fold.latin(shorter), lookalikes.digits(fold.latin(shorter)))):
                if again != shorter:
                    yield again, offsets


def in_original(candidate: Candidate, offsets: Offsets | None) -> Candidate:
    """Return *candidate*, found in a view, with offsets into the text that the view was made of."""
    if offsets is None:
        return candidate
    return candidate._replace(
        start=offsets.original(candidate.start), end=offsets.original(candidate.end - 1) + 1
    )


def _scan(text: str, key: str, prepared: Prepared) -> list[Candidate]:
    length = len(text)
    found: list[Candidate] = []
    for detector in prepared.detectors:
        if length < detector.shortest:
            break
        if detector.needle in text:
            meter.pass_over(text)
            found += detector.find(text, key)
    if prepared.by_word:
        lowered = _lowered(text)
        for find_announced in prepared.by_word:
            found += find_announced(text, lowered)
    if prepared.long and length >= _LONG and (pieces := _pieces(text)):
        found += _in_pieces(text, pieces)
    if "\n" in text:
        found += tables.columns(text)
    if "@" in text:
        found += shapes.beside_emails(text, [each for each in found if each.kind == "email"])
    return found


def _lowered(text: str) -> str:
    """Return *text* in lower case and of the same length; one letter, U+0130, would become two."""
    return text.lower() if text.isascii() else text.replace("\u0130", "I").lower()


def _passes(detector: Detector, text: str, form: bytes, *, digits: bool) -> bool:
    meter.pass_over(text)
    if detector.shortest > len(text) or (detector.digits and not digits):
        return False
    if detector.forms and not any(each in form for each in detector.forms):
        return False
    return not detector.gates or any(gate(text) for gate in detector.gates)


def _in_pieces(text: str, pieces: frozenset[str]) -> list[Candidate]:
    """Return what is found in *text* by its long *pieces*."""
    return [
        *tokens.prefixed(text, pieces),
        *wallets.wallets(text, pieces),
        *shapes.vins(text, pieces),
    ]


def _pieces(text: str) -> frozenset[str]:
    """Return the parts of *text*, between what separates tokens, that are long enough for one."""
    parts = text.encode("utf-8", "replace").translate(_TOKEN_BYTES).split()
    return frozenset([part.decode("utf-8", "replace") for part in parts if len(part) >= _LONG])
