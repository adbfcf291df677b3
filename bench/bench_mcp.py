"""What does a fresh sandbox for each ``tools/call`` cost, as a client of the official SDK sees it?

The same client, the same Python function: once behind ``mpp-exec mcp``, once in a server on the official
SDK that runs without a sandbox and stays. The SDK is in the environment that tests/interop makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.harness import ROOT, Contestant, Goal, report
from bench.stage import folder, mpp_exec

SDK = ROOT / ".venv-interop" / "bin" / "python"
TOML = """
[package]
name = "bench/add"
version = "1.0.0"

[runtime]
kind = "python"
requires = ["python>=3.11"]

[[tools]]
name = "add"
description = "Adds."
entry = "add:add"
inputSchema = { type = "object", properties = { a = { type = "integer" }, b = { type = "integer" } } }
"""
FUNCTION = "def add(a: int, b: int) -> dict[str, int]:\n    return {'sum': a + b}\n"
SERVER = """
from mcp.server import MCPServer
from add import add
server = MCPServer("bench")
server.tool()(add)
server.run()
"""
# One client a server, woken in turn: a line in, the nanoseconds of one call out.
CLIENT = """
import asyncio, sys, time
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

async def main():
    command, *args = sys.argv[1:]
    async with Client(stdio_client(StdioServerParameters(command=command, args=args))) as client:
        await client.list_tools()
        while await asyncio.to_thread(sys.stdin.readline):
            begin = time.perf_counter_ns()
            result = await client.call_tool("add", {"a": 1, "b": 2})
            took = time.perf_counter_ns() - begin
            assert result.structured_content == {"sum": 3}, result
            print(took, flush=True)

asyncio.run(main())
"""


def run(*, rounds: int, as_json: bool) -> bool:
    if not SDK.exists():
        print(
            "the official SDK is not installed: no comparison (pytest tests/interop/test_mcp_sdk.py makes it)"
        )
        return True
    with folder() as where:
        command = [str(Path(sys.executable)), "-P", "-m", "mpp_exec", "mcp", "--package", "bench/add"]
        servers = {
            "mpp-exec mcp, a sandbox a call": [*command, "--home", str(_installed(where))],
            "official SDK, no sandbox": [str(SDK), str(where / "source" / "server.py")],
        }
        clients = {name: _client(words) for name, words in servers.items()}
        contestants = [Contestant(name, lambda: None) for name in servers]
        try:
            for count in range(rounds + 5):
                for contestant in contestants if count % 2 else reversed(contestants):
                    took = _one(clients[contestant.name])
                    if count >= 5:
                        contestant.samples.append(took)
        finally:
            for process in clients.values():
                process.communicate(timeout=30)
        ours, theirs = servers
        goals = [Goal(ours, theirs, 1.0)]
        return report(
            "tools/call of a Python tool from the official SDK's client", contestants, goals, as_json=as_json
        )


def _installed(where: Path) -> Path:
    source, home = where / "source", where / "home"
    source.mkdir()
    (source / "add.py").write_text(FUNCTION, encoding="utf-8")
    (source / "mpp.toml").write_text(TOML, encoding="utf-8")
    mpp_exec(home, "keygen", "bench")
    mpp_exec(home, "build", str(source), "-o", str(where / "add.mpp"))
    mpp_exec(home, "install", str(where / "add.mpp"), "--approve")
    (source / "server.py").write_text(SERVER, encoding="utf-8")
    return home


def _client(server: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SDK), "-c", CLIENT, *server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=dict(os.environ),
    )


def _one(process: subprocess.Popen[str]) -> int:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the client has no pipes")
    process.stdin.write("go\n")
    return int(json.loads(process.stdout.readline()))
