"""What holds for every input: redacting is idempotent, keeps JSON, and does not depend on the run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.privacy.policy import Action, RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact

KEY = bytes(range(32))
KINDS = ("email", "credit_card", "iban", "ip_address", "secret", "phone", "ssn", "person", "date_of_birth")
VALUES = [
    "jane@example.com",
    "root@[10.1.2.3]",
    "4111111111111111",
    "4111 1111 1111 1111",
    "3782-822463-10005",
    "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19",
    "203.0.113.9",
    "2001:db8::1",
    "::ffff:192.0.2.1",
    "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "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",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA\n" * 2,
    "212-555-0123",
    "+49 30 901820",
    "241-55-8820",
    "3c:22:fb:91:0a:c4",
    "1M8GDM9AXKP042788",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "-----END PRIVATE KEY-----",
]
# What announces a value, and values that nothing else gives away.
ANNOUNCING = [
    *("ssn ", "dob: ", "phone", "call me at ", "Name: ", "full_name", "patient", "Address: ", "username"),
    *(
        "password=",
        '"token": "',
        "api_key",
        "secret ",
        "passport no ",
        "ssn,name\n",
        "number",
        "name",
        "customer",
    ),
    *(
        "241558820",
        "4776186870",
        "1991-11-30",
        "Ada Lovelace",
        "12 Elm Street",
        "kettle-91!x",
        "q7Rk2Zp9Lw4Xv8Tn3Bc6",
    ),
    *("%40", "\\u0040", "YUBiLmNjIGFAYi5jYyBhQGIuY2M=", "4l1O"),
]
# Pieces that values are made of, what surrounds them, and what replaces them.
PIECES = [
    *VALUES,
    *ANNOUNCING,
    *("@", ".", ":", "::", "-", " ", "\n", "\\n", "%3D", "/", "_", "~", '"', ",", "{", "[", "]", "*", "="),
    *(
        "version ",
        "secret key ",
        "1",
        "12",
        "4111",
        "1111",
        "DE89",
        "a",
        "x.com",
        "\u200b",
        "\u0301",
        "\uff11",
    ),
    *("\uff20", "\u3002", "é", "中", "\ud800", "[EMAIL]", "[SECRET]", "[IP_ADDRESS:abcdef123456]", "eyJ"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=40)
actions = st.dictionaries(
    st.sampled_from(KINDS), st.sampled_from(["mask", "partial", "hash", "drop", "allow"]), max_size=3
)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([4111111111111111, 378282246310005, 4111111111111111.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(texts, actions)
def test_redacting_text_twice_changes_nothing(text: str, chosen: dict[str, Action]) -> None:
    policy = RedactionPolicy(chosen, KEY)
    once = redact(text, policy).value
    assert redact(once, policy).value == once


@given(documents, actions)
def test_redacting_json_twice_changes_nothing(value: Any, chosen: dict[str, Action]) -> None:
    policy = RedactionPolicy(chosen, KEY)
    once = redact(value, policy).value
    assert redact(once, policy).value == once


@given(documents)
def test_a_redacted_document_is_json_of_the_same_shape(value: Any) -> None:
    clean = redact(value)
    json.dumps(clean.value, allow_nan=False)
    _same_shape(value, clean.value)


def _same_shape(before: Any, after: Any) -> None:
    if isinstance(before, dict):
        assert len(after) == len(before)
        for old, new in zip(before.values(), after.values(), strict=True):
            _same_shape(old, new)
    elif isinstance(before, list):
        assert len(after) == len(before)
        for old, new in zip(before, after, strict=True):
            _same_shape(old, new)
    elif isinstance(before, str):
        assert isinstance(after, str)
    else:
        assert after is before or isinstance(after, str)


@given(documents, actions)
def test_every_finding_lies_in_the_string_that_its_pointer_names(
    value: Any, chosen: dict[str, Action]
) -> None:
    clean = redact({"": value}, RedactionPolicy(chosen, KEY))
    for finding in clean.findings:
        assert 0 <= finding.start < finding.end
        assert finding.pointer is not None
        at: Any = clean.value
        for token in finding.pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            at = at[int(name)] if isinstance(at, list) else at[name]


@given(texts)
def test_what_lies_between_findings_stays(text: str) -> None:
    clean = redact(text)
    pieces, read = [], 0
    for finding in clean.findings:
        assert finding.start >= read
        pieces.append(text[read : finding.start])
        read = finding.end
    pieces.append(text[read:])
    left = clean.value
    for piece in pieces:
        _, found, left = left.partition(piece) if piece else ("", "", left)
        assert found == piece


@given(st.sampled_from(VALUES[:-1]), st.sampled_from(["", " ", "\n", ",", "<", "(", "中", "é ", "\u200b "]))
def test_a_value_is_found_whatever_punctuation_surrounds_it(value: str, around: str) -> None:
    text = f"{around}{value}{around}"
    assert value.rsplit("=", maxsplit=1)[-1] not in redact(text).value


@given(texts, texts)
def test_channels_agree(one: str, other: str) -> None:
    """Together, each channel loses at least what it loses alone."""
    together = Redactor().redact_many({"one": one, "other": {"text": other}})
    for name, text, clean in (
        ("one", one, together["one"].value),
        ("other", other, together["other"].value["text"]),
    ):
        alone = redact({"text": text} if name == "other" else text)
        assert sum(together[name].counts().values()) >= bool(alone.findings)
        assert alone.findings == () or clean != text


def test_the_result_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import json, sys\n"
        "from mpp_exec.privacy.redact import Redactor\n"
        "clean = Redactor(secrets=['first secret', 'second secret']).redact_many(json.load(sys.stdin))\n"
        "print(json.dumps({name: one.to_json() for name, one in clean.items()}))\n"
    )
    document = json.dumps(
        {"a": VALUES, "b": {value: " ".join(VALUES) for value in VALUES}, "c": PIECES[-16:-8]}
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=document,
            env={"PYTHONHASHSEED": seed},
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("value", VALUES[:-1])
def test_the_sample_values_are_findings(value: str) -> None:
    assert redact(value).findings
