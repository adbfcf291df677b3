"""JSON-RPC over a pipe: one message a line, bounded coming in, whole going out.

Source: MCP 2026-07-28, basic/transports/stdio: UTF-8 JSON, no line break inside a message, nothing else on
standard output. A peer that does not read is given up on; one that floods is read no faster than it is
answered.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from mpp_exec import encoding

MAX_MESSAGE: Final = 8 << 20
"""Bytes of one message; arguments alone may take half of it."""

MAX_NESTING: Final = 64
PATIENCE: Final = 30.0
"""Seconds for which a peer may leave its end of the pipe full."""

_CHUNK: Final = 1 << 16
# What poll(2) calls writable takes this much without waiting (pipe(7), PIPE_BUF).
_PIECE: Final = 4096


class WireClosedError(Exception):
    """The peer does not read any more."""


class TooLong:
    """Stands for a message of more than MAX_MESSAGE bytes, which was passed over."""


class Wire:
    """The two descriptors of one connection. Writing is safe from any thread; one thread reads."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._writing = threading.Lock()
        self._closed = False

    def messages(self, tick: float) -> Iterator[bytes | TooLong | None]:
        """Yield each line, and None at least every *tick* seconds; end at the end of the input."""
        poller = select.poll()
        poller.register(self._incoming, select.POLLIN)
        held = bytearray()
        passing = False
        while True:
            if not poller.poll(tick * 1000):
                yield None
                continue
            try:
                got = os.read(self._incoming, _CHUNK)
            except OSError:
                return
            if not got:
                return
            *lines, rest = got.split(b"\n")
            for line in lines:
                if passing:
                    passing = False
                    continue
                held += line
                whole, held = bytes(held), bytearray()
                if len(whole) > MAX_MESSAGE:
                    yield TooLong()
                elif whole.strip():
                    yield whole
            if not passing:
                held += rest
                if len(held) > MAX_MESSAGE:
                    held, passing = bytearray(), True
                    yield TooLong()
            yield None

    def send(self, message: Any) -> None:
        """Write *message* as one line.

        Raises:
            WireClosedError: nobody reads, or has read for PATIENCE seconds.
        """
        data = encoding.json_dumps(message).encode() + b"\n"
        with self._writing:
            if self._closed:
                raise WireClosedError
            try:
                self._write(data)
            except BaseException:
                self._closed = True  # half a message is on its way: nothing can follow it
                raise

    def _write(self, data: bytes) -> None:
        poller = select.poll()
        poller.register(self._outgoing, select.POLLOUT)
        view = memoryview(data)
        deadline = time.monotonic() + PATIENCE
        while view:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                raise WireClosedError
            try:
                written = os.write(self._outgoing, view[:_PIECE])
            except BlockingIOError:
                continue
            except OSError:
                raise WireClosedError from None
            view = view[written:]
            deadline = time.monotonic() + PATIENCE
