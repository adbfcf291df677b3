"""What must hold of a manifest beyond the types of its keys, written once for every door.

An author meets these rules when building, a user when verifying. Keys are named as in ``mpp.toml``.
"""

from __future__ import annotations

import keyword
import re
from datetime import date
from typing import Final

from mpp_exec.package.fields import FieldError, at, check_text
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.manifest import Draft, Manifest, Tool
from mpp_exec.package.paths import check_table, sort_key
from mpp_exec.package.rules_permissions import (
    MAX_DESCRIPTION,
    MAX_TITLE,
    check_limits,
    check_permissions,
    check_user_config,
)
from mpp_exec.package.rules_runtime import check_runtime, check_variables, is_interpreter
from mpp_exec.package.schema_cost import Effort
from mpp_exec.package.semver import Version
from mpp_exec.package.spdx import check_license
from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import refuse_forbidden

_NAME: Final = lazily(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_TOOL_NAME: Final = lazily(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_IDENTIFIER: Final = lazily(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_HOMEPAGE: Final = lazily(
    r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?#][!-~]*)?", re.ASCII | re.IGNORECASE
)

MAX_TOOLS: Final = 256


def check_draft(draft: Draft) -> None:
    """Check all that can be checked without the files.

    Raises:
        FieldError: naming the key.
        PackageError: ``schema.*``.
    """
    if _NAME.fullmatch(draft.name) is None:
        raise FieldError(
            "bad_value",
            "name",
            f"{draft.name!r} is not a name",
            "write publisher/name in lower-case letters, digits, hyphens",
        )
    at("version", Version, draft.version)
    check_text("description", draft.description, MAX_DESCRIPTION)
    at("license", check_license, draft.license)
    if draft.homepage and (len(draft.homepage) > 2_048 or _HOMEPAGE.fullmatch(draft.homepage) is None):
        raise FieldError(
            "bad_value", "homepage", f"{draft.homepage!r} is not a web address", "begin with https://"
        )
    if draft.expires is not None:
        _date("expires", draft.expires)
    check_runtime(draft)
    check_permissions(draft)
    check_limits(draft.limits)
    check_user_config(draft)
    check_variables(draft)
    _tools(draft)


def check_manifest(manifest: Manifest) -> None:
    """Check a whole manifest: the draft, the key, the file table, and that they fit together.

    Raises:
        FieldError: naming the key.
        PackageError: ``package.*`` for a path of the file table, ``schema.*`` for a schema.
    """
    if len(manifest.publisher_key) != 32:
        raise FieldError(
            "bad_value", "publisher_key", f"has {len(manifest.publisher_key)} bytes instead of 32"
        )
    check_draft(manifest)
    paths = [entry.path for entry in manifest.files]
    check_table(paths)
    for index, entry in enumerate(manifest.files):
        key = f"files[{index}]"
        at(key, refuse_forbidden, entry.path)
        if not 0 <= entry.size <= LIMITS.member:
            raise FieldError("out_of_range", key, f"has a size of {entry.size} bytes")
        if len(entry.sha256) != 32:
            raise FieldError("bad_value", key, f"has a digest of {len(entry.sha256)} bytes instead of 32")
    if paths != sorted(paths, key=sort_key):
        raise FieldError("not_sorted", "files", "is not sorted by path")
    _files_fit(manifest)


def _files_fit(manifest: Manifest) -> None:
    runtime = manifest.runtime
    executable = {entry.path: entry.executable for entry in manifest.files}
    for index, folder in enumerate(runtime.path):
        if not any(path.startswith(f"{folder}/") for path in executable):
            raise FieldError(
                "missing_file",
                f"runtime.path[{index}]",
                f"names {folder!r}, which is not a folder of the package",
            )
    if runtime.command and not is_interpreter(runtime, runtime.command[0]):
        program = runtime.command[0]
        if program not in executable:
            raise FieldError(
                "missing_file",
                "runtime.command[0]",
                f"is {program!r}, neither a file of the package nor an interpreter in requires",
                "give its path inside the package, or add the interpreter to requires",
            )
        if not executable[program]:
            raise FieldError(
                "not_executable",
                "runtime.command[0]",
                f"is {program!r}, which is not executable",
                f"run chmod +x {program}",
            )
    if runtime.kind == "python":
        roots = ("", *(f"{folder}/" for folder in runtime.path))
        for index, tool in enumerate(manifest.tools):
            module = tool.entry.partition(":")[0].replace(".", "/")
            if not any(_has_module(executable, f"{root}{module}") for root in roots):
                raise FieldError(
                    "missing_file",
                    f"tools[{index}].entry",
                    f"names the module {tool.entry.partition(':')[0]!r}, which is not in the package",
                    f"put it at {module}.py, or name the folder it is in as path in [runtime]",
                )


def _has_module(paths: dict[str, bool], stem: str) -> bool:
    if f"{stem}.py" in paths or f"{stem}/__init__.py" in paths:
        return True
    return any(
        path.startswith(f"{stem}.") and path.endswith(".so") and "/" not in path[len(stem) :]
        for path in paths
    )


def _date(key: str, text: str) -> None:
    try:
        same = date.fromisoformat(text).isoformat() == text
    except ValueError:
        same = False
    if not same:
        raise FieldError("bad_value", key, f"{text!r} is not a date", "write it as in 2027-06-30")


def _tools(draft: Draft) -> None:
    if not draft.tools:
        raise FieldError(
            "missing_key", "tools", "is empty: a package has at least one tool", "add a table [[tools]]"
        )
    if len(draft.tools) > MAX_TOOLS:
        raise FieldError("out_of_range", "tools", f"has more than {MAX_TOOLS} entries")
    effort = Effort()
    seen: set[str] = set()
    for index, tool in enumerate(draft.tools):
        where = f"tools[{index}]"
        if _TOOL_NAME.fullmatch(tool.name) is None:
            raise FieldError(
                "bad_value",
                f"{where}.name",
                f"{tool.name!r} is not a tool name",
                "1 to 128 letters, digits, '_', '.' and '-'",
            )
        if tool.name in seen:
            raise FieldError(
                "duplicate", f"{where}.name", f"{tool.name!r} is used twice", "every tool has its own name"
            )
        seen.add(tool.name)
        _tool(where, tool, draft, effort)


def _tool(where: str, tool: Tool, draft: Draft, effort: Effort) -> None:
    from mpp_exec.package.schema import check_schema  # noqa: PLC0415 -- brings jsonschema-rs

    check_text(f"{where}.title", tool.title, MAX_TITLE)
    check_text(f"{where}.description", tool.description, MAX_DESCRIPTION)
    kind = draft.runtime.kind
    if kind == "python":
        _entry(f"{where}.entry", tool.entry)
    elif tool.entry:
        raise FieldError(
            "inconsistent", f"{where}.entry", f"does not go with kind {kind}", "it is for kind python"
        )
    if kind == "mcp" and tool.result != "mcp":
        raise FieldError(
            "inconsistent", f"{where}.result", "of an MCP server can only be 'mcp'", "leave it out"
        )
    check_schema(tool.input_schema, where=f"{where}.inputSchema", effort=effort)
    if tool.output_schema is not None:
        check_schema(tool.output_schema, where=f"{where}.outputSchema", effort=effort)


def _entry(key: str, entry: str) -> None:
    module, colon, function = entry.partition(":")
    parts = [*module.split("."), function]
    if not colon or any(_IDENTIFIER.fullmatch(part) is None or keyword.iskeyword(part) for part in parts):
        raise FieldError(
            "bad_value", key, f"{entry!r} names no function", "write module:function, as in csvtool:query"
        )
