"""Calls that no sandbox was prepared for: what is done while theirs is built, works and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.audit import committer
from mpp_exec.permissions import Permissions
from sandbox_lab import init_processes
from stage import NAME, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=0) as made:
        yield made


def test_start_is_committed_while_the_tool_works(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits for it in the end: by the ledger's thread, long before it would be by itself."""
    stage.python("def run(stay=False):\n    while stay:\n        pass\n")
    stage.runtime.call(NAME)
    monkeypatch.setattr(committer, "START_AFTER", 600)
    journal = stage.runtime.ledger._journal
    commit = journal.commit
    started = threading.Event()

    def noted(records: list[Any]) -> None:
        commit(records)
        if any(record.kind == "start" for record in records):
            started.set()

    journal.commit = noted  # type: ignore[method-assign]
    ended: list[str] = []
    caller = threading.Thread(
        target=lambda: ended.append(stage.runtime.call(NAME, "", {"stay": True}).outcome)
    )
    caller.start()
    assert until(started.is_set)
    assert not ended, "the tool works"
    stage.runtime.store.revoke(NAME)
    caller.join()
    assert ended == ["killed"]


def _left_at_the_end(stage: Stage) -> set[int]:
    """Make a call; return what of its sandbox is there when its end is put on record."""
    ledger = stage.runtime.ledger
    finish = ledger.finish
    left: set[int] = set()

    def looked(*arguments: Any) -> None:
        left.update(init_processes())
        finish(*arguments)

    ledger.finish = looked  # type: ignore[method-assign,assignment]
    assert stage.runtime.call(NAME).outcome == "ok"
    assert not init_processes(), "a call is over when all of it is gone"
    return left


def test_kernel_frees_a_sandbox_while_its_end_is_put_on_record(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n")
    assert _left_at_the_end(stage)


def test_tool_that_may_start_programs_is_waited_for_with_all_that_it_started(stage: Stage) -> None:
    """Its own end says nothing about theirs."""
    stage.python(
        "import os\ndef run():\n    if os.fork() == 0:\n        os.closerange(0, 64)\n        while True:\n"
        "            pass\n",
        permissions=Permissions(subprocess=("true",)),
    )
    assert not _left_at_the_end(stage)


def test_call_that_fails_in_the_end_leaves_nothing(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n")
    stage.runtime.call(NAME)

    def finish(*_: Any) -> None:
        assert init_processes()
        raise RuntimeError("no end")

    stage.runtime.ledger.finish = finish  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError, match="no end"):
        stage.runtime.call(NAME)
    assert not init_processes()
