"""The client's side of a session with a server, without any server: bytes in, bytes out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.dialogue.long import MAX_UNASKED, is_answer, long_request
from mpp_exec.dialogue.session import MAX_LINES, Asked, Progress, Reading, Session

READING = Reading(max_size=1 << 20, max_depth=32, max_values=1000)
CALL = Asked("tools/call", '{"arguments":{},"name":"t"}')


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def result(number: int, value: Any) -> bytes:
    return line(id=number, result=value)


WELCOME = result(1, {"protocolVersion": "2025-06-18", "capabilities": {}})
DONE = result(2, {"content": []})


def session(**more: Any) -> Session:
    made = Session(CALL, READING, **more)
    made.opening()
    return made


def messages(data: bytes | None) -> list[dict[str, Any]]:
    assert data is not None
    return [json.loads(each) for each in data.splitlines()]


def test_a_handshake_and_a_call() -> None:
    made = Session(CALL, READING)
    (first,) = messages(made.opening())
    assert (first["method"], first["params"]["protocolVersion"]) == ("initialize", "2025-11-25")
    initialized, call = messages(made.hear(WELCOME))
    assert initialized["method"] == "notifications/initialized"
    assert call == {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"arguments": {}, "name": "t"},
    }
    assert made.hear(DONE + result(2, "second")) is None
    assert (made.end.kind, made.end.value, made.version) == ("result", {"content": []}, "2025-06-18")
    assert made.hear(result(2, "third")) is None
    assert made.end.value == {"content": []}


def test_a_second_answer_to_the_handshake_is_passed_over() -> None:
    made = session()
    made.hear(WELCOME + WELCOME)
    made.hear(WELCOME + DONE)
    assert made.end.kind == "result"


@pytest.mark.parametrize("version", ["2099-01-01", "2026-07-28", "", None, 5, ["2025-06-18"]])
def test_a_handshake_with_another_version_is_none(version: Any) -> None:
    made = session()
    assert made.hear(result(1, {"protocolVersion": version})) is None
    assert made.end.kind == "fault"


def test_a_server_without_a_handshake_is_told_version_and_capabilities_each_time() -> None:
    made = session()
    (discover,) = messages(made.hear(line(id=1, error={"code": -32601, "message": "no"})))
    assert discover["method"] == "server/discover"
    (call,) = messages(made.hear(result(2, {"supportedVersions": ["2030-01-01", "2026-07-28"]})))
    for each in (discover, call):
        meta = each["params"]["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
    assert call["params"]["name"] == "t"
    made.hear(result(3, {"content": []}))
    assert made.end.kind == "result"


NOTICED = line(id=None, error={"code": -32601, "message": "Unknown method: notifications/initialized"})


def test_an_answer_to_the_notification_is_passed_over_once() -> None:
    made = session()
    made.hear(WELCOME)
    assert made.hear(NOTICED) == b""
    made.hear(DONE)
    assert made.end.kind == "result"
    twice = session()
    twice.hear(WELCOME + NOTICED + NOTICED)
    assert twice.end.kind == "fault", "the second one is about the call"


def test_an_answer_to_the_notification_may_come_while_nobody_asks() -> None:
    """A server that was started ahead of its call is read again when that comes."""
    made = Session(None, READING)
    made.opening()
    made.hear(WELCOME)
    called = Session(CALL, READING)
    called.resume(made)
    called.hear(NOTICED + DONE)
    assert called.end.kind == "result"


@pytest.mark.parametrize("code", [-32700, -32600])
def test_a_server_that_cannot_read_is_believed(code: int) -> None:
    made = session()
    made.hear(WELCOME + line(id=None, error={"code": code, "message": "what?"}))
    assert made.end.kind == "fault"


def test_ids_that_a_server_returns_as_text_are_taken() -> None:
    made = session()
    made.hear(line(id="1", result={"protocolVersion": "2024-11-05"}))
    made.hear(line(id="2", result={"content": []}))
    assert made.end.kind == "result"


def test_several_requests_in_turn() -> None:
    def following(value: Any) -> Asked | None:
        return Asked("tools/list", json.dumps({"cursor": value["next"]})) if "next" in value else None

    made = Session(Asked("tools/list", "{}"), READING, following=following)
    made.opening()
    made.hear(WELCOME)
    (again,) = messages(made.hear(result(2, {"next": "b"})))
    assert again["params"] == {"cursor": "b"}
    made.hear(result(3, {"last": True}))
    assert made.end.value == {"last": True}


def test_a_batch_is_its_messages() -> None:
    made = session()
    made.hear(WELCOME)
    batch = [
        json.loads(line(method="notifications/message", params={"level": "info", "data": "x"})),
        json.loads(DONE),
    ]
    made.hear(json.dumps(batch).encode() + b"\n")
    assert made.end.kind == "result"
    assert made.aside == "[info] x\n"


def test_progress_grows_and_is_of_this_call() -> None:
    seen: list[Progress] = []
    made = session(progress=seen.append)
    _, call = messages(made.hear(WELCOME))
    token = call["params"]["_meta"]["progressToken"]
    for progress, name in (
        (1, token),
        (1, token),
        (0, token),
        (2, 99),
        (True, token),
        ("3", token),
        (2.5, str(token)),
    ):
        made.hear(line(method="notifications/progress", params={"progressToken": name, "progress": progress}))
    made.hear(
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1e400}}\n'
    )
    assert [each.progress for each in seen] == [1, 2.5]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_where_the_pipe_cuts_changes_nothing(cuts: list[int]) -> None:
    said = b"noise\n" + WELCOME + b"\n\r\n" + line(id="p", method="ping") + DONE + b"after"
    made, answers = session(), b""
    edges = sorted({0, len(said), *(cut % len(said) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        answers += made.hear(said[begin:end]) or b""
    whole = session()
    expected = whole.hear(said)
    assert (made.end, made.aside) == (whole.end, whole.aside)
    assert made.end.kind == "result"
    assert expected is None
    assert not answers or b"notifications/initialized" in answers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("id", "method", "params", "result", "error", "_meta", "progressToken", "progress", "x")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.lists(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), max_size=12))
def test_nothing_a_server_says_raises_oris_answered_at_length(lines: list[bytes]) -> None:
    made = session(progress=lambda _: None)
    for each in lines:
        answer = made.hear(each + b"\n")
        assert answer is None or len(answer) < 1000
    made.hear(WELCOME)
    assert made.end.kind in ("open", "fault", "error", "result")


@given(JSON, st.sampled_from((1, 2, "1", None)))
def test_no_form_of_a_message_raises(value: Any, number: Any) -> None:
    made = session()
    made.hear(WELCOME)
    message = {**value, "jsonrpc": "2.0"} if isinstance(value, dict) else {"jsonrpc": "2.0", "result": value}
    if number is not None:
        message["id"] = number
    made.hear(json.dumps(message).encode() + b"\n")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (line(id=3, result={}), "nobody made"),
        (line(id=0, result={}), "nobody made"),
        (line(id=2, result={}, error={"code": 1, "message": "m"}), "both"),
        (line(id=1.0, result={}), "nobody made"),
        (b'{"jsonrpc":"2.0","id":2,"result":' + b"[" * 40 + b"]" * 40 + b"}\n", "cannot be read"),
        (b'{"jsonrpc":"2.0","id":2,"result":[' + b"0," * 1001 + b"0]}\n", "values"),
        (b"x\n" * (MAX_LINES + 1), "lines"),
        (line(id=None, error={"code": -32700, "message": "m"}), "could not read"),
    ],
)
def test_faults_end_it(said: bytes, sentence: str) -> None:
    made = session()
    made.hear(WELCOME)
    assert made.hear(said) is None
    assert made.end.kind == "fault"
    assert sentence in made.end.message


LONG = "x" * MAX_UNASKED


def test_a_long_message_that_nobody_asked_for_is_kept_as_text() -> None:
    """Parsing a log of many values, to write it out again, would be work of the server's choice."""
    made = session()
    made.hear(WELCOME)
    log = line(method="notifications/message", params={"level": "info", "data": [LONG, 1.5]})
    assert made.hear(log) == b""
    assert made.aside.encode() == log
    broken = b'{"jsonrpc":"2.0","method":"notifications/x","params":[' + LONG.encode() + b"\n"
    assert made.hear(broken) == b""
    assert made.end.kind == "open"


@pytest.mark.parametrize(
    "said",
    [
        b'{"jsonrpc":"2.0","id":2,"result":{"a":"%b"}}',
        b'{"result":{"a":"%b"},"jsonrpc":"2.0","id":2}',
        b' { "id" : "2" , "jsonrpc" : "2.0", "x": null, "result":{"a":"%b"}} ',
    ],
)
def test_a_long_answer_is_read_whatever_comes_first(said: bytes) -> None:
    made = session()
    made.hear(WELCOME)
    assert made.hear(said % LONG.encode() + b"\n") is None
    assert made.end.value == {"a": LONG}


def test_along_request_is_refused_unread() -> None:
    made = session()
    made.hear(WELCOME)
    request = b'{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":["%b"' % LONG.encode()
    (answer,) = messages(made.hear(request + b"\n"))
    assert (answer["id"], answer["error"]["code"]) == ("s1", -32601)


def test_a_line_without_an_end_costs_what_it_is_long() -> None:
    made = session()
    for _ in range(20_000):
        assert made.hear(b"xxxxxxxxxx") == b""
    assert made.end.kind == "open"


NAMES = st.sampled_from(("jsonrpc", "id", "method", "params", "result", "error", "x", 'a"b'))


@given(st.lists(st.tuples(NAMES, JSON), unique_by=lambda member: member[0], max_size=5))
def test_what_a_message_is_taken_for_unread_is_what_it_says_when_read(members: list[tuple[str, Any]]) -> None:
    said = json.dumps(dict(members)).encode()
    if is_answer(said):
        names = [name for name, _ in members]
        assert {"result", "error"} & set(names)
    request = long_request(said)
    if request is not None:
        assert request.items() <= dict(members).items()
