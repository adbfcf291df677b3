"""Where a server comes from (``pypi:NAME==V``, …), and what is left of it once it was fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily

Kind = Literal["pypi", "npm", "mcpb", "dir"]

_PYPI: Final = lazily(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_NPM: Final = lazily(
    r"((?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)@(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)"
)
_FORMS: Final = "pypi:NAME==VERSION, npm:NAME@VERSION, mcpb:FILE, or dir:PATH -- COMMAND"

LIBRARY: Final = "it has no program: it may be a library; name the project that the server itself is"
"""The hint for a project of which nothing can be started."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as typed: *name* is that of the project, or the path; *version* is exact, "" for a path."""

    kind: Kind
    name: str
    version: str = ""

    def __str__(self) -> str:
        joint = {"pypi": "==", "npm": "@"}.get(self.kind, "")
        return f"{self.kind}:{self.name}{joint}{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A server in a folder, ready to be started from there.

    Attributes:
        command: as in ``[runtime]``; ``env`` its variables.
        requires, platforms: as in ``[runtime]``.
        name, version, description, license, homepage: as its own metadata have them, unchecked.
        settings: tables of ``[user_config]``.
        notes: what somebody who packs this has to know.
    """

    command: tuple[str, ...]
    requires: tuple[str, ...]
    name: str
    version: str
    description: str = ""
    license: str = ""
    homepage: str = ""
    platforms: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def parse_origin(text: str) -> Origin:
    """Read a SOURCE.

    Raises:
        UsageError: ``wrap.source``.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("mcpb", "dir") and rest:
        return Origin(kind, rest)  # type: ignore[arg-type]
    pattern = {"pypi": _PYPI, "npm": _NPM}.get(kind)
    if not colon or pattern is None:
        raise UsageError("wrap.source", f"{text!r} names no source", _FORMS)
    match = pattern.fullmatch(rest)
    if match is None:
        raise UsageError("wrap.source", f"{rest!r} names no exact version", _FORMS)
    return Origin(kind, match[1], match[2])  # type: ignore[arg-type]


def short_name(name: str) -> str:
    """Return *name* as the second half of a package's name: lower case, digits and inner hyphens."""
    word = re.sub(r"[^a-z0-9]+", "-", name.rpartition("/")[2].lower()).strip("-")[:63].strip("-")
    return word or "server"


def semantic(version: str) -> str:
    """Return *version* as SemVer 2.0.0 has it: three numbers, and what PEP 440 adds behind a hyphen."""
    match = re.match(r"v?(?:\d+!)?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)", version)
    if match is None:
        return "0.0.0"
    major, minor, patch, rest = match.groups()
    core = f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}"
    rest, _, build = rest.partition("+")
    words = [str(int(word)) if word.isdigit() else word for word in re.findall(r"\d+|[A-Za-z]+", rest)]
    tail = f"-{'.'.join(words)}" if words else ""
    return core + tail + (f"+{build}" if re.fullmatch(r"[0-9A-Za-z.-]+", build) else "")
