"""Secrets, by their providers' published formats. None of the values here opens anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from mpp_exec.privacy import rules
from mpp_exec.privacy.detect import detect
from mpp_exec.privacy.finding import Candidate
from one_detector import alone

private_keys, github_tokens, jwts = alone(rules.private_keys), alone(rules.github_tokens), alone(rules.jwts)
aws_key_ids, aws_secret_keys = alone(rules.aws_key_ids), alone(rules.aws_secret_keys)

LINES = [base64.b64encode(bytes(range(start, start + 48))).decode() for start in range(0, 96, 24)]
BODY = "\n".join([*LINES, "c2hvcnQ="])
AWS_ID = "AKIAIOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
GITHUB = "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"


def pem(label: str, body: str = BODY) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def jwt(header: object, *rest: str) -> str:
    return ".".join([part(header), *rest])


def _texts(text: str, candidates: list[Candidate]) -> list[str]:
    return [text[candidate.start : candidate.end] for candidate in candidates]


@pytest.mark.parametrize(
    "label",
    [
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "DSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ],
)
def test_a_private_key_block_is_found_from_marker_to_marker(label: str) -> None:
    block = pem(label)
    text = f"key:\n{block}\nend"
    assert _texts(text, private_keys(text)) == [block]


@pytest.mark.parametrize(
    "write",
    [
        lambda block: block.replace("\n", "\r\n"),
        lambda block: block.replace("\n", r"\n"),
        lambda block: block.replace("\n", r"\\n"),
        lambda block: block.replace("\n", " "),
        lambda block: block.replace("\n", ""),
        lambda block: block.replace("\n", "\n    "),
        lambda block: block.replace("\n", '" +\n"'),
        lambda block: block.replace("\n", "\nid_rsa:7:"),
        lambda block: block.replace("-----", "\u2014\u2014"),
    ],
)
def test_a_private_key_block_is_found_however_its_lines_are_joined(
    write: Callable[[str], str],
) -> None:
    block = write(pem("RSA PRIVATE KEY"))
    text = f"a {block} b"
    assert [(c.start, c.end) for c in detect(text)] == [(2, 2 + len(block))]


def test_armor_headers_are_part_of_the_block() -> None:
    block = pem("RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{BODY}")
    for text in (block, block.partition("-----END")[0].rstrip()):
        assert _texts(text, private_keys(text)) == [text]


@pytest.mark.parametrize(
    ("tail", "cut"),
    [("", ""), ("\n[truncated]", "\n[truncated]"), ("\n\nNext file:\nabc", "\n\nNext file:\nabc")],
)
def test_a_block_whose_end_is_cut_off_is_found_as_far_as_it_goes(tail: str, cut: str) -> None:
    block = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}"
    text = block + tail
    assert _texts(text, private_keys(text)) == [text.removesuffix(cut)]


def test_a_block_cut_off_in_a_line_takes_the_stump() -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{LINES[0]}\n{LINES[1][:11]}"
    assert _texts(text, private_keys(text)) == [text]


def test_two_blocks_of_which_the_first_is_cut_off_are_two_findings() -> None:
    cut = f"-----BEGIN PRIVATE KEY-----\n{BODY}"
    text = f"{cut}\nand\n{pem('EC PRIVATE KEY')}"
    assert _texts(text, private_keys(text)) == [cut, pem("EC PRIVATE KEY")]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY----------END OPENSSH PRIVATE KEY-----",
        "look for -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----",
        "starts with -----BEGIN PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\n" + BODY + "\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\n" + BODY,
        "PRIVATE KEY\n" + BODY,
    ],
)
def test_markers_without_key_material_are_left_alone(text: str) -> None:
    assert private_keys(text) == []


@pytest.mark.parametrize("prefix", ["AKIA", "ASIA", "ABIA", "ACCA", "A3TX"])
def test_an_aws_access_key_id_is_found(prefix: str) -> None:
    key_id = prefix + AWS_ID[4:]
    for text in (key_id, f"id={key_id},", rf"\n{key_id}\n", f"?AWSAccessKeyId%3D{key_id}"):
        assert _texts(text, aws_key_ids(text)) == [key_id]


@pytest.mark.parametrize(
    "text",
    ["AKIA" + "X" * 16, AWS_ID[:-1], AWS_ID + "A", "x" + AWS_ID, AWS_ID.lower(), "AROAIOSFODNN7EXAMPLE"],
)
def test_what_is_no_aws_access_key_id_is_left_alone(text: str) -> None:
    assert aws_key_ids(text) == []


@pytest.mark.parametrize(
    "before",
    [
        "aws_secret_access_key = ",
        "AWS_SECRET_ACCESS_KEY=",
        'export AWS_SECRET_ACCESS_KEY="',
        '"secretAccessKey": "',
        "aws.secretkey=",
        "AWS secret: ",
        "Secret access key\n",
        f"{AWS_ID},",
        f"{AWS_ID}:",
    ],
)
def test_an_aws_secret_access_key_is_found_by_what_stands_before_it(before: str) -> None:
    text = f"{before}{AWS_SECRET}\n"
    assert AWS_SECRET in _texts(text, aws_secret_keys(text))


def test_an_aws_secret_access_key_is_found_by_its_json_key() -> None:
    for key in ("SecretAccessKey", "aws_secret", "awsSecretKey"):
        assert rules.names_aws_secret(key)
        assert AWS_SECRET in _texts(AWS_SECRET, detect(AWS_SECRET, key))
    assert detect(AWS_SECRET, "checksum") == []


@pytest.mark.parametrize(
    "text",
    [
        AWS_SECRET,
        f"aws_secret_access_key = {AWS_SECRET}x",
        f"the secret is out: {AWS_SECRET}",
        f"{AWS_ID} commit 37d02377a3e9d849e18704c3ec883f9c5787d857",
        f"{AWS_ID} {'word ' * 60}{AWS_SECRET}",
    ],
)
def test_forty_characters_alone_are_left_alone(text: str) -> None:
    assert aws_secret_keys(text) == []


@pytest.mark.parametrize(
    "token",
    [
        GITHUB,
        "gho_" + GITHUB[4:],
        "ghu_" + GITHUB[4:],
        "ghs_" + GITHUB[4:],
        "ghr_" + GITHUB[4:] * 2,
        "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",
        "ghs_123456_" + jwt({"alg": "RS256"}, "a" * 300, "b-_" * 60 + "c"),
    ],
)
def test_a_github_token_is_found_to_its_edges(token: str) -> None:
    for text in (token, f"https://{token}@github.com/", f"is {token}.", f"t%3D{token}&"):
        assert _texts(text, github_tokens(text)) == [token]


@pytest.mark.parametrize("text", ["ghp_" + "x" * 36, GITHUB[:-1], "foo_" + GITHUB[4:], "ghx_" + GITHUB[4:]])
def test_what_is_no_github_token_is_left_alone(text: str) -> None:
    assert github_tokens(text) == []


@pytest.mark.parametrize(
    "token",
    [
        jwt({"alg": "HS256", "typ": "JWT"}, part({"sub": "1"}), "c2lnbmF0dXJl"),
        jwt({"typ": "JWT", "alg": "none"}, part({"sub": "1"}), ""),
        jwt({"alg": "HS256"}, part({"sub": "1"})),
        jwt({"alg": "RSA-OAEP", "enc": "A256GCM"}, "a2V5", "aXY", "Y2lwaGVy", "dGFn"),
        jwt({"alg": "dir", "enc": "A256GCM"}, "", "aXY", "Y2lwaGVy", "dGFn"),
        jwt({"alg": "RS256", "x5c": ["M" * 4000]}, part({"sub": "1"}), "c2ln"),
    ],
)
def test_a_json_web_token_is_found_to_its_edges(token: str) -> None:
    for text in (token, f"Bearer {token}, ", f"?t={token}&x", f"name_{token}"):
        assert _texts(text, jwts(text)) == [token]


@pytest.mark.parametrize(
    "text",
    [
        part({"alg": "HS256"}),
        "bm90X2pzb24.bm90X2pzb24.c2ln",
        jwt({"typ": "JWT"}, part({"alg": 1}), "c2ln"),
        "eyJAAAA.eyJBBB",
        "eyJBB.eyJCC.eyJDDDD",
        part({"alg": "HS256"}) + ".jpg",
        "eyJ.eyJ.eyJ",
    ],
)
def test_what_is_no_json_web_token_is_left_alone(text: str) -> None:
    assert jwts(text) == []
