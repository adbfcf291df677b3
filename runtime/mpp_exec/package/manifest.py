"""The manifest: everything an author declares, as immutable values.

A manifest exists in three forms: ``mpp.toml`` (what an author writes), :class:`Manifest` (what the
code works with) and a CBOR map (what is signed; ``docs/manifest.cddl``). The map writes every
default out, and holds every set sorted, so that its bytes are a function of what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits, Permissions, Privacy

__all__ = [
    "CONFIG_TYPES",
    "CONFIRMS",
    "KINDS",
    "MANIFEST_DEPTH",
    "MANIFEST_VERSION",
    "OPERATIONS",
    "RESULT_FORMS",
    "ConfigField",
    "ConfigType",
    "Confirm",
    "Draft",
    "FileEntry",
    "Kind",
    "Manifest",
    "Operation",
    "Requirement",
    "ResultForm",
    "RuntimeSpec",
    "Tool",
    "default_confirm",
]

Kind = Literal["python", "exec", "mcp"]
Operation = Literal["read", "write", "destructive"]
Confirm = Literal["never", "once", "always"]
ResultForm = Literal["json", "mcp"]
ConfigType = Literal["string", "number", "boolean", "file", "directory"]

KINDS: tuple[Kind, ...] = get_args(Kind)
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
CONFIRMS: tuple[Confirm, ...] = get_args(Confirm)
RESULT_FORMS: tuple[ResultForm, ...] = get_args(ResultForm)
CONFIG_TYPES: tuple[ConfigType, ...] = get_args(ConfigType)

MANIFEST_VERSION = 1

MAX_VALUES = 64
"""Values of one setting that takes several."""
MANIFEST_DEPTH = 40
"""Nested CBOR containers: a schema may be 32 deep, and stands three levels down."""


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """How the tools are started (``[runtime]``). ``env``, ``requires`` and ``platforms`` are sorted.

    *import_once* asks that calls are served by copies of a process that has imported the tool.
    """

    kind: Kind
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    platforms: tuple[str, ...] = ()
    import_once: bool = False


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

    def annotations(self, *, open_world: bool) -> dict[str, bool]:
        """Return the MCP tool annotations, always all four: their defaults in MCP are the wrong ones.

        *open_world* is whether the plan can reach the network. Repeating a call is only known to be
        harmless when the tool cannot change anything.
        """
        return {
            "readOnlyHint": self.operation == "read",
            "destructiveHint": self.operation == "destructive",
            "idempotentHint": self.operation == "read",
            "openWorldHint": open_world,
        }


def default_confirm(operation: Operation) -> Confirm:
    """Return how a tool is confirmed when its author does not say."""
    return "always" if operation == "destructive" else "never"


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One value that the user sets when approving (``[user_config.KEY]``); ``default`` None means none.

    With *multiple* it is any number of values of its type, up to :data:`MAX_VALUES`; so is the default.
    A number is at least *min* and at most *max*, None for no bound.
    """

    key: str
    type: ConfigType
    title: str = ""
    description: str = ""
    required: bool = False
    sensitive: bool = False
    env: str = ""
    default: str | float | bool | tuple[str | float, ...] | None = None
    multiple: bool = False
    min: float | None = None
    max: float | None = None

    def in_bounds(self, value: float) -> bool:
        """Return whether a number is one that may be set."""
        return (self.min is None or self.min <= value) and (self.max is None or value <= self.max)

    @property
    def bounds(self) -> str:
        """The bounds of a number for a person, "" for none."""
        if self.min is not None and self.max is not None:
            return f"between {self.min} and {self.max}"
        if self.min is not None:
            return f"at least {self.min}"
        return "" if self.max is None else f"at most {self.max}"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One row of the signed file table. ``path`` is relative, with ``/``, NFC; ``sha256`` is raw bytes."""

    path: str
    size: int
    sha256: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What ``mpp.toml`` says: a manifest that nobody has signed and that has no files yet.

    ``expires`` is an ISO date, the last day on which the package is accepted. ``user_config`` is
    sorted by key; ``tools`` stand as the author wrote them.
    """

    name: str
    version: str
    runtime: RuntimeSpec
    tools: tuple[Tool, ...]
    description: str = ""
    license: str = ""
    homepage: str = ""
    expires: str | None = None
    permissions: Permissions = field(default_factory=Permissions)
    user_config: tuple[ConfigField, ...] = ()
    limits: Limits = field(default_factory=Limits)
    privacy: Privacy = field(default_factory=Privacy)

    @property
    def publisher(self) -> str:
        """The part of ``name`` before the slash."""
        return self.name.partition("/")[0]

    def tool(self, name: str) -> Tool | None:
        """Return the tool called *name*, or None."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def seal(self, publisher_key: bytes, files: tuple[FileEntry, ...]) -> Manifest:
        """Return the manifest of this draft with the raw public key and the file table, unchecked."""
        return Manifest(
            publisher_key=publisher_key,
            files=files,
            **{each.name: getattr(self, each.name) for each in fields(Draft)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Draft):
    """All that is signed. ``publisher_key`` is the raw Ed25519 public key."""

    publisher_key: bytes
    files: tuple[FileEntry, ...]
