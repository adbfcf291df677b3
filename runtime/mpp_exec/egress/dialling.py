"""Connects to the first of several addresses that answers; if one is slow, the next is tried (RFC 8305)."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

NEXT: Final = 0.3
"""Seconds after which the next address is tried, beside those that have not answered."""

ALL: Final = 10.0
"""Seconds for all of them."""

ADDRESSES_MAX: Final = 4
"""Addresses that are tried, all of them at once where none answers."""


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the scheduled call."""


class Watching(Protocol):
    """An event loop: watches sockets, and schedules calls."""

    def watch(self, sock: socket.socket, mask: int, handler: Callable[[int], None]) -> None:
        """Call *handler* with the events of *mask* that occur on *sock*."""

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching *sock*."""

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Schedule *call* in *seconds*."""


class Dial:
    """One attempt at a connection. *done* is called once: with the socket and its address, or None."""

    def __init__(
        self,
        loop: Watching,
        addresses: Sequence[str],
        port: int,
        done: Callable[[tuple[socket.socket, str] | None], None],
    ) -> None:
        self._loop = loop
        self._left = list(addresses[:ADDRESSES_MAX])
        self._port = port
        self._done = done
        self._trying: dict[socket.socket, str] = {}
        self._next: Timer | None = None
        self._until = loop.after(ALL, lambda: self._end(None))
        self._try_next()

    def _try_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while self._left:
            address = self._left.pop(0)
            sock = _begun(address, self._port)
            if sock is None:
                continue
            self._trying[sock] = address
            self._loop.watch(sock, select.EPOLLOUT, partial(self._answered, sock))
            if self._left:
                self._next = self._loop.after(NEXT, self._try_next)
            return
        if not self._trying:
            self._end(None)

    def _answered(self, sock: socket.socket, _: int) -> None:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self._end(sock)
            return
        del self._trying[sock]
        self._loop.unwatch(sock)
        sock.close()
        if self._left or not self._trying:
            self._try_next()

    def cancel(self) -> None:
        """Close open sockets without calling *done*."""
        self._done = _nobody
        self._end(None)

    def _end(self, won: socket.socket | None) -> None:
        self._until.cancel()
        if self._next is not None:
            self._next.cancel()
        self._left.clear()
        trying, self._trying = self._trying, {}
        for sock in trying:
            self._loop.unwatch(sock)
            if sock is not won:
                sock.close()
        done, self._done = self._done, _nobody
        done(None if won is None else (won, trying[won]))


def _nobody(_: object) -> None:
    """Do nothing: nobody is to be told."""


def _begun(address: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError:
        return None
    error = sock.connect_ex((address, port))
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        return None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
