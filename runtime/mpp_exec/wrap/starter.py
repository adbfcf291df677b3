"""What starts a wrapped Python server, what is compiled for it ahead, and what Node.js loads first.

Inside nothing can be written beside the sources, so that an interpreter would compile them at every start,
for seconds. They are compiled once, by the interpreter that wraps; another version compiles for itself.

There is no ``/proc`` inside, where Node.js looks for its own memory and the processors: a server that asks,
often for a line of its log, would end with an error, or share its work among no workers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mpp_exec.errors import UsageError
from mpp_exec.wrap.heard import Watch
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


PRELOAD: Final = "mpp-preload.cjs"
_PRELOADED: Final = """\
// Loaded before the server: answers what Node.js reads from /proc, which is not there inside of a sandbox.
"use strict";
const os = require("node:os");
const v8 = require("node:v8");

function orElse(asked, otherwise) {
  return function (...given) {
    try {
      return asked.apply(this, given);
    } catch {
      return otherwise();
    }
  };
}

// The most that was resident (getrusage), which is no less than what is.
const rss = () => process.resourceUsage().maxRSS * 1024;
const memory = () => {
  const heap = v8.getHeapStatistics();
  return {
    rss: rss(),
    heapTotal: heap.total_heap_size,
    heapUsed: heap.used_heap_size,
    external: heap.external_memory,
    arrayBuffers: 0,
  };
};
const resident = process.memoryUsage.rss;
process.memoryUsage = orElse(process.memoryUsage, memory);
process.memoryUsage.rss = orElse(resident, rss);

const cpus = os.cpus;
const times = { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 };
os.cpus = () => {
  const found = cpus();
  if (found.length > 0) return found;
  const count = os.availableParallelism ? os.availableParallelism() : 1;
  return Array.from({ length: count }, () => ({ model: "unknown", speed: 0, times: { ...times } }));
};
os.networkInterfaces = orElse(os.networkInterfaces, () => ({}));
require("node:module").syncBuiltinESMExports();
"""


def with_preload(command: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return *command*, changed to load what it needs first, which is put into *folder*, if it is Node.js.

    Raises:
        UsageError: ``wrap.folder``: another file of that name is there.
    """
    if command[0] != "node":
        return tuple(command)
    place = folder / PRELOAD
    if place.exists() and not (place.is_file() and place.read_text(errors="replace") == _PRELOADED):
        raise UsageError("wrap.folder", f"the server has a file {PRELOAD}, which is put there", "rename it")
    place.write_text(_PRELOADED)
    return ("node", "--require", f"${{app}}/{PRELOAD}", *command[1:])


def write_starter(folder: Path, script: str, body: str) -> None:
    """Write ``run.py`` into *folder*: *body* is what starts the server, *script* what that is called."""
    (folder / "run.py").write_text(_STARTER.format(script=script, body=body))


def compile_ahead(work: Path, folder: Path, watch: Watch) -> None:
    """Compile the sources in ``vendor`` of *work*, where the compiler is confined to, for *folder*."""
    tag = sys.implementation.cache_tag or "unknown"
    command = [sys.executable, "-I", "-S", "-c", _COMPILE, VENDOR, f"{COMPILED}/{tag}"]
    run_installer(command, work, step="compiling", watch=watch)
    if (work / COMPILED).is_dir():
        shutil.move(work / COMPILED, folder / COMPILED)
