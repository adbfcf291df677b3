"""The manifest: everything an author declares, as immutable values.

A manifest exists in three forms: ``mpp.toml`` (what an author writes), :class:`Manifest` (what the
code works with) and a CBOR map (what is signed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mpp_exec.permissions import Limits, Permissions, Privacy

Kind = Literal["python", "exec", "mcp"]
Operation = Literal["read", "write", "destructive"]
Confirm = Literal["never", "once", "always"]
ResultForm = Literal["json", "mcp"]
ConfigType = Literal["string", "number", "boolean", "file", "directory"]

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class Requirement:
    """An interpreter taken from the host: ``python>=3.11`` is ``("python", ">=3.11")``."""

    name: str
    specifier: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """How the tools are started (``[runtime]``)."""

    kind: Kind
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """One MCP tool (``[[tools]]``). Schemas are JSON Schema 2020-12 objects."""

    name: str
    description: str
    input_schema: dict[str, Any]
    title: str = ""
    entry: str = ""
    operation: Operation = "read"
    confirm: Confirm = "never"
    output_schema: dict[str, Any] | None = None
    result: ResultForm = "json"


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One value that the user sets when approving (``[user_config.KEY]``)."""

    key: str
    type: ConfigType
    title: str = ""
    description: str = ""
    required: bool = False
    sensitive: bool = False
    env: str = ""
    default: Any = None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One row of the signed file table. ``path`` is relative, with ``/``, NFC; ``sha256`` is raw bytes."""

    path: str
    size: int
    sha256: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is signed. ``publisher_key`` is the raw Ed25519 public key, ``expires`` an ISO date."""

    name: str
    version: str
    publisher_key: bytes
    runtime: RuntimeSpec
    tools: tuple[Tool, ...]
    files: tuple[FileEntry, ...]
    description: str = ""
    license: str = ""
    homepage: str = ""
    expires: str | None = None
    permissions: Permissions = Permissions()
    user_config: tuple[ConfigField, ...] = ()
    limits: Limits = Limits()
    privacy: Privacy = Privacy()

    @property
    def publisher(self) -> str:
        """The part of ``name`` before the slash."""
        return self.name.partition("/")[0]

    def tool(self, name: str) -> Tool | None:
        """Return the tool called *name*, or None."""
        return next((tool for tool in self.tools if tool.name == name), None)
