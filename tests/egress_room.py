"""A broker's exchange in a thread, where the test decides what names resolve to; and the side of a sandbox.

The sandbox's listening sockets are bound to the addresses that its names will have, in the order in which the
names are asked for. So servers on the same port of 127.0.0.1 can exist beside them.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mpp_exec.egress import wire
from mpp_exec.egress.exchange import Exchange
from mpp_exec.egress.process import Served
from mpp_exec.egress.starting import Process
from mpp_exec.egress.traffic import Traffic
from mpp_exec.permissions import HostPort

LOOPBACK = "127.0.0.1"
FIRST_NAME = "127.64.0.1"


def query(
    name: bytes | str,
    kind: int = 1,
    *,
    space: int = 1,
    number: int = 7,
    flags: int = 0x0100,
    rest: bytes = b"",
) -> bytes:
    """Return a query for *name*, which is text with dots, or bytes in wire format."""
    raw = name
    if isinstance(raw, str):
        raw = b"".join(bytes([len(label)]) + label.encode() for label in raw.split(".") if label) + b"\0"
    others = 1 if rest else 0
    return struct.pack("!6H", number, flags, 1, 0, 0, others) + raw + struct.pack("!2H", kind, space) + rest


def code_of(answer: bytes) -> int:
    return answer[3] & 15


def address_of(answer: bytes) -> str:
    """Return the address in an answer with one record, "" if it has none."""
    return socket.inet_ntoa(answer[-4:]) if struct.unpack("!H", answer[6:8])[0] else ""


@dataclass
class Server:
    """Listens on 127.0.0.1; keeps the connections that came, and all that they sent until they ended."""

    answer: Callable[[socket.socket], None] | None = None
    host: str = LOOPBACK
    came: list[bytes] = field(default_factory=list)
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.socket = socket.create_server((self.host, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        with connection:
            try:
                if self.answer is not None:
                    self.answer(connection)
                while data := connection.recv(65536):
                    received += data
                self.came.append(received)
            except OSError:
                self.came.append(received + b"<reset>")
        self.ended.release()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@contextmanager
def echoing() -> Iterator[Server]:
    """Yield a server that echoes whatever it receives."""
    made = Server(echo)
    try:
        yield made
    finally:
        made.close()


class Room:
    """The exchange and its client. *leads* resolves a name; ``asked`` keeps the names asked for."""

    def __init__(
        self,
        leads: Callable[[str], list[str]] = lambda _: [LOOPBACK],
        may_dial: Callable[[str], bool] = lambda _: True,
        *,
        links_max: int = 1_000,
    ) -> None:
        self.asked: list[str] = []

        def resolve(name: str, _: int) -> list[str]:
            self.asked.append(name)
            return leads(name)

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.exchange = Exchange(links_max=links_max, resolve=resolve, may_dial=may_dial)
        self._control = theirs
        served = Served(theirs, self.exchange, room=3_000)
        self._thread = threading.Thread(target=served.run, daemon=True)
        self._thread.start()
        self.process = Process.__new__(Process)
        self.process.attach(ours)

    def sandbox(
        self, *destinations: HostPort, invocation: str = "one", at: tuple[str, ...] = (), whose: str = ""
    ) -> Side:
        """Open a sandbox with *destinations* that listens on the addresses *at* for each of their ports."""
        streams = []
        for port in dict.fromkeys(each.port for each in destinations):
            for address in at or (FIRST_NAME,):
                stream = socket.create_server((address, port), backlog=128)
                streams.append(stream)
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((LOOPBACK, 0))
        side = Side(self, invocation, names.getsockname())
        number = self.process.next_number()
        message = wire.opening(number, invocation, destinations, names=True, whose=whose)
        assert self.process.open(message, number, [names.fileno(), *(each.fileno() for each in streams)])
        for each in (names, *streams):
            each.close()
        return side

    def close(self) -> None:
        self.process.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._control.close()


@dataclass
class Side:
    """The side of the exchange that a sandbox sees."""

    room: Room
    invocation: str
    names: tuple[str, int]

    def ask(self, message: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            asking.sendto(message, self.names)
            return asking.recv(4096)

    def look_up(self, name: str) -> str:
        return address_of(self.ask(query(name)))

    def connect(self, name: str, port: int) -> socket.socket:
        return socket.create_connection((self.look_up(name), port), timeout=20)

    def is_refused(self, name: str, port: int, data: bytes = b"") -> bool:
        return is_refused(self.look_up(name), port, data)

    def end(self) -> Traffic:
        return self.room.process.end(self.invocation)


@contextmanager
def room(
    leads: Callable[[str], list[str]] = lambda _: [LOOPBACK],
    may_dial: Callable[[str], bool] = lambda _: True,
    *,
    links_max: int = 1_000,
) -> Iterator[Room]:
    made = Room(leads, may_dial, links_max=links_max)
    try:
        yield made
    finally:
        made.close()


def is_reset(connection: socket.socket) -> bool:
    """Return whether the connection receives nothing but a reset."""
    try:
        connection.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_refused(address: str, port: int, data: bytes = b"") -> bool:
    """Return whether a connection that sends *data* is reset; the reset may come before it is established."""
    try:
        with socket.create_connection((address, port), timeout=20) as connection:
            if data:
                connection.sendall(data)
            return is_reset(connection)
    except (ConnectionResetError, BrokenPipeError):
        return True
