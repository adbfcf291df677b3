"""Who decides what happens to a kind, and what then stands in its place."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mpp_exec.consent import policy as consent_policy
from mpp_exec.errors import UsageError
from mpp_exec.privacy.detect import detect
from mpp_exec.privacy.finding import KINDS
from mpp_exec.privacy.policy import ACTIONS, BINARY, Action, RedactionPolicy, effective_actions
from mpp_exec.privacy.redact import redact

KEY = bytes(range(32))
VALUES = {
    "email": "jane@example.com",
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip_address": "203.0.113.9",
    "secret": "AKIAIOSFODNN7EXAMPLE",
}


def test_everything_is_masked_by_default() -> None:
    policy = RedactionPolicy()
    assert {policy.action(kind) for kind in KINDS} == {"mask"}


@pytest.mark.parametrize(
    ("kind", "partial"),
    [
        ("email", "j***@example.com"),
        ("credit_card", "************1111"),
        ("iban", "DE****************3000"),
        ("ip_address", "203.0.*.*"),
        ("secret", "[SECRET]"),
    ],
)
def test_each_action_leaves_what_it_says(kind: str, partial: str) -> None:
    value, mask = VALUES[kind], f"[{kind.upper()}]"
    written = {
        action: redact(f"<{value}>", RedactionPolicy({kind: action}, KEY)).value[1:-1] for action in ACTIONS
    }
    hashed = written.pop("hash")
    assert written == {"mask": mask, "token": mask, "partial": partial, "drop": "", "allow": value}
    assert hashed.startswith(f"[{kind.upper()}:")
    assert len(hashed) == len(mask) + 13


def test_an_ipv6_address_is_shown_by_its_first_groups() -> None:
    assert redact("2001:db8::1", RedactionPolicy({"ip_address": "partial"})).value == "2001:db8:*:*"


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "allow"])
def test_no_detector_finds_anything_in_what_stands_in_its_place(kind: str, action: Action) -> None:
    policy = RedactionPolicy({kind: action}, KEY)
    assert detect(redact(VALUES[kind], policy).value) == []


def test_a_hash_depends_on_the_value_not_on_how_it_is_written() -> None:
    policy = RedactionPolicy({"credit_card": "hash", "iban": "hash", "email": "hash"}, KEY)
    for one, other in (
        ("4111111111111111", "4111-1111-1111-1111"),
        ("DE89370400440532013000", "de89 3704 0044 0532 0130 00"),
        ("Jane@example.com", "jane@EXAMPLE.com"),
    ):
        assert redact(one, policy).value == redact(other, policy).value
    assert redact("jane@example.com", policy).value != redact("joan@example.com", policy).value


def test_a_hash_means_nothing_under_another_key() -> None:
    one, other = (RedactionPolicy({"email": "hash"}, key) for key in (KEY, bytes(32)))
    assert redact("jane@example.com", one).value != redact("jane@example.com", other).value


def test_a_hash_never_consists_of_digits_alone() -> None:
    """Twelve digits could be taken for a card number."""
    policy = RedactionPolicy({"email": "hash"}, KEY)
    for number in range(500):
        digest = redact(f"u{number}@example.com", policy).value[len("[EMAIL:") : -1]
        assert len(digest) == 12
        assert digest[0] in "abcdef"


@pytest.mark.parametrize(
    ("actions", "key", "code"),
    [
        ({"binary": "mask"}, None, "privacy.unknown_action"),
        ({"email": "masked"}, None, "privacy.unknown_action"),
        ({"e-mail": "mask"}, None, "privacy.unknown_kind"),
        ({"email": "hash"}, None, "privacy.hash_key"),
        ({}, b"short", "privacy.hash_key"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(
    actions: dict[str, str], key: bytes | None, code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        RedactionPolicy(actions, key)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.hint


def test_the_nearest_word_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        RedactionPolicy({"emial": "mask"})
    assert caught.value.hint == "did you mean email?"


def test_the_key_is_not_shown() -> None:
    assert "hash_key" not in repr(RedactionPolicy({}, KEY))


def test_a_policy_cannot_be_changed_through_the_mapping_it_was_made_from() -> None:
    actions: dict[str, Action] = {"email": "mask"}
    policy = RedactionPolicy(actions)
    actions["email"] = "allow"
    assert policy.action("email") == "mask"
    with pytest.raises(TypeError):
        policy.actions["email"] = "allow"  # type: ignore[index]


@pytest.mark.parametrize(
    ("organisation", "granted", "requested", "action"),
    [
        (None, None, (), "mask"),
        (None, None, ("email",), "mask"),
        (None, "allow", ("email",), "allow"),
        (None, "allow", (), "mask"),
        (None, "hash", (), "hash"),
        ("drop", "allow", ("email",), "drop"),
        ("partial", "mask", (), "mask"),
        ("partial", "token", (), "partial"),
        ("mask", "token", (), "mask"),
        ("token", None, (), "token"),
        ("token", "allow", ("email",), "token"),
        ("token", "drop", (), "drop"),
        ("allow", "token", (), "token"),
        (None, "token", ("email",), "token"),
        ("mask", "allow", ("email",), "mask"),
        ("allow", None, ("email",), "mask"),
        ("allow", "hash", ("email",), "hash"),
        ("allow", "allow", ("email",), "allow"),
        ("allow", "allow", (), "mask"),
    ],
)
def test_the_order_of_authority(
    organisation: str | None, granted: str | None, requested: tuple[str, ...], action: str
) -> None:
    actions = effective_actions(
        organisation={"email": organisation} if organisation else None,
        granted={"email": granted} if granted else None,
        requested=requested,
    )
    assert RedactionPolicy(actions, KEY).action("email") == action


@pytest.mark.parametrize("where", ["organisation", "granted", "requested"])
def test_an_unknown_kind_is_refused_whoever_names_it(where: str) -> None:
    named: dict[str, Any] = {where: {"nonsense": "mask"}}
    with pytest.raises(UsageError) as caught:
        effective_actions(**named)
    assert caught.value.code == "privacy.unknown_kind"


def test_the_words_of_consent_and_of_redaction_are_the_same_in_the_same_order() -> None:
    assert consent_policy.ACTIONS == ACTIONS
    assert consent_policy.BINARY == BINARY
    for action in ACTIONS:
        if action in consent_policy.BINARY_ACTIONS:
            RedactionPolicy({BINARY: action})
        else:
            with pytest.raises(UsageError):
                RedactionPolicy({BINARY: action})


def test_importing_redaction_loads_nothing_heavy() -> None:
    listing = "import sys, mpp_exec.privacy.redact; print(*sorted(sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-I", "-c", listing], text=True).split())
    assert not loaded & {"json", "hashlib", "unicodedata", "ipaddress", "difflib", "mpp_exec.privacy.fold"}
