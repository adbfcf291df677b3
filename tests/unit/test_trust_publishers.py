"""Keys and key ids as people type them, and what a view of trust answers."""

from __future__ import annotations

import base64

import pytest

import forge
from mpp_exec.errors import UsageError
from mpp_exec.trust.publishers import TrustView, format_public_key, parse_key_id, parse_public_key
from mpp_exec.trust.verify import UnknownPublisherError, current_platform

RAW = forge.KEY.public_key
BASE64 = base64.urlsafe_b64encode(RAW).decode()


def test_a_key_has_one_canonical_text() -> None:
    text = format_public_key(RAW)
    assert text == "ed25519:" + BASE64.rstrip("=")
    assert len(text) == 51
    assert parse_public_key(text) == RAW


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        BASE64.rstrip("="),
        f"ed25519:{BASE64}",
        RAW.hex(),
        RAW.hex().upper(),
        f"ed25519:{RAW.hex()}",
        f"  {RAW.hex()}\n",
    ],
)
def test_a_key_may_be_typed_in_other_ways(text: str) -> None:
    assert parse_public_key(text) == RAW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        RAW.hex()[:-1],
        RAW.hex() + "0",
        BASE64[:42],
        BASE64.rstrip("=") + "A",
        f"ed448:{BASE64}",
        f"Ed25519:{BASE64}",
        f"ed25519: {BASE64}",
        base64.b64encode(b"\xff" * 32).decode(),
        forge.KEY.key_id,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        # the last character has bits that no 32 bytes have
        BASE64[:42] + ("B" if BASE64[42] == "A" else chr(ord(BASE64[42]) + 1)),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_public_key(text)
    assert error.value.code == "trust.bad_key"
    assert error.value.hint


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_a_key_that_nobody_can_honestly_have_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError) as error:
        parse_public_key(raw.hex())
    assert error.value.code == "trust.bad_key"


def test_a_key_id_is_read_in_either_case() -> None:
    assert parse_key_id(forge.KEY.key_id) == forge.KEY.key_id
    assert parse_key_id(" " + forge.KEY.key_id.upper()) == forge.KEY.key_id


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "0" * 63, "0" * 64, "sha512:" + "0" * 64, "sha256:" + "g" * 64]
)
def test_what_is_no_key_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_key_id(text)
    assert error.value.code == "trust.bad_key_id"
    assert error.value.hint


def test_a_publisher_knows_its_key_id() -> None:
    assert forge.publisher().key_id == forge.KEY.key_id


def test_a_view_finds_keys_by_their_id_only() -> None:
    assert forge.view().key_of(forge.KEY.key_id) == RAW
    assert forge.view().key_of(forge.OTHER_KEY.key_id) is None
    assert TrustView().key_of(forge.KEY.key_id) is None


def test_an_unknown_publisher_is_told_with_all_that_is_needed_to_decide() -> None:
    error = UnknownPublisherError("acme", RAW)
    assert (error.publisher, error.public_key) == ("acme", RAW)
    assert forge.KEY.key_id in error.message
    assert f"--trust={forge.KEY.key_id}" in error.hint
    assert f"publisher add acme {format_public_key(RAW)}" in error.hint


def test_this_platform_has_a_name_that_manifests_use() -> None:
    assert current_platform().startswith("linux-")
