"""The broker process: each host process starts its own, which confines itself before anything else.

It runs as ``python -I -S -c STARTER OWNER PATH…`` with its end of a socket pair as descriptor 3. It ends when
that socket is closed or the host ends. It writes nothing anywhere.
"""

from __future__ import annotations

import _thread
import os
import select
import socket
import threading
from contextlib import suppress
from typing import Final

from mpp_exec.egress import wire
from mpp_exec.egress.confining import confine
from mpp_exec.egress.exchange import Exchange
from mpp_exec.egress.link import DESCRIPTORS
from mpp_exec.egress.resolving import THREADS_MAX
from mpp_exec.egress.traffic import Traffic
from mpp_exec.errors import MppError

CONTROL: Final = 3
STACK: Final = 256 * 1024  # of a thread that resolves
LINKS_MAX: Final = 1_000
_OWN: Final = 64 + 3 * THREADS_MAX  # descriptors of the process itself, and of threads that resolve


def main(owner: int) -> None:
    """Serve the host whose process id is *owner*, until either ends. Never returns."""
    with suppress(OSError, MemoryError):
        _serve(owner)
    os._exit(1)


def _serve(owner: int) -> None:
    os.closerange(CONTROL + 1, 1 << 30)
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    alive = os.pidfd_open(owner)
    if os.getppid() != owner:
        return
    _import_early()
    try:
        descriptors = confine()
    except MppError as error:
        control.send(wire.encoded(wire.FAILED, error.code, error.message, error.hint))
        return
    threading.stack_size(STACK)
    # The loop ends with the socket; should it not come round to that, or a child of the host keep the other:
    _thread.start_new_thread(_end_with, (alive,))
    links, room = shares(descriptors)
    control.send(wire.encoded(wire.READY))
    Served(control, Exchange(links_max=links), room=room).run()


def shares(descriptors: int) -> tuple[int, int]:
    """Return the most connections at once, and the most descriptors of sandboxes."""
    links = min(LINKS_MAX, max(0, descriptors // 2 - _OWN) // DESCRIPTORS)
    return links, max(0, descriptors - _OWN - links * DESCRIPTORS)


def _import_early() -> None:
    """Import now the modules that are otherwise imported at first use: no module can be read later."""
    import encodings.ascii  # noqa: PLC0415
    import encodings.idna  # noqa: F401, PLC0415


def _end_with(alive: int) -> None:
    waiting = select.poll()
    waiting.register(alive, select.POLLIN)
    while not waiting.poll():
        pass
    os._exit(0)


class Served:
    """Answers the host's requests, and counts the descriptors that they need."""

    def __init__(self, control: socket.socket, exchange: Exchange, *, room: int) -> None:
        self._control = control
        self._exchange = exchange
        self._room = room
        self._taken: dict[str, tuple[str, int]] = {}  # by invocation: whose, and how many

    def run(self) -> None:
        """Run until the host ends it."""
        try:
            self._exchange.run(self._control.fileno(), self._answer)
        finally:
            self._exchange.close()

    def _answer(self) -> bool:
        """Read and answer one request; return False at the end, and for anything that is not a request."""
        try:
            message, descriptors, flags, _ = socket.recv_fds(
                self._control, wire.MESSAGE_MAX + 1, wire.SOCKETS_MAX, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # the host ended without having read an answer
            return False
        sockets = [socket.socket(fileno=each) for each in descriptors]
        if not message or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return False
        try:
            self._control.send(self._answered(message, sockets))
        except ValueError:
            return False
        return True

    def _answered(self, message: bytes, sockets: list[socket.socket]) -> bytes:
        """Carry out a request and return the answer; raises ValueError if it is not a request."""
        kind, number, invocation, whose, destinations, has_names = wire.read_request(message)
        if kind in (wire.END, wire.DROP):
            known = self._taken.pop(invocation, None) is not None
            traffic = Traffic(lost=True)
            if known:
                traffic = self._exchange.end(invocation, drop=kind == wire.DROP)
            return wire.encoded(wire.ENDED, number, traffic.to_json())
        if has_names and not sockets:
            raise ValueError("the socket for names is missing")
        taken = len(sockets) + 1
        if not self._has_room(whose, taken):
            for each in sockets:
                each.close()
            return wire.encoded(wire.FULL, number)
        names = sockets.pop(0) if has_names else None
        self._exchange.open(invocation, destinations, sockets, names, whose)
        self._taken[invocation] = whose, taken
        return wire.encoded(wire.OPENED, number)

    def _has_room(self, whose: str, more: int) -> bool:
        """Return whether, with *more*, as many descriptors are left for others as *whose* sandboxes have."""
        left = self._room - sum(count for _, count in self._taken.values()) - more
        return sum(count for each, count in self._taken.values() if each == whose) <= left
