"""A tool hides what it uses: behind a thread that ended, in a crowd, in tables and files nobody counts."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sandbox_lab
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import HERE, Lab, build_program, run, without_seccomp
from stage import NAME, Stage

MIB = 1 << 20
FORKS = ("clone", "fork", "vfork", "wait4", "waitid")
LIMITS = Limits(wall_ms=30_000, cpu_ms=20_000, memory=96 * MIB, processes=1000)


@pytest.fixture(scope="module")
def hider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_program(HERE / "sandbox_hider.c", tmp_path_factory.mktemp("hider") / "hider")


def test_memory_behind_a_first_thread_that_ended_counts(lab: Lab, hider: Path) -> None:
    """Its line in /proc shows none; without looking at the others, four times the limit was held."""
    done = run(without_seccomp(lab.program(hider, "leaderless", "6", "64", limits=LIMITS), *FORKS))
    assert done.outcome == "memory"


def test_memory_behind_hundreds_of_idle_processes_counts(lab: Lab, hider: Path) -> None:
    """A list of children is longer than what one read gives; the idle ones alone stay below the limit."""
    limits = replace(LIMITS, memory=192 * MIB)
    idle = run(without_seccomp(lab.program(hider, "crowd", "900", "0", "0", limits=limits), *FORKS))
    assert idle.outcome == "ok"
    done = run(without_seccomp(lab.program(hider, "crowd", "900", "4", "90", limits=limits), *FORKS))
    assert done.outcome == "memory"


def test_call_that_cannot_be_watched_ends(lab: Lab, probe: Path) -> None:
    """Here for want of descriptors in the host; a masked /proc or hidepid would do the same."""
    compiled = lab.program(probe, "stubborn", limits=replace(LIMITS, wall_ms=20_000))
    done: list[Completed] = []
    caller = threading.Thread(target=lambda: done.append(run(compiled)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    caller.start()
    while not any(len(sandbox_lab.descendants(init)) for init in sandbox_lab.init_processes()):
        assert caller.is_alive()
    resource.setrlimit(resource.RLIMIT_NOFILE, (7, hard))  # poll(2) itself wants as many as it waits for
    try:
        caller.join(20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert done[0].outcome == "killed"
    assert "could not be read" in done[0].reason
    assert not sandbox_lab.init_processes()


def test_limit_of_time_is_kept_for_one_with_tens_of_thousands_of_mappings(lab: Lab, hider: Path) -> None:
    """Without namespaces what it has mapped is looked at: that took six seconds, also of one cancelled."""
    limits = replace(LIMITS, wall_ms=1000, memory=512 * MIB)
    done = run(lab.without_namespaces().program(hider, "mappings", "65000", "x" * 120, limits=limits))
    assert done.outcome == "timeout"
    assert done.timing["run"] < 4_000_000


@pytest.mark.parametrize("ends", [0, 1], ids=["before it", "behind one that ended"])
def test_deleted_files_that_a_thread_keeps_are_counted(lab: Lab, hider: Path, ends: int) -> None:
    """Without namespaces scratch is on the host's disk. A first thread that has ended shows no mapping."""
    done = run(lab.without_namespaces().program(hider, "deleted", "300", str(ends), limits=LIMITS))
    assert (done.outcome, "deleted" in done.reason) == ("killed", True)


def test_thread_with_descriptors_of_its_own(lab: Lab, hider: Path) -> None:
    compiled = lab.program(hider, "tables", "8", limits=Limits(open_files=32))
    refused, total = map(int, run(compiled).output.split())
    assert (refused, total) == (8, 0)
    # The attack is real: eight tables hold eight times as many.
    refused, total = map(int, run(without_seccomp(compiled, "clone")).output.split())
    assert refused == 0
    assert total > 4 * 32


UNNAMED = """
import os
def run(folder):
    try:
        made = [os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600) for _ in range(20)]
    except OSError as error:
        return error.strerror
    for number, file in enumerate(made):
        os.write(file, bytes(1 << 20))
    return "made"
"""


def test_file_without_a_name_in_storage(stage: Stage) -> None:
    stage.python(
        UNNAMED,
        permissions=Permissions(storage=MIB),
        tool={"operation": "write"},
    )
    result = stage.runtime.call(NAME, "run", {"folder": "/storage"})
    assert result.structured == {"result": "Function not implemented"}


def test_file_without_a_name_anywhere_and_a_link_to_it(lab: Lab, probe: Path) -> None:
    flags = os.O_TMPFILE | os.O_RDWR
    tries = [
        ("open", "s:/tmp", flags, 0o600),
        ("openat", -100, "s:/tmp", flags, 0o600),
        ("open", "s:/tmp", 0o20000000, 0o600),
        ("linkat", 1, "s:", -100, "s:/tmp/x", 0x1000),
    ]
    compiled = lab.program(probe, "sweep")
    assert sandbox_lab.sweep(compiled, tries) == [38] * 4
    # Without the filter the first two make one.
    assert sandbox_lab.sweep(without_seccomp(compiled), tries)[:2] == [0, 0]


def test_signal_of_a_limit_that_a_tool_sends_itself_is_no_limit(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "raise", "24"))
    assert (done.outcome, done.reason) == ("tool_error", "died of SIGXCPU")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made
