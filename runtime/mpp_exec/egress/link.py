"""One connection of a sandbox: which host it means, where it leads, and the bytes in both directions.

Nothing that the tool sends is forwarded before its first bytes are known to be either not TLS, or TLS for the
name that was meant. Data from the other side is forwarded from the beginning: in some protocols the server
speaks first.
"""

from __future__ import annotations

import ipaddress
import itertools
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from mpp_exec.egress.dialling import ADDRESSES_MAX, Dial, Timer, Watching
from mpp_exec.egress.granted import LOCALHOST, LOOPBACKS, Granted, is_address
from mpp_exec.egress.hello import Hello, HelloError
from mpp_exec.egress.resolving import Job
from mpp_exec.egress.traffic import Connected, Notes, Why

CHUNK: Final = 131_072
"""Bytes that are handed on at a time, and the most that wait for a side that does not read."""

VETTED_MAX: Final = 32
"""Addresses of one answer that are looked at."""

DESCRIPTORS: Final = 1 + ADDRESSES_MAX
"""That a connection has at most: its own, and one for each address that is tried."""

RESOLVING: Final = 12.0
GREETING: Final = 10.0
"""Seconds for a name's addresses, and from the first byte of a hello to its end."""

RESET: Final = struct.pack("ii", 1, 0)  # struct linger: no waiting data is sent
_LAST_MS: Final = 2_000  # after a call, a peer that takes nothing for this long gets no more
_LAST_BYTES: Final = 1 << 20  # that the kernel sends after the end of a call, or as many as it allows
_LAST_CHUNKS: Final = 64
_USER_TIMEOUT: Final = 18  # TCP_USER_TIMEOUT, linux/tcp.h
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_buffer = memoryview(bytearray(CHUNK))


class Around(Watching, Protocol):
    """The services that a connection uses from its sandbox."""

    granted: Granted
    notes: Notes

    def rewatch(self, sock: socket.socket, mask: int) -> None:
        """Watch *sock* for other events."""

    def resolve(self, name: str, port: int, done: Callable[[list[str]], None]) -> Job:
        """Resolve *name*, and call *done* with its addresses."""

    def drop(self, job: Job) -> None:
        """Drop *job*: its callback is not called."""

    def may_dial(self, address: str) -> bool:
        """Return whether a name may lead to *address*."""

    def closed(self, link: Link) -> None:
        """Note that *link* has ended."""


class _Way:
    """Bytes from one socket to the other. Unwritten bytes wait, and nothing is read meanwhile."""

    def __init__(self) -> None:
        self.waiting: bytes | memoryview = b""
        self.is_read = False  # to its end
        self.is_done = False  # and the other side was told so

    def read(self, source: socket.socket) -> memoryview | None:
        """Return the bytes that have arrived, None if there are none yet; empty at the end of the stream."""
        try:
            count = source.recv_into(_buffer)
        except BlockingIOError:
            return None
        if not count:
            self.is_read = True
        return _buffer[:count]

    def write(self, target: socket.socket, data: bytes | memoryview) -> int:
        """Write as much as possible and keep the rest; return how many bytes were written."""
        try:
            count = target.send(data)
        except BlockingIOError:
            count = 0
        self.waiting = bytes(data[count:]) if count < len(data) else b""
        return count


class Link:
    """A connection that the kernel accepted for the sandbox."""

    def __init__(self, around: Around, inner: socket.socket) -> None:
        self._around = around
        self._inner = inner
        self._outer: socket.socket | None = None
        self._job: Job | None = None
        self._dial: Dial | None = None
        self._hello: Hello | None = None
        self._held = bytearray()  # of the hello
        self._timer: Timer | None = None
        self._up, self._down = _Way(), _Way()
        self._masks: dict[socket.socket, int] = {}
        self._noted: Connected | None = None
        self._at = time.time_ns() // 1_000_000
        self._is_told = False  # that it was made, or refused
        self.is_open = True
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        where = inner.getsockname()
        address, self._port = str(ipaddress.ip_address(where[0])), int(where[1])
        self._host, covered = around.granted.meant(address, self._port)
        if not covered:
            self.refuse("address" if is_address(self._host) else "port")
        elif is_address(self._host):
            self._dial_all([self._host])
        elif self._host == LOCALHOST:
            self._dial_all(list(LOOPBACKS))
        else:
            self._hello = Hello()
            self._timer = around.after(RESOLVING, lambda: self.refuse("resolve"))
            self._job = around.resolve(self._host, self._port, self._resolved)
        self._guarded(lambda: None)

    def refuse(self, why: Why) -> None:
        """Reset the connection, and note why."""
        if self.is_open:
            self._is_told = True
            self._around.notes.denied(self._host, self._port, why)
            self.reset()

    # -- the other side ----------------------------------------------------------------------------

    def _resolved(self, addresses: list[str]) -> None:
        self._job = None
        self._stop_timer()
        if not addresses:
            self.refuse("resolve")
            return
        # A name server can send thousands of addresses, and each costs a query to the kernel.
        vetted = filter(self._around.may_dial, addresses[:VETTED_MAX])
        allowed = list(itertools.islice(vetted, ADDRESSES_MAX))
        if not allowed:
            self.refuse("address")
            return
        self._dial_all(allowed)

    def _dial_all(self, addresses: list[str]) -> None:
        self._dial = Dial(self._around, addresses, self._port, self._dialled)

    def _dialled(self, made: tuple[socket.socket, str] | None) -> None:
        self._dial = None
        if made is None:
            self.refuse("connect")
            return
        self._outer, address = made
        self._is_told = True
        self._noted = self._around.notes.connected(self._host, self._port, address, self._at)
        if self._hello is not None and self._hello.is_begun:
            self._hello_is_due()
        self._guarded(self._flush_up)

    def _hello_is_due(self) -> None:
        if self._timer is None:
            self._timer = self._around.after(GREETING, lambda: self.refuse("hello"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- bytes -------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a *step*; if one side was reset or is gone, reset the other."""
        try:
            step()
            self._look_again()
        except OSError:
            self.reset()

    def _inner_is(self, events: int) -> None:
        def step() -> None:
            if events & _WRITE:
                self._flush_down()
            if events & ~_WRITE and not self._read_up() and events & (select.EPOLLERR | select.EPOLLHUP):
                raise ConnectionResetError

        self._guarded(step)

    def _outer_is(self, events: int) -> None:
        def step() -> None:
            if events & _WRITE:
                self._flush_up()
            if events & ~_WRITE and not self._read_down() and events & (select.EPOLLERR | select.EPOLLHUP):
                raise ConnectionResetError

        self._guarded(step)

    def _may_read_up(self) -> bool:
        return not self._up.is_read and (self._hello is not None or not self._up.waiting)

    def _read_up(self) -> bool:
        """Read from the tool, and forward the data if allowed; return whether there was anything to read."""
        if not self._may_read_up():
            return False
        data = self._up.read(self._inner)
        if data is None:
            return False
        if self._hello is not None:
            self._greet(bytes(data))
        elif data:
            self._send_up(data)
        if self.is_open:
            self._finish()
        return True

    def _greet(self, data: bytes) -> None:
        """Inspect the first bytes; keep them until it is known what they are."""
        assert self._hello is not None
        self._held += data
        try:
            name = self._hello.feed(data)
        except HelloError:
            self.refuse("hello")
            return
        if name is None and not self._up.is_read:
            if self._dial is None and self._outer is not None:
                self._hello_is_due()
            return
        if name is None and self._held:  # it ended within its hello
            self.refuse("hello")
            return
        if name not in (None, "", self._host):
            self.refuse("hello")
            return
        if self._outer is not None:
            self._stop_timer()
        self._hello = None
        held, self._held = bytes(self._held), bytearray()
        self._send_up(held)

    def _send_up(self, data: bytes | memoryview) -> None:
        if self._outer is None:
            self._up.waiting = bytes(data)
            return
        assert self._noted is not None
        self._noted.sent += self._up.write(self._outer, data)

    def _flush_up(self) -> None:
        if self._outer is not None and self._up.waiting:
            self._send_up(self._up.waiting)
        self._finish()

    def _read_down(self) -> bool:
        if self._outer is None or self._down.is_read or self._down.waiting:
            return False
        data = self._down.read(self._outer)
        if data is None:
            return False
        if data:
            self._send_down(data)
        self._finish()
        return True

    def _send_down(self, data: bytes | memoryview) -> None:
        assert self._noted is not None
        self._noted.received += self._down.write(self._inner, data)

    def _flush_down(self) -> None:
        if self._down.waiting:
            self._send_down(self._down.waiting)
        self._finish()

    def _finish(self) -> None:
        """Signal each side when the other has ended its stream; close when both have."""
        if self._outer is None:
            return
        pairs = ((self._up, self._outer), (self._down, self._inner))
        for way, target in pairs:
            if way.is_read and not way.waiting and not way.is_done and (way is self._down or not self._hello):
                way.is_done = True
                target.shutdown(socket.SHUT_WR)
        if self._up.is_done and self._down.is_done:
            self._close()

    def _look_again(self) -> None:
        """Watch both sides for the next possible step; stop watching a side that is done both ways."""
        if not self.is_open:
            return
        inner = (_READ if self._may_read_up() else 0) | (_WRITE if self._down.waiting else 0)
        self._want(self._inner, inner, self._inner_is, over=self._up.is_read and self._down.is_done)
        if self._outer is not None:
            reading = not self._down.is_read and not self._down.waiting
            outer = (_READ if reading else 0) | (_WRITE if self._up.waiting else 0)
            self._want(self._outer, outer, self._outer_is, over=self._down.is_read and self._up.is_done)

    def _want(self, sock: socket.socket, mask: int, handler: Callable[[int], None], *, over: bool) -> None:
        known = self._masks.get(sock)
        if over:
            if known is not None:
                del self._masks[sock]
                self._around.unwatch(sock)
            return
        if known is None:
            self._around.watch(sock, mask, handler)
        elif known != mask:
            self._around.rewatch(sock, mask)
        self._masks[sock] = mask

    # -- the end -----------------------------------------------------------------------------------

    def last(self) -> None:
        """Forward what the tool sent before it ended, as far as possible without waiting; then close."""
        if self.is_open and self._outer is not None:
            with suppress(OSError):
                self._outer.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, _LAST_MS)
                self._outer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LAST_BYTES)
                self._flush_up()
                for _ in range(_LAST_CHUNKS):
                    if not self.is_open or self._up.waiting or not self._read_up():
                        break
        if not self.is_open:
            return
        if self._up.is_done:
            self._close()
        else:
            self.reset()

    def reset(self) -> None:
        """Close both sides so that both see a reset instead of a proper end."""
        if self.is_open:
            for sock in (self._inner, self._outer):
                if sock is not None:
                    with suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._close()

    def _close(self) -> None:
        self.is_open = False
        if not self._is_told:  # given up before there was an answer; a name server may have heard of it
            why: Why = "connect" if self._job is None else "resolve"
            self._around.notes.denied(self._host, self._port, why)
        self._stop_timer()
        if self._job is not None:
            self._around.drop(self._job)
        if self._dial is not None:
            self._dial.cancel()
        for sock in self._masks:
            self._around.unwatch(sock)
        self._inner.close()
        if self._outer is not None:
            self._outer.close()
        self._around.closed(self)
