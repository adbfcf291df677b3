"""Rules for what a package asks for: permissions, limits and the values that the user sets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from mpp_exec.package.fields import FieldError, at, check_ordered, check_set, check_text
from mpp_exec.package.manifest import MAX_VALUES, ConfigField, Draft
from mpp_exec.patterns import lazily
from mpp_exec.permissions import Limits
from mpp_exec.vocabulary import (
    CONFIG_KEY,
    format_duration,
    format_size,
    parse_env_name,
    parse_kind,
    parse_path,
    parse_program,
    path_placeholder,
)

MAX_TITLE: Final = 200
MAX_DESCRIPTION: Final = 10_000
MAX_VALUE: Final = 32_768
"""Characters of a default value."""

_CONFIG_KEY: Final = lazily(CONFIG_KEY, re.ASCII)

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB
_HOUR: Final = 3_600_000

LIMIT_RANGES: Final[dict[str, tuple[int, int, Callable[[int], str]]]] = {
    "wall_ms": (10, _HOUR, format_duration),
    "cpu_ms": (10, 24 * _HOUR, format_duration),
    "memory": (4 * _MIB, 64 * _GIB, format_size),
    "processes": (1, 4_096, str),
    "open_files": (8, 4_096, str),
    # Every byte is parsed, redacted and held by the host, several times over.
    "output": (_KIB, 8 * _MIB, format_size),
    # A tmpfs of size 0 would have no bound at all.
    "scratch": (64 * _KIB, 16 * _GIB, format_size),
}
"""What each limit may be set to, and how it is shown."""

STORAGE_RANGE: Final = (64 * _KIB, 64 * _GIB)
"""Bytes of a private folder, where one is asked for."""


def config_of(key: str, name: str, draft: Draft) -> ConfigField:
    """Return the declaration of a ``user_config`` value that *key* refers to."""
    for field in draft.user_config:
        if field.key == name:
            return field
    raise FieldError(
        "unknown_placeholder",
        key,
        f"uses ${{user_config.{name}}}, which is not declared",
        f"add a table [user_config.{name}]",
    )


def check_permissions(draft: Draft) -> None:
    """Check ``[permissions]`` and ``[privacy]``."""
    permissions = draft.permissions
    check_ordered("permissions.network", permissions.network)
    check_set("permissions.environment", permissions.environment, parse_env_name)
    check_set("permissions.subprocess", permissions.subprocess, parse_program)
    least, most = STORAGE_RANGE
    if permissions.storage and not least <= permissions.storage <= most:
        raise FieldError(
            "out_of_range",
            "permissions.storage",
            f"of {format_size(permissions.storage)} is out of range",
            f"between {format_size(least)} and {format_size(most)}, or leave it out",
        )
    for key, paths in (
        ("permissions.filesystem.read", permissions.read),
        ("permissions.filesystem.write", permissions.write),
    ):
        check_set(key, paths, _granted_path)
        for index, path in enumerate(paths):
            if config := path_placeholder(path):
                _config_path(f"{key}[{index}]", path, config, draft)
    check_set("privacy.allow", draft.privacy.allow, parse_kind)
    check_set("privacy.receive", draft.privacy.receive, parse_kind)


def _granted_path(text: str) -> str:
    return parse_path(text, placeholder=True)


def _config_path(key: str, path: str, config: str, draft: Draft) -> None:
    field = config_of(key, config, draft)
    if field.type not in ("file", "directory"):
        raise FieldError(
            "inconsistent",
            key,
            f"begins with a user_config of type {field.type}",
            "its type must be file or directory",
        )
    if field.type == "file" and not path.endswith("}"):
        raise FieldError("inconsistent", key, "looks below a file", "its type must be directory")
    if field.sensitive:
        raise FieldError("inconsistent", key, "begins with a sensitive value", "paths are shown at approval")


def check_limits(limits: Limits) -> None:
    """Check ``[limits]``: enough to run at all, and not without bound."""
    for name, (least, most, shown) in LIMIT_RANGES.items():
        value = getattr(limits, name)
        if not least <= value <= most:
            raise FieldError(
                "out_of_range",
                f"limits.{name}",
                f"of {shown(value)} is out of range",
                f"between {shown(least)} and {shown(most)}",
            )


def check_user_config(draft: Draft) -> None:
    """Check every ``[user_config.KEY]``."""
    check_ordered("user_config", tuple(field.key for field in draft.user_config))
    for field in draft.user_config:
        key = f"user_config.{field.key}"
        if _CONFIG_KEY.fullmatch(field.key) is None:
            raise FieldError(
                "bad_value", key, "is not a name for a value", "begin with a letter; letters, digits, _ and -"
            )
        check_text(f"{key}.title", field.title, MAX_TITLE)
        check_text(f"{key}.description", field.description, MAX_DESCRIPTION)
        if field.multiple and (field.sensitive or field.type == "boolean"):
            what = "a secret" if field.sensitive else "of type boolean"
            raise FieldError("inconsistent", f"{key}.multiple", f"does not go with {what}", "leave it out")
        if field.env:
            at(f"{key}.env", parse_env_name, field.env)
        _bounds(key, field)
        if field.default is not None:
            _defaults(f"{key}.default", field)


def _bounds(key: str, field: ConfigField) -> None:
    for name, bound in (("min", field.min), ("max", field.max)):
        if bound is not None and field.type != "number":
            raise FieldError("inconsistent", f"{key}.{name}", f"does not go with type {field.type}")
        if bound is not None:
            _number(f"{key}.{name}", bound)
    if field.min is not None and field.max is not None and field.min > field.max:
        raise FieldError("inconsistent", f"{key}.max", f"of {field.max} is below its min of {field.min}")


def _number(key: str, value: Any) -> None:
    if type(value) not in (int, float):
        raise FieldError("wrong_type", key, "does not go with type number")
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError("out_of_range", key, "is not finite")
    if type(value) is int and abs(value) >= 1 << 63:
        raise FieldError("out_of_range", key, "does not fit into 64 bits")


def _defaults(key: str, field: ConfigField) -> None:
    if field.sensitive:
        raise FieldError("inconsistent", key, "would put a sensitive value into the package", "leave it out")
    if not field.multiple:
        _default(key, field, field.default)
        return
    if not isinstance(field.default, tuple):
        raise FieldError("wrong_type", key, "does not go with several values", "write a list")
    if not 0 < len(field.default) <= MAX_VALUES:
        raise FieldError("out_of_range", key, f"has {len(field.default)} values", f"1 to {MAX_VALUES}")
    for index, value in enumerate(field.default):
        _default(f"{key}[{index}]", field, value)
        if any(value == other for other in field.default[:index]):
            raise FieldError("duplicate", f"{key}[{index}]", f"has {value!r} twice")


def _default(key: str, field: ConfigField, value: Any) -> None:
    if field.type == "number":
        _number(key, value)
        if not field.in_bounds(value):
            raise FieldError("out_of_range", key, f"is {value}", field.bounds)
        return
    if type(value) is not (bool if field.type == "boolean" else str):
        raise FieldError("wrong_type", key, f"does not go with type {field.type}")
    if isinstance(value, str):
        check_text(key, value, MAX_VALUE)
        if field.type in ("file", "directory") and at(key, parse_path, value) != value:
            raise FieldError(
                "not_canonical", key, f"is {value!r}, whose canonical form is {parse_path(value)!r}"
            )
