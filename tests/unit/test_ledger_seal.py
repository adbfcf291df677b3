"""The sealed head: when it is renewed, and that it only ever goes forward."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger_samples import CALLER, HOME_KEY, Clock, call, fill, open_ledger
from mpp_exec.audit import head, record
from mpp_exec.audit.database import Database
from mpp_exec.audit.entry import Kind

PUBLIC_KEY = head.signing_key(HOME_KEY).public_key


def sealed(home: Path) -> head.Head:
    data = head.read(home / "ledger.head")
    assert data is not None
    return head.decode(data, PUBLIC_KEY)


def test_a_head_is_what_was_signed() -> None:
    key = head.signing_key(HOME_KEY)
    made = head.Head(7, b"\2" * 32, 1_780_000_000_000)
    assert head.decode(head.encode(made, key), key.public_key) == made
    assert made.message().startswith(b"mpp-exec ledger head v1\0")


def test_closing_seals_the_last_entry(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    report = open_ledger(tmp_path).verify()
    assert (report.entries, report.sealed_sequence, report.unsealed) == (6, 6, 0)
    assert sealed(tmp_path).sequence == 6


def test_the_report_names_the_last_sealed_entry_and_its_time(tmp_path: Path) -> None:
    with open_ledger(tmp_path, clock=lambda: datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        ledger.event(Kind.POLICY, CALLER)
        report = ledger.verify()
        assert (report.sealed_sequence, report.unsealed) == (1, 2)
        assert report.sealed_at == datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
        assert report.key == head.signing_key(HOME_KEY).key_id
        assert report.to_json()["sealed"] == {"sequence": 1, "at": "2026-06-01T12:00:00.000Z"}


def test_the_first_entry_is_sealed_before_anything_else_is_written(tmp_path: Path) -> None:
    """A ledger without a head has therefore lost it."""
    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        assert sealed(tmp_path).sequence == 1


def test_the_head_is_renewed_within_a_second(tmp_path: Path) -> None:
    taken = []
    with open_ledger(tmp_path) as ledger:
        for _ in range(3):  # the best of three: the machine may be busy with something else
            ledger.event(Kind.POLICY, CALLER)
            start = time.monotonic()
            while open_ledger(tmp_path).verify().unsealed:
                assert time.monotonic() - start < 10
                time.sleep(0.01)
            taken.append(time.monotonic() - start)
    assert min(taken) < 1


def test_a_long_run_of_calls_is_sealed_while_it_goes_on(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        start = time.monotonic()
        while True:
            call(ledger)
            if sealed(tmp_path).sequence > 1:
                break
            assert time.monotonic() - start < 10


def test_nothing_is_sealed_while_nothing_happens(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    before = (tmp_path / "ledger.head").stat()
    with open_ledger(tmp_path):
        pass
    assert (tmp_path / "ledger.head").stat() == before


def test_the_head_never_goes_back(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.append(sealed(tmp_path).sequence)

    def write() -> None:
        for _ in range(10):
            with open_ledger(tmp_path) as ledger:  # closing renews it every time
                ledger.event(Kind.POLICY, CALLER)

    looker = threading.Thread(target=look)
    looker.start()
    workers = [threading.Thread(target=write) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    looker.join()
    assert seen == sorted(seen)
    assert sealed(tmp_path).sequence == 4 + 30


def test_what_a_killed_process_left_unsealed_is_sealed_by_the_next(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    old = (tmp_path / "ledger.head").read_bytes()
    with open_ledger(tmp_path) as ledger:
        call(ledger)
    (tmp_path / "ledger.head").write_bytes(old)  # as if it had not come to renew it
    assert open_ledger(tmp_path).verify().unsealed == 2
    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        assert sealed(tmp_path).sequence == 6  # what was there, before anything is added
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.unsealed) == (True, 0)


def test_a_temporary_file_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "ledger.head.new").write_bytes(b"half a head")
    fill(tmp_path, 1)
    assert open_ledger(tmp_path).verify().ok
    assert not (tmp_path / "ledger.head.new").exists()


def test_the_clock_may_stand_or_jump_while_the_head_is_renewed(tmp_path: Path) -> None:
    clock = Clock(datetime(1970, 1, 1, tzinfo=UTC))
    fill(tmp_path, 1, clock=clock)
    clock.now = datetime(9999, 1, 1, tzinfo=UTC)
    fill(tmp_path, 1, clock=clock)
    clock.now = datetime(1970, 1, 1, tzinfo=UTC)
    fill(tmp_path, 1, clock=clock)
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.unsealed) == (True, 0)


@pytest.mark.parametrize("calls", [0, 1, 250])
def test_any_number_of_entries_is_followed_from_the_head(tmp_path: Path, calls: int) -> None:
    fill(tmp_path, 1)
    old = (tmp_path / "ledger.head").read_bytes()
    fill(tmp_path, calls)
    (tmp_path / "ledger.head").write_bytes(old)
    fill(tmp_path, 1)
    assert open_ledger(tmp_path).verify().ok


def test_of_two_first_entries_one_is_written(tmp_path: Path) -> None:
    """Two processes found the ledger empty at the same moment."""
    database = Database(tmp_path / "ledger.db", deadline=1.0)
    database.open_writable()
    try:
        for number in range(2):
            database.append([record.genesis(number, writer="somebody")])
        assert database.tip().sequence == 1
    finally:
        database.close()
