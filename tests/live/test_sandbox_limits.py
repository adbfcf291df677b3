"""Everything is bounded, and which bound it was can be told: each limit reached, by a tool that wants it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox.spawn import Completed
from sandbox_lab import Lab, answer, bounded, init_processes, run, without_landlock

MIB = 1 << 20
NO_ARGUMENTS = b'{"arguments":{}}'


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    assert init_processes() == set()


def python(lab: Lab, body: str, limits: Limits, request: bytes = NO_ARGUMENTS) -> Completed:
    return run(lab.python(f"def run():\n{body}", limits=limits), request)


@pytest.mark.parametrize("act", ["stubborn", "silent"])
def test_tool_that_hangs_is_stopped_in_time(lab: Lab, probe: Path, act: str) -> None:
    """Whatever signals it ignores, and with every descriptor closed."""
    started = time.monotonic()
    done = run(lab.program(probe, act, limits=Limits(wall_ms=300)))
    assert done.outcome == "timeout"
    assert done.reason == "stopped after 0.3 s, its limit of time"
    assert 0.3 <= time.monotonic() - started < 60, "it would for ever"


def test_time_of_a_call_can_be_shortened_and_not_lengthened(lab: Lab, probe: Path) -> None:
    patient = lab.program(probe, "stubborn", limits=Limits(wall_ms=20_000))
    started = time.monotonic()
    assert run(patient, wall_ms=100).outcome == "timeout"
    assert time.monotonic() - started < 10
    hurried = lab.program(probe, "stubborn", limits=Limits(wall_ms=400))
    started = time.monotonic()
    assert run(hurried, wall_ms=60_000).outcome == "timeout"
    assert time.monotonic() - started < 10


def test_tool_that_waits_for_a_request_that_never_ends(lab: Lab, probe: Path) -> None:
    """It gets the request and its end at once: reading can not hang."""
    done = run(lab.program(probe, "echo", limits=Limits(wall_ms=5000)), b"")
    assert done.outcome == "ok"


def test_processor_time_is_bounded(lab: Lab, probe: Path) -> None:
    """Also for a tool that ignores the signal of its soft limit, and below the whole second of RLIMIT_CPU."""
    done = run(lab.program(probe, "spin", limits=Limits(cpu_ms=200, wall_ms=8000)))
    assert done.outcome == "cpu"
    assert 150_000 <= done.cpu_us < 1_500_000


def test_processor_time_beside_others_is_what_the_tool_used(lab: Lab) -> None:
    """The kernel's own clock for it runs ahead then: it is not that clock which ends the tool."""
    body = "    while True: sum(range(10_000))\n"
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        for _ in range(4):
            done = python(lab, body, Limits(cpu_ms=1000, wall_ms=100_000))
            assert (done.outcome, done.cpu_us >= 1_000_000) == ("cpu", True), done
    finally:
        for each in others:
            each.kill()
            each.wait()


def test_processor_time_of_all_threads_together(lab: Lab) -> None:
    body = (
        "    import hashlib, threading\n"
        "    def work():\n"
        "        while True: hashlib.sha256(bytes(1 << 22))\n"
        "    for _ in range(3): threading.Thread(target=work).start()\n"
        "    work()\n"
    )
    assert python(lab, body, Limits(cpu_ms=400, wall_ms=8000)).outcome == "cpu"


def test_memory_of_a_program_that_touches_all_it_gets(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "touch", limits=bounded(memory=48 * MIB)))
    assert done.outcome == "memory"
    assert "48 MiB" in done.reason
    assert 32 * MIB < done.memory_peak <= 64 * MIB


def test_memory_error_of_python_is_told_as_such(lab: Lab) -> None:
    body = "    kept = []\n    while True: kept.append(bytearray(1 << 20))\n"
    done = python(lab, body, bounded(memory=64 * MIB))
    assert answer(done)["error"] == {"type": "MemoryError", "message": "", "limit": "memory"}
    assert done.memory_peak <= 64 * MIB + (4 << 20)


@pytest.mark.parametrize("how", ["mmap", "brk", "scratch mapped", "thread stacks"])
def test_memory_is_bounded_whichever_way_it_is_taken(lab: Lab, how: str) -> None:
    bodies = {
        "mmap": """
    import mmap
    kept = [mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE) for _ in range(500)]
""",
        "brk": """
    import ctypes
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    libc.sbrk.argtypes = [ctypes.c_long]
    if libc.sbrk(500 << 20) == 2**64 - 1: raise MemoryError
""",
        "scratch mapped": """
    import mmap
    file = open('/tmp/x', 'w+b')
    file.truncate(30 << 20)
    kept = [mmap.mmap(file.fileno(), 0) for _ in range(20)]
""",
        "thread stacks": """
    import threading, time
    threading.stack_size(32 << 20)
    for _ in range(15): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
""",
    }
    done = python(lab, bodies[how], bounded(memory=128 * MIB))
    error = answer(done)["error"]
    assert error["type"] in ("MemoryError", "OSError", "RuntimeError")
    assert done.memory_peak < 128 * MIB


def test_processes_and_threads_are_counted(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "threads", limits=bounded(processes=6)))
    assert done.outcome == "processes"
    assert done.output == b"5", "five beside the first"
    assert done.processes_peak == 6


def test_thread_bomb_of_python_is_told_as_such(lab: Lab) -> None:
    body = (
        "    import threading, time\n"
        "    while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
    )
    done = python(lab, body, bounded(processes=8))
    assert answer(done)["error"]["limit"] == "processes"


def test_many_sandboxes_do_not_count_each_others_processes(lab: Lab, probe: Path) -> None:
    """RLIMIT_NPROC counts by user and user namespace, and each sandbox has its own."""
    compiled = lab.program(probe, "threads", limits=bounded(processes=4))
    outcomes: list[bytes] = []
    threads = [threading.Thread(target=lambda: outcomes.append(run(compiled).output)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [b"3"] * 6


def test_open_files_are_counted(lab: Lab) -> None:
    body = (
        "    kept = []\n"
        "    try:\n"
        "        while True: kept.append(open('/dev/null'))\n"
        "    except OSError as error:\n"
        "        return [error.errno, len(kept)]\n"
    )
    assert answer(python(lab, body, bounded(open_files=16)))["value"] == [errno.EMFILE, 16 - 4]


@pytest.mark.parametrize("descriptor", ["1", "2"])
def test_output_is_bounded(lab: Lab, probe: Path, descriptor: str) -> None:
    done = run(lab.program(probe, "flood", descriptor, limits=bounded(output=100_000)))
    assert done.outcome == "output"
    assert len(done.output) + len(done.errors) == 100_000
    assert (done.errors if descriptor == "2" else done.output) == bytes(100_000)


def test_output_may_reach_its_bound(lab: Lab, probe: Path) -> None:
    for size, outcome in ((4096, "ok"), (4097, "output")):
        done = run(lab.program(probe, "big", str(size), limits=bounded(output=4096)))
        assert (done.outcome, len(done.output)) == (outcome, 4096)


def test_output_of_both_channels_counts_together(lab: Lab) -> None:
    body = "    import os\n    os.write(2, b'e' * 3000)\n    return 'v' * 3000\n"
    done = python(lab, body, bounded(output=4096))
    assert done.outcome == "output"
    assert len(done.output) + len(done.errors) == 4096


def test_scratch_is_bounded(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "fill", "/tmp/full", limits=bounded(scratch=2 * MIB)))
    assert done.outcome == "ok"
    assert tuple(map(int, done.output.split())) == (2 * MIB, errno.ENOSPC)


def test_scratch_is_bounded_over_many_files(lab: Lab) -> None:
    body = (
        "    for index in range(100):\n"
        "        with open(f'/tmp/{index}', 'wb') as file: file.write(bytes(1 << 20))\n"
    )
    error = answer(python(lab, body, bounded(scratch=8 * MIB)))["error"]
    assert error["errno"] == errno.ENOSPC


def test_inodes_of_scratch_are_bounded(lab: Lab, probe: Path) -> None:
    """Each costs the host memory that the size of a tmpfs does not count."""
    done = run(lab.program(probe, "inodes", "/tmp", limits=bounded(scratch=MIB)))
    made, error = map(int, done.output.split())
    assert error == errno.ENOSPC
    assert 100 < made < 1024


def test_rest_of_the_root_takes_nothing(lab: Lab) -> None:
    """Synthetic folders are on a small tmpfs of their own, read-only by then; Landlock refuses as well."""
    code = (
        "def run():\n"
        "    seen = []\n"
        "    for path in ('/x', '/etc/x', '/dev/x', '/mpp/x', '/app/x', '/python/x'):\n"
        "        try: open(path, 'w')\n"
        "        except OSError as error: seen.append(error.strerror)\n"
        "    return seen\n"
    )
    compiled = lab.python(code)
    seen = answer(run(compiled, NO_ARGUMENTS))["value"]
    assert len(seen) == 6
    assert set(seen) <= {"Read-only file system", "Permission denied"}
    assert answer(run(without_landlock(compiled), NO_ARGUMENTS))["value"] == ["Read-only file system"] * 6


def test_one_file_of_a_write_grant_is_bounded(lab: Lab, probe: Path, ground: Path) -> None:
    """SIGXFSZ ends a program; Python ignores it and has EFBIG."""
    limits = bounded(scratch=MIB)
    done = run(lab.program(probe, "too_large", f"{ground}/x", write=[ground], limits=limits))
    assert (done.outcome, done.reason) == ("tool_error", "died of SIGXFSZ")
    code = "def run(path):\n    open(path, 'wb').write(bytes(2 << 20))\n"
    request = json.dumps({"arguments": {"path": f"{ground}/y"}}).encode()
    error = answer(run(lab.python(code, write=[ground], limits=limits), request))["error"]
    assert error["errno"] == errno.EFBIG
    assert (ground / "y").stat().st_size <= MIB + 4096


def test_tool_that_closes_its_stdout_and_goes_on(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "closed"))
    assert (done.outcome, done.output, done.errors) == ("ok", b"", b"still here")


def test_tool_that_does_not_want_its_request(lab: Lab, probe: Path) -> None:
    """Neither an error for the tool, nor a SIGPIPE for a host that does not ignore it."""
    compiled = lab.program(probe, "deaf")
    assert run(compiled, b"x" * (4 * MIB)).output == b"done"
    host = os.fork()
    if host == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os._exit(0 if run(compiled, b"x" * (4 * MIB)).output == b"done" else 1)
    assert os.waitpid(host, 0)[1] == 0


@pytest.mark.parametrize(
    ("number", "outcome"), [(9, "killed"), (15, "tool_error"), (11, "tool_error"), (24, "tool_error")]
)
def test_signal_that_a_tool_died_of(lab: Lab, probe: Path, number: int, outcome: str) -> None:
    done = run(lab.program(probe, "raise", str(number)))
    assert done.outcome == outcome


def test_cancelling_kills_at_once(lab: Lab, probe: Path) -> None:
    reading, writing = os.pipe()
    try:
        timer = threading.Timer(0.2, os.write, (writing, b"x"))
        timer.start()
        started = time.monotonic()
        done = run(lab.program(probe, "stubborn"), cancel_fd=reading)
        assert (done.outcome, done.reason) == ("killed", "cancelled by its caller")
        assert time.monotonic() - started < 3
        timer.join()
        assert run(lab.program(probe, "stubborn"), cancel_fd=reading).outcome == "killed", (
            "it is still readable"
        )
    finally:
        os.close(reading)
        os.close(writing)


def test_limits_that_are_not_reached_do_not_show(lab: Lab, probe: Path) -> None:
    done = run(lab.program(probe, "status", "1", limits=bounded(processes=2)))
    assert done.outcome == "tool_error"
