"""What every framework is given: the approved tools with names that models can call, and answers as text.

All of it comes from signed manifests and grants. What a call needs beyond that, a person's confirmation, is
asked for by the function that the host gave to its ``Runtime``; without one, such calls are refused.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.calls.result import ToolResult
from mpp_exec.encoding import json_dumps
from mpp_exec.errors import InternalError, MppError
from mpp_exec.mcp import catalog
from mpp_exec.patterns import lazily
from mpp_exec.pipeline import Runtime

MAX_NAME: Final = 64
"""Characters of a function's name, and which, by the interfaces of the large models."""

_NO_NAME: Final = lazily(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Offering:
    """One tool: *name* is what a model calls it by, *schema* that of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]
    package: str
    tool: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model is told of a call: content blocks of MCP, and whether they say that it failed."""

    blocks: list[dict[str, Any]]
    failed: bool
    result: ToolResult | None

    @property
    def text(self) -> str:
        """All blocks as one text."""
        return "\n".join(text_of(block) for block in self.blocks)


def offerings(runtime: Runtime, packages: Sequence[str]) -> list[Offering]:
    """Return the approved tools of *packages*, of all if empty, by name.

    A package that cannot be offered is told in a ``UserWarning``.

    Raises:
        MppError: the home cannot be read.
    """
    made = catalog.build(runtime, packages)
    for line in made.left_out:
        warnings.warn(line, stacklevel=3)
    found = [
        Offering(
            name_of(each.package, each.tool),
            each.shown["description"],
            each.shown["inputSchema"],
            each.package,
            each.tool,
        )
        for each in made.tools.values()
    ]
    return sorted(found, key=lambda each: each.name)


def name_of(package: str, tool: str) -> str:
    """Return the name of *tool* among those of all packages, the same however many there are."""
    whole = catalog.joined(package, tool)
    name = _NO_NAME.sub("_", whole)
    if name == whole and len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 17]}_{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def answer_of(result: ToolResult) -> Answer:
    """Return what a model is told of a call that has ended, however it ended."""
    return Answer(result.told(), result.is_error, result)


def refusal_of(error: MppError) -> Answer:
    """Return what a model is told of a call that did not run.

    Raises:
        InternalError: *error* itself, where nothing that a model could do would help.
    """
    if isinstance(error, InternalError):
        raise error
    return Answer(_words(f"{error.message}\n{error.hint}" if error.hint else error.message), True, None)


def text_of(block: dict[str, Any]) -> str:
    """Return one content block as text; what is none is named, not spelt out."""
    if block["type"] == "text":
        return str(block["text"])
    if block["type"] == "resource" and "text" in block["resource"]:
        return str(block["resource"]["text"])
    shown = {key: value for key, value in block.items() if key not in ("data", "resource")}
    if block["type"] == "resource":
        shown["resource"] = {key: value for key, value in block["resource"].items() if key != "blob"}
    return json_dumps(shown)


def is_plain(blocks: Iterable[dict[str, Any]]) -> bool:
    """Tell whether *blocks* lose nothing as text."""
    return all(block["type"] not in ("image", "audio") for block in blocks)


def _words(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]
