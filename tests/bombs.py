"""Tools that take all they can, and how late each of them is ended: for the tests and for the benchmark.

The instant of a limit is the deadline for time, and the last sample for processor time. For memory and output
it is the time that the tool itself wrote down (its clock is the host's).
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpp_exec.permissions import Limits
from mpp_exec.sandbox.outcome import Outcome
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import CACHE, PARKED, Lab, prepared, run

MIB = 1 << 20
NO_ARGUMENTS = b'{"arguments":{}}'
STAMP = re.compile(rb"<(\d{8,})>")


@dataclass(frozen=True)
class Ended:
    """One run of a bomb: how it ended, the clock (ns) before it began and after it returned.

    ``others`` is the share of the machine's processor time that processes of other programs used. ``waited``
    is the time (ns) for which the supervising thread was ready but had no processor. ``served`` is the number
    of other calls that began and ended meanwhile.
    """

    done: Completed
    began: int
    over: int
    others: float
    waited: int
    served: int


LatenessOf = Callable[[Ended, Limits], int]


def by_deadline(ended: Ended, limits: Limits) -> int:
    return ended.over - ended.began - limits.wall_ms * 1_000_000


def by_processor(ended: Ended, limits: Limits) -> int:
    """The processor time beyond the limit when seen, which bounds that delay, and the time to the end."""
    return (ended.done.cpu_us - limits.cpu_ms * 1000 + ended.done.timing["reap"]) * 1000


def by_memory(ended: Ended, limits: Limits) -> int:
    """The tool writes one stamp for each MiB that any of its processes has touched."""
    stamps = sorted(int(stamp) for stamp in STAMP.findall(ended.done.errors))
    return ended.over - stamps[min(len(stamps), limits.memory // MIB) - 1]


def by_output(ended: Ended, _: Limits) -> int:
    """The tool writes the time: the last stamp that was kept was written before the bound was reached."""
    return ended.over - max(int(stamp) for stamp in STAMP.findall(ended.done.output + ended.done.errors))


@dataclass(frozen=True)
class Bomb:
    """A tool that goes off: Python code for the body of ``run``, or an act of the probe."""

    name: str
    code: str
    limits: Limits
    outcome: Outcome
    lateness: LatenessOf | None = None
    programs: tuple[str, ...] = ()
    act: tuple[str, ...] = ()

    def plan(self, lab: Lab, probe: Path) -> SandboxPlan:
        if self.act:
            return lab.program(probe, *self.act, limits=self.limits)
        body = "".join(f"    {line}\n" for line in self.code.strip().splitlines())
        head = "import os, resource, signal, socket, sys, tempfile, threading, time\n"
        return lab.python(f"{head}def run():\n{body}", subprocess=self.programs, limits=self.limits)


FORK = ("true",)
SLEEPS, SPINS = Limits(wall_ms=900, processes=12), Limits(cpu_ms=500, wall_ms=20_000, processes=12)
FLOOD = """
def flood(fd):
    while True: os.write(fd, b"<%d>" % time.monotonic_ns() + b"x" * 500)
"""
AGAIN = """
while True:
    try:
        {}
    except OSError:
        pass
"""
HELD = """
def held(size):
    kept = []
    for _ in range(size):
        kept.append(bytearray(b"x" * (1 << 20)))
        os.write(2, b"<%d>" % time.monotonic_ns())
    signal.pause()
"""
BOMBS = (
    Bomb("processor", "", SPINS, "cpu", by_processor, act=("spin",)),
    Bomb(
        "processor, by threads",
        "import hashlib\n"
        "def work():\n"
        "    while True: hashlib.sha256(bytes(1 << 20))\n"
        "for _ in range(3): threading.Thread(target=work).start()\n"
        "work()",
        SPINS,
        "cpu",
        by_processor,
    ),
    Bomb("sleep, ignoring every signal", "", SLEEPS, "timeout", by_deadline, act=("stubborn",)),
    Bomb("sleep, with everything closed", "", SLEEPS, "timeout", by_deadline, act=("silent",)),
    Bomb("sleep, stopped", "os.kill(0, signal.SIGSTOP)", SLEEPS, "timeout", by_deadline),
    Bomb(
        "forks that fork and sleep",
        "while True:\n    try: os.fork()\n    except OSError: signal.pause()",
        SLEEPS,
        "timeout",
        by_deadline,
        FORK,
    ),
    Bomb(
        "forks that fork and spin",
        "while True:\n    try: os.fork()\n    except OSError: pass",
        SPINS,
        "cpu",
        by_processor,
        FORK,
    ),
    Bomb(
        "forks until there are no more",
        "try:\n"
        "    while os.fork(): pass\n"
        "    signal.pause()\n"
        "except OSError:\n"
        "    time.sleep(0.1)\n"  # the supervisor counts every 10 ms
        "    os._exit(1)",
        SLEEPS,
        "processes",
        None,
        FORK,
    ),
    Bomb("threads until there are no more", "", SLEEPS, "processes", act=("threads",)),
    Bomb("memory of one process", "", Limits(memory=64 * MIB), "memory", act=("touch",)),
    Bomb(
        "memory of many processes",
        HELD + "for _ in range(6): os.fork() or held(40)\nsignal.pause()",
        Limits(memory=96 * MIB, wall_ms=20_000),
        "memory",
        by_memory,
        FORK,
    ),
    Bomb("output", FLOOD + "flood(1)", Limits(output=200_000), "output", by_output),
    Bomb("errors", FLOOD + "flood(2)", Limits(output=200_000), "output", by_output),
    Bomb(
        "both channels",
        FLOOD + "threading.Thread(target=flood, args=(1,)).start()\nflood(2)",
        Limits(output=200_000),
        "output",
        by_output,
    ),
    Bomb("descriptors", "held = []\n" + AGAIN.format("held.append(os.dup(0))"), SPINS, "cpu", by_processor),
    Bomb("pipes", "held = []\n" + AGAIN.format("held.append(os.pipe())"), SPINS, "cpu", by_processor),
    Bomb(
        "inodes", "n = [0]\n" + AGAIN.format("n[0] += 1; os.mkdir(f'/tmp/{n}')"), SPINS, "cpu", by_processor
    ),
    Bomb("folders in folders", AGAIN.format("os.mkdir('d'); os.chdir('d')"), SPINS, "cpu", by_processor),
    Bomb(
        "scratch",
        "f = open('/tmp/full', 'wb', buffering=0)\n" + AGAIN.format("f.write(bytes(1 << 16))"),
        SPINS,
        "cpu",
        by_processor,
    ),
    Bomb(
        "pages of scratch, mapped",
        "import mmap\n"
        "f = open('/tmp/full', 'w+b'); os.truncate('/tmp/full', 8 << 20)\n"
        "m = mmap.mmap(f.fileno(), 0)\n"
        "while True:\n"
        "    for at in range(0, len(m), 4096): m[at] = 1",
        SPINS,
        "cpu",
        by_processor,
    ),
    Bomb(
        "sparse files",
        "held = []\n" + AGAIN.format("held.append(tempfile.TemporaryFile()); held[-1].truncate(1 << 50)"),
        SPINS,
        "cpu",
        by_processor,
    ),
    Bomb("memory files", AGAIN.format("os.memfd_create('x')"), SPINS, "cpu", by_processor),
    Bomb(
        "timers",
        "signal.signal(14, lambda *_: None)\n" + AGAIN.format("signal.setitimer(signal.ITIMER_REAL, 1e-4)"),
        SPINS,
        "cpu",
        by_processor,
    ),
    Bomb(
        "signals to itself",
        "signal.signal(10, lambda *_: None)\n" + AGAIN.format("os.kill(os.getpid(), 10)"),
        SPINS,
        "cpu",
        by_processor,
    ),
)


def explode(compiled: SandboxPlan, small: SandboxPlan) -> Ended:
    """Run a bomb, and meanwhile call another tool in another thread; all of these calls must succeed."""
    run(small)
    CACHE.filter(compiled.tool_profile)  # compiled before the clock starts
    over = threading.Event()
    wrong: list[int] = []
    right: list[int] = []

    def others() -> None:
        while not over.wait(0.02):
            done = run(small)
            (right if done.outcome == "ok" else wrong).append(time.monotonic_ns())

    # If calls are made in sandboxes that wait for them, this sandbox is ready before the clock starts.
    waiting = {"parked": prepared(compiled)} if PARKED else {}
    thread = threading.Thread(target=others)
    thread.start()
    before, delay, began = processor_time(), run_delay(), time.monotonic_ns()
    done = run(compiled, NO_ARGUMENTS, **waiting)
    ended = time.monotonic_ns()
    waited, after = run_delay() - delay, processor_time()
    over.set()
    thread.join()
    assert wrong == []
    there = (ended - began) / 1e9 * (os.cpu_count() or 1)
    foreign = ((after[0] - before[0]) - (after[1] - before[1])) / there
    served = sum(began < at < ended for at in right[1:])
    return Ended(done, began, ended, foreign, waited, served)


def run_delay() -> int:
    """Return for how many ns this thread was ready but another had its processor (CONFIG_SCHED_INFO)."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


def processor_time() -> tuple[float, float]:
    """Return the processor seconds of all processes, and of this process and the children that it reaped."""
    user, nice, system, _, _, *interrupts = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    own = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), own
