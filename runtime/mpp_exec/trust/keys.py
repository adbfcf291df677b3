"""The one door to PyNaCl: Ed25519 signatures, authenticated encryption, and keyed hashes.

libsodium is the only verifier of signatures here because it refuses what others let pass:
public keys of small order, non-canonical points, and scalars S >= L (RFC 8032 §5.1.7).

Secrets live in :class:`SigningKey` and :class:`HomeKey`, whose ``repr`` shows no secret and which
refuse to be pickled. Python cannot promise to wipe memory, so neither tries.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import unicodedata
from typing import Final, NoReturn

import nacl.bindings
import nacl.exceptions
import nacl.pwhash
import nacl.secret

from mpp_exec.encoding import sha256_digest

PUBLIC_KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SALT_BYTES: Final = 16
SEALED_OVERHEAD: Final = 40
"""Bytes that :func:`seal` adds: a 24-byte nonce and a 16-byte authenticator."""

_DERIVE_LABEL: Final = b"mpp-exec derive1"  # BLAKE2b personalisation, at most 16 bytes


class SealError(Exception):
    """Sealed data does not open: another key, or changed on the way."""


def key_id(public_key: bytes) -> str:
    """Return the name of a raw Ed25519 public key: ``sha256:`` and the hex SHA-256 of its 32 bytes."""
    return sha256_digest(public_key)


def is_valid_public_key(public_key: bytes) -> bool:
    """Say whether the bytes are a canonical point of the prime-order subgroup other than the identity.

    Every honestly made key is one. :func:`verify_signature` is safe without this; it is for refusing
    a bad key when it is typed in, rather than at the first package.
    """
    return len(public_key) == PUBLIC_KEY_BYTES and nacl.bindings.crypto_core_ed25519_is_valid_point(
        public_key
    )


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Check one Ed25519 signature (RFC 8032, libsodium's strict rules). Wrong lengths are just False."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


class SigningKey:
    """An Ed25519 key pair. ``public_key`` is raw, 32 bytes; ``key_id`` is its digest."""

    __slots__ = ("_secret", "_seed", "key_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte seed of RFC 8032 §5.1.5."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self.public_key, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.key_id = key_id(self.public_key)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key pair from the kernel's random numbers."""
        return cls(secrets.token_bytes(SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of *message*. Deterministic: same key and message, same bytes."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def secret_seed(self) -> bytes:
        """Return the seed, for the one file that keeps it."""
        return self._seed

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not to be pickled")


class HomeKey:
    """The 32 random bytes that make a home unlike every other; everything secret in it hangs on them.

    They are never used themselves: each purpose gets a sub-key of its own by :meth:`derive`, so that
    a leak of one says nothing about another.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SEED_BYTES:
            raise ValueError(f"a home key has {SEED_BYTES} bytes, not {len(secret)}")
        self._secret = secret

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte sub-key for *purpose*, a fixed label such as ``"ledger-head"``."""
        label = purpose.encode()
        return hashlib.blake2b(label, key=self._secret, digest_size=32, person=_DERIVE_LABEL).digest()

    def __repr__(self) -> str:
        return "<HomeKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a home key is not to be pickled")


def random_bytes(count: int) -> bytes:
    """Return *count* bytes from the kernel's random number generator."""
    return secrets.token_bytes(count)


def seal(key: bytes, plaintext: bytes) -> bytes:
    """Encrypt and authenticate under a 32-byte key (XSalsa20-Poly1305, fresh random nonce in front)."""
    nonce = os.urandom(nacl.bindings.crypto_secretbox_NONCEBYTES)
    return nonce + nacl.bindings.crypto_secretbox_easy(plaintext, nonce, key)


def open_sealed(key: bytes, sealed: bytes) -> bytes:
    """Return what :func:`seal` was given.

    Raises:
        SealError: wrong key, or not a byte of *sealed* may differ and one does.
    """
    if len(sealed) < SEALED_OVERHEAD:
        raise SealError("sealed data is too short")
    try:
        return nacl.secret.SecretBox(key).decrypt(sealed)
    except nacl.exceptions.CryptoError:
        raise SealError("sealed data does not open under this key") from None


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """Stretch a passphrase into a 32-byte key: argon2id (RFC 9106), 3 passes over 256 MiB.

    The cost is fixed and never read from a file: whoever writes the file would choose it. The
    passphrase is taken in NFC, so that it does not matter how a keyboard composes its accents.
    """
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        unicodedata.normalize("NFC", passphrase).encode(),
        salt,
        opslimit=nacl.pwhash.argon2id.OPSLIMIT_MODERATE,
        memlimit=nacl.pwhash.argon2id.MEMLIMIT_MODERATE,
    )


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """Return the 32-byte keyed BLAKE2b (RFC 7693) of *data*; *key* has 1 to 64 bytes."""
    if not key:
        raise ValueError("a keyed hash without a key is a plain hash")
    return hashlib.blake2b(data, key=key, digest_size=32).digest()


def equal(left: bytes, right: bytes) -> bool:
    """Compare without telling by the time taken where two secrets begin to differ."""
    return hmac.compare_digest(left, right)
