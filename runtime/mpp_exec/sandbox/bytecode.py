"""The modules of a Python package, compiled once when it is installed and not at each start of its tools.

A compiler reads what a stranger wrote, so it works in a sandbox of its own. What comes of it is of no more
worth than the package: it is mounted where that is, and nowhere else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.errors import HostError
from mpp_exec.package.manifest import FileEntry
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import interpreter, kernel, spawn
from mpp_exec.sandbox.building import APP
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.plan import own_plan

WORTH: Final = 4 << 10
"""Bytes of source below which compiling is not worth a mount."""

MOST: Final = 64 << 20
"""Bytes of source above which nothing is compiled."""

_PACKAGE: Final = "/package"
_LIMITS: Final = Limits(
    wall_ms=300_000,
    cpu_ms=300_000,
    memory=1 << 30,
    processes=1,
    open_files=64,
    output=256 << 20,
    scratch=1 << 20,
)
_INVOCATION: Final = "00000000-0000-0000-0000-000000000000"


def modules_of(files: Iterable[FileEntry]) -> tuple[str, ...]:
    """Return which of *files* are compiled ahead; none where they are too little or too much for that."""
    sources = [file for file in files if file.path.endswith(".py")]
    size = sum(file.size for file in sources)
    return tuple(file.path for file in sources) if WORTH <= size <= MOST else ()


def compile_modules(
    names: tuple[str, ...],
    folder: str,
    python: interpreter.Program,
    facts: kernel.KernelFacts,
    cache: SandboxCache,
) -> bytes:
    """Return the archive of the modules *names* in *folder*, a real path of the host, for *python*.

    It is one text: four bytes, big-endian, are the size of an index. That is a JSON object: ``magic`` is the
    version of the bytecode in hexadecimal, ``modules`` maps a name to [offset, size] in all that follows.

    Raises:
        HostError: this host cannot confine the compiler, or it did not answer.
        InternalError: the machine lacks memory, descriptors or processes.
    """
    plan = own_plan(
        facts,
        python,
        cache.launcher(python),
        "compiling:compiled",
        limits=_LIMITS,
        shown=((folder, _PACKAGE),),
    )
    request = {"arguments": {"folder": _PACKAGE, "app": APP, "names": names}}
    done = spawn.run(plan, json.dumps(request).encode(), cache=cache, invocation=_INVOCATION)
    answer = _answered(done.output) if done.outcome == "ok" else None
    if answer is None:
        raise HostError("host.compiling", f"the modules could not be compiled: {done.reason or 'no answer'}")
    magic, code = answer
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for name in names:
        if name in code:
            places[name] = at, len(code[name])
            at += len(code[name])
    index = json.dumps({"magic": magic, "modules": places}).encode()
    return len(index).to_bytes(4, "big") + index + b"".join(code[name] for name in places)


def _answered(output: bytes) -> tuple[str, dict[str, bytes]] | None:
    """Return the version of the bytecode and the code by name, None for what the compiler does not answer."""
    try:
        document: Any = encoding.json_loads(output, max_size=_LIMITS.output, max_depth=4)
        told = document["value"]
        return str(told["magic"]), {
            str(name): base64.b64decode(text, validate=True) for name, text in told["modules"].items()
        }
    except (encoding.JsonError, AttributeError, KeyError, TypeError, ValueError):
        return None
