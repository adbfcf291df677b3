"""KEY=VALUE words become the one JSON value that the schema lets them be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.cli.arguments import read_arguments, split_words
from mpp_exec.errors import UsageError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "names": {"type": "array"},
        "where": {"type": "object"},
        "nothing": {"type": "null"},
        "either": {"type": ["integer", "string", "null"]},
        "level": {"enum": [1, 2, "high"]},
        "fixed": {"const": True},
        "any": {},
        "shared": {"$ref": "#/$defs/size"},
        "escaped": {"$ref": "#/$defs/a~1b"},
        "remote": {"$ref": "https://example.com/schema"},
        "loop": {"$ref": "#/properties/loop"},
        "one": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        "open": {"oneOf": [{"type": "integer"}, {}]},
    },
    "$defs": {"size": {"type": "integer"}, "a/b": {"type": "string"}},
}


def read(key: str, word: str, schema: dict[str, Any] | None = None) -> Any:
    return read_arguments(None, [(key, word)], SCHEMA if schema is None else schema)[key]


@pytest.mark.parametrize(
    ("key", "word", "value"),
    [
        ("text", "5", "5"),
        ("text", "true", "true"),
        ("text", "", ""),
        ("text", "a=b=c", "a=b=c"),
        ("text", '"quoted"', '"quoted"'),
        ("count", "5", 5),
        ("count", "-5", -5),
        ("count", "123456789012345678901234567890", 123456789012345678901234567890),
        ("ratio", "5", 5),
        ("ratio", "0.5", 0.5),
        ("ratio", "-1e3", -1000.0),
        ("deep", "true", True),
        ("deep", "false", False),
        ("names", '["a", 1]', ["a", 1]),
        ("where", '{"a": {}}', {"a": {}}),
        ("nothing", "null", None),
        ("either", "5", 5),
        ("either", "five", "five"),
        ("either", "null", None),
        ("level", "2", 2),
        ("level", "high", "high"),
        ("fixed", "true", True),
        ("shared", "7", 7),
        ("escaped", "7", "7"),
        ("one", "true", True),
        ("one", "3", 3),
        # The schema names no type: JSON if it is some, else text.
        ("any", "5", 5),
        ("any", "five", "five"),
        ("remote", "[1]", [1]),
        ("loop", "x y", "x y"),
        ("open", "true", True),
        ("unlisted", "5", 5),
    ],
)
def test_a_word_is_read_by_the_type_of_its_key(key: str, word: str, value: Any) -> None:
    found = read(key, word)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("count", "1.0"),
        ("count", "05"),
        ("count", "+5"),
        ("count", "5 "),
        ("count", "\u0665"),
        ("count", ""),
        ("ratio", "NaN"),
        ("ratio", "Infinity"),
        ("ratio", ".5"),
        ("ratio", "true"),
        ("deep", "True"),
        ("deep", "1"),
        ("deep", "yes"),
        ("names", "a,b"),
        ("names", "{}"),
        ("where", "[]"),
        ("where", '{"a":1,"a":2}'),
        ("nothing", ""),
        ("one", "x"),
        ("fixed", "x"),
    ],
)
def test_a_word_that_cannot_be_one_is_refused(key: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(key, word)
    assert caught.value.code == "arguments.type"
    assert key in caught.value.message


def test_an_unknown_key_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError) as caught:
        read("txt", "x", {**SCHEMA, "additionalProperties": False})
    assert caught.value.code == "arguments.unknown"
    assert "'text'" in caught.value.hint


def test_json_and_words_together() -> None:
    found = read_arguments(b'{"text": "a"}', [("count", "3")], SCHEMA)
    assert found == {"text": "a", "count": 3}
    with pytest.raises(UsageError) as caught:
        read_arguments(b'{"text": "a"}', [("text", "b")], SCHEMA)
    assert caught.value.code == "arguments.twice"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": "\\ud800"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b'"x"', "not_object"),
    ],
)
def test_what_is_no_json_object_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(text, [], SCHEMA)
    assert caught.value.code == f"arguments.{code}"


@pytest.mark.parametrize(
    ("words", "tool", "pairs"),
    [
        ([], "", []),
        (["query"], "query", []),
        (["query", "a=1", "b="], "query", [("a", "1"), ("b", "")]),
        (["a=1"], "", [("a", "1")]),
        (["a=b=c"], "", [("a", "b=c")]),
    ],
)
def test_words_are_a_tool_and_pairs(words: list[str], tool: str, pairs: list[tuple[str, str]]) -> None:
    assert split_words(words) == (tool, pairs)


@pytest.mark.parametrize("words", [["q", "r"], ["q", "=v"], ["a=1", "q"], ["=v"]])
def test_a_word_that_is_neither_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        split_words(words)
    assert caught.value.code == "arguments.word"


@given(st.text(), st.sampled_from(["text", "any", "either", "unlisted"]))
def test_any_text_can_be_given(text: str, key: str) -> None:
    """No text is refused where text is allowed, and what it becomes can be sent."""
    json.dumps(read(key, text))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_list_arrives_as_it_was_written(value: Any) -> None:
    if isinstance(value, list):
        assert read("names", json.dumps(value)) == value
