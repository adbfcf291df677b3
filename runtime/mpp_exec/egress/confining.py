"""How the broker process confines itself before it reads anything from a sandbox, and checks the result.

It keeps no other descriptor, no variable of the host, no rights, and no root. Landlock leaves it the files
that the resolver reads; seccomp leaves it the system calls that it needs. It can start no program, write no
file, make no UNIX socket, signal no process, and listen on nothing. Each step has to succeed, or there is no
broker.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from mpp_exec.confined import confine_process, landlock_abi
from mpp_exec.egress import filter as seccomp
from mpp_exec.errors import HostError

OUTER_ID_BASE: Final = 0x70000000
"""Of the private range, in which each sandbox has one by its init's process id. So has the broker."""

RESOLVER_FILES: Final = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
)
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")  # where the C library's resolver lies

DESCRIPTORS: Final = 16_384
_MEMORY: Final = 2 << 30
_ARENAS, _ARENAS_MAX = -8, 2  # M_ARENA_MAX, malloc.h: each resolver thread would reserve 64 MiB
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 22, 38, 47, 4  # linux/prctl.h
_CAPABILITY_VERSION_3: Final = 0x20080522  # linux/capability.h
_SECCOMP_MODE_FILTER: Final = 2
_HINT: Final = "mpp-exec doctor says what is missing; a grant without network needs none of it"


def confine() -> int:
    """Confine this single-threaded process permanently; return how many descriptors it may have.

    Raises:
        HostError: ``host.broker_*``, naming what this host does not offer.
        InternalError: as ``confined.confine_process``.
    """
    os.umask(0o077)
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENAS, _ARENAS_MAX)
    descriptors = _bound()
    _give_up_root()
    if not landlock_abi():
        raise HostError(
            "host.broker_landlock", "Landlock is missing, and the broker is confined by it", _HINT
        )
    readable = [path for path in (*RESOLVER_FILES, *_LIBRARIES) if _exists(path)]
    confine_process(read=readable)
    _filter()
    _require_enforcement()
    return descriptors


def _exists(path: str) -> bool:
    return Path(path).exists()


def _bound() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    bounds: Sequence[tuple[int, int]] = (
        (resource.RLIMIT_NOFILE, descriptors),
        (resource.RLIMIT_CORE, 1),  # 0 does not stop a dump to the host's collector, 1 does
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_AS, _MEMORY),
    )
    for kind, value in bounds:
        before = resource.getrlimit(kind)[1]
        least = value if before == resource.RLIM_INFINITY else min(value, before)
        resource.setrlimit(kind, (least, least))
    return descriptors


def _give_up_root() -> None:
    """If this is root, become an unprivileged user that nobody else is; drop all capabilities in any case."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 or os.getuid() == 0:
        own = OUTER_ID_BASE + os.getpid()
        try:
            os.setgroups([])
            os.setresgid(own, own, own)
            os.setresuid(own, own, own)
        except OSError as error:
            raise HostError(
                "host.broker_root",
                f"the broker cannot give up root: {error.strerror}",
                "this root may not become another user: run mpp-exec as an unprivileged user",
            ) from error
    libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, bytes(24)) != 0:
        raise _unconfined("capset", ctypes.get_errno())


def _filter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.maxsize >> 32 == 0 or os.uname().machine != "x86_64":
        raise HostError("host.broker_seccomp", "the broker's filter is for x86-64 only", _HINT)
    program = seccomp.program()
    code = ctypes.create_string_buffer(program, len(program))
    filtering = struct.pack("HxxxxxxP", len(program) // seccomp.INSTRUCTION.size, ctypes.addressof(code))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _unconfined("no_new_privs", ctypes.get_errno())
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filtering, 0, 0) != 0:
        raise _unconfined("seccomp", ctypes.get_errno())


def _require_enforcement() -> None:
    """Refuse to go on unless the kernel now refuses; this is tried out, as was already done for Landlock."""
    if os.geteuid() == 0:
        raise _unconfined("ids", errno.EPERM)
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
    except PermissionError:
        pass
    else:
        raise _unconfined("seccomp", 0)
    try:
        os.kill(os.getpid(), 0)
    except PermissionError:
        pass
    else:
        raise _unconfined("seccomp", 0)


def _unconfined(what: str, error: int) -> HostError:
    return HostError(
        "host.broker_confinement", f"the broker cannot be confined: {what}: {os.strerror(error)}", _HINT
    )
