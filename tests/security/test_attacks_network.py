"""Attacks of a tool that was granted hosts, on everything but those.

Where the sandbox itself is what refuses, a broker stands behind it that refuses nobody (``hosts.py``); where
the broker is, the whole of it does. Servers are on loopback, or in namespaces of the tests' own.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    ENETUNREACH,
    ENOSYS,
    EPERM,
)
from pathlib import Path
from typing import Any

import pytest

from egress_room import Server
from egress_world import PUBLIC, run_in_world
from hosts import NAMED, OpenDoor, granted, open_door
from mpp_exec.egress.broker import Broker, Sockets
from mpp_exec.egress.traffic import Denied
from mpp_exec.errors import HostError
from mpp_exec.sandbox import waiting
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import (
    CACHE,
    Lab,
    answer,
    bounded,
    descendants,
    run,
    without_cgroup,
    without_landlock,
    without_seccomp,
)
from weakened import weakened

API = "api.example.com:8443"
HOSTS = granted(API)

TRIES = """
import errno, socket

def connect(address, port, family=2):
    with socket.socket(family) as client:
        client.settimeout(20)
        client.connect((address, port))
        return client.recv(100).decode()

def datagram(address, port):
    with socket.socket(2, 2) as client:
        client.settimeout(20)
        client.connect((address, port))
        client.send(b"x")
        return client.recv(100).decode()

def opened(*arguments):
    socket.socket(*arguments).close()

def unix(path):
    with socket.socket(1) as client:
        client.connect(path.replace("@", chr(0)))

def listen(port):
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", port))
        server.listen()
        client.connect(("127.0.0.1", port))
        server.accept()

def bound(kind, address, port, reuse=0):
    with socket.socket(2, kind) as server:
        if reuse:
            server.setsockopt(1, reuse, 1)
        server.bind((address, port))

def fast_open(address, port):
    with socket.socket() as client:
        client.setblocking(False)
        client.sendto(b"x", 0x20000000, (address, port))

def option(family, level, name, value):
    with socket.socket(family) as client:
        client.setsockopt(level, name, bytes.fromhex(value))

def interface(request, word):
    import fcntl
    with socket.socket(2, 2) as client:
        fcntl.ioctl(client, request, b"lo".ljust(16, bytes(1)) + bytes.fromhex(word).ljust(24, bytes(1)))

def attempt(what, *arguments):
    try:
        return globals()[what](*arguments)
    except OSError as error:
        return error.errno

EARLY = []

def run(tries):
    return [attempt(*each) for each in tries] + EARLY
"""


@pytest.fixture
def door() -> Iterator[OpenDoor]:
    with open_door() as made:
        yield made


def attack(
    compiled: SandboxPlan,
    door: OpenDoor,
    *tries: tuple[Any, ...],
    parked: Parked | None = None,
    weak: bool = False,
) -> Any:
    """Return what came of each: an errno, or what was read. A *weak* init is none of a copy."""
    request = json.dumps({"arguments": {"tries": tries}}).encode()
    ready = {"parked": parked} if parked is not None or weak else {}
    return answer(run(compiled, request, serve=door.serve, **ready))["value"]


class Whole:
    """Sandboxes with the real broker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.denied: list[Denied] = []
        self._outlets: list[Any] = []
        self._destinations: Any = ()

    def __call__(self, compiled: SandboxPlan, *tries: tuple[Any, ...]) -> Any:
        def serve(streams: tuple[int, ...], names: int) -> None:
            self._outlets.append(self.broker.open("lab", compiled.network, Sockets(streams, names)))

        request = json.dumps({"arguments": {"tries": tries}}).encode()
        try:
            return answer(run(compiled, request, serve=serve))["value"]
        finally:
            self.denied = [each for outlet in self._outlets for each in outlet.end().denied]
            self._outlets = []


@pytest.fixture
def whole() -> Iterator[Whole]:
    made = Whole()
    yield made
    made.broker.close()


def test_another_port_of_a_granted_host(lab: Lab, door: OpenDoor) -> None:
    """Nothing listens there; Landlock does not even let it be asked."""
    compiled = lab.python(TRIES, network=HOSTS)
    tried = ("connect", NAMED, 8444)
    (seen,) = attack(compiled, door, tried)
    assert seen == (EACCES if compiled.landlock and compiled.landlock[1] else ECONNREFUSED)
    assert attack(without_landlock(compiled), door, tried) == [ECONNREFUSED]
    more = replace(compiled, streams=(*compiled.streams, (2, 8444)))
    assert json.loads(attack(more, door, tried)[0]) == [NAMED, 8444], "the attack is real"


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("192.0.2.7", 2),  # another host
        ("93.184.216.34", 2),  # what the granted name leads to, and is not granted itself
        ("169.254.169.254", 2),  # the metadata service of a cloud
        ("10.0.0.1", 2),
        ("255.255.255.255", 2),
        ("2001:db8::7", 10),
    ],
    ids=["other", "of the name", "metadata", "private", "broadcast", "IPv6"],
)
def test_an_address_that_was_not_granted(lab: Lab, door: OpenDoor, address: str, family: int) -> None:
    """By a port that was: the namespace has no way there. Granted as such, it would be the sandbox's own."""
    compiled = lab.python(TRIES, network=granted(API, "[2001:db8::1]:8443"))
    (seen,) = attack(compiled, door, ("connect", address, 8443, family))
    assert seen in (ENETUNREACH, EADDRNOTAVAIL, EACCES)
    assert not door.met
    if address != "255.255.255.255":
        mine = replace(compiled, addresses=(*compiled.addresses, address))
        (seen,) = attack(mine, door, ("connect", address, 8443, family))
        assert json.loads(seen)[0] == address, "the attack is real"


def test_a_service_of_the_host_over_loopback(lab: Lab, whole: Whole, peer: Server) -> None:
    """Its loopback is another one, where the broker listens, and knows what that address means."""
    compiled = lab.python(TRIES, network=granted(f"api.example.com:{peer.port}"))
    assert whole(compiled, ("connect", "127.0.0.1", peer.port)) == [ECONNRESET]
    assert not peer.came
    assert [(each.port, each.why) for each in whole.denied] == [(peer.port, "address")]
    compiled = lab.python(TRIES.replace("recv(100)", "recv(0)"), network=granted(f"127.0.0.1:{peer.port}"))
    assert whole(compiled, ("connect", "127.0.0.1", peer.port)) == [""], "the attack is real: it is granted"
    assert peer.ended.acquire(timeout=50)


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.5", "127.64.0.1", "8.8.8.8"])
def test_datagrams(lab: Lab, door: OpenDoor, address: str) -> None:
    """Names are all that is answered over UDP, at one address."""
    compiled = lab.python(TRIES, network=granted(API, "10.0.0.5:8443"))
    tries = [("datagram", address, port) for port in (53, 443, 8443)]
    refused = ECONNREFUSED if address in ("10.0.0.5", "127.64.0.1") else ENETUNREACH
    assert attack(compiled, door, *tries) == [refused] * 3
    assert not door.asked
    alone = without_landlock(without_seccomp(compiled))
    assert attack(alone, door, *tries) == [refused] * 3, "the namespace alone"


@pytest.mark.parametrize(
    ("arguments", "without"),
    [
        ((2, 3, 1), EPERM),  # raw ICMP
        ((2, 3, 255), EPERM),
        ((10, 3, 58), EPERM),
        ((17, 3, 768), EPERM),  # packets
        ((16, 3, 0), None),  # routes: it can look, and lacks the right to change
        ((16, 3, 4), None),  # sock_diag
        ((1, 1, 0), None),
        ((1, 2, 0), None),
        ((2, 2, 1), EACCES),  # ping
        ((2, 1, 262), None),  # multipath
        ((40, 1, 0), None),  # the virtual machine's host
        ((38, 5, 0), None),  # kernel crypto
    ],
    ids=[
        *("icmp", "raw", "raw6", "packet", "route", "diag", "unix", "unix datagram", "ping", "multipath"),
        *("virtual machine", "crypto"),
    ],
)
def test_sockets_of_another_kind(
    lab: Lab, door: OpenDoor, arguments: tuple[int, ...], without: int | None
) -> None:
    compiled = lab.python(TRIES, network=HOSTS)
    assert attack(compiled, door, ("opened", *arguments)) == [ENOSYS]
    (seen,) = attack(without_seccomp(compiled, "socket"), door, ("opened", *arguments))
    assert seen != ENOSYS, "the kernel looks at it"
    if without is not None:
        assert seen == without


def test_a_unix_socket_of_the_host(lab: Lab, door: OpenDoor, ground: Path) -> None:
    compiled = lab.python(TRIES, network=HOSTS, write=[ground])
    name = f"mpp-net-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(str(ground / "service"))
        server.listen()
        abstract.bind(f"\0{name}")
        abstract.listen()
        tries = (("unix", str(ground / "service")), ("unix", f"@{name}"))
        assert attack(compiled, door, *tries) == [ENOSYS, ENOSYS]
        by_path, by_name = attack(without_landlock(without_seccomp(compiled, "socket")), door, *tries)
        assert by_path is None, "the attack is real"
        assert by_name == ECONNREFUSED, "another: the network namespace"


def test_a_connection_that_connect_does_not_make(lab: Lab, door: OpenDoor) -> None:
    """TCP Fast Open connects with the first data: Landlock asked about ports was passed by, once."""
    compiled = lab.python(TRIES, network=HOSTS)
    tries = (("fast_open", NAMED, 8443), ("option", 2, 6, 30, "01000000"))
    assert attack(compiled, door, *tries) == [ENOSYS, ENOSYS]
    opened = without_seccomp(compiled, "sendto", "setsockopt")
    seen, option = attack(opened, door, *tries)
    assert seen in (None, EINPROGRESS), "the attack is real"
    assert option is None


def test_a_listener_of_its_own(lab: Lab, door: OpenDoor) -> None:
    compiled = lab.python(TRIES, network=HOSTS)
    (seen,) = attack(compiled, door, ("listen", 9000))
    assert seen in (EACCES, ENOSYS)
    assert attack(without_landlock(compiled), door, ("listen", 9000)) == [ENOSYS], "seccomp alone"
    rules = without_seccomp(compiled, "listen", "accept4", "accept")
    if compiled.landlock and compiled.landlock[1]:
        assert attack(rules, door, ("listen", 9000)) == [EACCES], "Landlock alone"
    assert attack(without_landlock(rules), door, ("listen", 9000)) == [None], "the attack is real"


@pytest.mark.parametrize("reuse", [0, 2, 15], ids=["plainly", "SO_REUSEADDR", "SO_REUSEPORT"])
def test_taking_the_place_of_the_broker(lab: Lab, door: OpenDoor, reuse: int) -> None:
    """Where it listens, and where it is asked for names: bound before there is a tool, or not to be bound."""
    compiled = lab.python(TRIES, network=HOSTS)
    open_ = without_landlock(without_seccomp(compiled, "setsockopt"))
    for address in ("0.0.0.0", "127.64.0.1", "127.0.0.1"):
        assert attack(open_, door, ("bound", 1, address, 8443, reuse)) == [EADDRINUSE]
    assert attack(open_, door, ("bound", 2, "127.0.0.53", 53, reuse)) == [EACCES]
    assert attack(open_, door, ("bound", 1, "127.0.0.1", 8444, reuse)) == [None], "another port it can"


@pytest.mark.parametrize(
    "option",
    [
        (2, 1, 26, "00" * 16),  # a BPF program
        (2, 1, 25, "6c6f00"),  # another device
        (2, 1, 36, "01000000"),  # a mark
        (2, 6, 31, "746c7300"),  # another protocol on top
        (2, 6, 19, "01000000"),  # a connection made up
        (10, 41, 1, "02000000"),  # an IPv6 socket that becomes one of IPv4
        (2, 0, 35, "00" * 4),
        (2, 0, 4, "00" * 4),  # a way of its own through the network
    ],
    ids=["filter", "device", "mark", "protocol", "repair", "family", "policy", "route"],
)
def test_an_option_that_changes_what_a_socket_is(
    lab: Lab, door: OpenDoor, option: tuple[int, int, int, str]
) -> None:
    compiled = lab.python(TRIES, network=HOSTS)
    tried = ("option", *option)
    assert attack(compiled, door, tried) == [ENOSYS]
    (seen,) = attack(without_seccomp(compiled, "setsockopt"), door, tried)
    assert seen != ENOSYS, "the kernel looks at it"


@pytest.mark.parametrize(
    ("request_", "word"),
    [(0x8914, "4100"), (0x8916, "0200000a00000a00")],
    ids=["flags", "address"],
)
def test_an_interface_that_is_changed(lab: Lab, door: OpenDoor, request_: int, word: str) -> None:
    compiled = lab.python(TRIES, network=HOSTS)
    assert attack(compiled, door, ("interface", request_, word)) == [ENOSYS]
    opened = without_seccomp(compiled, "ioctl")
    assert attack(opened, door, ("interface", request_, word)) == [EPERM], "another: no capability"


def test_what_init_needed_for_the_network_is_gone(lab: Lab) -> None:
    """CAP_NET_ADMIN made loopback: neither init nor the tool has it when the tool begins."""
    seen: list[dict[str, str]] = []

    def status(pid: object) -> dict[str, str]:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def look(connection: socket.socket) -> None:
        here = len(status("self")["NSpid"].split())
        found = [status(pid) for pid in descendants(os.getpid())]
        seen.extend(each for each in found if len(each["NSpid"].split()) > here)
        connection.sendall(b"done")

    with open_door(look) as door:
        assert attack(lab.python(TRIES, network=HOSTS), door, ("connect", NAMED, 8443)) == ["done"]
    assert len(seen) >= 2, "init and the tool"
    for fields in seen:
        caps = {name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert caps == dict.fromkeys(caps, 0)


FULL = """
import errno, fcntl, select, socket, struct

def run(port, fills):
    held, size = [], 0
    for _ in range(12):
        client = socket.create_connection(("127.0.0.1", port), 20)
        client.setsockopt(1, 7, 1 << 22)
        client.setsockopt(1, 8, 1 << 22)
        held.append(client)
        client.settimeout(20)
        got = 0
        while not fills and got < 1 << 24:
            got += len(client.recv(1 << 20))
        client.setblocking(False)
        while fills and select.select([], [client], [], 0.2)[1]:
            try:
                size += client.send(bytes(1 << 20))
            except BlockingIOError:
                pass
    for client in held:
        size += struct.unpack("i", fcntl.ioctl(client, 0x541B, bytes(4)))[0]
    return size >> 20
"""


class TestConnectionsThatAreFull:
    """What they hold is the kernel's memory: no rlimit counts it, and no look at processes."""

    def held(self, compiled: SandboxPlan, port: int, *, fills: bool) -> int:
        def hold(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while not (over.wait(100) if fills else over.is_set()):
                    connection.sendall(bytes(1 << 20))

        def greet(connection: socket.socket) -> None:
            threading.Thread(target=hold, args=(connection.dup(),)).start()

        over = threading.Event()
        with open_door(greet) as door:
            request = json.dumps({"arguments": {"port": port, "fills": fills}}).encode()
            try:
                size: int = answer(run(compiled, request, serve=door.serve, parked=None))["value"]
            finally:
                over.set()
        return size

    @pytest.mark.parametrize("fills", [True, False], ids=["sent", "received"])
    def test_attack_with_full_connections(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fills: bool
    ) -> None:
        limits = bounded(wall_ms=100_000, cpu_ms=100_000)
        compiled = without_cgroup(lab.python(FULL, network=granted("127.0.0.1:8443"), limits=limits))
        bound = 12  # MiB; what is had without the bounds is as the kernel tunes it, always more than that
        assert self.held(compiled, 8443, fills=fills) < bound
        weak = weakened(tmp_path, "network.c", ("error = bound_buffers();", ""))
        monkeypatch.setattr(waiting, "init_program", lambda: weak)
        larger = without_seccomp(compiled, "setsockopt")
        assert self.held(larger, 8443, fills=fills) > bound, "the attack is real"

    def test_where_they_cannot_be_bounded_a_cgroup_has_to_count(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: OpenDoor
    ) -> None:
        """As in a container, with a /proc/sys that is read-only."""
        weak = weakened(tmp_path, "network.c", ("/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/absent"))
        monkeypatch.setattr(waiting, "init_program", lambda: weak)
        compiled = lab.python(TRIES, network=HOSTS)
        with pytest.raises(HostError) as refused:
            attack(without_cgroup(compiled), door, weak=True)
        assert refused.value.code == "host.spawn_network"
        assert "cgroup" in refused.value.hint
        if compiled.cgroup:
            assert attack(compiled, door, weak=True) == []


def test_connecting_before_the_release(
    lab: Lab, door: OpenDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is imported, by the C library, of which nobody is told: nothing listens yet."""
    early = TRIES + (
        "import ctypes, struct\n"
        "LIBC = ctypes.CDLL(None, use_errno=True)\n"
        "CLIENT = LIBC.socket(2, 1, 0)\n"
        "WHERE = struct.pack('=H2s4s8x', 2, (8443).to_bytes(2), bytes((127, 64, 0, 1)))\n"
        "EARLY.append(LIBC.connect(CLIENT, WHERE, 16) and ctypes.get_errno())\n"
    )
    compiled = lab.python(early, network=HOSTS)

    def call() -> Any:
        made = Parked(compiled, constants=(), cache=CACHE, early_start=True)
        with closing(made):
            while made.look(1000) == "preparing":
                continue
            assert made.state == "ready"
            return attack(compiled, door, parked=made)

    assert call() == [ECONNREFUSED]
    listening = ("if (error == 0) return socket;", "sys2(SYS_listen, socket, 9); return socket;")
    weak = weakened(tmp_path, "network.c", listening)
    monkeypatch.setattr(waiting, "init_program", lambda: weak)
    assert call() == [0], "the attack is real"


def test_the_listeners_of_another_sandbox(lab: Lab, door: OpenDoor) -> None:
    """Both were granted the same port, and one of them an address: each meets its own broker's sockets."""
    first = lab.python(TRIES, network=granted(API, "10.0.0.5:8443"))
    second = lab.python(TRIES, network=HOSTS)
    made = Parked(first, constants=(), cache=CACHE, early_start=True)
    with closing(made), open_door() as other:
        while made.look(1000) == "preparing":
            continue
        names, *streams = made.sockets()
        other.serve(tuple(streams), names)
        tries = (("connect", NAMED, 8443), ("connect", "10.0.0.5", 8443))
        named, address = attack(second, door, *tries)
        assert json.loads(named) == [NAMED, 8443]
        assert address == ENETUNREACH
        assert other.met == []
        assert attack(first, other, *tries) != [named, address], "the attack is real: there it is"


def test_a_name_that_was_not_granted_is_asked_of_nobody(lab: Lab, whole: Whole) -> None:
    code = TRIES + (
        "def name(text):\n"
        "    try: return socket.getaddrinfo(text, 443)[0][4][0]\n"
        "    except socket.gaierror as error: return error.errno\n"
    )
    names = ["secret.attacker.example", "example.com", "xapi.example.com", "api.example.com.attacker.example"]
    seen = whole(lab.python(code, network=HOSTS), *(("name", each) for each in [*names, "api.example.com"]))
    assert seen[:4] == [socket.EAI_NONAME] * 4
    assert seen[4].startswith("127.64.")
    assert [(each.host, each.why) for each in whole.denied] == [(each, "name") for each in names]


WORLD = """
import json, socket, sys, tempfile
from pathlib import Path
from egress_world import HOST, OWN, PEER, PORT, PUBLIC
from mpp_exec.permissions import HostPort, Permissions
from sandbox_lab import bounded
from stage import NAME, Stage

CODE = '''
import socket
def run(tries):
    told = []
    for host, port in tries:
        try:
            with socket.create_connection((host, port), 5) as client:
                got = b""
                while data := client.recv(4096):
                    got += data
                told.append(got.hex())  # an address would be redacted
        except OSError as error:
            told.append(type(error).__name__)
    return told
'''
TRIES = [
    ["api.example.com", PORT], ["API.Example.COM.", PORT], ["rebinding.example.com", PORT],
    ["rebinding.example.com", PORT], ["private.example.com", PORT], ["loopback.example.com", PORT],
    ["metadata.example.com", PORT], ["own.example.com", PORT], ["mapped.example.com", PORT],
    ["secret.attacker.example", PORT], [PUBLIC, PORT], [PEER, PORT], [HOST, PORT], [OWN, PORT],
]
folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
folder.chmod(0o755)
with Stage(folder) as stage:
    hosts = Permissions(network=(HostPort("*.example.com", PORT),))
    stage.python(CODE, permissions=hosts, limits=bounded(wall_ms=100_000))
    for number in range(2):
        result = stage.runtime.call(NAME, "run", {"tries": TRIES})
        print(repr((number, result.structured, result.denied, dict(result.meta["mpp-exec/network"]))))
import shutil
shutil.rmtree(folder)
"""


@pytest.fixture(scope="module")
def world() -> tuple[list[Any], Counter[str]]:
    """The whole of it on a host with an internet: the calls, and which names that was asked for."""
    if os.geteuid() != 0:
        pytest.skip("in a user namespace root's interpreter looks like anybody's, so that nothing runs there")
    lines, asked = run_in_world(WORLD)
    reached = [line[1]["result"][:2] for line in lines if isinstance(line, tuple)]
    assert reached == [[PUBLIC.encode().hex()] * 2] * 2, "what was granted is reached"
    return lines, asked


class TestNamesThatLie:
    """By a whole call: what the tool reads, what is told of it, and what the name server was asked."""

    def read(self, world: tuple[list[Any], Counter[str]]) -> list[list[str]]:
        return [line[1]["result"] for line in world[0]]

    def test_attack_an_answer_that_becomes_private(self, world: tuple[list[Any], Counter[str]]) -> None:
        """Each connection resolves, and vets, anew: what was public once is refused when it is not."""
        first, second = self.read(world)
        assert first[2:4] == [PUBLIC.encode().hex(), "ConnectionResetError"]
        assert second[2:4] == ["ConnectionResetError"] * 2

    @pytest.mark.parametrize(
        "index", [4, 5, 6, 7, 8], ids=["private", "loopback", "metadata", "own", "mapped"]
    )
    def test_attack_a_name_that_leads_inside(self, world: tuple[list[Any], Counter[str]], index: int) -> None:
        for line, told in zip(world[0], self.read(world), strict=True):
            assert told[index] == "ConnectionResetError"
            assert "it leads to a private address" in line[2]

    def test_attack_a_question_as_a_message(self, world: tuple[list[Any], Counter[str]]) -> None:
        assert [told[9] for told in self.read(world)] == ["gaierror"] * 2
        assert not [name for name in world[1] if "attacker" in name]

    @pytest.mark.parametrize("index", [10, 11, 12, 13], ids=["public", "private", "host", "own"])
    def test_attack_an_address_instead_of_a_name(
        self, world: tuple[list[Any], Counter[str]], index: int
    ) -> None:
        assert {told[index] for told in self.read(world)} == {"OSError"}
