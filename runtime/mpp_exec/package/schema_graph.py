"""The subschemas of a JSON Schema 2020-12 document, and which of them a validator applies from which.

Two kinds of edges: *in place*, to the same location of the instance (``allOf``, ``$ref``, ``if``, …),
and to a child of it (``properties``, ``items``, …). References stay inside the document: nothing is
ever fetched, and what would make a reference mean something else (``$id`` below the root,
``$dynamicRef``) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from mpp_exec.errors import PackageError
from mpp_exec.patterns import lazily

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_IN_PLACE: Final = ("not", "if", "then", "else")
_IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf")
_UNEVALUATED: Final = ("unevaluatedProperties", "unevaluatedItems")
_UNUSED_MAPS: Final = ("$defs", "definitions")
# Keywords whose meaning depends on who refers to the schema, or that older drafts had and some
# validators still obey.
_REFUSED: Final = ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "dependencies")

# What collecting annotations costs: with unevaluatedProperties or unevaluatedItems beside it, an
# in-place subschema is evaluated again to learn what it has seen. Measured on jsonschema-rs 0.60
# the time grows 2.0 to 3.1 times with each nested level.
_UNEVALUATED_FACTOR: Final = 4

_ROOT_ID: Final = lazily(r"(?:https?://(?!json-schema\.org)[!-~]+|urn:[!-~]+)")
_INDEX: Final = lazily(r"0|[1-9][0-9]*", re.ASCII)


@dataclass(eq=False, slots=True)
class Node:
    """One subschema. Costs are in the units of :mod:`mpp_exec.package.schema_cost`.

    Attributes:
        work: units for one application of its own keywords.
        programs: bytes of compiled patterns that one application may run over the instance.
        in_place: subschemas applied to the same location, each with how many times.
        named: by property name.
        patterned: for properties that match a pattern.
        additional: for properties that neither is for.
        unevaluated: for properties or items that nothing has seen.
        names: for the names of properties.
        prefix, items, contains: for the elements of an array.
    """

    pointer: str
    work: int = 1
    programs: int = 0
    in_place: list[tuple[Node, int]] = field(default_factory=list)
    named: dict[str, Node] = field(default_factory=dict)
    patterned: list[Node] = field(default_factory=list)
    additional: Node | None = None
    unevaluated: list[Node] = field(default_factory=list)
    names: Node | None = None
    prefix: list[Node] = field(default_factory=list)
    items: Node | None = None
    contains: Node | None = None

    @property
    def fan_out(self) -> int:
        """How many subschemas there are for children."""
        return sum(1 for _ in self.children())

    def children(self) -> Iterator[Node]:
        """Yield every subschema that is applied to a child of the location."""
        yield from self.named.values()
        yield from self.patterned
        yield from self.unevaluated
        yield from self.prefix
        for node in (self.additional, self.names, self.items, self.contains):
            if node is not None:
                yield node


def refusal(reason: str, where: str, what: str, hint: str) -> PackageError:
    """Return the error for a schema at key *where*."""
    return PackageError(f"schema.{reason}", f"{where}: {what}", hint)


class Graph:
    """All subschemas of one document, as :class:`Node`, reachable from ``root``."""

    def __init__(
        self, schema: dict[str, Any], *, where: str, program_size: Callable[[str, str], int]
    ) -> None:
        """Build it; *program_size* returns the bytes of a compiled pattern, given it and its pointer.

        Raises:
            PackageError: ``schema.remote_ref``, ``schema.bad_ref``, ``schema.unsupported``,
                ``schema.unknown_dialect``, or what *program_size* raises.
        """
        self._where = where
        self._document = schema
        self._program_size = program_size
        self._nodes: dict[str, Node] = {}
        self._anchors: dict[str, Node] = {}
        self._references: list[tuple[Node, int, str]] = []
        self.has_alternatives = False
        self.root = self._node(schema, "")
        # Resolving may find schemas where none was expected, and those may refer further.
        while self._references:
            node, times, reference = self._references.pop()
            node.in_place.append((self._resolve(reference, node.pointer), times))

    def _node(self, schema: Any, pointer: str) -> Node:
        known = self._nodes.get(pointer)
        if known is not None:
            return known
        node = Node(pointer)
        self._nodes[pointer] = node
        if isinstance(schema, bool):
            return node
        if not isinstance(schema, dict):
            raise self._refusal("invalid", pointer, "is not a schema", "a schema is an object, true or false")
        self._identity(schema, node)
        node.work = 1 + len(schema) + _own_work(schema)
        times = _UNEVALUATED_FACTOR if any(keyword in schema for keyword in _UNEVALUATED) else 1
        self._add_in_place(schema, node, times)
        self._add_children(schema, node)
        if "pattern" in schema:
            node.programs += self._program(schema["pattern"], f"{pointer}/pattern")
        for keyword in _UNUSED_MAPS:
            for name, inner in self._map(schema, keyword, pointer):
                self._node(inner, f"{pointer}/{keyword}/{_escape(name)}")
        if "contentSchema" in schema:
            self._node(schema["contentSchema"], f"{pointer}/contentSchema")
        return node

    def _identity(self, schema: dict[str, Any], node: Node) -> None:
        for keyword in _REFUSED:
            if keyword in schema:
                raise self._refusal("unsupported", node.pointer, f"uses {keyword}", "use $ref to #/$defs/…")
        if "$schema" in schema and (node.pointer or schema["$schema"] not in (DIALECT, f"{DIALECT}#")):
            raise self._refusal(
                "unknown_dialect",
                node.pointer,
                f"has $schema {schema['$schema']!r}",
                f"only {DIALECT} is known, at the root",
            )
        if "$id" in schema:
            identity = schema["$id"]
            if (
                node.pointer
                or not isinstance(identity, str)
                or _ROOT_ID.fullmatch(identity) is None
                or "#" in identity
            ):
                raise self._refusal("unsupported", node.pointer, f"has $id {identity!r}", "leave it out")
        if "$anchor" in schema:
            anchor = schema["$anchor"]
            if not isinstance(anchor, str) or anchor in self._anchors:
                raise self._refusal(
                    "bad_ref", node.pointer, f"has $anchor {anchor!r} twice", "give each its own name"
                )
            self._anchors[anchor] = node

    def _add_in_place(self, schema: dict[str, Any], node: Node, times: int) -> None:
        pointer = node.pointer
        if "$ref" in schema:
            self._references.append((node, times, schema["$ref"]))
        for keyword in _IN_PLACE:
            if keyword in schema:
                node.in_place.append((self._node(schema[keyword], f"{pointer}/{keyword}"), times))
        for keyword in _IN_PLACE_LISTS:
            self.has_alternatives |= keyword in schema and keyword != "allOf"
            for index, inner in enumerate(self._list(schema, keyword, pointer)):
                node.in_place.append((self._node(inner, f"{pointer}/{keyword}/{index}"), times))
        for name, inner in self._map(schema, "dependentSchemas", pointer):
            node.in_place.append((self._node(inner, f"{pointer}/dependentSchemas/{_escape(name)}"), times))

    def _add_children(self, schema: dict[str, Any], node: Node) -> None:
        pointer = node.pointer
        for name, inner in self._map(schema, "properties", pointer):
            node.named[name] = self._node(inner, f"{pointer}/properties/{_escape(name)}")
        for pattern, inner in self._map(schema, "patternProperties", pointer):
            place = f"{pointer}/patternProperties/{_escape(pattern)}"
            node.programs += self._program(pattern, place)
            node.patterned.append(self._node(inner, place))
        for keyword in _UNEVALUATED:
            if keyword in schema:
                node.unevaluated.append(self._node(schema[keyword], f"{pointer}/{keyword}"))
        for index, inner in enumerate(self._list(schema, "prefixItems", pointer)):
            node.prefix.append(self._node(inner, f"{pointer}/prefixItems/{index}"))
        for keyword, attribute in (
            ("additionalProperties", "additional"),
            ("propertyNames", "names"),
            ("items", "items"),
            ("contains", "contains"),
        ):
            if keyword in schema:
                setattr(node, attribute, self._node(schema[keyword], f"{pointer}/{keyword}"))

    def _map(self, schema: dict[str, Any], keyword: str, pointer: str) -> list[tuple[str, Any]]:
        value = schema.get(keyword, {})
        if not isinstance(value, dict):
            raise self._refusal(
                "invalid", f"{pointer}/{keyword}", "is not an object", "it maps names to schemas"
            )
        return list(value.items())

    def _list(self, schema: dict[str, Any], keyword: str, pointer: str) -> list[Any]:
        value = schema.get(keyword, [])
        if not isinstance(value, list):
            raise self._refusal("invalid", f"{pointer}/{keyword}", "is not an array", "it lists schemas")
        return value

    def _program(self, pattern: Any, pointer: str) -> int:
        if not isinstance(pattern, str):
            raise self._refusal("invalid", pointer, "is not text", "a pattern is a regular expression")
        return self._program_size(pattern, pointer)

    def _resolve(self, reference: Any, pointer: str) -> Node:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise self._refusal(
                "remote_ref",
                pointer,
                f"refers to {reference!r}",
                "nothing is fetched: only #/… and #anchor are followed",
            )
        fragment = unquote(reference[1:], errors="replace")
        # Whether "%2F" separates or belongs to a name is read differently: not here.
        if "%" in reference and fragment.count("/") + fragment.count("~") + fragment.count(
            "%"
        ) != reference.count("/") + reference.count("~"):
            raise self._refusal("bad_ref", pointer, f"refers to {reference!r}", "rename what it refers to")
        if not fragment:
            return self.root
        if not fragment.startswith("/"):
            if fragment not in self._anchors:
                raise self._refusal(
                    "bad_ref", pointer, f"refers to {reference!r}, which is not a $anchor", "check its name"
                )
            return self._anchors[fragment]
        target: Any = self._document
        path = ""
        for token in fragment[1:].split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and _INDEX.fullmatch(name) and int(name) < len(target):
                target = target[int(name)]
            else:
                raise self._refusal(
                    "bad_ref", pointer, f"refers to {reference!r}, which does not exist", "check its name"
                )
            path += f"/{_escape(name)}"
        return self._node(target, path)

    def _refusal(self, reason: str, pointer: str, what: str, hint: str) -> PackageError:
        return refusal(reason, f"{self._where} at {pointer}" if pointer else self._where, what, hint)


def _escape(name: str) -> str:
    """Return *name* as one token of a JSON pointer (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _own_work(schema: dict[str, Any]) -> int:
    """Return the units of the keywords whose cost is not constant, measured on jsonschema-rs 0.60."""
    work = 0
    required = schema.get("required")
    if isinstance(required, list):
        work += len(required)
    dependent = schema.get("dependentRequired")
    if isinstance(dependent, dict):
        work += sum(len(names) for names in dependent.values() if isinstance(names, list))
    for keyword in ("enum", "const"):
        if keyword in schema:
            work += _comparison(schema[keyword])
    if schema.get("uniqueItems") is True:
        work += 128  # hashes the whole subtree, at every level that has it
    if "multipleOf" in schema:
        work += 5 if isinstance(schema["multipleOf"], int) else 1_000
    return work


def _comparison(value: Any) -> int:
    """Return the units of comparing an instance with *value*: numbers are compared exactly, as fractions."""
    if isinstance(value, dict):
        return 20 + sum(_comparison(inner) for inner in value.values())
    if isinstance(value, list):
        return 20 + sum(_comparison(inner) for inner in value)
    if isinstance(value, float):
        return 100
    return 25 if isinstance(value, int) and not isinstance(value, bool) else 1
