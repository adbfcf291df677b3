"""The envelope: COSE_Sign1 as RFC 9052 has it, in the one form that is accepted."""

from __future__ import annotations

import hashlib

import pytest

import forge
from mpp_exec.encoding import dumps
from mpp_exec.errors import PackageError
from mpp_exec.trust import cose
from mpp_exec.trust.keys import SigningKey, verify_signature

# cose-wg/Examples, eddsa-examples/eddsa-sig-01.json: the working group's Ed25519 COSE_Sign1. It uses
# the older algorithm number -8, which only this test knows.
VECTOR_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
VECTOR_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
VECTOR_PROTECTED = bytes.fromhex("a201270300")
VECTOR_PAYLOAD = b"This is the content."
VECTOR_SIGNATURE = bytes.fromhex(
    "7142fd2ff96d56db85bee905a76ba1d0b7321a95c8c4d3607c5781932b7afb87"
    "11497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d"
)
VECTOR_MESSAGE = (
    bytes.fromhex("d28445a201270300a10442313154546869732069732074686520636f6e74656e742e5840")
    + VECTOR_SIGNATURE
)


def test_what_is_signed_is_the_sig_structure_of_the_working_groups_example() -> None:
    signed = cose._to_be_signed(VECTOR_PROTECTED, VECTOR_PAYLOAD)
    assert signed.hex() == (
        "846a5369676e61747572653145a2012703004054546869732069732074686520636f6e74656e742e"
    )
    assert SigningKey(VECTOR_SEED).public_key == VECTOR_PUBLIC
    assert SigningKey(VECTOR_SEED).sign(signed) == VECTOR_SIGNATURE
    assert verify_signature(VECTOR_PUBLIC, signed, VECTOR_SIGNATURE)


def test_the_example_itself_is_no_envelope_of_ours() -> None:
    """Its algorithm is -8, its key id is short and unprotected: right COSE, and refused."""
    with pytest.raises(PackageError) as error:
        cose.decode(VECTOR_MESSAGE)
    assert error.value.code == "cbor.forbidden_type"  # the integer key of its unprotected header


def test_the_envelope_is_these_bytes_and_no_others() -> None:
    payload = b"\xa0"
    message = cose.ManifestSigner("acme", forge.KEY).sign(payload)
    kid = hashlib.sha256(forge.KEY.public_key).digest()
    protected = b"\xa3\x01\x32\x03\x78\x1dapplication/mpp-manifest+cbor\x04\x58\x20" + kid
    assert len(protected) == 70
    expected = b"\xd2\x84\x58\x46" + protected + b"\xa0" + b"\x41\xa0" + b"\x58\x40"
    assert message[:-64] == expected
    assert verify_signature(
        forge.KEY.public_key,
        b"\x84\x6aSignature1\x58\x46" + protected + b"\x40\x41\xa0",
        message[-64:],
    )


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65_535, 65_536, 100_000])
def test_its_length_is_known_beforehand(size: int) -> None:
    signer = cose.ManifestSigner("acme", forge.KEY)
    assert len(signer.sign(bytes(size))) == signer.signed_size(size)


def test_decoding_returns_what_was_signed() -> None:
    envelope = cose.decode(cose.ManifestSigner("acme", forge.KEY).sign(b"payload"))
    assert envelope.payload == b"payload"
    assert envelope.key_id == forge.KEY.key_id
    assert envelope.is_signed_by(forge.KEY.public_key)


def test_another_key_did_not_sign_it() -> None:
    envelope = cose.decode(cose.ManifestSigner("acme", forge.KEY).sign(b"payload"))
    for key in (forge.OTHER_KEY.public_key, b"", bytes(32), forge.KEY.public_key + b"\0"):
        assert not envelope.is_signed_by(key)


def test_the_key_id_alone_does_not_make_a_signature_count() -> None:
    """A key that really signed, under the key id of another, is not accepted for either."""
    kid = hashlib.sha256(forge.KEY.public_key).digest()
    protected = cose._protected(cose.CONTENT_TYPE) + kid
    signature = forge.OTHER_KEY.sign(cose._to_be_signed(protected, b"x"))
    envelope = cose.decode(dumps([protected, {}, b"x", signature], tag=18))
    assert not envelope.is_signed_by(forge.KEY.public_key)
    assert not envelope.is_signed_by(forge.OTHER_KEY.public_key)


def test_a_signature_does_not_carry_over_to_another_structure() -> None:
    """The context string keeps a signature over bare bytes, or of COSE_Sign, from counting."""
    kid = hashlib.sha256(forge.KEY.public_key).digest()
    protected = cose._protected(cose.CONTENT_TYPE) + kid
    for signed in (
        b"payload",
        dumps(["Signature", protected, b"", b"payload"]),
        dumps(["Signature1", protected, b"external", b"payload"]),
        dumps(["Signature1", b"", b"", b"payload"]),
    ):
        message = dumps([protected, {}, b"payload", forge.KEY.sign(signed)], tag=18)
        assert not cose.decode(message).is_signed_by(forge.KEY.public_key)
