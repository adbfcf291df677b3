"""A home with a resident runtime, and the native client of this installation."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command import DEADLINE, Done, Shell
from needs import missing

CLIENT = Path(sys.executable).with_name("mpp-exec")

WRITES = """\
[permissions.filesystem]
write = ["${user_config.folder}"]

[user_config.folder]
type = "directory"
title = "Folder"
required = true
"""
"""What a tool asks for that writes into a folder of the user's."""


def require_client() -> None:
    """Skip the test if the client was not built."""
    if not CLIENT.exists() or CLIENT.read_bytes()[:4] != b"\x7fELF":
        missing("the native client is not built here: make native")


def furnished_with(root: Path, name: str, *, code: str, toml: str, schema: str) -> Shell:
    """Return a home with the tool of *code* as *name* and as ``acme/asks``, which has to be confirmed.

    Both may write into the folder ``granted`` in *root*.
    """
    require_client()
    root.chmod(0o755)
    made = Shell(root)
    folder = root / "granted"
    folder.mkdir()
    for package, extra in ((name, ""), ("acme/asks", 'confirm = "always"\n')):
        made.install(
            package,
            "--set",
            f"folder={folder}",
            code=code,
            toml=toml,
            schema=schema,
            extra=f'{extra}operation = "write"',
        )
    return made


class Runtime:
    """The process of ``mpp-exec serve``, and its clients."""

    def __init__(self, shell: Shell, process: subprocess.Popen[bytes]) -> None:
        self.shell = shell
        self.process = process

    @property
    def path(self) -> Path:
        """The path of the socket on which the runtime listens."""
        return self.shell.home / "serve" / "socket"

    def status(self) -> Any:
        """Return the status that the runtime reports."""
        with self.connect() as connection:
            connection.sendall(frame(b"S"))
            letter, number = read_frame(connection)
            assert letter == b"B"
            connection.sendall(go(self, number))
            letter, answer = read_frame(connection)
        assert letter == b"O"
        return json.loads(answer)

    def descriptors(self) -> list[str]:
        """Return the descriptors that the runtime has open."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        found = []
        for each in sorted(folder.iterdir()):
            with contextlib.suppress(OSError):
                found.append(str(each.readlink()))
        return found

    def client(self, *words: str, stdin: str | bytes = b"", **variables: str) -> Done:
        """Run the native client without a terminal."""
        return run_client(self.shell, *words, stdin=stdin, **variables)

    def connect(self) -> socket.socket:
        """Return a connection from this process to the runtime."""
        return connect_to(self.path)


def connect_to(path: Path) -> socket.socket:
    """Return a connection to the socket at *path*, which may be longer than a socket address allows."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    folder = os.open(path.parent, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    return connection


def run_client(shell: Shell, *words: str, stdin: str | bytes = b"", **variables: str) -> Done:
    """Run the native client without a terminal."""
    done = subprocess.run(
        [CLIENT, *words],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        cwd=shell.cwd,
        env=shell.environment() | variables,
        start_new_session=True,
        timeout=DEADLINE,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def start_client(shell: Shell, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Start the native client without a terminal; the caller waits for it."""
    return subprocess.Popen(
        [CLIENT, *words],
        cwd=shell.cwd,
        env=shell.environment(),
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


@contextlib.contextmanager
def serving(shell: Shell, *words: str) -> Iterator[Runtime]:
    """Run a resident runtime during the block."""
    require_client()
    process = subprocess.Popen(
        [CLIENT, "serve", *words],
        cwd=shell.cwd,
        env=shell.environment(),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(b"serving "), (line, process.stderr.read())
        yield Runtime(shell, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def frame(letter: bytes, payload: bytes = b"") -> bytes:
    """Return a frame of the protocol."""
    return struct.pack(">cI", letter, len(payload)) + payload


def go(runtime: Runtime, number: bytes) -> bytes:
    """Return the frame G that answers a B with the descriptor *number*."""
    return frame(b"G", Path(f"/proc/{runtime.process.pid}/fd/{number.decode()}").read_bytes())


def hello(runtime: Runtime, *words: str, **changes: Any) -> bytes:
    """Return the frame H of a correct client, with *changes*."""
    facts = runtime.shell.home.stat()
    status = runtime.status()
    fields = {
        "protocol": "mpp-exec serve 4",
        "build": status["build"],
        "programs": os.path.realpath(CLIENT.parent),
        "folder": str(runtime.shell.cwd),
        "home": f"{facts.st_dev}:{facts.st_ino}",
        "flags": "",
        "input": "",
        "count": str(len(words)),
    } | {name: value for name, value in changes.items() if name != "environ"}
    environ = changes.get("environ", runtime.shell.environment())
    strings = [*fields.values(), *words, *(f"{name}={value}" for name, value in environ.items())]
    return frame(b"H", b"".join(os.fsencode(string) + b"\0" for string in strings))


def read_frame(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the next frame; (b"", b"") at the end of the connection."""
    header = exactly(connection, 5)
    if not header:
        return b"", b""
    letter, size = struct.unpack(">cI", header)
    return letter, exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    """Return *size* bytes, or what came before the end."""
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except ConnectionResetError:
            break
        if not part:
            break
        data += part
    return data


def until(true: Any, what: str) -> None:
    """Wait until *true* returns a true value."""
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def normal(text: str) -> Any:
    """Return the output of ``run --json`` without the parts that differ in every call."""
    if not text.startswith("{"):
        return text
    value = json.loads(text)
    for name in ("mpp-exec/invocation", "mpp-exec/timing"):
        if "_meta" in value:
            del value["_meta"][name]
    return value
