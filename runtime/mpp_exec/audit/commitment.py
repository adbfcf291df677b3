"""Keyed commitments: what an entry says about arguments and results without revealing them.

A commitment is HMAC-SHA256 (RFC 2104) of the value's canonical JSON under a random key of its own.
The entry holds the commitment and the key's digest; the key itself lies outside of the chain,
sealed under the home. Whoever holds home and ledger can confirm a value they already have; whoever
holds only the ledger cannot even confirm a guess. Erasing the key makes a commitment say nothing
for ever, and changes no hash.

The digest in the entry is of 32 random bytes, so it gives nothing to guess at. It tells a value
that differs from a key that somebody changed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from enum import StrEnum
from typing import Any, Final, Literal

from mpp_exec.encoding import JsonError, json_dumps
from mpp_exec.errors import InternalError

KEY_SIZE: Final = 32

What = Literal["arguments", "result"]

_VALUE_LABEL: Final = {
    "arguments": b"mpp-exec ledger arguments v1\0",
    "result": b"mpp-exec ledger result v1\0",
}
_KEY_LABEL: Final = b"mpp-exec ledger commitment key v1\0"


class Match(StrEnum):
    """What comparing a value with a commitment can say."""

    MATCHES = "matches"
    DIFFERS = "differs"
    ERASED = "erased"
    ABSENT = "absent"


def new_key() -> bytes:
    """Return a fresh key for the commitment of one entry."""
    return os.urandom(KEY_SIZE)


def key_digest(key: bytes) -> bytes:
    """Return the digest of the key that an entry holds: 32 bytes."""
    return hashlib.sha256(_KEY_LABEL + key).digest()


def commit(key: bytes, what: What, value: Any) -> bytes:
    """Return the commitment to *value*, any JSON value: 32 bytes.

    Raises:
        InternalError: ``ledger.uncommittable``, the value has no JSON form.
    """
    try:
        text = json_dumps(value)
    except (JsonError, TypeError) as error:
        raise InternalError(
            "ledger.uncommittable", f"{what} cannot be put on record: {error}", "pass a JSON value"
        ) from error
    return hmac.digest(key, _VALUE_LABEL[what] + text.encode(), _sha256)


def _sha256(data: bytes = b"") -> Any:
    """Return the hash of *data*. By its name, hmac would have OpenSSL fetch an HMAC of its own each time."""
    return hashlib.sha256(data)


def matches(key: bytes, what: What, value: Any, commitment: bytes) -> bool:
    """Say whether *commitment* was made to *value* under *key*. Raises what :func:`commit` raises."""
    return hmac.compare_digest(commit(key, what, value), commitment)
