"""One sandbox: its listening sockets, its names, its connections. Nothing here knows of another sandbox."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mpp_exec.egress import queries
from mpp_exec.egress.granted import Granted
from mpp_exec.egress.link import RESET, Link
from mpp_exec.egress.resolving import Job
from mpp_exec.egress.traffic import Notes, Traffic
from mpp_exec.vocabulary import HostPort

if TYPE_CHECKING:
    from mpp_exec.egress.dialling import Timer
    from mpp_exec.egress.exchange import Exchange

LINKS_MAX: Final = 128
"""Connections that a sandbox has at once."""

EVENTS: Final = 16
"""Of its sockets that are looked after when it is this sandbox's turn; the kernel lets them take turns."""

_AT_ONCE: Final = 4  # connections accepted, or questions answered, of one socket that has its turn


class Tenant:
    """A sandbox's part of the process.

    Its sockets are watched by an epoll of its own, and that one by the loop: so however many sockets are
    ready in one sandbox, all sandboxes that have any have the same share.
    """

    def __init__(
        self,
        exchange: Exchange,
        whose: str,
        destinations: tuple[HostPort, ...],
        streams: list[socket.socket],
        names: socket.socket | None,
    ) -> None:
        self._exchange = exchange
        self._whose = whose
        self.granted = Granted(destinations)
        self.notes = Notes()
        self._links: set[Link] = set()
        self._is_broken = False
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._listening = [*streams, *([names] if names is not None else [])]
        self._events = select.epoll()
        for stream in streams:
            stream.setblocking(False)
            self.watch(stream, select.EPOLLIN, lambda _, stream=stream: self._accept(stream))  # type: ignore[misc]
        if names is not None:
            names.setblocking(False)
            self.watch(names, select.EPOLLIN, lambda _, names=names: self._answer(names))  # type: ignore[misc]

    def fileno(self) -> int:
        """Return what is readable when it wants its turn."""
        return self._events.fileno()

    def turn(self) -> None:
        """Look after some of what is ready."""
        for fd, events in self._events.poll(0, EVENTS):
            self._contain(lambda fd=fd, events=events: self._handle(fd, events))  # type: ignore[misc]

    def _handle(self, fd: int, events: int) -> None:
        handler = self._handlers.get(fd)  # None: closed by another one in this turn
        if handler is not None:
            handler(events)

    def _contain(self, call: Callable[[], None]) -> None:
        """Call it; a fault of ours that it has found ends this sandbox's connections and no other's."""
        if self._is_broken:
            return
        try:
            call()
        except Exception:  # noqa: BLE001 -- whatever it is; the host is told that they are lost
            self._is_broken = True
            self._close()

    # -- what a connection has from here -----------------------------------------------------------

    def watch(self, sock: socket.socket, mask: int, handler: Callable[[int], None]) -> None:
        """Have *handler* called with what of *mask* is so of *sock*."""
        self._events.register(sock, mask)
        self._handlers[sock.fileno()] = handler

    def rewatch(self, sock: socket.socket, mask: int) -> None:
        """Watch it for something else."""
        self._events.modify(sock, mask)

    def unwatch(self, sock: socket.socket) -> None:
        """Watch it no more."""
        if not self._events.closed and self._handlers.pop(sock.fileno(), None) is not None:
            self._events.unregister(sock)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Have *call* called."""
        return self._exchange.after(seconds, lambda: self._contain(call))

    def resolve(self, name: str, port: int, done: Callable[[list[str]], None]) -> Job:
        """Have *done* be told the addresses of *name*."""
        job = Job(self._whose, name, port, lambda addresses: self._contain(lambda: done(addresses)))
        self._exchange.resolver.ask(job)
        return job

    def drop(self, job: Job) -> None:
        """Have it not be told."""
        self._exchange.resolver.drop(job)

    def may_dial(self, address: str) -> bool:
        """Return whether a name may lead to *address*."""
        return self._exchange.may_dial(address)

    def closed(self, link: Link) -> None:
        """Be told that it has ended."""
        if link in self._links:
            self._links.remove(link)
            self._exchange.linked(self._whose, -1)

    # -- what the sandbox does ---------------------------------------------------------------------

    def _accept(self, stream: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                inner, _ = stream.accept()
            except OSError:  # none, one that is gone again, or no descriptor left: it waits
                return
            inner.setblocking(False)
            if len(self._links) >= LINKS_MAX or not self._exchange.has_room(self._whose):
                self._turn_away(inner)
                continue
            with suppress(OSError):  # it is gone again
                link = Link(self, inner)
                if link.is_open:
                    self._links.add(link)
                    self._exchange.linked(self._whose, 1)
                continue
            inner.close()

    def _turn_away(self, inner: socket.socket) -> None:
        with inner, suppress(OSError):
            address, port = inner.getsockname()[:2]
            self.notes.denied(self.granted.meant(address, port)[0], port, "limit")
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _answer(self, names: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                message, client = names.recvfrom(queries.MESSAGE_MAX + 1)
            except OSError:
                return
            reply = self._reply(message)
            if reply is not None:
                with suppress(OSError):  # it does not listen any more
                    names.sendto(reply, client)

    def _reply(self, message: bytes) -> bytes | None:  # noqa: PLR0911 -- one for each kind
        question = queries.read(message)
        if question is None:
            return None
        if question.error:
            return queries.answer(question, question.error)
        if question.space != queries.INTERNET:
            return queries.answer(question, queries.REFUSED)
        asked = question.kind in (queries.A, queries.AAAA)
        if not question.name or not self.granted.has_name(question.name):
            if asked:
                self.notes.denied(question.name, 0, "name")
            return queries.answer(question, queries.UNKNOWN)
        if question.kind != queries.A:
            return queries.answer(question, queries.OK)
        address = self.granted.address_of(question.name)
        if address is None:
            self.notes.denied(question.name, 0, "limit")
            return queries.answer(question, queries.FAILED)
        return queries.answer(question, queries.OK, socket.inet_aton(address))

    def end(self, *, drop: bool = False) -> Traffic:
        """Close everything, and return what there was. *drop* as in ``Outlet.end``."""
        for link in list(self._links):
            self._contain(link.reset if drop else link.last)
        self._close()
        return replace(self.notes.traffic(), lost=self._is_broken)

    def _close(self) -> None:
        self._handlers.clear()
        self._events.close()
        for sock in self._listening:
            sock.close()
        for link in list(self._links):
            link.reset()
