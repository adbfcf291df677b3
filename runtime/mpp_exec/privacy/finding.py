"""The words of this room: what a detector proposes and what a redaction reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mpp_exec.patterns import lazily

# Every kind that a policy, a grant or a manifest may name: those of the contract (section 7), and those
# that a checksum, a form or a label makes certain.
KINDS: Final = (
    "address",
    "bank_account",
    "credit_card",
    "crypto_address",
    "date_of_birth",
    "drivers_license",
    "email",
    "health_id",
    "iban",
    "ip_address",
    "mac_address",
    "national_id",
    "passport",
    "person",
    "phone",
    "secret",
    "ssn",
    "tax_id",
    "url_credential",
    "username",
    "vin",
)

# A word starts where no letter or digit precedes it; but ``\n`` in JSON text that travels inside a
# string and ``%3D`` in a URL end in a letter or digit and are separators all the same. To be placed
# after the first character of a pattern, so that the search for that character stays a plain scan.
WORD_START: Final = r"(?:(?<![0-9A-Za-z].)|(?<=\\[nrt].)|(?<=%[0-9A-Fa-f]{2}.))"


# What a token is made of (``vault``): no digit and no vowel, so that it is no number and no word. Thirty of
# twenty letters are more than 128 bits.
LETTERS: Final = "bcdfghjklmnpqrstvwxz"
LETTERS_OF_A_TOKEN: Final = 30
TOKEN: Final = rf"\[[A-Z][A-Z0-9_]{{0,31}}:[{LETTERS}]{{{LETTERS_OF_A_TOKEN}}}\]"
# What stands where a value stood (``mask``, ``vault``). The words in it announce nothing.
MASK: Final = lazily(rf"\[[A-Z][A-Z_]{{1,16}}[A-Z](?::[0-9a-f]{{12}})?\]|{TOKEN}")
_MASK_MAX: Final = 34 + LETTERS_OF_A_TOKEN


def is_in_mask(text: str, at: int) -> bool:
    """Tell whether the code point at *at* is part of a mask."""
    start = text.rfind("[", max(0, at - _MASK_MAX), at)
    mask = MASK.match(text, start) if start >= 0 else None
    return bool(mask) and mask.end() > at  # type: ignore[union-attr]  # bool says so


def listed(words: str) -> frozenset[str]:
    """Return the words of a table that is written as text."""
    return frozenset(words.split())


def is_word(character: str) -> bool:
    """Tell whether *character* (or "") is an ASCII letter or digit: no other script continues a value."""
    return character.isascii() and character.isalnum()


def is_letter(character: str) -> bool:
    """Tell whether *character* (or "") is an ASCII letter: a word in another script ends before one."""
    return character.isascii() and character.isalpha()


ORGANISATION: Final = "organisation"
"""The rule of what an organisation's own pattern has found (``patterns``)."""


SECOND_OPINION: Final = "second_opinion"
"""The rule of what a language model has found (``second_opinion``)."""


class Candidate(NamedTuple):
    """A span of a string that a detector takes for a value.

    Attributes:
        kind: one of :data:`KINDS`.
        start: first code point of the value.
        end: one past its last code point.
        score: confidence, above 0 and at most 1.
        value: the value in one spelling, so that two ways to write it are the same value.
        rule: which rule of the kind, "" where the kind has only one.
        weak: the value alone would do, but its surroundings speak against it. It counts only if the
            same value stands elsewhere in the same result without being weak.
    """

    kind: str
    start: int
    end: int
    score: float
    value: str
    rule: str = ""
    weak: bool = False


def moved(candidates: Iterable[Candidate], by: int) -> Iterator[Candidate]:
    """Yield *candidates* with offsets that are greater *by* so many."""
    for kind, start, end, score, value, rule, weak in candidates:
        yield Candidate(kind, start + by, end + by, score, value, rule, weak)


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that was found, without the value.

    Attributes:
        kind: one of :data:`KINDS`.
        start: first code point of the value in the input string.
        end: one past its last code point.
        score: confidence, above 0 and at most 1.
        pointer: RFC 6901 pointer of the string inside a JSON value, None for plain text. Keys in it
            are spelled as in the redacted value, since a key can be sensitive itself.
        rule: which rule, for kinds that have several (``aws_access_key``).
        in_key: the string is the key that the pointer ends in, not the value below it.
        reason: why it counts (``explain``), None where nobody has asked.
    """

    kind: str
    start: int
    end: int
    score: float
    pointer: str | None = None
    rule: str | None = None
    in_key: bool = False
    reason: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``redact --json`` prints."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "start": self.start,
            "end": self.end,
            "score": self.score,
        }
        if self.pointer is not None:
            shown["pointer"] = self.pointer
        if self.rule is not None:
            shown["rule"] = self.rule
        if self.in_key:
            shown["in_key"] = True
        if self.reason is not None:
            shown["reason"] = self.reason.to_json()
        return shown
