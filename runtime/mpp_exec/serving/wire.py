"""The words between the resident runtime and a client: frames, and what the first of them says.

A frame is one letter, a length of four bytes (big-endian) and as many bytes::

    client                                     runtime
    H  who asks, and what for            →
    I  what was read for --args          →     only where H says so
                                         ←  A  make the call yourself: nothing was done
                                         ←  B  everything is read; the call begins with your word
    G  begin, and proof                  →
                                         ←  O  bytes for standard output, any number of times
                                         ←  E  bytes for standard error, any number of times
                                         ←  T  of a connection that is served: what O held is whole
                                         ←  D  the exit code, one byte: the end
    S  say how you are                   →
    Q  end                               →
                                         ←  A  none of your business, and why
                                         ←  B  prove that you could do so by yourself
    G  the proof                         →
                                         ←  O  to S: a JSON document
                                         ←  D  to Q

B names a descriptor of the runtime's in decimal; the proof is the 16 bytes that a process reads there
(``/proc/PID/fd/N``) which is not confined beyond what the runtime can see.

Until it has sent G a client loses nothing by making the call itself. After it, only A says that
nothing ran; where the connection ends without A or D, nobody knows. A client that ends its side after G
cancels the call.

Of ``mcp`` everything behind G is, as it comes, what its client says, and the end of it the end of the
connection. O is held back until T says in numbers of four bytes (big-endian) how many lines were read, of how
many of them a request is still open, and which these are, the first line being 0; behind them, what the
connection is by now. Where it ends without D, whoever has all this goes on by itself (``mcp.relayed``).

No descriptor is taken from anybody, and nothing here confirms a call.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Final

from mpp_exec.patterns import lazily

PROTOCOL: Final = b"mpp-exec serve 4"
"""The first words of H. Another number is another protocol."""

HELLO, INPUT, GO, STATUS, QUIT = b"H", b"I", b"G", b"S", b"Q"
AWAY, BEGIN, OUT, ERR, DONE, TURN = b"A", b"B", b"O", b"E", b"D", b"T"

MAX_HELLO: Final = 1 << 20
"""Bytes of H: the words of a command line and all variables."""

MAX_INPUT: Final = 4 << 20
"""Bytes of I: as many as arguments may have."""

PIECE: Final = 1 << 18
"""Bytes of the largest O or E that is sent. A client takes up to MAX_HELLO."""

_HEADER: Final = struct.Struct(">cI")
_LIMITS: Final = {HELLO: MAX_HELLO, INPUT: MAX_INPUT, GO: 16, STATUS: 0, QUIT: 0}
_FIELDS: Final = 7
_TERMINALS: Final = lazily("(?:o(?P<out>[0-9]{1,5}))?(?:e(?P<err>[0-9]{1,5}))?")
_CHUNK: Final = 1 << 16


class WireError(Exception):
    """The other side has gone, was too slow, or said what is no word of the protocol."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who asks, and what for. Everything in it is what the client says.

    Attributes:
        build: what its installation was built from; *programs* the folder that it is in.
        folder: its working folder.
        home: device and inode of the home it means, as ``DEVICE:INODE``.
        out_columns, err_columns: of its standard streams; None of one that is no terminal; 0 where it
            does not say.
        input_name: the word of ``--args`` for which I follows, "" where none does.
        words: its command line; *environ* its variables.
    """

    build: str
    programs: str
    folder: str
    home: str
    out_columns: int | None
    err_columns: int | None
    input_name: str
    words: tuple[str, ...]
    environ: dict[str, str] = field(repr=False)


def read_hello(payload: bytes) -> Hello:
    """Return what the bytes of H say.

    They are strings, each ended by a NUL: protocol, build, folder of its programs, working folder, home,
    terminals (``o`` and ``e``, each with its columns in decimal, of the streams that are some), word of its
    input, number of words in decimal, the words, and all variables as NAME=VALUE.

    Raises:
        WireError: they are no such thing.
    """
    if not payload.endswith(b"\0"):
        raise WireError("H is cut off")
    strings = payload[:-1].split(b"\0")
    if strings[0] != PROTOCOL or len(strings) <= _FIELDS:
        raise WireError("H is of another protocol")
    count = strings[_FIELDS]
    if not (count.isdigit() and len(count) <= 6):
        raise WireError("H has no number of words")
    end = _FIELDS + 1 + int(count)
    if len(strings) < end:
        raise WireError("H has fewer words than it says")
    build, programs, folder, home, terminals, name = map(_text, strings[1:_FIELDS])
    seen = _TERMINALS.fullmatch(terminals)
    if seen is None:
        raise WireError("H says of its streams what is no such thing")
    return Hello(
        build=build,
        programs=programs,
        folder=folder,
        home=home,
        out_columns=None if seen["out"] is None else int(seen["out"]),
        err_columns=None if seen["err"] is None else int(seen["err"]),
        input_name=name,
        words=tuple(map(_text, strings[_FIELDS + 1 : end])),
        environ=_variables(strings[end:]),
    )


def _variables(strings: list[bytes]) -> dict[str, str]:
    environ: dict[str, str] = {}
    for string in strings:
        name, equals, value = string.partition(b"=")
        if equals:  # of two of one name the first counts, as for Python and for getenv(3)
            environ.setdefault(_text(name), _text(value))
    return environ


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")  # as Python reads words and variables


def frame(letter: bytes, payload: bytes | memoryview) -> bytes:
    """Return the bytes of one frame."""
    return _HEADER.pack(letter, len(payload)) + payload


_LOOK: Final = 0.25  # seconds between two looks at whether there is hurry


class Frames:
    """One connection, frame by frame; every wait has an end. One thread reads, one writes."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._limit = math.inf
        self._is_cut = False

    def hurry(self, seconds: float) -> None:
        """Let all that is waited for, now or later, be there within *seconds*. Safe from any thread."""
        self._limit = time.monotonic() + seconds

    def receive(self, allowed: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Return the letter and the bytes of the next frame, whose letter must be one of *allowed*.

        What its length says is believed as far as that many bytes have come.

        Raises:
            WireError: it is another one, too long, or not all there within *seconds*.
        """
        until = time.monotonic() + seconds
        header = self._exactly(_HEADER.size, until)
        letter, size = _HEADER.unpack(header)
        if letter not in allowed or size > _LIMITS.get(letter, MAX_HELLO):
            raise WireError("a frame that has no place here")
        return letter, self._exactly(size, until)

    def send(self, letter: bytes, payload: bytes | memoryview, seconds: float) -> None:
        """Send one frame.

        Raises:
            WireError: it was not taken within *seconds*, or one before it was not: what follows would be read
                as the rest of that.
        """
        if self._is_cut:
            raise WireError("a frame was cut")
        until = time.monotonic() + seconds
        data = memoryview(frame(letter, payload))
        self._is_cut = True
        while data:
            try:
                data = data[self._connection.send(data, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, until)
            except OSError as error:
                raise WireError(f"nobody reads: {error.strerror}") from error
        self._is_cut = False

    def _exactly(self, size: int, until: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                # Not recvmsg: descriptors that somebody sends along are closed by the kernel.
                got = self._connection.recv(min(_CHUNK, size - len(data)))
            except BlockingIOError:
                self._wait(select.POLLIN, until)
                continue
            except OSError as error:
                raise WireError(f"nobody writes: {error.strerror}") from error
            if not got:
                raise WireError("the other side has gone")
            data += got
        return bytes(data)

    def _wait(self, event: int, until: float) -> None:
        poller = select.poll()
        poller.register(self._connection, event)
        while (left := min(until, self._limit) - time.monotonic()) > 0:
            if poller.poll(int(min(left, _LOOK) * 1000) + 1):
                return
        raise WireError("too slow")
