"""What a sandbox does to its broker, and what that does to others."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from egress_room import FIRST_NAME, LOOPBACK, Room, Server, code_of, echo, is_refused, is_reset, query, room
from eventually import until
from hellos import hello, hello_for, records, server_name
from mpp_exec.egress import dialling, exchange, link, process, tenant
from mpp_exec.egress.granted import NAMES_MAX
from mpp_exec.egress.traffic import DENIED_MAX, Denied
from mpp_exec.permissions import HostPort

NAME = "api.example.com"
_FLOOD = 10_000 if os.environ.get("MPP_LONG") else 2_000
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def here() -> Iterator[Room]:
    with room() as made:
        yield made


class TestHello:
    """Nothing of a connection is handed on before its hello is known to be for the granted name."""

    @pytest.mark.parametrize(
        "data",
        [
            hello_for("other.example.com"),
            hello_for("attacker.example", 3),
            hello_for(LOOPBACK),
            records(hello((10, b"\0\2\0\x1d"))),
            records(hello(server_name(NAME.encode()), server_name(b"attacker.example"))),
            records(hello(server_name(NAME.encode(), b"attacker.example"))),
            records(hello(server_name(NAME.encode() + b"\0.attacker.example"))),
            records(hello((21, bytes(17_000)), server_name(NAME.encode()))),
            b"\x16\x03\x01\x00\x01\x02",
            b"\x15\x03\x01\x00\x02\x01\x5a" + hello_for("other.example.com"),
            b"\x16\x01" + hello_for("other.example.com")[2:],
            b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
        ],
        ids=[
            "other",
            "fragments",
            "address",
            "none",
            "twice",
            "two",
            "NUL",
            "long",
            "no hello",
            "alert",
            "version",
            "SSL 2",
        ],
    )
    def test_attack_by_hello(self, server: Server, here: Room, data: bytes) -> None:
        side = here.sandbox(HostPort(NAME, server.port))
        assert side.is_refused(NAME, server.port, data)
        traffic = side.end()
        assert Denied(NAME, server.port, "hello") in traffic.denied
        assert traffic.sent == 0
        assert {each.removesuffix(b"<reset>") for each in server.came} <= {b""}

    def test_attack_hello_that_does_not_end(
        self, server: Server, here: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link, "GREETING", 0.2)
        side = here.sandbox(HostPort(NAME, server.port))
        assert side.is_refused(NAME, server.port, hello_for(NAME)[:-1])
        assert side.is_refused(NAME, server.port, b"\x16")
        assert side.end().denied == (Denied(NAME, server.port, "hello"),)

    def test_attack_hello_that_is_cut_off(self, server: Server, here: Room) -> None:
        side = here.sandbox(HostPort(NAME, server.port))
        with side.connect(NAME, server.port) as connection:
            connection.sendall(hello_for(NAME)[:-1])
            connection.shutdown(socket.SHUT_WR)
            assert is_reset(connection)
        assert side.end().sent == 0

    @pytest.mark.parametrize("size", [1, 7, 16_384])
    def test_the_right_one_is_handed_on_as_it_came(self, server: Server, here: Room, size: int) -> None:
        data = hello_for(NAME.upper(), size) + b"and more"
        side = here.sandbox(HostPort(NAME, server.port))
        with side.connect(NAME, server.port) as connection:
            for at in range(0, len(data), 50):
                connection.sendall(data[at : at + 50])
            connection.shutdown(socket.SHUT_WR)
            assert server.ended.acquire(timeout=20)
        assert server.came == [data]
        assert not side.end().denied

    def test_a_server_may_speak_first(self, here: Room) -> None:
        server = Server(lambda connection: connection.sendall(b"220 ready"))
        side = here.sandbox(HostPort(NAME, server.port))
        with side.connect(NAME, server.port) as connection:
            assert connection.recv(20) == b"220 ready"
            connection.sendall(b"QUIT")
            connection.shutdown(socket.SHUT_WR)
            assert server.ended.acquire(timeout=20)
        assert server.came == [b"QUIT"]
        server.close()


class TestQuestions:
    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\0" * 11,
            b"\xff" * 600,
            query(b"\xc0\x0c"),
            query(b"\x03api\0\x07example\x03com\0"),
            query(b"\x0fapi.example.com\0"),
            query(b"\x3f" * 300),
            query(NAME, flags=0x8000),
            query(NAME) * 50,
        ],
    )
    def test_attack_message(self, here: Room, message: bytes) -> None:
        side = here.sandbox(HostPort(NAME, 4_433))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.sendto(message, side.names)
            assert side.look_up(NAME) == FIRST_NAME  # while the other one has its port
        assert not side.end().lost

    @pytest.mark.parametrize("kind", [2, 5, 6, 12, 15, 16, 28, 33, 64, 65, 255])
    def test_other_kinds_have_no_answer(self, here: Room, kind: int) -> None:
        side = here.sandbox(HostPort(NAME, 4_433))
        answer = side.ask(query(NAME, kind))
        assert (code_of(answer), answer[6:8]) == (0, b"\0\0")
        assert code_of(side.ask(query("attacker.example", kind))) == 3

    def test_attack_other_class(self, here: Room) -> None:
        side = here.sandbox(HostPort(NAME, 4_433))
        assert code_of(side.ask(query(NAME, space=3))) == 5

    def test_attack_names_without_end(self, here: Room) -> None:
        side = here.sandbox(HostPort("*.example.com", 4_433))
        for i in range(NAMES_MAX):
            side.look_up(f"n{i}.example.com")
        assert code_of(side.ask(query("more.example.com"))) == 2
        for i in range(DENIED_MAX + 10):
            side.look_up(f"n{i}.attacker.example")
        traffic = side.end()
        assert len(traffic.denied) == DENIED_MAX
        assert traffic.more_denied == 11
        assert here.asked == []


class TestFloods:
    def test_attack_more_connections_than_one_may_have(self, here: Room) -> None:
        server = Server(echo)
        side = here.sandbox(HostPort(NAME, server.port))
        address = side.look_up(NAME)
        with ExitStack() as held:
            for _ in range(tenant.LINKS_MAX):
                connection = held.enter_context(socket.create_connection((address, server.port)))
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
            assert is_refused(address, server.port)
            connection.sendall(b"y")
            assert connection.recv(1) == b"y"
        assert until(lambda: here.exchange.links == 0)
        with socket.create_connection((address, server.port)) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        assert Denied(NAME, server.port, "limit") in side.end().denied
        server.close()

    def test_attack_more_connections_than_all_may_have(self) -> None:
        server = Server(echo)
        with room(links_max=4) as here:
            one = here.sandbox(HostPort(NAME, server.port))
            two = here.sandbox(HostPort(NAME, server.port), invocation="two", at=("127.64.1.1",))
            address = one.look_up(NAME)
            with ExitStack() as held:
                for _ in range(2):
                    connection = held.enter_context(socket.create_connection((address, server.port)))
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
                assert is_refused(address, server.port)
            assert Denied(NAME, server.port, "limit") in one.end().denied
            assert two.end().denied == ()
        server.close()

    def test_attack_connections_of_many_calls_of_one_package(self) -> None:
        """Together they leave as many for others as they have."""
        server = Server(echo)
        with room(links_max=4) as here, ExitStack() as held:
            told = 0
            for number in range(3):
                whose, at = "other" if number == 2 else "greedy", f"127.64.{number}.1"
                side = here.sandbox(
                    HostPort(NAME, server.port), invocation=f"{number}", at=(at,), whose=whose
                )
                here.exchange._tenants[f"{number}"].granted._next += 256 * number  # where its listener is
                address = side.look_up(NAME)
                assert address == at
                for _ in range(1 if number == 2 else 2):
                    try:
                        connection = held.enter_context(socket.create_connection((address, server.port), 20))
                        connection.sendall(b"x")
                        told += len(connection.recv(1))
                    except ConnectionError:
                        assert number == 1
            assert told == 3
            assert here.exchange.links == 3
        server.close()

    def test_attack_thousands_of_connections(self, here: Room) -> None:
        """Reset at once, in turn with what another sandbox does; afterwards nothing of them is left."""
        server = Server(echo)
        unknown = "127.64.2.1"
        side = here.sandbox(HostPort(NAME, server.port), at=(FIRST_NAME, unknown))
        other = here.sandbox(HostPort(NAME, server.port), invocation="two", at=("127.64.1.1",))
        address = side.look_up(NAME)
        before = len(list(Path("/proc/self/fd").iterdir()))

        def flood() -> None:
            for i in range(_FLOOD // 4):
                to = address if i % 20 == 0 else unknown
                with suppress(OSError), socket.create_connection((to, server.port)) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        floods = [threading.Thread(target=flood) for _ in range(4)]
        for each in floods:
            each.start()
        asked = 0
        while any(each.is_alive() for each in floods):
            assert other.look_up(NAME) == FIRST_NAME
            asked += 1
        assert asked > 0
        assert until(lambda: here.exchange.links == 0)
        assert until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
        assert not side.end().lost
        server.close()

    def test_attack_one_sandbox_with_everything_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In one turn of the loop, one with a hundred ready sockets has its share of events, and no more."""
        turns = Counter[str]()
        handle, dial_all = tenant.Tenant._handle, link.Link._dial_all

        def counted(self: tenant.Tenant, fd: int, events: int) -> None:
            turns[self._whose] += 1
            handle(self, fd, events)

        monkeypatch.setattr(link.Link, "_dial_all", lambda self, _: dial_all(self, [LOOPBACK]))
        loop = exchange.Exchange()
        with ExitStack() as held:
            held.callback(loop.close)
            server = held.enter_context(socket.create_server((LOOPBACK, 0), backlog=128))
            port = server.getsockname()[1]
            stream = socket.create_server(("127.0.0.7", port), backlog=128)
            loop.open("one", (HostPort("127.0.0.7", port),), [stream], None)
            names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            names.bind((LOOPBACK, 0))
            where = names.getsockname()
            loop.open("two", (HostPort(NAME, 1),), [], names)
            many = [held.enter_context(socket.create_connection(("127.0.0.7", port))) for _ in range(100)]
            links = loop._tenants["one"]._links
            while len(links) < 100 or any(each._outer is None for each in links):
                loop.turn()
            for each in many:
                each.sendall(b"x")
            asking = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            asking.sendto(query(NAME), where)
            monkeypatch.setattr(tenant.Tenant, "_handle", counted)
            loop.turn()
            assert turns == {"one": tenant.EVENTS, "two": 1}

    @pytest.mark.parametrize("way", ["up", "down"])
    def test_attack_side_that_does_not_read(self, here: Room, way: str) -> None:
        """What it does not take waits where it came from: the broker keeps one piece, and loses none."""
        taken: list[socket.socket] = []
        done = threading.Event()

        def keep(connection: socket.socket) -> None:
            taken.append(connection)
            done.wait(60)

        server = Server(keep)
        side = here.sandbox(HostPort(NAME, server.port))
        with side.connect(NAME, server.port) as inner:
            assert until(lambda: taken)
            source, target = (inner, taken[0]) if way == "up" else (taken[0], inner)
            numbers = b"".join(i.to_bytes(4, "big") for i in range(1 << 16))
            sent = 0
            source.settimeout(0.5)
            with suppress(TimeoutError):
                while True:
                    at = sent % len(numbers)
                    sent += source.send(numbers[at : at + 65_536])
            (one,) = here.exchange._tenants["one"]._links
            assert 0 < len((one._up if way == "up" else one._down).waiting) <= link.CHUNK
            got = 0
            target.settimeout(20)
            while got < sent:
                at = got % len(numbers)
                data = target.recv(min(len(numbers) - at, 65_536))
                assert data == numbers[at : at + len(data)]
                got += len(data)
            done.set()
        server.close()

    def test_attack_moments_without_end(self) -> None:
        """What was to happen, and need not, is let go of: of each connection there are some."""
        loop = exchange.Exchange()
        for _ in range(20_000):
            loop.after(60, lambda: None).cancel()
        assert len(loop._later) <= exchange._LATER + 1
        loop.close()

    def test_attack_name_with_thousands_of_addresses(self) -> None:
        """Some are looked at, a few are tried."""
        looked: list[str] = []
        many = [f"10.{i >> 8}.{i & 255}.1" for i in range(4_000)]

        def look(address: str) -> bool:
            looked.append(address)
            return False

        with room(lambda _: many, look) as here:
            side = here.sandbox(HostPort(NAME, 4_433))
            assert side.is_refused(NAME, 4_433)
            assert looked == many[: link.VETTED_MAX]
            assert side.end().denied == (Denied(NAME, 4_433, "address"),)

    def test_attack_silent_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection has so many descriptors, and no more."""
        begun: list[str] = []

        def silent(address: str, _: int) -> socket.socket:
            begun.append(address)
            return held.enter_context(socket.create_server((LOOPBACK, 0)))  # never writable

        monkeypatch.setattr(dialling, "_begun", silent)
        monkeypatch.setattr(dialling, "NEXT", 0.001)
        monkeypatch.setattr(dialling, "ALL", 0.5)
        many = [f"93.184.216.{i}" for i in range(20)]
        with ExitStack() as held, room(lambda _: many) as here:
            side = here.sandbox(HostPort(NAME, 4_433))
            assert side.is_refused(NAME, 4_433)
            assert begun == many[: dialling.ADDRESSES_MAX]
            assert side.end().denied == (Denied(NAME, 4_433, "connect"),)

    @pytest.mark.parametrize("descriptors", [0, 64, 256, 1_024, 4_096, 16_384])
    def test_descriptors_suffice_for_what_there_may_be(self, descriptors: int) -> None:
        links, rest = process.shares(descriptors)
        assert links * link.DESCRIPTORS + rest + 64 <= max(descriptors, 64)
        assert descriptors < 1_024 or (links >= 64 and rest >= 400)

    def test_attack_names_that_never_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They take what one sandbox may have of the resolver, and the other one has its own."""
        stop = threading.Event()
        monkeypatch.setattr(link, "RESOLVING", 1)

        def leads(name: str) -> list[str]:
            if name.startswith("slow"):
                stop.wait(60)
            return [LOOPBACK]

        server = Server(echo)
        with room(leads) as here:
            one = here.sandbox(HostPort("*.example.com", server.port))
            two = here.sandbox(HostPort(NAME, server.port), invocation="two", at=("127.64.1.1",))
            try:
                with ExitStack() as held:
                    address = one.look_up("slow.example.com")
                    for _ in range(100):
                        held.enter_context(socket.create_connection((address, server.port)))
                    assert until(lambda: len(here.asked) == 4)
                    here.exchange._tenants["two"].granted._next += 256  # where its listener is
                    with two.connect(NAME, server.port) as connection:
                        connection.sendall(b"x")
                        assert connection.recv(1) == b"x"
                    assert len(here.asked) == 5
                assert until(lambda: here.exchange.links == 0)
                assert not here.exchange.resolver._queues["one"].jobs
            finally:
                stop.set()
        server.close()

    def test_attack_names_that_never_resolve_in_calls_that_are_over(self) -> None:
        """A question that was asked is waited for, also when its call is over: by its package alone."""
        stop = threading.Event()

        def leads(name: str) -> list[str]:
            if name.startswith("slow"):
                stop.wait(60)
            return [LOOPBACK]

        server = Server(echo)
        with room(leads) as here:
            try:
                for number in range(4):
                    at = f"127.64.{number}.1"
                    side = here.sandbox(
                        HostPort("*.example.com", server.port), invocation=f"{number}", at=(at,), whose="slow"
                    )
                    here.exchange._tenants[f"{number}"].granted._next += 256 * number  # where its listener is
                    with ExitStack() as held:
                        address = side.look_up("slow.example.com")
                        for _ in range(4):
                            held.enter_context(socket.create_connection((address, server.port)))
                        assert until(lambda: len(here.exchange._tenants[f"{number}"]._links) == 4)  # noqa: B023
                        side.end()
                assert here.asked == ["slow.example.com"] * 4
                two = here.sandbox(HostPort(NAME, server.port), invocation="two", at=("127.64.8.1",))
                here.exchange._tenants["two"].granted._next += 256 * 8
                with two.connect(NAME, server.port) as connection:
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
            finally:
                stop.set()
        server.close()


class TestRecord:
    @pytest.mark.parametrize("how", ["by the end", "by a reset"])
    def test_attack_connection_that_is_given_up_before_it_is_made(self, how: str) -> None:
        """A name server may have heard of its name: so it is told."""
        asked, answer = threading.Event(), threading.Event()

        def leads(_: str) -> list[str]:
            asked.set()
            answer.wait(60)
            return [LOOPBACK]

        with room(leads) as here:
            side = here.sandbox(HostPort("*.example.com", 4_433))
            try:
                with side.connect("words.example.com", 4_433) as connection:
                    assert asked.wait(20)
                    if how == "by a reset":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        connection.close()
                        assert until(lambda: here.exchange.links == 0)
                    assert side.end().denied == (Denied("words.example.com", 4_433, "resolve"),)
            finally:
                answer.set()


class TestOthers:
    def test_attack_connection_of_another_sandbox(self, here: Room) -> None:
        """A name stands for something in the sandbox that asked, and in no other."""
        server = Server(echo)
        one = here.sandbox(HostPort("secret.example.com", server.port))
        two = here.sandbox(HostPort(NAME, server.port), invocation="two", at=("127.64.1.1",))
        assert one.look_up("secret.example.com") == FIRST_NAME
        assert code_of(two.ask(query("secret.example.com"))) == 3
        assert is_refused("127.64.1.1", server.port)
        assert one.end().connections == ()
        assert Denied("127.64.1.1", server.port, "address") in two.end().denied
        server.close()

    def test_a_fault_in_one_is_lost_and_harms_no_other(
        self, here: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Server(echo)
        one = here.sandbox(HostPort(NAME, server.port))
        two = here.sandbox(HostPort("b.example.com", 4_433), invocation="two", at=("127.64.1.1",))
        address = one.look_up(NAME)
        with socket.create_connection((address, server.port)) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"

            def fault(*_: object) -> None:
                raise RecursionError

            with monkeypatch.context() as patch:
                patch.setattr(link.Link, "_inner_is", fault)
                patch.setattr(link.Link, "_read_up", fault)
                connection.sendall(b"x")
                assert is_reset(connection)
        assert two.look_up("b.example.com") == FIRST_NAME
        assert one.end().lost
        assert not two.end().lost
        server.close()


def test_half_open_connections_are_let_go(here: Room) -> None:
    """Both ends of one way are told, and the other way goes on for as long as it likes."""
    answered = threading.Event()

    def late(connection: socket.socket) -> None:
        while connection.recv(100):
            pass
        answered.wait(20)
        connection.sendall(b"late")

    server = Server(late)
    side = here.sandbox(HostPort(NAME, server.port))
    with side.connect(NAME, server.port) as connection:
        connection.sendall(b"x")
        connection.shutdown(socket.SHUT_WR)
        before = os.times()
        answered.set()
        assert connection.recv(10) == b"late"
        assert connection.recv(10) == b""
        assert os.times().user - before.user < 10
    assert until(lambda: here.exchange.links == 0)
    (made,) = side.end().connections
    assert (made.sent, made.received) == (1, 4)
    server.close()
