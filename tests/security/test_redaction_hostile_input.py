"""Input made to keep the engine busy. Work must grow with the input, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from mpp_exec.errors import UsageError
from mpp_exec.privacy import meter
from mpp_exec.privacy.redact import Redactor, redact

SMALL, FACTOR = 1 << 14, 16
# Linear work grows by FACTOR, quadratic by its square. What lies between leaves room for a busy machine.
BOUND = FACTOR**1.5

REPEATED = {
    "beginnings of arrays": '["',
    "beginnings of arrays with a value": '["a",[x',
    "digits": "4",
    "spaced digits": "4 ",
    "pairs of digits": "41 ",
    "almost cards": "4111 1111 1111 1112 ",
    "cards": "4111 1111 1111 1111 ",
    "groups of four": "4111 ",
    "at signs": "@",
    "a@": "a@",
    "a@a.": "a@a.",
    "labels": "a.",
    "letters": "aaaaaaaa",
    "addresses": "a@b.cc ",
    "dots": ".",
    "octets": "1.",
    "versions": "version 1.1.1.1 ",
    "colons": ":",
    "pairs of colons": "a::b ",
    "groups": "ffff:",
    "begin markers": "-----BEGIN PRIVATE KEY-----",
    "half markers": "-----BEGIN ",
    "end markers": "-----END PRIVATE KEY-----",
    "dashes": "-",
    "cut off keys": "-----BEGIN PRIVATE KEY-----\nMIIEMIIEMIIEMIIEMIIEMIIEMIIEMIIEMIIEMIIEMIIEMIIE\n",
    "base64": "MIIEowIBAAKCAQEA+/",
    "token starts": "eyJ",
    "token parts": "eyJ.",
    "headers": "eyJhbGciOiJIUzI1NiJ9.",
    "tokens": "eyJhbGciOiJIUzI1NiJ9.e30.x ",
    "key id starts": "AKIA",
    "key ids": "AKIAIOSFODNN7EXAMPLE ",
    "secret keys": "aws secret key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ",
    "github starts": "ghp_",
    "github dots": "ghs_.",
    "check digits": "DE89 ",
    "almost ibans": "DE89 3704 0044 0532 0130 01 ",
    "zero-width": "4\u200b",
    "full-width": "\uff14\uff11",
    "backslashes": "\\",
    "escapes": "\\n",
    "percent": "%3D",
    "unicode addresses": "é@é.é",
    "spaces and cards": " 4111111111111111,",
    "announced numbers": "ssn 219 09 1234 ",
    "announcements": "phone number is ",
    "announcements of nothing": "ssn",
    "separated digits": "1-",
    "pluses": "+1",
    "numbers with a plus": "+1 212 555 0199 ",
    "dates of birth": "dob 1 jan 1970 ",
    "names": "Name: Ann Lee\n",
    "addresses behind labels": "Address: 1 Long Road ",
    "one long address": "Address: 1 " + "a " * 80,
    "passwords": "password=hunter22 ",
    "quotes that never close": 'password = "',
    "keys": "key ",
    "joined keys": "key_",
    "expressions": "token = a.b.c.d.e(",
    "underscores": "secret: " + "_" * 64 + "1 ",
    "credentials": "://a:b@",
    "colons and slashes": "://",
    "prefixes": "sk_live_",
    "token like": "AAAAAAAAAAAAAAAAAAAAA",
    "hexadecimal pairs": "aa:bb:cc:dd:ee:ff ",
    "pairs without end": "aa:",
    "look-alike digits": "1O",
    "look-alike letters": "\u0430b ",
    "wallets": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa ",
    "vehicles": "1M8GDM9AXKP042788 ",
    "masks": "[SECRET]: ",
    "percent escapes": "a%40b.cc ",
    "escapes of nothing": "%41",
    "base64 of values": "YUBiLmNjIGFAYi5jYyBhQGIuY2M= ",
    "base64 of words": "anVzdCBzb21lIHBsYWluIHdvcmRz ",
    "table headers": "\n\nssn,name\n",
    "delimiters": ",\n",
    "emphasis": "a*",
    "tags": "a1<b>",
    "tags that never close": "a1<b ",
    "escaped signs": "a\\_",
    "random strings": "a1B2c3D4e5",
    "random strings with names": "x=a1B2c3D4e5F6g7H8i9J0 ",
    "told passwords": "password of ",
    "tabs": "4111\t",
    "national numbers": "529.982.247-25 ",
    "almost national numbers": "529.982.247-26 ",
    "words that announce identifiers": "id number ",
    "cyrillic words": "\u0440\u0430ssword ",
}


def _distinct(count: int) -> str:
    """Return *count* base64 tokens of 40 characters, all different and with a common start."""
    return "\n".join(f"aws_secret_key={'aB3' * 10}{number:010d}" for number in range(count))


def _repeat(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


MADE: dict[str, Callable[[int], Any]] = {
    **{name: partial(_repeat, unit) for name, unit in REPEATED.items()},
    "one long key": lambda size: "-----BEGIN PRIVATE KEY-----\n" + "A" * size + "!",
    "leading space": lambda size: " " * (size // 2) + "[" + "4111111111111111," * (size // 34),
    "many secrets": lambda size: _distinct(size // 56),
    "many secrets in many strings": lambda size: _distinct(size // 56).split("\n"),
    "many announced values": lambda size: [{"ssn": str(10**8 + number)} for number in range(size // 24)],
    "many names that start alike": lambda size: [
        {"full_name": f"Ann {'b' * (n % 90 + 1)}"} for n in range(size // 60)
    ],
    "many secrets under keys": lambda size: [
        {"token": f"tokEn{number:014d}Xyz"} for number in range(size // 40)
    ],
    "a long table": lambda size: "id,ssn,phone\n" + "1,241558820,4776186870\n" * (size // 24),
    "a wide table": lambda size: ("ssn," * 100 + "\n") + ("1," * 100 + "\n") * (size // 200),
    "many keys made equal": lambda size: {f"a{number}@b.cc": 1 for number in range(size // 16)},
    "many small numbers": lambda size: list(range(size // 8)),
    "a wide tree": lambda size: [{"a": {"b": [{}]}}] * (size // 32),
}


def _seconds(value: Any) -> float:
    start = time.process_time()
    redact(value)
    return time.process_time() - start


@pytest.mark.parametrize("made", MADE)
def test_work_is_linear_in_the_size_of(made: str) -> None:
    small = min(_seconds(MADE[made](SMALL)) for _ in range(3))
    bound = BOUND * max(small, 0.002)
    # The best of some: a loaded machine only ever adds to the time of work that is linear.
    assert any(_seconds(MADE[made](SMALL * FACTOR)) < bound for _ in range(4))


PART: Final = 1 << 10
PARTS: Final = 64


@pytest.mark.parametrize("unit", ["4", "1 ", "1.", "\u200bj", "\u0440\u0430ss ", "ж"], ids=ascii)
def test_who_may_end_it_is_asked_all_along(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No search goes over all of a text at once: nobody could end it, and no other thread would run."""
    monkeypatch.setattr(meter, "_LARGE", PART)
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return False

    bounds = meter.Bounds(PARTS * PART, 600, time.thread_time, cancelled)
    Redactor(bounds=bounds).redact(_repeat(unit, PARTS * PART))
    assert asked >= PARTS // 2


@pytest.mark.parametrize("part", [8, 9, 64])
def test_what_is_read_in_parts_reads_the_same(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        f"{'9' * before}{value}{behind}"
        for value in (" 4111 1111 1111 1111", " 4111111111111111", "\u200bj\u0430ne@ex\u200bample.com")
        for before in range(24)
        for behind in ("", " 4", "9" * 40, "x", " and 5500005555555559")
    ]
    whole = [redact(text).value for text in texts]
    monkeypatch.setattr(meter, "_LARGE", part)
    monkeypatch.setattr(meter, "_REACH", 64)
    assert [redact(text).value for text in texts] == whole


def test_nesting_beyond_the_bound_is_an_error_not_a_crash() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UsageError) as caught:
        redact(value)
    assert caught.value.code == "privacy.too_deep"
    while value:  # taken apart here: freeing it at once would recurse in the interpreter
        value = value[0]


def test_a_value_that_holds_itself_is_an_error_not_a_crash() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UsageError) as caught:
        redact(value)
    assert caught.value.code == "privacy.too_deep"
