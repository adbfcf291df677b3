"""Many processes on one ledger: one chain, and the truth about those that died."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ledger_samples import (
    ARGUMENTS,
    CALLER,
    ENDING,
    OUTSIDE,
    codes,
    environment,
    fill,
    open_ledger,
    run,
    snapshot,
)
from mpp_exec.audit import writers
from mpp_exec.audit.entry import Kind

CALLS = """
import sys, threading
from pathlib import Path
from ledger_samples import *

def work(ledger):
    for number in range(int(sys.argv[3])):
        call(ledger, OUTSIDE if number % 2 else INSIDE)

with open_ledger(Path(sys.argv[1])) as ledger:
    threads = [threading.Thread(target=work, args=(ledger,)) for _ in range(int(sys.argv[2]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

# One line when a call may run, one when its result may be handed over.
TELLING = """
import sys
from pathlib import Path
from ledger_samples import *

ledger = open_ledger(Path(sys.argv[1]))
while True:
    token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    print("begun", token.invocation, flush=True)
    ledger.finish(token, ENDING)
    print("finished", token.invocation, flush=True)
    token = ledger.begin(INSIDE, CALLER, ARGUMENTS)
    ledger.finish(token, ENDING)
    print("finished", token.invocation, flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def told(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Read that many lines of what *process* tells."""
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(lines)]


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill *process* and return whatever it had told before."""
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return rest.splitlines(keepends=True)


def test_four_processes_of_four_threads_make_one_chain(tmp_path: Path) -> None:
    processes = [start(CALLS, tmp_path, 4, 25) for _ in range(4)]
    ledger = open_ledger(tmp_path)
    while any(process.poll() is None for process in processes):
        assert ledger.verify().ok  # whatever state it is in at this moment
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    report = ledger.verify()
    assert (report.ok, report.entries, report.unsealed, report.running) == (True, 801, 0, 0)
    starts = list(ledger.list(kinds=["start"]))
    assert [entry.outcome for entry in starts] == ["ok"] * 400
    assert len({entry.content["writer"] for entry in starts}) == 4


def test_many_may_make_the_ledger_at_once(tmp_path: Path) -> None:
    processes = [start(CALLS, tmp_path, 1, 1) for _ in range(6)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert [entry.kind for entry in open_ledger(tmp_path).list()].count("genesis") == 1
    report = open_ledger(tmp_path).verify()
    assert (report.ok, report.entries) == (True, 13)


@pytest.mark.parametrize("seed", range(15))
def test_a_process_killed_at_any_instant_leaves_a_whole_ledger_that_tells_the_truth(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    process = start(TELLING, tmp_path)
    lines = told(process, chance.randrange(1, 60))
    deadline = time.monotonic() + chance.random() * 0.004
    while time.monotonic() < deadline:
        pass
    lines += killed(process)
    begun = {line.split()[1] for line in lines if line.startswith("begun") and line.endswith("\n")}
    finished = {line.split()[1] for line in lines if line.startswith("finished") and line.endswith("\n")}

    reader = open_ledger(tmp_path)
    report = reader.verify()
    assert (report.problems, report.running) == ((), 0)
    before = {entry.invocation: entry.outcome for entry in reader.list(kinds=["start"])}
    assert begun | finished <= before.keys()
    assert set(before.values()) <= {"ok", "unknown"}
    # Its outcome may take 100 ms, so of the last calls it may be missing; of none before them.
    assert list(before.values())[200:] == ["ok"] * len(list(before.values())[200:])

    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
    after = {entry.invocation: entry for entry in reader.list(kinds=["start"])}
    assert {invocation: entry.outcome for invocation, entry in after.items()} == before
    assert all(entry.ending is not None for entry in after.values())
    report = reader.verify()
    assert (report.problems, report.running, report.unsealed) == ((), 0, 0)
    assert not [name for name in snapshot(tmp_path) if "locks/ledger." in name or name.endswith(".new")]


def test_a_call_of_a_killed_process_is_unknown_and_one_of_a_living_process_runs(tmp_path: Path) -> None:
    waiting = """
import sys
from pathlib import Path
from ledger_samples import *
token = open_ledger(Path(sys.argv[1])).begin(OUTSIDE, CALLER, ARGUMENTS)
print(token.invocation, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", waiting, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    (line,) = told(process, 1)
    reader = open_ledger(tmp_path)
    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        assert reader.show(line.strip()).outcome == "running"
        assert reader.verify().running == 1
        killed(process)
        assert reader.show(line.strip()).outcome == "unknown"
        assert reader.show(line.strip()).ending is None
        ledger.event(Kind.POLICY, CALLER)
        end = time.monotonic() + 10
        while (entry := reader.show(line.strip())).ending is None:  # a living process accounts for it
            assert time.monotonic() < end
            time.sleep(0.01)
        assert entry.ending.kind == "unknown"
        assert entry.ending.content["started"] == entry.sequence
    assert codes(tmp_path) == []


def test_a_dead_writers_process_id_may_be_in_use_again(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    mine = writers.WriterLock(locks)
    stale = f"{os.getpid()}-{'0' * 32}"
    (locks / f"ledger.{stale}").touch()
    assert writers.is_alive(locks, mine.name)
    assert not writers.is_alive(locks, stale)
    assert not writers.is_alive(locks, f"{os.getpid()}-{'1' * 32}")
    writers.sweep(locks)
    assert [path.name for path in locks.iterdir()] == [f"ledger.{mine.name}"]
    mine.release()
    assert not writers.is_alive(locks, mine.name)
    assert list(locks.iterdir()) == []


def test_a_writer_being_born_is_not_swept_away(tmp_path: Path) -> None:
    """Between making its file and locking it, a writer looks dead."""
    locks = tmp_path / "locks"
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            writers.sweep(locks)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(300):
            lock = writers.WriterLock(locks)
            assert writers.is_alive(locks, lock.name)
            lock.release()
    finally:
        stop.set()
        sweeper.join()


def test_an_outcome_that_comes_after_unknown_counts(tmp_path: Path) -> None:
    """Somebody removed the lock of a living writer, which then finishes its call after all."""
    with open_ledger(tmp_path) as ledger:
        token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        for path in (tmp_path / "locks").glob("ledger.*-*"):
            path.unlink()
        with open_ledger(tmp_path) as other:
            other.event(Kind.POLICY, CALLER)
        entry = ledger.show(token.invocation)
        assert entry.ending is not None
        assert entry.ending.kind == "unknown"
        ledger.finish(token, ENDING)
        assert ledger.show(token.invocation).outcome == "ok"
    report = open_ledger(tmp_path).verify()
    assert report.problems == ()
    assert [entry.kind for entry in ledger.list(kinds=["unknown", "outcome"])] == ["outcome", "unknown"]


def test_calls_in_progress_survive_the_repair_of_others(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        tokens = [ledger.begin(OUTSIDE, CALLER, ARGUMENTS) for _ in range(3)]
        fill(tmp_path, 1)
        for token in tokens:
            ledger.finish(token, ENDING)
        outcomes = [ledger.show(token.invocation).outcome for token in tokens]
    assert outcomes == ["ok"] * 3
    assert list(open_ledger(tmp_path).list(kinds=["unknown"])) == []


# -- forks -----------------------------------------------------------------------------------------

FORK = """
import os, sys, threading, warnings
from pathlib import Path
from ledger_samples import *

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of fork with threads
home = Path(sys.argv[1])
ledger = open_ledger(home)
stop = threading.Event()
calls = [0]

def work():
    while not stop.is_set():
        call(ledger, OUTSIDE)
        calls[0] += 1

thread = threading.Thread(target=work)
thread.start()
kept = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        open_files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert not [name for name in open_files if name.startswith(str(home))], open_files
        try:
            ledger.finish(kept, ENDING)
        except MppError as error:
            assert error.code == "ledger.forked"
        else:
            raise AssertionError("the call was the parent's")
        for _ in range(3):
            call(ledger, OUTSIDE)
            call(ledger)
        ledger.close()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
stop.set()
thread.join()
ledger.finish(kept, ENDING)
ledger.close()
print(calls[0])
"""


def test_a_forked_child_is_a_writer_of_its_own(tmp_path: Path) -> None:
    done = run("from mpp_exec.errors import MppError\n" + FORK, tmp_path)
    report = open_ledger(tmp_path).verify()
    assert (report.problems, report.running, report.unsealed) == ((), 0, 0)
    starts = list(open_ledger(tmp_path).list(kinds=["start"]))
    assert [entry.outcome for entry in starts] == ["ok"] * (8 * 6 + 1 + int(done.stdout))
    assert len({entry.content["writer"] for entry in starts}) == 9


@pytest.mark.parametrize("begun", [True, False], ids=["by others", "by its parent"])
def test_a_forked_child_knows_that_there_was_a_ledger(tmp_path: Path, *, begun: bool) -> None:
    fill(tmp_path, 1)
    program = """
import os, sys
from pathlib import Path
from ledger_samples import *
from mpp_exec.audit.entry import Kind
from mpp_exec.errors import MppError

home, begun = Path(sys.argv[1]), BEGUN
with open_ledger(home, begun=begun) as ledger:
    if not begun:
        call(ledger)
    pid = os.fork()
    if pid == 0:
        for each in home.glob("ledger.*"):
            each.unlink()
        try:
            ledger.event(Kind.POLICY, CALLER)
        except MppError as error:
            print(error.code, [each.code for each in ledger.verify().problems], flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    os._exit(0)
"""
    done = run(program.replace("BEGUN", str(begun)), tmp_path)
    assert done.stdout == "ledger.tampered ['database.missing']\n"


def test_a_child_that_only_exits_takes_nothing_with_it(tmp_path: Path) -> None:
    run(
        """
import os, sys, warnings
from pathlib import Path
from ledger_samples import *

warnings.simplefilter("ignore", DeprecationWarning)
home = Path(sys.argv[1])
with open_ledger(home) as ledger:
    token = ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
    for leave in (os._exit, sys.exit):
        if os.fork() == 0:
            leave(0)
        os.wait()
        assert open_ledger(home).show(token.invocation).outcome == "running"
    ledger.finish(token, ENDING)
""",
        tmp_path,
    )
    assert [entry.outcome for entry in open_ledger(tmp_path).list(kinds=["start"])] == ["ok"]
    assert codes(tmp_path) == []


def test_a_child_forked_behind_pythons_back_is_refused(tmp_path: Path) -> None:
    """Without the hooks, SQLite in the child believes in locks that it does not have."""
    run(
        """
import ctypes, os, sys
from pathlib import Path
from ledger_samples import *
from mpp_exec.audit.entry import Kind
from mpp_exec.errors import MppError

with open_ledger(Path(sys.argv[1])) as ledger:
    call(ledger)
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        refused = []
        for attempt in (
            lambda: ledger.begin(OUTSIDE, CALLER, ARGUMENTS),
            lambda: ledger.event(Kind.POLICY, CALLER),
            lambda: ledger.verify(),
        ):
            try:
                attempt()
            except MppError as error:
                refused.append(error.code)
        ledger.close()
        os._exit(refused != ["ledger.forked"] * 3)
    assert os.waitpid(pid, 0)[1] == 0
    call(ledger)
""",
        tmp_path,
    )
    report = open_ledger(tmp_path).verify()
    assert (report.problems, report.entries) == ((), 5)


def test_a_child_forked_while_the_database_could_not_be_closed_is_refused(tmp_path: Path) -> None:
    run(
        """
import os, sys, warnings
from pathlib import Path
from ledger_samples import *
from mpp_exec.errors import MppError

warnings.simplefilter("ignore", DeprecationWarning)
with open_ledger(Path(sys.argv[1])) as ledger:
    call(ledger)
    ledger._committer.pause = lambda: None  # as after its deadline
    ledger._committer.resume = lambda: None
    if os.fork() == 0:
        try:
            ledger.begin(OUTSIDE, CALLER, ARGUMENTS)
        except MppError as error:
            os._exit(error.code != "ledger.forked")
        os._exit(1)
    assert os.wait()[1] == 0
    call(ledger)
""",
        tmp_path,
    )
    assert codes(tmp_path) == []


def test_a_subprocess_inherits_no_descriptor(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.event(Kind.POLICY, CALLER)
        listed = subprocess.run(
            ["/bin/sh", "-c", "readlink /proc/$$/fd/*"],
            close_fds=False,
            capture_output=True,
            text=True,
            check=False,
        )
    assert str(tmp_path) not in listed.stdout


def test_a_ledger_left_open_is_closed_when_the_interpreter_exits(tmp_path: Path) -> None:
    run(
        """
import sys
from pathlib import Path
from ledger_samples import *
ledger = open_ledger(Path(sys.argv[1]))
call(ledger)
""",
        tmp_path,
    )
    report = open_ledger(tmp_path).verify()
    assert (report.problems, report.entries, report.unsealed) == ((), 3, 0)
    assert sorted(snapshot(tmp_path)) == ["ledger.db", "ledger.head", "locks/ledger-head"]
