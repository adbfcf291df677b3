"""Why something counts as found: which rule, which check, which context, and what would switch it off.

Nothing here runs unless somebody asks. What a detector has proposed is looked for once more, by itself, so
that finding costs nothing for being explained; a reason never holds the value.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import assignments, commands, labelled, markup_tables, names, tables, tokens
from mpp_exec.privacy.detect import detect, detect_plain, places_of
from mpp_exec.privacy.document import keys_in_text
from mpp_exec.privacy.embedded import KeysAbove
from mpp_exec.privacy.finding import ORGANISATION, SECOND_OPINION, Candidate
from mpp_exec.privacy.leaf import Leaf
from mpp_exec.privacy.literals import RECEIVED, USER_CONFIG

_CHECKS: Final = {
    "address": "words and a number, with a street or a comma",
    "bank_account": "6 to 17 digits",
    "credit_card": "a network's prefix and length (ISO/IEC 7812), and the Luhn digit",
    "crypto_address": "the checksum of Base58Check or bech32, or the form of EIP-55",
    "date_of_birth": "a date",
    "drivers_license": "letters and digits, five digits at least",
    "email": "an at sign, what may stand before it, and a domain behind it (RFC 5321)",
    "health_id": "the form of a health service's number, and its check digit where it has one",
    "iban": "a country's length and the remainder of mod 97 (ISO 13616)",
    "ip_address": "four octets, or the groups of an IPv6 address (RFC 4291), that identify somebody",
    "mac_address": "six pairs of hexadecimal digits, neither broadcast nor null",
    "national_id": "the form of a state's number, and the date and check digits that it has",
    "passport": "letters and digits, four digits at least",
    "person": "one to five words of letters",
    "phone": "a country code and a length of E.164, or groups of the NANP",
    "ssn": "nine digits in a range that is issued (SSA POMS RM 10201.035)",
    "tax_id": "the form of a tax office's number, and its check digits where it has any",
    "url_credential": "scheme://user:password@ (RFC 3986, section 3.2.1), no placeholder",
    "username": "one word",
    "vin": "17 characters with the check digit of 49 CFR 565.15",
}
_SECRETS: Final = {
    "assigned_password": "no placeholder, no code, no path",
    "assigned_random": "20 characters in which letters and digits are mixed, and a name that says nothing",
    "assigned_secret": "no placeholder and no code, and unlike words",
    "aws_access_key": "the prefix and length of an access key ID, or 40 characters of base64 beside one",
    "command_password": "no placeholder and no variable",
    "github_token": "the prefix and length that GitHub publishes",
    "jwt": "a JOSE header that names an algorithm (RFC 7515)",
    "password_hash": "the form of crypt(5) or of RFC 2307",
    "private_key": "the markers of a private key (RFC 7468), and what stands between them",
    "user_option": "a user's name and a password, no placeholder",
}
# Detectors that are led by a word, which is then what announces.
_BY_WORDS: Final = (
    *(labelled.announced, labelled.identified, names.announced, assignments.assigned),
    *(commands.passwords, commands.pgpass_lines),
)
_ROW: Final = lazily("<tr", re.IGNORECASE)
_PUBLISHED: Final = {rule: source for rule, _, _, source in tokens.FORMATS}
_UNANNOUNCED: Final = {ORGANISATION: "none: the pattern is enough", SECOND_OPINION: "the sentence"}
_HEADER: Final = "the header of its column announces it"
_CELL: Final = "a cell of its table announces it"
_FORM: Final = "none: its form is enough"
_READ: Final = "none: its form is enough, once it is read as it looks"
_BLOCK: Final = 7  # of a text: 128 code points
_ELSEWHERE: Final = "the same value was found elsewhere in the same result"
_HANDED: Final = {
    USER_CONFIG: "it is a sensitive setting of the tool",
    RECEIVED: "the tool was handed it in the place of a token",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a finding counts.

    Attributes:
        rule: what recognised it, a kind or the rule of one.
        check: what the value had to be like.
        context: what stands around it that matters.
        switch_off: what would leave it in a tool's results, "" for nothing.
    """

    rule: str
    check: str
    context: str
    switch_off: str

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``redact --json --explain`` prints with a finding."""
        return {
            "rule": self.rule,
            "check": self.check,
            "context": self.context,
            "switch_off": self.switch_off or None,
        }


class Reasons:
    """Says of findings why they count (``writing.Explain``), of one string after the other."""

    def __init__(self) -> None:
        self._surroundings: _Surroundings | None = None

    def __call__(self, leaf: Leaf, span: Candidate, shown: str) -> Reason:
        """Return why *span* of *leaf* counts; *shown* is the key above it as it may be shown, or ""."""
        if span.rule in _HANDED:
            return Reason(span.rule, "the same characters", _HANDED[span.rule], "")
        if self._surroundings is None or self._surroundings.leaf is not leaf:
            self._surroundings = _Surroundings(leaf)
        context = self._surroundings.context(span, shown)
        return Reason(span.rule or span.kind, _check(span), context, _switch_off(span.kind))


def _check(span: Candidate) -> str:
    if span.kind not in _CHECKS and span.kind != "secret":
        return "the pattern of the organisation's rule"
    if span.rule == SECOND_OPINION:
        return "what Presidio's language model takes for one"
    published = _PUBLISHED.get(span.rule)
    if published:
        return f"the format that its provider publishes ({published})"
    return _CHECKS.get(span.kind) or _SECRETS.get(span.rule, "the telling parts of its format")


def _switch_off(kind: str) -> str:
    return (
        f'[privacy] allow = ["{kind}"] in the package and approve --privacy {kind}=allow, '
        f"unless the policy's [redaction] says otherwise for {kind}"
    )


class _Surroundings:
    """What stands around the findings of one string. It is looked for once, and only if it is asked for."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self._ends = [span.end for span in leaf.spans]  # in order, and without overlap
        self._left: dict[str, bool] = {}

    def context(self, span: Candidate, shown: str) -> str:
        """Return which of it makes *span* count; *shown* is the key above it as it may be shown, or ""."""
        if self._under.first(span):
            return f"the key {shown!r} announces it" if shown else "its name announces it"
        if span.rule in _UNANNOUNCED:
            return _UNANNOUNCED[span.rule]
        if (above := self._keys.of(span)) is not None:
            return f"the key {above!r} announces it" if self._is_left(above) else "its key announces it"
        if (word := self._words.first(span)) is not None:
            at, written = word
            # A word may be part of a value, and then says what is in that.
            is_redacted = self._is_found(at, at + len(written))
            return f"a word at {at} announces it" if is_redacted else f"{written!r} at {at} announces it"
        for where, said in ((self._columns, _HEADER), (self._cells, _CELL), (self._plain, _FORM)):
            if where.first(span):
                return said
        return _READ if self._read.first(span) else _ELSEWHERE

    def _is_left(self, key: str) -> bool:
        """Tell whether *key* may be shown, by what is left of the text."""
        if key not in self._left:
            left = self.leaf.text if self.leaf.written is None else self.leaf.written
            self._left[key] = bool(key) and key in left
        return self._left[key]

    def _is_found(self, start: int, end: int) -> bool:
        first = bisect_right(self._ends, start)
        return first < len(self._ends) and self.leaf.spans[first].start < end

    @cached_property
    def _under(self) -> _Near:
        leaf = self.leaf
        return _near(labelled.under(leaf.label, leaf.key, leaf.text) if leaf.label else [])

    @cached_property
    def _keys(self) -> KeysAbove:
        return keys_in_text(self.leaf.text)

    @cached_property
    def _words(self) -> _Near:
        return _Near(
            (each, (at, word)) for at, word, each in places_of(_BY_WORDS, self.leaf.text, self.leaf.key)
        )

    @cached_property
    def _columns(self) -> _Near:
        return _near(tables.columns(self.leaf.text) if "\n" in self.leaf.text else [])

    @cached_property
    def _cells(self) -> _Near:
        rows = [(at.start(), at[0]) for at in _ROW.finditer(self.leaf.text)]
        return _near(markup_tables.cells(self.leaf.text, self.leaf.key, rows) if rows else [])

    @cached_property
    def _plain(self) -> _Near:
        return _near(detect_plain(self.leaf.text))

    @cached_property
    def _read(self) -> _Near:
        return _near(detect(self.leaf.text, self.leaf.key))


class _Near:
    """Values of a text, each with what led to it, by where they stand."""

    def __init__(self, found: Iterable[tuple[Candidate, tuple[int, str]]]) -> None:
        self._found = [*found]
        self._blocks: dict[tuple[str, int], list[int]] = {}
        for number, (each, _) in enumerate(self._found):
            for block in _blocks(each):
                self._blocks.setdefault((each.kind, block), []).append(number)

    def first(self, span: Candidate) -> tuple[int, str] | None:
        """Return what led to the first value of its kind that *span* touches, None if it touches none."""
        touched = (
            next(
                (
                    number
                    for number in self._blocks.get((span.kind, block), ())
                    if self._touches(number, span)
                ),
                None,
            )
            for block in _blocks(span)
        )
        first = min((number for number in touched if number is not None), default=None)
        return None if first is None else self._found[first][1]

    def _touches(self, number: int, span: Candidate) -> bool:
        each = self._found[number][0]
        return each.start < span.end and span.start < each.end


def _near(found: Iterable[Candidate]) -> _Near:
    return _Near((each, (each.start, "")) for each in found)


def _blocks(span: Candidate) -> range:
    return range(span.start >> _BLOCK, (span.end - 1 >> _BLOCK) + 1)
