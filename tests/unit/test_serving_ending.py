"""A resident runtime ends in bounded time, and says what it waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eventually import until
from mpp_exec.registry.home import Home
from mpp_exec.serving import ending, service
from mpp_exec.serving.ending import Ending, place_of
from mpp_exec.serving.place import Place
from mpp_exec.serving.service import Service


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place.made(Home.open(tmp_path / "home")) as made:
        yield made


@pytest.fixture(autouse=True)
def told_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "SLOW", 0.05)


def served(place: Place, home: Path, close: Any) -> Service:
    runtime: Any = SimpleNamespace(home=SimpleNamespace(path=home), close=close)
    return Service(runtime, place, lambda _: 0, idle=None)


def test_client_that_says_nothing_delays_nobody(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_FIRST_WORD", 60)
    monkeypatch.setattr(service, "_HURRY", 0.0)
    made = served(place, tmp_path, lambda: None)
    main = threading.Thread(target=made.run)
    main.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(place._address())
        assert until(lambda: made._threads)
        made.stop()
        main.join(10)
        began = time.monotonic()
        _, is_over = made.close()
        assert time.monotonic() - began < 30
    assert is_over
    assert not made._threads


def test_runtime_that_hangs_is_told_of_and_given_up(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_CLOSING", 0.3)
    held = threading.Event()
    made = served(place, tmp_path, held.wait)
    made.stop()
    made.run()
    told, is_over = made.close()
    held.set()
    assert not is_over
    (line,) = told
    assert "calls, sandboxes and the ledger (serving.service._close_runtime), and gave up" in line


def test_without_a_thread_to_be_had_the_runtime_is_closed_all_the_same(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    made = served(place, tmp_path, lambda: closed.append(1))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert made.close() == ([], True)
    assert closed == [1]


def test_a_fault_of_the_runtime_at_its_end_is_told(place: Place, tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    made = served(place, tmp_path, fail)
    with pytest.raises(ZeroDivisionError):
        made.close()


def test_how_long_it_is_there_is_no_matter_of_the_clock(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is started while the machine starts sees the clock jump when the network is there."""
    made = served(place, tmp_path, lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: 4e9)
        assert 0 <= made.status()["seconds"] < 60
    made.close()


def test_what_ends_in_time_is_not_told() -> None:
    waiting = Ending()
    done = threading.Thread(target=lambda: None)
    done.start()
    assert waiting.wait("a thread", lambda: [done], 10)
    assert waiting.wait("one that was never started", lambda: [threading.Thread()], 10)
    assert waiting.told == []


def test_meanwhile_is_what_ends_it() -> None:
    """As a client that leaves while its result waits for it."""
    held = threading.Event()
    thread = threading.Thread(target=held.wait, name="the one")
    thread.start()
    assert place_of(thread) == "the one", "no function of the project's"
    assert Ending().wait("a thread", lambda: [thread], 30, meanwhile=held.set)
