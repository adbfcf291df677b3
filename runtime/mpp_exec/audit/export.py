"""The ledger as JSON Lines, for someone who has neither the home nor this program.

One JSON object a line::

    {"format": "mpp-exec-ledger", "version": 1, "key": HEX}       the public key (Ed25519, raw) of the head
    {"sequence": N, "previous": HEX, "hash": HEX, "body": BASE64, "entry": {...}}       one for each entry
    {"head": BASE64, "signature": HEX}                         the sealed head, if there is one

To recheck: each ``hash`` is ``SHA-256("mpp-exec ledger entry v1" NUL || N as 8 bytes, big-endian ||
previous || body)``, each ``previous`` is the ``hash`` of the line before (64 zeros for the first),
and ``signature`` is over the bytes of ``head``: the label ``mpp-exec ledger head v1`` NUL, then a
CBOR map whose ``sequence`` and ``hash`` name an entry above. ``entry`` is the body in JSON, to be
read; the body is what counts. Commitment keys are not part of it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mpp_exec.audit.entry import Entry
from mpp_exec.encoding import json_dumps

FORMAT: Final = "mpp-exec-ledger"
VERSION: Final = 1


def lines(
    entries: Iterable[Entry], *, public_key: bytes, sealed: tuple[bytes, bytes] | None
) -> Iterator[str]:
    """Yield the lines, without line ends. *sealed* is the head's signed bytes and their signature."""
    yield json_dumps({"format": FORMAT, "version": VERSION, "key": public_key.hex()})
    for entry in entries:
        yield json_dumps(_entry(entry))
    if sealed is not None:
        message, signature = sealed
        yield json_dumps({"head": base64.b64encode(message).decode(), "signature": signature.hex()})


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "previous": entry.previous.hex(),
        "hash": entry.hash.hex(),
        "body": base64.b64encode(entry.body).decode(),
        "entry": entry.content_json(),
    }
