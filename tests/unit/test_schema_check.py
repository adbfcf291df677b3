"""Which schemas a package may have, and why others are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpp_exec.errors import PackageError
from mpp_exec.package.schema import MAX_SCHEMA_SIZE, check_schema, compile_schema

OBJECT: dict[str, Any] = {"type": "object"}


def prop(schema: Any, **more: Any) -> dict[str, Any]:
    """Return the schema of an object with one property."""
    return {"type": "object", "properties": {"a": schema}, **more}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


# What generators of tool schemas write: by hand, pydantic, zod, and recursive ones.
ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("empty object", OBJECT),
    ("dialect", {**OBJECT, "$schema": "https://json-schema.org/draft/2020-12/schema"}),
    ("identity", {**OBJECT, "$id": "https://example.com/query.json"}),
    (
        "pydantic",
        {
            "$defs": {"Mode": {"enum": ["fast", "full"], "title": "Mode", "type": "string"}},
            "properties": {
                "mode": {"$ref": "#/$defs/Mode", "default": "fast"},
                "limit": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
            },
            "title": "Arguments",
            "type": "object",
        },
    ),
    ("reference into a property", {**OBJECT, "properties": {"a": OBJECT, "b": {"$ref": "#/properties/a"}}}),
    ("anchor", prop({"$ref": "#x"}, **{"$defs": {"y": {"$anchor": "x", "type": "string"}}})),
    ("escaped names", prop({"$ref": "#/$defs/a~1b~0c%20d"}, **{"$defs": {"a/b~c d": {"type": "string"}}})),
    ("linked list", prop({"type": "integer"}, items={"$ref": "#"}, additionalProperties={"$ref": "#"})),
    (
        "filter expressions",
        prop(
            {"$ref": "#/$defs/n"},
            **{
                "$defs": {
                    "n": {
                        "oneOf": [
                            {"properties": {"and": {"type": "array", "items": {"$ref": "#/$defs/n"}}}},
                            {"properties": {"or": {"type": "array", "items": {"$ref": "#/$defs/n"}}}},
                            {"properties": {"not": {"$ref": "#/$defs/n"}}},
                            {"properties": {"field": {"type": "string"}, "value": {}}},
                        ]
                    }
                }
            },
        ),
    ),
    ("strict object", prop({}, unevaluatedProperties=False, allOf=[{"properties": {"b": {}}}])),
    (
        "conditional",
        {**OBJECT, "if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"maxProperties": 3}},
    ),
    ("tab and line break as data", prop({"enum": ["\t", ",", "\n"], "default": "\t"})),
    ("a property called default", prop({"type": "string"}, required=["default"])),
    ("long pattern", prop({"pattern": r"^[\w./-]{1,100}$"})),
    ("any text", prop({"pattern": "^.{1,200}$"})),
    ("group in a class", prop({"pattern": r"[(?]\((?:a|b)(?<name>c)\\(d)"})),
    ("4,000 words", prop({"enum": [f"word{number}" for number in range(4_000)]})),
    ("300 properties", {**OBJECT, "properties": {f"p{number}": {"type": "string"} for number in range(300)}}),
    ("31 deep", {"type": "object", **nested(31)}),
    ("64 bits", prop({"minimum": -(1 << 63), "maximum": (1 << 63) - 1})),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("no type", {}, "not_object"),
    ("array", {"type": "array"}, "not_object"),
    ("object or null", {"type": ["object", "null"]}, "not_object"),
    ("only an object", {"type": ["object"]}, "not_object"),
    ("33 deep", {"type": "object", **nested(32)}, "too_deep"),
    ("64 KiB", {**OBJECT, "description": "x" * MAX_SCHEMA_SIZE}, "too_large"),
    ("unknown type", prop({"type": "strnig"}), "invalid"),
    ("text for a number", prop({"minimum": "0"}), "invalid"),
    ("items as a list", prop({"items": [{}]}), "invalid"),
    ("schema as text", prop("string"), "invalid"),
    ("required as truth", prop({"required": True}), "invalid"),
    ("NaN", prop({"maximum": float("nan")}), "invalid"),
    ("infinity", prop({"const": float("inf")}), "invalid"),
    ("a date", prop({"default": __import__("datetime").date(2020, 1, 1)}), "invalid"),
    ("bytes", prop({"const": b"x"}), "invalid"),
    ("a number for a key", {**OBJECT, 1: 2}, "invalid"),
    ("65 bits", prop({"maximum": 1 << 63}), "invalid"),
    ("escape in a description", prop({"description": "a\x1b[2J"}), "forbidden_character"),
    ("line break in a description", prop({"description": "a\nb"}), "forbidden_character"),
    ("bidirectional name", {**OBJECT, "properties": {"\u202ea": {}}}, "forbidden_character"),
    ("zero width in an enum", prop({"enum": ["a\u200b"]}), "forbidden_character"),
    ("escape in data", prop({"default": {"a": ["\x1b"]}}), "forbidden_character"),
    (
        "line break under a property called default",
        {**OBJECT, "properties": {"default": {"title": "\n"}}},
        "forbidden_character",
    ),
    ("draft 7", {**OBJECT, "$schema": "http://json-schema.org/draft-07/schema#"}, "unknown_dialect"),
    ("unknown dialect", {**OBJECT, "$schema": "https://example.com/dialect"}, "unknown_dialect"),
    ("dialect inside", prop({"$schema": "https://json-schema.org/draft/2020-12/schema"}), "unknown_dialect"),
    ("remote", prop({"$ref": "https://example.com/x.json"}), "remote_ref"),
    ("file", prop({"$ref": "file:///etc/passwd"}), "remote_ref"),
    ("relative", prop({"$ref": "x.json#/a"}), "remote_ref"),
    ("empty", prop({"$ref": ""}), "remote_ref"),
    ("metaschema", prop({"$ref": "https://json-schema.org/draft/2020-12/schema"}), "remote_ref"),
    (
        "own identity",
        {**prop({"$ref": "https://a.b/c#/$defs/x"}), "$id": "https://a.b/c", "$defs": {"x": {}}},
        "remote_ref",
    ),
    ("nothing there", prop({"$ref": "#/$defs/x"}), "bad_ref"),
    ("no such anchor", prop({"$ref": "#x"}), "bad_ref"),
    ("beyond the end", prop({"$ref": "#/allOf/1"}, allOf=[{}]), "bad_ref"),
    ("index with a zero", prop({"$ref": "#/allOf/01"}, allOf=[{}, {}]), "bad_ref"),
    ("a text, not a schema", prop({"$ref": "#/type"}), "invalid"),
    (
        "ambiguous escape",
        prop({"$ref": "#/$defs/a%2Fb"}, **{"$defs": {"a/b": {}, "a": {"b": {}}}}),
        "bad_ref",
    ),
    ("anchor twice", prop({"$anchor": "x"}, allOf=[{"$anchor": "x"}]), "bad_ref"),
    ("identity inside", prop({"$id": "https://example.com/a"}), "unsupported"),
    (
        "identity of the metaschema",
        {**OBJECT, "$id": "https://json-schema.org/draft/2020-12/schema"},
        "unsupported",
    ),
    ("relative identity", {**OBJECT, "$id": "a.json"}, "unsupported"),
    ("identity with a fragment", {**OBJECT, "$id": "https://example.com/a#b"}, "invalid"),
    ("dynamic reference", prop({"$dynamicRef": "#x"}), "unsupported"),
    ("dynamic anchor", prop({"$dynamicAnchor": "x"}), "unsupported"),
    ("recursive reference", prop({"$recursiveRef": "#"}), "unsupported"),
    ("dependencies", prop({"dependencies": {"a": ["b"]}}), "unsupported"),
    ("hidden below a definition", {**OBJECT, "$defs": {"x": {"$ref": "https://example.com"}}}, "remote_ref"),
    (
        "hidden below an old definition",
        {**OBJECT, "definitions": {"x": {"$ref": "https://example.com"}}},
        "remote_ref",
    ),
    (
        "hidden below an unknown keyword",
        prop({"$ref": "#/x/y"}, x={"y": {"$ref": "https://example.com"}}),
        "remote_ref",
    ),
    ("hidden in data", prop({"$ref": "#/default"}, default={"$ref": "https://example.com"}), "remote_ref"),
    ("broken pattern", prop({"pattern": "(a"}), "bad_pattern"),
    ("look-ahead", prop({"pattern": "(?=a)b"}), "bad_pattern"),
    ("look-behind", prop({"pattern": "(?<=a)b"}), "bad_pattern"),
    ("negative look-ahead", prop({"pattern": "^(?!a)"}), "bad_pattern"),
    ("back-reference", prop({"pattern": r"(a)\1"}), "bad_pattern"),
    ("flags", prop({"pattern": "(?i)a"}), "bad_pattern"),
    ("named flags in a class, to be safe", prop({"pattern": "[(?i]"}), "bad_pattern"),
    ("flags in a group", prop({"pattern": "a(?i:b)"}), "bad_pattern"),
    ("flags after an escaped backslash", prop({"pattern": r"\\(?i)a"}), "bad_pattern"),
    ("huge repeat", prop({"pattern": "(a{1000}){1000}"}), "bad_pattern"),
    ("long pattern", prop({"pattern": "a" * 4_097}), "bad_pattern"),
    ("broken pattern of names", {**OBJECT, "patternProperties": {"[": {}}}, "bad_pattern"),
    (
        "look-ahead below an unused definition",
        {**OBJECT, "$defs": {"x": {"pattern": "(?=a)"}}},
        "bad_pattern",
    ),
    ("applies itself", {**OBJECT, "$ref": "#"}, "endless"),
    (
        "applies itself through another",
        {**OBJECT, "$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#"}]}}},
        "endless",
    ),
    (
        "applies itself below",
        prop({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
        "endless",
    ),
]


@pytest.mark.parametrize("schema", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(schema: dict[str, Any]) -> None:
    check_schema(schema, where="inputSchema")
    assert compile_schema(json.loads(json.dumps(schema))).validate([])[0].keyword == "type"


@pytest.mark.parametrize(("schema", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@pytest.mark.timeout(10)
def test_refused(schema: dict[str, Any], reason: str) -> None:
    for function in (check_schema, compile_schema):
        with pytest.raises(PackageError) as caught:
            function(schema, where="tools[3].inputSchema")
        assert caught.value.code == f"schema.{reason}", caught.value
        assert caught.value.message.startswith("tools[3].inputSchema")
        assert caught.value.hint


def test_a_place_in_the_schema_is_named() -> None:
    with pytest.raises(PackageError) as caught:
        check_schema(prop({"pattern": "("}), where="inputSchema")
    assert caught.value.message.startswith("inputSchema at /properties/a/pattern: ")
