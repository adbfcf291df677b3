"""A value that was found in one place is redacted in every other, however many there are."""

from __future__ import annotations

import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_exec.privacy.beginnings import Beginnings
from mpp_exec.privacy.redact import redact

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_people_who_are_called_alike_are_known_elsewhere_too() -> None:
    """Only sixteen lengths behind each first word were looked for."""
    names = [f"Maria {LETTERS[: 3 + extra].title()}" for extra in range(20)]
    note = "; ".join(f"{name} was there" for name in names)
    clean = redact({"people": [{"full_name": name} for name in names], "note": note})
    assert "Maria" not in str(clean.value)


def test_passwords_that_begin_alike_are_known_elsewhere_too() -> None:
    passwords = [f".kQ7x!z9Lw4Xv8Tn3Bc6Rt5{LETTERS}"[: 5 + extra] for extra in range(30)]
    value = {
        "accounts": [{"password": each} for each in passwords],
        "others": [{"password": f"Zq{number}!kettle{number * 7}"} for number in range(80)],
        "note": " ; ".join(f"<{each}>" for each in passwords),
    }
    clean = redact(value).value
    assert clean["note"] == " ; ".join(["<[SECRET]>"] * len(passwords))


def test_a_secret_inside_a_longer_word_is_found_among_many() -> None:
    """It was where up to 64 values were known, and not where there were more."""
    made = random.Random(7)
    secrets = ["".join(made.choices(string.ascii_letters, k=17)) + f"{number:03}" for number in range(100)]
    value = {
        "keys": [{"api_key": each} for each in secrets],
        "log": "".join(f"x{each}y " for each in secrets),
    }
    assert not any(each in str(redact(value).value) for each in secrets)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("customer_name", "Jürgen Müller"),
        ("customer_name", "Łukasz Nowak"),
        ("password", 'pä"ssw\\örd9!'),
        ("api_key", 'kä"y-0192837465'),
    ],
)
def test_a_value_that_json_in_a_text_escapes_is_known_as_it_reads(key: str, value: str) -> None:
    """And the other way round, as deep as JSON in JSON."""
    written = json.dumps({key: value})
    for text in (f"{written}\nhello {value}!", f"hello {value}!\n{written}"):
        assert value not in redact(text).value
    clean = redact({key: value, "log": json.dumps({"line": json.dumps({"said": f"hello {value}"})})}).value
    assert json.loads(json.loads(clean["log"])["line"])["said"].startswith("hello [")


@pytest.mark.parametrize(
    "text",
    [
        'password="{}";',
        'config:\n  password: "{}"\n',
        '{{"a": 1, "password": "{}", "cut": [1, 2',  # no JSON, which would be read by its keys
        'log {{"body": "{{\\"password\\": \\"{}\\", ',
    ],
)
def test_a_secret_behind_a_quote_that_is_escaped_is_one_with_what_is_before_it(text: str) -> None:
    """It ended at the quote, was too short to be one, and all of it was left."""
    level = 3 if "\\" in text else 1
    clean = redact(text.replace("{}", "pa" + "\\" * level + '"ssw0rd9x').replace("{{", "{")).value
    assert clean == text.replace("{}", "[SECRET]").replace("{{", "{")


def test_json_below_the_name_of_a_secret_stays_json() -> None:
    text = json.dumps({"password": json.dumps([[{"account": "x"}]])})
    assert json.loads(redact(text).value)


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.text("ab", min_size=1, max_size=5) | st.text("a", min_size=60, max_size=70), max_size=30),
    st.text("ab", max_size=80),
)
def test_beginnings_are_those_that_each_string_by_itself_would_be(members: set[str], text: str) -> None:
    beginnings = Beginnings()
    for member in sorted(members):
        beginnings.add(member)
    for start in range(len(text)):
        wanted = sorted((each for each in members if text.startswith(each, start)), key=len, reverse=True)
        assert list(beginnings.at(text, start)) == wanted
