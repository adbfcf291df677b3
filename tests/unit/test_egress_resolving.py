"""The threads that ask the host's resolver: where none can be had, and at their end."""

from __future__ import annotations

import _thread
import os
import select
import threading
from typing import Any

import pytest

from eventually import until
from mpp_exec.egress.resolving import Job, Resolver


def asked(resolver: Resolver, *names: str) -> list[tuple[str, list[str]]]:
    """Have *names* resolved, and return the answers when all of them are there."""
    told: list[tuple[str, list[str]]] = []
    for name in names:
        resolver.ask(Job("one", name, 443, lambda found, name=name: told.append((name, found))))  # type: ignore[misc]
    waiting = select.poll()
    waiting.register(resolver.wake, select.POLLIN)
    while len(told) < len(names):
        assert waiting.poll(10_000)
        resolver.deliver()
    return sorted(told)


@pytest.mark.parametrize("before", [0, 1])
def test_without_a_thread_to_be_had_names_are_resolved_by_those_there_are(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """A user's limit on processes that is reached for a moment costs one answer, and no other sandbox any."""
    resolver = Resolver(lambda _, __: ["192.0.2.1"])
    start, left = _thread.start_new_thread, [before]

    def refuse(*arguments: Any) -> int:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return start(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", refuse)
        found = ["192.0.2.1"] if before else []
        assert asked(resolver, "a", "b") == [("a", found), ("b", found)]
    assert asked(resolver, "a", "b") == [("a", ["192.0.2.1"]), ("b", ["192.0.2.1"])]
    resolver.close()


def test_an_answer_after_the_end_wakes_no_other_file() -> None:
    """The number of the descriptor that wakes the loop may be another file's by then."""
    asked, answer, ends = threading.Event(), threading.Event(), []

    def resolve(_: str, __: int) -> list[str]:
        ends.append(threading.get_native_id())
        asked.set()
        answer.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(resolve)
    resolver.ask(Job("one", "api.example.com", 443, lambda _: None))
    assert asked.wait(10)
    resolver.close()
    other = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        assert other == resolver.wake
        answer.set()
        assert until(lambda: not os.path.exists(f"/proc/self/task/{ends[0]}"))  # noqa: PTH110
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
    finally:
        os.close(other)
