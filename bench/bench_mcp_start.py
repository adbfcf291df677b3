"""How soon does ``mpp-exec mcp`` answer, with a resident runtime and without, against Python that starts?"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.bench_start import resident
from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, mpp_exec

INITIALIZE = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}\n'
)
DISCOVER = (
    b'{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{}}}}\n'
)
PROGRAM = Path(sys.executable).with_name("mpp-exec")


def run(*, rounds: int, as_json: bool) -> bool:
    with folder() as where, ExitStack() as stack:
        home, served = where / "home", where / "served"
        for each in (home, served):
            mpp_exec(each, "list")
        server = [str(PROGRAM), "mcp", "--home", str(home)]
        relay = [str(PROGRAM), "mcp", "--home", str(served)]
        stack.enter_context(resident(served))
        imported, initialized, discovered = "python -c 'import mpp_exec'", "initialize", "server/discover"
        contestants = [
            Contestant("python -c pass", lambda: _ended("-c", "pass")),
            Contestant(imported, lambda: _ended("-c", "import mpp_exec")),
            Contestant(initialized, lambda: _answered(server, INITIALIZE)),
            Contestant(discovered, lambda: _answered(server, DISCOVER)),
            Contestant(f"{initialized}, served", lambda: _answered(relay, INITIALIZE)),
            Contestant(f"{discovered}, served", lambda: _answered(relay, DISCOVER)),
        ]
        measure(contestants, rounds=rounds)
        goals = [Goal(name, imported, 1.5) for name in (initialized, discovered)]
        goals += [Goal(f"{name}, served", "python -c pass", 0.5) for name in (initialized, discovered)]
        return report("first answer of mpp-exec mcp", contestants, goals, as_json=as_json)


def _environment() -> dict[str, str]:
    """Return an environment in which Python keeps its bytecode, as it does in an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _ended(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, env=_environment())


def _answered(server: list[str], message: bytes) -> None:
    # It is killed as soon as it has answered: this benchmark does not measure how it ends.
    with subprocess.Popen(
        server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        process.stdin.write(message)
        process.stdin.flush()
        if b'"result"' not in process.stdout.readline():
            raise RuntimeError("the server answered with an error")
        process.kill()
