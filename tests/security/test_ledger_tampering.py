"""A changed, removed, reordered or cut-off entry is detected (promise 6): one test per attack.

The attacker here may write every file of the ledger and knows how hashes are made, but does not have
the home's key.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger_samples import (
    ARGUMENTS,
    CALLER,
    HOME_KEY,
    OTHER_HOME_KEY,
    OUTSIDE,
    attacker,
    call,
    codes,
    edited,
    entry_hash,
    fill,
    open_ledger,
    rechain,
    snapshot,
)
from mpp_exec.audit import head
from mpp_exec.audit.entry import Kind
from mpp_exec.errors import InternalError, MppError, UsageError

Attack = Callable[[sqlite3.Connection], Any]


def body_of(database: sqlite3.Connection, sequence: int) -> bytes:
    return bytes(database.execute("SELECT body FROM entries WHERE sequence = ?", (sequence,)).fetchone()[0])


def edit_body(database: sqlite3.Connection) -> None:
    body = edited(body_of(database, 4), outcome="timeout")
    database.execute("UPDATE entries SET body = ? WHERE sequence = 4", (body,))


def edit_body_and_hash(database: sqlite3.Connection) -> None:
    edit_body(database)
    database.execute(
        "UPDATE entries SET hash = ? WHERE sequence = 4",
        (
            entry_hash(
                4,
                *database.execute("SELECT previous, body FROM entries WHERE sequence = 4").fetchone(),
            ),
        ),
    )


def edit_body_and_every_hash_after(database: sqlite3.Connection) -> None:
    edit_body(database)
    rechain(database, 4)


def edit_last_body_and_hash(database: sqlite3.Connection) -> None:
    body = edited(body_of(database, 8), outcome="timeout")
    database.execute("UPDATE entries SET body = ? WHERE sequence = 8", (body,))
    rechain(database, 8)


def remove_from_the_middle(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM entries WHERE sequence IN (3, 4)")
    database.execute("DELETE FROM calls WHERE started = 3")
    database.execute("DELETE FROM keys WHERE sequence IN (3, 4)")


def close_the_gap(database: sqlite3.Connection) -> None:
    for table, column in (("entries", "sequence"), ("keys", "sequence"), ("calls", "started")):
        for (number,) in database.execute(
            f"SELECT {column} FROM {table} WHERE {column} > 4 ORDER BY {column}"
        ).fetchall():
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (number - 2, number))
    database.execute("UPDATE calls SET ended = ended - 2")


def remove_from_the_middle_and_renumber(database: sqlite3.Connection) -> None:
    remove_from_the_middle(database)
    close_the_gap(database)


def remove_from_the_middle_and_rechain(database: sqlite3.Connection) -> None:
    remove_from_the_middle_and_renumber(database)
    rechain(database)


def cut_off_the_end(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM entries WHERE sequence > 6")
    database.execute("DELETE FROM calls WHERE started > 6")
    database.execute("DELETE FROM keys WHERE sequence > 6")


def cut_off_the_last(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM entries WHERE sequence = 8")
    database.execute("DELETE FROM keys WHERE sequence = 8")
    database.execute("UPDATE calls SET ended = NULL WHERE ended = 8")


def cut_off_and_write_another_end(database: sqlite3.Connection) -> None:
    """As many entries as before, well chained, but others."""
    for sequence in (7, 8):
        body = edited(body_of(database, sequence), at=1)
        database.execute("UPDATE entries SET body = ?, at = 1 WHERE sequence = ?", (body, sequence))
    rechain(database, 7)


def swap_two_entries(database: sqlite3.Connection) -> None:
    for old, new in ((3, 100), (5, 3), (100, 5)):
        database.execute("UPDATE entries SET sequence = ? WHERE sequence = ?", (new, old))


def swap_two_bodies(database: sqlite3.Connection) -> None:
    third, fifth = body_of(database, 3), body_of(database, 5)
    database.execute("UPDATE entries SET body = ? WHERE sequence = 3", (fifth,))
    database.execute("UPDATE entries SET body = ? WHERE sequence = 5", (third,))


def put_one_in(database: sqlite3.Connection) -> None:
    """After the last one there is, or in the middle, an entry too many takes somebody's number."""
    for number in range(8, 4, -1):
        for table, column in (("entries", "sequence"), ("keys", "sequence"), ("calls", "started")):
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (number + 1, number))
    database.execute("UPDATE calls SET ended = ended + 1 WHERE ended > 4")
    database.execute(
        "INSERT INTO entries SELECT 5, previous, body, hash, kind, at, call, package, tool "
        "FROM entries WHERE sequence = 2"
    )


def put_one_in_and_rechain(database: sqlite3.Connection) -> None:
    put_one_in(database)
    rechain(database)


def copy_an_entry_to_the_end(database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO entries SELECT 9, previous, body, hash, kind, at, call, package, tool "
        "FROM entries WHERE sequence = 2"
    )


def put_one_before_the_first(database: sqlite3.Connection, number: int = 0) -> None:
    """A call that never was, whose hash is its own: nothing in the chain knows of it."""
    call = "0" * 36
    body = edited(body_of(database, 3), call=call)
    digest = entry_hash(number, bytes(32), body) if number == 0 else bytes(32)
    database.execute(
        "INSERT INTO entries SELECT ?, ?, ?, ?, kind, at, ?, package, tool FROM entries WHERE sequence = 3",
        (number, bytes(32), body, digest, call),
    )
    database.execute(
        "INSERT INTO calls SELECT ?, NULL, ?, writer FROM calls WHERE started = 3", (number, call)
    )
    database.execute("INSERT INTO keys SELECT ?, sealed FROM keys WHERE sequence = 3", (number,))


def put_one_far_before_the_first(database: sqlite3.Connection) -> None:
    put_one_before_the_first(database, -(1 << 63))


def replace_the_first(database: sqlite3.Connection) -> None:
    body = edited(body_of(database, 1), nonce=bytes(32))
    database.execute("UPDATE entries SET body = ? WHERE sequence = 1", (body,))
    rechain(database)


def make_a_body_unreadable(database: sqlite3.Connection) -> None:
    database.execute("UPDATE entries SET body = x'ff' WHERE sequence = 4")


def write_a_body_in_a_way_that_is_not_canonical(database: sqlite3.Connection) -> None:
    body = body_of(database, 4)
    database.execute(
        "UPDATE entries SET body = ? WHERE sequence = 4", (b"\xb8" + bytes([body[0] & 31]) + body[1:],)
    )
    rechain(database, 4)


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        (edit_body, ["entry.changed"]),
        (edit_body_and_hash, ["entry.misplaced"]),
        (edit_body_and_every_hash_after, ["head.differs"]),
        (edit_last_body_and_hash, ["head.differs"]),
        (remove_from_the_middle, ["entry.missing"]),
        (remove_from_the_middle_and_renumber, ["entry.misplaced", "entry.changed"]),
        (remove_from_the_middle_and_rechain, ["head.ahead"]),
        (cut_off_the_end, ["head.ahead"]),
        (cut_off_the_last, ["head.ahead"]),
        (cut_off_and_write_another_end, ["head.differs"]),
        (swap_two_entries, ["entry.misplaced", "entry.changed"]),
        (swap_two_bodies, ["entry.changed"]),
        (put_one_in, ["entry.misplaced", "entry.changed"]),
        (put_one_in_and_rechain, ["head.differs"]),
        (copy_an_entry_to_the_end, ["entry.misplaced", "entry.changed"]),
        (put_one_before_the_first, ["entry.misplaced"]),
        (put_one_far_before_the_first, ["entry.misplaced"]),
        (replace_the_first, ["head.differs"]),
        (make_a_body_unreadable, ["entry.changed"]),
        (write_a_body_in_a_way_that_is_not_canonical, ["entry.malformed"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_an_attack_on_the_chain_is_found(tmp_path: Path, attack: Attack, found: list[str]) -> None:
    fill(tmp_path, 3)
    assert codes(tmp_path) == []
    with attacker(tmp_path) as database:
        attack(database)
    assert set(found) <= set(codes(tmp_path))


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE entries SET kind = 'policy' WHERE sequence = 3", "columns.differ"),
        ("UPDATE entries SET at = at + 1 WHERE sequence = 3", "columns.differ"),
        ("UPDATE entries SET call = '' WHERE sequence = 3", "columns.differ"),
        ("UPDATE entries SET package = 'acme/other' WHERE sequence = 3", "columns.differ"),
        ("UPDATE entries SET tool = 'fetch' WHERE sequence = 3", "columns.differ"),
        ("UPDATE entries SET kind = 'policy' WHERE sequence = 4", "columns.differ"),
        ("UPDATE calls SET writer = '1-' || hex(zeroblob(16)) WHERE started = 3", "index.differs"),
        ("UPDATE calls SET ended = NULL WHERE started = 3", "index.differs"),
        ("UPDATE calls SET ended = 6 WHERE started = 3", "index.differs"),
        ("UPDATE calls SET ended = 99 WHERE started = 3", "index.differs"),
        ("UPDATE calls SET call = 'x' WHERE started = 3", "index.differs"),
        ("DELETE FROM calls WHERE started = 3", "index.differs"),
        ("INSERT INTO calls VALUES (2, NULL, 'x', 'y')", "index.differs"),
        ("INSERT INTO calls VALUES (50, NULL, 'x', 'y')", "index.differs"),
        ("UPDATE keys SET sealed = zeroblob(72) WHERE sequence = 3", "key.changed"),
        ("UPDATE keys SET sealed = 'text' WHERE sequence = 3", "key.changed"),
        (
            "UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE sequence = 5) WHERE sequence = 3",
            "key.changed",
        ),
        ("DELETE FROM keys WHERE sequence = 3", "key.missing"),
        ("INSERT INTO keys VALUES (2, x'00')", "key.foreign"),
        ("INSERT INTO keys VALUES (50, x'00')", "index.differs"),
        ("CREATE TABLE more (x)", "database.foreign"),
        ("DROP INDEX open_calls", "database.foreign"),
        ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM keys; END", "database.foreign"),
        ("CREATE VIEW v AS SELECT * FROM entries", "database.foreign"),
        ("ALTER TABLE entries RENAME TO old", "database.foreign"),
        ("UPDATE entries SET previous = 'text' WHERE sequence = 3", "entry.malformed"),
        ("UPDATE entries SET body = 7 WHERE sequence = 3", "entry.malformed"),
        ("UPDATE entries SET hash = x'00' WHERE sequence = 3", "entry.malformed"),
    ],
)
def test_an_attack_on_what_surrounds_the_chain_is_found(tmp_path: Path, statement: str, found: str) -> None:
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        database.execute(statement)
    assert found in codes(tmp_path)


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    """Only SQLite's own check sees it: through the index, the open calls of a dead writer would be none."""
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'keys') "
            "WHERE name = 'open_calls'"
        )
    assert "database.damaged" in codes(tmp_path)


def test_one_change_is_one_problem_and_names_its_entry(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    with attacker(tmp_path) as database:
        edit_body(database)
    (problem,) = open_ledger(tmp_path).verify().problems
    assert (problem.code, problem.sequence) == ("entry.changed", 4)
    assert "entry 4" in problem.message


def test_a_ledger_changed_everywhere_makes_a_report_of_bounded_length(tmp_path: Path) -> None:
    fill(tmp_path, 150)
    with attacker(tmp_path) as database:
        database.execute("UPDATE entries SET hash = zeroblob(32)")
    report = open_ledger(tmp_path).verify()
    assert len(report.problems) == 100
    assert report.more_problems > 400
    assert not report.ok


def test_a_change_shows_in_the_entry_itself(tmp_path: Path) -> None:
    invocation = fill(tmp_path, 1)[0]
    with attacker(tmp_path) as database:
        edit_body(database)
    entry = open_ledger(tmp_path).show(invocation)
    assert entry.intact
    assert entry.ending is not None
    assert not entry.ending.intact
    assert entry.to_json()["ending"]["intact"] is False


@pytest.mark.parametrize("number", [0, -1, -(1 << 63)])
def test_what_stands_before_the_first_entry_is_shown_as_none(tmp_path: Path, number: int) -> None:
    fill(tmp_path, 1)
    with attacker(tmp_path) as database:
        put_one_before_the_first(database, number)
    shown = open_ledger(tmp_path).show("0" * 36)
    assert shown.sequence == number
    assert shown.to_json()["intact"] is False


def test_one_that_was_appended_where_nobody_wrote_is_told_as_not_sealed(tmp_path: Path) -> None:
    """That is all that can be told: a process that was killed leaves such entries, too."""
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        (previous,) = database.execute("SELECT hash FROM entries WHERE sequence = 8").fetchone()
        body = body_of(database, 2)
        database.execute(
            "INSERT INTO entries SELECT 9, ?, body, ?, kind, at, call, package, tool "
            "FROM entries WHERE sequence = 2",
            (previous, entry_hash(9, previous, body)),
        )
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.entries, report.sealed_sequence, report.unsealed) == (True, 9, 8, 1)


def test_the_outcome_of_another_call_is_not_taken_for_a_calls_own(tmp_path: Path) -> None:
    first, _ = fill(tmp_path, 2)
    with attacker(tmp_path) as database:
        database.execute("UPDATE calls SET ended = 6 WHERE started = 3")
    assert open_ledger(tmp_path).show(first).outcome == "unknown"


def test_entries_whose_key_was_changed_prove_nothing(tmp_path: Path) -> None:
    invocation = fill(tmp_path, 1)[0]
    with attacker(tmp_path) as database:
        database.execute("UPDATE keys SET sealed = zeroblob(72)")
    with pytest.raises(InternalError) as caught:
        open_ledger(tmp_path).prove(invocation, "arguments", ARGUMENTS)
    assert caught.value.code == "ledger.tampered"


# -- the head ------------------------------------------------------------------------------------


def remove_head(home: Path) -> None:
    (home / "ledger.head").unlink()


def empty_head(home: Path) -> None:
    (home / "ledger.head").write_bytes(b"")


def huge_head(home: Path) -> None:
    (home / "ledger.head").write_bytes(b"\0" * (1 << 20))


def flip_a_bit_of_the_head(home: Path) -> None:
    data = bytearray((home / "ledger.head").read_bytes())
    data[len(data) // 2] ^= 1
    (home / "ledger.head").write_bytes(data)


def sign_a_head_with_another_key(home: Path) -> None:
    key = head.signing_key(HOME_KEY)
    sealed = head.decode((home / "ledger.head").read_bytes(), key.public_key)
    (home / "ledger.head").write_bytes(head.encode(sealed, head.signing_key(OTHER_HOME_KEY)))


def take_the_head_of_another_ledger_of_this_key(home: Path) -> None:
    other = home / "other"
    other.mkdir()
    fill(other, 3)
    shutil.copy(other / "ledger.head", home / "ledger.head")
    shutil.rmtree(other)


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        (remove_head, "head.missing"),
        (empty_head, "head.forged"),
        (huge_head, "head.forged"),
        (flip_a_bit_of_the_head, "head.forged"),
        (sign_a_head_with_another_key, "head.forged"),
        (take_the_head_of_another_ledger_of_this_key, "head.differs"),
    ],
)
def test_an_attack_on_the_head_is_found_and_stops_every_call(
    tmp_path: Path, attack: Callable[[Path], None], found: str
) -> None:
    fill(tmp_path, 3)
    attack(tmp_path)
    assert codes(tmp_path) == [found]
    refuses_to_write(tmp_path)


def refuses_to_write(home: Path, **options: Any) -> None:
    """What was tampered with is neither added to nor sealed anew, and says so to whoever calls."""
    before = {name: data for name, data in snapshot(home).items() if name == "ledger.head"}
    ledger = open_ledger(home, **options)
    for attempt in (
        lambda: ledger.begin(OUTSIDE, CALLER, ARGUMENTS),
        lambda: ledger.event(Kind.POLICY, CALLER),
        lambda: call(ledger),
    ):
        with pytest.raises(InternalError) as caught:
            attempt()
        assert caught.value.code == "ledger.tampered"
        assert "audit verify" in caught.value.hint
    ledger.close()
    assert {name: data for name, data in snapshot(home).items() if name == "ledger.head"} == before


@pytest.mark.parametrize("data", [b"\xa0", b"\xa1", b"[]", b"\xa2dheadA\0isignatureA\0", b"\x82\x41\0\x41\0"])
def test_a_head_that_is_none_is_not_read_as_one(tmp_path: Path, data: bytes) -> None:
    fill(tmp_path, 1)
    (tmp_path / "ledger.head").write_bytes(data)
    assert codes(tmp_path) == ["head.forged"]


def remove_database(home: Path) -> None:
    (home / "ledger.db").unlink()


def empty_the_database(home: Path) -> None:
    (home / "ledger.db").write_bytes(b"")


def remove_every_entry(home: Path) -> None:
    with attacker(home) as database:
        database.executescript("DELETE FROM entries; DELETE FROM calls; DELETE FROM keys")


@pytest.mark.parametrize(
    ("attack", "found"),
    [(remove_database, "missing"), (empty_the_database, "missing"), (remove_every_entry, "emptied")],
)
@pytest.mark.parametrize("begun", [True, False], ids=["known to have begun", "unknown"])
def test_a_ledger_that_is_removed_with_its_head_is_no_new_one(
    tmp_path: Path, attack: Callable[[Path], None], found: str, *, begun: bool
) -> None:
    """With nothing left of it, only what else the home holds tells that there was one."""
    fill(tmp_path, 3)
    attack(tmp_path)
    remove_head(tmp_path)
    assert codes(tmp_path, begun=begun) == ([f"database.{found}"] if begun else [])
    if begun:
        refuses_to_write(tmp_path, begun=True)
        with open_ledger(tmp_path, begun=True) as ledger:
            ledger.restart(CALLER)
    fill(tmp_path, 1, begun=begun)
    assert codes(tmp_path, begun=begun) == []


def test_a_ledger_that_is_begun_anew_says_so_and_keeps_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    before = {name: data for name, data in snapshot(tmp_path).items() if name.startswith("ledger.")}
    with attacker(tmp_path) as database:
        cut_off_the_end(database)
    with open_ledger(tmp_path, begun=True) as ledger:
        moved = ledger.restart(CALLER)
        newest = next(iter(ledger.list(limit=1)))
        assert ledger.verify().ok
    assert (newest.kind, newest.sequence, newest.content["detail"]["aside"]) == ("restart", 2, moved)
    assert {name.replace(name.split(".")[1] + ".", "", 1) for name in moved} >= set(before)
    head = next(name for name in moved if name.endswith("head"))
    assert (tmp_path / head).read_bytes() == before["ledger.head"]


def test_a_ledger_that_somebody_writes_to_is_not_moved_away_under_him(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as writer, open_ledger(tmp_path) as other:
        writer.event(Kind.POLICY, CALLER)
        with pytest.raises(UsageError, match="writes to the ledger"):
            other.restart(CALLER)
        writer.event(Kind.POLICY, CALLER)
    assert codes(tmp_path) == []


def test_a_cut_off_ledger_stops_every_call_and_is_not_sealed_anew(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        cut_off_the_end(database)
    refuses_to_write(tmp_path)
    assert "head.ahead" in codes(tmp_path)


def test_an_end_that_was_written_anew_stops_every_call(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        cut_off_and_write_another_end(database)
    refuses_to_write(tmp_path)


@pytest.mark.parametrize(("sequence", "follows", "fits"), [(10, 8, True), (9, 7, True), (9, 8, False)])
def test_an_entry_added_that_does_not_fit_is_not_sealed(
    tmp_path: Path, sequence: int, follows: int, *, fits: bool
) -> None:
    """One after a gap, one that follows another than the last, one with a hash that is not its own."""
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        (previous,) = database.execute("SELECT hash FROM entries WHERE sequence = ?", (follows,)).fetchone()
        body = body_of(database, 2)
        database.execute(
            "INSERT INTO entries SELECT ?, ?, body, ?, kind, at, call, package, tool "
            "FROM entries WHERE sequence = 2",
            (sequence, previous, entry_hash(sequence, previous, body) if fits else bytes(32)),
        )
    refuses_to_write(tmp_path)


def test_the_database_of_another_home_is_found(tmp_path: Path) -> None:
    for name, key in (("mine", HOME_KEY), ("other", OTHER_HOME_KEY)):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, 3, key=key)
    shutil.copy(tmp_path / "other/ledger.db", tmp_path / "mine/ledger.db")
    assert "head.differs" in codes(tmp_path / "mine")
    refuses_to_write(tmp_path / "mine")


def test_the_whole_ledger_of_another_home_is_found(tmp_path: Path) -> None:
    fill(tmp_path, 3, key=OTHER_HOME_KEY)
    assert "head.forged" in codes(tmp_path)
    refuses_to_write(tmp_path)


def test_a_removed_database_is_found(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (tmp_path / "ledger.db").unlink()
    assert codes(tmp_path) == ["database.missing"]
    refuses_to_write(tmp_path)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("size", [0, 1, 100, 4096])
def test_a_truncated_database_file_is_found(tmp_path: Path, size: int) -> None:
    fill(tmp_path, 3)
    os.truncate(tmp_path / "ledger.db", size)
    assert codes(tmp_path)
    ledger = open_ledger(tmp_path)
    with pytest.raises(InternalError) as caught:
        ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    assert caught.value.code in {"ledger.tampered", "ledger.damaged"}
    ledger.close()


def test_an_emptied_database_is_found(tmp_path: Path) -> None:
    """Its tables dropped, it looks like one that is just being made."""
    fill(tmp_path, 3)
    (tmp_path / "ledger.db").unlink()
    sqlite3.connect(tmp_path / "ledger.db").executescript("PRAGMA journal_mode = WAL; VACUUM").close()
    assert codes(tmp_path) == ["database.missing"]
    refuses_to_write(tmp_path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (tmp_path / "ledger.db").unlink()
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("CREATE TABLE entries (sequence, body)")
    other.close()
    assert codes(tmp_path)
    refuses_to_write(tmp_path)


def test_a_planted_trigger_does_not_get_to_run(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with attacker(tmp_path) as database:
        database.execute(
            "CREATE TRIGGER hide AFTER INSERT ON entries WHEN NEW.kind = 'start' BEGIN "
            "DELETE FROM entries WHERE sequence = NEW.sequence; END"
        )
    refuses_to_write(tmp_path)


def test_a_version_to_come_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with attacker(tmp_path) as database:
        database.execute("PRAGMA user_version = 2")
    with open_ledger(tmp_path) as ledger, pytest.raises(InternalError) as caught:
        ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    assert caught.value.code == "ledger.version"


# -- while it is open ----------------------------------------------------------------------------


def stops(ledger: Any) -> None:
    for _ in range(2):
        with pytest.raises(InternalError) as caught:
            ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        assert caught.value.code == "ledger.tampered"
    with pytest.raises(MppError):
        ledger.close()


def test_a_database_removed_while_open_stops_the_next_call(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    call(ledger)
    (tmp_path / "ledger.db").unlink()
    stops(ledger)


def test_an_older_database_put_in_place_while_open_stops_the_next_call(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    ledger = open_ledger(tmp_path)
    call(ledger)
    (tmp_path / "copy.db").rename(tmp_path / "ledger.db")
    (tmp_path / "ledger.db-wal").unlink()
    stops(ledger)


def test_a_log_removed_while_open_stops_the_next_call_and_loses_nothing(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        first = call(ledger)
        (tmp_path / "ledger.db-wal").unlink()
        with pytest.raises(InternalError) as caught:
            ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        assert caught.value.code == "ledger.tampered"
        second = call(ledger)  # what was in the log was written back when the database was closed
        assert {entry.invocation for entry in ledger.list(kinds=["start"])} == {first, second}
    assert codes(tmp_path) == []


def test_entries_cut_off_before_they_were_sealed_are_missed_by_who_wrote_them(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    call(ledger, OUTSIDE)
    ledger.event(Kind.POLICY, CALLER)
    with attacker(tmp_path) as database:
        database.execute("DELETE FROM entries WHERE kind = 'policy'")
    stops(ledger)


def test_an_unsealed_end_written_anew_is_missed_by_who_wrote_it(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.event(Kind.POLICY, CALLER)
    with attacker(tmp_path) as database:
        body = edited(body_of(database, 2), at=1)
        database.execute("UPDATE entries SET body = ?, at = 1 WHERE sequence = 2", (body,))
        rechain(database, 2)
    stops(ledger)


# -- files -----------------------------------------------------------------------------------------


def test_files_are_private(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with open_ledger(tmp_path) as ledger:
            call(ledger)
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(previous)
    writer = next(name for name in modes if name.startswith("ledger.") and "-" in name and name[7].isdigit())
    assert modes.pop(writer) == 0o600
    assert modes == {
        "ledger.db": 0o600,
        "ledger.db-wal": 0o600,
        "ledger.db-shm": 0o600,
        "ledger.head": 0o600,
        "locks": 0o700,
        "ledger-head": 0o600,
    }


@pytest.mark.parametrize("name", ["ledger.db", "ledger.head"])
def test_a_planted_link_is_not_followed(tmp_path: Path, name: str) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    home.mkdir()
    target.write_bytes(b"keep me")
    (home / name).symlink_to(target)
    ledger = open_ledger(home)
    with pytest.raises(InternalError):
        ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    ledger.close()
    assert target.read_bytes() == b"keep me"


def test_a_database_that_others_may_write_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / "ledger.db").chmod(0o620)
    refuses_to_write(tmp_path)


def test_a_fifo_for_a_database_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger.db", 0o600)
    with open_ledger(tmp_path) as ledger, pytest.raises(InternalError) as caught:
        ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    assert caught.value.code == "ledger.tampered"


@pytest.mark.parametrize("value", ["x'2d'", "7", "'1-2'"])
def test_a_writer_that_is_none_runs_nothing(tmp_path: Path, value: str) -> None:
    fill(tmp_path, 1)
    with attacker(tmp_path) as database:
        database.execute(f"UPDATE calls SET ended = NULL, writer = {value}")
    (entry,) = open_ledger(tmp_path).list(kinds=["start"])
    assert entry.outcome == "unknown"
    with open_ledger(tmp_path) as ledger:
        call(ledger)
    assert "index.differs" in codes(tmp_path)


@pytest.mark.parametrize("name", ["ledger.head.new", "locks/ledger-head"])
def test_a_fifo_where_a_file_is_made_does_not_hang(tmp_path: Path, name: str) -> None:
    fill(tmp_path, 1)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with open_ledger(tmp_path, deadline=2.0) as ledger:
        call(ledger)
    assert codes(tmp_path) == []


def test_a_link_where_a_file_is_made_is_not_written_through(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    home.mkdir()
    target.write_bytes(b"keep me")
    (home / "ledger.head.new").symlink_to(target)
    fill(home, 1)
    assert target.read_bytes() == b"keep me"
    assert codes(home) == []


def test_a_fifo_for_a_head_does_not_hang(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / "ledger.head").unlink()
    os.mkfifo(tmp_path / "ledger.head")
    assert codes(tmp_path) == ["head.forged"]
    refuses_to_write(tmp_path)


def test_a_writers_name_is_no_path(tmp_path: Path) -> None:
    """A name that leads to a file that somebody has locked would keep a dead call running for ever."""
    fill(tmp_path, 1)
    with (tmp_path / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (tmp_path / "locks/ledger.").mkdir()
        with attacker(tmp_path) as database:
            database.execute("UPDATE calls SET ended = NULL, writer = '/../../held'")
        (entry,) = open_ledger(tmp_path).list(kinds=["start"])
        assert entry.outcome == "unknown"


def test_no_flipped_byte_of_the_database_goes_unnoticed_and_changes_an_entry(tmp_path: Path) -> None:
    """Bytes that hold no entry may change; no entry may, without ``verify`` saying so."""
    fill(tmp_path, 2)
    database = tmp_path / "ledger.db"
    good = database.read_bytes()
    entries = list(open_ledger(tmp_path).export())
    places = [place for place, byte in enumerate(good) if byte]
    for place in random.Random(6).sample(places, 400):
        data = bytearray(good)
        data[place] ^= 1 << (place % 8)
        database.write_bytes(data)
        if open_ledger(tmp_path).verify().ok:
            assert list(open_ledger(tmp_path).export()) == entries, f"byte {place}"


def test_no_flipped_bit_of_the_head_goes_unnoticed(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    good = (tmp_path / "ledger.head").read_bytes()
    key = head.signing_key(HOME_KEY).public_key
    for bit in range(len(good) * 8):
        data = bytearray(good)
        data[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(head.HeadForgedError):
            head.decode(bytes(data), key)


# -- what cannot be found here -----------------------------------------------------------------------


def test_a_home_put_back_as_a_whole_is_told_only_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    """The limit that the documentation states, and the way out of it that it names."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    fill(home, 1)
    shutil.copytree(home, copy)
    with open_ledger(home) as ledger:
        call(ledger)
    kept = (home / "ledger.head").read_bytes()
    shutil.rmtree(home)
    shutil.copytree(copy, home)
    assert codes(home) == []
    (home / "ledger.head").write_bytes(kept)
    assert codes(home) == ["head.ahead"]
