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
from mpp_exec.dialogue.protocol import RequestId

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


class Lines:
    """The lines of what comes in pieces. Pure; *ended* counts the line breaks that were passed."""

    def __init__(self) -> None:
        self.ended = 0
        self._held = bytearray()
        self._passing = False

    def feed(self, got: bytes) -> Iterator[bytes | TooLong]:
        """Yield each line that is complete with *got*; one that is too long as soon as it is."""
        *lines, rest = got.split(b"\n")
        for line in lines:
            whole = b""
            if not self._passing:
                whole = bytes(self._held + line)
            self._passing = False
            self._held.clear()
            if len(whole) > MAX_MESSAGE:
                yield TooLong()
            elif whole.strip():
                yield whole
            self.ended += 1
        if not self._passing:
            self._held += rest
            if len(self._held) > MAX_MESSAGE:
                self._held.clear()
                self._passing = True
                yield TooLong()


class Wire:
    """The two descriptors of one connection. Writing is safe from any thread; one thread reads.

    *begun* are bytes that were read of it before.

    Attributes:
        goes_on: whether the client can go on by itself where this process fails.
    """

    goes_on = False

    def __init__(self, incoming: int, outgoing: int, begun: bytes = b"") -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._begun = begun
        self._writing = threading.Lock()
        self._closed = False

    def messages(self, tick: float) -> Iterator[bytes | TooLong | None]:
        """Yield each line, and None at least every *tick* seconds; end at the end of the input."""
        poller = select.poll()
        poller.register(self._incoming, select.POLLIN)
        lines = Lines()
        yield from lines.feed(self._begun)
        self._begun = b""
        yield None
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
            yield from lines.feed(got)
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

    # -- what another process would have to know to go on with the connection (``mcp.relayed``) ----------

    def taken(self) -> None:
        """Note that the line that was yielded last has been worked on.

        Raises:
            WireClosedError: nobody reads.
        """

    def took(self, request: RequestId) -> None:
        """Note that the line that is read has a *request* in it, which will be answered."""

    def begins(self, request: RequestId, *, modern: bool) -> None:
        """Note that from now on *request* must not be served a second time.

        Raises:
            WireClosedError: it must not begin here.
        """

    def forgets(self, request: RequestId) -> None:
        """Note that *request* is over and has no answer."""

    def remember(self, **state: Any) -> None:
        """Note what the connection is by now, as JSON values."""

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
