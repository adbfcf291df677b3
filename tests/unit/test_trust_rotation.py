"""The statement that a key follows another: one form, two signatures, and where it counts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cddl_verifier import Validator

import forge
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import MppError, PackageError
from mpp_exec.trust import cose, rotation
from mpp_exec.trust.keys import SigningKey
from mpp_exec.trust.publishers import Publisher, Rotation, Succession, TrustView

DAY = date(2026, 6, 1)
A, B, C, D = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3, 4))
STATEMENT = rotation.sign("acme", A, B, DAY)
CDDL = Path(__file__).parents[2] / "docs" / "rotation.cddl"
VALUE = {
    "rotation_version": 1,
    "publisher": "acme",
    "old_key": A.public_key,
    "new_key": B.public_key,
    "issued": "2026-06-01",
}


def taken(old: SigningKey, new: SigningKey, publisher: str = "acme") -> Succession:
    return Succession(publisher, old.public_key, new.public_key, DAY.isoformat(), forge.NOW, b"")


def barred(old: SigningKey, new: SigningKey) -> Succession:
    return replace(taken(old, new), speaks=False)


def view(key: SigningKey = A, *rotations: Succession, **changes: Any) -> TrustView:
    return forge.view(publishers={"acme": forge.publisher("acme", key)}, rotations=rotations, **changes)


def code_of(data: bytes) -> str:
    with pytest.raises(PackageError) as error:
        rotation.read(data)
    assert error.value.hint
    return error.value.code


def refusal(old: SigningKey, new: SigningKey, trust: TrustView, publisher: str = "acme") -> str:
    with pytest.raises(MppError) as error:
        rotation.check(rotation.read(rotation.sign(publisher, old, new, DAY)), trust)
    assert error.value.hint
    return error.value.code


def test_what_is_signed_is_read() -> None:
    assert rotation.read(STATEMENT) == Rotation("acme", A.public_key, B.public_key, "2026-06-01")


def test_the_same_statement_is_the_same_bytes() -> None:
    assert rotation.sign("acme", A, B, DAY) == STATEMENT
    assert len(rotation.sign("a" * 63, A, B, DAY)) <= rotation.MAX_STATEMENT // 2 + 128


def test_it_is_two_envelopes_and_no_other_bytes() -> None:
    """The new key signs what the old key signed; both under content types of their own."""

    def wrapped(key: SigningKey, content_type: bytes, payload: bytes) -> bytes:
        kid = hashlib.sha256(key.public_key).digest()
        protected = b"\xa3\x01\x32\x03\x78\x1d" + content_type + b"\x04\x58\x20" + kid
        signature = key.sign(dumps(["Signature1", protected, b"", payload]))
        return b"\xd2" + dumps([protected, {}, payload, signature])

    stated = wrapped(A, b"application/mpp-rotation+cbor", dumps(VALUE))
    assert wrapped(B, b"application/mpp-rotation+cose", stated) == STATEMENT


def test_the_documented_cddl_says_the_same() -> None:
    cddl = Validator(CDDL)
    assert cddl.validate(dumps(VALUE), root_type="statement").valid
    for key, right in VALUE.items():
        for wrong in (
            {name: value for name, value in VALUE.items() if name != key},
            VALUE | {f"{key}_": right},
            VALUE | {key: [7]},
        ):
            assert not cddl.validate(dumps(wrong), root_type="statement").valid
            assert code_of(of_value(wrong)) == "rotation.malformed"


def of_value(value: Any, old: SigningKey = A, new: SigningKey = B) -> bytes:
    return cose.sign(cose.sign(dumps(value), old, rotation.STATEMENT_TYPE), new, rotation.AGREED_TYPE)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("rotation_version", 2),
        ("rotation_version", True),
        ("rotation_version", 1.0),
        ("publisher", "Acme"),
        ("publisher", "acme\n"),
        ("publisher", "a" * 64),
        ("old_key", b"short"),
        ("old_key", bytes(32)),
        ("new_key", b"\1" + bytes(31)),
        ("new_key", A.public_key),
        ("issued", "2026-02-30"),
        ("issued", "20260601"),
        ("issued", "2026-W23-1"),
        ("issued", "2026-06-01\n"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(key: str, wrong: Any) -> None:
    assert code_of(of_value(VALUE | {key: wrong})) == "rotation.malformed"


def test_every_single_bit_counts() -> None:
    for at in range(len(STATEMENT)):
        changed = bytearray(STATEMENT)
        changed[at] ^= 1 << at % 8
        assert code_of(bytes(changed)) in ("rotation.malformed", "rotation.bad_signature"), at
    for data in (b"", STATEMENT[:-1], STATEMENT + b"\0", STATEMENT * 2, bytes(rotation.MAX_STATEMENT + 1)):
        assert code_of(data) == "rotation.malformed"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [(C, B, "rotation.bad_signature"), (A, C, "rotation.bad_signature"), (B, A, "rotation.bad_signature")],
)
def test_both_keys_have_to_sign(old: SigningKey, new: SigningKey, code: str) -> None:
    """A key of somebody else's can neither be followed nor be made to follow."""
    assert code_of(of_value(VALUE, old, new)) == code


def test_nothing_else_that_was_signed_passes_for_a_statement() -> None:
    manifest = cose.sign(dumps(VALUE), A, cose.CONTENT_TYPE)
    assert code_of(cose.sign(manifest, B, rotation.AGREED_TYPE)) == "rotation.malformed"
    assert code_of(cose.sign(manifest, B, cose.CONTENT_TYPE)) == "rotation.malformed"
    stated = cose.sign(dumps(VALUE), A, rotation.STATEMENT_TYPE)
    assert code_of(stated) == "rotation.malformed"
    with pytest.raises(PackageError) as error:
        cose.decode(stated)
    assert error.value.code == "package.bad_envelope"
    # A signature of the one content type under the header of the other.
    payload, signature = loads(stated[1:], max_size=1024, max_depth=2)[2:]
    protected = dumps([cose._protected(cose.CONTENT_TYPE) + hashlib.sha256(A.public_key).digest()])[1:]
    forged = b"\xd2\x84" + protected + b"\xa0" + dumps(payload) + dumps(signature)
    assert not cose.decode(forged).is_signed_by(A.public_key)


# Where a statement counts


def test_it_replaces_the_key_that_is_known() -> None:
    assert rotation.check(rotation.read(STATEMENT), view())


@pytest.mark.parametrize(
    "trust",
    [view(B, taken(A, B)), view(C, taken(A, B), taken(B, C))],
    ids=["once", "chain"],
)
def test_taken_again_it_changes_nothing(trust: TrustView) -> None:
    assert not rotation.check(rotation.read(STATEMENT), trust)


def test_of_a_key_that_was_added_it_says_which_one_is_former() -> None:
    assert rotation.check(rotation.read(STATEMENT), view(B))
    assert rotation.check(rotation.read(STATEMENT), view(B, taken(C, A)))


def effect(old: SigningKey, new: SigningKey, trust: TrustView) -> str:
    return rotation.check(rotation.read(rotation.sign("acme", old, new, DAY)), trust)


def test_the_line_of_a_key_that_was_added_is_told_backwards() -> None:
    """By its own word first; then by that of former keys, which may be anybody's, and can only take away."""
    assert effect(B, C, view(C)) == "leads"
    assert effect(A, B, view(C, taken(B, C))) == "bars"
    assert effect(D, A, view(C, taken(B, C), barred(A, B))) == "bars"
    assert effect(A, B, view(C, taken(B, C), barred(A, B))) == ""
    assert effect(C, D, view(C, taken(B, C), barred(A, B))) == "follows"


def test_one_that_led_to_a_revoked_key_gives_way_to_the_one_that_leads_to_the_known_key() -> None:
    revoked = frozenset({D.key_id})
    assert effect(A, C, view(C, taken(A, D), revoked_keys=revoked)) == "bars"
    assert effect(A, C, view(C, taken(A, B), taken(B, D), revoked_keys=revoked)) == "bars"
    assert effect(A, B, view(C, taken(B, C), taken(A, D), revoked_keys=revoked)) == "bars"


def test_no_clock_is_asked() -> None:
    for issued in (date(1, 1, 1), date(9999, 12, 31)):
        assert rotation.check(rotation.read(rotation.sign("acme", A, B, issued)), view())


@pytest.mark.parametrize(
    ("old", "new", "trust", "code"),
    [
        (A, B, TrustView(), "rotation.unknown_publisher"),
        (A, B, TrustView(trust_first_use=True), "rotation.unknown_publisher"),
        (C, D, view(), "rotation.key_mismatch"),
        (B, C, view(), "rotation.key_mismatch"),
        (C, B, view(B, taken(A, B)), "rotation.fork"),
        (D, B, view(C, taken(A, B), taken(B, C)), "rotation.fork"),
        (D, C, view(C, taken(A, B), taken(B, C)), "rotation.fork"),
        (A, B, view(C), "rotation.key_mismatch"),
        (D, A, view(C, taken(A, B)), "rotation.key_mismatch"),
        (A, D, view(C, taken(B, C)), "rotation.key_mismatch"),
        (C, B, view(C, taken(B, C)), "rotation.former_key"),
        (A, C, view(C, taken(A, B)), "rotation.fork"),
        (A, C, view(C, taken(A, B), taken(B, D), revoked_keys=frozenset({B.key_id})), "rotation.fork"),
        (A, D, view(C, taken(A, B), revoked_keys=frozenset({B.key_id})), "rotation.key_mismatch"),
        (A, C, view(B, taken(A, B)), "rotation.fork"),
        (A, C, view(D, taken(A, B), taken(B, D)), "rotation.fork"),
        (A, C, forge.view(publishers={}, rotations=(taken(A, B),)), "rotation.unknown_publisher"),
        (B, A, view(B, taken(A, B)), "rotation.former_key"),
        (C, A, view(C, taken(A, B), taken(B, C)), "rotation.former_key"),
        (C, B, view(C, taken(A, B), taken(B, C)), "rotation.former_key"),
        (A, B, view(revoked_keys=frozenset({A.key_id})), "rotation.revoked_key"),
        (A, B, view(revoked_keys=frozenset({B.key_id})), "rotation.revoked_key"),
        (
            A,
            B,
            forge.view(publishers={"acme": forge.publisher("acme", A), "evil": forge.publisher("evil", B)}),
            "rotation.key_in_use",
        ),
    ],
)
def test_where_it_does_not_count(old: SigningKey, new: SigningKey, trust: TrustView, code: str) -> None:
    assert refusal(old, new, trust) == code


@pytest.mark.parametrize(
    ("trust", "revoked"),
    [
        (view(B, taken(A, B)), "acme"),
        (view(C, taken(A, B), taken(B, C)), "acme"),
        (view(C, taken(A, B)), B.key_id),
        (view(C, taken(A, B), taken(B, SigningKey(bytes([5]) * 32))), SigningKey(bytes([5]) * 32).key_id),
    ],
)
def test_what_is_to_be_revoked_is_what_followed_and_not_the_real_key(trust: TrustView, revoked: str) -> None:
    with pytest.raises(PackageError) as error:
        rotation.check(rotation.read(rotation.sign("acme", A, D, DAY)), trust)
    assert error.value.hint.endswith(f"mpp-exec publisher revoke {revoked}")


def test_the_statement_of_another_publisher_says_nothing_of_this_one() -> None:
    both = forge.view(publishers={"acme": forge.publisher("acme", A), "evil": forge.publisher("evil", C)})
    assert refusal(C, D, both, "acme") == "rotation.key_mismatch"
    assert rotation.check(rotation.read(rotation.sign("evil", C, D, DAY)), both)
    # What became of a key in one name is no matter of another name that has it, too.
    shared = replace(both, publishers={"other": Publisher("other", A.public_key, forge.NOW, "added")})
    shared = replace(shared, rotations=(taken(A, B),))
    assert rotation.check(rotation.read(rotation.sign("other", A, D, DAY)), shared)


# What follows for packages


def test_former_keys_are_those_that_led_to_the_known_one() -> None:
    line = view(C, taken(A, B), taken(B, C), taken(A, D, "other"))
    assert [each.old_id for each in line.former_keys("acme")] == [B.key_id, A.key_id]
    assert view(D, taken(A, B), taken(B, C)).former_keys("acme") == []
    assert line.former_keys("other") == []


def test_a_ring_that_nobody_can_have_written_is_walked_once() -> None:
    ring = view(A, taken(A, B), taken(B, A))
    assert [each.old_id for each in ring.former_keys("acme")] == [B.key_id, A.key_id]


def test_a_former_key_speaks_for_what_was_seen_of_it() -> None:
    trust = view(B, taken(A, B), seen={(A.key_id, "acme/echo"): {"1.0.0": "sha256:seen"}})
    assert trust.speaks_for(A.key_id, "acme/echo", "sha256:seen")
    assert not trust.speaks_for(A.key_id, "acme/echo", "sha256:other")
    assert not trust.speaks_for(A.key_id, "acme/other", "sha256:seen")
    assert not trust.speaks_for(C.key_id, "acme/echo", "sha256:seen")
    assert not replace(trust, publishers={}).speaks_for(A.key_id, "acme/echo", "sha256:seen")


def test_versions_are_remembered_along_the_line() -> None:
    seen = {
        (A.key_id, "acme/echo"): {"1.0.0": "sha256:a"},
        (B.key_id, "acme/echo"): {"2.0.0": "sha256:b"},
        (D.key_id, "acme/echo"): {"9.0.0": "sha256:d"},
    }
    trust = view(C, taken(A, B), taken(B, C), seen=seen)
    assert trust.versions_seen(C.public_key, "acme/echo") == [("2.0.0", "sha256:b"), ("1.0.0", "sha256:a")]
    # Also where the publisher was removed, and is trusted on first use.
    forgotten = replace(trust, publishers={})
    assert forgotten.versions_seen(B.public_key, "acme/echo") == trust.versions_seen(
        C.public_key, "acme/echo"
    )


def test_a_key_that_only_became_a_former_one_speaks_for_nothing_and_its_versions_count() -> None:
    """Nor does any that came before it."""
    seen = {(key.key_id, "acme/echo"): {f"{n}.0.0": f"sha256:{n}"} for n, key in enumerate((A, B, C, D), 1)}
    trust = view(D, taken(A, B), barred(B, C), taken(C, D), seen=seen, installed=True)
    assert [each.old_id for each in trust.former_keys("acme")] == [C.key_id, B.key_id, A.key_id]
    spoken = [
        key for n, key in enumerate((A, B, C), 1) if trust.speaks_for(key.key_id, "acme/echo", f"sha256:{n}")
    ]
    assert spoken == [C]
    assert [trust.key_of(key.key_id) for key in (A, B, C)] == [None, None, C.public_key]
    assert [trust.is_succeeded("acme/echo", key.key_id, D.public_key) for key in (A, B, C)] == [
        False,
        False,
        True,
    ]
    assert [version for version, _ in trust.versions_seen(D.public_key, "acme/echo")] == [
        "4.0.0",
        "3.0.0",
        "2.0.0",
        "1.0.0",
    ]


def test_the_last_of_a_line_is_found_and_a_ring_walked_once() -> None:
    assert view(C, taken(A, B), taken(B, C)).last_key("acme", A.public_key) == C.public_key
    assert view(C, taken(A, B, "other")).last_key("acme", A.public_key) == A.public_key
    assert view(C, taken(A, B), taken(B, A)).last_key("acme", A.public_key) == A.public_key


def test_versions_of_a_key_that_this_one_did_not_follow_are_others() -> None:
    seen = {
        (A.key_id, "acme/echo"): {"1.0.0": "sha256:a"},
        (D.key_id, "acmeister/echo"): {"1.0.0": "sha256:d"},
    }
    for trust, others in (
        (view(B, seen=seen), True),
        (view(A, seen=seen), False),
        (view(B, barred(A, B), seen=seen), False),
        (view(C, taken(B, C), seen=seen), True),
    ):
        assert trust.has_other_versions(trust.publishers["acme"]) is others
