"""A caller that meets nobody commits in its own thread; in company, the committer's thread does."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ctrl_c import CtrlC
from ledger_samples import ARGUMENTS, CALLER, ENDING, INSIDE, OUTSIDE, call, codes, open_ledger
from mpp_exec.audit import committer
from mpp_exec.audit.entry import Outcome, Terms
from mpp_exec.audit.ledger import Ledger
from mpp_exec.audit.record import Ending, new_invocation
from mpp_exec.errors import InternalError, MppError

INTERRUPTED = Ending(Outcome.FAILED, code="python.KeyboardInterrupt")
LINES = tuple(f"audit/{name}.py" for name in ("ledger", "committer", "commit", "journal", "database"))


def settle(ledger: Ledger) -> None:
    """Wait until nobody else is writing, so that the next call is alone."""
    end = time.monotonic() + 10
    ledger.list()
    while ledger._committer._turn is not None:
        assert time.monotonic() < end
        time.sleep(0.0001)


def interrupted_call(ledger: Ledger, terms: Terms, line: int, again: int) -> bool:
    """Make a call with a Ctrl-C before its *line*-th line, and one *again* lines into giving it up."""
    invocation = new_invocation()
    settle(ledger)
    with contextlib.suppress(KeyboardInterrupt), CtrlC(line, LINES) as first:
        token = ledger.begin(terms, CALLER, ARGUMENTS, invocation=invocation)
        ledger.finish(token, ENDING)
    if first.was_raised:
        with contextlib.suppress(KeyboardInterrupt, MppError), CtrlC(again, LINES):
            ledger.abandon(invocation, INTERRUPTED)
    return first.was_raised


@pytest.mark.parametrize("terms", [INSIDE, OUTSIDE], ids=["inside", "outside"])
@pytest.mark.parametrize("again", [-1, 1, 4, 15], ids=["once", "next", "soon", "later"])
def test_ctrl_c_between_any_two_lines_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terms: Terms, again: int
) -> None:
    """Every call that is on record has an end, once; and whoever comes next does not wait for it."""
    monkeypatch.setattr(committer, "START_AFTER", 60)  # tracing is slow, and the thread would be faster
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        missed = 0
        for line in itertools.count(1):
            # The thread may come between, to seal: such a call takes another way, and fewer lines.
            missed = 0 if interrupted_call(ledger, terms, line, again) else missed + 1
            if missed == 10:
                break
            if line % 10 == 0:
                began = time.monotonic()
                call(ledger)
                assert time.monotonic() - began < 5
        assert line > 140
        calls = list(ledger.list(kinds=["start"]))
        assert len({entry.invocation for entry in calls}) == len(calls)
        assert len(calls) > line // 10
        if again < 0:
            assert [entry for entry in calls if entry.ending is None] == []
    with open_ledger(tmp_path) as ledger:  # who was interrupted while it noted that it was, is unknown now
        assert [entry for entry in ledger.list(kinds=["start"]) if entry.ending is None] == []
    assert codes(tmp_path) == []


def test_a_lone_call_is_one_commit_in_its_own_thread(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        settle(ledger)
        threads: list[int] = []
        commit = ledger._journal.commit

        def watched(records: list[Any]) -> None:
            threads.extend([threading.get_ident()] * len(records))
            commit(records)

        ledger._journal.commit = watched  # type: ignore[method-assign]
        token = ledger.begin(INSIDE, CALLER, ARGUMENTS)
        assert threads == []
        ledger.finish(token, ENDING)
        assert threads == [threading.get_ident()] * 2
        ledger._journal.commit = commit  # type: ignore[method-assign]
    assert codes(tmp_path) == []


def test_a_start_is_on_record_soon_though_its_call_takes_long(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, sqlite3.connect(tmp_path / "ledger.db") as other:
        call(ledger)
        settle(ledger)
        token = ledger.begin(INSIDE, CALLER, ARGUMENTS)
        end = time.monotonic() + 10
        query = "SELECT count(*) FROM entries WHERE call = ?"
        while other.execute(query, (token.invocation,)).fetchone() == (0,):
            assert time.monotonic() < end
            time.sleep(0.001)
        ledger.finish(token, ENDING)
        assert ledger.show(token.invocation).outcome == "ok"
    other.close()
    assert codes(tmp_path) == []


def test_callers_that_meet_share_commits(tmp_path: Path) -> None:
    """Eight callers at once: nobody is overtaken for ever, and there are fewer commits than calls."""
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        commits = 0
        commit = ledger._journal.commit

        def counted(records: list[Any]) -> None:
            nonlocal commits
            commits += any(record.kind == "start" for record in records)
            time.sleep(0.002)  # a disk that takes its time
            commit(records)

        ledger._journal.commit = counted  # type: ignore[method-assign]
        failures: list[InternalError] = []

        def caller() -> None:
            try:
                for _ in range(25):
                    call(ledger)
            except InternalError as error:
                failures.append(error)

        threads = [threading.Thread(target=caller) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert commits < 8 * 25
        ledger._journal.commit = commit  # type: ignore[method-assign]
    assert codes(tmp_path) == []


def test_a_signal_handler_that_calls_within_a_commit_is_refused_at_once(tmp_path: Path) -> None:
    """It would wait for the commit that it has itself interrupted."""
    with open_ledger(tmp_path, deadline=5) as ledger:
        call(ledger)
        settle(ledger)
        commit = ledger._journal.commit
        refused: list[str] = []

        def interrupted(records: list[Any]) -> None:
            ledger._journal.commit = commit  # type: ignore[method-assign]
            began = time.monotonic()
            try:
                call(ledger, OUTSIDE)
            except InternalError as error:
                refused.append(error.code)
            assert time.monotonic() - began < 2
            commit(records)

        ledger._journal.commit = interrupted  # type: ignore[method-assign]
        call(ledger)
        assert refused == ["ledger.busy"]
        assert [entry.outcome for entry in ledger.list(kinds=["start"])].count("running") == 0
    assert codes(tmp_path) == []
