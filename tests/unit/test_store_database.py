"""Transactions that hold, across threads, processes and forks; a schema that is what it should be."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ctrl_c import CtrlC
from mpp_exec.errors import InternalError, MppError
from mpp_exec.registry import database as database_module
from mpp_exec.registry.database import APPLICATION_ID, MIGRATIONS, Database, Transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def refused(database: Database) -> str:
    with pytest.raises(MppError) as caught:
        database.open()
    assert caught.value.hint
    assert "state.db" in caught.value.message
    return caught.value.code


def output(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    return done.stdout


def add(rows: Transaction, name: str) -> None:
    rows.run("INSERT INTO revoked VALUES ('key', ?, 0)", name)


def names(database: Database) -> list[str]:
    with database.reading() as rows:
        return [str(name) for (name,) in rows.rows("SELECT id FROM revoked ORDER BY id")]


def test_files_are_private_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        database = Database(path)
        with database.writing() as rows:
            add(rows, "a")
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)
    database.close()


def test_settings_are_the_durable_ones(path: Path) -> None:
    database = Database(path)
    with database.reading() as rows:
        assert rows.row("PRAGMA journal_mode") == ("wal",)
        assert rows.row("PRAGMA synchronous") == (2,)
        assert rows.row("PRAGMA application_id") == (APPLICATION_ID,)
        assert rows.row("PRAGMA user_version") == (len(MIGRATIONS),)
    database.close()


@pytest.mark.parametrize("gone", [False, True], ids=["replaced", "removed"])
def test_one_that_is_not_at_its_path_any_more_is_refused(path: Path, *, gone: bool) -> None:
    """A backup that is put back under a running process: what others withdraw would never reach it."""
    database = Database(path)
    assert database.generation() == 1
    if gone:
        path.unlink()
    else:
        other = Database(path.with_name("other.db"))
        assert other.generation() == 1
        other.close()
        path.with_name("other.db").rename(path)
    with pytest.raises(InternalError) as refused:
        database.generation()
    assert refused.value.code == "store.replaced"
    with pytest.raises(InternalError) as refused, database.writing():
        pass
    assert refused.value.code == "store.replaced"
    database.close()


def test_transaction_commits_or_leaves_no_trace(path: Path) -> None:
    database = Database(path)
    undone: list[str] = []
    with database.writing() as rows:
        rows.on_rollback(lambda: undone.append("never"))
        add(rows, "kept")

    def fail() -> None:
        with database.writing() as rows:
            add(rows, "lost")
            rows.changed()
            rows.on_rollback(lambda: undone.append("first"))
            rows.on_rollback(lambda: undone.append("second"))
            raise KeyError

    before = database.generation()
    with pytest.raises(KeyError):
        fail()
    assert database.generation() == before
    assert names(database) == ["kept"]
    assert undone == ["second", "first"]
    database.close()


def test_reader_sees_one_state(path: Path) -> None:
    one, other = Database(path), Database(path)
    with one.reading() as rows:
        assert rows.rows("SELECT * FROM revoked") == []
        with other.writing() as writer:
            add(writer, "a")
        assert rows.rows("SELECT * FROM revoked") == []
    assert names(one) == ["a"]
    one.close()
    other.close()


def test_waiting_for_a_lock_has_a_deadline(path: Path) -> None:
    holder, waiter = Database(path), Database(path, busy_seconds=0.2)
    waiter.open()
    with holder.writing(), pytest.raises(MppError) as caught, waiter.writing():
        pass
    assert caught.value.code == "store.busy"
    with waiter.writing() as rows:
        add(rows, "after")
    holder.close()
    waiter.close()


def test_threads_of_one_process_take_turns(path: Path) -> None:
    database = Database(path)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                with database.writing() as rows:
                    add(rows, f"{number}-{step}")
                    rows.changed()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names(database)) == 160
    assert database.generation() == 161
    database.close()


def test_thread_that_waits_for_another_has_a_deadline(path: Path) -> None:
    database = Database(path, busy_seconds=0.2)
    caught: list[MppError] = []

    def wait() -> None:
        try:
            database.generation()
        except MppError as error:
            caught.append(error)

    with database.writing():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert [error.code for error in caught] == ["store.busy"]
    database.close()


def test_ctrl_c_behind_any_call_leaves_the_turn_to_other_threads(path: Path) -> None:
    """A signal that comes with the turn is raised when the turn is taken."""
    database = Database(path, busy_seconds=0.2)
    before = database.generation()
    number = 0
    interruption = CtrlC(1, (database_module.__file__,), calls=True)
    while interruption.was_raised or number == 0:
        number += 1
        interruption = CtrlC(number, (database_module.__file__,), calls=True)
        with suppress(KeyboardInterrupt), interruption:
            with database.writing() as rows:
                rows.changed()
            database.generation()
        with ThreadPoolExecutor(1) as other:
            now = other.submit(database.generation).result()
        assert now in (before, before + 1), f"call {number}"
        before = now
    assert number > 20
    database.close()


def test_generation_counts_changes_of_every_process(path: Path) -> None:
    database = Database(path)
    assert database.generation() == database.generation() == 1
    program = f"""
from pathlib import Path
from mpp_exec.registry.database import Database
database = Database(Path({str(path)!r}))
with database.writing() as rows:
    rows.changed()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert database.generation() == 2
    with database.writing() as rows:
        rows.changed()
    assert database.generation() == 3
    database.close()


def test_child_of_a_fork_has_a_connection_of_its_own(path: Path) -> None:
    """Also when another thread was in the middle of a transaction at the time."""
    program = f"""
import os, threading
from pathlib import Path
from mpp_exec.registry.database import Database
database = Database(Path({str(path)!r}), busy_seconds=5)
started, stop = threading.Event(), threading.Event()
def write():
    number = 0
    while not stop.is_set():
        with database.writing() as rows:
            rows.run("INSERT INTO revoked VALUES ('digest', ?, 0)", str(number))
            number += 1
            started.set()
        stop.wait(0.002)  # SQLite's queue is not fair: without a pause, others hardly get a turn
thread = threading.Thread(target=write, daemon=True)
thread.start()
started.wait()
for child in range(20):
    pid = os.fork()
    if pid == 0:
        with database.writing() as rows:
            rows.run("INSERT INTO revoked VALUES ('key', ?, 0)", str(child))
            rows.changed()
        database.generation()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
thread.join()
with database.reading() as rows:
    print(rows.row("SELECT count(*) FROM revoked WHERE kind = 'key'")[0])
    print(rows.row("PRAGMA integrity_check")[0])
print(database.generation())
database.close()
"""
    assert output(program) == "20\nok\n21\n"


def test_fork_inside_a_transaction_does_not_touch_it(path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from mpp_exec.registry.database import Database
database = Database(Path({str(path)!r}), busy_seconds=0.2)
with database.writing() as rows:
    rows.run("INSERT INTO revoked VALUES ('key', 'a', 0)")
    pid = os.fork()
    if pid == 0:
        try:
            with database.writing():
                os._exit(1)
        except Exception as error:
            os._exit(0 if getattr(error, "code", "") == "store.busy" else 2)
    assert os.waitpid(pid, 0)[1] == 0
with database.reading() as rows:
    print(rows.rows("SELECT id FROM revoked"), rows.row("PRAGMA integrity_check"))
database.close()
"""
    assert output(program) == "[('a',)] ('ok',)\n"


def test_newer_schema_is_refused(path: Path) -> None:
    database = Database(path)
    database.open()
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    assert refused(Database(path)) == "store.newer"
    assert path.read_bytes() == before


def test_a_rotation_of_an_earlier_schema_gives_what_it_gave(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "MIGRATIONS", MIGRATIONS[:3])
        earlier = Database(path)
        with earlier.writing() as rows:
            rows.run("INSERT INTO rotations VALUES ('acme', x'01', x'02', '2026-06-01', 0, x'03')")
        earlier.close()
    later = Database(path)
    with later.reading() as rows:
        assert rows.rows("SELECT new_key, speaks FROM rotations") == [(b"\2", 1)]
    later.close()


def test_database_of_another_program_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert refused(Database(path)) == "store.foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["text", "head", "middle"])
def test_damage_is_named(path: Path, damage: str) -> None:
    database = Database(path)
    with database.writing() as rows:
        for number in range(2000):
            add(rows, f"{number:064}")
    database.close()
    data = bytearray(path.read_bytes())
    if damage == "text":
        data = bytearray(b"not a database at all, but long enough to look at" * 100)
    elif damage == "head":
        data[0:16] = bytes(16)
    else:
        data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    database = Database(path)
    with pytest.raises(MppError) as caught:
        names(database)
    assert caught.value.code == "store.corrupt"
    database.close()


def test_link_in_place_of_the_database_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(MppError):
        Database(path).open()
    assert not (tmp_path / "elsewhere.db").exists()


def test_whose_a_database_is_is_read_from_one_state_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process that makes it at this moment lets it look like somebody else's."""
    seen = []

    def looked_at(connection: sqlite3.Connection, name: str) -> int:
        seen.append((name, connection.in_transaction))
        return pragma(connection, name)

    pragma = database_module._pragma
    monkeypatch.setattr(database_module, "_pragma", looked_at)
    Database(path).open()
    assert ("application_id", True) in seen
    assert ("application_id", False) not in seen


def test_many_processes_make_one_database(path: Path) -> None:
    program = f"""
from pathlib import Path
from mpp_exec.registry.database import Database
database = Database(Path({str(path)!r}))
for _ in range(10):
    with database.writing() as rows:
        rows.changed()
database.close()
"""
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(8)]
    assert [process.wait(90) for process in running] == [0] * 8
    database = Database(path)
    assert database.generation() == 81
    database.close()


def test_closed_database_stays_closed(path: Path) -> None:
    database = Database(path)
    database.open()
    database.close()
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        database.generation()
