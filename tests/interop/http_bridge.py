"""From HTTP to stdio: what the conformance suite says by HTTP reaches ``mpp-exec mcp`` on its standard input.

It answers nothing itself. What it adds is what only exists with HTTP: the session of a client that said
``initialize`` (each is a server process of its own; clients without one share one, since 2026-07-28 has no
sessions), status codes, event streams. Ids and progress tokens are replaced on the way in and put back on the
way out, for different clients of one process may use the same.

Run as a program: ``python http_bridge.py COMMAND…`` prints the URL and serves until its input ends.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
# MCP 2026-07-28, basic/transports/streamable-http: the status of a response that is an error.
STATUS = {-32601: 404, -32600: 400, -32602: 400, -32700: 400, -32020: 400, -32021: 400, -32022: 400}

Message = dict[str, Any]


class Stream:
    """What goes to one HTTP exchange. None ends it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Message | None] = queue.Queue()

    def put(self, message: Message | None) -> None:
        self._queue.put(message)

    def __iter__(self) -> Iterator[Message]:
        while (message := self._queue.get(timeout=60)) is not None:
            yield message


class Child:
    """One server process, as one client sees it."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()
        self._count = 0
        self._requests: dict[int, tuple[Any, Stream]] = {}
        self._tokens: dict[int, tuple[Any, Stream]] = {}
        self.listener: Stream | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def request(self, message: Message) -> tuple[int, Stream]:
        """Send a request; what belongs to it comes on the stream, its answer last."""
        stream = Stream()
        with self._lock:
            self._count += 1
            number = self._count
            self._requests[number] = (message["id"], stream)
            message = {**message, "id": number}
            meta = (message.get("params") or {}).get("_meta")
            if isinstance(meta, dict) and "progressToken" in meta:
                self._tokens[number] = (meta["progressToken"], stream)
                meta = {**meta, "progressToken": number}
                message["params"] = {**message["params"], "_meta": meta}
        self.send(message)
        return number, stream

    def send(self, message: Message) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            if message.get("method") == "notifications/cancelled":
                wanted = message["params"].get("requestId")
                found = [number for number, (name, _) in self._requests.items() if name == wanted]
                data = json.dumps(
                    {**message, "params": {"requestId": found[0] if found else wanted}}
                ).encode()
                data += b"\n"
            assert self._process.stdin is not None
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def cancel(self, number: int) -> None:
        """Say that the client has closed the stream of a request, which is how HTTP cancels."""
        with self._lock:
            name, _ = self._requests.pop(number, (None, None))
            if name is None or self._process.poll() is not None:
                return
            assert self._process.stdin is not None
            cancelled = {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": number},
            }
            self._process.stdin.write(json.dumps(cancelled).encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._route(json.loads(line))
        for _, stream in list(self._requests.values()):
            stream.put(None)

    def _route(self, message: Message) -> None:
        with self._lock:
            if "method" not in message:
                name, stream = self._requests.pop(message["id"], (None, None))
                if stream is not None:
                    stream.put({**message, "id": name})
                    stream.put(None)
                return
            params = message.get("params", {})
            meta = params.get("_meta", {})
            target: Stream | None
            if "progressToken" in params:
                token, target = self._tokens[params["progressToken"]]
                message = {**message, "params": {**params, "progressToken": token}}
            elif SUBSCRIPTION in meta:
                name, target = self._requests.get(meta[SUBSCRIPTION], (None, None))
                message = {**message, "params": {**params, "_meta": {**meta, SUBSCRIPTION: name}}}
            else:  # a request of the server's, or news: any open stream of this client will do
                streams = [stream for _, stream in self._requests.values()]
                target = streams[0] if streams else self.listener
            if target is not None:
                target.put(message)


class Bridge(ThreadingHTTPServer):
    """Serves on a loopback port of its own."""

    daemon_threads = True

    def __init__(self, command: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.command = command
        self.sessions: dict[str, Child] = {}
        self._shared: Child | None = None
        self._lock = threading.Lock()

    @property
    def shared(self) -> Child:
        """The process of clients without a session."""
        with self._lock:
            if self._shared is None:
                self._shared = Child(self.command)
            return self._shared

    def close(self) -> None:
        """End every process."""
        for child in [*self.sessions.values(), *([self._shared] if self._shared else [])]:
            child.close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Bridge

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session = self.headers.get("Mcp-Session-Id")
        meta = (message.get("params") or {}).get("_meta") or {}
        modern = VERSION in meta or not (session or message.get("method") == "initialize")
        child, headers = self.server.shared, {}
        if not modern and session is None:
            session = uuid.uuid4().hex
            self.server.sessions[session] = Child(self.server.command)
            headers = {"Mcp-Session-Id": session}
        if not modern:
            if session not in self.server.sessions:
                return self._status(404)
            child = self.server.sessions[str(session)]
        if "id" not in message or "method" not in message:
            child.send(message)
            return self._status(202)
        number, stream = child.request(message)
        try:
            self._answer(iter(stream), headers, modern=modern)
        except OSError:
            child.cancel(number)
        return None

    def do_GET(self) -> None:
        child = self.server.sessions.get(self.headers.get("Mcp-Session-Id", ""))
        if child is None:
            return self._status(405)
        child.listener = Stream()
        self._begin_events({})
        for message in child.listener:
            self._event(message)
        return None

    def do_DELETE(self) -> None:
        child = self.server.sessions.pop(self.headers.get("Mcp-Session-Id", ""), None)
        if child is None:
            return self._status(404)
        if child.listener is not None:
            child.listener.put(None)
        child.close()
        return self._status(200)

    def _answer(self, messages: Iterator[Message], headers: dict[str, str], *, modern: bool) -> None:
        first = next(messages, None)
        if first is None:
            self._status(502)
        elif "method" in first:
            self._begin_events(headers)
            self._event(first)
            for message in messages:
                self._event(message)
        else:
            code = first.get("error", {}).get("code")
            body = json.dumps(first).encode()
            self.send_response(STATUS.get(code, 200) if modern else 200)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _begin_events(self, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Type": "text/event-stream", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def _event(self, message: Message) -> None:
        self.wfile.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")
        self.wfile.flush()

    def _status(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    """Serve until the end of the input."""
    bridge = Bridge(sys.argv[1:])
    threading.Thread(target=bridge.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{bridge.server_address[1]}/mcp\n")
    sys.stdout.flush()
    sys.stdin.read()
    bridge.close()


if __name__ == "__main__":
    main()
