"""Attacks on connections of ``mcp`` that share a resident runtime: on one another, and from outside."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from eventually import until
from mcp_peer import Peer, meta
from mpp_exec.calls.admission import default_bound
from mpp_exec.consent.confirm import MOST_OF_PACKAGE
from mpp_exec.lifecycle.session import Session
from mpp_exec.mcp.calling import MAX_RUNNING
from mpp_exec.serving.service import MAX_CONNECTIONS
from served import Runtime, frame, go, hello, read_frame, require_client, run_client, serving

ADDRESS = "jane.doe@example.com"
FIND = f"def call():\n    return {ADDRESS!r}\n"
SEES = f"def call(to):\n    return to == {ADDRESS!r}\n"
ENV = "import os\n\ndef call():\n    return os.environ.get('SECRET_OF_ONE', 'nothing')\n"
WAITS = "import time\n\ndef call(seconds=0):\n    time.sleep(seconds)\n    return 'done'\n"
FEW = 800  # descriptors
NONE = '{ type = "object" }'
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
YES = {"confirm": {"action": "accept", "content": {"confirm": True}}}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    require_client()
    made = Shell(tmp_path_factory.mktemp("serve"))
    made.root.chmod(0o755)
    made.install("acme/find", "--privacy", "email=token", code=FIND, schema=NONE)
    made.install("acme/sees", code=SEES, schema=NONE, toml='[privacy]\nreceive = ["email"]\n')
    made.install("acme/env", code=ENV, schema=NONE, toml='[permissions]\nenvironment = ["SECRET_OF_ONE"]\n')
    made.install("acme/waits", code=WAITS, schema=NONE)
    made.install("acme/asks", code=WAITS, schema=NONE, extra='confirm = "always"\n')
    return made


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


@pytest.fixture
def peers(runtime: Runtime) -> Iterator[tuple[Peer, Peer]]:
    with Peer(runtime.shell, native=True) as one, Peer(runtime.shell, native=True) as other:
        for peer in (one, other):
            peer.initialize()
        assert runtime.status()["connections"] == 2
        yield one, other


@pytest.fixture
def peer(runtime: Runtime) -> Iterator[Peer]:
    with Peer(runtime.shell, native=True) as made:
        made.initialize()
        yield made


def starts(shell: Shell) -> int:
    """Return how many calls of the last minutes are on record."""
    with Session(shell.home) as session:
        return sum(1 for _ in session.ledger.list(kinds=["start"], limit=10_000))


def said(answer: dict[str, Any]) -> Any:
    return answer["result"]["structuredContent"]["result"]


def test_a_token_of_one_connection_is_text_in_another(peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    token = said(one.call("acme_find_call"))
    assert re.fullmatch(r"\[EMAIL:[a-z0-9]{30}\]", token.lower().replace("email", "EMAIL"))
    assert said(one.call("acme_sees_call", {"to": token})) is True
    assert said(other.call("acme_sees_call", {"to": token})) is False
    assert said(other.call("acme_find_call")) != token, "nothing of it says that they are the same"


def test_a_token_is_forgotten_with_its_connection(runtime: Runtime) -> None:
    with Peer(runtime.shell, native=True) as peer:
        peer.initialize()
        token = said(peer.call("acme_find_call"))
    with Peer(runtime.shell, native=True) as peer:
        peer.initialize()
        assert said(peer.call("acme_sees_call", {"to": token})) is False
        assert runtime.status()["connections"] == 1


def test_an_answer_for_one_connection_confirms_nothing_in_another(peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    asking = {"name": "acme_asks_call", "arguments": {}, "_meta": meta(**FORM)}
    state = one.ask("tools/call", asking)["result"]["requestState"]
    answer = other.ask("tools/call", {**asking, "requestState": state, "inputResponses": YES})
    assert "requestState" in answer["error"]["message"]
    answered = one.ask("tools/call", {**asking, "requestState": state, "inputResponses": YES})
    assert said(answered) == "done"


def test_a_question_of_one_connection_is_not_answered_by_another(runtime: Runtime) -> None:
    with Peer(runtime.shell, native=True) as one, Peer(runtime.shell, native=True) as other:
        for peer in (one, other):
            peer.initialize(elicitation={})
            peer.ask("tools/list")  # before it has any use for tools, a connection passes answers over
        name = one.request("tools/call", {"name": "acme_asks_call", "arguments": {}})
        question = one.notified("elicitation/create")
        other.send(id=question["id"], result={"action": "accept", "content": {"confirm": True}})
        other.ask("ping")
        assert one.silent() == []
        one.send(id=question["id"], result={"action": "decline"})
        assert one.answer(name)["result"]["isError"]


def test_a_tool_sees_the_variables_of_its_own_connection(shell: Shell) -> None:
    variables = {"SECRET_OF_ONE": "of the runtime"}
    with serving(Shell(shell.root, variables)):
        for value, seen in (({}, "nothing"), ({"SECRET_OF_ONE": "mine"}, "mine")):
            with Peer(Shell(shell.root, value), native=True) as peer:
                peer.initialize()
                assert said(peer.call("acme_env_call")) == seen


def test_a_flood_of_one_connection_does_not_keep_another_waiting(peers: tuple[Peer, Peer]) -> None:
    """More calls than run at once, of the same tool: the other's gets the next turn, not the last."""
    one, other = peers
    flood = 3 * default_bound()
    arguments = {"name": "acme_waits_call", "arguments": {"seconds": 1.5}}
    for _ in range(flood):
        one.request("tools/call", arguments)
    one.ask("ping")  # they are all there
    assert said(other.call("acme_waits_call")) == "done"
    one.ask("ping")
    done = sum("method" not in each for each in one._held)
    assert done <= 2 * default_bound(), "the other waited for the flood"


def test_open_questions_of_one_connection_take_no_place_of_another(runtime: Runtime) -> None:
    """As many as may be open of one package are; the other is asked all the same."""
    asks = {"name": "acme_asks_call", "arguments": {}}
    with Peer(runtime.shell, native=True) as one, Peer(runtime.shell, native=True) as other:
        for peer in (one, other):
            peer.initialize(elicitation={})
        for _ in range(MOST_OF_PACKAGE + 1):
            one.request("tools/call", asks)
        refused = one.take(lambda message: "result" in message)["result"]
        assert refused["_meta"]["mpp-exec/error"]["code"] == "confirm.too_many"
        other.request("tools/call", asks)
        other.notified("elicitation/create")


@pytest.mark.parametrize(
    "words",
    [
        ["mcp", "--continued", "0"],
        ["mcp", "--config", "claude"],
        ["mcp", "--home", "/nowhere"],
    ],
)
def test_what_is_no_connection_to_this_home_is_sent_away(runtime: Runtime, words: list[str]) -> None:
    with runtime.connect() as connection:
        connection.sendall(hello(runtime, *words))
        assert read_frame(connection)[0] == b"A"


def test_a_connection_to_another_home_is_sent_away(runtime: Runtime, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    facts = other.stat()
    claims = {"environ": {**runtime.shell.environment(), "MPP_HOME": str(other)}}
    for home in ({}, {"home": f"{facts.st_dev}:{facts.st_ino}"}):
        with runtime.connect() as connection:
            connection.sendall(hello(runtime, "mcp", **claims, **home))
            assert read_frame(connection) == (b"A", b"its home is another one")


def test_a_connection_without_its_proof_is_served_nothing(runtime: Runtime) -> None:
    """As a process in a Landlock domain would say it, which cannot read the proof."""
    with runtime.connect() as connection:
        connection.sendall(hello(runtime, "mcp"))
        assert read_frame(connection)[0] == b"B"
        connection.sendall(frame(b"G", bytes(16)) + b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert read_frame(connection) == (b"", b"")
    assert runtime.status()["connections"] == 0


def connected(runtime: Runtime) -> socket.socket | None:
    """Return a raw connection that is served, None where it is sent away."""
    connection = runtime.connect()
    connection.sendall(hello(runtime, "mcp"))
    _, number = read_frame(connection)
    connection.sendall(go(runtime, number) + b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    if read_frame(connection)[0] == b"O":
        return connection
    connection.close()
    return None


def fill(connection: socket.socket) -> None:
    """Ask until nobody reads there any more, since the answers are not read."""
    for _ in range(1000):
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 1000)


def test_connections_without_end_leave_room_for_calls(runtime: Runtime) -> None:
    """Those beyond the bound are sent away; a call of ``run`` is still made by the runtime."""
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            held = connected(runtime)
            assert held is not None
            stack.enter_context(held)
        assert connected(runtime) is None
        calls = runtime.status()["calls"]
        assert runtime.client("run", "acme/waits").code == 0
        assert runtime.status()["calls"] == calls + 1


def test_a_client_that_does_not_read_holds_up_nobody_else(runtime: Runtime) -> None:
    """Its end of the socket is full; the others are answered, and it ends with its connection."""
    held = connected(runtime)
    assert held is not None
    with held, Peer(runtime.shell, native=True) as peer:
        held.settimeout(0.5)
        with pytest.raises(TimeoutError):
            fill(held)
        peer.initialize()
        assert runtime.status()["connections"] == 2, "it is served, and is no server of its own"
        assert said(peer.call("acme_waits_call")) == "done"
    assert runtime.status()["running"]


def test_a_batch_of_which_one_call_has_begun_is_not_served_again(shell: Shell, runtime: Runtime) -> None:
    """The others of its line are still read when it begins; one of them waits for a person for ever."""

    with Peer(shell, native=True) as peer:
        peer.initialize("2025-03-26", elicitation={})
        assert said(peer.call("acme_waits_call")) == "done"  # the next one begins at once
        before = starts(shell)
        calls = [("begun", "acme_waits_call"), ("asked", "acme_asks_call")]
        begun, asked = (
            {"jsonrpc": "2.0", "id": name, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
            for name, tool in calls
        )
        lists = [{"jsonrpc": "2.0", "id": f"l{at}", "method": "tools/list"} for at in range(60)]
        peer.raw(json.dumps([begun, *lists, asked]).encode() + b"\n")
        peer.notified("elicitation/create")
        assert until(lambda: starts(shell) == before + 1), "the first call is made"
        runtime.process.kill()
        runtime.process.wait()
        assert peer.answer("begun")["result"]["_meta"]["mpp-exec/error"]["code"] == "serve.lost"
        peer.ask("ping")
        assert said(peer.call("acme_waits_call")) == "done"
    assert starts(shell) == before + 2


def test_a_cancelled_call_of_a_batch_does_not_come_back(shell: Shell, runtime: Runtime) -> None:
    with Peer(shell, native=True) as peer:
        peer.initialize("2025-03-26", elicitation={})
        params = {"name": "acme_asks_call", "arguments": {}}
        batch = [
            {"jsonrpc": "2.0", "id": name, "method": "tools/call", "params": params}
            for name in ("cancelled", "asked")
        ]
        peer.raw(json.dumps(batch).encode() + b"\n")
        for _ in batch:
            peer.notified("elicitation/create")
        peer.send(method="notifications/cancelled", params={"requestId": "cancelled"})
        peer.ask("ping")
        runtime.process.kill()
        runtime.process.wait()
        peer.notified("elicitation/create")  # of the one that was not cancelled
        assert not [each for each in peer.silent() if each.get("method") == "elicitation/create"]


def test_an_id_that_comes_twice_does_not_take_the_first_ones_answer(peer: Peer, runtime: Runtime) -> None:
    def waiting(seconds: int) -> None:
        params = {"name": "acme_waits_call", "arguments": {"seconds": seconds}}
        peer.send(id="twice", method="tools/call", params=params)

    before = starts(runtime.shell)
    waiting(60)
    waiting(0)
    assert peer.answer(None)["error"]["code"] == -32600
    assert until(lambda: starts(runtime.shell) == before + 1)
    runtime.process.kill()
    runtime.process.wait()
    assert peer.answer("twice")["result"]["_meta"]["mpp-exec/error"]["code"] == "serve.lost"


def test_clients_that_do_not_read_do_not_keep_a_runtime_from_its_end(runtime: Runtime) -> None:
    """Nor others from theirs: they are told one after the other that they have to go on."""
    with ExitStack() as stack:
        for _ in range(3):
            held = connected(runtime)
            assert held is not None
            stack.enter_context(held).settimeout(0.5)
            with pytest.raises(TimeoutError):
                fill(held)
        other = stack.enter_context(Peer(runtime.shell, native=True))
        other.initialize()
        began = time.monotonic()
        runtime.process.send_signal(signal.SIGTERM)
        assert run_client(runtime.shell, "run", "acme/waits").code == 0, "nobody waits at its door"
        assert said(other.call("acme_waits_call")) == "done"
        assert runtime.process.wait(60) == 0
        assert time.monotonic() - began < 25  # four pieces that nobody takes were 30 s each


def test_a_runtime_without_descriptors_lets_its_connections_go_on_by_themselves(
    peer: Peer, runtime: Runtime
) -> None:
    """Others have used them up."""
    assert said(peer.call("acme_waits_call")) == "done"
    _, most = resource.prlimit(runtime.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(runtime.process.pid, resource.RLIMIT_NOFILE, (8, most))
    assert said(peer.call("acme_waits_call")) == "done"
    assert "python" in Path(f"/proc/{peer.process.pid}/exe").resolve().name, "which has become a server"


def test_a_connection_with_slow_calls_leaves_turns_for_another(runtime: Runtime) -> None:
    with Peer(runtime.shell, native=True) as one, Peer(runtime.shell, native=True) as other:
        for peer in (one, other):
            peer.initialize()
        before = starts(runtime.shell)
        for _ in range(default_bound() + 4):
            one.request("tools/call", {"name": "acme_waits_call", "arguments": {"seconds": 100}})
        assert until(lambda: starts(runtime.shell) >= before + max(1, default_bound() // 2))
        began = time.monotonic()
        assert said(other.call("acme_waits_call")) == "done"
        assert time.monotonic() - began < 9  # the limit of the slow ones is 10 s
        assert runtime.status()["connections"] == 2


def test_connections_with_many_calls_leave_descriptors_for_another(shell: Shell) -> None:
    """What waits of four is more than this runtime can open; each is told so, and a fifth is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))  # and of clients: equals alone are served
    try:
        with serving(shell) as runtime, ExitStack() as stack:
            greedy = [stack.enter_context(Peer(shell, native=True)) for _ in range(4)]
            for peer in greedy:
                peer.initialize()
                names = [
                    peer.request("tools/call", {"name": "acme_waits_call", "arguments": {"seconds": 100}})
                    for _ in range(MAX_RUNNING)
                ]
            busy = greedy[-1].answer(names[-1])["result"]
            assert busy["_meta"]["mpp-exec/error"]["code"] == "call.busy"
            other = stack.enter_context(Peer(shell, native=True))
            other.initialize()
            assert said(other.call("acme_waits_call")) == "done"
            assert runtime.status()["connections"] == 5, "nobody had to go on by itself"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_lines_with_nothing_in_them_take_little_of_the_client(peer: Peer, runtime: Runtime) -> None:
    """A client keeps each line until somebody has read it, and nobody does."""
    assert peer.process.stdin is not None
    runtime.process.send_signal(signal.SIGSTOP)
    try:
        # A pipe holds half of it, so the other half has been read.
        peer.process.stdin.write(b"\n" * (1 << 17))
        peer.process.stdin.flush()
        status = Path(f"/proc/{peer.process.pid}/status").read_text()
    finally:
        runtime.process.send_signal(signal.SIGCONT)
    peak = re.search(r"VmPeak:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) < 128 << 10
    assert said(peer.call("acme_waits_call")) == "done"


def test_the_file_of_a_connection_is_not_left_to_a_tool(shell: Shell, runtime: Runtime) -> None:
    """What is handed on from one process to the next is closed when it is read."""
    with Peer(shell, native=True) as peer:
        peer.initialize()
        runtime.process.kill()
        runtime.process.wait()
        assert said(peer.call("acme_waits_call")) == "done"
        folder = Path(f"/proc/{peer.process.pid}/fd")
        assert not [each for each in folder.iterdir() if "memfd:connection" in str(each.readlink())]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}\n", id="no form"),
        pytest.param(b"[]\n", id="no object"),
        pytest.param(b'{"form":0}\n', id="another form"),
        pytest.param(b'{"form":1,"owed":[[{},1]]}\n', id="no id"),
    ],
)
def test_what_is_said_to_be_left_of_a_connection_is_read_with_care(shell: Shell, content: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    with os.fdopen(reading):
        process = shell.start("mcp", "--continued", str(reading), pass_fds=(reading,))
        _, err = process.communicate(timeout=60)
    assert (process.returncode, b"[mcp.continued]" in err) == ((0, False) if not content else (2, True)), err
