"""Compiles the modules of a Python package once, at installation, instead of at each start of its tools.

The compiler reads untrusted sources, so it works in a sandbox of its own. Its output deserves no more trust
than the package: it is mounted where the package is, and nowhere else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.errors import HostError
from mpp_exec.package.manifest import FileEntry
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import interpreter, kernel, spawn
from mpp_exec.sandbox.building import APP
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.planning import own_plan

WORTH: Final = 4 << 10
"""Bytes of source below which compiling is not worth a mount."""

MOST: Final = 64 << 20
"""Bytes of source above which nothing is compiled."""

_PACKAGE: Final = "/package"
_LIMITS: Final = Limits(
    wall_ms=60_000,
    cpu_ms=60_000,
    memory=1 << 30,
    processes=1,
    open_files=64,
    output=256 << 20,
    scratch=1 << 20,
)
_CPU_MS: Final = 2_000
_CPU_MS_EACH: Final = 1_500  # for each MiB; of the standard library one takes 0.2 s
_WAITS: Final = 2  # times its processor time may pass, on a busy machine
_OUTPUT: Final = 64 << 10
_GROWS: Final = 8  # times the source, as base64; the standard library is 1.5 times as long
_INVOCATION: Final = "00000000-0000-0000-0000-000000000000"


def modules_of(files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Return which of *files* are compiled ahead; none where they are too little or too much for that."""
    sources = tuple(file for file in files if file.path.endswith(".py"))
    return sources if WORTH <= _size(sources) <= MOST else ()


def compile_modules(
    modules: tuple[FileEntry, ...],
    folder: str,
    python: interpreter.Program,
    facts: kernel.KernelFacts,
    cache: SandboxCache,
) -> bytes:
    """Return the archive of *modules* in *folder*, a real path of the host, for *python*.

    It is one text: four bytes, big-endian, are the size of an index. That is a JSON object: ``magic`` is the
    version of the bytecode in hexadecimal, ``modules`` maps a name to [offset, size] in all that follows.

    Raises:
        HostError: this host cannot confine the compiler, or it did not answer within what the size of
            its sources allows.
        InternalError: the machine lacks memory, descriptors or processes.
    """
    plan = own_plan(
        facts,
        python,
        cache.launcher(python),
        "compiling:compiled",
        limits=_limits(_size(modules)),
        shown=((folder, _PACKAGE),),
    )
    names = [module.path for module in modules]
    request = {"arguments": {"folder": _PACKAGE, "app": APP, "names": names}}
    done = spawn.run(plan, Call(json.dumps(request).encode(), _INVOCATION), cache=cache)
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


def _size(files: Collection[FileEntry]) -> int:
    return sum(file.size for file in files)


def _limits(size: int) -> Limits:
    """Return the limits of compiling *size* bytes.

    A compiler repeats the body of a ``finally``, so that a few of them in one another are a gigabyte, and
    ``"x" * 4096`` is worked out. Nobody is kept waiting for that, and no home is filled with it: what grows
    out of proportion is loaded from its sources.
    """
    cpu_ms = _CPU_MS + size * _CPU_MS_EACH // (1 << 20)
    return replace(
        _LIMITS,
        cpu_ms=min(_LIMITS.cpu_ms, cpu_ms),
        wall_ms=min(_LIMITS.wall_ms, _WAITS * cpu_ms),
        output=min(_LIMITS.output, _OUTPUT + _GROWS * size),
    )


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
