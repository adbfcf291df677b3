"""What a person must see before agreeing, as lines of text.

Text of the publisher is set apart: each of its lines begins with ``| ``, so that a description cannot pass
for a line of mpp-exec. The caller that prints the lines must escape control characters.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mpp_exec.addresses import is_public
from mpp_exec.consent.config import Value, all_of, value_text
from mpp_exec.consent.difference import Change
from mpp_exec.consent.grant import Grant
from mpp_exec.encoding import json_dumps
from mpp_exec.package.manifest import ConfigField, Manifest, Tool
from mpp_exec.permissions import DEGRADATIONS, Permissions, path_covers
from mpp_exec.trust.verify import SignedManifest


def approval_text(package: SignedManifest, grant: Grant) -> list[str]:
    """Return everything that *grant* would allow *package*, in words, with final absolute paths."""
    manifest = package.manifest
    lines = [f"package {manifest.name} {manifest.version}"]
    lines += _quoted(manifest.description)
    lines.append(f"  digest {package.digest}")
    lines.append(f"publisher {manifest.publisher}, key {package.key_id}")
    if package.first_use:
        lines.append("  seen here for the first time: nothing but the key id says who this is")
    lines += _program(manifest)
    for tool in manifest.tools:
        lines += _tool(tool, grant)
    lines.append("it may:")
    lines += _bulleted(grant.describe())
    lines += _notes(grant)
    lines += _settings(manifest.user_config, grant.config, grant.secrets)
    if grant.withheld:
        lines.append("asked for and not granted:")
        lines += _bulleted(f"{each.permission} ({each.reason})" for each in grant.withheld)
    return lines


def update_text(package: SignedManifest, old: Grant, changes: Iterable[Change]) -> list[str]:
    """Return the differences from what was agreed to for *old*; ``+`` asks for more, ``-`` for less."""
    lines = [f"package {old.package}: {old.version} → {package.manifest.version}, digest {package.digest}"]
    if package.key_id != old.key_id:
        lines.append(f"signed with another key: was {old.key_id}, now {package.key_id}")
    found = [line for change in changes for line in _hanging(str(change))]
    return lines + (found or ["  nothing that was shown is different"])


def stays_read_only(permissions: Permissions) -> list[str]:
    """Return what a tool cannot change inside the paths that it may write; [] if it may write nothing.

    This states the rule in words, since each call looks up which files exist.
    """
    written = permissions.write
    if not written:
        return []
    kept = [
        "at the top of a folder every name that begins with a dot (.git, .ssh, .bashrc, .env, …)",
        "there, too, AGENTS.md, CLAUDE.md and GEMINI.md",
        "in the folder, what those of them that are links lead to",
        "where the folder itself is a repository of git, its config and hooks",
        *(f"{path}, which it may only read" for path in permissions.kept_read_only()),
    ]
    named = [
        path
        for path in written
        if any(path_covers(other, path) and not path_covers(other, path, write=True) for other in written)
    ]
    lines = ["inside of that, these stay read-only, if they are there when a call begins:", *_bulleted(kept)]
    if named:
        lines += ["but these it may change, since they are named:", *_bulleted(named)]
    if "git" in permissions.subprocess:
        lines.append("but .git it may change, since it may start git; of it, its submodules and worktrees")
        lines.append("these stay read-only: config, config.worktree, hooks, commondir and gitdir")
    lines.append("a name of this kind that is not there it can make, which is told after the call;")
    lines.append("further down in a folder no name is protected")
    return lines


def _program(manifest: Manifest) -> list[str]:
    runtime = manifest.runtime
    lines = [f"runs as: {runtime.kind}"]
    if runtime.command:
        lines.append("  command:")
        lines += _quoted(" ".join(_shell_word(part) for part in runtime.command))
    for name, text in runtime.env:
        lines.append(f"  sets {name} to:")
        lines += _quoted(text)
    if runtime.requires:
        lines.append(f"  takes from this host: {', '.join(map(str, runtime.requires))}")
    return lines


def _tool(tool: Tool, grant: Grant) -> list[str]:
    effects = {
        "read": "reads only",
        "write": "may change things",
        "destructive": "may destroy things",
    }[tool.operation]
    asks = {"never": "runs without asking", "once": "asks once", "always": "asks at every call"}
    lines = [f"tool {tool.name}: {effects}, {asks[grant.confirm[tool.name]]}"]
    lines += _quoted(tool.title)
    lines += _quoted(tool.description)
    if arguments := _arguments(tool.input_schema):
        lines.append("  takes:")
        lines += _quoted(arguments)
    return lines


def _arguments(schema: Mapping[str, Any]) -> str:
    """Name the properties of an input schema; those that must be given are marked.

    A name that could pass for several, or for such a mark, is quoted.
    """
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return ""
    needed = required if isinstance(required, list) else []
    shown = {name: name if _PLAIN.fullmatch(name) else json_dumps(name) for name in properties}
    return ", ".join(f"{text} (required)" if name in needed else text for name, text in shown.items())


_PLAIN: Final = re.compile(r"[\w.$:/@-]+")


def _notes(grant: Grant) -> list[str]:
    lines = []
    if grant.permissions.network:
        lines += _hosts(grant.permissions)
    if grant.permissions.write:
        lines.append("note: in a folder of yours only the size of each file is bounded, not that of all")
        lines += stays_read_only(grant.permissions)
    if grant.covers:
        lines.append("inside these, it sees an empty folder or file instead of:")
        lines += _bulleted(grant.covers)
    if grant.degradations:
        lines.append("you agree to do without these protections:")
        for name in grant.degradations:
            lines.append(f"  - {name}, where this host lacks it:")
            lines += [f"    - {line}" for line in DEGRADATIONS.get(name, ())]
    return lines


def _hosts(permissions: Permissions) -> list[str]:
    """Say what the granted hosts mean: data sent there is not inspected, and some hosts are internal."""
    lines = ["note: it can send to these hosts whatever it may read: that is counted, not bounded"]
    inside = [str(each) for each in permissions.network if _is_inside(each.host)]
    if inside:
        lines.append("note: these are services of this machine, or of a private network:")
        lines += _bulleted(inside)
    return lines


def _is_inside(host: str) -> bool:
    """Return whether *host* is granted as an address that no name on the internet has."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_public(host)


def _settings(
    fields: Iterable[ConfigField], config: Mapping[str, Value], secrets: Iterable[str]
) -> list[str]:
    given = set(secrets)
    lines = []
    for each in fields:
        if each.sensitive:
            states = ["a secret, stored encrypted" if each.key in given else "a secret, not given"]
        else:
            values = all_of(config[each.key]) if each.key in config else ()
            states = [value_text(value) for value in values] or ["not given"]
        variable = f", handed over as {each.env}" if each.env else ""
        for state in states:
            lines += _hanging(f"{each.key} = {state}{variable}")
    return ["settings:", *lines] if lines else []


def _bulleted(items: Iterable[str]) -> list[str]:
    return [line for item in items for line in _hanging(f"- {item}")]


def _hanging(text: str) -> list[str]:
    """Indent *text*; further lines of it are marked as its continuation."""
    first, *rest = text.splitlines() or [""]
    return [f"  {first}", *(f"    | {line}" for line in rest)]


def _quoted(text: str) -> list[str]:
    return [f"  | {line}" for line in text.splitlines()]


def _shell_word(text: str) -> str:
    import shlex  # noqa: PLC0415 -- only when something is shown

    return text if "${" in text and " " not in text else shlex.quote(text)
