"""What stands where a value stood. No detector finds anything in it, so redacting twice changes nothing."""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.policy import Action, RedactionPolicy

_DIGEST_SIZE: Final = 6
_JSON_TEXT: Final = re.compile(r"\s{0,64}[{\[]")
_NEIGHBOURS: Final = 16


def replacement(candidate: Candidate, action: Action, policy: RedactionPolicy) -> str:
    """Return what *candidate* is replaced by under *action* (any but ``allow``). ``token`` is a mask here."""
    if action == "drop":
        return ""
    if action == "hash":
        return f"[{candidate.kind.upper()}:{_keyed(candidate, policy)}]"
    if action == "partial":
        return _partial(candidate)
    return f"[{candidate.kind.upper()}]"


def in_json_text(text: str, span: Candidate, written: str) -> str:
    """Return *written* so that *text*, if it is JSON text, still is after a bare number in it is replaced."""
    if not text[span.start : span.end].isdecimal() or not _JSON_TEXT.match(text):
        return written
    before = text[max(0, span.start - _NEIGHBOURS) : span.start].rstrip()[-1:]
    after = text[span.end : span.end + _NEIGHBOURS].lstrip()[:1]
    if before not in (":", ",", "[") or after not in (",", "}", "]"):
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
