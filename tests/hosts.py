"""A broker that refuses nothing: what cannot be reached even through it is refused by the sandbox itself.

It answers every name in the same way. It tells each connection the address and port that it came in by.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mpp_exec.permissions import HostPort

NAMED = "127.64.0.1"
"""What every name resolves to."""


def granted(*texts: str) -> tuple[HostPort, ...]:
    """Return destinations, in the order in which grants have them."""
    parts = [text.rpartition(":") for text in texts]
    return tuple(sorted(HostPort(host.strip("[]"), int(port)) for host, _, port in parts))


class OpenDoor:
    """Serves the sockets of sandboxes until it is closed; *greet* is what a connection receives.

    Attributes:
        served: the number of sockets for connections that each sandbox had.
        asked: the DNS queries, in wire format; ``met``: the addresses that connections came in by.
    """

    def __init__(self, greet: Callable[[socket.socket], None] | None = None) -> None:
        self.served: list[int] = []
        self.asked: list[bytes] = []
        self.met: list[Any] = []
        self._greet = greet or self._tell
        self._kept: list[socket.socket] = []

    def serve(self, streams: tuple[int, ...], names: int) -> None:
        """Serve one sandbox, in the way that ``spawn.run`` expects."""
        self.served.append(len(streams))
        resolver = self._keep(names)
        resolver.bind(("127.0.0.53", 53))
        threading.Thread(target=self._answer, args=(resolver,), daemon=True).start()
        for stream in streams:
            listener = self._keep(stream)
            listener.listen()
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _keep(self, descriptor: int) -> socket.socket:
        self._kept.append(socket.socket(fileno=os.dup(descriptor)))
        return self._kept[-1]

    def _answer(self, resolver: socket.socket) -> None:
        while True:
            try:
                question, whence = resolver.recvfrom(2000)
            except OSError:
                return
            if not question:  # shut down
                return
            self.asked.append(question)
            end = question.index(b"\0", 12) + 5
            is_a = question[end - 4 : end - 2] == b"\0\1"
            head = question[:2] + b"\x81\x80\0\1" + bytes((0, is_a)) + bytes(4)
            record = b"\xc0\x0c\0\1\0\1" + bytes(5) + b"\4" + socket.inet_aton(NAMED)
            resolver.sendto(head + question[12:end] + (record if is_a else b""), whence)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                self.met.append(connection.getsockname()[:2])
                self._greet(connection)

    @staticmethod
    def _tell(connection: socket.socket) -> None:
        connection.sendall(json.dumps(connection.getsockname()[:2]).encode())

    def close(self) -> None:
        """Stop serving."""
        for each in self._kept:
            with suppress(OSError):  # closing alone would leave a thread blocked in accept(2)
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def open_door(greet: Callable[[socket.socket], None] | None = None) -> Iterator[OpenDoor]:
    door = OpenDoor(greet)
    try:
        yield door
    finally:
        door.close()


CLIENT = """
import errno, socket

def attempt(host, port, what="tcp"):
    try:
        if what == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(2)
                client.connect((host, port))
                client.send(b"x")
                return client.recv(1).decode()
        if what == "name":
            return sorted({each[4][0] for each in socket.getaddrinfo(host, port)})
        with socket.create_connection((host, port), 5) as client:
            return client.recv(100).decode()
    except socket.gaierror as error:
        return "gai %d" % error.errno
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

EARLY = []

def run(attempts):
    return [attempt(*each) for each in attempts]
"""
"""A tool that tries to reach what it is told, and says how each ended."""
