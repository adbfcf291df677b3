"""A runtime that is closed waits for nothing without a bound; what ends behind it begins nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.calls import ended, invocation, opened
from mpp_exec.calls.images import FILES_LEAST, Images
from mpp_exec.errors import InternalError, MppError
from mpp_exec.package.manifest import FileEntry
from sandbox_lab import init_processes
from stage import NAME, Stage

ECHO = "def run(**given):\n    return 1\n"


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What hangs until the test is over."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "CLOSING", 0.3)


def closes_without(stage: Stage, what: str) -> None:
    """Close the runtime, which says that it did not see the end of *what*."""
    began = time.monotonic()
    with pytest.raises(InternalError) as caught:
        stage.runtime.close()
    assert caught.value.code == "runtime.hangs"
    assert caught.value.message.endswith(f": {what}")
    assert time.monotonic() - began < 20
    stage.runtime.close()  # closed it is


def refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except MppError as error:
        return error.code
    return ""


def states(processes: set[int]) -> set[str]:
    """Return the letters that the kernel has for them."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def test_task_that_is_asked_about_for_ever(tmp_path: Path, held: threading.Event) -> None:
    asked = threading.Event()

    def confirm(_: object) -> bool:
        asked.set()
        return held.wait()

    stage = Stage(tmp_path, confirm=confirm)
    stage.python(ECHO, tool={"operation": "destructive", "confirm": "always"})
    with ThreadPoolExecutor(1) as caller, contextlib.ExitStack() as stack:
        stack.callback(held.set)
        code = caller.submit(refused, lambda: asyncio.run(stage.runtime.acall(NAME)))
        assert asked.wait(60)
        closes_without(stage, "calls of tasks")
        held.set()
        assert code.result(60) == "runtime.closed"
    assert init_processes() == set()


def is_dead(pid: int) -> bool:
    """Whether nothing of a process is left but that nobody has asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_call_that_does_not_end(
    tmp_path: Path, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = threading.Event()
    really_read = ended.read

    def read(*words: Any, **options: Any) -> Any:
        reading.set()
        held.wait()
        return really_read(*words, **options)

    stage = Stage(tmp_path, parked=0)
    stage.python(ECHO)
    monkeypatch.setattr(invocation, "read", read)
    with ThreadPoolExecutor(1) as caller, contextlib.ExitStack() as stack:
        stack.callback(held.set)
        code = caller.submit(refused, lambda: stage.runtime.call(NAME))
        assert reading.wait(60)
        closes_without(stage, "calls")
        assert until(lambda: all(is_dead(pid) for pid in init_processes())), (
            "what is left is reaped with its call"
        )
        held.set()
        assert code.result(60) == "ledger.closed", "nobody has a result that is not on record"
    assert init_processes() == set()


def test_sandbox_that_is_lent_to_whoever_hangs_is_killed(tmp_path: Path, held: threading.Event) -> None:
    tmp_path.chmod(0o755)
    lent = threading.Event()

    def hang() -> None:
        lent.set()
        held.wait()

    stage = Stage(tmp_path)
    stage.python(ECHO)
    for _ in range(2):
        stage.runtime.call(NAME)
    assert until(lambda: stage.runtime._open().sandboxes.waiting)
    with ThreadPoolExecutor(1) as caller, contextlib.ExitStack() as stack:
        stack.callback(held.set)
        code = caller.submit(refused, lambda: stage.runtime.call(NAME, begins=hang))
        assert lent.wait(60)
        closes_without(stage, "prepared sandboxes")
        assert until(lambda: states(init_processes()) <= {"Z"}), "while it hangs, and nobody has reaped it"
        held.set()
        assert code.result(60) == "runtime.closed"
    assert init_processes() == set()


def test_image_that_is_never_made(held: threading.Event) -> None:
    images = Images()
    images.keep(frozenset({"digest"}))
    making = threading.Event()

    def make() -> Any:
        making.set()
        held.wait()

    entry = FileEntry("name", 1, b"\0" * 32, executable=False)
    assert images.wanted("digest", [entry] * FILES_LEAST, make) is None
    assert making.wait(60)
    assert not images.close(time.monotonic() + 0.1)
    held.set()
    assert images.close()


def test_ctrl_c_while_it_is_closed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever caught it, in a notebook say, cannot close the runtime a second time."""
    monkeypatch.setattr(opened, "CLOSING", 20.0)
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as stage:
        stage.python(ECHO)
        for _ in range(3):
            stage.runtime.call(NAME)
        parts = stage.runtime._open()
        assert until(lambda: parts.sandboxes.waiting > 0)

        def interrupted(_: float) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(parts.watchdog, "close", interrupted)
            with pytest.raises(KeyboardInterrupt):
                stage.runtime.close()
        assert not init_processes()
        with pytest.raises(RuntimeError, match="closed"):
            parts.store.installed()
        assert parts.ledger.verify().unsealed == 0
        assert parts.watchdog.close()


def test_what_ends_in_time_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "CLOSING", 60.0)
    tmp_path.chmod(0o755)
    stage = Stage(tmp_path)
    stage.python(ECHO)
    for _ in range(3):
        stage.runtime.call(NAME)
    asyncio.run(stage.runtime.acall(NAME))
    stage.runtime.close()
