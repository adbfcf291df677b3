"""Nothing stays behind: no process, descriptor, mount or memory, however a call ends, or its host."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpp_exec.errors import HostError
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import native
from private_mounts import mounted
from sandbox_lab import HERE, Lab, call, descendants, init_processes, run

LIBC = ctypes.CDLL(None, use_errno=True)
PR_GET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 3, 36  # linux/prctl.h


def traces() -> dict[str, object]:
    """Return what a call could leave behind in this process and on this host."""
    return {
        "descriptors": sorted(path.name for path in Path("/proc/self/fd").iterdir()),
        "processes": descendants(os.getpid()),
        "mounts": mounted(),
        "threads": threading.active_count(),
        "dumpable": LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
        "signals": signal.pthread_sigmask(signal.SIG_BLOCK, set()),
    }


class Memory(ctypes.Structure):
    """struct mallinfo2 (mallinfo(3)): ten counters."""

    _fields_ = [(f"counter{index}", ctypes.c_size_t) for index in range(10)]


def allocated() -> int:
    """Return the bytes that C code of this process holds: hblkhd, mapped for large blocks, and uordblks."""
    LIBC.mallinfo2.restype = Memory
    seen = LIBC.mallinfo2()
    return int(seen.counter4 + seen.counter7)


def until(condition: object, seconds: float = 10) -> bool:
    """Ask *condition* until it holds; False when it does not within *seconds*."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.005)
    return True


def test_two_hundred_calls_leave_nothing(lab: Lab, probe: Path, ground: Path) -> None:
    (ground / ".git/hooks").mkdir(parents=True)
    small = lab.program(probe, "echo")
    granted = lab.program(probe, "echo", read=[lab.root], write=[ground], covers=[ground / ".git/hooks"])
    for _ in range(20):
        run(small)
        run(granted)
    before, size = traces(), allocated()
    for _ in range(100):
        assert run(small).outcome == "ok"
        assert run(granted).outcome == "ok"
    assert traces() == before
    assert allocated() - size < 200_000, "not one plan, not one output"


@pytest.mark.parametrize("end", ["status 1", "flood 1", "raise 9", "stubborn", "int80", "closed"])
def test_however_a_call_ends(lab: Lab, probe: Path, end: str) -> None:
    compiled = lab.program(probe, *end.split(), limits=Limits(wall_ms=100))
    run(compiled)
    before = traces()
    for _ in range(5):
        run(compiled)
    assert traces() == before


@pytest.mark.parametrize("step", ["source", "layout", "landlock", "exec", "plan"])
def test_spawn_that_fails_leaves_nothing(lab: Lab, probe: Path, step: str) -> None:
    compiled = lab.program(probe, "echo")
    entry = next(entry for entry in compiled.entries if entry.target == "/app")
    broken = {
        "source": replace(compiled, entries=(*compiled.entries, replace(entry, source="/nowhere"))),
        "layout": replace(compiled, entries=(*compiled.entries, replace(entry, target="/no/parent"))),
        "landlock": replace(compiled, rules=(*compiled.rules, ("/nowhere", 4))),
        "exec": replace(compiled, exec_path="/app/nothing"),
        "plan": replace(compiled, argv=()),
    }[step]
    with contextlib.suppress(HostError):
        run(compiled)
    before = traces()
    for _ in range(10):
        with pytest.raises(Exception, match=f"spawn_{step}|grant_changed|plan_too_large"):
            run(broken)
    assert traces() == before
    assert run(compiled).outcome == "ok"


def test_more_mounts_than_can_be_handed_over(lab: Lab, probe: Path, ground: Path) -> None:
    """A root host hands each as a descriptor, of which one message takes 253."""
    names = [ground / str(index) for index in range(250)]
    for name in names:
        name.touch()
    compiled = lab.program(probe, "echo", read=names)
    before = traces()
    if os.geteuid() == 0:
        with pytest.raises(HostError, match="spawn_tree"):
            run(compiled)
    else:
        assert run(compiled).outcome == "ok"
    assert traces() == before


def test_threads_call_at_the_same_time(lab: Lab, probe: Path) -> None:
    """Each call has a sandbox of its own, and gets its own answer."""
    compiled = lab.program(probe, "echo")
    code = (
        "import os\n"
        "def run(number):\n"
        "    assert not os.path.exists('/tmp/x')\n"
        "    open('/tmp/x', 'w')\n"
        "    return number\n"
    )
    python = lab.python(code)
    run(compiled)
    before = traces()
    failures: list[object] = []

    def work(name: int) -> None:
        try:
            for number in range(20):
                value = name * 100 + number
                if number % 4 == 0:
                    assert call(python, number=value) == value
                else:
                    assert run(compiled, b'"%d"' % value).output.endswith(b'"%d"}' % value)
        except BaseException as error:  # noqa: BLE001 -- told to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert traces() == before


def test_host_that_ignores_its_children(lab: Lab, probe: Path) -> None:
    """With SIGCHLD ignored the kernel reaps, and waiting says ECHILD: dead is dead."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(lab.program(probe, "echo")).outcome == "ok"
        assert run(lab.program(probe, "stubborn", limits=Limits(wall_ms=100))).outcome == "timeout"
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert init_processes() == set()


def test_handlers_of_the_host_run_meanwhile(lab: Lab, probe: Path) -> None:
    """A signal interrupts the wait, not the call."""
    ticks: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: ticks.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        done = run(lab.program(probe, "closed"))
        assert (done.outcome, done.errors) == ("ok", b"still here")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(ticks) > 5


def test_descriptor_of_init_that_became_another_file(lab: Lab, probe: Path) -> None:
    """A host that becomes a daemon closes everything, and the number is given away."""
    compiled = lab.program(probe, "echo")
    run(compiled)
    taken = native._open_init()[0]
    with open("/bin/true", "rb") as other:  # noqa: PTH123
        os.dup2(other.fileno(), taken)
        assert run(compiled).outcome == "ok"
    os.close(taken)
    assert run(compiled).outcome == "ok"


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import sandbox_lab

lab = sandbox_lab.Lab(Path(sys.argv[1]))
code = "import signal\\ndef run(path):\\n    open(path + '/started', 'w')\\n    signal.pause()\\n"
compiled = lab.python(code, write=[sys.argv[2]])
started = Path(sys.argv[2], "started")

def interrupt():
    while not started.exists():
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    sandbox_lab.call(compiled, path=sys.argv[2])
except KeyboardInterrupt:
    print(sorted(sandbox_lab.descendants(os.getpid())))
"""


def test_interrupt_kills_the_sandbox_before_it_is_raised(tmp_path: Path, lab: Lab, ground: Path) -> None:
    assert lab
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), str(ground), str(HERE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


class TestKilledHost:
    """SIGKILL leaves the host no moment to clean up: what it started ends by itself."""

    @pytest.fixture(autouse=True)
    def inherit_orphans(self) -> Iterator[None]:
        """Become the parent of what a killed host leaves, so that it is found and reaped."""
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        yield
        for pid in descendants(os.getpid()):  # what a test that failed left
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert until(self.nothing_left)
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    @staticmethod
    def nothing_left() -> bool:
        """Reap what ended, and tell whether no process is left."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return descendants(os.getpid()) == set()

    @staticmethod
    def fork(work: object) -> int:
        """Fork a host of its own that does *work* without end; return it once it began."""
        assert callable(work)
        reading, writing = os.pipe()
        host = os.fork()
        if host == 0:
            try:
                os.write(writing, b"x")
                work()
            finally:
                os._exit(99)
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        return host

    def test_at_random_moments_of_a_call(self, lab: Lab, probe: Path) -> None:
        small = lab.program(probe, "echo")
        python = lab.python("def run():\n    while True: pass\n", limits=Limits(wall_ms=30))
        run(small)
        run(python, b'{"arguments":{}}')
        chance = random.Random(7)

        def calls() -> None:
            while True:
                run(small)
                run(python, b'{"arguments":{}}')

        for _ in range(30):
            host = self.fork(calls)
            select.select([], [], [], chance.uniform(0, 0.05))
            os.kill(host, signal.SIGKILL)
            os.waitpid(host, 0)
            assert until(self.nothing_left), descendants(os.getpid())

    def test_while_a_forked_child_of_it_lives_on(self, lab: Lab, ground: Path) -> None:
        """The child holds every descriptor of the host, the socket to init among them."""
        code = "import signal\ndef run(path):\n    open(path + '/started', 'w')\n    signal.pause()\n"
        compiled = lab.python(code, write=[ground])
        child_file = ground / "child"

        def work() -> None:
            threading.Thread(target=lambda: call(compiled, path=str(ground))).start()
            assert until((ground / "started").exists)
            child = os.fork()
            if child:
                child_file.write_text(str(child))
            signal.pause()

        host = self.fork(work)
        assert until(lambda: child_file.exists() and child_file.read_text())
        child = int(child_file.read_text())
        assert len(init_processes()) == 1
        os.kill(host, signal.SIGKILL)
        os.waitpid(host, 0)
        assert until(lambda: self.nothing_left() or init_processes() == set())
        assert descendants(os.getpid()) == {child}
        os.kill(child, signal.SIGKILL)
        assert until(self.nothing_left)
