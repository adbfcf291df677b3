"""The resident runtime: one for a home, reached over a socket, shared by the processes of one user.

One thread accepts, watches for clients that leave, and decides when to end; each client has a thread of its
own. Who is another user is not read from. All of it is bounded: clients at once, the size of what they
say, and the time they have for each word.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from mpp_exec import __version__
from mpp_exec.errors import InternalError
from mpp_exec.pipeline import Runtime
from mpp_exec.serving.alike import Likeness, build
from mpp_exec.serving.ending import Ending
from mpp_exec.serving.peer import Peer, own_standing, peer_of, standing_of
from mpp_exec.serving.place import Place
from mpp_exec.serving.places import Places
from mpp_exec.serving.visit import PROMPT, ElsewhereError, GoneError, Visit, is_proven
from mpp_exec.serving.wire import (
    AWAY,
    DONE,
    HELLO,
    INPUT,
    OUT,
    QUIT,
    STATUS,
    Frames,
    WireError,
    frame,
    read_hello,
)

MAX_CLIENTS: Final = 64
"""Clients at once. One that comes beyond makes its call itself, unless another one has to (``places``)."""

MAX_LEAVING: Final = 8
"""Clients whose place was given to another one, and who have not left yet."""

MAX_CONNECTIONS: Final = 32
"""Of them, connections that stay. One that comes beyond is served by a process of its own."""

TICK: Final = 2.0
"""Seconds between two looks at whether the home is still there, and the installation the same."""

TAKEN: Final = "its place was given to a client of another process"
"""Why a client is sent away that has to make room."""

_FIRST_WORD: Final = 5.0  # seconds from connecting to a complete first frame
_FULL: Final = 0.1  # seconds without accepting when there are no descriptors left
ENDING: Final = 15.0  # seconds that clients have to take what they are owed when the runtime ends
_HURRY: Final = 1.0  # and those of whom nothing has begun, to say a word or be sent away
_CLOSING: Final = 15.0  # seconds that calls, sandboxes and the ledger have to end
_CUT: Final = 1.0  # and what is left, once its connection is cut

Handle = Callable[[Visit], int]
"""Does what a client wants and returns its exit code; may raise ``ElsewhereError`` or ``GoneError``."""


class Service:
    """Listens in *place* for the clients of *runtime*'s home until it is told to end. To be run once.

    Args:
        runtime: makes the calls; closed with the service.
        place: the folder of the socket. MUST be locked by this process.
        handle: does what a client wants.
        idle: seconds without a client after which it ends by itself; None for never.

    Raises:
        InternalError: ``serve.io``; ``serve.unbuilt``: nobody could be told from another version.
    """

    def __init__(self, runtime: Runtime, place: Place, handle: Handle, *, idle: float | None) -> None:
        self._runtime = runtime
        self._place = place
        self._handle = handle
        self._idle = idle
        try:
            self._alike = Likeness(own_standing(), os.environ)
        except OSError as error:
            raise InternalError("serve.io", f"/proc: {error.strerror}", "mount /proc") from error
        if not self._alike.build:
            raise InternalError(
                "serve.unbuilt",
                "this installation does not say what it was built from, so no client could be told from one "
                "of another version",
                "install mpp-exec from a wheel, or run make native",
            )
        self._listener = place.listen()
        self._listening = place.identity()
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()  # guards everything below
        self._clients: dict[int, socket.socket] = {}
        self._places = Places(MAX_CLIENTS)
        self._threads: set[threading.Thread] = set()
        self._watched: dict[int, Visit] = {}
        self._served: set[Visit] = set()
        self._unbegun: set[Frames] = set()
        self._waiting_for_the_end: list[socket.socket] = []
        self._ending = False
        self._last = time.monotonic()
        self._began = time.monotonic()
        self._calls = 0
        self._away: list[str] = []
        self._sent_away = 0

    # -- life --------------------------------------------------------------------------------------

    def run(self) -> str:
        """Serve until there is a reason to end, and return that reason. :meth:`close` MUST follow."""
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._wake, select.EPOLLIN)
        accepting, looked = True, time.monotonic()
        while True:
            for descriptor, _ in self._poll.poll(self._rest(accepting)):
                if descriptor == self._wake:
                    return "it was told to"
                if descriptor != self._listener.fileno():
                    self._left(descriptor)
                elif not self._accept():
                    self._poll.modify(self._listener, 0)
                    accepting = False
                    break
            else:
                if not accepting:
                    self._poll.modify(self._listener, select.EPOLLIN)
                    accepting = True
            now = time.monotonic()
            if self._is_idle(now):
                return f"nobody called for {self._idle:g} s"
            if now - looked >= TICK:
                looked = now
                if why := self._lost():
                    return why

    def _rest(self, accepting: bool) -> float:
        if not accepting:
            return _FULL
        with self._lock:
            if self._idle is None or self._clients:
                return TICK
            return max(0.0, min(TICK, self._last + self._idle - time.monotonic()))

    def _is_idle(self, now: float) -> bool:
        with self._lock:
            return self._idle is not None and not self._clients and now - self._last >= self._idle

    def _lost(self) -> str:
        """Return why no client can connect any more, "" while clients can."""
        if not self._place.is_reached() or self._place.identity() != self._listening:
            return "its socket is gone"
        return "" if build() in ("", self._alike.build) else "it was replaced by another version"

    def stop(self) -> None:
        """Make :meth:`run` return."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> tuple[list[str], bool]:
        """End what runs, give clients what they are owed, and leave nothing. To be called once.

        Everything has a bound. Returns in words what was waited for long, and whether nothing is left: if
        not, whatever hangs ends with the process.

        Raises:
            InternalError: something could not be recorded, or sealed.
        """
        ending = Ending()
        with self._lock:
            self._ending = True
            served = list(self._served)
            for frames in self._unbegun:  # who has said nothing yet delays nobody
                frames.hurry(_HURRY)
        self._place.close_to_clients(self._listening)
        self._listener.close()  # whoever is in its queue finds the connection closed, and nothing begun
        for visit in served:  # one whose client does not read would keep all others from going on
            visit.hurry()
        for visit in served:  # before anything of theirs is ended here
            visit.move()
        failed: list[Exception] = []
        closing = threading.Thread(target=self._close_runtime, args=(failed,), name="closing", daemon=True)
        try:
            closing.start()
        except RuntimeError:  # no thread can be had: then this one does it, however long it takes
            self._close_runtime(failed)
        is_closed = ending.wait("calls, sandboxes and the ledger", lambda: [closing], _CLOSING)
        if not ending.wait("clients to take their results", self._talking, ENDING, meanwhile=self._see_leave):
            with self._lock:
                for connection in self._clients.values():
                    if connection not in self._waiting_for_the_end:
                        with suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)
            is_closed = ending.wait("clients that are cut off", self._talking, _CUT) and is_closed
        self._poll.close()
        os.close(self._wake)
        if failed:
            raise failed[0]
        return ending.told, is_closed

    def _close_runtime(self, failed: list[Exception]) -> None:
        try:
            self._runtime.close()
        except Exception as error:  # noqa: BLE001 -- raised where somebody waits for it
            failed.append(error)

    def _talking(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)

    def _see_leave(self) -> None:
        for descriptor, _ in self._poll.poll(0):
            self._left(descriptor)

    def status(self) -> dict[str, Any]:
        """Return the status, as a JSON object."""
        with self._lock:
            return {
                "running": True,
                "pid": os.getpid(),
                "version": __version__,
                "build": self._alike.build,
                "home": str(self._runtime.home.path),
                "socket": str(self._place.path / "socket"),
                "seconds": round(time.monotonic() - self._began, 1),
                "idle": self._idle,
                "clients": len(self._places) - len(self._waiting_for_the_end) - 1,
                "connections": len(self._served),
                "calls": self._calls,
                "sent_away": self._sent_away,
                "last_sent_away": self._away[-1] if self._away else "",
            }

    # -- clients -----------------------------------------------------------------------------------

    def _accept(self) -> bool:
        """Accept the next client; return False if this process has no room for a descriptor."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return True
        except OSError:
            return False
        try:
            peer = peer_of(connection)
        except OSError:
            peer = Peer(0, -1)
        with self._lock:
            if peer.uid != os.geteuid() or not self._has_place(peer.pid):
                connection.close()
                return True
            number = connection.fileno()
            self._clients[number] = connection
            self._places.take(number, peer.pid)
            thread = threading.Thread(
                target=self._serve, args=(connection, peer), name="mpp-exec-client", daemon=True
            )
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            self._forget(connection, thread)
        return True

    def _has_place(self, process: int) -> bool:
        """Return whether there is a place for a client of *process*; another client may lose its place."""
        there_is, leaving = self._places.is_there_one(process)
        if leaving is not None:
            if len(self._clients) - len(self._places) >= MAX_LEAVING:
                return False
            self._places.leave(leaving)
            # It is told before it is read from no more: whoever has just given its word need not wonder.
            # In one piece or not at all, and whole behind whatever its own thread may be saying.
            connection = self._clients[leaving]
            with suppress(OSError):
                connection.send(frame(AWAY, TAKEN.encode()), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
                connection.shutdown(socket.SHUT_RD)
        return there_is

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        try:
            frames = Frames(connection)
            with self._lock:
                self._unbegun.add(frames)
                if self._ending:
                    frames.hurry(_HURRY)
            try:
                with suppress(WireError, GoneError, OSError, InternalError):
                    self._answer(connection, frames, peer)
            finally:
                with self._lock:
                    self._unbegun.discard(frames)
        finally:
            self._forget(connection, threading.current_thread())

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        number = connection.fileno()
        with self._lock:
            self._threads.discard(thread)
            if connection in self._waiting_for_the_end:
                return  # closed by the end of this process
            if self._watched.pop(number, None) is not None:
                with suppress(OSError, ValueError):
                    self._poll.unregister(number)
            self._clients.pop(number, None)
            self._places.leave(number)
            self._last = time.monotonic()
            connection.close()

    def _answer(self, connection: socket.socket, frames: Frames, peer: Peer) -> None:
        letter, payload = frames.receive(HELLO + STATUS + QUIT, _FIRST_WORD)
        if letter in (STATUS, QUIT):
            self._asked(letter, connection, frames, peer)
        else:
            hello = read_hello(payload)
            data = frames.receive(INPUT, PROMPT)[1] if hello.input_name else b""
            self._visited(Visit(connection, frames, hello, peer, data, watch=self._watch))

    def _asked(self, letter: bytes, connection: socket.socket, frames: Frames, peer: Peer) -> None:
        """Tell how it is, or end: for whom nothing keeps from this process."""
        if why := self._alike.keeps_out(standing_of(connection, peer)):
            frames.send(AWAY, why.encode(), PROMPT)
        elif not is_proven(frames) or not self._keeps_place(connection):
            return
        elif letter == STATUS:
            frames.send(OUT, json.dumps(self.status()).encode(), PROMPT)
        else:
            with self._lock:
                self._waiting_for_the_end.append(connection)
            frames.send(DONE, b"\0", PROMPT)
            self.stop()

    def _keeps_place(self, connection: socket.socket) -> bool:
        with self._lock:
            return self._places.prove(connection.fileno())

    def _visited(self, visit: Visit) -> None:
        try:
            code = self._handled(visit)
        except ElsewhereError as elsewhere:
            with self._lock:
                self._sent_away += 1
                self._away = [elsewhere.reason]
            visit.send_away(elsewhere.reason)
        else:
            visit.end(code)
        finally:
            with self._lock:
                self._served.discard(visit)
            visit.cancellation.close()

    def _handled(self, visit: Visit) -> int:
        with self._lock:
            if self._ending:
                raise ElsewhereError("the runtime ends")
        standing = standing_of(visit.connection, visit.peer)
        if why := self._alike.differs(visit.hello, standing):
            raise ElsewhereError(why)
        try:
            return self._handle(visit)
        finally:
            if visit.begun:
                with self._lock:
                    self._calls += 1

    def _watch(self, visit: Visit) -> None:
        """Let a connection in; cancel a call when its client leaves, or says anything more."""
        number = visit.connection.fileno()
        with self._lock:
            if self._ending:
                raise ElsewhereError("the runtime ends")
            if not self._places.prove(number):
                raise ElsewhereError(TAKEN)
            self._unbegun.discard(visit.frames)
            if visit.moves is not None:
                if len(self._served) >= MAX_CONNECTIONS:
                    raise ElsewhereError("it serves as many connections as it may")
                self._served.add(visit)
                return
            self._watched[number] = visit
            self._poll.register(number, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)

    def _left(self, descriptor: int) -> None:
        with self._lock:
            visit = self._watched.get(descriptor)
        if visit is not None:
            visit.cancellation.set()
