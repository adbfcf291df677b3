"""Calls and events on the record: what is written, when, and how it is read back."""

from __future__ import annotations

import gc
import json
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger_samples import (
    ARGUMENTS,
    CALLER,
    ENDING,
    INSIDE,
    NOW,
    OUTSIDE,
    PACKAGE,
    RESULT,
    Clock,
    call,
    fill,
    open_ledger,
    snapshot,
)
from mpp_exec.audit.entry import Kind, Outcome
from mpp_exec.audit.ledger import Ledger
from mpp_exec.audit.record import Ending
from mpp_exec.errors import InternalError, UsageError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as ledger:
        yield ledger


def kinds(home: Path) -> list[str]:
    """What another process would find on record at this moment."""
    database = sqlite3.connect(home / "ledger.db")
    try:
        return [row[0] for row in database.execute("SELECT kind FROM entries ORDER BY sequence")]
    finally:
        database.close()


def until(condition: object, seconds: float = 10.0) -> float:
    """Ask *condition* again and again until it holds; return the seconds that took."""
    assert callable(condition)
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it never came to hold"
        time.sleep(0.001)
    return time.monotonic() - start


def test_a_call_is_one_entry_with_its_ending(ledger: Ledger) -> None:
    invocation = call(ledger)
    (entry,) = ledger.list(kinds=["start"])
    assert (entry.invocation, entry.package, entry.tool) == (invocation, "acme/csv", "query")
    assert (entry.outcome, entry.intact) == ("ok", True)
    assert entry.content["caller"] == {
        "uid": 1000,
        "pid": 4242,
        "user": "ann",
        "principal": "agent-7",
        "client": "inspector 1.0",
    }
    assert entry.ending is not None
    assert entry.ending.content["redactions"] == {"email": 2, "iban": 1}
    assert entry.ending.content["timing"] == {"spawn": 412, "tool": 1890}
    assert json.loads(json.dumps(entry.to_json()))["ending"]["outcome"] == "ok"


def test_nothing_of_the_texts_is_stored(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        call(ledger)
    everything = b"".join(snapshot(tmp_path).values())
    for text in ("salaries", "Jane", "1984"):
        assert text.encode() not in everything


def test_invocations_differ_and_look_like_uuids(ledger: Ledger) -> None:
    found = {call(ledger) for _ in range(50)}
    assert len(found) == 50
    assert all(str(uuid.UUID(text)) == text for text in found)


def test_a_start_that_may_reach_outside_is_on_record_before_begin_returns(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        before = len(kinds(tmp_path))
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        assert kinds(tmp_path)[before:].count("start") == 1
        ledger.finish(token, ENDING)


def test_any_start_is_on_record_before_finish_returns(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        for _ in range(20):
            before = kinds(tmp_path).count("start") if (tmp_path / "ledger.db").exists() else 0
            call(ledger, INSIDE)
            assert kinds(tmp_path).count("start") == before + 1


def test_an_outcome_is_on_record_within_100_ms_with_nothing_else_going_on(tmp_path: Path) -> None:
    taken = []
    with open_ledger(tmp_path) as ledger:
        for number in range(1, 11):  # the best of ten: the machine may be busy with something else
            call(ledger)
            taken.append(until(lambda number=number: kinds(tmp_path).count("outcome") == number))
    assert min(taken) < 0.1


def test_the_first_start_is_on_record_before_begin_returns_whatever_it_may_reach(tmp_path: Path) -> None:
    """Before the ledger has been written to, nobody knows whether it can be."""
    with open_ledger(tmp_path) as ledger:
        token = ledger.begin(INSIDE, CALLER, ARGUMENTS)
        assert kinds(tmp_path) == ["genesis", "start"]
        ledger.finish(token, ENDING)


def test_a_call_has_one_outcome(ledger: Ledger) -> None:
    token = ledger.begin(INSIDE, CALLER, ARGUMENTS)
    ledger.finish(token, ENDING)
    with pytest.raises(InternalError) as caught:
        ledger.finish(token, ENDING)
    assert caught.value.code == "ledger.finished"


def test_a_failure_keeps_its_code(ledger: Ledger) -> None:
    call(ledger, ending=Ending(Outcome.FAILED, code="host.landlock"))
    (entry,) = ledger.list(kinds=["start"])
    assert entry.outcome == "failed"
    assert entry.ending is not None
    assert entry.ending.content["code"] == "host.landlock"
    assert "result" not in entry.ending.content


def test_who_confirmed_is_kept(ledger: Ledger) -> None:
    token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS, confirmed_by="ann at the terminal")
    ledger.finish(token, ENDING)
    assert ledger.show(token.invocation).content["confirmed_by"] == "ann at the terminal"


@pytest.mark.parametrize("arguments", [{"x": float("nan")}, {"x": {1, 2}}, {"x": "\ud800"}])
def test_arguments_that_are_no_json_are_refused(ledger: Ledger, arguments: object) -> None:
    with pytest.raises(InternalError) as caught:
        ledger.begin(INSIDE, CALLER, arguments)
    assert caught.value.code == "ledger.uncommittable"


_WRITTEN_BY_ITSELF = {Kind.GENESIS, Kind.START, Kind.OUTCOME, Kind.UNKNOWN, Kind.ERASE}


@pytest.mark.parametrize("kind", sorted(set(Kind) - _WRITTEN_BY_ITSELF))
def test_every_kind_of_event_can_be_written_and_listed(tmp_path: Path, kind: Kind) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.event(
            kind, CALLER, package=PACKAGE, tool="query", code="x.y", detail={"granted": {"read": ["/data"]}}
        )
        assert kinds(tmp_path)[-1] == kind  # durable already
        (entry,) = ledger.list(kinds=[kind])
    assert (entry.kind, entry.package, entry.tool, entry.outcome) == (kind, "acme/csv", "query", "")
    assert entry.content["code"] == "x.y"
    assert entry.content["detail"] == {"granted": {"read": ["/data"]}}
    assert not open_ledger(tmp_path).verify().problems


def test_the_newest_comes_first_and_endings_are_not_listed_by_themselves(tmp_path: Path) -> None:
    invocations = fill(tmp_path, 3)
    ledger = open_ledger(tmp_path)
    listed = list(ledger.list())
    assert [entry.kind for entry in listed] == ["start", "start", "start", "install", "genesis"]
    assert [entry.invocation for entry in listed][:3] == invocations[::-1]
    assert [entry.kind for entry in ledger.list(kinds=["outcome"])] == ["outcome"] * 3


def test_filters(tmp_path: Path) -> None:
    other = replace(INSIDE, package=replace(PACKAGE, name="acme/other"), tool="fetch")
    clock = Clock()
    with open_ledger(tmp_path, clock=clock) as ledger:
        call(ledger)
        call(ledger, other)
        call(ledger, ending=Ending(Outcome.TIMEOUT))
        clock.now = NOW + timedelta(days=1)
        call(ledger, OUTSIDE)

        def tools(**filters: object) -> list[str]:
            return [entry.tool for entry in ledger.list(kinds=["start"], **filters)]  # type: ignore[arg-type]

        assert tools() == ["save", "query", "fetch", "query"]
        assert tools(limit=2) == ["save", "query"]
        assert tools(limit=0) == []
        assert tools(package="acme/other") == ["fetch"]
        assert tools(tool="query") == ["query", "query"]
        assert tools(tool="query", outcome="timeout") == ["query"]
        assert tools(outcome="ok", limit=1) == ["save"]
        assert tools(since=NOW + timedelta(hours=1)) == ["save"]
        assert tools(package="acme/csv", since=NOW + timedelta(hours=1), tool="query") == []
        assert tools(package="acme/\udcff") == tools(tool="\udcff") == []  # of a command line: no UTF-8


def test_a_long_ledger_is_read_to_its_end(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        threads = [threading.Thread(target=lambda: [call(ledger) for _ in range(60)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listed = list(ledger.list(kinds=["start"]))
        seen: list[tuple[int, int]] = []
        report = ledger.verify(lambda done, total: seen.append((done, total)))
    assert len(listed) == len({entry.invocation for entry in listed}) == 480
    assert report.ok
    assert report.entries == 961
    assert seen[-1] == (961, 961)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_entry_is_shown_by_id_prefix_or_number(tmp_path: Path) -> None:
    first, second, _ = fill(tmp_path, 3)
    ledger = open_ledger(tmp_path)
    assert ledger.show(first).invocation == first
    assert ledger.show(second[:13].upper()).invocation == second
    assert ledger.show("2").kind == "install"
    assert ledger.show("#3").invocation == first


@pytest.mark.parametrize("name", ["", "x", "99", "ffffffff-ffff", "-1", "%", "9" * 30, "٣", "\udcff" * 4])
def test_an_entry_that_is_not_there(tmp_path: Path, name: str) -> None:
    fill(tmp_path, 1)
    with pytest.raises(UsageError) as caught:
        open_ledger(tmp_path).show(name)
    assert caught.value.code == "ledger.unknown_entry"
    assert "audit list" in caught.value.hint


def test_an_id_that_begins_more_than_one_invocation(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    database = sqlite3.connect(tmp_path / "ledger.db")
    database.execute("UPDATE calls SET call = 'abcd' || substr(call, 5)")
    database.commit()
    database.close()
    with pytest.raises(UsageError) as caught:
        open_ledger(tmp_path).show("abcd")
    assert caught.value.code == "ledger.ambiguous"


def test_a_home_without_a_ledger_reads_as_empty_and_stays_as_it_is(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        assert list(ledger.list()) == []
        report = ledger.verify()
        assert (report.ok, report.entries, report.sealed_sequence) == (True, 0, None)
        assert len(list(ledger.export())) == 1
        with pytest.raises(UsageError):
            ledger.show("1")
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    fill(tmp_path)
    before = snapshot(tmp_path)
    ledger = open_ledger(tmp_path)
    list(ledger.list())
    ledger.verify()
    list(ledger.export())
    listing = ledger.list()
    next(listing)
    del listing
    assert snapshot(tmp_path) == before


def test_closing_leaves_no_thread_lock_or_log_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        assert set(threading.enumerate()) != before
    assert set(threading.enumerate()) == before
    assert sorted(snapshot(tmp_path)) == ["ledger.db", "ledger.head", "locks/ledger-head"]


def test_closing_twice_is_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    call(ledger)
    ledger.close()
    before = snapshot(tmp_path)
    ledger.close()
    assert snapshot(tmp_path) == before


def test_a_closed_ledger_refuses_to_write_and_still_reads(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    ledger.close()
    for attempt in (
        lambda: ledger.begin(INSIDE, CALLER, ARGUMENTS),
        lambda: ledger.event(Kind.POLICY, CALLER),
        lambda: ledger.finish(token, ENDING),
    ):
        with pytest.raises(InternalError) as caught:
            attempt()
        assert caught.value.code == "ledger.closed"
    assert [entry.outcome for entry in ledger.list(kinds=["start"])] == ["unknown"]
    assert sorted(snapshot(tmp_path)) == ["ledger.db", "ledger.head", "locks/ledger-head"]


def test_a_call_that_never_finished_is_unknown_once_the_ledger_is_closed(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        assert ledger.show(token.invocation).outcome == "running"
        assert ledger.verify().running == 1
    entry = open_ledger(tmp_path).show(token.invocation)
    assert entry.outcome == "unknown"
    assert entry.ending is not None
    assert entry.ending.kind == "unknown"
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.running, report.unsealed) == (True, 0, 0)


def test_an_unused_ledger_is_collected(tmp_path: Path) -> None:
    ledger = weakref.ref(open_ledger(tmp_path))
    gc.collect()
    assert ledger() is None


def test_times_may_jump_and_the_order_stays(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock=clock) as ledger:
        first = call(ledger)
        clock.now = NOW - timedelta(days=4000)
        second = call(ledger)
        clock.now = NOW + timedelta(days=40000)
        third = call(ledger)
        assert [entry.invocation for entry in ledger.list(kinds=["start"])] == [third, second, first]
        times = [entry.at for entry in ledger.list(kinds=["start"])]
        assert times != sorted(times, key=str)
    assert open_ledger(tmp_path).verify().ok


def test_the_result_is_committed_to_as_it_was_handed_over(ledger: Ledger) -> None:
    invocation = call(ledger)
    assert ledger.prove(invocation, "result", RESULT) == "matches"
    assert ledger.prove(invocation, "result", {**RESULT, "isError": True}) == "differs"
