"""The one door through which outside bytes become values, and the digest of bytes."""

from __future__ import annotations

from mpp_exec.encoding.cbor import MAX_DEPTH, MAX_ITEMS, dumps, dumps_ordered, key_order, loads
from mpp_exec.encoding.jsontext import JsonError, json_dumps, json_loads

__all__ = [
    "MAX_DEPTH",
    "MAX_ITEMS",
    "JsonError",
    "dumps",
    "dumps_ordered",
    "json_dumps",
    "json_loads",
    "key_order",
    "loads",
    "sha256_digest",
]


def sha256_digest(data: bytes) -> str:
    """Return the digest of *data* as it is written everywhere: ``sha256:`` and 64 hex digits."""
    import hashlib  # noqa: PLC0415 -- loads OpenSSL

    return f"sha256:{hashlib.sha256(data).hexdigest()}"
