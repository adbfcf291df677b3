"""The file of a wrapped Python server that starts it, and what is compiled for it ahead.

Inside nothing can be written beside the sources, so that an interpreter would compile them at every start,
for seconds. They are compiled once, by the interpreter that wraps; another version compiles for itself.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from mpp_exec.wrap.installers import run_installer

VENDOR: Final = "vendor"
COMPILED: Final = "compiled"

_STARTER: Final = '''\
"""Starts the server whose wheels are unpacked in the folder beside this file."""

import importlib.machinery
import importlib.util
import marshal
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VENDOR = os.path.join(HERE, "vendor")
COMPILED = os.path.join(HERE, "compiled", sys.implementation.cache_tag)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads what was compiled from a source, where it was for this interpreter."""

    def get_code(self, fullname):
        try:
            with open(f"{{COMPILED}}{{self.get_filename(fullname)[len(VENDOR):]}}c", "rb") as file:
                data = file.read()
        except OSError:
            data = b""
        if data[:4] != importlib.util.MAGIC_NUMBER:
            return super().get_code(fullname)
        return marshal.loads(data[16:])


def find_in(folder):
    if folder != VENDOR and not folder.startswith(VENDOR + os.sep):
        raise ImportError
    machinery = importlib.machinery
    extensions = machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES
    return machinery.FileFinder(folder, extensions, (Loader, [".py"]))


sys.path_hooks.insert(0, find_in)
OTHER = f"{{VENDOR}}-{{os.uname().machine}}"
if os.path.isdir(OTHER):
    sys.path.append(OTHER)  # what is compiled for a machine other than the one that wrapped
sys.path.append(VENDOR)  # behind the standard library, as installed packages are
sys.argv[0] = {script!r}
{body}
'''

_COMPILE: Final = """
import os, py_compile, sys
source, target = sys.argv[1:]
for place, folders, files in os.walk(source):
    for name in files:
        if name.endswith(".py"):
            path = os.path.join(place, name)
            inner = path[len(source):]
            try:
                py_compile.compile(path, target + inner + "c", "/app/vendor" + inner, doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
            except (py_compile.PyCompileError, ValueError):
                pass  # a file for another version, or one that is no module
"""


def write_starter(folder: Path, script: str, body: str) -> None:
    """Write ``run.py`` into *folder*: *body* is what starts the server, *script* what that is called."""
    (folder / "run.py").write_text(_STARTER.format(script=script, body=body))


def compile_ahead(work: Path, folder: Path) -> None:
    """Compile the sources in ``vendor`` of *work*, where the compiler is confined to, for *folder*."""
    tag = sys.implementation.cache_tag or "unknown"
    run_installer([sys.executable, "-I", "-S", "-c", _COMPILE, VENDOR, f"{COMPILED}/{tag}"], work)
    if (work / COMPILED).is_dir():
        shutil.move(work / COMPILED, folder / COMPILED)
