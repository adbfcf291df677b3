"""Strict JSON: what parsers disagree about, and what breaks them, is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.encoding import JsonError, json_dumps, json_loads

SIZE = 1 << 24

REFUSED: list[tuple[str, bytes | str, str]] = [
    ("nothing", "", "json.syntax"),
    ("half of it", '{"a": [1, 2', "json.syntax"),
    ("two texts", "1 2", "json.syntax"),
    ("a trailing comma", "[1,]", "json.syntax"),
    ("single quotes", "{'a': 1}", "json.syntax"),
    ("a comment", "1 // one", "json.syntax"),
    ("a leading zero", "01", "json.syntax"),
    ("a plus sign", "+1", "json.syntax"),
    ("a bare fraction", ".5", "json.syntax"),
    ("a control character in a string", '"\n"', "json.syntax"),
    ("an unknown escape", r'"\x41"', "json.syntax"),
    ("a byte order mark", "\ufeff1", "json.syntax"),
    ("a byte order mark in bytes", b"\xef\xbb\xbf1", "json.syntax"),
    ("UTF-16", '"a"'.encode("utf-16-le"), "json.syntax"),
    ("invalid UTF-8", b'"\xff"', "json.invalid_text"),
    ("an overlong form", b'"\xc0\xaf"', "json.invalid_text"),
    ("a lone surrogate in the text", '"\ud800"', "json.invalid_text"),
    ("an escaped high surrogate", r'"\ud800"', "json.surrogate"),
    ("an escaped low surrogate", r'"\uDFFF"', "json.surrogate"),
    ("an escaped surrogate in a key", r'{"\ud800": 1}', "json.surrogate"),
    ("surrogates the wrong way round", r'"\udc00\ud800"', "json.surrogate"),
    ("NaN", "NaN", "json.number"),
    ("infinity", "[Infinity]", "json.number"),
    ("minus infinity", '{"a": -Infinity}', "json.number"),
    ("infinity by overflow", "1e999", "json.number"),
    ("minus infinity by overflow", "-1e999", "json.number"),
    ("an integer of 309 digits", "9" * 309, "json.number"),
    ("an integer of a million digits", "9" * 1_000_000, "json.number"),
    ("a float of a million digits", "0." + "9" * 1_000_000, "json.number"),
    ("a key twice", '{"a": 1, "a": 1}', "json.duplicate_key"),
    ("a key twice, once escaped", r'{"a": 1, "\u0061": 2}', "json.duplicate_key"),
    ("a key twice, deep inside", '[{"b": {"a": 1, "c": 2, "a": 3}}]', "json.duplicate_key"),
    ("100,000 nested arrays", "[" * 100_000 + "]" * 100_000, "json.too_deep"),
    ("100,000 nested objects", '{"a":' * 100_000 + "1" + "}" * 100_000, "json.too_deep"),
    ("100,000 opened arrays", "[" * 100_000, "json.too_deep"),
    ("depth after strings full of brackets", '["]]]]","\\"]",' + "[" * 70 + "]" * 71, "json.too_deep"),
    ("brackets in a string that never ends", '"' + "[" * 1000, "json.syntax"),
    ("a million escaped quotes", '"' + '\\"' * 1_000_000, "json.syntax"),
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@pytest.mark.timeout(5)
def test_refused(data: bytes | str, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        json_loads(data, max_size=SIZE)
    assert caught.value.code == code


@given(json_values)
def test_round_trip(value: Any) -> None:
    text = json_dumps(value)
    assert json_loads(text, max_size=SIZE) == value
    assert json_loads(text.encode(), max_size=SIZE) == value
    assert json_dumps(json_loads(text, max_size=SIZE)) == text


@given(json_values)
def test_reads_what_the_standard_library_writes(value: Any) -> None:
    assert json_loads(json.dumps(value, indent=1), max_size=SIZE) == value


@given(st.text() | st.text(alphabet='[]{}",:\\1 '))
def test_agrees_with_the_standard_library_on_what_it_accepts(text: str) -> None:
    try:
        value = json_loads(text, max_size=SIZE)
    except JsonError:
        return
    assert value == json.loads(text)


def test_depth_counts_brackets_outside_of_strings_only() -> None:
    deep = "[" * 64 + "]" * 64
    assert json_loads(deep, max_size=SIZE)
    with pytest.raises(JsonError) as caught:
        json_loads(f"[{deep}]", max_size=SIZE)
    assert caught.value.code == "json.too_deep"
    wide = ["[" * 500, '"]\\', "{" * 500, *([] for _ in range(500))]
    assert json_loads(json.dumps(wide), max_size=SIZE) == wide
    assert json_loads("[[1]]", max_size=SIZE, max_depth=2) == [[1]]
    with pytest.raises(JsonError):
        json_loads("[[1]]", max_size=SIZE, max_depth=1)


@pytest.mark.parametrize("data", ['"äää"', '"äää"'.encode()])
def test_size_is_in_bytes(data: bytes | str) -> None:
    assert json_loads(data, max_size=8) == "äää"
    with pytest.raises(JsonError) as caught:
        json_loads(data, max_size=7)
    assert caught.value.code == "json.too_long"


def test_messages_never_quote_the_text() -> None:
    for text in (
        '{"SECRET": 1, "SECRET": 2}',
        '["SECRET',
        '{"SECRET" 1}',
        "SECRET",
        '"SECRET\ud800"',
        r'"SECRET\ud800"',
    ):
        with pytest.raises(JsonError) as caught:
            json_loads(text, max_size=SIZE)
        assert "SECRET" not in caught.value.message


def test_numbers_keep_their_type_and_value() -> None:
    text = "[1, 1.0, -0.0, 1e2, 12345678901234567890123, 0.1]"
    value = json_loads(text, max_size=SIZE)
    assert [type(number) for number in value] == [int, float, float, float, int, float]
    assert json_dumps(value) == "[1,1.0,-0.0,100.0,12345678901234567890123,0.1]"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, object(), "\ud800", {"\udfff": 1}], ids=repr
)
def test_what_json_has_not_is_not_written(value: Any) -> None:
    with pytest.raises(JsonError):
        json_dumps([value])


def test_canonical_form() -> None:
    assert json_dumps({"b": [1, None, True], "a": "ü\n", "Z": {}}) == '{"Z":{},"a":"ü\\n","b":[1,null,true]}'
