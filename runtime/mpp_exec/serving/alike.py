"""Whether a call that a client asks for would be the same call if this process made it.

Besides the home and the policy, three things decide about a call: the standing of the process (``peer``), its
installation, and a few of its variables. If any of them differs, the client makes the call itself.
"""

from __future__ import annotations

import codecs
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

from mpp_exec.sandbox.cgroup import VARIABLE
from mpp_exec.serving.peer import Standing
from mpp_exec.serving.wire import Hello

# Where programs, homes and policies are found; and what a loader or an interpreter obeys, by its beginning.
_NAMES: Final = frozenset({"PATH", "HOME", "XDG_DATA_HOME", "MPP_POLICY", VARIABLE})
_BEGINNINGS: Final = ("LD_", "PYTHON", "GLIBC_", "MALLOC_")
_LOCALE: Final = ("LC_ALL", "LC_CTYPE", "LANG")
_PYTHON: Final = "mpp-exec-python"
_CONFINED: Final = "it has other rights, or is in a sandbox"


def build() -> str:
    """Return the digest of what this installation was built from, "" if it was not recorded."""
    try:
        return resources.files("mpp_exec").joinpath("serving/build-id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def programs() -> str:
    """Return the folder in which the client of this installation is."""
    began = os.path.realpath(sys.argv[0] if sys.argv else "")
    if Path(began).name == _PYTHON:
        return str(Path(began).parent)
    return os.path.realpath(sysconfig.get_path("scripts"))


class Likeness:
    """What this process compares clients with, as of its start."""

    def __init__(self, standing: Standing, environ: Mapping[str, str]) -> None:
        self.build = build()
        self.programs = programs()
        self._standing = standing
        self._environ = _deciding(environ)

    def differs(self, hello: Hello, standing: Standing | None) -> str:
        """Return in words what is different for that client, "" if nothing is."""
        if not self.build or hello.build != self.build:
            return "it is another version"
        if hello.programs != self.programs:
            return "it is another installation"
        if standing != self._standing:
            return _CONFINED
        if not _speaks_utf8(hello.environ):
            return "its locale has another encoding than UTF-8"
        theirs = _deciding(hello.environ)
        names = sorted(
            name
            for name in theirs.keys() | self._environ.keys()
            if theirs.get(name) != self._environ.get(name)
        )
        if names:
            return f"it has another {names[0]}"
        relative = [name for name in ("PATH", "MPP_POLICY") if not _is_absolute(theirs.get(name))]
        return f"its {relative[0]} is relative to its folder" if relative else ""

    def keeps_out(self, standing: Standing | None) -> str:
        """Return in words what keeps that process from this one, "" where nothing does.

        Limits do not: a shell that has raised one can end this process as well.
        """
        ours = replace(self._standing, limits=b"")
        return "" if standing is not None and replace(standing, limits=b"") == ours else _CONFINED


def _deciding(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in _NAMES or name.startswith(_BEGINNINGS)}


def _is_absolute(paths: str | None) -> bool:
    return paths is None or all(path.startswith("/") for path in paths.split(os.pathsep))


def _speaks_utf8(environ: Mapping[str, str]) -> bool:
    """Tell whether Python would read the words of a command line as UTF-8 there (PEP 538 and 540)."""
    locale = next((environ[name] for name in _LOCALE if environ.get(name)), "C")
    if locale in ("C", "POSIX"):
        return True
    encoding = locale.partition(".")[2].partition("@")[0]
    try:
        return bool(encoding) and codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False
