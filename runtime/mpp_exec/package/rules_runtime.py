"""Rules for how the tools of a package are started: ``[runtime]`` and every variable they are given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mpp_exec.errors import PackageError
from mpp_exec.package.fields import MAX_ENTRIES, FieldError, at, check_ordered, check_set, check_text
from mpp_exec.package.manifest import Draft, RuntimeSpec
from mpp_exec.package.paths import check_path
from mpp_exec.package.rules_permissions import config_of
from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import VocabularyError, parse_env_name, refuse_forbidden

PLATFORMS: Final = tuple(
    f"linux-{machine}" for machine in ("aarch64", "loongarch64", "ppc64le", "riscv64", "s390x", "x86_64")
)
"""``linux-`` and what ``uname -m`` prints."""

MAX_ARGUMENT: Final = 32_768
"""Characters of one argument or variable, before substitution."""

_PLACEHOLDER: Final = lazily(r"\$\{([^}]*)\}?")


def is_interpreter(runtime: RuntimeSpec, program: str) -> bool:
    """Return whether *program* is an interpreter that the package requires from the host."""
    return any(requirement.name == program for requirement in runtime.requires)


def check_runtime(draft: Draft) -> None:
    """Check ``[runtime]`` against the kind, and its placeholders against the rest of the draft."""
    runtime = draft.runtime
    check_ordered("runtime.requires", runtime.requires)
    check_ordered("runtime.requires", tuple(requirement.name for requirement in runtime.requires))
    check_set("runtime.platforms", runtime.platforms, _platform)
    if len(runtime.path) > MAX_ENTRIES or len(set(runtime.path)) != len(runtime.path):
        raise FieldError("duplicate", "runtime.path", "has a folder twice, or too many")
    for index, folder in enumerate(runtime.path):
        _package_path(f"runtime.path[{index}]", folder)
    if runtime.kind == "python":
        if runtime.command:
            raise FieldError(
                "inconsistent",
                "runtime.command",
                "does not go with kind python",
                "name a function as entry of each tool",
            )
        if not is_interpreter(runtime, "python"):
            raise FieldError("inconsistent", "runtime.requires", "must name python for kind python")
        return
    if runtime.path:
        raise FieldError("inconsistent", "runtime.path", f"does not go with kind {runtime.kind}")
    if runtime.import_once:
        raise FieldError("inconsistent", "runtime.import_once", f"does not go with kind {runtime.kind}")
    if not runtime.command:
        raise FieldError(
            "missing_key",
            "runtime.command",
            f"is required for kind {runtime.kind}",
            'as in command = ["bin/tool"]',
        )
    if len(runtime.command) > MAX_ENTRIES:
        raise FieldError("out_of_range", "runtime.command", f"has more than {MAX_ENTRIES} arguments")
    for index, argument in enumerate(runtime.command):
        _template(f"runtime.command[{index}]", argument, draft, several=index > 0)
    if not is_interpreter(runtime, runtime.command[0]):
        _package_path("runtime.command[0]", runtime.command[0])


def _platform(text: str) -> str:
    if text not in PLATFORMS:
        raise VocabularyError(f"{text!r} is not a platform known here", f"one of {', '.join(PLATFORMS)}")
    return text


def _package_path(key: str, path: str) -> None:
    at(key, refuse_forbidden, path)
    try:
        check_path(path)
    except PackageError as error:
        raise FieldError(
            "bad_path",
            key,
            f"is not a path inside the package: {error.message}",
            "write it relative to the package, as in bin/tool",
        ) from None


def _template(key: str, text: str, draft: Draft, *, several: bool = False) -> None:
    """Check a text in which placeholders are substituted: each must refer to something there is.

    What has several values is several words: it may be all of a text where *several* can stand, and no part.
    """
    check_text(key, text, MAX_ARGUMENT)
    for match in _PLACEHOLDER.finditer(text):
        name = match.group(1)
        if not match.group().endswith("}"):
            raise FieldError(
                "unknown_placeholder", key, "has a placeholder that never ends", "close it with }"
            )
        if name == "app":
            continue
        if name == "storage":
            if not draft.permissions.storage:
                raise FieldError(
                    "unknown_placeholder",
                    key,
                    "uses ${storage}, but no storage is asked for",
                    "add storage to [permissions]",
                )
            continue
        scope, dot, config = name.partition(".")
        if scope != "user_config" or not dot:
            raise FieldError(
                "unknown_placeholder",
                key,
                f"uses ${{{name}}}",
                "there are ${user_config.KEY}, ${storage} and ${app}",
            )
        if config_of(key, config, draft).multiple and not (several and text == match.group()):
            raise FieldError(
                "inconsistent",
                key,
                f"uses {match.group()}, which has several values, inside of a text",
                "each of them is a word of its own: let it be a whole argument of command",
            )


def check_variables(draft: Draft) -> None:
    """Check constants, and that no variable is set from two places."""
    constant = draft.runtime.kind != "python"
    for name, text in draft.runtime.env:
        at(f"runtime.env.{name}", lambda word: parse_env_name(word, constant=constant), name)
        _template(f"runtime.env.{name}", text, draft)
    names: dict[str, str] = {}
    sources: Iterable[tuple[str, str]] = (
        *((name, f"runtime.env.{name}") for name, _ in draft.runtime.env),
        *((field.env, f"user_config.{field.key}.env") for field in draft.user_config if field.env),
        *((name, "permissions.environment") for name in draft.permissions.environment),
    )
    for name, key in sources:
        if name in names:
            raise FieldError(
                "duplicate", key, f"sets {name}, which {names[name]} sets too", "let one of them set it"
            )
        names[name] = key
