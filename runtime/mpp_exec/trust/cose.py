"""The signature envelope: COSE_Sign1 (RFC 9052 §4.2), in the only form that is accepted here.

::

    18([ protected,       -- bstr of {1: -19, 3: content type, 4: kid}
         {},              -- no unprotected header
         payload,         -- bstr: of a package the manifest, deterministic CBOR
         signature ])     -- bstr, 64 bytes, Ed25519 over the Sig_structure of §4.4

There is exactly one envelope for a payload, its content type and a key, so nothing in it is negotiated. The
protected header is never interpreted; it is compared with the bytes that this module would write. So data
that was signed as one content type never passes for another. The algorithm is that of the key (-19, Ed25519,
RFC 9864 §2.2), whatever a message says. ``kid`` is the SHA-256 of the raw public key: it finds the pinned
key, and proves nothing.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Final

from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import PackageError
from mpp_exec.package.limits import LIMITS
from mpp_exec.trust.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify_signature

CONTENT_TYPE: Final = "application/mpp-manifest+cbor"
KID_BYTES: Final = 32

_TAG: Final = 18  # COSE_Sign1, RFC 9052 §2

_HINT: Final = "the file was not written by `mpp-exec build`, or was changed on the way"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A COSE_Sign1 with the right form and an unchecked signature.

    Attributes:
        kid: digest of the public key that is claimed to have signed, 32 bytes.
        payload: the signed bytes, of type *content_type*.
        signature: 64 bytes.
    """

    kid: bytes
    payload: bytes
    signature: bytes
    content_type: str = CONTENT_TYPE

    @property
    def key_id(self) -> str:
        """``kid`` as key ids are written everywhere: ``sha256:`` and hex."""
        return f"sha256:{self.kid.hex()}"

    def is_signed_by(self, public_key: bytes) -> bool:
        """Return whether the raw *public_key* made the signature. The caller MUST trust that key."""
        if len(public_key) != PUBLIC_KEY_BYTES or hashlib.sha256(public_key).digest() != self.kid:
            return False
        protected = _protected(self.content_type) + self.kid
        return verify_signature(public_key, _to_be_signed(protected, self.payload), self.signature)


class ManifestSigner:
    """Signs manifests for one publisher. It is what :func:`mpp_exec.package.build.build` asks for."""

    def __init__(self, publisher: str, key: SigningKey) -> None:
        self.publisher = publisher
        self.public_key = key.public_key
        self._key = key

    def signed_size(self, manifest_size: int) -> int:
        """Return the size in bytes of what :meth:`sign` returns for a manifest of *manifest_size* bytes."""
        return len(_envelope(bytes(KID_BYTES), bytes(manifest_size), bytes(SIGNATURE_BYTES)))

    def sign(self, manifest: bytes) -> bytes:
        """Return ``manifest.cose`` for an encoded *manifest*."""
        return sign(manifest, self._key, CONTENT_TYPE)


def sign(payload: bytes, key: SigningKey, content_type: str) -> bytes:
    """Return the envelope of *payload*, of type *content_type*, signed with *key*."""
    kid = hashlib.sha256(key.public_key).digest()
    signature = key.sign(_to_be_signed(_protected(content_type) + kid, payload))
    return _envelope(kid, payload, signature, content_type)


def decode(data: bytes, content_type: str = CONTENT_TYPE, *, max_size: int = LIMITS.manifest) -> Envelope:
    """Parse an envelope of type *content_type*, of at most *max_size* bytes. Nothing in it is trusted yet.

    Raises:
        PackageError: ``cbor.*`` if it is not deterministic CBOR, ``package.bad_envelope`` if it is not a
            COSE_Sign1 of the accepted form.
    """
    value = loads(data, max_size=max_size, max_depth=2, tag=_TAG)
    if not isinstance(value, list) or [type(item) for item in value] != [bytes, dict, bytes, bytes]:
        raise _bad("it is not a COSE_Sign1")
    protected, unprotected, payload, signature = value
    fixed = _protected(content_type)
    kid = protected[len(fixed) :]
    if not protected.startswith(fixed) or len(kid) != KID_BYTES:
        raise _bad("its protected header is not exactly Ed25519, the content type and a key id")
    if unprotected:
        raise _bad("its unprotected header is not empty")
    if len(signature) != SIGNATURE_BYTES:
        raise _bad(f"its signature has {len(signature)} bytes")
    return Envelope(kid, payload, signature, content_type)


@functools.cache
def _protected(content_type: str) -> bytes:
    """Return the protected header without the key id: a map with its keys in order (RFC 8949 §4.2.1)."""
    return (
        b"\xa3"
        b"\x01\x32"  # alg (1): -19, Ed25519
        b"\x03" + dumps(content_type) +  # content type (3)
        b"\x04\x58\x20"  # kid (4): bstr of 32
    )  # fmt: skip


def _envelope(kid: bytes, payload: bytes, signature: bytes, content_type: str = CONTENT_TYPE) -> bytes:
    return dumps([_protected(content_type) + kid, {}, payload, signature], tag=_TAG)


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Return the Sig_structure of RFC 9052 §4.4, without external data."""
    return dumps(["Signature1", protected, b"", payload])


def _bad(what: str) -> PackageError:
    return PackageError("package.bad_envelope", f"the signature envelope is not acceptable: {what}", _HINT)
