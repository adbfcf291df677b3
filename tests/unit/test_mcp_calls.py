"""The calls of one connection, by the ids that its client gave them."""

from __future__ import annotations

import queue
import threading
from typing import Final

from mpp_exec.mcp.calling import Call, Calls
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
