"""What does a connection cost through the broker, against the same one without it: made, and by the byte?

The client is in a network namespace of its own, like a tool, but without the rest of a sandbox. Its server is
a process on this host's loopback, and is granted by its address.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.harness import ROOT, Contestant, Goal, measure, report
from mpp_exec.egress.broker import Broker, Sockets
from mpp_exec.permissions import HostPort

SIZE = 64 << 20
_CHUNK = 1 << 17


def run(*, rounds: int, as_json: bool) -> bool:
    with _process("server") as (server, _), _process("client") as (client, control), Broker() as broker:
        port = int(_line(server))
        direct, _ = _started("client")
        through, destinations = client, (HostPort("127.0.0.1", port),)
        _ask(through, f"bind {port}")
        _, (stream,), _, _ = socket.recv_fds(control, 1, 1)
        outlet = broker.open("bench", destinations, Sockets((stream,)))
        os.close(stream)
        try:
            made = [
                Contestant("through the broker", lambda: _ask(through, f"connect {port}")),
                Contestant("direct", lambda: _ask(direct, f"connect {port}")),
            ]
            measure(made, rounds=rounds)
            goals = [Goal("through the broker", "direct", 4)]
            met = report("a connection, one byte each way, and its end", made, goals, as_json=as_json)
            carried = [
                Contestant("through the broker", lambda: _ask(through, f"take {port}")),
                Contestant("direct", lambda: _ask(direct, f"take {port}")),
            ]
            measure(carried, rounds=max(5, rounds // 10))
            goals = [Goal("through the broker", "direct", 4)]
            return report(f"{SIZE >> 20} MiB over a connection", carried, goals, as_json=as_json) and met
        finally:
            outlet.end()
            _end(direct)


@contextmanager
def _process(kind: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    started, control = _started(kind, apart=kind == "client")
    with control:
        try:
            yield started, control
        finally:
            _end(started)


def _started(kind: str, *, apart: bool = False) -> tuple[subprocess.Popen[str], socket.socket]:
    ours, theirs = socket.socketpair()
    unshare = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    with theirs:
        process = subprocess.Popen(
            [
                *(unshare if apart else []),
                sys.executable,
                "-m",
                "bench.bench_egress",
                kind,
                str(theirs.fileno()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
    return process, ours


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _ask(process: subprocess.Popen[str], words: str) -> int:
    assert process.stdin is not None
    process.stdin.write(words + "\n")
    return int(_line(process))


def _serve() -> None:
    """Answer each connection: one byte to ``c``, ``SIZE`` bytes to anything else."""
    data = bytes(_CHUNK)
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)

    def answer(connection: socket.socket) -> None:
        with connection:
            if connection.recv(1) == b"c":
                connection.sendall(b"!")
                connection.recv(1)
                return
            for _ in range(SIZE // _CHUNK):
                connection.sendall(data)

    while True:
        threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()


def _be_client(control: socket.socket) -> None:
    for line in sys.stdin:
        what, port = line.split()
        begin = time.perf_counter_ns()
        if what == "bind":
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            with socket.socket() as stream:
                stream.bind(("", int(port)))
                socket.send_fds(control, [b"!"], [stream.fileno()])
        else:
            with socket.create_connection(("127.0.0.1", int(port))) as connection:
                connection.sendall(what[:1].encode())
                while connection.recv(1 if what == "connect" else _CHUNK):
                    if what == "connect":
                        break
        print(time.perf_counter_ns() - begin, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        _serve()
    _be_client(socket.socket(fileno=int(sys.argv[2])))
