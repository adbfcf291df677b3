"""What a validator says of a value: where and which keyword, never what the value was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.package.schema import Violation, compile_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
        "limit": {"type": "integer", "minimum": 1, "multipleOf": 5},
        "mode": {"enum": ["fast", "full"]},
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "uniqueItems": True,
            "contains": {"const": "x"},
        },
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "one": {"oneOf": [{"type": "number"}, {"type": "integer"}]},
        "never": False,
        "not": {"not": {"type": "string"}},
    },
    "required": ["path"],
    "additionalProperties": False,
    "propertyNames": {"maxLength": 12},
    "dependentRequired": {"limit": ["mode"]},
}
VALIDATOR = compile_schema(SCHEMA)

CASES: list[tuple[Any, list[Violation]]] = [
    ({"path": "abc"}, []),
    ({"path": "a", "limit": 5, "mode": "fast", "tags": ["x"], "either": 1, "one": 1.5, "not": 1}, []),
    ({}, [Violation((), "required", "/required", "path")]),
    ({"path": 1}, [Violation(("path",), "type", "/properties/path/type")]),
    ({"path": "A"}, [Violation(("path",), "pattern", "/properties/path/pattern")]),
    (
        {"path": "a", "limit": 0, "mode": "fast"},
        [Violation(("limit",), "minimum", "/properties/limit/minimum")],
    ),
    ({"path": "a", "limit": 5}, [Violation((), "required", "/dependentRequired", "mode")]),
    ({"path": "a", "mode": "slow"}, [Violation(("mode",), "enum", "/properties/mode/enum")]),
    ({"path": "a", "tags": ["x", 1]}, [Violation(("tags", 1), "type", "/properties/tags/items/type")]),
    (
        {"path": "a", "tags": ["x", "x"]},
        [Violation(("tags",), "uniqueItems", "/properties/tags/uniqueItems")],
    ),
    ({"path": "a", "either": None}, [Violation(("either",), "anyOf", "/properties/either/anyOf")]),
    ({"path": "a", "one": 1}, [Violation(("one",), "oneOf", "/properties/one/oneOf")]),
    ({"path": "a", "not": "a"}, [Violation(("not",), "not", "/properties/not/not")]),
    ({"path": "a", "secret": 1}, [Violation((), "additionalProperties", "/additionalProperties")]),
    ([], [Violation((), "type", "/type")]),
]


@pytest.mark.parametrize(("value", "violations"), CASES)
def test_violations(value: Any, violations: list[Violation]) -> None:
    assert VALIDATOR.validate(value) == violations


def test_in_words() -> None:
    assert str(Violation(("a", 0), "type", "/properties/a/items/type")) == "/a/0: type"
    assert str(Violation((), "required", "/required", "path")) == "/: required 'path'"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(list(SCHEMA["properties"])) | st.text(max_size=4), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    json_values, st.sampled_from(["path", "limit", "mode", "tags", "either", "one", "never", "not", "other"])
)
def test_nothing_of_the_value_is_ever_said(value: Any, name: str) -> None:
    marker = "S3CRET-"
    hidden = [marker + "1", {"x": marker}, marker, value]
    for violation in VALIDATOR.validate({"path": marker, name: hidden, "tags": [marker, marker]}):
        assert marker not in str(violation)
        assert marker not in repr(violation)


@given(json_values)
def test_valid_or_with_reasons(value: Any) -> None:
    violations = VALIDATOR.validate(value)
    assert len(violations) <= 20
    assert all(violation.keyword for violation in violations)
    assert not (violations and value == {"path": "abc"})


def test_a_limited_number_of_violations() -> None:
    validator = compile_schema({"type": "object", "properties": {"a": {"items": {"type": "string"}}}})
    assert len(validator.validate({"a": list(range(100))})) == 20
    assert len(validator.validate({"a": list(range(100))}, limit=3)) == 3
    first = [Violation(("a", 0), "type", "/properties/a/items/type")]
    assert validator.validate({"a": list(range(100_000))}) == first  # listing all of them would take seconds


def test_a_large_value_with_alternatives_is_refused_without_a_place() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
    }
    validator = compile_schema(schema)
    assert validator.validate({"a": [1]}) == [Violation(("a", 0), "anyOf", "/properties/a/items/anyOf")]
    assert validator.validate({"a": [None] * 100_000}) == []
    assert validator.validate({"a": [*[None] * 100_000, 1]}) == [Violation((), "schema", "")]


def test_pointers_are_escaped_and_bounded() -> None:
    validator = compile_schema({"type": "object", "additionalProperties": {"type": "string"}})
    assert validator.validate({"a/b~c": 1})[0].pointer == "/a~1b~0c"
    assert len(validator.validate({"x" * 10_000: 1})[0].pointer) == 1_024


def test_depth() -> None:
    validator = compile_schema({"type": "object"})

    def nested(depth: int) -> Any:
        value: Any = {}
        for _ in range(depth - 1):
            value = {"a": [value]} if _ % 2 else {"a": value}
        return value

    assert validator.validate({"a": [[]]}) == []
    deep: Any = []
    for _ in range(62):
        deep = [deep]
    assert validator.validate({"a": deep}) == []
    assert validator.validate({"a": [deep]}) == [Violation((), "depth", "")]
    assert validator.validate(nested(200)) == [Violation((), "depth", "")]


def test_numbers_are_compared_by_value() -> None:
    validator = compile_schema(
        {"type": "object", "properties": {"a": {"const": 1}, "b": {"type": "integer"}}}
    )
    assert validator.validate({"a": 1.0, "b": 10**300}) == []
    assert validator.validate({"a": True})[0].keyword == "const"


def test_formats_are_annotations() -> None:
    """As in 2020-12 by default: nothing of a package runs code here that it could choose."""
    validator = compile_schema({"type": "object", "properties": {"a": {"format": "email"}}})
    assert validator.validate({"a": "no address"}) == []
