"""Signatures, sealing and keyed hashes: what the PyNaCl door promises."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest

from mpp_exec.trust import keys

# RFC 8032 §7.1, TEST 2
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
L = 2**252 + 27742317777372353535851937790883648493

# The eight points of small order and their non-canonical spellings (libsodium, ge25519_has_small_order).
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


def test_signs_and_verifies_the_vector_of_rfc_8032() -> None:
    key = keys.SigningKey(SEED)
    assert key.public_key == PUBLIC
    assert key.sign(b"\x72") == SIGNATURE
    assert keys.verify_signature(PUBLIC, b"\x72", SIGNATURE)


def test_key_id_is_the_digest_of_the_raw_key() -> None:
    assert keys.key_id(PUBLIC) == "sha256:" + hashlib.sha256(PUBLIC).hexdigest()
    assert keys.SigningKey(SEED).key_id == keys.key_id(PUBLIC)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    for bit in range(512):
        flipped = bytearray(SIGNATURE)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not keys.verify_signature(PUBLIC, b"\x72", bytes(flipped)), bit


def test_a_scalar_that_was_not_reduced_is_refused() -> None:
    """S + L satisfies the equation too (RFC 8032 §5.1.7): a second signature for the same message."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + L
    assert not keys.verify_signature(PUBLIC, b"\x72", SIGNATURE[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_a_public_key_of_small_order_verifies_nothing(encoded: str) -> None:
    """R = identity, S = 0 satisfies the equation for such a key and a good part of all messages."""
    public = bytes.fromhex(encoded)
    assert not keys.is_valid_public_key(public)
    for point in SMALL_ORDER:
        for message in range(8):
            forged = bytes.fromhex(point) + bytes(32)
            assert not keys.verify_signature(public, bytes([message]), forged)


def test_a_mixed_order_key_is_no_valid_public_key() -> None:
    """A point with a small-order part: on the curve, of large order, but made by nobody honest."""
    import nacl.bindings  # noqa: PLC0415 -- only here, to build the point

    mixed = nacl.bindings.crypto_core_ed25519_add(PUBLIC, bytes.fromhex(SMALL_ORDER[2]))
    assert not keys.is_valid_public_key(mixed)
    assert keys.is_valid_public_key(PUBLIC)


@pytest.mark.parametrize(
    ("public", "signature"),
    [(b"", SIGNATURE), (PUBLIC[:31], SIGNATURE), (PUBLIC + b"\0", SIGNATURE), (PUBLIC, SIGNATURE[:63])],
)
def test_wrong_lengths_are_just_false(public: bytes, signature: bytes) -> None:
    assert not keys.verify_signature(public, b"\x72", signature)


def test_bytes_moved_from_message_to_signature_are_refused() -> None:
    """Signature and message are joined for libsodium: the seam must not be movable."""
    key = keys.SigningKey(SEED)
    signature = key.sign(b"ab")
    assert not keys.verify_signature(PUBLIC, b"b", signature + b"a")


def test_a_seed_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keys.SigningKey(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        keys.HomeKey(b"short")


def test_secrets_are_neither_shown_nor_pickled() -> None:
    for secret in (keys.SigningKey(SEED), keys.HomeKey(SEED)):
        assert SEED.hex() not in repr(secret)
        assert str(SEED) not in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        with pytest.raises(TypeError):
            copy.deepcopy(secret)


def test_derived_keys_differ_by_purpose_and_by_home() -> None:
    one, other = keys.HomeKey(bytes(32)), keys.HomeKey(b"\1" * 32)
    derived = {key.derive(purpose) for key in (one, other) for purpose in ("secrets", "ledger-head", "")}
    assert len(derived) == 6
    assert all(len(value) == 32 for value in derived)
    assert one.derive("secrets") == keys.HomeKey(bytes(32)).derive("secrets")


def test_sealed_data_opens_under_its_key_only() -> None:
    key = keys.random_bytes(32)
    sealed = keys.seal(key, b"value")
    assert len(sealed) == 5 + keys.SEALED_OVERHEAD
    assert sealed != keys.seal(key, b"value")
    assert keys.open_sealed(key, sealed) == b"value"
    with pytest.raises(keys.SealError):
        keys.open_sealed(keys.random_bytes(32), sealed)


def test_every_changed_byte_of_sealed_data_is_refused() -> None:
    key = keys.random_bytes(32)
    sealed = keys.seal(key, b"value")
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(keys.SealError):
            keys.open_sealed(key, bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(keys.SealError):
            keys.open_sealed(key, sealed[:length])


def test_keyed_hashes_depend_on_key_and_data() -> None:
    assert keys.keyed_hash(b"a", b"x") != keys.keyed_hash(b"b", b"x")
    assert keys.keyed_hash(b"a", b"x") != keys.keyed_hash(b"a", b"y")
    assert keys.equal(b"a", b"a")
    assert not keys.equal(b"a", b"b")
    with pytest.raises(ValueError, match="plain hash"):
        keys.keyed_hash(b"", b"x")


def test_a_passphrase_is_the_same_however_its_accents_are_typed() -> None:
    salt = bytes(16)
    assert keys.passphrase_key("caf\u00e9", salt) == keys.passphrase_key("cafe\u0301", salt)
    assert keys.passphrase_key("a", salt) != keys.passphrase_key("a", b"\1" * 16)
