"""The host's side of a broker's process: started, asked, ended; each in limited time."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from mpp_exec.egress import wire
from mpp_exec.egress.confining import RESOLVER_FILES
from mpp_exec.egress.process import CONTROL
from mpp_exec.egress.traffic import Traffic
from mpp_exec.errors import HostError, InternalError

START_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 2.0
END_SECONDS: Final = 1.0

_STARTER: Final = (
    "import sys\n"
    "sys.dont_write_bytecode = True\n"
    "sys.path[:0] = sys.argv[2:]\n"
    "from mpp_exec.egress.process import main\n"
    "main(int(sys.argv[1]))\n"
)
_ENVIRONMENT: Final = {"LOCALDOMAIN": "."}
"""Names are asked as they stand (resolv.conf(5)): below a domain that the host searches is another name."""

_SIGNALS: Final = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class NoAnswer(Exception):  # noqa: N818 -- it is how a process ends, and nobody's error to read
    """The process is gone, says what it must not, or nothing in time. It is to be ended."""

    def __str__(self) -> str:
        return "it does not answer"


def seen_files() -> tuple[object, ...]:
    """Return what tells whether the resolver's files are still those that a process was confined to."""
    found: list[object] = []
    for path in RESOLVER_FILES:
        try:
            facts = Path(path).stat()
            found.append((facts.st_dev, facts.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


class Process:
    """A broker's process that is confined and waits for requests. Whoever calls has a lock.

    Attributes:
        files: what :func:`seen_files` said before it was started.
        serves: the invocations whose sandboxes it serves.

    Raises:
        HostError: it cannot be confined on this host.
        InternalError: it cannot be started.
    """

    def __init__(self) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise _not_started(error) from error
        self.attach(ours)
        try:
            with theirs:
                self._pid = _spawned(theirs.fileno())
            self._pidfd = os.pidfd_open(self._pid)
            code, said, hint = wire.read_first(self._received(START_SECONDS))
        except (OSError, ValueError, NoAnswer) as error:
            self.kill()
            raise _not_started(error) from error
        except BaseException:
            self.kill()
            raise
        if code:
            self.kill()
            raise HostError(code, said, hint)

    def attach(self, control: socket.socket) -> None:
        """Speak over *control* to what was not started yet."""
        self.files = seen_files()
        self.serves = set[str]()
        self._number = 0  # of the last request; each that was interrupted left an answer
        self._pid = self._pidfd = -1
        self._socket = control

    def open(self, message: bytes, number: int, sockets: list[int]) -> bool:
        """Ask for a sandbox to be served; return whether there was room.

        Raises:
            NoAnswer: the process is to be ended.
        """
        kind, _ = self._asked(message, number, sockets, ANSWER_SECONDS)
        if kind not in (wire.OPENED, wire.FULL):
            raise NoAnswer
        return kind == wire.OPENED

    def end(self, invocation: str, *, drop: bool = False) -> Traffic:
        """End what a sandbox has, and return what there was. *drop* as in ``Outlet.end``.

        Raises:
            NoAnswer: the process is to be ended.
        """
        number = self.next_number()
        message = wire.encoded(wire.DROP if drop else wire.END, number, invocation)
        kind, traffic = self._asked(message, number, [], END_SECONDS)
        if kind != wire.ENDED or traffic is None:
            raise NoAnswer
        return traffic

    def next_number(self) -> int:
        """Return the number of the next request."""
        self._number += 1
        return self._number

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return self._pidfd >= 0 and not _ready(self._pidfd, 0)

    def _asked(
        self, message: bytes, number: int, sockets: list[int], seconds: float
    ) -> tuple[str, Traffic | None]:
        try:
            self._socket.settimeout(seconds)
            socket.send_fds(self._socket, [message], sockets)
            while True:
                answer = wire.read_answer(self._received(seconds), number)
                if answer is not None:
                    return answer
        except (OSError, ValueError) as error:
            raise NoAnswer from error

    def _received(self, seconds: float) -> bytes:
        self._socket.settimeout(seconds)
        message, _, flags, _ = self._socket.recvmsg(wire.MESSAGE_MAX + 1)
        if not message or flags & socket.MSG_TRUNC:
            raise NoAnswer
        return message

    def close(self) -> None:
        """Have it end, and wait for that; it is killed where it does not at once."""
        self._socket.close()
        if self._pidfd >= 0 and not _ready(self._pidfd, END_SECONDS):
            self._signal()
        self._reap()

    def kill(self) -> None:
        """End it now."""
        self._socket.close()
        self._signal()
        self._reap()

    def _signal(self) -> None:
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _reap(self) -> None:
        if self._pid > 0:
            with suppress(ChildProcessError):  # the host waits for any child, or for none
                os.waitpid(self._pid, 0)
            self._pid = -1
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def forget(self) -> None:
        """Let go of it in a child of the host, whose it is not."""
        self._pid = -1
        self._socket.close()
        self._reap()


def _not_started(error: Exception) -> InternalError:
    return InternalError(
        "broker.start",
        f"the process that connects for tools cannot be started: {error}",
        "nothing ran; try again, and report it if it stays",
    )


def _ready(descriptor: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    until = time.monotonic() + seconds
    return bool(waiting.poll(max(0.0, until - time.monotonic()) * 1000))


def _spawned(control: int) -> int:
    """Start the process with the socket *control*, and nothing else of this one; return its id."""
    folders = dict.fromkeys(
        str(Path(found.origin).parent.parent)
        for found in map(importlib.util.find_spec, ("mpp_exec", "landlock"))
        if found is not None and found.origin is not None
    )
    # Neither may be one of the numbers that they are put in the place of, one after the other.
    with ExitStack() as held:
        opened = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        held.callback(os.close, opened)
        null, first = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, CONTROL + 1) for each in (opened, control))
        held.callback(os.close, null)
        held.callback(os.close, first)
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", _STARTER, str(os.getpid()), *folders],
            _ENVIRONMENT,
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, null, each) for each in (0, 1, 2)),
                (os.POSIX_SPAWN_DUP2, first, CONTROL),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_SIGNALS,
        )
