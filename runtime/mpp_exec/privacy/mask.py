"""What stands where a value stood. No detector finds anything in it, so redacting twice changes nothing."""

from __future__ import annotations

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.policy import Action, RedactionPolicy

_DIGEST_SIZE = 6


def replacement(candidate: Candidate, action: Action, policy: RedactionPolicy) -> str:
    """Return what *candidate* is replaced by under *action* (any but ``allow``)."""
    if action == "drop":
        return ""
    if action == "hash":
        return f"[{candidate.kind.upper()}:{_keyed(candidate, policy)}]"
    if action == "partial":
        return _partial(candidate)
    return f"[{candidate.kind.upper()}]"


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
