"""Identifies the peer of a connection, as the kernel reports it, and compares its standing with our own.

A call must not reach further through the resident runtime than in the client's own process. So a client is
sent away if it is another user, lives in other namespaces, or is confined in a way that this process is not.

A client has to disprove confinement that cannot be seen from outside (:class:`Challenge`).

Source: unix(7) for SO_PEERCRED and SO_PEERPIDFD, proc_pid_status(5), namespaces(7), landlock(7).
"""

from __future__ import annotations

import hmac
import os
import select
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_SO_PEERPIDFD: Final = 77  # <asm-generic/socket.h>, Linux 6.5
_CREDENTIALS: Final = struct.Struct("iII")
_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_STATUS: Final = frozenset(
    {
        *(b"Uid", b"Gid", b"Groups", b"NoNewPrivs", b"Seccomp", b"Seccomp_filters"),
        *(b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb"),
    }
)

PROOF: Final = 16
"""Bytes of a proof."""


class Challenge:
    """Bytes that only a process with ptrace access to this one can read (ptrace(2), access mode).

    /proc does not show whether a process is confined to a Landlock domain; but the kernel lets no process in
    a domain look at a process outside. A context manager.
    """

    def __init__(self) -> None:
        """Hold the bytes under a descriptor.

        Raises:
            OSError: no descriptor is available.
        """
        self._proof = os.urandom(PROOF)
        self._descriptor = os.memfd_create("mpp-serve", os.MFD_CLOEXEC)
        os.write(self._descriptor, self._proof)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def name(self) -> bytes:
        """Where the bytes are: the number below ``/proc/PID/fd``."""
        return b"%d" % self._descriptor

    def is_met(self, answer: bytes) -> bool:
        """Return whether *answer* is these bytes."""
        return hmac.compare_digest(answer, self._proof)


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected: its id and its effective user."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What bounds a process from outside: ids, capabilities, filters, limits, label, root, namespaces."""

    limits: bytes
    status: tuple[bytes, ...]
    label: bytes
    root: tuple[int, int]
    namespaces: tuple[str, ...]


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected (to a server: who listens), as of that moment.

    Raises:
        OSError: the kernel does not tell.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid, uid)


def own_standing() -> Standing:
    """Return how this process stands.

    Raises:
        OSError: /proc does not tell.
    """
    return _standing("/proc/self")


def standing_of(connection: socket.socket, peer: Peer) -> Standing | None:
    """Return the standing of *peer*, None if it is unknown or *peer* has ended meanwhile.

    Once *peer* has ended, its process id may be reused; a pidfd shows that it has not ended.
    """
    try:
        held = _held(connection, peer)
    except OSError:
        return None
    try:
        found = _standing(f"/proc/{peer.pid}")
        poller = select.poll()
        poller.register(held, select.POLLIN)
        return None if poller.poll(0) else found
    except OSError:
        return None
    finally:
        os.close(held)


def _held(connection: socket.socket, peer: Peer) -> int:
    with suppress(OSError):  # ENOPROTOOPT before Linux 6.5
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    return os.pidfd_open(peer.pid)


def _standing(process: str) -> Standing:
    with open(f"{process}/status", "rb") as file:  # noqa: PTH123 -- asked at each call
        lines = file.read().split(b"\n")
    with open(f"{process}/limits", "rb") as file:  # noqa: PTH123
        limits = file.read()
    root = os.stat(f"{process}/root")  # noqa: PTH116
    return Standing(
        limits,
        tuple(line for line in lines if line.partition(b":")[0] in _STATUS),
        _label(process),
        (root.st_dev, root.st_ino),
        tuple(os.readlink(f"{process}/ns/{name}") for name in _NAMESPACES),  # noqa: PTH115
    )


def _label(process: str) -> bytes:
    """Return the label that a security module has given *process*, nothing where none does."""
    try:
        return Path(f"{process}/attr/current").read_bytes()
    except OSError:
        return b""
