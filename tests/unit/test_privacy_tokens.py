"""Every published token format, from a vector made of its own grammar; and what only looks like one.

The vectors are made while the test runs, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from itertools import count
from typing import Any

import pytest

from mpp_exec.privacy import tokens
from mpp_exec.privacy.redact import redact

FORMATS = [
    pytest.param(rule, prefix, body, id=f"{rule} {prefix}")
    for rule, prefixes, body, _source in tokens.FORMATS
    for prefix in prefixes.split()
]
# Tokens of which a part stands before what they are searched by.
HEADS = {
    "Q~": "abC1",
    ".atlasv1.": "q7Rk2Zp9Lw4Xv8",
    ".tines.com/webhook/": "some-team",
    ".webhook.office.com/webhookb2/": "some-team",
    "ik_": "hcx",
    "ic_": "hcx",
    "mk_": "hcx",
    "_mmk": "abC123_" + "q7Rk2Zp9Lw4Xv8" * 2 + "T",
    "AZDO": "q7Rk2Zp9Lw4Xv8" * 5 + "Tn3Bc6",
    **dict.fromkeys(("JQQJ99", "JQQJ9D", "JQQJ9H"), "q7Rk2Zp9Lw4Xv8" * 3 + "Tn3Bc6Hd2K"),
    "AzFu": "q7Rk2Zp9Lw4Xv8" * 3 + "Tn",
    **dict.fromkeys(("AzSe", "+ACR"), "q7Rk2Zp9Lw4Xv8" * 3),
    **dict.fromkeys(("+ARm", "+AEh", "+ASb", "AIoT", "AzCa", "AZEG"), "q7Rk2Zp9Lw4Xv8" * 2 + "Tn3Bc"),
    **dict.fromkeys(("+ASt", "ACDb", "+ABa", "+AMC", "APIM"), "q7Rk2Zp9Lw4Xv8" * 5 + "Tn3Bc6"),
}


def vector(body: str) -> str:
    """Return the shortest string of a grammar, in which neighbours differ."""
    numbers = count(5, 7)
    return "".join(_made(sre_parser.parse(body), numbers))


def _made(parsed: Any, numbers: Any) -> list[str]:
    made: list[str] = []
    for operation, argument in parsed:
        if operation is sre.LITERAL:
            made.append(chr(argument))
        elif operation is sre.IN:
            allowed = _allowed(argument)
            made.append(allowed[next(numbers) % len(allowed)])
        elif operation is sre.MAX_REPEAT:
            for _ in range(argument[0]):
                made += _made(argument[2], numbers)
        elif operation is sre.BRANCH:
            made += _made(argument[1][0], numbers)
        elif operation is sre.SUBPATTERN:
            made += _made(argument[3], numbers)
        else:
            assert operation in (sre.ASSERT, sre.ASSERT_NOT), operation
    return made


def _allowed(ranges: Any) -> str:
    found = ""
    for operation, argument in ranges:
        found += (
            "".join(map(chr, range(argument[0], argument[1] + 1)))
            if operation is sre.RANGE
            else chr(argument)
        )
    return "".join(sorted(character for character in found if character.isalnum())) or found


@pytest.mark.parametrize(("rule", "prefix", "body"), FORMATS)
def test_a_token_is_found_to_its_edges(rule: str, prefix: str, body: str) -> None:
    token = HEADS.get(prefix, "") + prefix + vector(body)
    for text in (token, f"use {token}, please", f'x="{token}"', rf"a\n{token}\n", f"t%3D{token}&x=1"):
        clean = redact(text)
        assert token not in clean.value, text
        assert all(finding.kind == "secret" for finding in clean.findings)
    assert [finding.rule for finding in redact(f"use {token} now").findings] == [rule]


@pytest.mark.parametrize(("rule", "prefix"), [each.values[:2] for each in FORMATS])
def test_a_prefix_alone_is_left_alone(rule: str, prefix: str) -> None:
    for text in (prefix, f"tokens start with {prefix} here", f"{prefix}short"):
        assert rule not in {finding.rule for finding in redact(text).findings}


def test_every_format_names_where_it_is_published() -> None:
    assert all("." in source and " " not in source for *_, source in tokens.FORMATS)


@pytest.mark.parametrize(
    "text",
    [
        "sk" + "_live_" + "x" * 24,
        "gl" + "pat-" + "*" * 20,
        "npm" + "_" + "x" * 36,
        "disk_live_" + "q7Rk2Zp9Lw4Xv8Tn3Bc6",
        "task-" + "user-interface-components-list",
    ],
)
def test_a_placeholder_and_the_inside_of_a_word_are_left_alone(text: str) -> None:
    assert redact(text).findings == ()


def test_tokens_without_a_prefix() -> None:
    letters = "q7Rk2Zp9Lw4Xv8Tn3Bc6Hd1Jf5Gs0MyAeUiOqWrTyP"
    hexadecimal = "9f86d081884c7d659a2feaa0c55ad015"
    for token, rule in (
        ("110201543:AA" + letters[:33], "telegram_token"),
        ("M" + letters[:23] + "." + letters[3:9] + "." + letters[:27], "discord_token"),
        (hexadecimal + "-us12", "mailchimp_key"),
        ("SK" + hexadecimal, "twilio_key"),
        (hexadecimal + "abcd" + "NRAL", "newrelic_key"),
        ("$2b" + "$12$" + (letters * 2)[:53], "password_hash"),
    ):
        assert [finding.rule for finding in redact(f"see {token} here").findings] == [rule]


LETTERS = "q7Rk2Zp9Lw4Xv8Tn3Bc6Hd1Jf5Gs0MyAeUiOqWrTyP"
HEX = "9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015"


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        ("dp.st" + ".dev_personal." + LETTERS[:43], "doppler_token"),
        ("dp.said" + "." + LETTERS[:40], "doppler_token"),
        ("sgp" + "_SourcegraphEu1_" + HEX[:40], "sourcegraph_token"),
        ("AGE-SECRET" + "-KEY-PQ-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2, "age_secret_key"),
        ("tr_prod" + "_sk_" + LETTERS[:24], "trigger_dev_key"),
        ("cio" + "_tp_" + LETTERS[:32], "cargo_token"),
        ("sk_org" + "_live_" + LETTERS[:24], "stripe_key"),
        ("glwt" + "-" + LETTERS[:20], "gitlab_token"),
        ((LETTERS * 2)[:76] + "+ASt" + LETTERS[:5] + "Q==", "azure_identifiable_key"),
    ],
)
def test_the_other_forms_that_a_provider_gives_a_token(token: str, rule: str) -> None:
    clean = redact(f"it is {token} now")
    assert clean.value == "it is [SECRET] now"
    assert [finding.rule for finding in clean.findings] == [rule]


@pytest.mark.parametrize(
    "text",
    [
        "data:font/woff2;base64," + (LETTERS * 3)[:90] + "AIoT" + (LETTERS * 3)[:90],
        "see " + (LETTERS * 2)[:40] + "AzSeQ" + LETTERS[:5],
        "tr_prod_environment_variables and tr_dev_mode_is_the_default_of_it",
        "unkey_verify_permissions_of_somebody dvc_server_sdk_configuration_value",
        "API-GATEWAYCONFIGURATIONDOCUMENT ory_at_the_very_end_of_the_sentence_here",
        "sat.temperature.reading pat.example.org secret-live-" + "a" * 7,
    ],
)
def test_names_that_begin_like_a_token_are_left_alone(text: str) -> None:
    formats = {rule for rule, *_ in tokens.FORMATS}
    assert not {finding.rule for finding in redact(text).findings} & formats
