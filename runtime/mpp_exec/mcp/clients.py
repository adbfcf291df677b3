"""What to write into which client's configuration so that it starts this server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

NAME: Final = "mpp-exec"
_JSON_MAX: Final = 0xFFFF  # what one escape of JSON can say


def _named(section: str) -> Callable[[dict[str, Any]], str]:
    def render(server: dict[str, Any]) -> str:
        return json.dumps({section: {NAME: server}}, indent=2, ensure_ascii=False)

    return render


def _vscode(server: dict[str, Any]) -> str:
    return json.dumps({"servers": {NAME: {"type": "stdio", **server}}}, indent=2, ensure_ascii=False)


def _codex(server: dict[str, Any]) -> str:
    def lines(table: Mapping[str, Any]) -> list[str]:
        return [f"{key} = {_toml(value)}" for key, value in table.items()]

    env = server.pop("env", {})
    rows = [f"[mcp_servers.{NAME}]", *lines(server)]
    return "\n".join([*rows, "", f"[mcp_servers.{NAME}.env]", *lines(env)] if env else rows)


def _toml(value: str | list[str]) -> str:
    """Return *value* in TOML: strings as JSON has them in ASCII, which knows no code points beyond U+FFFF."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    signs = (f"\\U{ord(sign):08x}" if ord(sign) > _JSON_MAX else json.dumps(sign)[1:-1] for sign in value)
    return f'"{"".join(signs)}"'


CLIENTS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], str]]]] = {
    "claude": ("claude_desktop_config.json, or .mcp.json in a project", _named("mcpServers")),
    "codex": ("~/.codex/config.toml", _codex),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json in a project", _named("mcpServers")),
    "gemini": ("~/.gemini/settings.json", _named("mcpServers")),
    "vscode": (".vscode/mcp.json", _vscode),
    "windsurf": ("~/.codeium/windsurf/mcp_config.json", _named("mcpServers")),
    "zed": ("settings.json of Zed", _named("context_servers")),
}
"""For each client: the file, and how the entry is written in it."""


def configuration(
    client: str, command: str, arguments: Sequence[str], env: Mapping[str, str] | None = None
) -> str:
    """Return the text for *client*'s file; *command* is an absolute path, *env* what it is started with."""
    _, render = CLIENTS[client]
    server: dict[str, Any] = {"command": command, "args": list(arguments)}
    if env:
        server["env"] = dict(env)
    return render(server)
