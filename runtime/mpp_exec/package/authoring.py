"""``mpp.toml``, as an author writes it, into a :class:`~mpp_exec.package.manifest.Draft`.

What the author may leave out is decided here and nowhere else; what holds of the result is decided
by :mod:`mpp_exec.package.rules`, as for a signed manifest. Every error names table and key, the line
where that can be told, and what to write instead.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final, TypeVar

from mpp_exec.errors import PackageError, UsageError
from mpp_exec.package.fields import FieldError, Fields, at, kind_of
from mpp_exec.package.manifest import (
    CONFIG_TYPES,
    CONFIRMS,
    KINDS,
    OPERATIONS,
    RESULT_FORMS,
    ConfigField,
    Draft,
    Kind,
    Requirement,
    RuntimeSpec,
    Tool,
    default_confirm,
)
from mpp_exec.package.maps import default_of
from mpp_exec.package.requirement import parse_requirement
from mpp_exec.package.rules import check_draft
from mpp_exec.patterns import lazily
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy
from mpp_exec.vocabulary import (
    parse_duration,
    parse_env_name,
    parse_host_port,
    parse_kind,
    parse_path,
    parse_program,
    parse_size,
)

MAX_TOML_SIZE: Final = 1024 * 1024
"""Characters of an ``mpp.toml``."""

_T = TypeVar("_T", str, HostPort, Requirement)

_PACKAGE_KEYS: Final = ("name", "version", "description", "license", "homepage", "expires")
# The keys of [limits], how each is read and what it is called in the manifest.
_LIMITS: Final[dict[str, tuple[str, Callable[[str], int] | None]]] = {
    "wall": ("wall_ms", parse_duration),
    "cpu": ("cpu_ms", parse_duration),
    "memory": ("memory", parse_size),
    "processes": ("processes", None),
    "open_files": ("open_files", None),
    "output": ("output", parse_size),
    "scratch": ("scratch", parse_size),
}


def parse_toml(text: str) -> Draft:
    """Return what *text*, an ``mpp.toml``, declares, every default written out.

    Raises:
        UsageError: ``toml.*``, or ``schema.*`` for a JSON Schema, with the key and its line.
    """
    if len(text) > MAX_TOML_SIZE:
        raise UsageError(
            "toml.too_large", "mpp.toml is larger than 1 MiB", "move data into files of the package"
        )
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            "toml.syntax", f"mpp.toml is not TOML: {_lower(str(error))}", "see https://toml.io"
        ) from None
    except ValueError:  # CPython's own limit on the digits of an integer, which tomllib lets through
        raise UsageError(
            "toml.syntax", "mpp.toml has a number with too many digits", "TOML has integers of 64 bits"
        ) from None
    except RecursionError:
        raise UsageError("toml.syntax", "mpp.toml is nested too deep", "see https://toml.io") from None
    try:
        draft = _draft(value)
        check_draft(draft)
    except FieldError as error:
        key = _toml_key(error.key)
        raise UsageError(
            f"toml.{error.reason}", f"mpp.toml{_line(text, key)}: {key} {error.message}", error.hint
        ) from None
    except (
        PackageError
    ) as error:  # a schema: the same rules as for a package, but here the author can help it
        key = error.message.partition(":")[0].partition(" at ")[0]
        raise UsageError(error.code, f"mpp.toml{_line(text, key)}: {error.message}", error.hint) from None
    return draft


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _draft(value: dict[str, Any]) -> Draft:
    top = Fields(
        value, "", ("package", "runtime", "tools", "permissions", "user_config", "limits", "privacy")
    )
    package = Fields(top.take("package", dict), "package", _PACKAGE_KEYS)
    runtime = _runtime(top.take("runtime", dict))
    tools = top.any("tools")
    if not isinstance(tools, list):
        raise FieldError(
            "wrong_type", "tools", f"must be a list of tables, not {kind_of(tools)}", "write [[tools]]"
        )
    return Draft(
        name=package.text("name"),
        version=package.text("version"),
        description=package.text("description", ""),
        license=package.text("license", ""),
        homepage=package.text("homepage", ""),
        expires=_expires(package),
        runtime=runtime,
        tools=tuple(_tool(tool, f"tools[{index}]", runtime.kind) for index, tool in enumerate(tools)),
        permissions=_permissions(top.take("permissions", dict, {})),
        user_config=tuple(
            _config(key, field) for key, field in sorted(top.take("user_config", dict, {}).items())
        ),
        limits=_limits(top.take("limits", dict, {})),
        privacy=_privacy(top.take("privacy", dict, {})),
    )


def _expires(package: Fields) -> str | None:
    value = package.any("expires", None)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, str):
        return value
    raise FieldError(
        "wrong_type", "package.expires", f"must be a day, not {kind_of(value)}", "write expires = 2027-06-30"
    )


def _runtime(value: dict[str, Any]) -> RuntimeSpec:
    table = Fields(
        value, "runtime", ("kind", "command", "env", "path", "requires", "platforms", "import_once")
    )
    kind: Kind = table.choice("kind", KINDS)
    env = table.take("env", dict, {})
    for name, content in env.items():
        if type(content) is not str:
            raise FieldError(
                "wrong_type",
                f"runtime.env.{name}",
                f"must be text, not {kind_of(content)}",
                "put it in quotes",
            )
    requires = _set(table, "requires", parse_requirement)
    if kind == "python" and not any(requirement.name == "python" for requirement in requires):
        requires = tuple(sorted((*requires, Requirement("python"))))
    return RuntimeSpec(
        kind=kind,
        command=table.texts("command", []),
        env=tuple(sorted(env.items())),
        path=table.texts("path", []),
        requires=requires,
        platforms=_set(table, "platforms", str),
        import_once=table.flag("import_once", default=False),
    )


def _tool(value: Any, where: str, kind: Kind) -> Tool:
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
            "inputSchema",
            "outputSchema",
            "result",
        ),
    )
    operation = table.choice("operation", OPERATIONS, "read")
    return Tool(
        name=table.text("name"),
        title=table.text("title", ""),
        description=table.text("description"),
        entry=table.text("entry") if kind == "python" else table.text("entry", ""),
        operation=operation,
        confirm=table.choice("confirm", CONFIRMS, default_confirm(operation)),
        input_schema=table.take("inputSchema", dict),
        output_schema=table.take("outputSchema", dict, None),
        result=table.choice("result", RESULT_FORMS, "mcp" if kind == "mcp" else "json"),
    )


def _permissions(value: dict[str, Any]) -> Permissions:
    table = Fields(value, "permissions", ("network", "environment", "subprocess", "storage", "filesystem"))
    paths = Fields(table.take("filesystem", dict, {}), "permissions.filesystem", ("read", "write"))
    return Permissions(
        network=_set(table, "network", parse_host_port),
        environment=_set(table, "environment", parse_env_name),
        subprocess=_set(table, "subprocess", parse_program),
        storage=_quantity(table, "storage", parse_size, 0),
        read=_set(paths, "read", _granted_path),
        write=_set(paths, "write", _granted_path),
    )


def _granted_path(text: str) -> str:
    return parse_path(text, placeholder=True)


def _config(key: str, value: Any) -> ConfigField:
    table = Fields(
        value,
        f"user_config.{key}",
        ("type", "title", "description", "required", "sensitive", "env", "default", "multiple", "min", "max"),
    )
    return ConfigField(
        key=key,
        type=table.choice("type", CONFIG_TYPES),
        title=table.text("title", ""),
        description=table.text("description", ""),
        required=table.flag("required", False),
        sensitive=table.flag("sensitive", False),
        env=table.text("env", ""),
        default=default_of(table.any("default", None)),
        multiple=table.flag("multiple", False),
        min=table.any("min", None),
        max=table.any("max", None),
    )


def _limits(value: dict[str, Any]) -> Limits:
    table = Fields(value, "limits", tuple(_LIMITS))
    bounds: dict[str, int] = {}
    for key, (name, parse) in _LIMITS.items():
        if table.has(key):
            bounds[name] = _quantity(table, key, parse, 0) if parse else table.integer(key)
    return Limits(**bounds)


def _quantity(table: Fields, name: str, parse: Callable[[str], int], default: int) -> int:
    if not table.has(name):
        return default
    value = table.any(name)
    if type(value) is not str:
        unit = "10s" if parse is parse_duration else "16MiB"
        raise FieldError(
            "wrong_type",
            table.key(name),
            f"must be text with a unit, not {kind_of(value)}",
            f'as in {name} = "{unit}"',
        )
    return at(table.key(name), parse, value)


def _privacy(value: dict[str, Any]) -> Privacy:
    table = Fields(value, "privacy", ("allow", "receive"))
    return Privacy(allow=_set(table, "allow", parse_kind), receive=_set(table, "receive", parse_kind))


def _set(table: Fields, name: str, parse: Callable[[str], _T]) -> tuple[_T, ...]:
    """Return a list that means a set: in canonical spelling, sorted; a second mention is a mistake."""
    values: list[_T] = []
    for index, text in enumerate(table.texts(name, [])):
        value = at(f"{table.key(name)}[{index}]", parse, text)
        if value in values:
            raise FieldError(
                "duplicate", f"{table.key(name)}[{index}]", f"repeats {str(value)!r}", "leave it out"
            )
        values.append(value)
    return tuple(sorted(values))


def _toml_key(key: str) -> str:
    """Return the key as the author wrote it: rules name the manifest's keys, of which few differ."""
    if key.partition(".")[0] in _PACKAGE_KEYS:
        return f"package.{key}"
    if key.startswith("limits."):
        names = {name: word for word, (name, _) in _LIMITS.items()}
        return f"limits.{names.get(key[7:], key[7:])}"
    return key


_HEADER: Final = lazily(r"\s*(\[{1,2})\s*([A-Za-z0-9_.\"' -]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY_PART: Final = lazily(r"([^.\[\]]+)(?:\[(\d+)\])?")


def _line(text: str, key: str) -> str:
    """Return `` line N`` for the line where *key* is set, or where its table begins, or nothing.

    tomllib keeps no positions; this looks for headers and keys as people write them, and a wrong
    guess costs nothing but the guess.
    """
    parts = [(name, int(index or 0)) for name, index in _KEY_PART.findall(key)]
    names = [name for name, _ in parts]
    element = parts[0][1] if parts else 0
    best, best_depth = 0, 0
    table: list[str] = []
    elements = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = [part.strip().strip("\"'") for part in header.group(2).split(".")]
            elements += header.group(1) == "[[" and table == ["tools"]
            depth = len(table) if table == names[: len(table)] else 0
        else:
            word = re.split(r"[=\s]", line.strip(), maxsplit=1)[0]
            path = [*table, *(part.strip("\"'") for part in word.split("."))]
            depth = len(path) if word and path == names[: len(path)] else 0
        if depth > best_depth and (names[0] != "tools" or elements == element):
            best, best_depth = number, depth
    return f" line {best}" if best else ""
