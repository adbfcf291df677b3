"""Nothing stays, over many calls and many deaths of the host.

``make test`` runs a short form; ``make test-long`` (``MPP_LONG=1``) makes 10,000 calls in one process, and
kills 1,000 hosts with a program and 1,000 with copies of a Python tool's template: at random moments of whole
calls, and at every system call that a host makes in a spawn and in a copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import forge
from eventually import until
from mpp_exec import Runtime
from mpp_exec.package.manifest import RuntimeSpec, Tool
from mpp_exec.permissions import Limits
from mpp_exec.sandbox.pool import SANDBOXES
from mpp_exec.sandbox.template import Template
from private_mounts import mounted
from sandbox_lab import Lab, descendants, is_template, run, waits
from stage import NAME, OPEN, Stage

LONG = os.environ.get("MPP_LONG") == "1"
CALLS, KILLS = (10_000, 1000) if LONG else (300, 30)
COPIED_CALLS, COPIED_KILLS = (10_000, 1000) if LONG else (60, 6)
GROWTH = 2 << 20
"""Bytes by which the host's memory (anonymous PSS) may grow between a tenth of the calls and all of them."""
SEED = 20261125

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PTRACE_SYSCALL, PTRACE_SEIZE, PTRACE_INTERRUPT = 24, 0x4206, 0x4207  # linux/ptrace.h

ECHO = "def run(number):\n    return {'request': {'arguments': {'number': number}}}\n"
"""What the probe's ``echo`` answers, by a Python tool."""

pytestmark = pytest.mark.timeout(7200 if LONG else 180)


def memory() -> int:
    """Return the anonymous part of this process's PSS, in bytes; what it maps of files, others share."""
    match = re.search(r"^Pss_Anon:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def own_cgroups() -> list[str]:
    """Return every folder below the cgroups of this process."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for root in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in controllers.split(","))):
            folder = Path(f"{root}{path}")
            if folder.is_dir() and path != "/":
                found += [str(each) for each in folder.rglob("*") if each.is_dir()]
    return sorted(found)


def traces(private: Path) -> dict[str, Any]:
    """Return all that a call could leave: *private* is where temporary files of this test are made."""
    return {
        "processes and zombies": descendants(os.getpid()),
        "descriptors, sockets and pipes": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "mounts, and namespaces held by them": mounted(),
        "namespaces": sorted(str(path.readlink()) for path in Path("/proc/self/ns").iterdir()),
        "shared memory": [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()],
        "queues": [line.split()[1] for line in Path("/proc/sysvipc/msg").read_text().splitlines()],
        "cgroups": own_cgroups(),
        "temporary files": sorted(str(path) for path in private.rglob("*")),
    }


def more(before: dict[str, Any], after: dict[str, Any]) -> dict[str, object]:
    """Return what is there *after* and was not *before*; a thread or descriptor that went is no matter."""
    found: dict[str, object] = {}
    for name, now in after.items():
        if isinstance(now, int):
            if now > before[name]:
                found[name] = (before[name], now)
        elif added := set(now) - set(before[name]):
            found[name] = added
    return found


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, probe: Path, private: Path) -> Iterator[Stage]:
    """A home with one program that answers with its request, and as many sandboxes kept as it is told.

    Or with a Python tool that does, whose sandboxes are copies.
    """
    assert private.exists()
    tmp_path.chmod(0o755)
    kept = getattr(request, "param", SANDBOXES)
    if kept == "copies":
        with Stage(tmp_path) as made:
            made.python(ECHO)
            yield made
        return
    package = forge.package_of(
        {"bin/tool": probe.read_bytes()},
        ("bin/tool",),
        runtime=RuntimeSpec(kind="exec", command=("bin/tool", "echo")),
        tools=(Tool(name="run", description="", input_schema=OPEN),),
    )
    with Stage(tmp_path, parked=kept) as made:
        _, signed = made.install(package)
        made.approve(signed)
        yield made


@pytest.mark.parametrize(
    "stage", [0, SANDBOXES, "copies"], indirect=True, ids=["none kept", "some kept", "copies"]
)
def test_many_calls_in_one_process(
    request: pytest.FixtureRequest, stage: Stage, lab: Lab, probe: Path, private: Path
) -> None:
    """Whole calls, and between them every way in which one ends badly.

    What waits for calls to come is compared once the runtime is closed, of which nothing may be left.
    """
    kept = request.node.callspec.params["stage"]
    # A tenth is warm only where it is long: caches of fewer calls still grow.
    calls = COPIED_CALLS if kept == "copies" else CALLS
    unopened = traces(private)
    ends = [
        (lab.program(probe, *act.split(), limits=Limits(wall_ms=30, output=4096)), outcome)
        for act, outcome in (
            ("status 3", "tool_error"),
            ("flood 1", "output"),
            ("int80", "syscall"),
            ("raise 9", "killed"),
            ("stubborn", "timeout"),
        )
    ]
    python = lab.python("def run():\n    return 5\n")

    def one(number: int) -> None:
        result = stage.runtime.call(NAME, "run", {"number": number})
        assert result.structured is not None
        assert result.structured["request"]["arguments"] == {"number": number}
        if number % 20 == 0:
            compiled, outcome = ends[number // 20 % len(ends)]
            assert run(compiled).outcome in (outcome, "timeout")
        if number % 50 == 0:
            assert run(python, b'{"arguments":{}}').outcome == "ok"

    for number in range(0, 400 if calls == CALLS else 100, 20):  # every way once, before anything is compared
        one(number)
    before = traces(private)
    tenth = 0
    for number in range(calls):
        one(number)
        if number + 1 == calls // 10:
            tenth = memory()
    grown = memory() - tenth
    if kept == "copies":
        assert until(lambda: stage.runtime._open().sandboxes.waiting)
    if not kept:
        # The ledger's thread may be renewing the head at this very moment: two descriptors more.
        until(lambda: not more(before, traces(private)))
        assert more(before, traces(private)) == {}
    assert list(stage.runtime.home.tmp.iterdir()) == []
    assert not stage.runtime.ledger.verify().problems
    stage.runtime.close()
    assert more(unopened, traces(private)) == {}
    assert grown < GROWTH, f"{grown} bytes between {calls // 10} and {calls} calls"
    sys.stdout.write(f"{calls} calls: anonymous PSS {tenth} bytes after a tenth, {grown:+d} at the end\n")


class TestHostIsKilled:
    @pytest.fixture(autouse=True)
    def adopt(self) -> Iterator[None]:
        """Become the parent of what a killed host leaves, so that it is found and reaped."""
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        yield
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    @staticmethod
    def assert_nothing_left() -> None:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            left = descendants(os.getpid())
            if not left:
                return
            assert time.monotonic() < deadline, {pid: Path(f"/proc/{pid}/comm").read_text() for pid in left}
            select.select([], [], [], 0.002)

    @staticmethod
    def host(work: Callable[[], object]) -> tuple[int, int]:
        """Fork a host that says ``x`` and does *work*, over and over; return it and where it says so."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                while True:
                    os.write(writing, b"x")
                    work()
            finally:
                os._exit(99)
        os.close(writing)
        return pid, reading

    @pytest.mark.parametrize("stage", [SANDBOXES, "copies"], indirect=True, ids=["started", "copies"])
    def test_at_random_moments_of_whole_calls(
        self, request: pytest.FixtureRequest, stage: Stage, private: Path
    ) -> None:
        """From the first call that a fresh process makes, with its home to open, to its fifth.

        With copies from the third on: a template, and what waits, are there and being made.
        """
        copies = request.node.callspec.params["stage"] == "copies"
        kills, first = (COPIED_KILLS, 3) if copies else (KILLS, 1)

        def work() -> None:
            assert stage.runtime.call(NAME, "run", {"number": 1}).outcome == "ok"

        took = []
        # Here none are kept for calls to come, so that what is found afterwards was the killed host's.
        with Runtime(stage.home, policies=stage.policies, parked=0) as runtime:
            for _ in range(10):
                began = time.perf_counter()
                assert runtime.call(NAME, "run", {"number": 1}).outcome == "ok"
                took.append(time.perf_counter() - began)
        span = max(0.006, 1.2 * median(took))
        before, chance = traces(private), random.Random(SEED)
        with_template = with_copies = 0
        for _ in range(kills):
            pid, reading = self.host(work)
            for _ in range(chance.randrange(first, 6 if first == 1 else 12)):
                assert os.read(reading, 1) == b"x"
            until = time.perf_counter() + chance.uniform(0, span)
            while time.perf_counter() < until:
                pass
            if copies:
                os.kill(pid, signal.SIGSTOP)  # what it has made goes on
                below = descendants(pid)
                templates = {each for each in below if is_template(each)}
                with_template += bool(templates)
                with_copies += bool(templates and below - templates)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reading)
            self.assert_nothing_left()
        assert more(before, traces(private)) == {}
        stage.runtime.store.repair()
        assert list(stage.runtime.home.tmp.iterdir()) == []
        assert not stage.runtime.ledger.verify().problems
        if copies:
            assert with_copies > kills // 3
            sys.stdout.write(f"of {kills} {with_template} had a template, {with_copies} copies, too\n")
        work()

    @staticmethod
    def step(pid: int, stops: int) -> int:
        """Let *pid* run from one system call to the next, *stops* times or to its end; return how often."""
        done = 0
        while done < stops:
            if LIBC.ptrace(PTRACE_SYSCALL, pid, 0, 0) != 0:
                break
            _, status = os.waitpid(pid, 0)
            if not os.WIFSTOPPED(status):
                break
            done += 1
        return done

    def traced(self, work: Callable[[], object]) -> int:
        """Fork a host that does *work* once, traced by this process from before it begins."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(writing)
                os.read(reading, 1)
                work()
            finally:
                os._exit(0)
        os.close(reading)
        assert LIBC.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0
        assert LIBC.ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0
        os.waitpid(pid, 0)
        os.close(writing)
        return pid

    def killed_at_every_stop(self, work: Callable[[], object], kills: int) -> None:
        every = self.step(self.traced(work), 1_000_000)
        self.assert_nothing_left()
        assert every > 60
        chance = random.Random(SEED)
        moments = range(every) if LONG else sorted(chance.sample(range(every), min(every, kills)))
        for moment in moments:
            pid = self.traced(work)
            self.step(pid, moment)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            self.assert_nothing_left()
        sys.stdout.write(f"killed at {len(moments)} of {every} stops\n")

    def test_at_every_system_call_of_a_spawn(
        self, lab: Lab, probe: Path, ground: Path, private: Path
    ) -> None:
        """Stopped at on its way in and out: sources, channels, clone, maps, mounts, message, waiting."""
        compiled = lab.program(probe, "closed", read=[lab.root], write=[ground])
        run(compiled)
        before = traces(private)
        self.killed_at_every_stop(lambda: run(compiled), KILLS)
        assert more(before, traces(private)) == {}
        assert run(compiled).outcome == "ok"

    def test_at_every_system_call_of_a_copy(self, lab: Lab, ground: Path, private: Path) -> None:
        """From the start of a template over two copies, one for a call and one that waits, to its end."""
        compiled = lab.python("def run():\n    return 1\n", read=[lab.root], write=[ground])

        def work() -> None:
            template = Template(compiled)
            parked = [waits(compiled, template) for _ in range(2)]
            run(compiled, b'{"arguments":{}}', parked=parked[0])
            parked[1].close()
            template.close()

        work()
        before = traces(private)
        self.killed_at_every_stop(work, COPIED_KILLS)
        assert more(before, traces(private)) == {}
