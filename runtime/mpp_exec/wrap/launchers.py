"""What ``npx``, ``uvx`` and their like would fetch: inside nothing is fetched, so ``wrap`` does it before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mpp_exec.patterns import lazily

_LAUNCHERS: Final = {
    ("npx",): "npm",
    ("bunx",): "npm",
    ("npm", "exec"): "npm",
    ("pnpm", "dlx"): "npm",
    ("pnpx",): "npm",
    ("yarn", "dlx"): "npm",
    ("uvx",): "pypi",
    ("uv", "tool", "run"): "pypi",
    ("pipx", "run"): "pypi",
}
_NAMING: Final = {"npm": ("-p", "--package"), "pypi": ("--from", "--spec")}
"""Options whose value is what is fetched, where the program has another name."""
_TAKING: Final = {
    "npm": ("--registry", "--cache", "-c", "--call"),
    "pypi": ("--with", "-p", "--python", "--index-url"),
}
"""Options whose value is something else."""
_NPM: Final = lazily(r"(?P<name>(?:@[a-z0-9._~-]+/)?[a-z0-9._~-]+)(?:@(?P<version>[^@]+))?", re.IGNORECASE)
_PYPI: Final = lazily(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?(?:(?:==|@)(?P<version>.+))?", re.IGNORECASE
)


def fetched_by(command: Sequence[str]) -> str:
    """Return the source that *command* would fetch and start, as ``wrap`` takes it; "" for no launcher.

    Where the command does not say which version, neither does the source: ``VERSION`` stands there.
    """
    words = [Path(command[0]).name, *command[1:]] if command else []
    for launcher, kind in _LAUNCHERS.items():
        if tuple(words[: len(launcher)]) == launcher:
            return _source(kind, _wanted(kind, words[len(launcher) :]))
    return ""


def hint_for(command: Sequence[str], otherwise: str) -> str:
    """Return what to do about a *command* of no program of its own, *otherwise* where it is no launcher."""
    source = fetched_by(command)
    if not source:
        return otherwise
    name = Path(command[0]).name
    return f"{name} fetches what it starts, and nothing is fetched inside: mpp-exec wrap {source} -o DIR"


def _wanted(kind: str, words: Sequence[str]) -> str:
    """Return the package among the arguments of a launcher, "" if there is none."""
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option in _NAMING[kind]:
            return value if equals else next(left, "")
        if word in _TAKING[kind]:
            next(left, None)
        elif not word.startswith("-"):
            return word
    return ""


def _source(kind: str, wanted: str) -> str:
    match = (_NPM if kind == "npm" else _PYPI).fullmatch(wanted)
    if match is None:
        return f"{kind}:NAME{'@' if kind == 'npm' else '=='}VERSION"
    version = match["version"] if match["version"] not in (None, "latest") else "VERSION"
    return f"{kind}:{match['name']}{'@' if kind == 'npm' else '=='}{version}"
