"""What a hostile MCP server in a package tries on the runtime that is its client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_servers import raw, server
from mpp_exec.calls.said import MAX_VALUES
from mpp_exec.dialogue.session import MAX_LINES, Progress
from mpp_exec.mcp.catalog import build
from mpp_exec.permissions import Limits
from sandbox_lab import init_processes
from stage import NAME, Stage

SHORT = Limits(wall_ms=1500)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


NEVER_ANSWERING = {
    "says nothing": raw("while True: read()"),
    "does not read": raw("time.sleep(3600)"),
    "never answers the call": server("pass"),
    "half a line": server(
        'sys.stdout.write(\'{"jsonrpc": "2.0", "id": 2, "result": {"content": []}}\'); '
        "sys.stdout.flush(); time.sleep(3600)"
    ),
    "one byte at a time": server(
        """
        while True:
            os.write(1, b" ")
        """
    ),
    "a notification in the place of the answer": server('say(method="x", result={"content": []})'),
    "its own request in the place of the answer": server(
        'say(id=name, method="tools/call", result=text("a"))'
    ),
}


@pytest.mark.parametrize("name", NEVER_ANSWERING)
def test_a_server_that_never_answers_is_stopped_at_the_limit(stage: Stage, name: str) -> None:
    stage.server(NEVER_ANSWERING[name], limits=SHORT)
    begun = time.monotonic()
    result = stage.runtime.call(NAME)
    assert result.outcome in ("timeout", "cpu", "output"), result.reason
    assert time.monotonic() - begun < 20
    assert result.structured is None
    assert not init_processes()


FAULTS = {
    "answers another id": (server('say(id=77, result=text("a"))'), "answered a request that nobody made"),
    "answers the id true": (server('say(id=True, result=text("a"))'), "answered a request that nobody made"),
    "answers ahead of the call": (
        raw('read(); say(id=2, result={"content": []}); say(id=1, result=welcome()); time.sleep(3600)'),
        "answered a request that nobody made",
    ),
    "both result and error": (
        server('say(id=name, result=text("a"), error={"code": 1, "message": "b"})'),
        "both a result and an error",
    ),
    "neither": (server("say(id=name)"), "neither a method nor a result"),
    "another JSON-RPC": (
        server('print(json.dumps({"jsonrpc": "1.0", "id": name, "result": {}}), flush=True)'),
        "none of JSON-RPC 2.0",
    ),
    "a list of what is none": (server("print('[\"jsonrpc\"]', flush=True)"), "none of JSON-RPC 2.0"),
    "nested without end": (
        server(
            """
            print('{"jsonrpc": "2.0", "id": 2, "result": ' + '[' * 100000 + ']' * 100000 + "}", flush=True)
            """
        ),
        "cannot be read",
    ),
    "the same key twice": (
        server(
            """
            print('{"jsonrpc": "2.0", "id": 2, "result": {"content": [], "content": [1]}}', flush=True)
            """
        ),
        "cannot be read",
    ),
    "more values than anybody reads": (
        server(f'say(id=name, result={{"content": [0] * {MAX_VALUES + 1}}})'),
        "values",
    ),
    "not UTF-8": (
        server("""os.write(1, b'{"jsonrpc": "2.0", "id": 2, "result": {"a": "\\xff"}}\\n')"""),
        "cannot be read",
    ),
    "a version of its own": (
        raw('m = read(); say(id=m["id"], result=welcome("2099-01-01")); time.sleep(3600)'),
        "a version that is not spoken here",
    ),
    "no version": (
        raw('m = read(); say(id=m["id"], result=[]); time.sleep(3600)'),
        "a version that is not spoken",
    ),
    "refuses every handshake": (
        raw('while True: m = read(); say(id=m["id"], error={"code": -1, "message": "go, jane@example.com"})'),
        "refused the handshake: go, [EMAIL]",
    ),
    "could not read": (server('say(id=None, error={"code": -32700, "message": "what?"})'), "what?"),
    "dies before the handshake": (raw("sys.exit(3)"), "ended before it answered: it ended with status 3"),
    "dies in the handshake": (
        raw('m = read(); say(id=m["id"], result=welcome()); read(); sys.exit(0)'),
        "ended before it answered",
    ),
    "a flood of lines": (
        # Not without end: on a busy machine the limit of output could be seen first.
        server("os.write(1, b'x\\n' * 20_000); time.sleep(3600)"),
        f"more than {MAX_LINES} lines",
    ),
    "a flood of notifications": (
        server('while True: say(method="notifications/progress", params={})'),
        f"more than {MAX_LINES} lines",
    ),
    "a flood of requests that it does not read": (
        server('while True: say(id=1, method="ping")'),
        f"more than {MAX_LINES} lines",
    ),
    "a result that is no object": (server("say(id=name, result=5)"), "its result is not an object"),
    "a result without content": (server("say(id=name, result={})"), "no content list"),
    "a request with an id that is none": (server('say(id=[1], method="ping")'), "an id that is none"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_breaks_the_protocol_is_ended_at_once(stage: Stage, name: str) -> None:
    source, sentence = FAULTS[name]
    stage.server(source, limits=Limits(wall_ms=60_000, cpu_ms=60_000, output=8 << 20))
    begun = time.monotonic()
    result = stage.runtime.call(NAME)
    assert result.outcome == "protocol", (result.outcome, result.reason, result.stderr[-300:])
    assert sentence in result.reason
    assert time.monotonic() - begun < 45
    assert result.is_error
    assert "jane@" not in str(result)
    assert not init_processes()


def test_a_second_answer_changes_nothing(stage: Stage) -> None:
    """Neither of the handshake nor of the call."""
    stage.server(
        server(
            """
            answers = ((1, welcome("2024-11-05")), (name, text("first")), (name, text("second")))
            lines = [json.dumps({"jsonrpc": "2.0", "id": id, "result": result}) for id, result in answers]
            os.write(1, "".join(line + "\\n" for line in lines).encode())  # at once, so that all are read
            """
        )
    )
    assert stage.runtime.call(NAME).content == [{"type": "text", "text": "first"}]


def test_a_flood_of_output_is_bounded(stage: Stage) -> None:
    stage.server(
        server('while True: say(method="x", params={"a": "b" * 100000})'), limits=Limits(output=1 << 20)
    )
    result = stage.runtime.call(NAME)
    assert result.outcome == "output"
    assert len(str(result.stderr)) < 2 << 20


def test_a_rug_pull_a_server_that_lists_other_tools_changes_nothing_that_is_offered(stage: Stage) -> None:
    """What is offered stands in the signed manifest; the server is never asked."""
    stage.server(
        server(
            """
            asked = any(each.get("method") == "tools/list" for each in seen)
            say(method="notifications/tools/list_changed")
            say(id=name, result=text(f"{params['name']} {asked}"))
            """,
            start="",
        )
    )
    before = build(stage.runtime, ()).page(None)
    assert stage.runtime.call(NAME).content[0]["text"] == "run False"
    assert build(stage.runtime, ()).page(None) == before
    assert [tool["name"] for tool in before[0]] == ["acme_echo_run"]


def test_progress_tells_nothing_unredacted_and_floods_nobody(stage: Stage) -> None:
    stage.server(
        server(
            """
            token = params["_meta"]["progressToken"]
            for n in range(3000):
                say(method="notifications/progress", params={"progressToken": token, "progress": n,
                    "total": 4111111111111111, "message": "jane@example.com", "more": "jane@example.com"})
            say(id=name, result=text("done"))
            """
        ),
        limits=Limits(output=8 << 20),
    )
    seen: list[Progress] = []
    result = stage.runtime.call(NAME, progress=seen.append)
    assert result.outcome == "ok", result.reason
    assert 0 < len(seen) < 300
    assert "jane@" not in str(seen)
    assert "4111111111111111" not in str(seen)


def test_a_server_cannot_keep_the_runtime_from_its_limits_by_talking(stage: Stage) -> None:
    """Each of its lines is work for the runtime, which looks at the time between any two."""
    stage.server(
        server(
            """
            while True:
                say(id="p", method="ping")
                sys.stdin.readline()
            """
        ),
        limits=Limits(wall_ms=1000),
    )
    begun = time.monotonic()
    assert stage.runtime.call(NAME).outcome in ("timeout", "protocol")
    assert time.monotonic() - begun < 10
