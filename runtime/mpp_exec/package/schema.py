"""JSON Schema 2020-12: the one door to jsonschema-rs, through which no package can hang its host.

A schema comes from whoever wrote the package, an instance from a model or a tool. So a schema is
accepted only if its worst case is bounded (:mod:`mpp_exec.package.schema_cost`), its patterns compile
to an engine that is linear in the text, and it refers to nothing outside itself; and an instance is
validated only if what that can cost fits the budget. What a violation says never quotes the instance.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from mpp_exec.characters import forbidden_character
from mpp_exec.encoding import JsonError, json_dumps
from mpp_exec.package.schema_cost import BUDGET, Cost, Effort
from mpp_exec.package.schema_graph import Graph, refusal
from mpp_exec.patterns import lazily

MAX_SCHEMA_SIZE: Final = 64 * 1024
"""Bytes of a schema as canonical JSON."""
MAX_SCHEMA_DEPTH: Final = 32
"""Nested containers of a schema."""

_PROGRAM_SIZES: Final = (4 * 1024, 32 * 1024, 256 * 1024, 512 * 1024)
_MAX_ALL_PROGRAMS: Final = 2 * 1024 * 1024
_MAX_PATTERN: Final = 4_096  # characters
_MAX_POINTER: Final = 1_024

# Listing every violation costs some 9 µs and a copy for each; telling where the first one is costs
# little, unless alternatives bring the violations of every branch with them.
_LIST_BELOW: Final = 50_000

# Values under these keywords are data: they are only ever shown as JSON, where tab and line break
# are escaped.
_DATA_KEYWORDS: Final = frozenset({"const", "enum", "default", "examples"})
_WITH_NAMES: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)

# An escaped character, or an opening parenthesis with a question mark that begins neither a group nor a
# named one. JSON Schema has no inline flags, and case folding makes compiling take minutes.
_ESCAPE_OR_FLAGS: Final = lazily(r"\\.|\(\?(?!<[A-Za-z_]|P<)(?=[A-Za-z<=!-])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which an instance does not satisfy a schema, without the instance.

    Attributes:
        path: where in the instance: names of properties, which are the instance's own, and indices.
        keyword: which keyword is not satisfied; ``depth`` and ``budget`` where validating stopped.
        schema_pointer: where in the schema.
        missing: for ``required``, the property that the schema names.
    """

    path: tuple[str | int, ...]
    keyword: str
    schema_pointer: str
    missing: str = ""

    @property
    def pointer(self) -> str:
        """``path`` as a JSON pointer (RFC 6901), cut after 1,024 characters."""
        return json_pointer(self.path)

    def __str__(self) -> str:
        what = f"{self.keyword} {self.missing!r}" if self.missing else self.keyword
        return f"{self.pointer or '/'}: {what}"


class Validator:
    """A compiled schema. Immutable, usable from any thread."""

    def __init__(self, schema: dict[str, Any], *, where: str, effort: Effort) -> None:
        """Check and compile *schema*; see :func:`compile_schema`."""
        effort.spend("size", _check_json(schema, where), where)
        if schema.get("type") != "object":
            raise refusal(
                "not_object", where, "is not the schema of an object", 'write type = "object" at its root'
            )
        _check_meta(schema, where)
        programs = _Programs(where, effort)
        graph = Graph(schema, where=where, program_size=programs.size)
        self._has_alternatives = graph.has_alternatives
        self._cost = Cost(graph, where=where, effort=effort)
        try:
            self._rust = jsonschema_rs.Draft202012Validator(
                schema, offline=True, pattern_options=_regex(_PROGRAM_SIZES[-1]), mask="…"
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise refusal("invalid", where, _first_line(error), "see https://json-schema.org") from None

    def validate(self, value: Any, limit: int = 20) -> list[Violation]:
        """Return up to *limit* violations of *value*, a JSON value; none if it is valid.

        A value that is nested deeper than 64, or whose validation could exceed the budget, has one
        violation that says so. Where listing all of them could take long, the first is all there is,
        and its place is the root if finding it could take long too.
        """
        units = self._cost.of(value)
        if units is None:
            return [Violation((), "depth", "")]
        if units > BUDGET:
            return [Violation((), "budget", "")]
        if self._rust.is_valid(value):
            return []
        if units <= _LIST_BELOW:
            return [_violation(error) for error in itertools.islice(self._rust.iter_errors(value), limit)]
        if not self._has_alternatives:
            try:
                self._rust.validate(value)
            except jsonschema_rs.ValidationError as error:
                return [_violation(error)]
        return [Violation((), "schema", "")]


def compile_schema(schema: dict[str, Any], *, where: str = "schema") -> Validator:
    """Return the validator of *schema*; *where* names its key in errors.

    Raises:
        PackageError: ``schema.invalid``, ``schema.too_large``, ``schema.too_deep``,
            ``schema.not_object``, ``schema.unknown_dialect``, ``schema.remote_ref``,
            ``schema.bad_ref``, ``schema.unsupported``, ``schema.bad_pattern``,
            ``schema.forbidden_character``, ``schema.endless`` or ``schema.too_complex``.
    """
    return Validator(schema, where=where, effort=Effort())


def check_schema(schema: dict[str, Any], *, where: str, effort: Effort | None = None) -> None:
    """Refuse a schema that :func:`compile_schema` would refuse.

    With one *effort* for all schemas of a package, ``schema.too_complex`` also where the schemas are
    harmless one by one and too much together.
    """
    Validator(schema, where=where, effort=effort or Effort())


def _regex(size: int) -> jsonschema_rs.RegexOptions:
    return jsonschema_rs.RegexOptions(size_limit=size)


def _check_json(schema: dict[str, Any], where: str) -> int:
    """Check that *schema* is JSON of bounded size, depth and numbers, all of it visible; return its size."""
    # Each value with its depth, whether it is data, and whether its keys are names rather than keywords.
    waiting: list[tuple[Any, int, bool, bool]] = [(schema, 1, False, False)]
    while waiting:
        value, depth, is_data, has_names = waiting.pop()
        if isinstance(value, (dict, list)) and depth > MAX_SCHEMA_DEPTH:
            raise refusal(
                "too_deep", where, f"is nested deeper than {MAX_SCHEMA_DEPTH}", "use $ref and $defs"
            )
        if isinstance(value, dict):
            for key, inner in value.items():
                _check_scalar(key, where, is_data=is_data)
                is_keyword = not (is_data or has_names)
                inner_data = is_data or (is_keyword and key in _DATA_KEYWORDS)
                waiting.append((inner, depth + 1, inner_data, is_keyword and key in _WITH_NAMES))
        elif isinstance(value, list):
            waiting += [(inner, depth + 1, is_data, False) for inner in value]
        else:
            _check_scalar(value, where, is_data=is_data)
    try:
        size = len(json_dumps(schema).encode())
    except JsonError as error:
        raise refusal("invalid", where, error.message, "write plain JSON") from None
    if size > MAX_SCHEMA_SIZE:
        raise refusal("too_large", where, f"has {size} bytes", f"at most {MAX_SCHEMA_SIZE} are accepted")
    return size


def _check_scalar(value: Any, where: str, *, is_data: bool) -> None:
    if isinstance(value, str):
        if found := forbidden_character(value, allow_line_breaks=is_data):
            raise refusal(
                "forbidden_character",
                where,
                f"holds the character {found}",
                "leave it out: whoever approves would not see it, or would see something else",
            )
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise refusal(
                "invalid", where, "has an integer of more than 64 bits", "no program would read it back"
            )
    elif value is not None and not (isinstance(value, float) and math.isfinite(value)):
        raise refusal("invalid", where, f"has a value that JSON has not: {value!r}", "write plain JSON")


def _check_meta(schema: dict[str, Any], where: str) -> None:
    try:
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
    except jsonschema_rs.ValidationError as error:
        place = _pointer(error.instance_path)
        found = repr(error.instance)
        raise refusal(
            "invalid",
            f"{where} at {place}" if place else where,
            f"{found if len(found) <= 60 else found[:60] + '…'} is not what JSON Schema has there",
            "see https://json-schema.org/understanding-json-schema",
        ) from None


class _Programs:
    """The compiled size of every pattern of a schema, and what all of them cost to compile, bounded."""

    def __init__(self, where: str, effort: Effort) -> None:
        self._where = where
        self._effort = effort
        self._sizes: dict[str, int] = {}
        self._bytes = 0

    def size(self, pattern: str, pointer: str) -> int:
        """Return the bytes that *pattern* compiles to at most."""
        where = f"{self._where} at {pointer}"
        escapes = self._check_text(pattern, where)
        # Every occurrence is compiled once more by the validator, so every one counts.
        self._effort.spend("escapes", escapes * escapes, where)
        if pattern not in self._sizes:
            self._sizes[pattern] = self._compile(pattern, where)
        self._effort.spend("programs", self._sizes[pattern], where)
        self._bytes += self._sizes[pattern]
        if self._bytes > _MAX_ALL_PROGRAMS:
            raise refusal("too_complex", self._where, "has too many or too large patterns", "use fewer")
        return self._sizes[pattern]

    @staticmethod
    def _check_text(pattern: str, where: str) -> int:
        """Refuse what is too long or has flags; return how many class escapes there are."""
        if len(pattern) > _MAX_PATTERN:
            raise refusal(
                "bad_pattern", where, f"is longer than {_MAX_PATTERN} characters", "check less with it"
            )
        escapes = 0
        for match in _ESCAPE_OR_FLAGS.finditer(pattern):
            if match.group() == "(?":
                raise refusal(
                    "bad_pattern", where, "has a group with flags or look-around", "JSON Schema has no flags"
                )
            escapes += match.group()[1] in "cdswDSW"
        return escapes

    @staticmethod
    def _compile(pattern: str, where: str) -> int:
        for size in _PROGRAM_SIZES:
            try:
                jsonschema_rs.Draft202012Validator(
                    {"pattern": pattern}, offline=True, pattern_options=_regex(size)
                )
            except jsonschema_rs.ValidationError:
                continue
            return size
        raise refusal(
            "bad_pattern",
            where,
            "is not a regular expression of the linear-time engine, or too large",
            "no look-around, no back-references, small repeat counts",
        )


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    kind = error.kind
    missing = kind.property if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required) else ""
    return Violation(tuple(error.instance_path), kind.name, _pointer(error.schema_path), missing)


def json_pointer(path: Sequence[str | int]) -> str:
    """Return *path* as a JSON pointer (RFC 6901), cut after 1,024 characters."""
    return _pointer(path)[:_MAX_POINTER]


def _pointer(path: Sequence[str | int]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
