"""Packages of kind mcp: an unmodified server in the sandbox, of either era, one call, gone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from mcp_peer import Peer
from mcp_servers import LEGACY, MODERN, server
from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.dialogue.session import Progress
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits, Permissions
from needs import missing
from stage import NAME, Stage

ECHO = 'say(id=name, result=text(json.dumps(params["arguments"]), structuredContent=params["arguments"]))'


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_server_with_a_handshake(stage: Stage, version: str) -> None:
    stage.server(server(ECHO, version=version))
    result = stage.runtime.call(NAME, "run", {"word": "grüße"})
    assert (result.outcome, result.structured) == ("ok", {"word": "grüße"}), result.stderr
    assert result.content == [{"type": "text", "text": '{"word": "gr\\u00fc\\u00dfe"}'}]


def test_a_server_without_a_handshake(stage: Stage) -> None:
    stage.server(server(ECHO, era=MODERN))
    result = stage.runtime.call(NAME, "run", {"word": "a"})
    assert (result.outcome, result.structured) == ("ok", {"word": "a"}), result.reason


def test_a_server_is_told_the_tool_and_sees_an_open_input_until_it_has_answered(stage: Stage) -> None:
    """Servers of the official SDKs end at the end of their input, with the answer still owed."""
    stage.server(
        server(
            """
            import select
            ready, _, _ = select.select([sys.stdin], [], [], 0.3)
            say(id=name, result=text(f"{params['name']} {'ended' if ready else 'open'}"))
            """
        ),
        tools=("first", "second"),
    )
    assert stage.runtime.call(NAME, "second").content == [{"type": "text", "text": "second open"}]


def test_the_sandbox_ends_with_the_answer_though_the_server_would_go_on(stage: Stage) -> None:
    stage.server(server('say(id=name, result=text("done"))\ntime.sleep(3600)'), limits=Limits(wall_ms=60_000))
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.content[0]["text"]) == ("ok", "done")
    assert result.meta["mpp-exec/timing"]["sandbox"] < 30_000_000


def test_a_result_is_taken_as_it_is_less_meta_and_redacted(stage: Stage) -> None:
    stage.server(
        server(
            """
            blocks = [{"type": "text", "text": "mail jane@example.com", "annotations": {"priority": 1}},
                {"type": "resource_link", "uri": "file:///a", "name": "a", "description": None},
                {"type": "resource", "resource": {"uri": "x:y", "blob": "amFuZUBleGFtcGxlLmNvbQ=="}}]
            say(id=name, result={"content": blocks, "_meta": {"forged": 1}, "extra": "jane@example.com"})
            """
        )
    )
    result = stage.runtime.call(NAME)
    assert result.content == [
        {"type": "text", "text": "mail [EMAIL]", "annotations": {"priority": 1}},
        {"type": "resource_link", "uri": "file:///a", "name": "a"},
        {"type": "resource", "resource": {"uri": "x:y", "blob": "W0VNQUlMXQ=="}},
    ]
    assert result.redactions == {"email": 2}
    assert "forged" not in result.meta


def test_an_error_of_the_server_is_an_error_of_the_tool(stage: Stage) -> None:
    stage.server(server('say(id=name, error={"code": -32602, "message": "no jane@example.com"})'))
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.is_error, result.content[0]["text"]) == ("tool_error", True, "no [EMAIL]")
    stage.server(server('say(id=name, result=text("bad input", isError=True))'), version="1.0.1")
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.content[0]["text"]) == ("tool_error", "bad input")


def test_a_result_is_held_against_the_signed_output_schema(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    stage.server(
        server('say(id=name, result=text("", structuredContent={"n": "x"}))'), tool={"output_schema": schema}
    )
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.reason) == (
        "protocol",
        "the tool's result breaks its outputSchema at /n: type",
    )


def test_what_it_prints_and_logs_beside_its_messages_is_stderr(stage: Stage) -> None:
    stage.server(
        server(
            """
            print("starting for jane@example.com", flush=True)
            print('{"level": "info"}', flush=True)
            print("on stderr", file=sys.stderr, flush=True)
            say(method="notifications/message", params={"level": "info", "data": {"k": "v"}})
            say(id=name, result=text("done"))
            """
        )
    )
    result = stage.runtime.call(NAME)
    assert result.content[0]["text"] == "done"
    assert result.stderr == 'on stderr\nstarting for [EMAIL]\n{"level": "info"}\n[info] {"k":"v"}\n'


def test_its_own_requests_are_refused_and_its_ping_is_answered(stage: Stage) -> None:
    stage.server(
        server(
            """
            answers = []
            for each in ("sampling/createMessage", "roots/list", "elicitation/create", "ping"):
                say(id="s-" + each, method=each, params={})
                got = read()
                answers.append([got["id"], got.get("error", {}).get("code"), got.get("result")])
            say(id=name, result=text(json.dumps(answers)))
            """
        )
    )
    assert stage.runtime.call(NAME).content[0]["text"] == (
        '[["s-sampling/createMessage", -32601, null], ["s-roots/list", -32601, null], '
        '["s-elicitation/create", -32601, null], ["s-ping", null, {}]]'
    )


def test_progress_is_relayed_redacted_to_who_wants_it(stage: Stage) -> None:
    stage.server(
        server(
            """
            token = params.get("_meta", {}).get("progressToken")
            def tell(n, words, token=token):
                say(method="notifications/progress",
                    params={"progressToken": token, "progress": n, "total": 3, "message": words})
                time.sleep(0.1)
            if token is not None:
                tell(1, "mail jane@example.com")
                tell(9, "of another", token=99)
                tell(0.5, "backwards")
                tell(2, "x" * 5000)
            say(id=name, result=text(str(token is not None)))
            """
        )
    )
    seen: list[Progress] = []
    assert stage.runtime.call(NAME, progress=seen.append).content[0]["text"] == "True"
    assert seen == [Progress(1, 3, "mail [EMAIL]"), Progress(2, 3, "")]
    assert stage.runtime.call(NAME).content[0]["text"] == "False"


def test_the_last_progress_comes_before_the_result_however_fast_it_was(stage: Stage) -> None:
    stage.server(
        server(
            """
            token = params["_meta"]["progressToken"]
            for n in range(1, 101):
                about = {"progressToken": token, "progress": n, "total": 100}
                say(method="notifications/progress", params=about)
            say(id=name, result=text("done"))
            """
        )
    )
    seen: list[Progress] = []
    assert stage.runtime.call(NAME, progress=seen.append).outcome == "ok"
    assert (seen[0], seen[-1]) == (Progress(1, 100, ""), Progress(100, 100, ""))
    assert len(seen) < 50
    assert seen == sorted(seen, key=lambda each: each.progress)


def test_every_call_has_a_server_of_its_own(stage: Stage) -> None:
    stage.server(
        server('count = globals().get("count", 0) + 1\nsay(id=name, result=text(str(count)))'),
    )
    assert {stage.runtime.call(NAME).content[0]["text"] for _ in range(3)} == {"1"}


def test_storage_is_what_it_remembers(stage: Stage) -> None:
    stage.server(
        server(
            """
            place = os.environ["MPP_STORAGE"] + "/n"
            count = int(open(place).read()) if os.path.exists(place) else 0
            open(place, "w").write(str(count + 1))
            say(id=name, result=text(str(count)))
            """
        ),
        permissions=Permissions(storage=1 << 20),
        tool={"operation": "write"},
    )
    assert [stage.runtime.call(NAME).content[0]["text"] for _ in range(3)] == ["0", "1", "2"]


def test_arguments_larger_than_a_pipe(stage: Stage) -> None:
    stage.server(server('say(id=name, result=text(str(len(params["arguments"]["text"]))))'))
    result = stage.runtime.call(NAME, "run", {"text": "ä" * 300_000})
    assert (result.outcome, result.content[0]["text"]) == ("ok", "300000")


def test_a_cancelled_call_ends_its_server(stage: Stage) -> None:
    stage.server(server("time.sleep(3600)"), limits=Limits(wall_ms=600_000))
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.set).start()
    result = stage.runtime.call(NAME, cancellation=cancellation)
    assert (result.outcome, result.reason) == ("killed", "cancelled by its caller")


def test_a_call_is_on_the_ledger(stage: Stage) -> None:
    stage.server(server(ECHO))
    result = stage.runtime.call(NAME, "run", {"a": 1})
    shown = stage.runtime.ledger.show(result.invocation)
    assert shown is not None
    assert result.kind == "mcp"


TOML = """\
[package]
name = "acme/echo"
version = "1.0.0"
description = "A server."

[runtime]
kind = "mcp"
command = ["python", "${app}/server.py"]
requires = ["python>=3.11"]

[[tools]]
name = "slow"
description = "Takes its time."
inputSchema = { type = "object" }
"""
SLOW = """
token = params.get("_meta", {}).get("progressToken")
for n in (1, 2, 3) if token is not None else ():
    say(method="notifications/progress",
        params={"progressToken": token, "progress": n, "total": 3, "message": "for jane@example.com"})
    time.sleep(0.1)
say(id=name, result=text("done"))
"""


def test_progress_reaches_the_client_of_mpp_exec_mcp_before_the_result(tmp_path: Path) -> None:
    """Under the client's own token, redacted, and only where it asked for it."""
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "mpp.toml").write_text(TOML)
    (source / "server.py").write_text(server(SLOW))
    shell.ok("keygen", "acme")
    shell.ok("build", str(source))
    shell.ok("install", "acme-echo-1.0.0.mpp", "--approve")
    assert shell.ok("run", "acme/echo").out == "done\n"
    with Peer(shell) as peer:
        peer.initialize()
        result = peer.call("acme_echo_slow", _meta={"progressToken": "mine"})["result"]
        assert result["content"] == [{"type": "text", "text": "done"}]
        told = [each["params"] for each in peer.silent()]
        assert [each["progress"] for each in told] == [1, 2, 3]
        assert {(each["progressToken"], each["total"], each["message"]) for each in told} == {
            ("mine", 3, "for [EMAIL]")
        }
        assert peer.call("acme_echo_slow")["result"]["content"] == [{"type": "text", "text": "done"}]
        assert len(peer.silent()) == 3


DENIED = """
try:
    open("/etc/shadow").read()
except OSError as error:
    say(id=name, result=text(f"cannot open {error.filename!r}: {error.strerror}", isError=True))
"""


def test_a_client_of_mpp_exec_mcp_is_told_what_a_server_was_denied(tmp_path: Path) -> None:
    """Clients show their model the content, and ``_meta`` to nobody."""
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "mpp.toml").write_text(TOML)
    (source / "server.py").write_text(server(DENIED))
    shell.ok("keygen", "acme")
    shell.ok("build", str(source))
    shell.ok("install", "acme-echo-1.0.0.mpp", "--approve")
    with Peer(shell) as peer:
        peer.initialize()
        result = peer.call("acme_echo_slow")["result"]
    own, told = (block["text"] for block in result["content"])
    assert own == "cannot open '/etc/shadow': No such file or directory"
    assert "/etc/shadow" in told
    assert "[permissions.filesystem] read" in told
    assert told == result["_meta"]["mpp-exec/denied"]


def test_the_command_may_be_anything_that_the_interpreter_takes(stage: Stage) -> None:
    stage.server(server(ECHO), command=("python", "-c", "import runpy; runpy.run_path('/app/server.py')"))
    assert stage.runtime.call(NAME, "run", {"a": 1}).structured == {"a": 1}


NODE = """
require("readline").createInterface({input: process.stdin}).on("line", line => {
    const {id, method, params} = JSON.parse(line);
    const say = result => console.log(JSON.stringify({jsonrpc: "2.0", id, result}));
    if (method === "initialize") say({protocolVersion: params.protocolVersion, capabilities: {}});
    if (method === "tools/call") say({content: [{type: "text", text: params.name}]});
}).on("close", () => process.exit(0));
"""


def test_a_server_in_node(stage: Stage) -> None:
    if shutil.which("node") is None:
        missing("this host has no node")
    stage.server(
        "",
        files={"index.js": NODE.encode()},
        command=("node", "${app}/index.js"),
        requires=(Requirement("node", ">=18"),),
    )
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.content) == ("ok", [{"type": "text", "text": "run"}]), result.stderr


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = """
given = {key: value for key, value in params.get("_meta", {}).items() if "/" not in key}
say(id=name, result=text("x", structuredContent=given))
"""


@pytest.mark.parametrize("era", [LEGACY, MODERN], ids=["legacy", "modern"])
def test_trace_context_reaches_the_server_and_baggage_does_not(tmp_path: Path, era: str) -> None:
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "mpp.toml").write_text(TOML)
    (source / "server.py").write_text(server(TRACED, era=era))
    shell.ok("keygen", "acme")
    shell.ok("build", str(source))
    shell.ok("install", "acme-echo-1.0.0.mpp", "--approve")
    with Peer(shell) as peer:
        peer.initialize()

        def seen(**sent: Any) -> Any:
            return peer.call("acme_echo_slow", _meta=sent)["result"]["structuredContent"]

        everything = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=jane", "own": 1}
        assert seen(**everything) == {"traceparent": PARENT, "tracestate": "a=b"}
        assert seen(traceparent=PARENT, tracestate="a\nb") == {"traceparent": PARENT}
        for wrong in (PARENT.upper(), PARENT.replace("00-", "ff-", 1), "00-" + "0" * 32 + PARENT[35:], "", 7):
            assert seen(traceparent=wrong, tracestate="a=b") == {}
