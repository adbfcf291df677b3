"""What stands where a value stood. No detector finds anything in it, so redacting twice changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.policy import Action, RedactionPolicy

_DIGEST_SIZE: Final = 6
_JSON_TEXT: Final = re.compile(r"\s{0,64}[{\[]")
_NEIGHBOURS: Final = 128
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING: Final = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"')
# What may stand between a number of JSON and what it is a value of, or the next one.
_BEFORE: Final = re.compile(r"[:,\[]\s*(-?[0-9.]*)\Z")
# In a text that is more than JSON, a line of a log, only a member of an object is told from other things.
_MEMBER: Final = re.compile(r"(?<!\\)\"[ \t]{0,8}:[ \t]{0,8}(-?[0-9.]*)\Z")
_BEHIND: Final = re.compile(r"([0-9]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*[,}\]]")


def replacement(candidate: Candidate, action: Action, policy: RedactionPolicy) -> str:
    """Return what *candidate* is replaced by under *action* (any but ``allow``). ``token`` is a mask here."""
    if action == "drop":
        return ""
    if action == "hash":
        return f"[{candidate.kind.upper()}:{_keyed(candidate, policy)}]"
    if action == "partial":
        return _partial(candidate)
    return f"[{candidate.kind.upper()}]"


def bare(text: str, spans: Sequence[Candidate]) -> Iterator[tuple[Candidate, bool]]:
    """Yield *spans*, which are in order and apart, each with whether it is a bare number of JSON in *text*.

    Such a number is yielded as a whole, with its sign and its fraction. What stands in a string is none,
    whatever is beside it there.
    """
    is_json = bool(_JSON_TEXT.match(text))
    before = _BEFORE if is_json else _MEMBER
    read = end = 0  # up to where strings have been passed over; where the number before ends
    for span in spans:
        if span.start < end:
            continue  # part of a number that is replaced already
        while is_json and read <= span.start and (begins := text.find('"', read, span.start)) >= 0:
            if string := _STRING.match(text, begins):
                read = string.end()
            else:  # nobody has closed it: up to the end of the line
                line = text.find("\n", begins)
                read = len(text) if line < 0 else line + 1
        found = span if read > span.start else _number_at(text, span, before)
        end = found.end if found else 0
        yield (span, False) if found is None or read > span.start else (found, True)


def _number_at(text: str, span: Candidate, in_front: re.Pattern[str]) -> Candidate | None:
    """Return the bare number that *span* is in, None if it is in none; *in_front* has to match before it."""
    if not _NUMBER.fullmatch(text, span.start, span.end):
        return None
    low, high = max(0, span.start - _NEIGHBOURS), span.end + _NEIGHBOURS
    before = in_front.search(text, low, span.start)
    behind = _BEHIND.match(text, span.end, high)
    return span._replace(start=before.start(1), end=behind.end(1)) if before and behind else None


def in_json_text(written: str, *, is_bare: bool) -> str:
    """Return *written* so that JSON text still is JSON after a bare number in it is replaced."""
    if not is_bare:
        return written
    return f'"{written}"' if written else "null"


def _keyed(candidate: Candidate, policy: RedactionPolicy) -> str:
    """Return 12 hexadecimal digits that only a holder of the key can make from the value."""
    import hashlib  # noqa: PLC0415  # loads OpenSSL, and few policies hash

    digest = hashlib.blake2b(
        f"{candidate.kind}\0{candidate.value}".encode("utf-8", "surrogatepass"),
        digest_size=_DIGEST_SIZE,
        key=policy.hash_key or b"",
    ).digest()
    # Twelve decimal digits could be a card number; a letter in front keeps them from it.
    return "abcdef"[digest[0] % 6] + digest.hex()[1:]


def _partial(candidate: Candidate) -> str:
    """Return as much as people customarily see: a bank's first and last, never part of a secret."""
    value = candidate.value
    if candidate.kind == "email":
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}***@{domain}"
    if candidate.kind == "credit_card":
        return "*" * (len(value) - 4) + value[-4:]
    if candidate.kind == "iban":
        return value[:2] + "*" * (len(value) - 6) + value[-4:]
    if candidate.kind == "ip_address":
        separator = ":" if ":" in value else "."
        return separator.join([*value.split(separator)[:2], "*", "*"])
    return f"[{candidate.kind.upper()}]"
