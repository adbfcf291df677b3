"""What breaks underneath the ledger: the call fails closed, and once it is mended all goes on.

Every fault is the real one: a full and a read-only file system, failing fsync and open, a database
and a head that others hold, no memory for a thread, Ctrl-C.
"""

from __future__ import annotations

import fcntl
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger_samples import (
    ARGUMENTS,
    CALLER,
    ENDING,
    INSIDE,
    OUTSIDE,
    call,
    codes,
    environment,
    fill,
    open_ledger,
    run,
)
from mpp_exec.audit import committer
from mpp_exec.audit.entry import Kind
from mpp_exec.audit.ledger import Ledger
from mpp_exec.errors import InternalError
from private_mounts import run_in_private_mounts

PRELUDE = """
import errno, os, subprocess, sys, time
from pathlib import Path
from ledger_samples import *
from mpp_exec.audit.entry import Kind
from mpp_exec.audit.ledger import Ledger
from mpp_exec.errors import InternalError

home = Path(sys.argv[1])

def refused(code, ledger, attempts=None):
    for attempt in attempts or (
        lambda: ledger.begin(OUTSIDE, CALLER, ARGUMENTS),
        lambda: ledger.event(Kind.POLICY, CALLER),
        lambda: call(ledger, INSIDE),
    ):
        try:
            attempt()
        except InternalError as error:
            assert error.code in code, error
            assert error.hint
        else:
            raise AssertionError("it went on off the record")

def fill_up():
    try:
        with open(home / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC

def again(ledger):
    end = time.monotonic() + 10
    while True:
        try:
            return call(ledger, OUTSIDE)
        except InternalError:
            assert time.monotonic() < end
            time.sleep(0.01)
"""


def mounted(program: str, home: Path) -> None:
    run_in_private_mounts(PRELUDE + program, home, env=environment())


def test_a_full_disk_stops_calls_until_there_is_room(tmp_path: Path) -> None:
    mounted(
        """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "none", home], check=True)
with open_ledger(home) as ledger:
    first = call(ledger)
    ledger.list()
    fill_up()
    # A log that was written back before has room for some more.
    for _ in range(500):
        try:
            call(ledger, OUTSIDE)
        except InternalError as error:
            assert error.code == "ledger.full", error
            break
    else:
        raise AssertionError("a full disk went unnoticed")
    refused({"ledger.full"}, ledger)
    assert ledger.show(first).outcome == "ok"
    assert not ledger.verify().problems
    (home / "ballast").unlink()
    last = again(ledger)
    outcomes = {entry.invocation: entry.outcome for entry in ledger.list(kinds=["start"])}
    assert outcomes[last] == "ok"
report = open_ledger(home).verify()
assert (report.problems, report.unsealed, report.running) == ((), 0, 0)
""",
        tmp_path,
    )


def test_a_new_home_on_a_full_disk(tmp_path: Path) -> None:
    mounted(
        """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "none", home], check=True)
fill_up()
ledger = open_ledger(home)
refused({"ledger.full", "ledger.io"}, ledger)
ledger.close()
(home / "ballast").unlink()
with open_ledger(home) as ledger:
    call(ledger)
assert open_ledger(home).verify().ok
""",
        tmp_path,
    )


def test_a_read_only_home_stops_calls_and_can_still_be_read(tmp_path: Path) -> None:
    mounted(
        """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", home], check=True)
invocation = fill(home, 2)[0]
subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
ledger = open_ledger(home)
refused({"ledger.readonly"}, ledger)
ledger.close()
assert ledger.show(invocation).outcome == "ok"
assert ledger.verify().ok
assert len(list(ledger.export())) == 8
subprocess.run(["mount", "-o", "remount,bind,rw", home], check=True)
with open_ledger(home) as ledger:
    call(ledger)
assert open_ledger(home).verify().ok
""",
        tmp_path,
    )


def test_a_home_that_turns_read_only_while_it_is_open(tmp_path: Path) -> None:
    mounted(
        """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", home], check=True)
subprocess.run(["mount", "--bind", home, home], check=True)
ledger = open_ledger(home)
call(ledger)
ledger.close()
ledger = open_ledger(home)
subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
refused({"ledger.readonly"}, ledger)
ledger.close()
""",
        tmp_path,
    )


FAILING = """
import pyseccomp

def fail(number, *calls):
    program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    program.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
    for name in calls:
        program.add_rule(pyseccomp.ERRNO(number), name)
    program.load()
"""


def test_a_disk_that_cannot_sync_stops_calls(tmp_path: Path) -> None:
    """The one proof that what is said to be durable was synced: where syncing fails, nothing is."""
    run(
        PRELUDE
        + FAILING
        + """
ledger = open_ledger(home)
first = call(ledger, OUTSIDE)
ledger.show(first)  # waits until its outcome is written
fail(errno.EIO, "fsync", "fdatasync")
refused({"ledger.io"}, ledger)
assert ledger.show(first).outcome == "ok"
try:
    ledger.close()
except InternalError as error:
    assert error.code == "ledger.io"
else:
    raise AssertionError("it was closed unsealed without a word")
""",
        tmp_path,
    )
    with open_ledger(tmp_path) as ledger:
        call(ledger)
    assert codes(tmp_path) == []


def test_a_result_is_held_back_where_its_start_cannot_be_synced(tmp_path: Path) -> None:
    """The start was not waited for before the tool ran; now it must have been."""
    run(
        PRELUDE
        + FAILING
        + """
ledger = open_ledger(home)
call(ledger)
fail(errno.EIO, "fsync", "fdatasync")
token = ledger.begin(INSIDE, CALLER, ARGUMENTS)  # does not wait: the ledger worked a moment ago
refused({"ledger.io"}, ledger, [lambda: ledger.finish(token, ENDING)])
os._exit(0)
""",
        tmp_path,
    )


@pytest.mark.parametrize("calls", ["pwrite64", "openat"])
def test_a_disk_that_cannot_be_written_or_opened(tmp_path: Path, calls: str) -> None:
    fill(tmp_path, 1)
    run(
        PRELUDE
        + FAILING
        + """
import mpp_exec.trust.keys, sqlite3, asyncio, pwd
codes(home)
ledger = open_ledger(home)
fail(errno.EIO, sys.argv[2])
refused({"ledger.io", "ledger.unopenable"}, ledger)
os._exit(0)
""",
        tmp_path,
        calls,
    )
    assert codes(tmp_path) == []


def test_no_descriptor_left(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    run(
        PRELUDE
        + """
import resource
import mpp_exec.trust.keys, sqlite3
codes(home)
ledger = open_ledger(home)
taken = len(os.listdir("/proc/self/fd"))
for free in range(4):
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken - 1 + free, 4096))
    refused({"ledger.descriptors", "ledger.unopenable", "ledger.io"}, ledger)
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
call(ledger)
ledger.close()
""",
        tmp_path,
    )
    assert codes(tmp_path) == []


def test_no_thread_to_be_had(tmp_path: Path) -> None:
    run(
        PRELUDE
        + """
import resource
import cbor2  # loaded by the first record, for which there would be no room
ledger = open_ledger(home)
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20), resource.RLIM_INFINITY))
refused({"ledger.thread"}, ledger)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
call(ledger)
ledger.close()
""",
        tmp_path,
    )
    assert codes(tmp_path) == []


@pytest.mark.parametrize("home", ["gone", "file"])
def test_a_home_that_is_none(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").touch()
    ledger = open_ledger(tmp_path / home)
    with pytest.raises(InternalError) as caught:
        ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    assert caught.value.code.startswith("ledger.")
    ledger.close()


# -- others that hold it -----------------------------------------------------------------------------


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process's connection, as good as, which can hold the database's write lock."""
    fill(tmp_path, 1)
    database = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    yield database
    database.close()


def test_nothing_waits_without_a_deadline(tmp_path: Path, holder: sqlite3.Connection) -> None:
    with open_ledger(tmp_path, deadline=1) as ledger:
        call(ledger)
        holder.execute("BEGIN IMMEDIATE")
        for attempt in (
            lambda: ledger.begin(OUTSIDE, CALLER, ARGUMENTS),
            lambda: ledger.event(Kind.POLICY, CALLER),
            lambda: call(ledger, INSIDE),
        ):
            start = time.monotonic()
            with pytest.raises(InternalError) as caught:
                attempt()
            assert caught.value.code == "ledger.busy"
            assert time.monotonic() - start < 5
        assert len(list(ledger.list())) >= 3  # reading does not wait for writers
        holder.execute("ROLLBACK")
        call(ledger)
    assert codes(tmp_path) == []
    assert "running" not in {entry.outcome for entry in open_ledger(tmp_path).list()}


def test_a_first_write_waits_its_turn(tmp_path: Path, holder: sqlite3.Connection) -> None:
    holder.execute("BEGIN IMMEDIATE")
    with open_ledger(tmp_path) as ledger:
        timer = threading.Timer(0.2, lambda: holder.execute("ROLLBACK"))
        timer.start()
        call(ledger, OUTSIDE)
        timer.join()


def test_closing_has_a_deadline(tmp_path: Path, holder: sqlite3.Connection) -> None:
    ledger = open_ledger(tmp_path, deadline=0.3)
    token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    holder.execute("BEGIN IMMEDIATE")
    ledger.finish(token, ENDING)
    start = time.monotonic()
    with pytest.raises(InternalError) as caught:
        ledger.close()
    assert caught.value.code == "ledger.busy"
    assert time.monotonic() - start < 5
    holder.execute("ROLLBACK")
    for thread in threading.enumerate():
        if thread.name == "mpp-exec ledger":
            thread.join(10)
    assert codes(tmp_path) == []


def test_more_calls_than_can_wait_are_refused(
    tmp_path: Path, holder: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "MAX_WAITING", 3)
    with open_ledger(tmp_path) as ledger:
        call(ledger)
        holder.execute("BEGIN IMMEDIATE")
        refused = []
        for _ in range(20):
            try:
                ledger.begin(INSIDE, CALLER, ARGUMENTS)
            except InternalError as error:
                refused.append(error.code)
        assert set(refused) == {"ledger.busy"}
        assert len(refused) >= 14  # three wait, up to as many are being committed
        holder.execute("ROLLBACK")
    assert codes(tmp_path) == []


def test_a_head_that_cannot_be_renewed_stops_new_calls_until_it_can(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        (tmp_path / "ledger.head.new").mkdir()  # where the head is written before it takes its place
        until(ledger, "ledger.io")
        ledger.finish(token, ENDING)  # what began on record also ends there
        (tmp_path / "ledger.head.new").rmdir()
        until(ledger, "")
        assert ledger.show(token.invocation).outcome == "ok"
    assert codes(tmp_path) == []


def test_a_head_that_others_hold_for_too_long_stops_new_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "SEAL_GRACE", 0.2)
    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        with (tmp_path / "locks/ledger-head").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            until(ledger, "ledger.busy")
        until(ledger, "")
    assert codes(tmp_path) == []


def refusal(ledger: Ledger) -> str:
    """Make a call; return the code of the error that it was refused with, or nothing."""
    try:
        call(ledger)
    except InternalError as error:
        return error.code
    return ""


def until(ledger: Ledger, code: str) -> None:
    """Go on calling until it is answered like that."""
    end = time.monotonic() + 10
    while refusal(ledger) != code:
        assert time.monotonic() < end
        time.sleep(0.001)


# -- interruptions -----------------------------------------------------------------------------------


class InterruptedTestError(Exception):
    """What the signal handler raises, as Ctrl-C would."""


def test_an_interrupted_begin_leaves_no_call_running(tmp_path: Path, holder: sqlite3.Connection) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedTestError

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with open_ledger(tmp_path) as ledger:
            call(ledger)
            holder.execute("BEGIN IMMEDIATE")
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptedTestError):
                ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
            holder.execute("ROLLBACK")
            call(ledger)
            entries = list(ledger.list(kinds=["start"]))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert [entry.outcome for entry in entries] == ["ok", "failed", "ok", "ok"]
    assert entries[1].ending is not None
    assert entries[1].ending.content["code"] == "ledger.interrupted"
    assert codes(tmp_path) == []


def test_a_begin_interrupted_in_the_queue_leaves_no_call_running(
    tmp_path: Path, holder: sqlite3.Connection
) -> None:
    """Its start is written after the one that is being written; its ending must come after that."""

    def interrupt(*_: object) -> None:
        raise InterruptedTestError

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with open_ledger(tmp_path) as ledger:
            call(ledger)
            ledger.list()
            holder.execute("BEGIN IMMEDIATE")
            first = threading.Thread(target=call, args=(ledger, OUTSIDE))
            first.start()
            while ledger._committer._turn is None:
                time.sleep(0.001)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptedTestError):
                ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
            holder.execute("ROLLBACK")
            first.join()
            outcomes = [entry.outcome for entry in ledger.list(kinds=["start"])]
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert outcomes == ["failed", "ok", "ok", "ok"]
    assert codes(tmp_path) == []


def test_an_outcome_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    with open_ledger(tmp_path, deadline=0.5) as ledger:
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        holder.execute("BEGIN IMMEDIATE")
        ledger.finish(token, ENDING)
        with pytest.raises(InternalError):
            ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        assert ledger.show(token.invocation).outcome == "running"
        holder.execute("ROLLBACK")
        holder.close()
        end = time.monotonic() + 10
        while ledger.show(token.invocation).outcome != "ok":
            assert time.monotonic() < end
            time.sleep(0.01)
    assert codes(tmp_path) == []
