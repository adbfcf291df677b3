"""``mpp-exec mcp`` through the resident runtime: as without it, and it goes on where the runtime ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, Shell
from mcp_peer import MODERN, Peer, meta
from mpp_exec.lifecycle.session import Session
from served import CLIENT, WRITES, Runtime, furnished_with, serving, until

# Each run of it appends a line; then it takes as long as it is told.
COUNTS = """\
import pathlib, time

def call(folder, seconds=0, text=""):
    with (pathlib.Path(folder) / "runs").open("a") as file:
        file.write("run\\n")
    time.sleep(seconds)
    return {"said": text}
"""
SCHEMA = (
    '{ type = "object", properties = { folder = { type = "string" }, seconds = { type = "number" }, '
    'text = { type = "string" } }, required = ["folder"] }'
)
NAME, ASKS = "acme_counts_call", "acme_asks_call"
FORM: dict[str, Any] = {"elicitation": {"form": {}}}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home that no test changes for the others."""
    root = tmp_path_factory.mktemp("serve")
    return furnished_with(root, "acme/counts", code=COUNTS, toml=WRITES, schema=SCHEMA)


@pytest.fixture(autouse=True)
def forgotten(shell: Shell) -> None:
    """No test sees the runs of another."""
    (shell.root / "granted" / "runs").unlink(missing_ok=True)


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


@pytest.fixture
def peer(runtime: Runtime) -> Iterator[Peer]:
    with Peer(runtime.shell, native=True) as made:
        yield made


def given(shell: Shell, **more: Any) -> dict[str, Any]:
    return {"folder": str(shell.root / "granted"), **more}


def runs(shell: Shell) -> int:
    """Return how often the tool ran."""
    file = shell.root / "granted" / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def inside(runtime: Runtime) -> list[int]:
    """Return the processes below the runtime that work on a call."""
    found = []
    for task in Path(f"/proc/{runtime.process.pid}/task").iterdir():
        try:
            found += [int(pid) for pid in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def program(peer: Peer) -> str:
    """Return what the server is by now."""
    return Path(f"/proc/{peer.process.pid}/exe").resolve().name


def last(shell: Shell) -> Any:
    """Return what is on record of the last call."""
    with Session(shell.home) as session:
        return next(each for each in session.ledger.list() if each.kind == "start")


def kill(runtime: Runtime) -> None:
    runtime.process.kill()
    runtime.process.wait()


def stop(runtime: Runtime) -> None:
    runtime.process.send_signal(signal.SIGTERM)
    runtime.process.wait(DEADLINE)


# -- the same ------------------------------------------------------------------------------------------


def conversation(peer: Peer, shell: Shell) -> list[Any]:
    """Say what a client says, and return what it is answered, without what is another in every process."""
    said = [
        peer.initialize(elicitation={}),
        peer.ask("tools/list"),
        peer.ask("tools/list", {"cursor": "of nobody"}),
        peer.call(NAME, given(shell, text="a mail to jane.doe@example.com")),
        peer.call(NAME, {"folder": 1}),
        peer.call("acme_nothing_call"),
        peer.ask("server/discover", {"_meta": meta()}),
        peer.ask("no/method"),
    ]
    asked = peer.request("tools/call", {"name": ASKS, "arguments": given(shell)})
    question = peer.notified("elicitation/create")
    said.append({**question, "id": ""})
    peer.send(id=question["id"], result={"action": "accept", "content": {"confirm": True}})
    said.append(peer.answer(asked))
    peer.raw(b"no JSON\n\n  \n[]\n")
    said += [peer.answer(None), peer.answer(None)]
    for each in said:
        for name in ("mpp-exec/invocation", "mpp-exec/timing"):
            each.get("result", {}).get("_meta", {}).pop(name, None)
    return said


def test_a_client_is_answered_as_by_a_server_of_its_own(shell: Shell) -> None:
    with Peer(shell, native=True) as peer:
        alone = conversation(peer, shell)
        assert program(peer).startswith("python")
    with serving(shell) as runtime, Peer(shell, native=True) as peer:
        served = conversation(peer, shell)
        assert program(peer) == CLIENT.name, "no Python was started"
        assert runtime.status()["connections"] == 1
    assert served == alone
    assert peer.process.returncode == 0


def test_the_ledger_names_the_client_of_the_connection(peer: Peer, shell: Shell) -> None:
    peer.initialize()
    peer.call(NAME, given(shell))
    shown = shell.ok("audit", "show", last(shell).invocation, "--json").json
    stored = (shown[0] if isinstance(shown, list) else shown)["caller"]
    assert (stored["client"], stored["pid"], stored["uid"]) == ("peer 1", peer.process.pid, os.getuid())


def test_a_change_of_the_home_is_told(peer: Peer, shell: Shell) -> None:
    peer.initialize()
    peer.ask("tools/list")
    shell.install("acme/echo")
    peer.notified("notifications/tools/list_changed")
    assert "acme_echo_call" in [tool["name"] for tool in peer.ask("tools/list")["result"]["tools"]]
    shell.ok("uninstall", "acme/echo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_connection_and_its_calls(
    peer: Peer, runtime: Runtime, number: signal.Signals
) -> None:
    peer.initialize()
    peer.request("tools/call", {"name": NAME, "arguments": given(runtime.shell, seconds=60)})
    until(lambda: runs(runtime.shell) == 1, "the tool begins")
    peer.process.send_signal(number)
    assert peer.process.wait(DEADLINE) == 128 + number
    assert inside(runtime) == []
    until(lambda: last(runtime.shell).outcome == "killed", "it is on record")


@pytest.mark.parametrize("ends", ["kill", "close", "cancel"])
def test_a_call_ends_with_its_client_and_leaves_no_sandbox(peer: Peer, runtime: Runtime, ends: str) -> None:
    peer.initialize()
    name = peer.request("tools/call", {"name": NAME, "arguments": given(runtime.shell, seconds=60)})
    until(lambda: runs(runtime.shell) == 1, "the tool begins")
    if ends == "kill":
        peer.process.kill()
    elif ends == "close":
        assert peer.end() == 0
    else:
        peer.send(method="notifications/cancelled", params={"requestId": name})
    until(lambda: inside(runtime) == [], "the sandbox ends")
    until(lambda: last(runtime.shell).outcome == "killed", "it is on record")


def test_the_connection_ends_with_whoever_started_it(shell: Shell, runtime: Runtime) -> None:
    """Whoever started it has gone; its standard input is held open by somebody else."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(reading, 0)
            if os.fork() == 0:
                os.execve(CLIENT, ["mpp-exec", "mcp"], shell.environment())
            until(lambda: runtime.status()["connections"] == 1, "it is connected")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    until(lambda: runtime.status()["connections"] == 0, "it has ended")
    os.close(reading)
    os.close(writing)


# -- the runtime ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [kill, stop])
@pytest.mark.parametrize("modern", [False, True])
def test_what_has_begun_is_answered_and_never_made_again(
    peer: Peer, runtime: Runtime, ends: Callable[[Runtime], None], *, modern: bool
) -> None:
    shell = runtime.shell
    more = {"_meta": meta()} if modern else {}
    if not modern:
        peer.initialize()
    params = {"name": NAME, "arguments": given(shell, seconds=60), **more}
    name = peer.request("tools/call", params)
    until(lambda: runs(shell) == 1, "the tool begins")
    ends(runtime)
    result = peer.answer(name)["result"]
    assert result["isError"]
    assert result["_meta"]["mpp-exec/error"]["code"] == "serve.lost"
    assert ("resultType" in result) == modern
    answer = peer.call(NAME, given(shell, text="again"), **more)["result"]
    assert answer["structuredContent"] == {"said": "again"}
    assert runs(shell) == 2
    assert program(peer).startswith("python")


@pytest.mark.parametrize("ends", [kill, stop])
def test_what_has_not_begun_is_made_by_a_server_of_its_own(
    peer: Peer, runtime: Runtime, ends: Callable[[Runtime], None]
) -> None:
    """The call waits for its user. What was asked before is not asked now: an answer to it is none."""
    shell = runtime.shell
    peer.initialize(elicitation={})
    name = peer.request("tools/call", {"name": ASKS, "arguments": given(shell, text="once")})
    before = peer.notified("elicitation/create")
    ends(runtime)
    now = peer.notified("elicitation/create")
    assert now["params"] == before["params"]
    assert now["id"] != before["id"]
    peer.send(id=before["id"], result={"action": "accept", "content": {"confirm": True}})
    told = [each["method"] for each in peer.silent()]
    assert told == ["notifications/tools/list_changed"], "an answer to nothing is none"
    assert runs(shell) == 0
    peer.send(id=now["id"], result={"action": "accept", "content": {"confirm": True}})
    assert peer.answer(name)["result"]["structuredContent"] == {"said": "once"}
    assert runs(shell) == 1


def test_a_client_that_listens_for_changes_still_hears_of_them(peer: Peer, runtime: Runtime) -> None:
    listening = peer.request(
        "subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": meta()}
    )
    peer.notified("notifications/subscriptions/acknowledged")
    kill(runtime)
    for _ in range(2):  # nobody looked while it moved; then somebody does
        told = peer.notified("notifications/tools/list_changed")
        assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == listening
        runtime.shell.install("acme/echo")
    runtime.shell.ok("uninstall", "acme/echo")
    assert [each for each in peer._held if each.get("method") != "notifications/tools/list_changed"] == []


def test_messages_on_their_way_are_answered_once(peer: Peer, runtime: Runtime) -> None:
    """It dies in the middle of many: each is answered exactly once, by one of the two."""
    peer.ask("server/discover", {"_meta": meta()})
    names = [peer.request("server/discover", {"_meta": meta()}) for _ in range(50)]
    kill(runtime)
    names += [peer.request("server/discover", {"_meta": meta()}) for _ in range(50)]
    for name in names:
        assert MODERN in peer.answer(name)["result"]["supportedVersions"]
    assert peer.end() == 0
    assert peer._held == []


def test_without_a_runtime_the_setting_starts_one_for_the_next(shell: Shell) -> None:
    shell.ok("serve", "--on-demand", "on", "--idle", "60")
    with Peer(shell, native=True) as peer:
        peer.initialize()
        assert program(peer).startswith("python")
    until(lambda: shell.ok("serve", "--status", "--json").json["running"], "it is there")
    with Peer(shell, native=True) as peer:
        peer.initialize()
        assert program(peer) == CLIENT.name
    shell.ok("serve", "--stop")
