"""The calls of one connection, by the ids that its client gave them."""

from __future__ import annotations

import queue
import threading
from typing import Any, Final

import pytest

from consent_samples import REQUEST
from mpp_exec.errors import ConsentError
from mpp_exec.mcp import calling
from mpp_exec.mcp.calling import Call, Calls, Questions
from mpp_exec.mcp.messages import Response
from mpp_exec.mcp.shares import Share

SECONDS: Final = 20


def call() -> Call:
    return Call("again", lambda _: False, lambda: None)


def test_an_id_is_free_before_its_answer_is_sent() -> None:
    """Whoever has the answer may use the id again at once, and cancel what is over."""
    calls = Calls(Share())
    answered: queue.SimpleQueue[bool] = queue.SimpleQueue()
    goes_on = threading.Event()

    def work(one: Call) -> None:
        wanted = calls.leave(one)
        answered.put(wanted and "again" not in calls)
        goes_on.wait(SECONDS)

    try:
        assert calls.start(call(), work)
        assert answered.get(timeout=SECONDS)
        calls.cancel("again")  # the one that is over
        assert calls.start(call(), work)
        assert answered.get(timeout=SECONDS), "and not the next one"
    finally:
        goes_on.set()
        calls.close()


def test_a_call_that_was_cancelled_in_time_has_no_answer() -> None:
    calls = Calls(Share())
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work(one: Call) -> None:
        one.over.wait(SECONDS)
        wanted.put(calls.leave(one))

    try:
        assert calls.start(call(), work)
        calls.cancel("again")
        assert not wanted.get(timeout=SECONDS)
    finally:
        calls.close()


def test_an_answer_that_comes_too_late_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it one to the next question of the same call."""
    monkeypatch.setattr(calling, "PATIENCE", 0.01)
    sent: list[dict[str, Any]] = []
    questions = Questions(sent.append)
    one = call()
    for _ in range(2):
        with pytest.raises(ConsentError) as refused:
            questions.put(one, REQUEST, "elicitation/create", {})
        assert refused.value.code == "confirm.unanswered"
        asked, withdrawn = sent[-2:]
        assert withdrawn["params"]["requestId"] == asked["id"], "who is still asked is told"
        questions.answer(Response(asked["id"], {"action": "accept", "content": {"confirm": True}}))
        assert not one.over.is_set()


def test_calls_end_before_their_connection_is_closed() -> None:
    """How they ended is put on record by their own threads, while there is something to put it on."""
    calls = Calls(Share())
    begun, ended = threading.Event(), threading.Event()

    def work(one: Call) -> None:
        begun.set()
        one.over.wait(SECONDS)
        calls.leave(one)
        threading.Event().wait(0.2)  # what a slow disk takes
        ended.set()

    assert calls.start(call(), work)
    assert begun.wait(SECONDS)
    calls.close()
    assert ended.is_set()
