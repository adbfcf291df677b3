"""A connection whose client is at the other end of a resident runtime's socket, and can go on without it.

The process in between (``native/client_relay.c``) passes bytes on, understands none of them, and keeps every
line until it is told that nobody needs it any more. With what is said to the client it is told, whole or not
at all: how many lines were read, which of them hold a request that has neither begun nor been answered, and
in a few words what the connection is by now. Where the runtime ends, that process becomes a server of its
own and hands all this to itself: what had begun is answered, and what had not is served.
"""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from mpp_exec import encoding
from mpp_exec.dialogue.protocol import RequestId, is_id
from mpp_exec.errors import UsageError
from mpp_exec.mcp.wire import Lines, TooLong, Wire, WireClosedError

Tell = Callable[[bytes, int, list[int], bytes], None]
"""Sends the client bytes, together with: lines read, those of them that are still needed, the state.

Raises ``WireClosedError`` where it does not take them.
"""

_FORM: Final = 1
_CHUNK: Final = 1 << 16
_PATIENCE: Final = 1.0  # seconds for which a call that has its turn waits for its client


@dataclass(frozen=True, slots=True)
class State:
    """What a connection is, for whoever goes on with it.

    Attributes:
        legacy: version, whether the client can ask, and its name, where it said ``initialize``.
        ready: whether it said ``initialized``.
        subscriptions: requests that are told of changes.
        owed: requests that have begun and were not answered, and whether each is of 2026-07-28.
        over: requests without an answer, of lines that are kept for others: they are not served again.
        opened: the name under which the home was opened, None before that.
    """

    legacy: tuple[str, bool, str] | None
    ready: bool
    subscriptions: tuple[RequestId, ...]
    owed: tuple[tuple[RequestId, bool], ...]
    over: tuple[RequestId, ...]
    opened: str | None

    @classmethod
    def read(cls, line: bytes) -> Self | None:
        """Return what *line* says, None where nothing was said yet.

        Raises:
            UsageError: ``mcp.continued``: it is of another version, or no such thing.
        """
        if not line.strip():
            return None
        try:
            said = json.loads(line)
            if said.pop("form") != _FORM:
                raise _unreadable()
            legacy = said.get("legacy")
            owed = tuple((name, bool(modern)) for name, modern in said["owed"])
            state = cls(
                legacy=None if legacy is None else (str(legacy[0]), bool(legacy[1]), str(legacy[2])),
                ready=bool(said.get("ready")),
                subscriptions=tuple(said.get("subscriptions", ())),
                owed=owed,
                over=tuple(said.get("over", ())),
                opened=said.get("opened"),
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            raise _unreadable() from None
        if not all(map(is_id, [*state.subscriptions, *state.over, *(name for name, _ in owed)])):
            raise _unreadable()
        return state


class RelayedWire(Wire):
    """The socket *incoming*, non-blocking; *stop* becomes readable when the client has to go on by itself.

    *stalls* is called where it does not read while one of its calls waits to begin: it has *stop* become
    readable, and what is being sent to it end soon. Safe from any thread.

    What comes of a line is told together with that it was read, and not before: a client that was told the
    one without the other would have the line served once more. So what the reading thread says while it works
    on a line waits for the end of that, and so does every other thread that is about to begin or to answer a
    request of it.
    """

    goes_on = True

    def __init__(self, incoming: int, stop: int, tell: Tell, stalls: Callable[[], None]) -> None:
        super().__init__(incoming, -1)
        self._stop = stop
        self._tell = tell
        self._stalls = stalls
        self._turn = threading.Condition(self._writing)
        self._reader: int | None = None  # the thread that works on line *current*
        self._current = 0
        self._read = 0
        self._pending = bytearray()  # what it said meanwhile
        self._fresh: dict[str, Any] = {}  # and had remembered
        self._told: tuple[int, list[int]] = (0, [])
        self._open: dict[RequestId, int] = {}  # the line of each request that must be served by somebody
        self._owed: dict[RequestId, bool] = {}
        self._over: dict[RequestId, int] = {}  # the line of each that is over, while others of it are not
        self._state: dict[str, Any] = {}
        self.moved = False

    def move(self) -> None:
        """Say nothing more: from here on the client knows all that it will. Safe from any thread."""
        with self._turn:
            self.moved = True
            self._turn.notify_all()

    def messages(self, tick: float) -> Iterator[bytes | TooLong | None]:
        """Yield each line, and None at least every *tick* seconds; end with the input, or by *stop*."""
        poller = select.poll()
        poller.register(self._incoming, select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        lines = Lines()
        while True:
            ready = dict(poller.poll(tick * 1000))
            if self._stop in ready:
                return
            if ready:
                try:
                    got = os.read(self._incoming, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not got:
                    return
                for line in lines.feed(got):
                    with self._writing:
                        self._current = lines.ended
                        self._reader = threading.get_ident()
                    yield line
                self._settle(lines.ended)
            yield None

    def send(self, message: Any) -> None:
        """Write *message* as one line, and with it what it means for the requests that it answers.

        Raises:
            WireClosedError: nobody reads.
        """
        data = encoding.json_dumps(message).encode() + b"\n"
        answers = message if isinstance(message, list) else [message]
        answered = [each["id"] for each in answers if "method" not in each and each.get("id") is not None]
        with self._turn:
            reads = self._reader == threading.get_ident()
            if not reads:
                self._await(answered)
            for name in answered:
                self._open.pop(name, None)
                self._owed.pop(name, None)
            if not reads:
                self._say(data)
            elif self._closed or self.moved:
                raise WireClosedError
            else:
                self._pending += data

    def taken(self) -> None:
        """Tell what came of the line that was yielded last.

        Raises:
            WireClosedError: nobody reads.
        """
        with self._turn:
            self._reader = None
            self._read = self._current + 1
            self._state |= self._fresh
            self._fresh.clear()
            self._turn.notify_all()
            if self._pending:
                data = bytes(self._pending)
                self._pending.clear()
                self._say(data)

    def _await(self, requests: Iterable[RequestId], timeout: float | None = None) -> bool:
        """Wait until the lines of *requests* have been worked on; return whether they have."""
        lines = [self._open[name] for name in requests if name in self._open]
        return self._turn.wait_for(
            lambda: self._closed or self.moved or all(self._read > line for line in lines), timeout
        )

    def took(self, request: RequestId) -> None:
        """Keep the line of *request* with the client until it begins, or is answered."""
        with self._writing:
            self._open[request] = self._current

    def begins(self, request: RequestId, *, modern: bool) -> None:
        """Have the client know that *request* has begun, before it does.

        The call has its turn among those of all clients by now, so it does not wait for one that does not
        read: that goes on by itself.

        Raises:
            WireClosedError: the client has gone, or has to go on by itself: it serves it there.
        """
        if self._closed or self.moved:
            raise WireClosedError
        if not self._turn.acquire(timeout=_PATIENCE):
            raise self._stalled()
        try:
            if not self._await([request], _PATIENCE) or not self._is_read():
                raise self._stalled()
            line = self._open.pop(request, None)
            self._owed[request] = modern
            # A line goes or stays as a whole; others of its batch are answered like this one.
            for name in [name for name, other in self._open.items() if other == line]:
                del self._open[name]
                self._owed[name] = modern
            self._say(b"")
        finally:
            self._turn.release()

    def _is_read(self) -> bool:
        """Whether a word more is taken at once, or soon."""
        poller = select.poll()
        poller.register(self._incoming, select.POLLOUT)
        return bool(poller.poll(_PATIENCE * 1000))

    def _stalled(self) -> WireClosedError:
        self.moved = True
        self._stalls()
        return WireClosedError()

    def forgets(self, request: RequestId) -> None:
        """Let *request* go, which nobody waits for."""
        with self._writing:
            if not self.moved:
                line = self._open.pop(request, None)
                self._owed.pop(request, None)
                if line is not None:
                    self._over[request] = line

    def remember(self, **state: Any) -> None:
        """Have it said with the next words."""
        with self._writing:
            if self._reader == threading.get_ident():
                self._fresh |= state
            else:
                self._state |= state

    def _settle(self, ended: int) -> None:
        with self._writing:
            self._read = ended
            if self._told != (self._read, self._needed()):
                self._say(b"")

    def _needed(self) -> list[int]:
        return sorted(set(self._open.values()))

    def _say(self, data: bytes) -> None:
        if self._closed or self.moved:
            raise WireClosedError
        needed = self._needed()
        kept = {*needed, *([self._current] if self._reader is not None else [])}
        self._over = {name: line for name, line in self._over.items() if line in kept}
        state = {"form": _FORM, "owed": list(self._owed.items()), "over": list(self._over), **self._state}
        try:
            self._tell(data, self._read, needed, json.dumps(state).encode())
        except BaseException:
            self._closed = True
            self._turn.notify_all()
            raise
        self._told = (self._read, needed)


def _unreadable() -> UsageError:
    return UsageError(
        "mcp.continued",
        "the connection cannot be continued: its state was saved by another version",
        "have the client connect again",
    )
