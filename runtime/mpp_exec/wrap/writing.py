"""``mpp.toml`` of a wrapped server, written for its author to read, change and sign."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.patterns import lazily

_BARE: Final = lazily(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class WrappedTool:
    """One tool as it goes into the file. ``operation`` is "" where the server does not say what it does."""

    name: str
    title: str
    description: str
    operation: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None


def toml_value(value: Any) -> str:
    """Return a JSON value without null as TOML, on one line.

    Raises:
        ValueError: TOML has no such value.
    """
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            text = repr(value)
        case list() | tuple():
            text = f"[{', '.join(map(toml_value, value))}]"
        case dict():
            rows = [f"{toml_key(key)} = {toml_value(inner)}" for key, inner in value.items()]
            text = f"{{ {', '.join(rows)} }}" if rows else "{}"
        case _:
            raise ValueError(f"{type(value).__name__} has no form in TOML")
    return text


def toml_key(key: str) -> str:
    """Return *key*, in quotes where it needs them."""
    return key if _BARE.fullmatch(key) else toml_value(key)


def table(name: str, entries: Mapping[str, Any]) -> str:
    """Return one table; entries that are empty or None are left out."""
    rows = [
        f"{toml_key(key)} = {toml_value(value)}"
        for key, value in entries.items()
        if value not in (None, "", (), [], {})
    ]
    return f"[{name}]\n" + "".join(f"{row}\n" for row in rows) if rows else ""


def mpp_toml(
    *,
    source: str,
    package: Mapping[str, Any],
    runtime: Mapping[str, Any],
    tools: Sequence[WrappedTool],
    permissions: Mapping[str, Any],
    filesystem: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, Any],
) -> str:
    """Return the text of the whole file."""
    parts = [
        f"# Made by mpp-exec wrap from {toml_value(source)[1:-1]}. You sign what stands here: read it.\n",
        table("package", package),
        table("runtime", runtime),
        *map(_tool, tools),
        table("permissions", permissions),
        table("permissions.filesystem", filesystem),
        *(table(f"user_config.{toml_key(key)}", setting) for key, setting in settings.items()),
        table("limits", limits),
    ]
    return "\n".join(part for part in parts if part)


def _tool(tool: WrappedTool) -> str:
    entries: dict[str, Any] = {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
    }
    rows = [f"{key} = {toml_value(value)}" for key, value in entries.items() if value or key == "description"]
    if tool.operation:
        rows.append(f"operation = {toml_value(tool.operation)}")
    else:
        rows.append('# operation: the server does not say. Without one it is "read", and can change nothing.')
    rows.append(f"inputSchema = {toml_value(tool.input_schema)}")
    if tool.output_schema is not None:
        rows.append(f"outputSchema = {toml_value(tool.output_schema)}")
    return "[[tools]]\n" + "".join(f"{row}\n" for row in rows)
