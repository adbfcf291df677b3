"""A client that sends anything but what it should: answered or passed over, never a hang, never a leak."""

from __future__ import annotations

import json
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import forge
from command import DEADLINE, Shell
from mcp_peer import Peer, meta
from mpp_exec.mcp import catalog
from mpp_exec.mcp.catalog import MAX_NAME, joined
from mpp_exec.mcp.wire import MAX_MESSAGE
from mpp_exec.package.manifest import Tool
from stage import Stage


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("hostile"))
    made.root.chmod(0o755)
    made.ok("keygen", "acme")
    made.ok("build", str(made.tool()))
    made.ok("install", "acme-echo-1.0.0.mpp", "--approve")
    return made


@pytest.fixture
def peer(shell: Shell) -> Iterator[Peer]:
    with Peer(shell) as made:
        yield made


def test_host_without_descriptors_says_of_no_tool_that_it_is_not_there(shell: Shell) -> None:
    """Another connection of the same runtime may have taken them all."""
    with Peer(shell) as peer:
        peer.initialize()
        (tool,) = peer.ask("tools/list")["result"]["tools"]
        ordinary = resource.prlimit(peer.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(peer.process.pid, resource.RLIMIT_NOFILE, (3, ordinary[1]))
        listed = peer.ask("tools/list")
        called = peer.ask("tools/call", {"name": tool["name"], "arguments": {"text": "x"}})
        unknown = peer.ask("tools/call", {"name": "unknown", "arguments": {}})
        resource.prlimit(peer.process.pid, resource.RLIMIT_NOFILE, ordinary)
        assert listed["error"]["code"] == -32603
        assert called["error"]["code"] == -32603
        assert unknown["error"]["code"] in (-32602, -32603), "what is not in the list of before is not there"
        assert peer.ask("tools/list")["result"]["tools"] == [tool]
        again = peer.ask("tools/call", {"name": tool["name"], "arguments": {"text": "x"}})
        assert not again["result"].get("isError")


MALFORMED = {
    "no json": (b"nonsense\n", -32700, None),
    "half an object": (b'{"jsonrpc":"2.0","id":1,"method"\n', -32700, None),
    "not utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}\n', -32700, None),
    "utf-16": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16") + b"\n", -32700, None),
    "two marks of a byte order": (
        b'\xef\xbb\xbf\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        -32700,
        None,
    ),
    "half a surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}\n', -32700, None),
    "nan": (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}\n', -32700, None),
    "a key twice": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}\n', -32700, None),
    "a thousand lists": (b'{"id":1,"params":' + b"[" * 1000 + b"]" * 1000 + b"}\n", -32700, None),
    "unclosed lists": (b"[" * 100_000 + b"\n", -32700, None),
    "a list": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n', -32600, None),
    "a number": (b"7\n", -32600, None),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', -32600, 1),
    "no version": (b'{"id":1,"method":"ping"}\n', -32600, 1),
    "no method": (b'{"jsonrpc":"2.0","id":1}\n', -32600, 1),
    "a method that is none": (b'{"jsonrpc":"2.0","id":1,"method":7}\n', -32600, 1),
    "an id that is null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n', -32600, None),
    "an id that is true": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}\n', -32600, None),
    "an id that is a fraction": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}\n', -32600, None),
    "an id that is a list": (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}\n', -32600, None),
    "params that are a list": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}\n', -32602, 1),
    "params that are false": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":false}\n', -32602, 1),
    "meta that is a text": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":"x"}}\n', -32602, 1),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_answered_and_the_next_one_served(peer: Peer, name: str) -> None:
    line, code, request = MALFORMED[name]
    peer.raw(line)
    assert peer.answer(request)["error"]["code"] == code
    assert peer.ask("ping")["result"] == {}


def test_a_line_without_an_end_is_bounded_and_passed_over(peer: Peer) -> None:
    for _ in range(3 * MAX_MESSAGE >> 20):
        peer.raw(b"x" * (1 << 20))
    peer.raw(b"\n")
    assert peer.answer(None)["error"]["code"] == -32600
    assert peer.ask("ping")["result"] == {}
    status = Path(f"/proc/{peer.process.pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 100 << 10


def test_a_line_in_single_bytes_and_many_lines_at_once(peer: Peer) -> None:
    for byte in b'{"jsonrpc":"2.0","id":"slow","method":"ping"}\n\n  \n':
        peer.raw(bytes([byte]))
    assert peer.answer("slow")["result"] == {}
    peer.raw(b"".join(b'{"jsonrpc":"2.0","id":"%d","method":"ping"}\n' % number for number in range(200)))
    for number in range(200):
        assert peer.answer(str(number))["result"] == {}


CALLS: dict[str, dict[str, Any]] = {
    "no name": {},
    "a name that is none": {"name": 7},
    "arguments that are a list": {"name": "acme_echo_call", "arguments": []},
    "arguments that are false": {"name": "acme_echo_call", "arguments": False},
    "a path for a name": {"name": "../../acme/echo"},
    "another home's name": {"name": "acme/echo"},
    "an option for a name": {"name": "--home=/tmp"},
    "an empty name": {"name": ""},
    "a name in capitals": {"name": "ACME_ECHO_CALL"},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_no_tool_is_refused(peer: Peer, name: str) -> None:
    peer.initialize()
    assert peer.ask("tools/call", CALLS[name])["error"]["code"] == -32602


@pytest.mark.parametrize(
    "answer",
    [
        {"id": None, "error": {"code": -32700, "message": "Parse error"}},
        {"error": {"code": -32600, "message": "Invalid Request"}},
        {"id": [1], "result": {}},
        {"id": "unasked", "error": None},
        {"id": None, "result": None},
    ],
    ids=json.dumps,
)
def test_an_answer_is_never_answered(peer: Peer, answer: dict[str, Any]) -> None:
    """A client that says so of each message that it cannot place, ours included, would do so for ever."""
    peer.send(**answer)
    peer.initialize()
    peer.ask("tools/list")
    peer.send(**answer)
    assert peer.silent() == []


def test_an_id_as_long_as_a_message_is_refused(peer: Peer) -> None:
    peer.initialize()
    peer.raw(b'{"jsonrpc":"2.0","id":"%s","method":"ping"}\n' % (b"x" * (1 << 20)))
    assert peer.answer(None)["error"]["code"] == -32600


@pytest.mark.parametrize("cursor", ["", "x", "after:", "after", 7, "before:acme_echo_call"], ids=repr)
def test_a_cursor_that_was_not_given_out_is_refused(peer: Peer, cursor: Any) -> None:
    peer.initialize()
    assert peer.ask("tools/list", {"cursor": cursor})["error"]["code"] == -32602


def test_cancelling_what_is_not_there_does_nothing(peer: Peer) -> None:
    peer.initialize()
    names: list[Any] = [1, "x", None, [], {"a": 1}, True, 1.5]
    for name in names:
        peer.send(method="notifications/cancelled", params={"requestId": name})
    peer.send(method="notifications/cancelled")
    assert peer.ask("ping")["result"] == {}


def test_a_call_before_initialize_without_saying_who_is_refused(peer: Peer) -> None:
    assert peer.call("acme_echo_call", {"text": "x"})["error"]["code"] == -32602


def test_subscriptions_are_bounded(peer: Peer) -> None:
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta()}
    names = [peer.request("subscriptions/listen", params) for _ in range(40)]
    assert peer.answer(names[-1])["error"]["code"] == -32602
    assert peer.ask("ping")["result"] == {}


def test_random_bytes_and_mutated_messages_never_stop_the_server(shell: Shell) -> None:
    """10,000 lines; at the end the server still answers, and has said nothing but JSON-RPC."""
    source = random.Random(20261125)
    seeds = [
        json.dumps({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}).encode()
        for method in ("initialize", "tools/list", "ping", "server/discover", "subscriptions/listen")
        for params in ({}, {"_meta": meta()}, {"protocolVersion": "2025-11-25", "cursor": "after:x"})
    ]
    lines = []
    for _ in range(10_000):
        line = bytearray(source.choice(seeds))
        for _ in range(source.randrange(4)):
            at = source.randrange(len(line))
            line[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        lines.append(bytes(line).replace(b"\n", b" ") + b"\n")
    lines.append(b'{"jsonrpc":"2.0","id":"last","method":"ping"}\n')
    process = shell.start("mcp", stdin=subprocess.PIPE)
    out, err = process.communicate(b"".join(lines), timeout=DEADLINE)
    assert process.returncode == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert next(answer for answer in answers if answer.get("id") == "last")["result"] == {}
    assert b"Traceback" not in err


def test_names_of_different_packages_never_meet() -> None:
    assert joined("a/b-c", "d") != joined("a-b/c", "d")
    long = joined("p" * 63 + "/" + "q" * 63, "t" * 128)
    other = joined("p" * 63 + "/" + "q" * 63, "t" * 127 + "u")
    assert len(long) == len(other) == MAX_NAME
    assert long != other


def test_full_name_is_never_the_shortened_name_of_another_tool() -> None:
    """Else a publisher's tool would answer, under terms of its own, for one that is known by that name."""
    package = "acme/" + "q" * 40
    shortened = joined(package, "t" * 128)
    posing = shortened.removeprefix("acme_" + "q" * 40 + "_")
    assert len(shortened) == MAX_NAME
    assert joined(package, posing) != shortened
    assert joined(package, posing) != joined(package, "t" * 127)
    assert joined(package, "t" * len(posing)) == f"acme_{'q' * 40}_{'t' * len(posing)}", "others keep theirs"


def test_second_tool_of_one_name_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one would silently take the place of the earlier."""
    monkeypatch.setattr(catalog, "joined", lambda *_: "same")
    tmp_path.chmod(0o755)
    tools = tuple(
        Tool(name=name, description="", input_schema={"type": "object"}, entry="code:run")
        for name in ("first", "second")
    )
    with Stage(tmp_path) as stage:
        _, signed = stage.install(forge.package_of({"code.py": b"def run():\n    return 1\n"}, tools=tools))
        stage.approve(signed)
        seen = catalog.build(stage.runtime, [])
    assert seen.tools["same"].tool == "first"
    assert any("second" in line and "same name" in line for line in seen.left_out)
