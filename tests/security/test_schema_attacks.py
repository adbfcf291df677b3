"""Attack: a schema, or a value for it, that keeps its validator busy for hours.

The validator is compiled code that nobody can interrupt. Each attack is either refused with the
package, or cut off by the budget, or it ends in time; what *in time* is allows for a slow machine.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from mpp_exec.errors import PackageError
from mpp_exec.package.schema import check_schema, compile_schema
from mpp_exec.package.schema_cost import Effort

pytestmark = pytest.mark.timeout(60)


def refusal(schema: dict[str, Any]) -> str:
    begun = time.monotonic()
    with pytest.raises(PackageError) as caught:
        compile_schema(schema)
    assert time.monotonic() - begun < 10
    return caught.value.code


def judged(schema: dict[str, Any], value: Any) -> list[str]:
    """Return the keywords of the violations, having seen that they came in time."""
    validator = compile_schema(schema)
    begun = time.monotonic()
    violations = validator.validate(value)
    assert time.monotonic() - begun < 20
    return [violation.keyword for violation in violations]


def doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"s0": {"type": "object"}}
    for level in range(1, levels + 1):
        twice = {"$ref": f"#/$defs/s{level - 1}"}
        definitions[f"s{level}"] = {"allOf": [twice, twice]}
    return {"type": "object", "$ref": f"#/$defs/s{levels}", "$defs": definitions}


@pytest.mark.parametrize("levels", [15, 30, 64, 190, 500])
def test_doubling_references(levels: int) -> None:
    """2**n applications in n definitions."""
    assert refusal(doubling(levels)) == "schema.too_complex"


def test_a_little_doubling_is_not_worth_an_attack() -> None:
    assert judged(doubling(8), {}) == []


@pytest.mark.parametrize("applicator", ["anyOf", "allOf", "oneOf"])
@pytest.mark.parametrize("child", ["items", "additionalProperties", "contains", "unevaluatedItems"])
def test_recursion_through_two_branches(applicator: str, child: str) -> None:
    """2**depth applications: every level of the value is looked at twice by each look from above."""
    branch = {child: {"$ref": "#/$defs/n"}}
    node = {applicator: [branch, {**branch, "title": "again"}]}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    assert refusal(schema) == "schema.too_complex"


def test_recursion_through_the_same_property_of_two_branches() -> None:
    branches = [{"properties": {"c": {"$ref": "#"}}, "title": str(index)} for index in range(2)]
    assert refusal({"type": "object", "anyOf": branches}) == "schema.too_complex"


def test_recursion_through_two_patterns_for_the_same_name() -> None:
    both = {"^a": {"$ref": "#"}, "a$": {"$ref": "#"}}
    assert refusal({"type": "object", "patternProperties": both}) == "schema.too_complex"


def test_recursion_through_different_properties_is_no_attack() -> None:
    branches = [{"properties": {name: {"$ref": "#"}}} for name in "abcdef"]
    value: Any = {}
    for level in range(60):
        value = {"abcdef"[level % 6]: value}
    assert judged({"type": "object", "anyOf": branches}, value) == []


@pytest.mark.parametrize("applicator", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("keyword", ["unevaluatedProperties", "unevaluatedItems"])
def test_nested_unevaluated(applicator: str, keyword: str) -> None:
    """Each level evaluates what is below again to learn what it has seen: 2.7**n."""
    schema: dict[str, Any] = {"properties": {"a": True}}
    definitions: dict[str, Any] = {"s0": schema}
    for level in range(1, 26):
        definitions[f"s{level}"] = {
            keyword: {"type": "integer"},
            applicator: [{"$ref": f"#/$defs/s{level - 1}"}],
        }
    assert refusal({"type": "object", "$ref": "#/$defs/s25", "$defs": definitions}) == "schema.too_complex"


def shared(users: int) -> dict[str, Any]:
    """Return a schema in which *users* subschemas each apply the same one of 400 properties."""
    users_of_it = {f"u{number}": {"allOf": [{"$ref": "#/$defs/b"}]} for number in range(users)}
    big: dict[str, Any] = {"properties": {f"p{number}": {} for number in range(400)}}
    # One that costs a little more at every level, so that the bound is found only at the deepest.
    more = {"properties": {"n": {"allOf": [{"$ref": "#/$defs/m"}, {"$ref": "#/$defs/l"}]}}}
    level = {"properties": {"n": {"$ref": "#/$defs/l"}}}
    return {
        "type": "object",
        "properties": {**users_of_it, "m": {"$ref": "#/$defs/m"}},
        "$defs": {"b": big, "m": more, "l": level},
    }


def test_everything_applies_everything() -> None:
    """What computes the bound must not be the one that hangs."""
    with pytest.raises(PackageError) as caught:
        compile_schema(shared(200))
    assert caught.value.code == "schema.too_complex"
    assert "too many subschemas apply" in caught.value.message


def test_many_schemas_that_take_long_to_bound() -> None:
    effort = Effort()

    def check_all() -> None:
        for _ in range(512):
            check_schema(shared(20), where="inputSchema", effort=effort)

    begun = time.monotonic()
    with pytest.raises(PackageError) as caught:
        check_all()
    assert caught.value.code == "schema.too_complex"
    assert time.monotonic() - begun < 20


def test_many_patterns() -> None:
    """Each takes memory for as long as the validator lives."""
    properties = {f"p{number}": {"pattern": f"^a{number}$"} for number in range(1_000)}
    assert refusal({"type": "object", "properties": properties}) == "schema.too_complex"


def test_many_required_names() -> None:
    names = [f"n{number}" for number in range(5_000)]
    schema = {"type": "object", "properties": {"a": {"items": {"required": names}}}}
    whole = dict.fromkeys(names, 1)
    assert judged(schema, {"a": [whole] * 100}) == ["budget"]
    assert judged(schema, {"a": [whole] * 2}) == []


def test_a_long_chain_of_references() -> None:
    """As long as a schema has room for: what computes the bound recurses along it."""
    definitions: dict[str, Any] = {f"{n}": {"$ref": f"#/$defs/{n + 1}"} for n in range(1_500)}
    definitions["1500"] = {}
    assert refusal({"type": "object", "$ref": "#/$defs/0", "$defs": definitions}) == "schema.too_complex"


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(a*)*b", "(x+x+)+y"])
def test_catastrophic_patterns(pattern: str) -> None:
    """Exponential for a backtracking engine; this one is linear."""
    schema = {"type": "object", "properties": {"a": {"pattern": pattern}}}
    assert judged(schema, {"a": "a" * 500_000 + "!"}) in (["pattern"], ["budget"])


def test_a_large_program_over_a_long_text() -> None:
    """Linear is program times text: minutes for 256 KiB times 1 MiB."""
    schema = {
        "type": "object",
        "properties": {"a": {"pattern": "(?:(?:[ab]{0,9}){0,9}){0,25}[cd]"}, "b": {"type": "string"}},
    }
    assert judged(schema, {"a": "ab" * 500_000}) == ["budget"]
    assert judged(schema, {"a": "ab" * 2_000}) == ["pattern"]
    assert judged(schema, {"b": "ab" * 500_000}) == []


def test_a_large_program_over_many_names() -> None:
    schema: dict[str, Any]
    pattern = "(?:(?:[ab]{0,9}){0,9}){0,25}[cd]"
    value = {format(number, "b").translate({48: "a", 49: "b"}) * 8: 1 for number in range(20_000)}
    for schema in ({"patternProperties": {pattern: {}}}, {"propertyNames": {"pattern": pattern}}):
        assert judged({"type": "object", **schema}, value) == ["budget"]


@pytest.mark.parametrize("escape", [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\cA"])
@pytest.mark.parametrize(("times", "patterns"), [(2_000, 1), (120, 3), (50, 100), (4, 2_000)])
def test_patterns_that_take_long_to_compile(escape: str, times: int, patterns: int) -> None:
    """Minutes for one pattern of 30 KB before there was a bound on these."""
    properties = {f"p{number}": {"pattern": escape * times + str(number)} for number in range(patterns)}
    assert refusal({"type": "object", "properties": properties}) in {
        "schema.too_complex",
        "schema.bad_pattern",
        "schema.too_large",
    }


def test_inline_flags() -> None:
    """Case folding of Unicode classes takes milliseconds for each."""
    assert (
        refusal({"type": "object", "properties": {"a": {"pattern": "(?i)[^x]" * 400}}})
        == "schema.bad_pattern"
    )


def test_a_giant_enum_of_numbers() -> None:
    """Numbers are compared as fractions: 1.6 µs for each, times every item."""
    floats = [number + 0.5 for number in range(2_000)]
    assert refusal({"type": "object", "properties": {"a": {"enum": floats}}}) == "schema.too_complex"
    schema = {"type": "object", "properties": {"a": {"items": {"enum": floats[:400]}}}}
    assert judged(schema, {"a": [399.5] * 100_000}) == ["budget"]
    assert judged(schema, {"a": [399.5] * 1_500}) == []


def test_a_giant_enum_of_objects() -> None:
    objects = [{"a": number} for number in range(1_200)]
    assert refusal({"type": "object", "properties": {"a": {"enum": objects}}}) == "schema.too_complex"


def test_a_giant_enum_of_words_costs_nothing() -> None:
    words = [f"w{number}" for number in range(5_000)]
    assert (
        judged({"type": "object", "properties": {"a": {"items": {"enum": words}}}}, {"a": ["w4999"] * 15_000})
        == []
    )


def test_unique_items() -> None:
    """Hashed, so linear; and nested, each level hashes what is below once more."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"uniqueItems": True, "items": {"$ref": "#/$defs/n"}}},
    }
    assert judged(schema, {"a": list(range(200_000))}) == []
    deep: Any = list(range(50_000))
    for _ in range(60):
        deep = [deep]
    assert judged(schema, {"a": deep}) == []
    assert judged(schema, {"a": list(range(2_000_000))}) == ["budget"]


def test_multiples_of_fractions() -> None:
    """Exact arithmetic on fractions of a thousand bits."""
    schema = {"type": "object", "properties": {"a": {"items": {"multipleOf": 1e-300}}}}
    assert judged(schema, {"a": [1e300] * 1_000_000}) == ["budget"]
    assert judged(schema, {"a": [1e300] * 50_000}) == []


def test_errors_of_every_branch_of_every_item() -> None:
    """Collecting what is wrong costs a hundred times what finding it costs, and a copy of the value."""
    node = {"anyOf": [{"type": "string"}, {"type": "null"}, {"items": {"$ref": "#/$defs/n"}, "maxItems": 5}]}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    deep: Any = [1] * 100_000
    for _ in range(60):
        deep = [deep]
    assert judged(schema, {"a": deep}) == ["schema"]


def test_the_worst_that_is_accepted_ends_in_time() -> None:
    """A location that costs nearly all it may, times as many values as the budget allows."""
    schema = {
        "type": "object",
        "properties": {"a": {"items": {"enum": [number + 0.25 for number in range(490)]}}},
    }
    validator = compile_schema(schema)
    for count in (1, 2_000, 2_038, 4_000):
        begun = time.monotonic()
        assert [violation.keyword for violation in validator.validate({"a": [489.25] * count})] in (
            [],
            ["budget"],
        )
        assert time.monotonic() - begun < 20
