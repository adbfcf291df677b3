"""A value that a tool was handed, written in one level of some encoding, one way per test."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from mpp_exec.privacy.redact import Redactor, redact

SECRET = "p@ss/word+1&x=Zq9"
SPACED = 'open "sesame" é\\n 7'


def _hidden(text: str, secret: str) -> str:
    """Redact and return *text*, which must not be left as it is."""
    clean = redact({"x": text}, secrets=[secret])
    assert clean.counts().get("secret"), clean.value
    written: str = clean.value["x"]
    return written


def _every(form: str) -> Callable[[str], str]:
    return lambda secret: "".join(form.format(ord(character)) for character in secret)


def _decoded(text: str) -> bytes:
    """Return what all of *text* is in base64, read from each of its first characters."""
    letters = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    cut = (letters[start : len(letters) - (len(letters) - start) % 4] for start in range(4))
    return b" ".join(base64.b64decode(part) for part in cut)


@pytest.mark.parametrize("secret", [SECRET, SPACED, "hunter2", "пароль-для-всех"])
@pytest.mark.parametrize(
    "write",
    [
        lambda secret: quote(secret, safe=""),
        quote,
        lambda secret: quote(secret, safe="").lower() if secret.isascii() else quote(secret),
        quote_plus,
        lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
        json.dumps,
        lambda secret: json.dumps(secret, ensure_ascii=False),
        lambda secret: json.dumps(secret).replace("/", "\\/"),
        repr,
        lambda secret: repr(secret.encode()),
        _every("\\u{0:04x}"),
        _every("\\u{0:04X}"),
        _every("\\U{0:08x}"),
        _every("&#{0};"),
        _every("&#x{0:x};"),
        html.escape,
        shlex.quote,
        lambda secret: "".join(f"\\{c}" if not c.isalnum() else c for c in secret),
        lambda secret: secret.encode().hex(),
        lambda secret: secret.encode().hex().upper(),
    ],
)
def test_a_configured_secret_in_escapes(write: Callable[[str], str], secret: str) -> None:
    if secret == SECRET and write(secret) == write(secret).lower() == quote(secret, safe="").lower():
        secret = SECRET.lower()  # its escapes are in lower case, not its letters
    written = write(secret)
    clean = _hidden(f"https://h.example/?q=1&p={written}", secret)
    assert not any(
        part in clean for part in (written, written[: len(written) // 2], written[len(written) // 2 :])
    )


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "b", "bo", "bob", "bob:"])
@pytest.mark.parametrize("after", ["", "!", '"}', ", 0123456789"])
@pytest.mark.parametrize("secret", [SECRET, SPACED, "hunter2"])
def test_a_configured_secret_in_base64_of_a_text_around_it(
    encode: Callable[[bytes], bytes], before: str, after: str, secret: str
) -> None:
    written = encode(f"{before}{secret}{after}".encode()).decode()
    for text in (written, written.rstrip("="), f"Authorization: Basic {written}"):
        clean = _hidden(text, secret)
        rest = clean.replace("Authorization: Basic ", "").split("[SECRET]")
        for piece in rest:
            assert not any(secret[at : at + 3].encode() in _decoded(piece) for at in range(len(secret) - 2))


def test_a_configured_secret_in_base64_that_is_broken_into_lines() -> None:
    for before in range(0, 120, 7):
        written = base64.encodebytes(b"x" * before + SECRET.encode() + b"y" * 90).decode()
        for text in (written, written.replace("\n", "\r\n"), f"Secret:\n{written}end"):
            clean = _hidden(text, SECRET)
            for piece in clean.removeprefix("Secret:").removesuffix("end").split("[SECRET]"):
                assert not any(part in _decoded(piece) for part in (b"p@ss", b"word", b"Zq9"))


def test_a_member_of_a_configured_secret_that_is_a_json_document() -> None:
    """A service account's file, returned parsed."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 3 + "-----END PRIVATE KEY-----\n"
    document = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "private_key": key,
        "password": "tr0ub4dor",
        "auth_uri": "https://accounts.example.com/o/oauth2/auth",
    }
    secret = json.dumps(document, indent=2)
    clean = redact(["the key is", document["private_key_id"], "tr0ub4dor", key], secrets=[secret]).value
    assert clean == ["the key is", "[SECRET]", "[SECRET]", "[SECRET]"]
    plain = ["service_account", "shop", "https://accounts.example.com/o/oauth2/auth"]
    assert redact(plain, secrets=[secret]).value == plain


def test_the_password_of_a_configured_url() -> None:
    secret = "postgres://shop:hunter2hunter2@db.example/shop"
    assert redact("it is hunter2hunter2", secrets=[secret]).value == "it is [SECRET]"


def test_a_short_configured_secret_with_a_letter_in_front() -> None:
    assert redact("xhunter2 or hunter2y", secrets=["hunter2"]).value == "x[SECRET] or [SECRET]y"
    assert redact("passage of apes", secrets=["ape", "pass"]).findings == ()


@pytest.mark.parametrize("write", [quote, lambda value: base64.b64encode(value.encode()).decode()])
def test_what_stood_behind_a_token_in_an_encoding(write: Callable[[str], str]) -> None:
    value = "Jane Q. Doe, 5 Main St"
    redactor = Redactor(received=[("address", value)])
    assert redactor.redact(f"x {write(value)} y").counts() == {"address": 1}


def test_a_configured_secret_as_a_key_and_a_number() -> None:
    clean = redact({quote(SECRET, safe=""): 1, "n": 12345678}, secrets=[SECRET, "12345678"]).value
    assert clean == {"[SECRET]": 1, "n": "[SECRET]"}


def test_encodings_of_other_things_stay() -> None:
    texts = [
        base64.b64encode(b"nothing of anybody's is in this sentence").decode(),
        quote("a path/with spaces & more"),
        "C:\\new\\table\\x41",
        b"nothing".hex(),
    ]
    assert redact(texts, secrets=[SECRET]).findings == ()
