"""A client of ``mpp-exec mcp`` that sends exactly what a test wants it to send, line by line."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from command import DEADLINE, Shell
from served import start_client

LEGACY = "2025-11-25"
MODERN = "2026-07-28"


def meta(**capabilities: Any) -> dict[str, Any]:
    """Return the ``_meta`` of a request of 2026-07-28."""
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
    }


class Peer:
    """One running server and the messages that it has sent. A context manager.

    With *native* the server is the native client, whose connection a resident runtime may serve.
    """

    def __init__(self, shell: Shell, *words: str, native: bool = False) -> None:
        if not native:
            self.process = shell.start("mcp", *words, stdin=subprocess.PIPE)
        else:
            self.process = start_client(shell, "mcp", *words, stdin=subprocess.PIPE)
        self._incoming: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._held: list[dict[str, Any]] = []
        self._ids = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Close the input, and return the exit code."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def raw(self, line: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def request(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request and return its id."""
        self._ids += 1
        self.send(id=self._ids, method=method, **({} if params is None else {"params": params}))
        return self._ids

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the answer to it, a result or an error."""
        return self.answer(self.request(method, params))

    def answer(self, name: Any) -> dict[str, Any]:
        """Wait for the answer to the request with this id."""
        return self.take(lambda message: message.get("id") == name and "method" not in message)

    def take(self, wanted: Any) -> dict[str, Any]:
        """Return the first message that *wanted* accepts, and keep the other messages for later."""
        for message in self._held:
            if wanted(message):
                self._held.remove(message)
                return message
        while True:
            come = self._incoming.get(timeout=DEADLINE)
            assert come is not None, "the server has ended"
            if wanted(come):
                return come
            self._held.append(come)

    def notified(self, method: str) -> dict[str, Any]:
        """Wait for a notification or a request of the server with this method."""
        return self.take(lambda message: message.get("method") == method)

    def silent(self) -> list[dict[str, Any]]:
        """Return the messages that nobody has taken, after the server has answered a ping."""
        self.ask("ping")
        return list(self._held)

    def initialize(self, version: str = LEGACY, **capabilities: Any) -> dict[str, Any]:
        """Make the handshake of earlier versions, and return its result."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": {"name": "peer", "version": "1"},
        }
        answer = self.ask("initialize", params)
        self.send(method="notifications/initialized")
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, name: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Call a tool and return the answer."""
        return self.ask("tools/call", {"name": name, "arguments": arguments or {}, **more})

    def stderr(self) -> str:
        """Return what the server has written for people, on stderr; the server must have ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def children(self) -> list[int]:
        """Return the server's child processes."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            assert b"\r" not in line
            for each in message if isinstance(message, list) else [message]:
                each["_batch"] = isinstance(message, list)
                self._incoming.put(each)
        self._incoming.put(None)
