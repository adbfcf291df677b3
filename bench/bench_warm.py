"""What does the next call of a Python tool cost, with everything that can be prepared prepared?

It is compared with starting a static program without any sandbox, with a ``tools/call`` to a running,
unsandboxed MCP server on the official SDK, and with a bare ``python3``. It runs once with the home on disk
and once on tmpfs; the difference is the cost of recording a call durably.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import outside
from bench.harness import Contestant, Goal, measure, report
from bench.stage import build_static, folder, install_python
from mpp_exec import Runtime

_PATIENCE = 0.5  # seconds
DISK, MEMORY = "mpp-exec, Python tool", "mpp-exec, Python tool, home on tmpfs"
STATIC, SERVER = (
    "static program, vfork and exec, no sandbox",
    "tools/call to a running SDK server, no sandbox",
)


def run(*, rounds: int, as_json: bool) -> bool:
    with folder() as where, ExitStack() as stack:
        program = build_static(where / "bin" / "answer")
        contestants = [Contestant(DISK, _calling(stack, where))]
        if Path("/dev/shm").is_dir():
            shared = stack.enter_context(folder(Path("/dev/shm")))
            contestants.append(Contestant(MEMORY, _calling(stack, shared)))
        floor = outside.Served([str(outside.compiled(where)), "plain", str(program)])
        contestants.append(Contestant(STATIC, stack.enter_context(floor).one))
        command = outside.sdk_command()
        if command is not None:
            contestants.append(Contestant(SERVER, stack.enter_context(outside.Served(command)).one))
        else:
            print(
                "no .venv-interop: the SDK's server is left out (pytest tests/interop makes it)",
                file=sys.stderr,
            )
        contestants.append(
            Contestant("python3 -I -c pass", outside.process(["/usr/bin/python3", "-I", "-c", "pass"]))
        )
        measure(contestants, rounds=rounds)
        goals = [
            Goal(DISK, STATIC, 1.0),
            Goal(DISK, STATIC, 3.0, p99=True),
            Goal(MEMORY, STATIC, 1.0),
            Goal(DISK, SERVER, 0.5),
            Goal(MEMORY, SERVER, 0.5),
        ]
        return report("the next call of a Python tool", contestants, goals, as_json=as_json)


def _calling(stack: ExitStack, where: Path) -> Callable[[], int]:
    """Return a function that times one call, in ns, of a tool called so rarely that a sandbox waits."""
    runtime = stack.enter_context(Runtime(install_python(where)))

    def call() -> int:
        _wait(runtime)
        begin = time.perf_counter_ns()
        result = runtime.call("bench/python", "answer", {"text": "x"})
        took = time.perf_counter_ns() - begin
        if result.structured != {"ok": True}:
            raise RuntimeError(f"the call answered {result}")
        return took

    return call


def _wait(runtime: Runtime) -> None:
    """Wait until a sandbox is prepared. An older revision prepares none; the first calls never have one."""
    pool = getattr(runtime._open(), "sandboxes", None)  # noqa: SLF001 - what no host has to know
    until = time.monotonic() + _PATIENCE
    while pool is not None and not pool.waiting and time.monotonic() < until:
        time.sleep(0.001)
