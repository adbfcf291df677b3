"""What an ended invocation means: the contract's words, one by one."""

from __future__ import annotations

import signal
from typing import Any, get_args

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox.outcome import Outcome, judge, signal_name
from mpp_exec.sandbox.supervise import STOPS, RawOutcome

LIMITS = Limits()
BASE = RawOutcome(
    step="none",
    error=0,
    detail=0,
    stop="none",
    status=0,
    processes_peak=1,
    user_us=1000,
    system_us=1000,
    resident_peak=10 << 20,
    stamps={},
    output=b"",
    errors=b"",
)


def raw(**changes: Any) -> RawOutcome:
    return BASE._replace(**changes)


def exited(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("outcome", "seen"),
    [
        ("ok", raw()),
        ("ok", raw(resident_peak=LIMITS.memory, processes_peak=99)),  # what went well was within its limits
        ("tool_error", raw(status=exited(1))),
        ("tool_error", raw(status=exited(255))),
        ("timeout", raw(stop="wall", status=-1)),
        ("cpu", raw(stop="cpu", status=-1)),
        ("cpu", raw(status=signal.SIGXCPU, user_us=LIMITS.cpu_ms * 1000)),
        ("tool_error", raw(status=signal.SIGXCPU)),  # which it sent itself
        ("cpu", raw(status=signal.SIGKILL, user_us=LIMITS.cpu_ms * 1000)),  # the hard limit's own signal
        ("memory", raw(stop="memory", status=-1)),
        ("memory", raw(status=exited(1), resident_peak=LIMITS.memory)),
        ("memory", raw(status=signal.SIGSEGV, resident_peak=LIMITS.memory)),
        ("memory", raw(status=signal.SIGKILL, resident_peak=LIMITS.memory)),
        ("memory", raw(status=signal.SIGABRT | 0x80, resident_peak=LIMITS.memory)),  # with a core dump
        ("output", raw(stop="output", status=-1)),
        ("processes", raw(status=exited(1), processes_peak=LIMITS.processes)),
        # What a cgroup counted is exact, whatever sampling saw; its group dies as one, init included.
        ("memory", raw(stop="lost", status=-1, memory_kills=2)),
        ("memory", raw(status=signal.SIGKILL, memory_kills=1)),
        ("timeout", raw(stop="wall", status=-1, memory_kills=1)),
        ("processes", raw(status=exited(1), processes_denied=1)),
        ("ok", raw(processes_denied=1)),
        ("syscall", raw(status=signal.SIGSYS)),
        ("syscall", raw(status=signal.SIGSYS | 0x80)),
        ("killed", raw(status=signal.SIGKILL)),
        ("killed", raw(stop="cancelled", status=-1)),
        ("killed", raw(stop="lost", status=-1)),
        ("tool_error", raw(status=signal.SIGSEGV)),
        ("tool_error", raw(status=signal.SIGXFSZ)),
        ("tool_error", raw(status=signal.SIGTERM)),
    ],
)
def test_outcome(outcome: str, seen: RawOutcome) -> None:
    word, reason = judge(seen, LIMITS)
    assert word == outcome
    assert word in get_args(Outcome)
    assert (reason == "") == (word == "ok")
    assert reason == reason.rstrip(".")


def test_every_stop_has_a_word() -> None:
    for stop in STOPS.values():
        if stop not in ("none", "answered"):  # a dialogue that has what it was held for is stopped, and well
            assert judge(raw(stop=stop, status=-1), LIMITS)[0] != "ok"


def test_reason_names_the_limit() -> None:
    limits = Limits(wall_ms=1500, cpu_ms=250, memory=64 << 20, output=2048)
    assert "1.5 s" in judge(raw(stop="wall"), limits)[1]
    assert "0.25 s" in judge(raw(stop="cpu"), limits)[1]
    assert "64 MiB" in judge(raw(stop="memory"), limits)[1]
    assert "2 KiB" in judge(raw(stop="output"), limits)[1]


def test_signal_without_a_name_has_a_number() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(40) == "signal 40"
