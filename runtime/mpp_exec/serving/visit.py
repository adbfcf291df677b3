"""One client of the resident runtime, from its first word to its exit code."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.errors import MppError
from mpp_exec.registry.home import Home, resolve_home
from mpp_exec.serving.peer import Challenge, Peer
from mpp_exec.serving.wire import AWAY, BEGIN, DONE, ERR, GO, OUT, PIECE, TURN, Frames, Hello, WireError

PROMPT: Final = 10.0
"""Seconds that a client has for its part of the protocol, which waits for no person."""

PATIENCE: Final = 60.0
"""Seconds for which a client may leave its result unread."""

_TURN_PATIENCE: Final = 30.0  # seconds for which one that is served may leave any piece unread
_HURRY: Final = 2.0  # and all that it is told, when the runtime ends


class ElsewhereError(BaseException):
    """The client has to make this call itself: nothing was done. It is no failure, and not caught as one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GoneError(BaseException):
    """The client has left, or speaks another language: there is nobody to tell anything."""


def is_proven(frames: Frames) -> bool:
    """Return whether the other side is not confined in ways that do not show (``peer.Challenge``).

    Raises:
        WireError: it has gone, or says something else.
        OSError: there is no descriptor to be had.
    """
    with Challenge() as challenge:
        frames.send(BEGIN, challenge.name, PROMPT)
        return challenge.is_met(frames.receive(GO, PROMPT)[1])


class Visit:
    """A client that is served: the command it wants run, and the way to its streams.

    Attributes:
        hello: what it said of itself; peer: what the kernel says of it.
        cancellation: set when it leaves; closed by whoever made the visit.
        begun: whether the client was told that its call begins.
        frames: how it is spoken with.
        moves: of a connection that is served, what has the client go on by itself; None of a call.
    """

    def __init__(
        self,
        connection: socket.socket,
        frames: Frames,
        hello: Hello,
        peer: Peer,
        data: bytes,
        *,
        watch: Callable[[Visit], None],
    ) -> None:
        self.hello = hello
        self.peer = peer
        self.cancellation = Cancellation()
        self.begun = False
        self.moves: Callable[[], None] | None = None
        self._sending = threading.Lock()
        self.connection = connection
        self.frames = frames
        self._data = data
        self._watch = watch
        self._until: float | None = None

    def hurry(self) -> None:
        """Give the client of a connection a moment to take what it is told. Safe from any thread."""
        if self.moves is not None:
            self.frames.hurry(_HURRY)

    def leave(self) -> None:
        """Have a connection end whose client does not read, which then goes on by itself. From any thread."""
        self.hurry()
        self.cancellation.set()

    def move(self) -> None:
        """Have the client of a connection go on by itself. Safe from any thread."""
        if self.moves is not None:
            self.moves()
        self.cancellation.set()

    @property
    def words(self) -> list[str]:
        """The client's command line."""
        return list(self.hello.words)

    @property
    def environ(self) -> Mapping[str, str]:
        """The client's variables, the only ones that its call may see."""
        return self.hello.environ

    def given_input(self, name: str) -> bytes:
        """Return what the client read for ``--args NAME``, which is ``-`` or ``@FILE``.

        Raises:
            ElsewhereError: it read something else.
        """
        if name != self.hello.input_name:
            raise ElsewhereError("its input is another one")
        return self._data

    def require_home(self, option: str | None, home: Home) -> None:
        """Check that the home that the client means, by *option* or its variables, is *home*, the user's own.

        Raises:
            ElsewhereError: the client means another home.
            ConsentError, UsageError, InternalError: as ``Home.open``.
        """
        if option is not None and (not option or option.startswith("~")):
            raise ElsewhereError("its home is named in another way")
        try:
            named = option or self.environ.get("MPP_HOME")
            wanted = Path(self.hello.folder, named) if named else resolve_home(environ=self.environ)
            if option:
                wanted = Path(os.path.abspath(wanted))  # noqa: PTH100 -- as its own process would make it
            meant, ours = wanted.lstat(), home.path.lstat()
        except (OSError, ValueError, MppError):
            raise ElsewhereError("its home is another one") from None
        identity = meant.st_dev, meant.st_ino
        if identity != (ours.st_dev, ours.st_ino) or self.hello.home != f"{identity[0]}:{identity[1]}":
            raise ElsewhereError("its home is another one")
        Home.open(wanted)

    def begin(self, moves: Callable[[], None] | None = None) -> None:
        """Take the call over: once the client has agreed, it is made here, once.

        With *moves* it is a connection, of which *moves* ends what is said to the client.

        Raises:
            GoneError: the client has gone, or says something else.
            ElsewhereError: the runtime ends, or serves as many connections as it may.
        """
        self.moves = moves
        try:
            is_met = is_proven(self.frames)
        except (WireError, OSError) as error:
            raise GoneError from error
        if not is_met:
            raise GoneError  # it could not do the same by itself, and is told nothing
        self._watch(self)
        self.begun = True

    def write(self, letter: bytes, data: bytes) -> None:
        """Send bytes for one of its standard streams: ``wire.OUT`` or ``wire.ERR``.

        Raises:
            GoneError: it does not take them, all that it is sent within PATIENCE.
        """
        assert letter in (OUT, ERR)
        if self._until is None and self.moves is None:
            self._until = time.monotonic() + PATIENCE
        try:
            with self._sending:
                self._send(letter, data)
        except WireError as error:
            raise GoneError from error

    def turn(self, output: bytes, read: int, needed: Sequence[int], state: bytes) -> None:
        """Tell the client of a connection something, and what it means. Safe from any thread.

        Args:
            output: bytes for its standard output.
            read: lines of its input that were read.
            needed: those of them that it still has to keep.
            state: what it hands on to whoever serves it next.

        Raises:
            GoneError: it does not take them.
        """
        facts = struct.pack(f">II{len(needed)}I", read, len(needed), *needed) + state
        try:
            with self._sending:
                self._send(OUT, output)
                self.frames.send(TURN, facts, _TURN_PATIENCE)
        except WireError as error:
            raise GoneError from error

    def _send(self, letter: bytes, data: bytes) -> None:
        view = memoryview(data)
        while view:
            left = _TURN_PATIENCE if self._until is None else self._until - time.monotonic()
            self.frames.send(letter, view[:PIECE], left)
            view = view[PIECE:]

    def end(self, code: int) -> None:
        """Tell the exit code; the visit is over."""
        self.frames.send(DONE, bytes([code]), PATIENCE)

    def send_away(self, reason: str) -> None:
        """Tell the client to make the call itself; *reason* is for people who look at the wire."""
        self.frames.send(AWAY, reason.encode("utf-8", "backslashreplace"), PROMPT)
