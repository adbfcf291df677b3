"""What no rlimit and no sampling sees, taken by a tool of many processes: the cgroup of the call bounds it.

Each is seen to succeed where the cgroup is taken away, or left without its bound.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import cgroup, kernel, selftest
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import Lab, build_program, run, without_cgroup, without_seccomp

MIB = 1 << 20
PARENT = Path(cgroup.delegation().path)


def groups() -> set[str]:
    return {path.name for path in PARENT.iterdir() if path.name.startswith("mpp-exec-")}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Neither a group, nor a host's process where it was not."""
    before, own = groups(), Path("/proc/self/cgroup").read_text()
    yield
    assert groups() == before
    assert Path("/proc/self/cgroup").read_text() == own


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_program(Path(__file__).parent / "crowd.c", tmp_path_factory.mktemp("crowd") / "crowd")


def tool(lab: Lab, crowd: Path, *words: object, **limits: int) -> SandboxPlan:
    """Return the plan of a tool that may fork, as if ``subprocess`` were granted."""
    given = Limits(**{"wall_ms": 60_000, "cpu_ms": 60_000, "scratch": MIB, "processes": 24, **limits})
    return without_seccomp(lab.program(crowd, *map(str, words), limits=given))


def bound(compiled: SandboxPlan) -> int:
    return int(dict(compiled.cgroup)["memory.max"])


def test_everything_is_bounded_here(lab: Lab, crowd: Path) -> None:
    compiled = tool(lab, crowd, "orphans")
    assert {name for name, _ in compiled.cgroup} >= {"memory.max", "pids.max", "cpu.max"}


class TestProcessorTimeOfChildrenThatNobodyWaitsFor:
    LIMITS = {"cpu_ms": 1000, "wall_ms": 6000}  # noqa: RUF012 - read only

    def test_is_counted(self, lab: Lab, crowd: Path) -> None:
        done = run(tool(lab, crowd, "orphans", **self.LIMITS))
        assert done.outcome == "cpu"
        assert 1_000_000 <= done.cpu_us < 3_000_000

    def test_is_not_without_the_cgroup(self, lab: Lab, crowd: Path) -> None:
        done = run(without_cgroup(tool(lab, crowd, "orphans", **self.LIMITS)))
        # Six seconds of a processor, where one was allowed; on a busy emulator children may live until they
        # are seen.
        assert done.outcome in ("timeout", "cpu")


class TestMemoryOfManyProcesses:
    """Each stays below its own limit."""

    def test_never_passes_the_bound(self, lab: Lab, crowd: Path) -> None:
        compiled = tool(lab, crowd, "memory", 12, 40, memory=64 * MIB)
        done = run(compiled)
        assert done.outcome == "memory"
        assert done.output == b""
        assert done.memory_peak <= bound(compiled)

    def test_passes_it_where_it_is_only_sampled(self, lab: Lab, crowd: Path) -> None:
        compiled = tool(lab, crowd, "memory", 12, 40, memory=64 * MIB)
        sampled = dataclasses.replace(compiled, cgroup=(("memory.max", "max"),))
        assert run(sampled).memory_peak > 64 * MIB + cgroup.OVERHEAD


class TestMemoryOfTheKernelsOwn:
    """Sockets' buffers: bounded by open files in each process, and by nothing in sum."""

    def test_is_counted(self, lab: Lab, crowd: Path) -> None:
        compiled = tool(lab, crowd, "sockets", 16, 0, memory=48 * MIB)
        done = run(compiled)
        assert (done.outcome, done.output) == ("memory", b"")
        assert done.memory_peak <= bound(compiled)

    def test_is_not_without_the_cgroup(self, lab: Lab, crowd: Path) -> None:
        compiled = tool(lab, crowd, "sockets", 16, 0, memory=48 * MIB)
        assert run(without_cgroup(compiled)).output == b"held by 16"
        counted = dataclasses.replace(
            compiled,
            cgroup=(("memory.max", "max"),),
            limits=dataclasses.replace(compiled.limits, memory=1 << 30),
        )
        assert run(counted).memory_peak > 2 * bound(compiled), "and that much it is"


def test_processes_that_are_gone_before_anybody_looks(lab: Lab, crowd: Path) -> None:
    done = run(tool(lab, crowd, "burst", processes=6))
    assert (done.outcome, done.reason) == (
        "processes",
        "failed with status 4 at its limit of 6 processes and threads",
    )


def test_group_of_a_killed_host_is_removed_by_the_next_start(lab: Lab, crowd: Path) -> None:
    """And the tool in it is dead before that; the group of a living host is left alone."""
    compiled = tool(lab, crowd, "memory", 3, 1)
    before = groups()
    reading, writing = os.pipe()
    host = os.fork()
    if host == 0:
        try:
            with cgroup.entered(compiled.cgroup):
                os.write(writing, b"x")
                signal.pause()
        finally:
            os._exit(1)
    os.read(reading, 1)
    (left,) = groups() - before
    cgroup.sweep(str(PARENT))
    assert left in groups(), "its host lives"
    os.kill(host, signal.SIGKILL)
    os.waitpid(host, 0)
    os.close(reading)
    os.close(writing)
    assert left in groups()
    script = "from mpp_exec.sandbox import cgroup; print(cgroup.delegation().path)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(PARENT)
    assert left not in groups()


OWN = """
import os, sys
from mpp_exec.errors import HostError
from mpp_exec.sandbox import cgroup
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
before = open("/proc/self/cgroup").read()
try:
    print(cgroup.delegation().controllers)
except HostError as error:
    print(error.message)
print(open("/proc/self/cgroup").read() == before)
"""


def test_own_cgroup_is_used_only_where_this_was_asked_for_and_nobody_else_is_in_it() -> None:
    """No process is moved that did not ask to be."""
    own = PARENT / "own"
    own.mkdir()
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        (own / "cgroup.procs").write_text(str(sleeper.pid))
        command = [sys.executable, "-c", OWN, str(own)]
        asked = {**os.environ, "MPP_CGROUP": "own"}
        done = subprocess.run(command, env=asked, check=True, capture_output=True, text=True)
        assert "holds other processes, and nobody asked to move them" in done.stdout
        assert done.stdout.endswith("True\n"), "it stayed where it was"
        sleeper.kill()
        sleeper.wait()
        done = subprocess.run(command, env=asked, check=True, capture_output=True, text=True)
        assert done.stdout == "('cpu', 'memory', 'pids')\nFalse\n"
    finally:
        sleeper.kill()
        sleeper.wait()
        if (own / "mpp-exec-host").exists():
            (own / "mpp-exec-host").rmdir()
        own.rmdir()


def test_doctor_says_that_the_kernel_counts(lab: Lab) -> None:
    assert lab
    check = selftest._cgroup(kernel.probe())
    assert check.detail == f"each call in one of its own below {PARENT}: cpu, memory, pids"
    assert kernel.probe().cgroup == ("cpu", "memory", "pids")
