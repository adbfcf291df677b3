"""The broker's exchange: what a sandbox may reach, and what becomes of everything else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from egress_room import FIRST_NAME, LOOPBACK, Room, Server, is_refused, is_reset, query, room
from mpp_exec.egress.traffic import Denied
from mpp_exec.permissions import HostPort


@pytest.fixture
def here() -> Iterator[Room]:
    with room() as made:
        yield made


class TestNames:
    def test_a_granted_name_leads_to_what_it_resolves_to(self, peer: Server, here: Room) -> None:
        side = here.sandbox(HostPort("api.example.com", peer.port))
        assert side.look_up("API.Example.COM") == FIRST_NAME
        with side.connect("api.example.com", peer.port) as connection:
            connection.sendall(b"hello")
            assert connection.recv(10) == b"hello"
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(10) == b""
        traffic = side.end()
        (made,) = traffic.connections
        assert (made.host, made.port, made.address) == ("api.example.com", peer.port, LOOPBACK)
        assert (made.sent, made.received, traffic.sent, traffic.received) == (5, 5, 5, 5)
        assert not traffic.denied
        assert here.asked == ["api.example.com"]

    def test_another_name_is_unknown_and_asked_of_nobody(self, peer: Server, here: Room) -> None:
        side = here.sandbox(HostPort("api.example.com", peer.port))
        answer = side.ask(query("secret.attacker.example"))
        assert answer[3] & 15 == 3
        assert here.asked == []
        assert side.end().denied == (Denied("secret.attacker.example", 0, "name"),)

    def test_a_granted_name_with_another_ones_port_is_refused(self, peer: Server, here: Room) -> None:
        side = here.sandbox(HostPort("a.example.com", peer.port), HostPort("b.example.com", 1_025))
        side.look_up("b.example.com")
        assert side.is_refused("b.example.com", peer.port)
        assert side.end().denied == (Denied("b.example.com", peer.port, "port"),)
        assert here.asked == []

    def test_an_address_that_stands_for_nothing_is_refused(self, peer: Server, here: Room) -> None:
        side = here.sandbox(HostPort("a.example.com", peer.port))
        assert is_refused(FIRST_NAME, peer.port)
        assert side.end().denied == (Denied(FIRST_NAME, peer.port, "address"),)
        assert peer.came == []


class TestEnds:
    def test_a_reset_is_handed_on(self, here: Room) -> None:
        def reset(connection: socket.socket) -> None:
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        peer = Server(reset)
        side = here.sandbox(HostPort("a.example.com", peer.port))
        with side.connect("a.example.com", peer.port) as connection:
            connection.sendall(b"x")
            assert is_reset(connection)
        peer.close()

    def test_the_end_of_the_call_ends_connections(self, peer: Server, here: Room) -> None:
        side = here.sandbox(HostPort("a.example.com", peer.port))
        with side.connect("a.example.com", peer.port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            side.end()
            assert is_reset(connection)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((FIRST_NAME, peer.port))

    def test_what_was_sent_before_the_end_arrives(self, here: Room) -> None:
        peer = Server(lambda connection: connection.sendall(b"!"))
        side = here.sandbox(HostPort("a.example.com", peer.port))
        with side.connect("a.example.com", peer.port) as connection:
            assert connection.recv(1) == b"!"
            connection.sendall(b"x" * 100_000)
        side.end()
        assert peer.ended.acquire(timeout=20)
        assert peer.came == [b"x" * 100_000]
        peer.close()
