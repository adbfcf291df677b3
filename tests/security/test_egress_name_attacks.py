"""What names lead to where a name server lies: through the real process and the real resolver."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from egress_world import OTHER_PUBLIC, OWN, PEER, PORT, PUBLIC, PUBLIC_6, SEARCHED, run_in_world

PROGRAM = """
import socket
from egress_room import address_of, query
from egress_world import ANSWERS, HOST, OWN, PEER, PORT
from mpp_exec.egress.broker import Broker, Sockets
from mpp_exec.permissions import HostPort

granted = [HostPort("*.example.com", PORT), HostPort("localhost", PORT), HostPort(PEER, PORT)]
streams = []
for at in [f"127.64.0.{i}" for i in range(1, 40)]:
    streams.append(socket.create_server((at, PORT)))
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 0))
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(20)

def ask(name):
    asking.sendto(query(name), names.getsockname())
    answer = asking.recv(4096)
    return address_of(answer)

def read(name):
    try:
        with socket.create_connection((ask(name), PORT), timeout=30) as connection:
            got = b""
            while data := connection.recv(4096):
                got += data
            return got.decode()
    except ConnectionResetError:
        return "reset"

with Broker() as broker:
    outlet = broker.open("one", tuple(granted), Sockets(tuple(s.fileno() for s in streams), names.fileno()))
    for name in [*ANSWERS, "rebinding.example.com", "missing.example.com"]:
        print(repr((name, read(name))))
    for name in "secret.attacker.example example.com evilexample.com a.example.com.attacker.example".split():
        print(repr((name, ask(name))))
    traffic = outlet.end()
print(repr([(d.host, d.port, d.why) for d in traffic.denied]))
print(repr([(c.host, c.address) for c in traffic.connections]))
"""


@pytest.fixture(scope="module")
def world() -> tuple[dict[str, list[str]], list[Any], list[Any], Counter[str]]:
    lines, asked = run_in_world(PROGRAM)
    read: dict[str, list[str]] = {}
    for line in lines[:-2]:
        assert isinstance(line, tuple)
        read.setdefault(line[0], []).append(line[1])
    denied, connections = lines[-2:]
    assert isinstance(denied, list)
    assert isinstance(connections, list)
    return read, denied, connections, asked


World = tuple[dict[str, list[str]], list[Any], list[Any], Counter[str]]


def test_a_name_leads_to_its_public_address(world: World) -> None:
    read, _, connections, _ = world
    assert read["api.example.com"] == [PUBLIC]
    assert read["six.example.com"] == [PUBLIC_6]
    assert ("api.example.com", PUBLIC) in connections


def test_attack_second_answer_is_private(world: World) -> None:
    """The first answer was vetted, the second one is too."""
    read, denied, _, _ = world
    assert read["rebinding.example.com"] == [PUBLIC, "reset"]
    assert ("rebinding.example.com", PORT, "address") in denied


@pytest.mark.parametrize("name", ["private", "loopback", "metadata", "alias", "mapped"])
def test_attack_name_leads_to_a_private_address(world: World, name: str) -> None:
    read, denied, connections, asked = world
    assert read[f"{name}.example.com"] == ["reset"]
    assert (f"{name}.example.com", PORT, "address") in denied
    assert not [each for each in connections if each[0] == f"{name}.example.com"]
    assert asked[f"{name}.example.com"] > 0


def test_attack_private_address_among_public_ones(world: World) -> None:
    read, _, connections, _ = world
    assert read["mixed.example.com"] == [PUBLIC]
    assert [each for each in connections if each[1] == PEER] == []


def test_attack_name_leads_to_this_host(world: World) -> None:
    read, denied, connections, _ = world
    assert read["own.example.com"] == ["reset"]
    assert ("own.example.com", PORT, "address") in denied
    assert OWN not in [each[1] for each in connections]


def test_attack_name_that_is_not_granted(world: World) -> None:
    """It is answered with nothing, and no name server hears of it."""
    read, denied, _, asked = world
    for name in (
        "secret.attacker.example",
        "example.com",
        "evilexample.com",
        "a.example.com.attacker.example",
    ):
        assert read[name] == [""]
        assert (name, 0, "name") in denied
        assert asked[name] == 0
    assert {each for each in asked if not each.endswith(".example.com")} == set()


def test_a_name_that_leads_nowhere(world: World) -> None:
    read, denied, _, _ = world
    assert read["missing.example.com"] == ["reset"]
    assert ("missing.example.com", PORT, "resolve") in denied


def test_attack_name_below_the_domain_that_this_host_searches(world: World) -> None:
    """What was granted is the name as it stands: a shorter way to write another one it is not."""
    read, _, connections, asked = world
    assert read["missing.example.com"] == ["reset"]
    assert not [name for name in asked if name.endswith(SEARCHED)]
    assert ("missing.example.com", OTHER_PUBLIC) not in connections


def test_a_silent_address_is_not_waited_for_alone(world: World) -> None:
    read, denied, _, _ = world
    assert read["slow.example.com"] == [PUBLIC]
    assert read["many.example.com"] == [OTHER_PUBLIC]
    assert read["silent.example.com"] == ["reset"]
    assert ("silent.example.com", PORT, "connect") in denied
