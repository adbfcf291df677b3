"""A sandbox that was granted hosts: what is in its network, and that every way to make one has the same.

The broker is a stand-in that refuses nobody (``hosts.py``), so what is refused here the sandbox refuses.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

import sandbox_lab
from hosts import CLIENT, NAMED, OpenDoor, granted, open_door
from mpp_exec.errors import HostError, InternalError
from mpp_exec.sandbox import message, native, spawn
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import CACHE, Lab, answer, build_program, copied, run

API = "api.example.com:443"
HERE = granted(API, "*.example.org:443", "10.0.0.5:8080", "[2001:db8::1]:443", "localhost:5432")
WAYS = ("cold", "early", "late", "copied", "traced")


@pytest.fixture
def door() -> Iterator[OpenDoor]:
    with open_door() as made:
        yield made


@contextmanager
def made_ready(compiled: SandboxPlan, way: str) -> Iterator[Parked]:
    made = (
        copied(compiled)
        if way == "copied"
        else Parked(compiled, constants=(), cache=CACHE, early_start=way == "early")
    )
    try:
        while made.look(1000) == "preparing":
            continue
        assert made.state == "ready"
        yield made
    finally:
        made.close()


def reach(compiled: SandboxPlan, door: OpenDoor, way: str, *attempts: tuple[Any, ...]) -> list[Any]:
    request = json.dumps({"arguments": {"attempts": attempts}}).encode()
    ahead = made_ready(compiled, way) if way in ("early", "late", "copied") else nullcontext()
    with ahead as parked:
        done = run(compiled, request, serve=door.serve, parked=parked, traced=way == "traced")
    found: list[Any] = answer(done)["value"]
    return found


@pytest.mark.parametrize("way", WAYS)
def test_granted_hosts_are_reached_by_name_and_by_address(lab: Lab, door: OpenDoor, way: str) -> None:
    compiled = lab.python(CLIENT, network=HERE)
    attempts = [
        ("api.example.com", 443),
        ("deep.down.example.org", 443),
        ("10.0.0.5", 8080),
        ("2001:db8::1", 443),
        ("localhost", 5432),
    ]
    places = [[NAMED, 443], [NAMED, 443], ["10.0.0.5", 8080], ["2001:db8::1", 443], ["127.0.0.1", 5432]]
    assert list(map(json.loads, reach(compiled, door, way, *attempts))) == places
    assert door.served == [4], "a socket for each port, one more for IPv6"


@pytest.mark.parametrize("way", WAYS)
def test_all_else_is_refused_by_the_sandbox_itself(lab: Lab, door: OpenDoor, way: str) -> None:
    compiled = lab.python(CLIENT, network=HERE)
    seen = reach(
        compiled,
        door,
        way,
        ("api.example.com", 80),
        ("10.0.0.6", 443),
        ("169.254.169.254", 443),
        ("2001:db8::2", 443),
        ("192.0.2.1", 53, "udp"),
        ("10.0.0.5", 53, "udp"),
        ("127.0.0.1", 9, "udp"),
    )
    port = "EACCES" if compiled.landlock and compiled.landlock[1] else "ECONNREFUSED"
    refused = ["ENETUNREACH", "ECONNREFUSED", "ECONNREFUSED"]
    assert seen == [port, *["ENETUNREACH"] * 3, *refused]
    assert door.met == []


class TestBeforeItsCall:
    """A tool that runs ahead of its call has no connection and no name before it."""

    CODE = CLIENT + "EARLY = [attempt('127.0.0.1', 443), attempt('192.0.2.1', 443)]\n"
    NAMES = CLIENT + "EARLY = [attempt('api.example.com', 443, 'name')]\n"

    def test_one_that_connects_as_it_is_imported_is_not_parked(self, lab: Lab, door: OpenDoor) -> None:
        for code in (self.CODE, self.NAMES):
            compiled = lab.python(code, network=granted(API))
            made = Parked(compiled, constants=(), cache=CACHE, early_start=True)
            while made.look(1000) == "preparing":
                continue
            assert made.state == "ended"
            made.close()
        assert door.met == []

    def test_one_that_no_launcher_notes_meets_nobody(self, lab: Lab, door: OpenDoor) -> None:
        """By the C library: refused at once, both the connection and the question for a name."""
        code = """
import ctypes, errno, struct
LIBC = ctypes.CDLL(None, use_errno=True)
def attempt(kind, address, port):
    client = LIBC.socket(2, kind, 0)
    where = struct.pack("=HH4s8x", 2, port, bytes(address))
    LIBC.connect(client, where, 16)
    if kind == 2 and LIBC.send(client, b"x", 1, 0) == 1:
        LIBC.recv(client, ctypes.create_string_buffer(9), 9, 0)
    found = ctypes.get_errno()
    LIBC.close(client)
    ctypes.set_errno(0)
    return errno.errorcode.get(found, str(found))
SOCKETS = ((1, (127, 64, 0, 1), 443 << 8 & 0xFF00 | 443 >> 8), (2, (127, 0, 0, 53), 53 << 8))
EARLY = [attempt(*each) for each in SOCKETS]
def run():
    return EARLY, attempt(*SOCKETS[0])
"""
        compiled = lab.python(code, network=granted(API))
        with made_ready(compiled, "early") as parked:
            done = run(compiled, b'{"arguments":{}}', serve=door.serve, parked=parked)
        assert answer(done)["value"] == [["ECONNREFUSED"] * 2, "0"]

    def test_its_sockets_do_not_listen(self, lab: Lab) -> None:
        with made_ready(lab.python(CLIENT, network=granted(API)), "early") as parked:
            names, stream = (socket.socket(fileno=os.dup(each)) for each in parked.sockets())
            with names, stream:
                assert names.getsockname() == ("0.0.0.0", 0), "nobody answers for names"
                assert stream.getsockname() == ("0.0.0.0", 443)
                assert not stream.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_traced_call_has_its_accesses(lab: Lab, door: OpenDoor) -> None:
    compiled = lab.python(CLIENT, network=HERE)
    request = b'{"arguments":{"attempts":[["api.example.com",443]]}}'
    done = run(compiled, request, serve=door.serve, traced=True)
    assert answer(done)["value"] == [json.dumps([NAMED, 443])]
    assert any(access.path == "/etc/resolv.conf" for access in done.accesses)


class TestNobodyServes:
    """A plan that says that hosts can be reached does not run where nobody reaches them."""

    def test_nobody_was_named(self, lab: Lab) -> None:
        with pytest.raises(InternalError) as refused:
            run(lab.python(CLIENT, network=HERE))
        assert refused.value.code == "sandbox.unserved"

    @pytest.mark.parametrize("way", ["cold", "early"])
    def test_who_was_named_refuses(self, lab: Lab, ground: Path, way: str) -> None:
        """Nothing of the tool has the call, and what was made is gone."""
        compiled = lab.python(
            f"def run():\n    open({str(ground / 'ran')!r}, 'w')\n", network=HERE, write=[ground]
        )

        def refuse(_streams: tuple[int, ...], _names: int) -> None:
            raise HostError("host.broker_test", "no broker", "")

        before = sandbox_lab.init_processes()
        ahead = made_ready(compiled, way) if way == "early" else nullcontext()
        with ahead as parked, pytest.raises(HostError, match="no broker"):
            run(compiled, b'{"arguments":{}}', serve=refuse, parked=parked)
        assert not (ground / "ran").exists()
        assert sandbox_lab.init_processes() <= before

    def test_without_a_release_no_plan_has_sockets(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tool would run before anybody could serve it: neither the parent nor init begins such a one."""
        monkeypatch.setattr(spawn, "_served", spawn._cold)
        with pytest.raises(HostError) as refused:
            run(lab.python(CLIENT, network=HERE), serve=lambda *_: None)
        assert refused.value.code == "host.spawn_source"


def test_more_sockets_than_can_be_handed_over_are_refused(lab: Lab) -> None:
    many = tuple((2, port) for port in range(1000, 1000 + native.STREAMS_MAX + 1))
    compiled = dataclasses.replace(lab.python(CLIENT, network=HERE), streams=many)
    with pytest.raises(HostError) as refused:
        run(compiled, serve=lambda *_: None)
    assert refused.value.message.endswith(os.strerror(errno.EINVAL))


def test_as_many_as_can_be(lab: Lab, door: OpenDoor) -> None:
    ports = [f"api.example.com:{port}" for port in range(1000, 1000 + native.STREAMS_MAX)]
    addresses = [f"10.1.0.{index}:1000" for index in range(native.ADDRESSES_MAX)]
    compiled = lab.python(CLIENT, network=granted(*ports, *addresses))
    seen = reach(compiled, door, "cold", ("10.1.0.63", 1000), ("api.example.com", 1063))
    assert list(map(json.loads, seen)) == [["10.1.0.63", 1000], [NAMED, 1063]]


@pytest.mark.skipif("MPP_GUEST" in os.environ, reason="a guest has no compiler")
def test_a_static_program_reaches_them(lab: Lab, door: OpenDoor, tmp_path: Path) -> None:
    source = tmp_path / "client.c"
    source.write_text(
        """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
    struct addrinfo *found, hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    char text[100];
    ssize_t size;
    int fd, error = getaddrinfo("api.example.com", "443", &hints, &found);
    if (error) return printf("%d", error), 0;
    fd = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) return perror("connect"), 1;
    size = read(fd, text, sizeof text);
    return write(1, text, size < 0 ? 0 : size), 0;
}
"""
    )
    try:
        program = build_program(source, tmp_path / "client")
    except subprocess.CalledProcessError:  # a static getaddrinfo warns, and warnings are errors there
        pytest.skip("no static resolver")
    done = run(lab.program(program, network=granted(API)), serve=door.serve)
    assert json.loads(done.output) == [NAMED, 443]


def test_what_a_first_call_compiles_takes_nothing_of_its_time(
    lab: Lab, door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine that can be longer than the call may take."""
    compiled = lab.python(CLIENT, network=HERE)
    clock = [0]
    make, monotonic = message.for_parking, time.monotonic_ns

    def slowly(*arguments: Any, **options: Any) -> bytes:
        clock[0] += compiled.limits.wall_ms * 1_000_000
        return make(*arguments, **options)

    monkeypatch.setattr(message, "for_parking", slowly)
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic() + clock[0])
    assert json.loads(reach(compiled, door, "cold", ("api.example.com", 443))[0]) == [NAMED, 443]
