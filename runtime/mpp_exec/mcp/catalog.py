"""Which tools are offered, and what each is called: all from signed manifests and grants.

Names must be unique over all packages and must not change when another package comes or goes. So a tool is
called PUBLISHER_PACKAGE_TOOL: neither of the first two can contain an underscore. A server that was started
for exactly one package offers its tools under their own names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.errors import InternalError, MppError
from mpp_exec.package.manifest import Tool
from mpp_exec.patterns import lazily
from mpp_exec.pipeline import Host
from mpp_exec.registry.store import Store

MAX_NAME: Final = 128  # MCP 2025-11-25, server/tools
_SHORTENED: Final = lazily(r"_[0-9a-f]{16}\Z")
HOW: Final = "mpp-exec install FILE"
PAGE: Final = 100
"""Tools in one answer of ``tools/list``."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One tool: where it is, and how ``tools/list`` shows it."""

    package: str
    tool: str
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tools of one moment, by name, in the order in which they are listed.

    *left_out* says of each package that cannot be offered why not.
    """

    tools: dict[str, Offered]
    generation: int
    left_out: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """The digest of everything that a list shows."""
        shown = [offered.shown for offered in self.tools.values()]
        return encoding.sha256_digest(encoding.json_dumps(shown).encode())

    def page(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Return the tools after *cursor* (None: from the start), and the next cursor, None at the end.

        Raises:
            KeyError: this cursor was never given out. (One of a list that has changed still counts.)
        """
        names = list(self.tools)
        start = 0
        if cursor is not None:
            start = _place(names, cursor)
        chosen = names[start : start + PAGE]
        following = f"after:{chosen[-1]}" if start + PAGE < len(names) else None
        return [self.tools[name].shown for name in chosen], following


def _place(names: list[str], cursor: str) -> int:
    word, _, last = cursor.partition(":")
    if word != "after" or not last:
        raise KeyError(cursor)
    # The list is in the order of its names' packages; where the last one is gone, go on behind it.
    return names.index(last) + 1 if last in names else sum(name <= last for name in names)


def build(runtime: Host, packages: Sequence[str]) -> Catalog:
    """Return what *runtime*'s home offers: the approved tools of *packages*, of all if empty.

    Raises:
        InternalError: the machine failed, so that nobody knows what is offered. A list without the package
            that could not be looked at would say that it is there no more.
    """
    store = runtime.store
    generation = store.generation()
    found: dict[str, Offered] = {}
    left_out = []
    for installed in sorted(store.installed(), key=lambda each: each.name):
        if packages and installed.name not in packages:
            continue
        try:
            manifest, grant = runtime.preparer.offered(installed.name)
        except InternalError:
            raise
        except MppError as error:
            left_out.append(f"{installed.name} is not offered: {error.message} ({error.hint})")
            continue
        open_world = bool(grant.permissions.network)
        for tool in sorted(manifest.tools, key=lambda each: each.name):
            name = tool.name if len(packages) == 1 else joined(installed.name, tool.name)
            if name in found:  # two names whose digests begin alike: a publisher can search for them
                other = found[name]
                left_out.append(
                    f"{tool.name} of {installed.name} is not offered: "
                    f"{other.tool} of {other.package} has the same name, {name}"
                )
                continue
            found[name] = Offered(installed.name, tool.name, shown(name, tool, open_world=open_world))
    left_out += [f"{name} is not installed ({HOW})" for name in missing(store, packages)]
    if not found and not left_out:
        left_out.append(f"no package is installed, so no tool is offered ({HOW})")
    if len(packages) != 1:
        found = dict(sorted(found.items()))
    return Catalog(found, generation, tuple(left_out))


def missing(store: Store, packages: Sequence[str]) -> list[str]:
    """Return those of *packages* that are not installed."""
    return sorted(set(packages) - {installed.name for installed in store.installed()})


def joined(package: str, tool: str) -> str:
    """Return the name of *tool* among the tools of all packages, at most MAX_NAME characters."""
    name = f"{package.replace('/', '_')}_{tool}"
    # A whole name that looks like a shortened one is shortened, too, lest it is that of another tool.
    if len(name) < MAX_NAME or (len(name) == MAX_NAME and _SHORTENED.search(name) is None):
        return name
    return f"{name[: MAX_NAME - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def shown(name: str, tool: Tool, *, open_world: bool) -> dict[str, Any]:
    """Return the MCP Tool of *tool*: nothing in it comes from anywhere but the signed manifest."""
    document: dict[str, Any] = {"name": name}
    if tool.title:
        document["title"] = tool.title
    document |= {"description": tool.description, "inputSchema": tool.input_schema}
    if tool.output_schema is not None:
        document["outputSchema"] = tool.output_schema
    document["annotations"] = tool.annotations(open_world=open_world)
    return document
