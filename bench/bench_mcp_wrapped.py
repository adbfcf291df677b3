"""What does the sandbox cost for a published MCP server: wrapped and prepared, against the same one running?

Each server is wrapped from its registry and called by the official SDK's client. Behind ``mpp-exec mcp`` each
call gets a server of its own, which was started ahead. Without a sandbox one server, with the same starter
and libraries, answers all calls. There is a pause between two calls, since starting a server on the official
SDK takes one second of processor time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.harness import Goal, report
from bench.sdk_client import SDK, SdkClient, ours, take_turns
from bench.stage import folder, mpp_exec

_SERVERS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "time (Python)": ("pypi:mcp-server-time==2025.9.25", "get_current_time", {"timezone": "UTC"}),
    "everything (Node.js)": (
        "npm:@modelcontextprotocol/server-everything@2026.8.31",
        "get-sum",
        {"a": 2, "b": 3},
    ),
}
_BASE: Final = getattr(sys, "_base_executable", sys.executable)


def run(*, rounds: int, as_json: bool) -> bool:
    if not SDK.exists():
        print(
            "the official SDK is not installed: no comparison (pytest tests/interop/test_mcp_sdk.py makes it)"
        )
        return True
    met = True
    for name, (source, tool, arguments) in _SERVERS.items():
        if source.startswith("npm:") and shutil.which("npm") is None:
            print(f"this host has no npm: {name} is left out")
            continue
        with folder() as where, ExitStack() as stack:
            try:
                direct = _wrapped(where, source)
            except subprocess.CalledProcessError as error:
                print(f"{name} is left out: {error.stderr.decode().strip()}")
                continue
            sandboxed, plain = f"{name}, wrapped, a sandbox a call", f"{name}, unsandboxed and running"
            commands = {sandboxed: ours(where / "home", "bench/server"), plain: direct}
            clients = {
                each: stack.enter_context(SdkClient(command, tool, arguments))
                for each, command in commands.items()
            }
            contestants = take_turns(clients, rounds=rounds, warm_up=3)
            goals = [Goal(sandboxed, plain, 1.5)]
            met &= report(f"tools/call of {name}", contestants, goals, as_json=as_json)
    return met


def _wrapped(where: Path, source: str) -> list[str]:
    """Wrap, build and install *source*; return the command that starts the unwrapped server."""
    home, place = where / "home", where / "source"
    mpp_exec(home, "keygen", "bench")
    mpp_exec(home, "wrap", source, "-o", str(place), "--name", "bench/server", "--operation", "read")
    mpp_exec(home, "build", str(place), "-o", str(where / "it.mpp"))
    mpp_exec(home, "install", str(where / "it.mpp"), "--approve")
    command = tomllib.loads((place / "mpp.toml").read_text(encoding="utf-8"))["runtime"]["command"]
    program = [_BASE, "-S"] if command[0] == "python" else [shutil.which(command[0]) or command[0]]
    return [*program, *(word.replace("${app}", os.fspath(place)) for word in command[1:])]
