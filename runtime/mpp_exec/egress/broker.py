"""The host's handle of the broker process, which is started when needed and replaced when it is gone.

A process is confined to the resolver's files as they are. When these files are replaced, as on another
network, the next sandbox gets a new process, and the old process ends with its last sandbox.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self

from mpp_exec.egress import wire
from mpp_exec.egress.starting import NoAnswer, Process, seen_files
from mpp_exec.egress.traffic import Connected, Denied, Traffic
from mpp_exec.errors import HostError, InternalError
from mpp_exec.permissions import HostPort

__all__ = ["Broker", "Connected", "Denied", "Outlet", "Sockets", "Traffic"]

NAMES_ADDRESS: Final = ("127.0.0.53", 53)
_BACKLOG: Final = 128
_LOST: Final = Traffic(lost=True)


@dataclass(frozen=True, slots=True)
class Sockets:
    """Sockets that were made inside the network namespace of a sandbox. Their maker closes them.

    Attributes:
        streams: TCP sockets, each bound to all addresses and one port.
        names: a UDP socket for name queries; -1 for none.
    """

    streams: tuple[int, ...]
    names: int = -1


class Broker:
    """Connects for the sandboxes of this process. Nothing is started before the first sandbox needs it.

    Thread-safe. After a fork, the child has a broker of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._retired: set[Process] = set()
        self._is_closed = False
        _brokers.add(self)

    def open(
        self, invocation: str, destinations: tuple[HostPort, ...], sockets: Sockets, whose: str = ""
    ) -> Outlet:
        """Let the sandbox of *sockets* reach *destinations* from now on.

        All sandboxes with the same *whose* share one quota; "" shares with none. The sockets listen when this
        returns, so no connection to a granted port is refused for being early.

        Raises:
            HostError: ``host.broker_…``: the broker process cannot be confined on this host.
            InternalError: ``broker.…``: it cannot be started, or has no room; ``host.exhausted``.
        """
        if len(sockets.streams) + 1 > wire.SOCKETS_MAX or len(destinations) > wire.DESTINATIONS_MAX:
            raise HostError(
                "host.broker_size",
                f"a tool may reach {wire.DESTINATIONS_MAX} destinations at most, "
                f"on {wire.SOCKETS_MAX - 1} ports",
                "grant fewer of them: approve --without network=HOST:PORT",
            )
        given = [*([sockets.names] if sockets.names >= 0 else []), *sockets.streams]
        with self._lock:
            if self._is_closed:
                raise InternalError("broker.closed", "the runtime is closed", "open another one")
            if any(invocation in each.serves for each in (self._process, *self._retired) if each is not None):
                raise InternalError(
                    "broker.twice",
                    f"{invocation} is connected for twice",
                    "report it: this is a fault of mpp-exec",
                )
            for is_last in (False, True):
                process = self._current()
                number = process.next_number()
                message = wire.opening(
                    number, invocation, destinations, names=sockets.names >= 0, whose=whose
                )
                try:
                    _prepare(sockets)
                    has_room = process.open(message, number, given)
                except NoAnswer as error:
                    self._end(process)
                    if is_last:
                        raise _unanswered() from error
                except BaseException:  # interrupted: it may be served by now, and nobody would end it
                    self._traffic(process, invocation, drop=True)
                    raise
                else:
                    break
            if not has_room:
                raise InternalError(
                    "broker.full",
                    "too many tools reach the network at once",
                    "try again when some have ended",
                )
            process.serves.add(invocation)
            return Outlet(self, process, invocation)

    def _current(self) -> Process:
        """Return the process to ask; start a new one if none fits."""
        known = self._process
        if known is not None and not known.is_alive():
            self._end(known)
        elif known is not None and known.files != seen_files():
            self._process = None
            if known.serves:
                self._retired.add(known)
            else:
                known.close()
        if self._process is None:
            self._process = Process()
        return self._process

    def _end(self, process: Process) -> None:
        process.kill()
        self._retired.discard(process)
        if self._process is process:
            self._process = None

    def _ended(self, outlet: Outlet, *, drop: bool) -> Traffic:
        # Not a lock of the outlet: in a child, nobody would release a lock that another thread held.
        with self._lock:
            if outlet.traffic is None:
                outlet.traffic = self._traffic(outlet.process, outlet.invocation, drop=drop)
            return outlet.traffic

    def _traffic(self, process: Process, invocation: str, *, drop: bool) -> Traffic:
        if process is not self._process and process not in self._retired:
            return _LOST
        try:
            traffic = process.end(invocation, drop=drop)
        except NoAnswer:
            self._end(process)
            return _LOST
        process.serves.discard(invocation)
        if not process.serves and process in self._retired:
            self._retired.discard(process)
            process.close()
        return traffic

    def close(self) -> None:
        """End the process. Its open connections are lost."""
        with self._lock:
            self._is_closed = True
            for process in (self._process, *self._retired):
                if process is not None:
                    process.close()
            self._process = None
            self._retired.clear()

    def _forget(self) -> None:
        """In a forked child: drop everything that belongs to the parent."""
        self._lock = threading.Lock()
        for process in (self._process, *self._retired):
            if process is not None:
                with suppress(OSError):
                    process.forget()
        self._process = None
        self._retired = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Outlet:
    """The share of one sandbox in its broker, until it is ended. The broker uses the attributes."""

    def __init__(self, broker: Broker, process: Process, invocation: str) -> None:
        self._broker = broker
        self.process = process
        self.invocation = invocation
        self.traffic: Traffic | None = None

    def end(self, *, drop: bool = False) -> Traffic:
        """Close every connection, and return the traffic. A second call returns the same value again.

        Data that the tool had sent is still forwarded, as fast as it is taken; with *drop* it is discarded.
        """
        return self._broker._ended(self, drop=drop)  # noqa: SLF001


def _prepare(sockets: Sockets) -> None:
    """Make all sockets listen. The namespace's owner may bind any of its ports; the broker may not."""
    try:
        for stream in sockets.streams:
            with _borrowed(stream) as sock:
                sock.listen(_BACKLOG)
        if sockets.names >= 0:
            with _borrowed(sockets.names) as sock:
                if sock.getsockname()[1] == 0:
                    sock.bind(NAMES_ADDRESS)
    except OSError as error:
        raise HostError(
            "host.broker_sockets",
            f"the sockets of a sandbox cannot be listened on: {os.strerror(error.errno or 0)}",
            "mpp-exec doctor says what this host can enforce",
        ) from error


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """Lend *descriptor* as a socket, and leave it open."""
    with ExitStack() as held:
        sock = socket.socket(fileno=descriptor)
        held.callback(sock.detach)
        yield sock


def _unanswered() -> InternalError:
    return InternalError(
        "broker.unanswered",
        "the process that connects for tools does not answer",
        "nothing ran; try again, and report it if it stays",
    )


_brokers: weakref.WeakSet[Broker] = weakref.WeakSet()


def _after_fork() -> None:
    for broker in list(_brokers):
        broker._forget()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
