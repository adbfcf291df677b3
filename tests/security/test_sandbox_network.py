"""Attacks over the network and by other ways between processes: there is no socket, and nothing to reach.

Only loopback and namespaces of the tests' own see a packet.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from errno import EACCES, EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, ENOSYS, EPERM
from pathlib import Path

import pytest

from sandbox_lab import Lab, call, sweep, without_landlock, without_seccomp

SOCKETS = ("socket", "connect", "bind", "listen", "accept4", "setsockopt")


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 10])
def test_socket_of_any_family(lab: Lab, probe: Path, kind: int) -> None:
    calls = [("socket", family, kind | flags, 0) for family in range(46) for flags in (0, 0o2004000)]
    calls += [("socket", family | 1 << 32, kind, 0) for family in (1, 2, 10)]
    assert set(sweep(lab.program(probe, "sweep"), calls)) == {ENOSYS}


def test_socket_pair_of_any_family(lab: Lab, probe: Path) -> None:
    """One end of a datagram pair could be pointed at another socket; a stream pair cannot."""
    calls = [("socketpair", family, kind, 0, "b") for family in range(46) for kind in (1, 2, 3, 5)]
    seen = sweep(lab.program(probe, "sweep"), calls)
    assert [each for each, errno in zip(calls, seen, strict=True) if errno != ENOSYS] == [
        ("socketpair", 1, 1, 0, "b")
    ]


def test_other_calls_of_a_socket(lab: Lab, probe: Path) -> None:
    names = ("connect", "bind", "listen", "accept", "accept4", "setsockopt", "sendmmsg", "recvmmsg")
    assert set(sweep(lab.program(probe, "sweep"), [(name, 0, "b", 16) for name in names])) == {ENOSYS}


def test_pair_cannot_be_pointed_elsewhere(lab: Lab, ground: Path) -> None:
    code = """
import socket
def run(path):
    one, other = socket.socketpair()
    seen = []
    for attempt in (
        lambda: one.sendto(b"x", path),
        lambda: one.sendmsg([b"x"], [], 0, path),
        lambda: one.connect(path),
        lambda: one.bind("/tmp/bound"),
        lambda: one.setsockopt(socket.SOL_SOCKET, 26, bytes(16)),
    ):
        try:
            attempt()
            seen.append(0)
        except OSError as error:
            seen.append(error.errno)
    return seen
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(ground / "service"))
        server.listen()
        is_connected = 106
        compiled = lab.python(code, write=[ground])
        seen = call(compiled, path=str(ground / "service"))
        real = call(without_seccomp(compiled), path=str(ground / "service"))
    assert seen == [is_connected, *[ENOSYS] * 4]
    assert ENOSYS not in real, "the kernel looks at the arguments"


CONNECT = """
import socket
def run(family, address):
    try:
        with socket.socket(family) as client:
            client.settimeout(2)
            client.connect(tuple(address) if isinstance(address, list) else address)
            return 0
    except OSError as error:
        return error.errno
"""


class TestServiceOfTheHost:
    @pytest.fixture
    def port(self) -> Iterator[int]:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            yield server.getsockname()[1]

    def test_over_loopback(self, lab: Lab, port: int) -> None:
        """Three mechanisms: no socket; a network namespace of its own; Landlock's rules for TCP."""
        compiled = lab.python(CONNECT)
        arguments = {"family": int(socket.AF_INET), "address": ["127.0.0.1", port]}
        assert call(compiled, **arguments) == ENOSYS
        open_sockets = without_seccomp(compiled, *SOCKETS)
        assert compiled.landlock is not None
        rights, _, scopes = compiled.landlock
        no_tcp_rules = replace(open_sockets, landlock=(rights, 0, scopes))
        assert call(no_tcp_rules, **arguments) == ENETUNREACH, "the namespace alone: not even loopback is up"
        assert call(without_landlock(open_sockets), **arguments) == ENETUNREACH
        if compiled.landlock[1]:
            assert call(open_sockets, **arguments) == EACCES, "Landlock, before the namespace is asked"

    def test_over_ipv6_and_datagrams(self, lab: Lab) -> None:
        compiled = without_landlock(without_seccomp(lab.python(CONNECT), *SOCKETS))
        address = {"family": int(socket.AF_INET6), "address": ["::1", 9]}
        assert call(compiled, **address) in (ENETUNREACH, EADDRNOTAVAIL)
        code = """
import socket
def run(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            return client.sendto(b"x", tuple(address))
        except OSError as error:
            return error.errno
"""
        datagrams = without_landlock(without_seccomp(lab.python(code), *SOCKETS))
        assert call(datagrams, address=["127.0.0.1", 9]) == ENETUNREACH

    def test_on_an_abstract_socket(self, lab: Lab) -> None:
        """It has no path, and no permissions: the namespace is what parts it, and Landlock's scope."""
        name = f"mpp-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0{name}")
            server.listen()
            compiled = lab.python(CONNECT)
            arguments = {"family": int(socket.AF_UNIX), "address": f"\0{name}"}
            assert call(compiled, **arguments) == ENOSYS
            assert call(without_seccomp(compiled, *SOCKETS), **arguments) in (EPERM, ECONNREFUSED)
            alone = without_landlock(without_seccomp(compiled, *SOCKETS))
            assert call(alone, **arguments) == ECONNREFUSED, "the namespace alone"


def test_namespace_has_no_interface_that_is_up(lab: Lab) -> None:
    code = """
import fcntl, socket, struct
def run():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = []
        for _, name in socket.if_nameindex():
            request = fcntl.ioctl(any_socket, 0x8913, struct.pack("16sh", name.encode(), 0) + bytes(24))
            flags.append([name, struct.unpack("16sh", request[:18])[1] & 1])
        return flags
"""
    compiled = without_landlock(without_seccomp(lab.python(code)))
    assert call(compiled) == [["lo", 0]]


def test_two_sandboxes_share_no_ipc(lab: Lab, probe: Path) -> None:
    """Also without the filter: the first leaves a queue and a segment, the second finds none."""
    key = 0x6D7070
    make = [("shmget", key, 4096, 0o1666), ("msgget", key, 0o1666), ("semget", key, 1, 0o1666)]
    find = [("shmget", key, 0, 0), ("msgget", key, 0), ("semget", key, 0, 0)]
    compiled = without_seccomp(lab.program(probe, "sweep"))
    assert sweep(compiled, [*make, *find]) == [0] * 6
    enoent = 2
    assert sweep(compiled, find) == [enoent] * 3
