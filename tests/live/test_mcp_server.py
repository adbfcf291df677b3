"""``mpp-exec mcp`` as a client sees it: both eras in one process, calls at once, changes, the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, PROGRAM, Shell
from mcp_peer import LEGACY, MODERN, Peer, meta

CODE = """\
import sys, time
def call(text="", seconds=0, fail=False):
    if seconds:
        time.sleep(seconds)
    if fail:
        raise ValueError(text)
    print("noise on stderr", file=sys.stderr)
    return {"said": text}
"""
SCHEMA = (
    '{ type = "object", properties = { text = { type = "string" }, seconds = { type = "number" }, '
    'fail = { type = "boolean" } }, additionalProperties = false }'
)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with an approved tool; no test changes it."""
    made = Shell(tmp_path_factory.mktemp("mcp"))
    made.root.chmod(0o755)
    install(made)
    return made


@pytest.fixture
def own(tmp_path: Path) -> Shell:
    """A home for a test that changes it."""
    tmp_path.chmod(0o755)
    made = Shell(tmp_path)
    install(made)
    return made


def install(shell: Shell, name: str = "acme/echo", **parts: str) -> None:
    if not (shell.home / "keys" / "acme.key").exists():
        shell.ok("keygen", "acme")
    source = shell.tool(name, **{"code": CODE, "schema": SCHEMA, **parts})
    package = f"{name.replace('/', '-')}-{parts.get('version', '1.0.0')}.mpp"
    shell.ok("build", str(source))
    shell.ok("install", package, "--approve")


@pytest.fixture
def peer(shell: Shell) -> Iterator[Peer]:
    with Peer(shell) as made:
        yield made


# -- earlier versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_initialize_agrees_on_a_version_that_both_know(peer: Peer, version: str) -> None:
    result = peer.initialize(version)
    assert result["protocolVersion"] == version
    assert result["capabilities"] == {"tools": {"listChanged": True}}
    assert result["serverInfo"]["name"] == "mpp-exec"


def test_initialize_with_an_unknown_version_is_answered_with_the_newest(peer: Peer) -> None:
    assert peer.initialize("2031-01-01")["protocolVersion"] == LEGACY


def test_a_tool_is_listed_as_its_signed_manifest_says(peer: Peer) -> None:
    peer.initialize()
    (tool,) = peer.ask("tools/list")["result"]["tools"]
    assert tool["name"] == "acme_echo_call"
    assert tool["description"] == "Answers."
    assert tool["inputSchema"]["additionalProperties"] is False
    assert tool["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }


def test_a_call_returns_the_tools_result(peer: Peer) -> None:
    peer.initialize()
    result = peer.call("acme_echo_call", {"text": "grüße"})["result"]
    assert result["structuredContent"] == {"said": "grüße"}
    assert result["isError"] is False
    assert result["_meta"]["mpp-exec/outcome"] == "ok"
    assert "resultType" not in result


def test_what_a_tool_says_is_redacted(peer: Peer) -> None:
    peer.initialize()
    result = peer.call("acme_echo_call", {"text": "write to jane@example.com"})["result"]
    assert "jane@" not in str(result)
    assert result["structuredContent"] == {"said": "write to [EMAIL]"}


def test_wrong_arguments_are_a_result_that_the_model_can_read(peer: Peer) -> None:
    peer.initialize()
    result = peer.call("acme_echo_call", {"text": 5, "fail": "no"})["result"]
    assert result["isError"] is True
    told = result["content"][0]["text"]
    assert "inputSchema" in told
    assert "at /text: type" in told
    assert "at /fail: type" in told
    assert result["_meta"]["mpp-exec/error"]["code"] == "arguments.schema"


def test_a_tool_that_fails_is_a_result(peer: Peer) -> None:
    peer.initialize()
    result = peer.call("acme_echo_call", {"text": "broken", "fail": True})["result"]
    assert result["isError"] is True
    assert "ValueError: broken" in result["content"][0]["text"]


def test_null_is_taken_for_what_was_left_out(peer: Peer) -> None:
    """Some clients write every member of a message."""
    peer.initialize()
    peer.send(id="null", method="ping", params=None)
    assert peer.answer("null")["result"] == {}
    params = {"name": "acme_echo_call", "arguments": None, "_meta": None}
    assert peer.ask("tools/call", params)["result"]["structuredContent"] == {"said": ""}
    assert len(peer.ask("tools/list", {"cursor": None})["result"]["tools"]) == 1
    assert peer.ask("tools/call", {"name": "acme_echo_call", "_meta": meta()})["result"]["isError"] is False


@pytest.mark.parametrize(("before", "after"), [(b"\xef\xbb\xbf", b""), (b"", b"\r")], ids=["mark", "return"])
def test_lines_may_be_written_as_on_another_system(peer: Peer, before: bytes, after: bytes) -> None:
    peer.raw(before + b'{"jsonrpc":"2.0","id":"first","method":"ping"}' + after + b"\n")
    assert peer.answer("first")["result"] == {}


def test_a_tool_that_is_not_there_is_an_error(peer: Peer) -> None:
    peer.initialize()
    assert peer.call("acme_echo_other")["error"]["code"] == -32602


def test_ping_and_a_method_that_is_not_served(peer: Peer) -> None:
    assert peer.ask("ping")["result"] == {}
    peer.initialize()
    assert peer.ask("prompts/list")["error"]["code"] == -32601
    assert peer.ask("server/discover")["error"]["code"] == -32601


def test_a_batch_is_answered_as_one(peer: Peer) -> None:
    peer.initialize("2025-03-26")
    peer.raw(
        b'[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},'
        b'{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"acme_echo_call"}},7]\n'
    )
    answers = [peer.answer(name) for name in ("a", "b", None)]
    assert all(answer["_batch"] for answer in answers)
    assert answers[1]["result"]["isError"] is False
    assert answers[2]["error"]["code"] == -32600


def test_a_response_in_a_batch_holds_no_answer_back(peer: Peer) -> None:
    peer.initialize("2025-03-26")
    peer.raw(b'[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":99,"result":{}}]\n')
    assert peer.answer("a")["result"] == {}


# -- 2026-07-28 --------------------------------------------------------------------------------------


def test_discover_says_what_is_served(peer: Peer) -> None:
    result = peer.ask("server/discover", {"_meta": meta()})["result"]
    assert result["supportedVersions"] == [MODERN]
    assert result["resultType"] == "complete"
    assert result["capabilities"] == {"tools": {"listChanged": True}}
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mpp-exec"


def test_a_list_says_how_long_it_may_be_kept(peer: Peer) -> None:
    result = peer.ask("tools/list", {"_meta": meta()})["result"]
    assert [tool["name"] for tool in result["tools"]] == ["acme_echo_call"]
    assert result["ttlMs"] >= 0
    assert result["cacheScope"] == "private"
    assert result["resultType"] == "complete"


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel"])
def test_what_2026_07_28_has_removed_is_not_there_for_its_clients(peer: Peer, method: str) -> None:
    for _ in range(2):
        assert peer.ask(method, {"_meta": meta()})["error"]["code"] == -32601
        peer.initialize()


def test_every_result_is_complete_and_says_whose_it_is(peer: Peer) -> None:
    result = peer.call("acme_echo_call", {"text": "x"}, _meta=meta())["result"]
    assert result["resultType"] == "complete"
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mpp-exec"
    assert result["_meta"]["mpp-exec/outcome"] == "ok"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, -32602),
        ({"io.modelcontextprotocol/protocolVersion": MODERN}, -32602),
        (meta() | {"io.modelcontextprotocol/protocolVersion": "2027-01-01"}, -32022),
        (meta() | {"io.modelcontextprotocol/protocolVersion": 7}, -32022),
        (meta() | {"io.modelcontextprotocol/clientCapabilities": []}, -32602),
    ],
    ids=["nothing", "no capabilities", "another version", "a number", "a list"],
)
def test_a_request_that_does_not_say_what_its_client_is(peer: Peer, sent: dict[str, Any], code: int) -> None:
    error = peer.ask("tools/list", {"_meta": sent})["error"]
    assert error["code"] == code
    if code == -32022:
        assert error["data"]["supported"] == [MODERN]


def test_both_eras_are_served_side_by_side(peer: Peer) -> None:
    peer.initialize()
    assert "resultType" not in peer.ask("tools/list")["result"]
    assert peer.ask("tools/list", {"_meta": meta()})["result"]["resultType"] == "complete"
    assert "resultType" not in peer.call("acme_echo_call")["result"]


# -- calls at once -----------------------------------------------------------------------------------


def test_a_slow_tool_delays_no_other(peer: Peer) -> None:
    peer.initialize()
    slow = peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"seconds": 9}})
    assert peer.call("acme_echo_call", {"text": "quick"})["result"]["structuredContent"] == {"said": "quick"}
    assert peer.ask("ping")["result"] == {}
    peer.send(method="notifications/cancelled", params={"requestId": slow})
    assert not [message for message in peer.silent() if message.get("id") == slow]


def test_cancelling_kills_the_sandbox_and_silences_the_call(peer: Peer, shell: Shell) -> None:
    peer.initialize()
    slow = peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"seconds": 9}})
    until(peer.children)
    peer.send(method="notifications/cancelled", params={"requestId": slow, "reason": "enough"})
    until(lambda: not peer.children())
    assert not [message for message in peer.silent() if message.get("id") == slow]
    newest = shell.ok("audit", "list", "--json").json
    assert "killed" in str(newest[0] if isinstance(newest, list) else newest)


def test_twenty_calls_at_once_each_get_their_own_answer(peer: Peer) -> None:
    peer.initialize()
    names = [
        peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"text": f"number {number}"}})
        for number in range(20)
    ]
    for number, name in enumerate(names):
        assert peer.answer(name)["result"]["structuredContent"] == {"said": f"number {number}"}


def test_an_id_that_is_in_use_is_refused(peer: Peer) -> None:
    peer.initialize()
    params = {"name": "acme_echo_call", "arguments": {"seconds": 9}}
    peer.send(id="same", method="tools/call", params=params)
    peer.send(id="same", method="tools/call", params=params)
    assert peer.answer(None)["error"]["code"] == -32600, "the answer to that id is the first one's"
    peer.send(method="notifications/cancelled", params={"requestId": "same"})


def test_ids_of_another_type_are_those_of_other_requests(peer: Peer) -> None:
    peer.initialize()
    for name, seconds in ((7, 0.5), ("7", 9)):
        params = {"name": "acme_echo_call", "arguments": {"text": str(type(name)), "seconds": seconds}}
        peer.send(id=name, method="tools/call", params=params)
    for other in (7.0, " 7", [7], True, None, "7"):
        peer.send(method="notifications/cancelled", params={"requestId": other})
    assert peer.answer(7)["result"]["structuredContent"] == {"said": "<class 'int'>"}
    assert not [message for message in peer.silent() if message.get("id") == "7"]


def test_cancelling_what_is_over_does_nothing_to_the_next_call_of_that_id(peer: Peer) -> None:
    peer.initialize()
    params = {"name": "acme_echo_call", "arguments": {"text": "x"}}
    for _ in range(2):
        peer.send(id="again", method="tools/call", params=params)
        assert peer.answer("again")["result"]["structuredContent"] == {"said": "x"}
        peer.send(method="notifications/cancelled", params={"requestId": "again"})


@pytest.mark.parametrize("token", ["same", 1, 1.5, True, [], {}, None, "t" * 5000], ids=lambda t: repr(t)[:9])
def test_a_progress_token_may_be_anything_and_come_twice(peer: Peer, token: Any) -> None:
    peer.initialize()
    params = {"name": "acme_echo_call", "arguments": {"text": "x"}, "_meta": {"progressToken": token}}
    names = [peer.request("tools/call", params) for _ in range(2)]
    for name in names:
        assert peer.answer(name)["result"]["structuredContent"] == {"said": "x"}
    assert peer.silent() == []


# -- changes -----------------------------------------------------------------------------------------


def test_a_package_that_comes_is_told_to_a_client_of_earlier_versions(own: Shell) -> None:
    with Peer(own) as peer:
        peer.initialize()
        assert len(peer.ask("tools/list")["result"]["tools"]) == 1
        install(own, "acme/second")
        peer.notified("notifications/tools/list_changed")
        names = [tool["name"] for tool in peer.ask("tools/list")["result"]["tools"]]
        assert names == ["acme_echo_call", "acme_second_call"]


def test_a_grant_that_goes_is_told_to_whoever_listens(own: Shell) -> None:
    with Peer(own) as peer:
        listening = peer.request(
            "subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": meta()}
        )
        acknowledged = peer.notified("notifications/subscriptions/acknowledged")
        subscription = {"io.modelcontextprotocol/subscriptionId": listening}
        assert acknowledged["params"] == {
            "notifications": {"toolsListChanged": True},
            "_meta": subscription,
        }
        own.ok("revoke", "acme/echo")
        assert peer.notified("notifications/tools/list_changed")["params"]["_meta"] == subscription
        assert peer.ask("tools/list", {"_meta": meta()})["result"]["tools"] == []
        assert peer.call("acme_echo_call", _meta=meta())["error"]["code"] == -32602


def test_a_subscription_to_nothing_that_is_here_ends_at_once(peer: Peer) -> None:
    listening = peer.request(
        "subscriptions/listen", {"notifications": {"promptsListChanged": True}, "_meta": meta()}
    )
    assert peer.notified("notifications/subscriptions/acknowledged")["params"]["notifications"] == {}
    assert peer.answer(listening)["result"]["resultType"] == "complete"


def test_a_revoked_grant_ends_a_running_call(own: Shell) -> None:
    with Peer(own) as peer:
        peer.initialize()
        slow = peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"seconds": 9}})
        until(peer.children)
        own.ok("revoke", "acme/echo")
        result = peer.answer(slow)["result"]
        assert result["_meta"]["mpp-exec/outcome"] == "killed"


# -- names -------------------------------------------------------------------------------------------


def test_one_named_package_has_its_own_names_and_several_do_not(own: Shell) -> None:
    install(own, "acme/second")
    with Peer(own, "--package", "acme/second") as peer:
        peer.initialize()
        assert [tool["name"] for tool in peer.ask("tools/list")["result"]["tools"]] == ["call"]
        assert peer.call("call", {"text": "x"})["result"]["isError"] is False
        assert peer.call("acme_echo_call")["error"]["code"] == -32602
    with Peer(own, "--package", "acme/second", "--package", "acme/absent") as peer:
        peer.initialize()
        names = [tool["name"] for tool in peer.ask("tools/list")["result"]["tools"]]
        assert names == ["acme_second_call"]


def test_what_is_not_approved_is_not_offered_and_people_are_told(own: Shell) -> None:
    own.ok("revoke", "acme/echo")
    process = own.start("mcp", stdin=subprocess.PIPE)
    request = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":%s}}\n'
    out, err = process.communicate(request % json.dumps(meta()).encode(), timeout=DEADLINE)
    assert json.loads(out)["result"]["tools"] == []
    assert b"acme/echo is not offered" in err
    assert b"mpp-exec approve acme/echo)" in err
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no package is installed, so no tool is offered (mpp-exec install FILE)"),
        (("--package", "acme/none"), "acme/none is not installed (mpp-exec install FILE)"),
    ],
)
def test_where_there_is_nothing_people_are_told_what_to_do(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    peer = Peer(Shell(tmp_path), *words)
    assert peer.ask("tools/list", {"_meta": meta()})["result"]["tools"] == []
    assert peer.process.stdin is not None
    peer.process.stdin.close()
    assert said in peer.stderr()
    assert peer.end() == 0


def test_a_home_that_cannot_be_opened_is_told_to_people_once(tmp_path: Path) -> None:
    """A client that lists no tool shows nobody why: its log has it, with what to do."""
    shell = Shell(tmp_path)
    shell.home.write_text("a file\n")
    peer = Peer(shell)
    errors = [peer.ask("tools/list", {"_meta": meta()})["error"] for _ in range(2)]
    told = errors[0]["message"]
    assert errors[0] == errors[1]
    assert peer.process.stdin is not None
    peer.process.stdin.close()
    (line,) = [line for line in peer.stderr().splitlines() if told in line]
    assert errors[0]["data"]["mpp-exec/error"]["hint"] in line
    assert peer.end() == 0


def test_a_person_who_types_it_is_told_what_it_waits_for(tmp_path: Path) -> None:
    with Shell(tmp_path).at_terminal("mcp") as terminal:
        terminal.expect("waiting for an MCP client")
        terminal.type("\x03")
        assert terminal.end()[0] == 130


def test_a_configuration_for_a_package_that_is_not_there_says_so(tmp_path: Path) -> None:
    done = Shell(tmp_path).ok("mcp", "--config", "claude", "--package", "acme/none")
    assert "acme/none is not installed" in done.err
    assert done.json["mcpServers"]["mpp-exec"]["args"][-2:] == ["--package", "acme/none"]


@pytest.mark.parametrize("client", ["claude", "codex"])
def test_a_configuration_names_home_and_policy_of_this_shell(tmp_path: Path, client: str) -> None:
    """A client hands on few variables: without these its server finds other packages, and a wider policy."""
    policy = tmp_path / 'it"s \U0001f4dc.toml'
    shell = Shell(tmp_path)
    variables = {name: value for name, value in shell.environment().items() if name != "MPP_HOME"}
    done = subprocess.run(
        [*PROGRAM, "mcp", "--config", client],
        env={**variables, "XDG_DATA_HOME": str(tmp_path / "data"), "MPP_POLICY": str(policy)},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    read, section = (json.loads, "mcpServers") if client == "claude" else (tomllib.loads, "mcp_servers")
    server = read(done.stdout)[section]["mpp-exec"]
    assert server["args"] == ["mcp", "--home", str(tmp_path / "data" / "mpp-exec")]
    assert server["env"] == {"MPP_POLICY": str(policy)}


# -- the end -----------------------------------------------------------------------------------------


def test_the_end_of_the_input_ends_the_server_and_its_calls(shell: Shell) -> None:
    with Peer(shell) as peer:
        peer.initialize()
        peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"seconds": 9}})
        until(peer.children)
        began = time.monotonic()
        assert peer.end() == 0
        assert time.monotonic() - began < 5


def test_sigterm_ends_the_server_and_its_calls(shell: Shell) -> None:
    with Peer(shell) as peer:
        peer.initialize()
        peer.request("tools/call", {"name": "acme_echo_call", "arguments": {"seconds": 9}})
        until(peer.children)
        peer.process.send_signal(signal.SIGTERM)
        assert peer.process.wait(DEADLINE) == 128 + signal.SIGTERM


def test_the_death_of_the_parent_ends_the_server_though_the_pipe_stays_open(shell: Shell) -> None:
    """As with clients that crash while a child of theirs holds the server's input open."""
    reading, writing = os.pipe()
    starter = (
        "import os, subprocess\n"
        f"server = subprocess.Popen({[*PROGRAM, 'mcp']!r}, stdin={reading}, stdout=subprocess.PIPE)\n"
        f"""os.write({writing}, b'{{"jsonrpc":"2.0","id":1,"method":"ping"}}\\n')\n"""
        "server.stdout.readline()\n"
        "print(server.pid)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", starter],
            env=shell.environment(),
            pass_fds=[reading, writing],
            stdout=subprocess.PIPE,
            timeout=DEADLINE,
            check=True,
        )
        pid = int(done.stdout)
        until(lambda: _is_gone(pid))
    finally:
        os.close(reading)
        os.close(writing)


def _is_gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_a_client_that_does_not_read_does_not_keep_the_server(shell: Shell) -> None:
    """Its input ends while answers wait: the server goes."""
    process = shell.start("mcp", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    flood = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 500
    writer = threading.Thread(target=lambda: (process.stdin.write(flood), process.stdin.close()))  # type: ignore[union-attr]
    writer.start()
    process.stdout.close()
    assert process.wait(DEADLINE) == 0
    writer.join(DEADLINE)
    assert process.stderr is not None
    process.stderr.close()


def until(condition: Any) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
