"""The manifest as the CBOR map that is signed, both ways (``docs/manifest.cddl``).

Every key is always there, every default written out, every set sorted: the bytes are a function of
what the manifest means, and a reader needs no defaults to know what was signed. But for ``import_once``,
which is there only where it is true: packages from before it keep their bytes.
"""

from __future__ import annotations

from typing import Any

from mpp_exec.errors import PackageError
from mpp_exec.package import rules
from mpp_exec.package.fields import FieldError, Fields, exact, kind_of
from mpp_exec.package.manifest import (
    CONFIG_TYPES,
    CONFIRMS,
    KINDS,
    MANIFEST_VERSION,
    OPERATIONS,
    RESULT_FORMS,
    ConfigField,
    FileEntry,
    Manifest,
    RuntimeSpec,
    Tool,
)
from mpp_exec.package.maps import (
    default_of,
    limits_from,
    limits_value,
    permissions_from,
    permissions_value,
    privacy_from,
    privacy_value,
)
from mpp_exec.package.requirement import parse_requirement


def to_value(manifest: Manifest) -> dict[str, Any]:
    """Return the CBOR map of *manifest*."""
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "license": manifest.license,
        "homepage": manifest.homepage,
        "expires": manifest.expires,
        "publisher_key": manifest.publisher_key,
        "runtime": {
            "kind": manifest.runtime.kind,
            "command": list(manifest.runtime.command),
            "env": dict(manifest.runtime.env),
            "path": list(manifest.runtime.path),
            "requires": [str(requirement) for requirement in manifest.runtime.requires],
            "platforms": list(manifest.runtime.platforms),
            **({"import_once": True} if manifest.runtime.import_once else {}),
        },
        "tools": [_tool_value(tool) for tool in manifest.tools],
        "permissions": permissions_value(manifest.permissions),
        "user_config": {field.key: _config_value(field) for field in manifest.user_config},
        "limits": limits_value(manifest.limits),
        "privacy": privacy_value(manifest.privacy),
        "files": [[entry.path, entry.size, entry.sha256, entry.executable] for entry in manifest.files],
    }


def from_value(value: Any) -> Manifest:
    """Read a manifest from its CBOR map and check it against every rule.

    Raises:
        PackageError: ``manifest.*`` naming the key; ``package.*`` for the file table; ``schema.*``.
    """
    try:
        manifest = _manifest(value)
        rules.check_manifest(manifest)
    except FieldError as error:
        raise PackageError(
            f"manifest.{error.reason}",
            f"manifest key {error.key} {error.message}" if error.key else f"manifest {error.message}",
            error.hint or "the package was not made by a conforming builder: ask its publisher for another",
        ) from None
    return manifest


def _tool_value(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "entry": tool.entry,
        "operation": tool.operation,
        "confirm": tool.confirm,
        "result": tool.result,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
    }


def _config_value(field: ConfigField) -> dict[str, Any]:
    return {
        "type": field.type,
        "title": field.title,
        "description": field.description,
        "required": field.required,
        "sensitive": field.sensitive,
        "env": field.env,
        "default": list(field.default) if isinstance(field.default, tuple) else field.default,
        "multiple": field.multiple,
        **({"min": field.min, "max": field.max} if field.type == "number" else {}),
    }


_KEYS = (
    "manifest_version",
    "name",
    "version",
    "description",
    "license",
    "homepage",
    "expires",
    "publisher_key",
    "runtime",
    "tools",
    "permissions",
    "user_config",
    "limits",
    "privacy",
    "files",
)


def _manifest(value: Any) -> Manifest:
    if not isinstance(value, dict):
        raise FieldError("wrong_type", "", f"must be a map, not {kind_of(value)}")
    version = value.get("manifest_version")
    if type(version) is not int or version != MANIFEST_VERSION:
        raise FieldError(
            "unknown_version",
            "manifest_version",
            f"is {version!r}, and only {MANIFEST_VERSION} is understood",
            "the package was made for another version of mpp-exec: update mpp-exec, or rebuild the package",
        )
    top = Fields(value, "", _KEYS)
    return Manifest(
        name=top.text("name"),
        version=top.text("version"),
        description=top.text("description"),
        license=top.text("license"),
        homepage=top.text("homepage"),
        expires=top.optional("expires", str),
        publisher_key=top.take("publisher_key", bytes),
        runtime=_runtime(top.take("runtime", dict)),
        tools=tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(top.take("tools", list))),
        permissions=permissions_from(top.take("permissions", dict)),
        user_config=tuple(
            _config(key, field) for key, field in sorted(top.take("user_config", dict).items())
        ),
        limits=limits_from(top.take("limits", dict)),
        privacy=privacy_from(top.take("privacy", dict)),
        files=tuple(_file(row, f"files[{index}]") for index, row in enumerate(top.take("files", list))),
    )


def _runtime(value: Any) -> RuntimeSpec:
    table = Fields(
        value, "runtime", ("kind", "command", "env", "path", "requires", "platforms", "import_once")
    )
    import_once = table.flag("import_once", default=False)
    if table.has("import_once") and not import_once:
        raise FieldError("inconsistent", "runtime.import_once", "must be left out where it is false")
    env = table.take("env", dict)
    for name, content in env.items():
        if type(content) is not str:
            raise FieldError("wrong_type", f"runtime.env.{name}", f"must be text, not {kind_of(content)}")
    return RuntimeSpec(
        kind=table.choice("kind", KINDS),
        command=table.texts("command"),
        env=tuple(sorted(env.items())),
        path=table.texts("path"),
        requires=tuple(
            exact(f"runtime.requires[{index}]", parse_requirement, text)
            for index, text in enumerate(table.texts("requires"))
        ),
        platforms=table.texts("platforms"),
        import_once=import_once,
    )


def _tool(value: Any, where: str) -> Tool:
    table = Fields(
        value,
        where,
        (
            "name",
            "title",
            "description",
            "entry",
            "operation",
            "confirm",
            "result",
            "inputSchema",
            "outputSchema",
        ),
    )
    return Tool(
        name=table.text("name"),
        title=table.text("title"),
        description=table.text("description"),
        entry=table.text("entry"),
        operation=table.choice("operation", OPERATIONS),
        confirm=table.choice("confirm", CONFIRMS),
        result=table.choice("result", RESULT_FORMS),
        input_schema=table.take("inputSchema", dict),
        output_schema=table.optional("outputSchema", dict),
    )


_CONFIG_KEYS = ("type", "title", "description", "required", "sensitive", "env", "default", "multiple")
_UNBOUNDED = tuple(kind for kind in CONFIG_TYPES if kind != "number")


def _config(key: Any, value: Any) -> ConfigField:
    unbounded = isinstance(value, dict) and value.get("type") in _UNBOUNDED
    table = Fields(value, f"user_config.{key}", _CONFIG_KEYS if unbounded else (*_CONFIG_KEYS, "min", "max"))
    return ConfigField(
        key=key,
        type=table.choice("type", CONFIG_TYPES),
        title=table.text("title"),
        description=table.text("description"),
        required=table.flag("required"),
        sensitive=table.flag("sensitive"),
        env=table.text("env"),
        default=default_of(table.any("default")),
        multiple=table.flag("multiple"),
        min=None if unbounded else table.any("min"),
        max=None if unbounded else table.any("max"),
    )


def _file(row: Any, where: str) -> FileEntry:
    if type(row) is not list or [type(cell) for cell in row] != [str, int, bytes, bool]:
        raise FieldError("wrong_type", where, "must be a list of path, size, SHA-256 and executable bit")
    return FileEntry(*row)
