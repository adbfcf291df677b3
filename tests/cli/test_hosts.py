"""What the command line says and does of granted hosts: approval, a call, the same served, the record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from command import Shell
from egress_room import Server, echoing
from served import run_client, serving

CODE = """\
import socket

def call(text):
    with socket.create_connection(tuple(json.loads(text)), 20) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()

import json
"""


@pytest.fixture(scope="module")
def peer() -> Iterator[Server]:
    with echoing() as made:
        yield made


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, peer: Server) -> Shell:
    root = tmp_path_factory.mktemp("hosts")
    root.chmod(0o755)
    made = Shell(root)
    hosts = f'network = ["127.0.0.1:{peer.port}", "api.example.com:443"]'
    done = made.install("acme/net", code=CODE, toml=f"[permissions]\n{hosts}\n")
    assert "can send to these hosts whatever it may read" in done.err
    assert f"  - 127.0.0.1:{peer.port}" in done.err
    return made


def test_a_call_reaches_what_was_granted(shell: Shell, peer: Server) -> None:
    done = shell.ok("run", "acme/net", "--json", f'text=["127.0.0.1", {peer.port}]')
    result = json.loads(done.out)
    assert result["structuredContent"] == {"result": "hello"}
    assert result["_meta"]["mpp-exec/network"] == {"connections": 1, "denied": 0, "sent": 5, "received": 5}


def test_what_was_not_granted_is_told_with_the_line_to_type(shell: Shell, peer: Server) -> None:
    done = shell.run("run", "acme/net", f'text=["other.example.com", {peer.port}]')
    assert done.code == 1
    assert f"other.example.com:{peer.port} was refused to acme/net" in done.out + done.err
    assert "[permissions] network" in done.out + done.err


def test_the_record_says_what_it_reached(shell: Shell, peer: Server) -> None:
    shell.ok("run", "acme/net", f'text=["127.0.0.1", {peer.port}]')
    (entry,) = json.loads(shell.ok("audit", "list", "--json", "--limit", "1").out)
    shown = shell.ok("audit", "show", str(entry["sequence"])).out
    assert "ending.network.connections" in shown, shown
    told = json.loads(shell.ok("audit", "show", str(entry["sequence"]), "--json").out)
    (made,) = told["ending"]["network"]["connections"]
    assert (made["host"], made["port"], made["sent"], made["received"]) == ("127.0.0.1", peer.port, 5, 5)
    exported = shell.ok("audit", "export").out.splitlines()
    assert any('"network": {' in line or '"network":{' in line for line in exported)
    shell.ok("audit", "verify")


def test_explain_says_what_holds_it_to_them(shell: Shell, peer: Server) -> None:
    text = shell.ok("explain", "acme/net").out
    assert f"127.0.0.1:{peer.port}, over TCP, through the broker" in text
    assert "no other host, no listener" in text
    assert "hosts: broker: the name decides" in text
    (document,) = json.loads(shell.ok("explain", "acme/net", "--json").out)["tools"]
    assert document["network"] == [f"127.0.0.1:{peer.port}", "api.example.com:443"]


@pytest.mark.parametrize("host", ["docker", "no-user-namespaces"])
def test_without_namespaces_it_is_refused(shell: Shell, host: str) -> None:
    done = shell.on(host, "run", "acme/net", "text=[]")
    assert done.code == 5, done
    assert "host.network_without_namespaces" in done.err
    assert "--without network" in done.err


def test_through_a_resident_runtime(shell: Shell, peer: Server) -> None:
    """Its broker lives as long as it does; each call has a way out of its own."""
    with serving(shell):
        for _ in range(3):
            done = run_client(shell, "run", "acme/net", "--json", f'text=["127.0.0.1", {peer.port}]')
            assert json.loads(done.out)["structuredContent"] == {"result": "hello"}, done
        done = run_client(shell, "run", "acme/net", f'text=["127.0.0.1", {peer.port + 1}]')
        assert done.code == 1
        assert f"127.0.0.1:{peer.port + 1} was refused" in done.out + done.err


def test_withholding_hosts_leaves_a_tool_without_a_socket(shell: Shell, peer: Server) -> None:
    shell.ok("approve", "acme/net", "--without", "network", "--yes")
    done = shell.run("run", "acme/net", f'text=["127.0.0.1", {peer.port}]')
    assert done.code == 1
    assert "Function not implemented" in done.out + done.err
