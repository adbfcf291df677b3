"""A real registry (Debian's ``docker-registry``) on loopback, and one that lies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from eventually import until

PROGRAM = shutil.which("docker-registry")
HTPASSWD = "jane:$2y$05$DDcB/fI1nxGUvp/TF.BxrewSDCIDj2kgQJ9.fX0Jjlb5lNv7F6p8i"  # s3cret


@dataclass
class Real:
    """A running registry. *host* includes the port; *storage* is the folder where it keeps its contents."""

    host: str
    storage: Path

    def blob(self, digest: str) -> Path:
        """Return where the registry keeps a blob."""
        plain = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / plain[:2] / plain / "data"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(root: Path, *, name: str = "127.0.0.1", **sections: Any) -> Iterator[Real]:
    """Run a registry below *root*; *sections* are further sections of its configuration."""
    if PROGRAM is None:
        if os.environ.get("MPP_MUST_CONFINE") == "1":
            pytest.fail("docker-registry is not installed: apt-get install docker-registry")
        pytest.skip("docker-registry is not installed here; CI installs it")
    root.mkdir()
    port = free_port()
    storage = root / "storage"
    http = {"addr": f"127.0.0.1:{port}", **sections.pop("http", {})}
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": http,
        **sections,
    }
    (root / "config.yml").write_text(json.dumps(config))  # YAML, too
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(root / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(root)},
        )
    try:
        assert until(lambda: answers(port) or process.poll() is not None), "the registry does not start"
        assert process.poll() is None, (root / "log").read_text()
        yield Real(f"{name}:{port}", storage)
    finally:
        process.kill()
        process.wait()


@dataclass
class Lying:
    """A server that answers as the test tells it, and keeps the requests that it got."""

    host: str
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


Answers = Callable[[str, str], tuple[int, dict[str, str], bytes]]


@contextmanager
def lying(answer: Answers) -> Iterator[Lying]:
    """Answer each request with the status, headers and body that *answer* (method, path) returns."""
    told = Lying("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            told.asked.append((self.command, self.path, dict(self.headers)))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = answer(self.command, self.path)
            self.send_response(status)
            headers = {"Content-Length": str(len(body)), **headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_CONNECT = answer  # noqa: N815 -- as http.server asks for them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
