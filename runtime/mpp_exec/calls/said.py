"""Reads a tool's output from its sandbox: parses it, checks it against its declared form.

No byte of it is trusted to have the right form: it may be no JSON, half a document, too deep, not UTF-8, or
against the tool's own schema. Nothing is redacted here yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mpp_exec import encoding
from mpp_exec.dialogue.blocks import RESULT, defined, is_block
from mpp_exec.dialogue.session import End
from mpp_exec.package.manifest import Tool
from mpp_exec.sandbox.outcome import Outcome
from mpp_exec.sandbox.spawn import Completed

MAX_DEPTH: Final = 64
"""Nesting of a result; deeper ones are refused before anything recurses over them."""

MAX_VALUES: Final = 200_000
"""Values in a result. Each costs the host memory and time, however few bytes it takes."""

Violations = Callable[[Any], Sequence[tuple[Sequence[str | int], str]]]
"""What is wrong with a value: pairs of the way to it (names, indices) and keyword, never the value itself."""


@dataclass(slots=True)
class Said:
    """What the tool said, before redaction; ``form`` says whether ``value`` or ``blocks`` holds it."""

    outcome: Outcome
    reason: str = ""
    form: Literal["json", "mcp"] = "json"
    has_value: bool = False
    value: Any = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    structured: dict[str, Any] | None = None
    tool_error: bool = False
    message: str = ""
    denied_path: str | None = None
    denied_errno: int | None = None
    tried: Mapping[str, Any] = field(default_factory=dict)
    broken: tuple[Sequence[str | int], str] | None = None


def read_said(
    kind: str,
    tool: Tool,
    completed: Completed,
    *,
    violations: Violations | None,
    max_size: int,
    end: End | None,
) -> Said:
    """Return what *completed* said; the arguments are those of ``read_result``."""
    if end is not None:
        said = _read_server(completed, end)
    else:
        said = _read_python(completed, max_size) if kind == "python" else _read_exec(completed, max_size)
    if said.outcome == "ok" and not said.tool_error:
        _shape(said, tool, violations)
    return said


def _read_python(completed: Completed, max_size: int) -> Said:
    if completed.outcome != "ok":
        return Said(completed.outcome, completed.reason)
    try:
        document = _parse(completed.output, max_size)
    except encoding.JsonError as error:
        return _protocol(completed, error.message)
    tried = document.pop("tried", {}) if isinstance(document, dict) else {}
    if not isinstance(tried, dict):
        return _protocol(completed, "it is not what the launcher writes")
    if isinstance(document, dict) and document.keys() == {"value"}:
        return Said("ok", has_value=True, value=document["value"], tried=tried)
    told = document.get("error") if isinstance(document, dict) else None
    if (
        not isinstance(told, dict)
        or not isinstance(told.get("type"), str)
        or not isinstance(told.get("message"), str)
    ):
        return _protocol(completed, "it is not what the launcher writes")
    said = Said("ok", tool_error=True, message=f"{told['type']}: {told['message']}".removesuffix(": "))
    if told.get("limit") in ("memory", "processes"):
        said.outcome = told["limit"]
        said.reason = f"the tool ran into its limit of {told['limit']}"
    path, number = told.get("path"), told.get("errno")
    said.denied_path = path if isinstance(path, str) else None
    said.denied_errno = number if isinstance(number, int) else None
    said.tried = tried
    return said


def tried_by(completed: Completed, max_size: int) -> Mapping[str, Any]:
    """Return what the launcher of a Python tool noted, {} for nothing. The tool's own claim, not redacted."""
    try:
        document = _parse(completed.output, max_size)
    except encoding.JsonError:
        return {}
    tried = document.get("tried") if isinstance(document, dict) else None
    return tried if isinstance(tried, dict) else {}


def _read_exec(completed: Completed, max_size: int) -> Said:
    try:
        value = _parse(completed.output, max_size)
    except encoding.JsonError as error:
        if completed.outcome == "ok":
            return _protocol(completed, error.message)
        return Said(completed.outcome, completed.reason)
    if completed.outcome == "ok":
        return Said("ok", has_value=True, value=value)
    if completed.outcome == "tool_error":
        return Said("ok", completed.reason, has_value=True, value=value, tool_error=True)
    return Said(completed.outcome, completed.reason)


def _read_server(completed: Completed, end: End) -> Said:
    if completed.outcome not in ("ok", "tool_error"):
        return Said(completed.outcome, completed.reason)
    match end.kind:
        case "result":
            return _as_defined(end.value)
        case "error":
            return Said("ok", tool_error=True, message=end.message or f"the server failed with {end.code}")
        case "fault":
            return Said("protocol", f"the server does not speak MCP: {end.message}")
    how = f": it {completed.reason}" if completed.reason else ""
    return Said("protocol", f"the server ended before it answered{how}")


def _as_defined(value: Any) -> Said:
    """Return a server's result without members that MCP does not define; clients ignore such members."""
    if not isinstance(value, dict):
        return Said("protocol", "the server does not speak MCP: its result is not an object")
    if value.get("resultType") == "input_required":
        return Said("ok", tool_error=True, message="the server asks for input, which nobody here can give")
    said = Said("ok", has_value=True)
    said.value = {name: part for name, part in value.items() if name in RESULT and part is not None}
    if isinstance(value.get("content"), list):
        said.value["content"] = [defined(block) for block in value["content"]]
    return said


def _parse(data: bytes, max_size: int) -> Any:
    """Parse what a tool printed.

    Raises:
        JsonError: the text is not JSON, or is not accepted.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise encoding.JsonError("too_long", f"JSON text with more than {MAX_VALUES} values")
    return encoding.json_loads(data, max_size=max_size, max_depth=MAX_DEPTH)


def _protocol(completed: Completed, what: str) -> Said:
    nothing = "it printed nothing" if not completed.output.strip() else what
    return Said("protocol", f"the tool did not answer with one JSON value: {nothing}")


def _shape(said: Said, tool: Tool, violations: Violations | None) -> None:
    """Bring a value into the form that its tool declared, or say that it has another form."""
    if tool.result == "mcp":
        fault = _take_blocks(said)
        if fault:
            said.outcome, said.reason = "protocol", f"the tool did not answer with an MCP result: {fault}"
            said.has_value, said.blocks, said.structured = False, [], None
            return
    else:
        said.structured = said.value if isinstance(said.value, dict) else {"result": said.value}
    if violations is not None and not said.tool_error:
        found = violations(said.structured if said.structured is not None else {})
        if found:
            said.outcome = "protocol"
            said.broken = (found[0][0], found[0][1])
            said.has_value, said.blocks, said.structured = False, [], None


def _take_blocks(said: Said) -> str:
    """Take an MCP CallToolResult apart, without its ``_meta``; return what is wrong with it, or ""."""
    value = said.value
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        return "no content list"
    if value.keys() - set(RESULT):
        return "an unknown member"
    if not isinstance(value.get("isError", False), bool):
        return "isError is not a boolean"
    structured = value.get("structuredContent")
    if structured is not None and not isinstance(structured, dict):
        return "structuredContent is not an object"
    blocks = []
    for block in value["content"]:
        if not is_block(block):
            return "a content block of no known form"
        blocks.append({name: part for name, part in block.items() if name != "_meta"})
    said.form, said.has_value = "mcp", False
    said.blocks, said.structured = blocks, structured
    said.tool_error = value.get("isError", False)
    return ""
