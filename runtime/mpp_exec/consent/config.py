"""``user_config``: the values that a person sets when approving, typed and checked.

Plain values go into the grant, and a path among them as the final absolute path. Sensitive values
never do: they come from a file, standard input or a prompt (the caller reads), are kept apart
encrypted, and reach the tool through its environment only, since every user of a machine can read
the command line of any program on it (proc_pid_cmdline(5)).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mpp_exec.consent.paths import canonical_path
from mpp_exec.errors import ConsentError, PackageError, UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.package.manifest import MAX_VALUES, ConfigField, Draft
from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import path_placeholder

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | tuple[Scalar, ...]
"""Of a setting that takes several, all of them."""

MAX_VALUE: Final = 64 * 1024
"""Bytes of one setting in UTF-8: an environment variable may have no more than 128 KiB (execve(2))."""

_PLACEHOLDER: Final = lazily(r"\$\{([^{}]*)\}")
_NUMBER: Final = lazily(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)  # RFC 8259 §6
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One ``--set K=V`` as typed: *text* is the value, or the file to read it from, or nothing (stdin)."""

    key: str
    source: Literal["value", "file", "stdin"]
    text: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked values. ``secrets`` holds the sensitive values, as text; they are never shown."""

    values: Mapping[str, Value] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_setting(text: str, fields: Iterable[ConfigField]) -> Setting:
    """Take ``K=V`` apart; for a sensitive field V is ``@FILE`` or ``-``, for any other the value itself.

    Raises:
        UsageError: ``config.malformed``, ``config.unknown`` or ``config.sensitive_inline``.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            "config.malformed", f"{text!r} sets nothing", "write --set NAME=VALUE, with the name of a setting"
        )
    wanted = _known(key, fields)
    if not wanted.sensitive:
        return Setting(key, "value", value)
    if value == "-":
        return Setting(key, "stdin", "")
    if value.startswith("@") and len(value) > 1:
        return Setting(key, "file", value[1:])
    raise _inline(key)


def secret_text(data: bytes, key: str) -> str:
    """Return the value of *key* from a file or standard input, without one line break at its end.

    Raises:
        UsageError: ``config.too_long`` or ``config.not_text``.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            "config.not_text", f"the value of {key} is not UTF-8 text", "give the secret as text"
        ) from error
    return _checked_text(key, text.removesuffix("\n").removesuffix("\r"))


def check_settings(
    fields: Iterable[ConfigField],
    plain: Mapping[str, Value],
    secrets: Mapping[str, str] | None = None,
    *,
    kept: Iterable[str] = (),
) -> Settings:
    """Check values against the fields of a manifest, fill in defaults, resolve paths.

    *plain* holds values as typed text, or as typed values (from Python, or from an earlier grant).
    *secrets* holds what was read for sensitive fields. *kept* names sensitive fields whose stored value
    stays as it is. The result has no entry for an optional field without a value.

    Raises:
        UsageError: ``config.unknown``, ``config.sensitive_inline``, ``config.not_sensitive``,
            ``config.missing``, ``config.type``, ``config.too_long``, ``config.not_text`` or ``path.*``.
        PackageError: ``config.sensitive_path``.
    """
    fields = list(fields)
    secrets = secrets or {}
    values: dict[str, Value] = {}
    read: dict[str, str] = {}
    for key in plain:
        if _known(key, fields).sensitive:
            raise _inline(key)
    for key in secrets:
        if not _known(key, fields).sensitive:
            raise UsageError(
                "config.not_sensitive", f"{key} is not a secret", f"give its value: --set {key}=VALUE"
            )
    for each in fields:
        if each.sensitive and each.type in ("file", "directory"):
            raise PackageError(
                "config.sensitive_path",
                f"the setting {each.key} is a path and sensitive, so what is granted could not be shown",
                "ask the publisher to correct the package",
            )
        if each.sensitive and each.key in secrets:
            read[each.key] = value_text(_checked(each, secrets[each.key]))
        elif not each.sensitive and each.key in plain:
            values[each.key] = _all_checked(each, plain[each.key])
        elif not each.sensitive and each.default is not None:
            values[each.key] = _all_checked(each, each.default)
        elif each.required and each.key not in kept:
            raise _missing(each)
    return Settings(values, read)


def _known(key: str, fields: Iterable[ConfigField]) -> ConfigField:
    by_key = {each.key: each for each in fields}
    if key in by_key:
        return by_key[key]
    hint = nearest(key, by_key) if by_key else "this package has no settings"
    raise UsageError("config.unknown", f"there is no setting {key!r}", hint)


def _inline(key: str) -> UsageError:
    return UsageError(
        "config.sensitive_inline",
        f"{key} is a secret, and a command line can be read by others and is kept in the shell's history",
        f"give it as --set {key}=@FILE or --set {key}=- (standard input), or wait to be asked",
    )


def _missing(each: ConfigField) -> UsageError:
    example = {"number": "42", "boolean": "true", "file": "/path/of/a/file", "directory": "/path/of/a/folder"}
    value = "@FILE" if each.sensitive else example.get(each.type, "VALUE")
    title = f" ({each.title})" if each.title else ""
    hint = f"give one: --set {each.key}={value}"
    return UsageError("config.missing", f"{each.key}{title} has no value", hint)


def _all_checked(each: ConfigField, value: Value) -> Value:
    if not each.multiple:
        if isinstance(value, tuple):
            raise UsageError("config.type", f"{each.key} has one value", "give it once")
        return _checked(each, value)
    values = value if isinstance(value, tuple) else (value,)
    checked = tuple(dict.fromkeys(_checked(each, one) for one in values))
    if not 0 < len(checked) <= MAX_VALUES:
        raise UsageError(
            "config.too_many", f"{each.key} has {len(checked)} values", f"give 1 to {MAX_VALUES} of them"
        )
    _checked_text(each.key, value_text(checked))
    return checked


def _checked(each: ConfigField, value: Scalar) -> Scalar:
    match each.type:
        case "string" if isinstance(value, str):
            return _checked_text(each.key, value)
        case "file" | "directory" if isinstance(value, str):
            return canonical_path(value, kind=each.type, what=each.key)
        case "boolean" if isinstance(value, bool):
            return value
        case "boolean" if isinstance(value, str) and value in _BOOLEANS:
            return _BOOLEANS[value]
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return _checked_number(each, value)
        case "number" if isinstance(value, str) and len(value) <= 64 and _NUMBER.fullmatch(value):
            return _checked_number(each, json.loads(value))
    expected = {"boolean": "true or false", "number": "a number, as in 42 or 0.5"}.get(each.type, "text")
    shown = "the value" if each.sensitive else f"{value!r}"
    raise UsageError("config.type", f"{shown} of {each.key} is not of type {each.type}", f"give {expected}")


def _checked_number(each: ConfigField, value: float) -> float:
    # Beyond 2**53 programs disagree about an integer's value (RFC 8259 §6).
    if not abs(value) <= 2**53:
        raise UsageError(
            "config.type", f"{each.key} is out of range", "give a number between -2**53 and 2**53"
        )
    if not each.in_bounds(value):
        raise UsageError("config.type", f"{each.key} is out of range", f"give a number {each.bounds}")
    return value


def _checked_text(key: str, text: str) -> str:
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise UsageError("config.not_text", f"the value of {key} is not UTF-8 text", "give it as text")
    if len(text.encode()) > MAX_VALUE:
        raise UsageError(
            "config.too_long",
            f"the value of {key} is longer than {MAX_VALUE} bytes",
            "put it into a file, and give the tool that file",
        )
    return text


def value_text(value: Value) -> str:
    """Return a value as text for a command line or an environment variable; several values as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def placeholders(text: str) -> list[str]:
    """Return the names in *text* that :func:`substitute` replaces, in order."""
    return _PLACEHOLDER.findall(text)


def substitute(text: str, lookup: Callable[[str], str]) -> str:
    """Replace each ``${NAME}`` in *text* by what *lookup* returns for NAME, once.

    Inserted text is not expanded again: a value that itself reads ``${storage}`` stays as it is.
    """
    return _PLACEHOLDER.sub(lambda match: lookup(match[1]), text)


def expand_path(path: str, values: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the final absolute paths of the manifest's *path*: one for each value of its setting.

    Raises:
        UsageError: ``path.*``, or ``path.relative`` for a setting that is not an absolute path.
    """
    key = path_placeholder(path)
    if not key:
        return (canonical_path(path, what="the path"),)
    tail = path[len("${user_config.}") + len(key) :]
    final = []
    for head in map(value_text, all_of(values.get(key, ()))):
        if not head.startswith("/"):
            raise UsageError(
                "path.relative", f"{key} is used as a path and is not absolute: {head!r}", "begin it with /"
            )
        final.append(canonical_path(head + tail, what="the path"))
    return tuple(final)


def all_of(value: Value) -> tuple[Scalar, ...]:
    """Return every value of a setting."""
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, slots=True)
class Filled:
    """The *command* and *env* with which a process is started, with every placeholder replaced."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


def fill(
    draft: Draft,
    values: Mapping[str, Value],
    secrets: Mapping[str, str],
    *,
    storage: str,
    app: str = "/app",
) -> Filled:
    """Fill in ``command`` and ``env`` of *draft*, and pass each setting that has ``env`` under that name.

    *storage* is the folder inside the sandbox, empty if none was granted. A variable whose setting has no
    value is left out.

    Raises:
        ConsentError: ``config.no_storage`` or ``config.no_value``: the command cannot be completed.
        PackageError: ``config.unknown_placeholder`` or ``config.sensitive_in_command``.
    """
    fields = {each.key: each for each in draft.user_config}

    def lookup(name: str, *, in_command: bool) -> str:
        if name == "app":
            return app
        if name == "storage":
            if not storage:
                raise ConsentError(
                    "config.no_storage",
                    "the package needs its storage folder, which was withheld",
                    "approve it again without --without storage",
                )
            return storage
        kind, _, key = name.partition(".")
        if kind != "user_config" or key not in fields:
            raise PackageError(
                "config.unknown_placeholder",
                f"the package uses ${{{name}}}, which stands for nothing",
                "ask the publisher to correct the package",
            )
        if fields[key].sensitive and in_command:
            raise PackageError(
                "config.sensitive_in_command",
                f"the package puts the secret {key} on a command line, which every user can read",
                "ask the publisher to hand it over in an environment variable",
            )
        if key in secrets:
            return secrets[key]
        if key not in values:
            raise ConsentError(
                "config.no_value", f"the command needs {key}, which has no value", f"--set {key}=VALUE"
            )
        return value_text(values[key])

    def words(part: str) -> Iterable[str]:
        key = part.removeprefix("${user_config.").removesuffix("}")
        if key in fields and fields[key].multiple and part == f"${{user_config.{key}}}":
            return map(value_text, all_of(values.get(key, ())))  # none for none: that is a list, too
        return (substitute(part, lambda name: lookup(name, in_command=True)),)

    command = tuple(word for part in draft.runtime.command for word in words(part))
    given = {f"user_config.{key}" for key in (*values, *secrets)} | {"app", "storage"}
    unset = {f"user_config.{key}" for key in fields} - given
    env = {
        name: substitute(text, lambda name: lookup(name, in_command=False))
        for name, text in draft.runtime.env
        if not unset.intersection(placeholders(text))
    }
    for each in draft.user_config:
        if each.env and (each.key in secrets or each.key in values):
            env[each.env] = secrets[each.key] if each.key in secrets else value_text(values[each.key])
    return Filled(command, env)


def check_uses(draft: Draft, settings: Settings, *, kept: Iterable[str] = (), storage: int) -> None:
    """Refuse at approval what :func:`fill` would refuse at every call; *storage* is the granted size."""
    secrets = dict.fromkeys((*settings.secrets, *kept), "")
    fill(draft, settings.values, secrets, storage="/storage" if storage else "")
