"""The threads that ask the host's resolver, at their end."""

from __future__ import annotations

import os
import threading

import pytest

from eventually import until
from mpp_exec.egress.resolving import Job, Resolver


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
