"""Clients of the official MCP SDK, in processes of their own, that call servers in turn and time each call.

The SDK is in the environment that tests/interop makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.harness import ROOT, Contestant

SDK = ROOT / ".venv-interop" / "bin" / "python"

# The clients take turns: a line in, and the nanoseconds of one call out.
_CLIENT = """
import asyncio, json, os, sys, time
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

async def main():
    tool, arguments, variables, command, *args = sys.argv[1:]
    arguments, variables = json.loads(arguments), json.loads(variables)
    server = StdioServerParameters(command=command, args=args, env=variables)
    async with Client(stdio_client(server, errlog=open(os.devnull, "w"))) as client:
        await client.list_tools()
        while await asyncio.to_thread(sys.stdin.readline):
            begin = time.perf_counter_ns()
            result = await client.call_tool(tool, arguments)
            took = time.perf_counter_ns() - begin
            assert not result.is_error, result
            print(took, flush=True)

asyncio.run(main())
"""
_CALM = 0.15  # seconds in which nothing may run
_PATIENCE = 20.0


class SdkClient:
    """One client of one server. The client starts the server with *command*."""

    def __init__(
        self,
        command: Sequence[str],
        tool: str,
        arguments: Mapping[str, object],
        *,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        # Python may keep its bytecode, as it does in an installed package and in a resident runtime.
        own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        words = [tool, json.dumps(arguments), json.dumps({**own, **(variables or {})})]
        self._process = subprocess.Popen(
            [str(SDK), "-c", _CLIENT, *words, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def one(self) -> int:
        """Make one call; return its time in ns."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the client has no pipes")
        self._process.stdin.write("go\n")
        return int(json.loads(self._process.stdout.readline()))

    def rest(self) -> None:
        """Wait until client, server and the sandboxes that the server prepares are idle."""
        until = time.monotonic() + _PATIENCE
        before = -1
        while time.monotonic() < until and (now := _used(self._process.pid)) != before:
            before = now
            time.sleep(_CALM)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)


def take_turns(
    clients: Mapping[str, SdkClient], *, rounds: int, warm_up: int = 5, pauses: bool = True
) -> list[Contestant]:
    """Return the times of *rounds* calls for each of *clients*; with *pauses* there is time between calls."""
    contestants = [Contestant(name, lambda: None) for name in clients]
    for count in range(rounds + warm_up):
        for contestant in contestants if count % 2 else reversed(contestants):
            client = clients[contestant.name]
            if pauses:
                client.rest()
            took = client.one()
            if count >= warm_up:
                contestant.samples.append(took)
    return contestants


def ours(home: Path, package: str) -> list[str]:
    """Return the command of ``mpp-exec mcp`` for *package*."""
    return [sys.executable, "-P", "-m", "mpp_exec", "mcp", "--package", package, "--home", str(home)]


def served(home: Path, package: str) -> list[str]:
    """Return the command of ``mpp-exec mcp`` for *package*, which a resident runtime of *home* serves."""
    client = Path(sys.executable).with_name("mpp-exec")
    return [str(client), "mcp", "--package", package, "--home", str(home)]


def _used(root: int) -> int:
    """Return the processor time, in ticks, of a process and all its descendants, and their number."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(each.name)] = int(fields[1])
            ticks[int(each.name)] = int(fields[11]) + int(fields[12])
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(ticks.get(pid, 0) + 1_000_000 for pid in below)
