"""One result: where findings are, what the redacted value looks like, and that channels agree."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mpp_exec.errors import UsageError
from mpp_exec.privacy.finding import Finding
from mpp_exec.privacy.numerals import MAX_DEPTH
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact

EMAIL, CARD, IP = "jane@example.com", "4111111111111111", "203.0.113.9"


def test_text_keeps_everything_but_its_findings() -> None:
    clean = redact(f"mail {EMAIL} from {IP}.")
    assert clean.value == "mail [EMAIL] from [IP_ADDRESS]."
    assert clean.findings == (
        Finding("email", 5, 21, 0.95),
        Finding("ip_address", 27, 38, 0.9),
    )
    assert clean.counts() == {"email": 1, "ip_address": 1}


def test_offsets_are_code_points_of_the_input() -> None:
    text = f"\U0001f600é\u200b {EMAIL[:4]}\u200b{EMAIL[4:]}"
    (finding,) = redact(text).findings
    assert text[finding.start : finding.end].replace("\u200b", "") == EMAIL


def test_an_innocent_value_comes_back_as_it_is() -> None:
    value = {"a": [1, 2.5, True, None, "text"], "b": {}}
    clean = redact(value)
    assert clean.value is value
    assert clean.findings == ()


def test_strings_numbers_and_keys_of_json_are_redacted_and_pointed_at() -> None:
    value = {
        "to": [EMAIL, "x"],
        "a/b": {"~": int(CARD)},
        EMAIL: 1,
        "float": float(CARD),
        "negative": -int(CARD),
        "small": 12,
    }
    clean = redact(value)
    assert clean.value == {
        "to": ["[EMAIL]", "x"],
        "a/b": {"~": "[CREDIT_CARD]"},
        "[EMAIL]": 1,
        "float": "[CREDIT_CARD]",
        "negative": "-[CREDIT_CARD]",
        "small": 12,
    }
    assert [(f.pointer, f.start, f.in_key) for f in clean.findings] == [
        ("/to/0", 0, False),
        ("/a~1b/~0", 0, False),
        ("/[EMAIL]", 0, True),
        ("/float", 0, False),
        ("/negative", 1, False),
    ]


def test_the_input_is_not_changed() -> None:
    value = {"to": [EMAIL]}
    redact(value)
    assert value == {"to": [EMAIL]}


def test_a_document_of_one_string_is_text_and_of_one_number_is_json() -> None:
    assert redact(EMAIL).findings[0].pointer is None
    assert redact(int(CARD)).findings[0].pointer == ""


def test_keys_that_a_mask_makes_equal_keep_their_values() -> None:
    value = {"a@example.com": 1, "[EMAIL]": 2, "b@example.com": {"c@example.com": 3}}
    clean = redact(value)
    assert clean.value == {"[EMAIL]~2": 1, "[EMAIL]": 2, "[EMAIL]~3": {"[EMAIL]": 3}}
    assert [finding.pointer for finding in clean.findings] == [
        "/[EMAIL]~02",
        "/[EMAIL]~03",
        "/[EMAIL]~03/[EMAIL]",
    ]
    assert redact(clean.value).value == clean.value


def test_a_dropped_number_is_null_and_a_dropped_key_is_empty() -> None:
    policy = RedactionPolicy({"credit_card": "drop", "email": "drop"})
    assert redact({"n": int(CARD), EMAIL: EMAIL}, policy).value == {"n": None, "": ""}


@pytest.mark.parametrize("number", [CARD, f"-{CARD}", f"{CARD}.0"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_json_in_strings_of_json_stays_json(number: str, levels: int) -> None:
    text = f'{{"note": {number}, "more": 1}}'
    for _ in range(levels):
        text = json.dumps({"x": text})
    for before in ("", "seen: "):
        value = redact(before + text).value.removeprefix(before)
        for _ in range(levels):
            value = json.loads(value)["x"]
        assert json.loads(value) == {"note": "[CREDIT_CARD]", "more": 1}


@pytest.mark.parametrize("quote", ["&quot;", "&#34;"])
def test_json_in_html_stays_json(quote: str) -> None:
    text = json.dumps({"a": int(CARD), "b": [-int(CARD)], "c": f"Tel.: {CARD}.0, ok"})
    written = redact(text.replace('"', quote)).value
    assert '"' not in written
    assert json.loads(written.replace(quote, '"')) == {
        "a": "[CREDIT_CARD]",
        "b": ["[CREDIT_CARD]"],
        "c": "Tel.: [CREDIT_CARD], ok",
    }
    inside = redact(f"<a x='{text.replace(chr(34), quote)}'>").value
    assert f"{{{quote}a{quote}: {quote}[CREDIT_CARD]{quote}, " in inside


@pytest.mark.parametrize(
    ("action", "written"), [("mask", '"[CREDIT_CARD]"'), ("partial", '"************1111"'), ("drop", "null")]
)
def test_json_text_inside_a_string_stays_json_text(action: Any, written: str) -> None:
    value = {"card": int(CARD), "list": [1, int(CARD), 2], "text": f"a\n{EMAIL}\n{IP}\t{CARD}\n"}
    text = json.dumps(value, indent=1)
    policy = RedactionPolicy({"credit_card": action})
    clean = json.loads(redact(text, policy).value)
    assert clean == redact(value, policy).value | {"card": json.loads(written)}


def test_the_key_above_a_value_is_context() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert redact({"SecretAccessKey": secret}).value == {"SecretAccessKey": "[SECRET]"}
    assert redact({"SecretAccessKey": [secret]}).value == {"SecretAccessKey": ["[SECRET]"]}
    assert redact({"digest": secret}).value == {"digest": secret}


def test_a_key_that_a_mask_turns_into_context_is_context() -> None:
    """The mask brings the two words close enough to name what stands below."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    clean = redact({"aws a.very.long.name@subdomain.example.com key": secret})
    assert clean.value == {"aws [EMAIL] key": "[SECRET]"}


def test_the_mask_of_a_secret_names_nothing() -> None:
    """``aws [SECRET]`` is not the name of what follows."""
    digest, token = "37d02377a3e9d849e18704c3ec883f9c5787d857", "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"
    assert redact(f"aws {token} {digest}").value == f"aws [SECRET] {digest}"
    assert redact({f"aws {token}": digest}).value == {"aws [SECRET]": digest}


def test_a_value_found_in_one_channel_is_redacted_in_every_channel() -> None:
    """An address is hidden by the word before it and a secret by its surroundings, but only there."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    clean = Redactor().redact_many(
        {
            "stderr": f"version {IP} and {secret}",
            "content": [{"type": "text", "text": f"host {IP}"}],
            "structuredContent": {"aws_secret": secret, "version": IP},
        }
    )
    assert clean["stderr"].value == "version [IP_ADDRESS] and [SECRET]"
    assert clean["content"].value == [{"type": "text", "text": "host [IP_ADDRESS]"}]
    assert clean["structuredContent"].value == {"aws_secret": "[SECRET]", "version": "[IP_ADDRESS]"}
    assert clean["stderr"].counts() == {"ip_address": 1, "secret": 1}


def test_a_redactor_knows_what_it_found_before() -> None:
    redactor = Redactor()
    assert redactor.redact(f"version {IP}").value == f"version {IP}"
    assert redactor.redact(f"host {IP}").value == "host [IP_ADDRESS]"
    assert redactor.redact(f"version {IP}").value == "version [IP_ADDRESS]"


def test_a_version_number_that_is_nobodys_address_stays() -> None:
    value = {"version": "1.2.3.4", "text": "Chrome/120.0.0.0, version 1.2.3.4"}
    assert redact(value).value == value


def test_configured_secrets_are_redacted_wherever_they_stand() -> None:
    secrets = ["correct horse", 'quo"te\nd', "7351", "x" * 100]
    redactor = Redactor(RedactionPolicy({"secret": "allow"}), secrets=secrets)
    clean = redactor.redact_many(
        {
            "text": "xcorrect horsey and 7351 and 17351",
            "json": {"pin": 7351, "correct horse": 1, "text": json.dumps({"a": 'quo"te\nd'})},
            "piece": "yyx" + "x" * 60,
        }
    )
    assert clean["text"].value == "x[SECRET]y and [SECRET] and 17351"
    assert clean["json"].value == {"pin": "[SECRET]", "[SECRET]": 1, "text": '{"a": "[SECRET]"}'}
    assert clean["piece"].value == "yy[SECRET]"
    assert {finding.rule for finding in clean["text"].findings} == {"user_config"}


def test_an_allowed_kind_passes_and_is_counted() -> None:
    clean = redact(f"{EMAIL} {IP}", RedactionPolicy({"email": "allow"}))
    assert clean.value == f"{EMAIL} [IP_ADDRESS]"
    assert clean.counts() == {"email": 1, "ip_address": 1}


def test_overlapping_findings_become_one() -> None:
    clean = redact(f"::ffff:192.0.2.1 root@[{IP}]")
    assert clean.value == "[IP_ADDRESS] [EMAIL]"
    assert clean.counts() == {"email": 1, "ip_address": 1}


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, {"a": -math.inf}, {1: "a"}, [b"bytes"], {"a": {1, 2}}, (1, 2), [10**5000]],
)
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        redact(value)
    assert caught.value.code == "privacy.not_json"


def test_nesting_is_bounded_by_a_clear_error() -> None:
    value: Any = EMAIL
    for _ in range(MAX_DEPTH):
        value = [value]
    assert redact(value).counts() == {"email": 1}
    with pytest.raises(UsageError) as caught:
        redact({"a": value})
    assert caught.value.code == "privacy.too_deep"


def test_the_document_that_is_printed_has_the_shape_of_the_contract() -> None:
    assert redact(EMAIL).to_json() == {
        "text": "[EMAIL]",
        "findings": [{"kind": "email", "start": 0, "end": 16, "score": 0.95}],
    }
    assert redact({EMAIL: "AKIAIOSFODNN7EXAMPLE"}).to_json() == {
        "value": {"[EMAIL]": "[SECRET]"},
        "findings": [
            {"kind": "email", "start": 0, "end": 16, "score": 0.95, "pointer": "/[EMAIL]", "in_key": True},
            {
                "kind": "secret",
                "start": 0,
                "end": 20,
                "score": 0.95,
                "pointer": "/[EMAIL]",
                "rule": "aws_access_key",
            },
        ],
    }


def test_what_a_dropped_value_kept_apart_is_masked_too() -> None:
    """With the secret between them gone, the halves are a card number. It is found where it stood."""
    redactor = Redactor(RedactionPolicy({"secret": "drop"}), secrets=["keep apart"])
    clean = redactor.redact("no 4111keep apart 1111 1111 1111.")
    assert clean.value == "no [CREDIT_CARD]."
    assert [(finding.kind, finding.start, finding.end) for finding in clean.findings] == [
        ("credit_card", 3, 32)
    ]


def test_a_mask_that_takes_the_end_of_a_key_block_away_leaves_nothing_of_it() -> None:
    """Without its end marker the block would be open, and the next string taken for more of it."""
    text = "-----BEGIN PRIVATE KEY----- -----END PRIVATE KEY-----@example.com"
    following = "QUFBQUFBQUFBQUFBQUFBQQ=="
    clean = redact([text, following])
    assert clean.value[1] == following
    assert redact(clean.value).value == clean.value


def test_a_dropped_line_of_a_key_does_not_read_as_a_blank_one() -> None:
    """A blank string leaves the block open, and what ended it would be gone."""
    policy = RedactionPolicy({"secret": "drop"})
    line = "QUFBQUFBQUFBQUFBQUFBQQ=="
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    clean = redact([begin, f"{line}\n{end}", line], policy)
    assert clean.value == [begin, "[SECRET]", line]
    assert redact(clean.value, policy).value == clean.value


def test_what_never_settles_is_masked_as_a_whole() -> None:
    """A configured secret that is part of every mask is found again in whatever replaces it."""
    clean = redact("my SECRET thing", secrets=["SECRET"])
    assert clean.value == "[SECRET]"
    assert [(finding.start, finding.end) for finding in clean.findings] == [(0, 15)]
