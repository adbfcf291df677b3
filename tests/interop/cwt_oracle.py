"""COSE by ``cwt``: runs in its own environment, one JSON object in, one out. Knows nothing of mpp-exec."""

from __future__ import annotations

import json
import sys
from typing import Any

import cbor2
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError


def key(request: dict[str, Any]) -> Any:
    """Return a COSE_Key (RFC 9052 §7): OKP, Ed25519, with the private part if it is given."""
    made = {1: 1, 3: request["alg"], -1: 6, -2: bytes.fromhex(request["public"])}
    made[2] = bytes.fromhex(request["kid"])
    if "seed" in request:
        made[-4] = bytes.fromhex(request["seed"])
    return COSEKey.new(made)


def sign(request: dict[str, Any]) -> dict[str, Any]:
    """Sign a payload as COSE_Sign1."""
    protected = {1: request["alg"], 3: request["content_type"], 4: bytes.fromhex(request["kid"])}
    message = COSE.new().encode(
        bytes.fromhex(request["payload"]), key=key(request), protected=protected, unprotected={}
    )
    return {"message": message.hex()}


def verify(request: dict[str, Any]) -> dict[str, Any]:
    """Verify a COSE_Sign1 and say what is in it."""
    try:
        protected, unprotected, payload = COSE.new().decode_with_headers(
            bytes.fromhex(request["message"]), key(request)
        )
    except (CWTError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "alg": protected[1],
        "content_type": protected[3],
        "kid": protected[4].hex(),
        "headers": len(protected),
        "unprotected": len(unprotected),
        "payload": payload.hex(),
        "canonical": cbor2.dumps(cbor2.loads(payload), canonical=True).hex(),
    }


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump({"sign": sign, "verify": verify}[request["do"]](request), sys.stdout)
