"""The ledger under asyncio: no call blocks the loop, and many share a commit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from ledger_samples import ARGUMENTS, CALLER, ENDING, INSIDE, OUTSIDE, codes, open_ledger
from mpp_exec.audit.ledger import Ledger
from mpp_exec.audit.record import Record
from mpp_exec.errors import InternalError


async def acall(ledger: Ledger, number: int) -> str:
    token = await ledger.abegin(OUTSIDE if number % 2 else INSIDE, CALLER, ARGUMENTS)
    await ledger.afinish(token, ENDING)
    return token.invocation


def test_many_tasks_at_once(tmp_path: Path) -> None:
    async def main(ledger: Ledger) -> list[str]:
        return await asyncio.gather(*(acall(ledger, number) for number in range(200)))

    with open_ledger(tmp_path) as ledger:
        invocations = asyncio.run(main(ledger))
        assert {entry.invocation for entry in ledger.list(kinds=["start"])} == set(invocations)
    assert len(set(invocations)) == 200
    assert {entry.outcome for entry in ledger.list(kinds=["start"])} == {"ok"}
    assert codes(tmp_path) == []


def test_tasks_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 starts that each wait for the disk are far fewer than 200 transactions."""
    commits = []

    async def main(ledger: Ledger) -> None:
        await asyncio.gather(*(acall(ledger, 1) for _ in range(200)))

    with open_ledger(tmp_path) as ledger:
        commit = ledger._journal.commit

        def counted(records: list[Record]) -> None:
            commit(records)
            commits.append(len(records))

        monkeypatch.setattr(ledger._journal, "commit", counted)
        asyncio.run(main(ledger))
    assert sum(commits) == 400
    assert len(commits) < 40


def test_a_start_is_on_record_before_abegin_returns(tmp_path: Path) -> None:
    async def main(ledger: Ledger) -> None:
        await acall(ledger, 0)
        for _ in range(10):
            token = await ledger.abegin(OUTSIDE, CALLER, ARGUMENTS)
            database = sqlite3.connect(tmp_path / "ledger.db")
            assert database.execute(
                "SELECT count(*) FROM calls WHERE call = ?", (token.invocation,)
            ).fetchone() == (1,)
            database.close()
            await ledger.afinish(token, ENDING)

    with open_ledger(tmp_path) as ledger:
        asyncio.run(main(ledger))


def test_the_loop_goes_on_while_the_ledger_waits(tmp_path: Path) -> None:
    async def main(ledger: Ledger, other: sqlite3.Connection) -> int:
        await acall(ledger, 0)
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(acall(ledger, 1))
        turns = 0
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            await asyncio.sleep(0)
            turns += 1
        assert not task.done()
        other.execute("ROLLBACK")
        await task
        return turns

    with open_ledger(tmp_path) as ledger:
        ledger.begin(INSIDE, CALLER, ARGUMENTS)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        assert asyncio.run(main(ledger, other)) > 10
        other.close()


def test_it_gives_up_after_the_deadline(tmp_path: Path) -> None:
    async def main(ledger: Ledger) -> str:
        with pytest.raises(InternalError) as caught:
            await ledger.abegin(OUTSIDE, CALLER, ARGUMENTS)
        return caught.value.code

    with open_ledger(tmp_path, deadline=0.3) as ledger:
        asyncio.run(acall(ledger, 1))
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        assert asyncio.run(main(ledger)) == "ledger.busy"
        assert time.monotonic() - start < 5
        other.close()
        asyncio.run(acall(ledger, 1))
    assert codes(tmp_path) == []


def test_a_cancelled_task_leaves_the_others_their_commit_and_its_call_an_ending(tmp_path: Path) -> None:
    async def main(ledger: Ledger, other: sqlite3.Connection) -> None:
        other.execute("BEGIN IMMEDIATE")
        tasks = [asyncio.create_task(acall(ledger, 1)) for _ in range(3)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(value) for value in done] == [asyncio.CancelledError, str, str]

    with open_ledger(tmp_path) as ledger:
        asyncio.run(acall(ledger, 1))
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        asyncio.run(main(ledger, other))
        other.close()
        entries = list(ledger.list(kinds=["start"]))
        assert sorted(entry.outcome for entry in entries) == ["failed", "ok", "ok", "ok"]
        (failed,) = (entry for entry in entries if entry.outcome == "failed")
        assert failed.ending is not None
        assert failed.ending.content["code"] == "ledger.interrupted"
    assert codes(tmp_path) == []
