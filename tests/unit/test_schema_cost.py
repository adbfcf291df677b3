"""The bound on what validating costs is a bound: against a plain count over random schemas."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mpp_exec.errors import PackageError
from mpp_exec.package.schema_cost import Cost, Effort
from mpp_exec.package.schema_graph import Graph

NAMES = ("a", "b", "c")


def subschemas(references: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return schemas of a few levels over three definitions that refer to one another."""

    def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        some = st.lists(inner, min_size=1, max_size=2)
        return st.fixed_dictionaries(
            {},
            optional={
                "allOf": some,
                "anyOf": some,
                "not": inner,
                "if": inner,
                "then": inner,
                "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
                "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
                "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=2),
                "additionalProperties": inner,
                "prefixItems": some,
                "items": inner,
                "contains": inner,
                "propertyNames": st.just({"maxLength": 3}),
            },
        )

    return st.recursive(st.booleans() | st.just({"type": "object"}) | references, deeper, max_leaves=5)


definitions = st.sampled_from(["#/$defs/x", "#/$defs/y", "#"]).map(lambda target: {"$ref": target})
documents = st.fixed_dictionaries(
    {"$defs": st.fixed_dictionaries({"x": subschemas(definitions), "y": subschemas(definitions)})},
    optional={
        "properties": st.dictionaries(
            st.sampled_from(NAMES), subschemas(definitions), min_size=1, max_size=3
        ),
        "allOf": st.lists(subschemas(definitions), min_size=1, max_size=2),
        "additionalProperties": subschemas(definitions),
    },
)
instances = st.recursive(
    st.none() | st.text(alphabet="abc", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=10,
)


class TooMany(Exception):  # noqa: N818 -- no error: a reason to leave the example out
    """The plain count takes too long."""


class Counter:
    """Applies a schema as an evaluator without any shortcut would, and counts applications."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.count = 0

    def apply(self, schema: Any, value: Any) -> None:
        self.count += 1
        if self.count > 5_000:
            raise TooMany
        if isinstance(schema, bool):
            return
        if "$ref" in schema:
            target = self.document
            for token in schema["$ref"].split("/")[1:]:
                target = target[token]
            self.apply(target, value)
        for keyword in ("not", "if", "then"):
            if keyword in schema:
                self.apply(schema[keyword], value)
        for keyword in ("allOf", "anyOf"):
            for inner in schema.get(keyword, ()):
                self.apply(inner, value)
        for inner in schema.get("dependentSchemas", {}).values():
            self.apply(inner, value)
        if isinstance(value, dict):
            for name, child in value.items():
                self.apply_property(schema, name, child)
        if isinstance(value, list):
            prefix = schema.get("prefixItems", [])
            for index, child in enumerate(value):
                if index < len(prefix):
                    self.apply(prefix[index], child)
                elif "items" in schema:
                    self.apply(schema["items"], child)
                if "contains" in schema:
                    self.apply(schema["contains"], child)

    def apply_property(self, schema: Any, name: str, child: Any) -> None:
        seen = False
        if name in schema.get("properties", {}):
            seen = True
            self.apply(schema["properties"][name], child)
        for pattern, inner in schema.get("patternProperties", {}).items():
            if re.search(pattern, name):
                seen = True
                self.apply(inner, child)
        if not seen and "additionalProperties" in schema:
            self.apply(schema["additionalProperties"], child)
        if "propertyNames" in schema:
            self.apply(schema["propertyNames"], name)


@given(documents, instances)
@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_no_evaluator_applies_more_than_the_bound(document: Any, instance: Any) -> None:
    try:
        graph = Graph(document, where="schema", program_size=lambda *_: 0)
        cost = Cost(graph, where="schema", effort=Effort())
    except PackageError as error:
        assert error.code in {"schema.endless", "schema.too_complex"}  # noqa: PT017 -- either way out is right
        assume(False)
    counter = Counter(document)
    counter.apply(document, instance)
    units = cost.of(instance)
    assert units is not None
    assert counter.count <= units


def cost(schema: dict[str, Any], sizes: dict[str, int] | None = None) -> Cost:
    graph = Graph(schema, where="schema", program_size=lambda pattern, _: (sizes or {}).get(pattern, 0))
    return Cost(graph, where="schema", effort=Effort())


def test_a_chain_of_properties_costs_no_more_for_being_long() -> None:
    def chain(length: int) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        for _ in range(length):
            schema = {"properties": {"a": schema}}
        return schema

    assert cost(chain(10)).work == cost(chain(3)).work


def test_what_is_applied_twice_at_each_level_costs_twice_at_each_level() -> None:
    def levels(count: int) -> dict[str, Any]:
        schema: dict[str, Any] = {"minimum": 1}
        for _ in range(count):
            schema = {"allOf": [{"properties": {"a": schema}}, {"additionalProperties": schema}]}
            schema = {"allOf": [{"items": schema}, {"contains": schema}]}
        return schema

    works = [cost(levels(count)).work for count in range(2, 5)]
    assert works[1] >= 2 * works[0]
    assert works[2] >= 2 * works[1]


def test_patterns_count_where_they_are_applied() -> None:
    schema = {
        "properties": {"a": {"pattern": "p"}, "b": {"type": "string"}, "c": {"items": {"pattern": "q"}}},
        "patternProperties": {"r": {}},
    }
    sizes = {"p": 1_000, "q": 50, "r": 3}
    bound = cost(schema, sizes)
    assert bound.programs == 1_000
    assert bound.programs_at(()) == 3
    assert bound.programs_at(("a",)) == 1_000
    assert bound.programs_at(("b",)) == 0
    assert bound.programs_at(("c",)) == 0
    assert bound.programs_at(("c", 5)) == 50
    assert bound.programs_at(("c", 5, "x")) == 0


def test_a_long_string_costs_only_the_patterns_that_it_meets() -> None:
    bound = cost({"properties": {"a": {"pattern": "p"}, "b": {"type": "string"}}}, {"p": 100_000})
    text = "x" * 1_000_000
    free, paid = bound.of({"b": text}), bound.of({"a": text})
    assert free is not None
    assert paid is not None
    assert free < 10_000
    assert paid > 1_000_000_000
