"""Words of MCP that both of its sides use: versions, error codes and the names of what ``_meta`` holds."""

from __future__ import annotations

from typing import Any, Final

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Versions that ``initialize`` can agree on, the newest first."""

MODERN: Final = ("2026-07-28",)
"""Versions without a handshake, the newest first."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"

METHOD_NOT_FOUND: Final = -32601

RequestId = str | int


def is_id(value: Any) -> bool:
    """Tell whether *value* can be the id of a request."""
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
