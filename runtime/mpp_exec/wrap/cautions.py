"""What in a server's descriptions a person should read before signing: a model takes it as said to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mpp_exec.characters import forbidden_character, visible
from mpp_exec.package.manifest import Draft
from mpp_exec.patterns import lazily

_INSTRUCTIONS: Final = lazily(
    r"<\s*(?:important|system|instructions?|secret|critical)\b[^>]*>"
    r"|\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|other|instructions?|rules)\b"
    r"|\b(?:do not|don't|never|without)\s+(?:tell|mention|inform|reveal|show|notify)(?:ing)?\b"
    r"|\b(?:before|after|instead of)\s+(?:using|calling|invoking|running)\s+(?:this|any|other|the|all)\b"
    r"|\byou (?:must|have to|are required to|should always)\b"
    r"|(?<!\bare )(?<!\bis )\b(?:must|always)\s+(?:first\s+)?"
    r"(?:be called|call|use|invoke|read|send|include|pass)\b"
    r"|\bsystem prompt\b|\bas a (?:side ?note|hidden)\b|~/\.|/\.ssh\b|\bid_rsa\b|\.env\b",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN: Final = 80

ICONS: Final = "icons are left out, since nobody who approves a package is shown a picture"
"""Said of a server, or of a bundle, that has some."""


def cautions(tool: dict[str, Any], names: Iterable[str]) -> list[str]:
    """Return a line for each thing in the texts of *tool* to look at; *names* are those of all tools."""
    found: list[str] = []
    own = str(tool.get("name", ""))
    others = {name for name in names if name != own and len(name) > 2}
    for where, text in _texts(tool):
        if unseen := forbidden_character(text, allow_line_breaks=True):
            found.append(f"{where} holds the character {unseen}, which nobody sees; it was taken out")
        if match := _INSTRUCTIONS.search(text):
            found.append(f"{where} instructs the model: {_excerpt(text, match)}")
        words = set(re.findall(r"[A-Za-z0-9_.-]+", text))
        named = sorted(name for name in others & {word.strip(".") for word in words} if _is_name(name, text))
        if named:
            found.append(f"{where} refers to other tools: {', '.join(named[:8])}")
    execution = tool.get("execution")
    if isinstance(execution, dict) and execution.get("taskSupport") == "required":  # MCP 2025-11-25, tasks
        found.append("it runs as a task only, which no call here is: its server will refuse every one")
    return list(dict.fromkeys(found))


def _is_name(name: str, text: str) -> bool:
    """Tell whether *name* stands there as a name: a plain word such as ``add`` may be just that."""
    return bool(re.search(r"[_.-]|[a-z][A-Z]|\d", name)) or f"`{name}`" in text or f"{name}()" in text


def _texts(tool: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("title", "description"):
        if isinstance(tool.get(key), str):
            yield key, tool[key]
    for key in ("inputSchema", "outputSchema"):
        yield from _inside(tool.get(key), key)


def _inside(value: Any, where: str) -> Iterator[tuple[str, str]]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            yield from ((where, key) for key in each if isinstance(key, str))
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str):
            yield where, each


def _excerpt(text: str, match: re.Match[str]) -> str:
    begin = max(0, match.start() - 16)
    return f"…{visible(text[begin : begin + _SHOWN])}…"


def changes_nothing(draft: Draft) -> list[str]:
    """Return a note where a tool is said to change something, and there is nothing that it could change."""
    asked = draft.permissions
    names = [tool.name for tool in draft.tools if tool.operation in ("write", "destructive")]
    if not names or asked.write or asked.storage or asked.network or asked.subprocess:
        return []
    paths = [each.key for each in draft.user_config if each.type in ("file", "directory")]
    path = f"'${{user_config.{paths[0]}}}'" if paths else "PATH"
    return [
        f"nothing is asked for that {', '.join(names)} could change: --write {path}, --storage, --network"
    ]
