"""What a connection tells whoever may have to go on with it: lines that are needed, answers that are owed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.errors import UsageError
from mpp_exec.mcp import relayed
from mpp_exec.mcp.relayed import RelayedWire, State
from mpp_exec.mcp.wire import MAX_MESSAGE, Lines, TooLong, WireClosedError


class Told:
    """A wire, the client's end of it, and what that was told."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        self.server = server
        server.setblocking(False)
        self.stop = os.eventfd(0)
        self.told: list[tuple[bytes, int, list[int], bytes]] = []
        self.stalled = 0
        self.wire = RelayedWire(
            server.fileno(), self.stop, lambda *facts: self.told.append(facts), self.stalls
        )
        self.messages = self.wire.messages(10)

    def stalls(self) -> None:
        self.stalled += 1

    def take(self, *lines: bytes) -> list[object]:
        """Send *lines*, and return what came of it until the wire waits for more."""
        found = []
        for line in self.read(*lines):
            found.append(line)
            self.wire.taken()
        return found

    def read(self, *lines: bytes) -> Iterator[object]:
        """Send *lines*, and yield what came of each, to be worked on."""
        self.client.sendall(b"".join(line + b"\n" for line in lines))
        for _ in lines:
            yield next(self.messages)

    def settled(self) -> tuple[int, list[int]]:
        """Return how many lines were read, and which of them are needed, as the client knows it."""
        assert next(self.messages) is None
        _, read, needed, _ = self.told[-1]
        return read, needed

    @property
    def state(self) -> State:
        state = State.read(self.told[-1][3])
        assert state is not None
        return state


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.client.close()
    made.server.close()
    os.close(made.stop)


def test_a_line_is_needed_until_its_request_is_answered(told: Told) -> None:
    assert told.take(b"a") == [b"a"]
    told.wire.took(1)
    assert told.settled() == (1, [0])
    told.wire.send({"id": 1, "result": {}})
    assert told.told[-1][:3] == (b'{"id":1,"result":{}}\n', 1, [])
    assert not told.state.owed


def test_a_request_that_begins_is_owed_an_answer_before_it_does(told: Told) -> None:
    told.take(b"a")
    told.wire.took(1)
    told.wire.begins(1, modern=True)
    assert told.told[-1][:3] == (b"", 1, [])
    assert list(told.state.owed) == [(1, True)]
    told.wire.send({"id": 1, "error": {}})
    assert not told.state.owed


@pytest.mark.parametrize("does", ["begins", "is answered"])
def test_what_comes_of_a_line_is_never_told_without_that_it_was_read(told: Told, does: str) -> None:
    """A client that knew of the one and not of the other would have it served a second time."""
    (line,) = told.read(b"[a,b]")
    assert line == b"[a,b]"
    told.wire.took(1)

    def work() -> None:
        if does == "begins":
            told.wire.begins(1, modern=True)
        else:
            told.wire.send({"id": 1, "result": {}})

    with ThreadPoolExecutor(1) as other:
        over = other.submit(work)
        with pytest.raises(TimeoutError):
            over.result(0.1)  # while the line is worked on, whatever the other thread does
        assert told.told == []
        told.wire.took(2)
        told.wire.taken()
        over.result(10)
    assert [read for _, read, _, _ in told.told] == [1]


def test_what_is_answered_at_once_is_told_with_the_end_of_its_line(told: Told) -> None:
    assert list(told.read(b"a")) == [b"a"]
    told.wire.remember(ready=True)
    told.wire.send({"id": 1, "result": {}})
    told.wire.send({"method": "notifications/x"})
    assert told.told == []
    told.wire.taken()
    assert [facts[:3] for facts in told.told] == [
        (b'{"id":1,"result":{}}\n{"method":"notifications/x"}\n', 1, [])
    ]


def test_who_waits_for_the_end_of_a_line_hears_that_the_client_goes_on_by_itself(told: Told) -> None:
    assert list(told.read(b"a")) == [b"a"]
    told.wire.took(1)
    with ThreadPoolExecutor(1) as other:
        over = other.submit(told.wire.begins, 1, modern=True)
        with pytest.raises(TimeoutError):
            over.result(0.1)
        told.wire.move()
        with pytest.raises(WireClosedError):
            over.result(10)


def test_a_line_of_several_requests_is_repeated_as_a_whole_or_not_at_all(told: Told) -> None:
    told.take(b"[a,b]")
    told.wire.took(1)
    told.wire.took("1")
    told.wire.begins(1, modern=False)
    assert list(told.state.owed) == [(1, False), ("1", False)]
    told.wire.send([{"id": 1, "result": {}}, {"id": "1", "result": {}}])
    assert not told.state.owed


def test_what_is_over_is_not_served_again_with_the_others_of_its_line(told: Told) -> None:
    told.take(b"[a,b]")
    told.wire.took(1)
    told.wire.took(2)
    assert told.settled() == (1, [0])
    told.take(b"cancel 1")
    told.wire.forgets(1)
    assert told.settled() == (2, [0])
    assert told.state.over == (1,)
    told.wire.send({"id": 2, "result": {}})
    assert not told.state.over


def test_a_question_with_the_id_of_a_request_is_no_answer_to_it(told: Told) -> None:
    told.take(b"a")
    told.wire.took("x")
    told.wire.send({"id": "x", "method": "elicitation/create"})
    assert told.settled() == (1, [0])


def test_nothing_begins_once_the_client_goes_on_by_itself(told: Told) -> None:
    told.take(b"a")
    told.wire.took(1)
    before = len(told.told)
    told.wire.move()
    with pytest.raises(WireClosedError):
        told.wire.begins(1, modern=False)
    with pytest.raises(WireClosedError):
        told.wire.send({"id": 1, "result": {}})
    told.wire.forgets(1)
    assert len(told.told) == before


def test_lines_without_a_message_are_counted(told: Told) -> None:
    told.client.sendall(b"\n  \na\n\n")
    assert next(told.messages) == b"a"
    told.wire.took(1)
    assert told.settled() == (4, [2])


def test_the_state_is_read_as_it_was_told(told: Told) -> None:
    told.wire.remember(legacy=["2025-11-25", True, "peer 1"], ready=True, subscriptions=[3, "x"], opened="p")
    told.wire.send({"method": "notifications/tools/list_changed"})
    assert told.state == State(("2025-11-25", True, "peer 1"), True, (3, "x"), (), (), "p")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_state_is_read_into_anything_else(value: object) -> None:
    for member in ("owed", "legacy", "subscriptions"):
        said = {"form": 1, "owed": [], member: value}
        with contextlib.suppress(UsageError):
            state = State.read(json.dumps(said).encode())
            assert state is not None
            assert all(isinstance(name, int | str) for name, _ in state.owed)


@given(st.lists(st.binary(max_size=8)), st.data())
def test_lines_do_not_depend_on_how_they_come(parts: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(parts)
    lines = Lines()
    found: list[bytes | TooLong] = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        found += lines.feed(text[:size])
        text = text[size:]
    whole = b"\n".join(parts)
    assert found == [line for line in whole.split(b"\n")[:-1] if line.strip()]
    assert lines.ended == whole.count(b"\n")


def test_a_line_that_is_too_long_is_counted_once() -> None:
    lines = Lines()
    found = [each for part in (b"x" * MAX_MESSAGE, b"x", b"x\n", b"a\n") for each in lines.feed(part)]
    assert [type(each) for each in found] == [TooLong, bytes]
    assert lines.ended == 2


@pytest.mark.parametrize("held", [False, True])
def test_call_that_has_its_turn_does_not_wait_for_a_client_that_does_not_read(
    told: Told, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Whether nobody is being told anything, or another thread waits for it to be taken."""
    monkeypatch.setattr(relayed, "_PATIENCE", 0.05)
    for _ in told.read(b"{}"):
        told.wire.took(1)
        told.wire.taken()
    if held:
        with told.wire._turn, ThreadPoolExecutor(1) as other, pytest.raises(WireClosedError):
            other.submit(told.wire.begins, 1, modern=True).result()
    else:
        with contextlib.suppress(BlockingIOError):
            while True:
                told.server.send(bytes(1 << 16))
        with pytest.raises(WireClosedError):
            told.wire.begins(1, modern=True)
    assert told.stalled == 1
    assert told.wire.moved, "it goes on by itself, where the call has not begun"
