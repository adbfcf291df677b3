"""What stands where a value stood. No detector finds anything in it, so redacting twice changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.policy import Action, RedactionPolicy

_DIGEST_SIZE: Final = 6
# JSON, as it is or as HTML has it; with its quotation mark, which most have near their beginning.
_JSON_TEXT: Final = lazily(r"\s{0,64}[{\[][\s{\[]{0,64}(&quot;|&#34;)?")
_NEIGHBOURS: Final = 128
_NUMBER: Final = lazily(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING: Final = {
    '"': lazily(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'),
    **{
        quote: lazily(rf"{quote}(?:\\(?:{quote}|.)|(?!{quote})[^\\\n])*{quote}")
        for quote in ("&quot;", "&#34;")
    },
}
# What may stand between a number of JSON and what it is a value of, or the next one.
_BEFORE: Final = lazily(r"(?P<quote>)[:,\[]\s*(?P<number>-?[0-9.]*)\Z")
# In a text that is more than JSON, a line of a log, and in JSON that is a string of JSON, only a member of an
# object is told from other things.
_MEMBER: Final = lazily(
    r"(?P<quote>(?<!\\)\\{0,7}\"|&quot;|&#34;)[ \t]{0,8}:[ \t]{0,8}(?P<number>-?[0-9.]*)\Z"
)
_BEHIND: Final = lazily(r"([0-9]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*[,}\]]")


def replacement(candidate: Candidate, action: Action, policy: RedactionPolicy) -> str:
    """Return what *candidate* is replaced by under *action* (any but ``allow``). ``token`` is a mask here."""
    if action == "drop":
        return ""
    if action == "hash":
        return f"[{candidate.kind.upper()}:{_keyed(candidate, policy)}]"
    if action == "partial":
        return _partial(candidate)
    return f"[{candidate.kind.upper()}]"


def bare(text: str, spans: Sequence[Candidate]) -> Iterator[tuple[Candidate, str]]:
    """Yield *spans*, which are in order and apart, each with the quotation mark that it lacks, "" for none.

    A bare number of JSON in *text* lacks one, and is yielded as a whole, with its sign and its fraction. What
    stands in a string is none, whatever is beside it there, unless the string is JSON.
    """
    json_text = _JSON_TEXT.match(text)
    usual = (json_text and json_text[1]) or '"'
    string_of = _STRING[usual]
    read = end = 0  # up to where strings have been passed over; where the number before ends
    for span in spans:
        if span.start < end:
            continue  # part of a number that is replaced already
        while json_text and read <= span.start and (begins := text.find(usual, read, span.start)) >= 0:
            if string := string_of.match(text, begins):
                read = string.end()
            else:  # nobody has closed it: up to the end of the line
                line = text.find("\n", begins)
                read = len(text) if line < 0 else line + 1
        is_inside = read > span.start
        read = max(read, span.start - len(usual) + 1)
        found, quote = _number_at(text, span, _BEFORE if json_text and not is_inside else _MEMBER)
        if is_inside and quote == usual:
            found = None
        end = found.end if found else span.end if is_inside else 0
        yield (span, "") if found is None else (found, quote or usual)


def _number_at(text: str, span: Candidate, in_front: re.Pattern[str]) -> tuple[Candidate | None, str]:
    """Return the bare number that *span* is in, None if it is in none, and the quotation mark beside it.

    *in_front* has to match before it.
    """
    if not _NUMBER.fullmatch(text, span.start, span.end):
        return None, ""
    low, high = max(0, span.start - _NEIGHBOURS), span.end + _NEIGHBOURS
    before = in_front.search(text, low, span.start)
    behind = _BEHIND.match(text, span.end, high)
    if not before or not behind:
        return None, ""
    return span._replace(start=before.start("number"), end=behind.end(1)), before["quote"]


def in_json_text(written: str, quote: str) -> str:
    """Return *written* so that JSON text still is JSON after a number that lacks a *quote* is replaced."""
    if not quote:
        return written
    return f"{quote}{written}{quote}" if written else "null"


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
