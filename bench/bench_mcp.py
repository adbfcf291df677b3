"""What does a fresh sandbox for each ``tools/call`` cost, as a client of the official SDK sees it?

The same client calls the same Python function: once behind ``mpp-exec mcp``, and once in a long-running
server on the official SDK without a sandbox. There is a pause between two calls, as when a model thinks.
Without pauses, two processors cannot prepare sandboxes as fast as they are used, and most calls wait for a
sandbox to be made. The second table shows this.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.bench_start import resident
from bench.harness import Goal, report
from bench.sdk_client import SDK, SdkClient, ours, served, take_turns
from bench.stage import folder, mpp_exec

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


def run(*, rounds: int, as_json: bool) -> bool:
    if not SDK.exists():
        print(
            "the official SDK is not installed: no comparison (pytest tests/interop/test_mcp_sdk.py makes it)"
        )
        return True
    with folder() as where, ExitStack() as stack:
        for name in ("alone", "served"):
            (where / name).mkdir()
        home, shared = _installed(where / "alone"), _installed(where / "served")
        stack.enter_context(resident(shared))
        sandboxed, plain = "mpp-exec mcp, a sandbox a call", "official SDK, no sandbox"
        relayed = "mpp-exec mcp, served by a resident runtime"
        commands = {
            sandboxed: ours(home, "bench/add"),
            relayed: served(shared, "bench/add"),
            plain: [str(SDK), str(where / "alone" / "source" / "server.py")],
        }
        clients = {
            name: stack.enter_context(SdkClient(command, "add", {"a": 1, "b": 2}))
            for name, command in commands.items()
        }
        contestants = take_turns(clients, rounds=rounds)
        goals = [Goal(sandboxed, plain, 1.0), Goal(relayed, plain, 1.0)]
        met = report(
            "tools/call of a Python tool from the official SDK's client", contestants, goals, as_json=as_json
        )
        hurried = take_turns(clients, rounds=rounds, pauses=False)
        report("the same, calls back to back", hurried, [], as_json=as_json)
        return met


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
