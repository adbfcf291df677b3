"""The arguments of a call, from the words of a command line.

``KEY=VALUE`` is read by what the tool's inputSchema says of KEY, so that nobody quotes JSON by hand for
a number. What is right or wrong about values is the schema's to say, later; here a word only becomes
the one JSON value that it can be meant as.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.errors import UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.patterns import lazily

_MAX: Final = 4 << 20
_INTEGER: Final = lazily(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_TYPES: Final = ("null", "boolean", "integer", "number", "array", "object", "string")
_EXAMPLES: Final = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number, as in 42",
    "number": "a number, as in 42 or 0.5",
    "array": "a JSON list, as in '[1, 2]'",
    "object": "a JSON object, as in '{\"a\": 1}'",
}


def split_words(words: Iterable[str]) -> tuple[str, list[tuple[str, str]]]:
    """Take ``[TOOL] KEY=VALUE…`` apart: the tool's name ("" if it was left out) and the pairs.

    Raises:
        UsageError: ``arguments.word``: a word that is neither.
    """
    rest = list(words)
    tool = rest.pop(0) if rest and "=" not in rest[0] else ""
    pairs = []
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(
                "arguments.word",
                f"{word!r} is not KEY=VALUE",
                "write KEY=VALUE, with the name of an argument; quote values with spaces",
            )
        pairs.append((key, value))
    return tool, pairs


def read_arguments(
    text: bytes | None, pairs: Iterable[tuple[str, str]], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of *text*, a JSON object (None for none), and of *pairs*, read by *schema*.

    Raises:
        UsageError: ``arguments.not_json``, ``arguments.not_object``, ``arguments.twice``,
            ``arguments.unknown``, ``arguments.type``.
    """
    given = _object(text) if text is not None else {}
    for key, word in pairs:
        if key in given:
            raise UsageError("arguments.twice", f"the argument {key} is given twice", "leave one of them out")
        given[key] = _value(key, word, schema)
    return given


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = encoding.json_loads(text, max_size=_MAX)
    except encoding.JsonError as error:
        raise UsageError(
            "arguments.not_json",
            f"the arguments are not JSON: {error.message}",
            'give one JSON object, as in --args \'{"path": "/data"}\', or KEY=VALUE words',
        ) from None
    if not isinstance(value, dict):
        raise UsageError(
            "arguments.not_object",
            "the arguments are not a JSON object",
            'give one JSON object, as in --args \'{"path": "/data"}\'',
        )
    return value


def _value(key: str, word: str, schema: Mapping[str, Any]) -> Any:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    if key not in known:
        if schema.get("additionalProperties") is False:
            hint = nearest(key, known) if known else "it takes no arguments"
            raise UsageError("arguments.unknown", f"the tool takes no argument {key}", hint)
        return _guessed(word)
    types = _types(known[key], schema)
    if not types:
        return _guessed(word)
    for name in types:
        read, value = _read(name, word)
        if read:
            return value
    wanted = " or ".join(_EXAMPLES[name] for name in types)
    raise UsageError(
        "arguments.type", f"{word!r} is not of type {' or '.join(types)}, for {key}", f"give {wanted}"
    )


def _types(schema: Any, root: Mapping[str, Any], depth: int = 0) -> list[str]:
    """Return the types that *schema* names, those that leave least room first; [] where it names none."""
    if not isinstance(schema, dict) or depth > 8:
        return []
    found: set[str] = set()
    match schema:
        case {"type": str(name)}:
            found.add(name)
        case {"type": list(names)}:
            found.update(name for name in names if isinstance(name, str))
        case {"enum": list(values)}:
            found.update(_type_of(value) for value in values)
        case {"const": value}:
            found.add(_type_of(value))
        case {"$ref": str(reference)}:
            return _types(_resolved(reference, root), root, depth + 1)
        case {"anyOf": list(parts)} | {"oneOf": list(parts)}:
            each = [_types(part, root, depth + 1) for part in parts]
            found.update(name for names in each for name in names) if all(each) else found.clear()
        case _:
            pass
    return [name for name in _TYPES if name in found]


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what a ``#/…`` reference (RFC 6901) points to, None for any other."""
    if not reference.startswith("#/"):
        return None
    place: Any = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, dict) else None
    return place


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _read(name: str, word: str) -> tuple[bool, Any]:
    """Read *word* as the type *name*: whether it can be one, and the value."""
    if name == "string":
        return True, word
    if name == "integer" and not _INTEGER.fullmatch(word):
        return False, None
    try:
        value = encoding.json_loads(word, max_size=_MAX)
    except encoding.JsonError:
        return False, None
    found = _type_of(value)
    return found == name or (name == "number" and found == "integer"), value


def _guessed(word: str) -> Any:
    """Read a word that the schema says nothing about: as JSON where it is some, else as text."""
    try:
        return encoding.json_loads(word, max_size=_MAX)
    except encoding.JsonError:
        return word
