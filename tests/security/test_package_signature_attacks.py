"""Who signed, and whether that counts here: envelopes, keys, versions, days."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import forge
from attacks import (
    DIGEST,
    GOOD,
    OTHER_SIGNER,
    PROTECTED,
    SEEN,
    SIGNED_MANIFEST,
    VALUE,
    Attack,
    assert_refused,
    envelope,
    envelope_parts,
    install,
    signed_protected,
    signed_value,
    with_envelope,
)
from mpp_exec.encoding import dumps
from mpp_exec.errors import MppError, PackageError
from mpp_exec.package.archive import open_package
from mpp_exec.trust.keys import verify_signature
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import check_state, verify

ENVELOPE = [
    Attack("another signature", "package.bad_signature", lambda: envelope(3, bytes(64))),
    Attack("no signature", "package.bad_envelope", lambda: envelope(3, b"")),
    Attack("a longer signature", "package.bad_envelope", lambda: envelope(3, envelope_parts()[3] + b"\0")),
    Attack(
        "another payload", "package.bad_signature", lambda: envelope(2, dumps(VALUE | {"version": "9.9.9"}))
    ),
    Attack("a detached payload", "package.bad_envelope", lambda: envelope(2, None)),
    Attack("an unprotected header", "package.bad_envelope", lambda: envelope(1, {"x": 1})),
    Attack("an unprotected header that is a list", "package.bad_envelope", lambda: envelope(1, [])),
    Attack(
        "a fifth part", "package.bad_envelope", lambda: with_envelope(dumps([*envelope_parts(), 0], tag=18))
    ),
    Attack("no tag", "cbor.forbidden_type", lambda: with_envelope(dumps(envelope_parts()))),
    Attack(
        "the tag with a longer head",
        "cbor.forbidden_type",
        lambda: with_envelope(b"\xd8\x12" + dumps(envelope_parts())),
    ),
    Attack(
        "the tag of COSE_Mac0", "cbor.forbidden_type", lambda: with_envelope(dumps(envelope_parts(), tag=17))
    ),
    Attack(
        "the tag twice",
        "cbor.forbidden_type",
        lambda: with_envelope(b"\xd2" + dumps(envelope_parts(), tag=18)),
    ),
    Attack(
        "an indefinite envelope",
        "cbor.indefinite",
        lambda: with_envelope(b"\xd2\x9f" + dumps(envelope_parts())[1:] + b"\xff"),
    ),
    Attack(
        "a longer head than needed",
        "cbor.non_canonical",
        lambda: with_envelope(b"\xd2\x98\x04" + dumps(envelope_parts())[1:]),
    ),
    Attack("a byte behind the envelope", "cbor.trailing", lambda: with_envelope(SIGNED_MANIFEST + b"\0")),
    Attack("an envelope cut off", "cbor.truncated", lambda: with_envelope(SIGNED_MANIFEST[:-1])),
    Attack("an empty envelope", "cbor.truncated", lambda: with_envelope(b"")),
    Attack(
        "the old algorithm -8",
        "package.bad_envelope",
        lambda: signed_protected(PROTECTED.replace(b"\x01\x32", b"\x01\x27", 1)),
    ),
    Attack(
        "algorithm ES256",
        "package.bad_envelope",
        lambda: signed_protected(PROTECTED.replace(b"\x01\x32", b"\x01\x26", 1)),
    ),
    Attack("no algorithm", "package.bad_envelope", lambda: signed_protected(b"\xa2" + PROTECTED[3:])),
    Attack("an empty protected header", "package.bad_envelope", lambda: signed_protected(b"")),
    Attack(
        "a critical header",
        "package.bad_envelope",
        lambda: signed_protected(b"\xa4" + PROTECTED[1:] + b"\x05\x41\x00"),
    ),
    Attack(
        "another content type",
        "package.bad_envelope",
        lambda: signed_protected(PROTECTED.replace(b"mpp-", b"mpq-")),
    ),
    Attack("a short key id", "package.bad_envelope", lambda: signed_protected(PROTECTED[:-1])),
    Attack("a long key id", "package.bad_envelope", lambda: signed_protected(PROTECTED + b"\0")),
    Attack(
        "a protected header of another order",
        "package.bad_envelope",
        lambda: signed_protected(b"\xa3" + PROTECTED[3:] + b"\x01\x32"),
    ),
    Attack(
        "the key id of another trusted key",
        "package.bad_signature",
        lambda: signed_protected(PROTECTED[:-32] + bytes.fromhex(forge.OTHER_KEY.key_id[7:])),
        view=forge.view(
            publishers={"acme": forge.publisher(), "evil": forge.publisher("evil", forge.OTHER_KEY)}
        ),
    ),
]


def mixed_order_package() -> bytes:
    """Sign with a public key that is an honest one plus a point of order 8.

    Verifiers disagree about such keys: whether a signature counts depends on how the equation is
    checked. libsodium's accepts one in eight, so the nonce is varied until it does.
    """
    import nacl.bindings as sodium  # noqa: PLC0415 -- only here, to compute with points

    order_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    scalar = sodium.crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"a").digest())
    honest = sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)
    public = sodium.crypto_core_ed25519_add(honest, order_8)
    protected = PROTECTED[:-32] + hashlib.sha256(public).digest()
    payload = dumps(VALUE | {"publisher_key": public})
    signed = dumps(["Signature1", protected, b"", payload])
    for attempt in range(256):
        nonce = sodium.crypto_core_ed25519_scalar_reduce(hashlib.sha512(bytes([attempt, 1])).digest())
        point = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
        hashed = sodium.crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + public + signed).digest())
        product = sodium.crypto_core_ed25519_scalar_mul(hashed, scalar)
        signature = point + sodium.crypto_core_ed25519_scalar_add(nonce, product)
        if verify_signature(public, signed, signature):
            return with_envelope(dumps([protected, {}, payload, signature], tag=18))
    raise AssertionError("no nonce makes libsodium accept the signature")


TRUST = [
    Attack("a publisher that nobody knows", "trust.unknown_publisher", lambda: GOOD, view=TrustView()),
    Attack("a known publisher with a new key", "trust.key_mismatch", lambda: OTHER_SIGNER),
    Attack(
        "a new key, trusted on first use",
        "trust.key_mismatch",
        lambda: OTHER_SIGNER,
        view=forge.view(trust_first_use=True),
    ),
    Attack(
        "a new key, trusted on first use by its id",
        "trust.key_mismatch",
        lambda: OTHER_SIGNER,
        view=forge.view(trust_first_use=forge.OTHER_KEY.key_id),
    ),
    Attack(
        "first use of another key than was named",
        "trust.key_mismatch",
        lambda: GOOD,
        view=TrustView(trust_first_use=forge.OTHER_KEY.key_id),
    ),
    Attack(
        "a trusted publisher signs in the name of another",
        "trust.key_mismatch",
        lambda: GOOD,
        view=forge.view(
            publishers={"acme": forge.publisher("acme", forge.OTHER_KEY), "evil": forge.publisher("evil")}
        ),
    ),
    Attack(
        "a trusted publisher signs in an unknown name",
        "trust.unknown_publisher",
        lambda: forge.package("python", name="other/echo"),
    ),
    Attack(
        "another key embedded than signed",
        "trust.key_mismatch",
        lambda: forge.package("python", publisher_key=forge.OTHER_KEY.public_key),
    ),
    Attack(
        "another key embedded, first use",
        "package.bad_signature",
        lambda: forge.package("python", publisher_key=forge.OTHER_KEY.public_key),
        view=TrustView(trust_first_use=True),
    ),
    Attack(
        "a small-order key embedded, first use",
        "package.bad_signature",
        lambda: forge.package("python", publisher_key=b"\1" + bytes(31)),
        view=TrustView(trust_first_use=True),
    ),
    Attack(
        "no key embedded, first use",
        "package.bad_signature",
        lambda: signed_value(publisher_key=b""),
        view=TrustView(trust_first_use=True),
    ),
    Attack(
        "signed by a stranger in the publisher's name",
        "package.bad_signature",
        lambda: forge.pack(
            forge.raw_members(forge.sign(forge.manifest("python"), forge.OTHER_KEY), forge.PYTHON_FILES)
        ),
    ),
    Attack(
        "a revoked key",
        "trust.revoked_key",
        lambda: GOOD,
        view=forge.view(revoked_keys=frozenset({forge.KEY.key_id})),
    ),
    Attack(
        "a revoked key, first use",
        "trust.revoked_key",
        lambda: GOOD,
        view=TrustView(revoked_keys=frozenset({forge.KEY.key_id}), trust_first_use=True),
    ),
    Attack(
        "a revoked digest",
        "trust.revoked_digest",
        lambda: GOOD,
        view=forge.view(revoked_digests=frozenset({DIGEST})),
    ),
    Attack(
        "a version below the highest seen",
        "trust.rollback",
        lambda: GOOD,
        view=forge.view(seen={SEEN: {"1.0.1": "sha256:00", "0.9.0": "sha256:01"}}),
    ),
    Attack(
        "a version below the highest seen, ten after nine",
        "trust.rollback",
        lambda: forge.package("python", version="9.0.0"),
        view=forge.view(seen={SEEN: {"9.0.0-rc.1": "sha256:00", "10.0.0": "sha256:01"}}),
    ),
    Attack(
        "a key with a part of small order embedded, first use",
        "package.bad_signature",
        mixed_order_package,
        view=TrustView(trust_first_use=True),
    ),
    Attack(
        "a pre-release below its release",
        "trust.rollback",
        lambda: forge.package("python", version="1.0.0-rc.9"),
        view=forge.view(seen={SEEN: {"1.0.0": "sha256:00"}}),
    ),
    Attack(
        "the same version again with another digest",
        "trust.version_conflict",
        lambda: GOOD,
        view=forge.view(seen={SEEN: {"1.0.0": "sha256:00"}}),
    ),
    Attack(
        "the same version with other build metadata",
        "trust.version_conflict",
        lambda: forge.package("python", version="1.0.0+2"),
        view=forge.view(seen={SEEN: {"1.0.0+1": DIGEST}}),
    ),
    Attack(
        "another digest for an old version, downgrading",
        "trust.version_conflict",
        lambda: GOOD,
        view=forge.view(seen={SEEN: {"1.0.0": "sha256:00", "2.0.0": "sha256:01"}}, allow_downgrade=True),
    ),
    Attack(
        "the day after it expired",
        "package.expired",
        lambda: forge.package("python", expires="2026-06-01"),
        later=timedelta(days=1),
    ),
    Attack(
        "another platform",
        "package.wrong_platform",
        lambda: forge.package(
            "python", runtime=replace(forge.manifest().runtime, platforms=("linux-x86_64",))
        ),
        platform="linux-aarch64",
    ),
]


@pytest.mark.parametrize("attack", [*ENVELOPE, *TRUST], ids=lambda attack: attack.name)
def test_refused_with_its_code_and_nothing_left_behind(attack: Attack, tmp_path: Path) -> None:
    assert_refused(attack, tmp_path)


@pytest.mark.parametrize("kind", ["python", "exec"])
def test_what_was_broken_was_whole_before(kind: str, tmp_path: Path) -> None:
    """The same steps install the package that every attack starts from."""
    (tmp_path / "target").mkdir()
    path = tmp_path / "package.mpp"
    path.write_bytes(forge.package(kind))
    install(path, Attack("none", "", bytes))
    assert (tmp_path / "target" / "manifest.cose").exists()


@pytest.mark.parametrize(
    "view",
    [
        forge.view(),
        forge.view(seen={SEEN: {"1.0.0": DIGEST}}),
        forge.view(seen={SEEN: {"1.0.0": DIGEST, "2.0.0": "sha256:00"}}, allow_downgrade=True),
        forge.view(seen={("sha256:00", "acme/echo"): {"9.0.0": "sha256:00"}}),
        forge.view(seen={(forge.KEY.key_id, "acme/other"): {"9.0.0": "sha256:00"}}),
        forge.view(trust_first_use=True),
        TrustView(trust_first_use=True),
        TrustView(trust_first_use=forge.KEY.key_id),
        forge.view(publishers={"acme": forge.publisher(), "twin": forge.publisher("twin")}),
    ],
    ids=str,
)
def test_accepted_where_nothing_is_wrong(view: TrustView, tmp_path: Path) -> None:
    path = tmp_path / "package.mpp"
    path.write_bytes(GOOD)
    with open_package(path) as package:
        verified = verify(package, view, now=forge.NOW, platform=forge.PLATFORM)
    assert verified.digest == DIGEST
    assert verified.key_id == forge.KEY.key_id
    assert verified.first_use == ("acme" not in view.publishers)


def test_a_package_is_good_on_its_last_day(tmp_path: Path) -> None:
    path = tmp_path / "package.mpp"
    path.write_bytes(forge.package("python", expires="2026-06-01"))
    with open_package(path) as package:
        last = forge.NOW.replace(hour=23, minute=59, second=59)
        assert verify(package, forge.view(), now=last, platform=forge.PLATFORM)
        with pytest.raises(PackageError):
            verify(package, forge.view(), now=last + timedelta(seconds=1), platform=forge.PLATFORM)
        with pytest.raises(ValueError, match="zone"):
            verify(package, forge.view(), now=last.replace(tzinfo=None), platform=forge.PLATFORM)


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (forge.view(revoked_digests=frozenset({DIGEST})), "trust.revoked_digest"),
        (forge.view(revoked_keys=frozenset({forge.KEY.key_id})), "trust.revoked_key"),
        (TrustView(), "trust.unknown_publisher"),
        (forge.view(publishers={"acme": forge.publisher("acme", forge.OTHER_KEY)}), "trust.key_mismatch"),
        (forge.view(seen={SEEN: {"1.0.1": "sha256:00"}}), "trust.rollback"),
        (forge.view(seen={SEEN: {"1.0.0": "sha256:00"}}), "trust.version_conflict"),
    ],
)
def test_what_changed_in_the_home_since_it_verified_counts(
    view: TrustView, code: str, tmp_path: Path
) -> None:
    """The transaction that uses a verified package asks again what another process may have changed."""
    path = tmp_path / "package.mpp"
    path.write_bytes(GOOD)
    with open_package(path) as package:
        verified = verify(package, forge.view(), now=forge.NOW, platform=forge.PLATFORM)
    check_state(verified, forge.view())
    with pytest.raises(MppError) as error:
        check_state(verified, view)
    assert error.value.code == code
