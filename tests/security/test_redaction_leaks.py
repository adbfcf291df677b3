"""What redaction itself could give away, lose or break."""

from __future__ import annotations

import hashlib
import json

import pytest

from mpp_exec.errors import UsageError
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import redact

VALUES = [
    "jane@example.com",
    "4111111111111111",
    "DE89370400440532013000",
    "203.0.113.9",
    "AKIAIOSFODNN7EXAMPLE",
]
KEY = bytes(range(32))


@pytest.mark.parametrize("value", VALUES)
def test_findings_never_hold_the_value_or_an_unkeyed_digest_of_it(value: str) -> None:
    clean = redact({value: [f"x {value}"], "list": [{value: value}]})
    shown = json.dumps(clean.to_json()) + repr(clean) + repr(clean.counts())
    assert value not in shown
    for name in ("sha256", "sha1", "md5", "blake2b", "sha512"):
        assert hashlib.new(name, value.encode()).hexdigest()[:8] not in shown


@pytest.mark.parametrize("value", VALUES)
def test_a_hash_cannot_be_made_without_the_key(value: str) -> None:
    kinds = {"email", "credit_card", "iban", "ip_address", "secret"}
    token = redact(value, RedactionPolicy(dict.fromkeys(kinds, "hash"), KEY)).value
    digest = token.partition(":")[2].rstrip("]")
    assert len(digest) == 12
    for guess in (value.encode(), redact(value).value.encode() + value.encode()):
        for name in ("sha256", "sha1", "md5", "blake2b"):
            assert digest[1:] not in hashlib.new(name, guess).hexdigest()


def test_the_key_of_hashes_is_not_shown_in_errors() -> None:
    with pytest.raises(UsageError) as caught:
        RedactionPolicy({"email": "hash"}, b"sixteen byte key")
    assert "sixteen" not in f"{caught.value} {caught.value.hint}"


def test_an_error_about_a_value_does_not_show_it() -> None:
    with pytest.raises(UsageError) as caught:
        redact({"a": b"jane@example.com"})
    assert "jane" not in f"{caught.value} {caught.value.hint}"


def test_keys_made_equal_by_masks_lose_no_data() -> None:
    value = {f"user{number}@example.com": number for number in range(50)}
    value |= {"[EMAIL]~3": 50, "[EMAIL]": 51}
    clean = redact(value)
    assert sorted(clean.value.values()) == sorted(value.values())
    assert clean.value["[EMAIL]"] == 51
    assert clean.value["[EMAIL]~3"] == 50


def test_the_input_is_never_written_to() -> None:
    value = {"jane@example.com": ["jane@example.com", {"n": 4111111111111111}]}
    before = json.dumps(value)
    redact(value)
    assert json.dumps(value) == before
