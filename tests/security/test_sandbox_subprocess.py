"""A tool that may start programs starts those, and bounds and confinement hold for all of its processes."""

from __future__ import annotations

import os
import shutil
from errno import EACCES, ENOENT, ENOSYS, EPERM
from pathlib import Path
from typing import Any

import pytest

from sandbox_lab import Lab, answer, bounded, call, descendants, init_processes, run, without_landlock

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="this host has no git to be started")

MIB = 1 << 20
NO_ARGUMENTS = b'{"arguments":{}}'

START = """
import os, shutil, subprocess
def run(commands, folder="/tmp"):
    seen = []
    for command in commands:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            seen.append([done.returncode, done.stdout.strip() or done.stderr.strip()])
        except OSError as error:
            seen.append(error.errno)
    return seen
"""


def started(lab: Lab, *commands: list[str], landlock: bool = True, **options: Any) -> list[Any]:
    compiled = lab.python(START, subprocess=("git",), **options)
    if not landlock:
        compiled = without_landlock(compiled)
    seen: list[Any] = call(compiled, commands=commands, folder=str(options.get("write", ["/tmp"])[0]))
    return seen


def test_granted_program_and_its_helpers_start(lab: Lab, ground: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    seen = started(
        lab,
        ["git", "init", "-q"],
        ["git", *who, "commit", "-q", "--allow-empty", "-m", "first"],
        ["git", "log", "--format=%s"],
        write=[ground],
    )
    assert [row[0] for row in seen] == [0, 0, 0]
    assert seen[2][1] == "first"
    assert (ground / ".git/HEAD").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("landlock", [True, False])
def test_program_that_was_not_granted_does_not(lab: Lab, probe: Path, ground: Path, landlock: bool) -> None:
    """Not the host's, not the package's, and not one that the tool made."""
    ground.chmod(0o755)
    shutil.copy(probe, ground / "program")
    (ground / "program").chmod(0o755)
    seen = started(
        lab,
        ["/bin/sh", "-c", "true"],
        ["/usr/bin/env"],
        ["/app/helper", "status", "0"],
        [f"{ground}/program", "status", "0"],
        ["/lib64/ld-linux-x86-64.so.2", f"{ground}/program"],
        landlock=landlock,
        files={"helper": probe.read_bytes()},
        write=[ground],
    )
    assert seen[:2] == [ENOENT, ENOENT]
    assert seen[2] == EACCES
    assert seen[3] == EACCES, "noexec, and no execute right: each alone"
    assert seen[4] not in (0, EPERM)
    assert "failed to map" in seen[4][1], "the loader starts, and maps nothing from a noexec place"


def test_alias_and_hook_have_no_shell(lab: Lab, ground: Path) -> None:
    seen = started(lab, ["git", "-c", "alias.x=!echo hi", "x"], write=[ground])
    assert seen[0][0] != 0


IN_A_CHILD = """
import ctypes, os, socket
def attempt(work):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            work()
            code = 0
        except OSError as error:
            code = error.errno
        os.write(writing, bytes([code]))
        os._exit(0)
    return os.read(reading, 1)[0]
def system_call(number, *words):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *words) == -1:
        raise OSError(ctypes.get_errno(), "")
def run():
    return [
        attempt(socket.socket),
        attempt(lambda: system_call(272, 0x10000000)),
        attempt(lambda: system_call(56, 0x10000000 | 17, 0, 0, 0, 0)),
        attempt(lambda: system_call(435, 0, 0)),
        attempt(lambda: system_call(101, 16, os.getppid(), 0, 0)),
        attempt(lambda: system_call(310, os.getppid(), 0, 0, 0, 0, 0)),
        attempt(lambda: os.memfd_create("x")),
        attempt(lambda: open("/app/x", "w")),
        attempt(lambda: open("/proc/self/environ")),
    ]
"""


def test_child_is_confined_as_its_parent(lab: Lab) -> None:
    seen = call(lab.python(IN_A_CHILD, subprocess=("git",)))
    assert seen[:7] == [ENOSYS] * 7
    assert seen[7] in (EACCES, 30)
    assert seen[8] == ENOENT


def test_program_added_by_a_tool_that_may_start_others_is_refused(lab: Lab) -> None:
    """The seal is there, less the one call that it needs."""
    code = (
        "import ctypes\n"
        "def run():\n"
        "    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    return [libc.syscall(317, 1, 0, 0), ctypes.get_errno(), libc.syscall(322, 0, 0, 0, 0, 0)]\n"
    )
    assert call(lab.python(code, subprocess=("git",))) == [-1, EPERM, -1]


def python(lab: Lab, body: str, **limits: int) -> Any:
    code = f"import os, signal, time\ndef run():\n{body}"
    return run(lab.python(code, subprocess=("git",), limits=bounded(**limits)), NO_ARGUMENTS)


class TestBounds:
    def test_fork_bomb(self, lab: Lab) -> None:
        body = (
            "    while True:\n"
            "        if os.fork() == 0:\n"
            "            while True:\n"
            "                try: os.fork()\n"
            "                except OSError: signal.pause()\n"
        )
        done = python(lab, body, processes=10, wall_ms=3000)
        assert done.processes_peak <= 10
        assert done.outcome in ("ok", "processes", "timeout", "cpu")
        assert init_processes() == set()
        assert descendants(os.getpid()) == set()

    def test_memory_of_all_processes_together(self, lab: Lab) -> None:
        """None of them is over its own limit."""
        body = (
            "    for _ in range(5):\n"
            "        if os.fork() == 0:\n"
            "            kept = bytearray(40 << 20)\n"
            "            signal.pause()\n"
            "    signal.pause()\n"
        )
        done = python(lab, body, memory=96 * MIB, wall_ms=8000)
        assert done.outcome == "memory"
        assert 96 * MIB < done.memory_peak < 280 * MIB

    def test_processor_time_of_all_processes_together(self, lab: Lab) -> None:
        """None of them is over its own limit; each is waited for before the next begins."""
        body = (
            "    while True:\n"
            "        if os.fork() == 0:\n"
            "            while time.process_time() < 0.1: pass\n"
            "            os._exit(0)\n"
            "        os.wait()\n"
        )
        done = python(lab, body, cpu_ms=600, wall_ms=8000)
        assert done.outcome == "cpu"

    def test_output_of_all_processes_together(self, lab: Lab) -> None:
        body = (
            "    for _ in range(3):\n"
            "        if os.fork() == 0:\n"
            "            while True: os.write(2, bytes(1000))\n"
            "    signal.pause()\n"
        )
        done = python(lab, body, output=50_000)
        assert (done.outcome, len(done.errors)) == ("output", 50_000)


def test_daemon_does_not_outlive_the_call(lab: Lab, ground: Path) -> None:
    """Two forks, a session of its own, every descriptor closed, every signal ignored."""
    code = (
        "import os, signal\n"
        "def run(path):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            for number in range(1, 65):\n"
        "                try: signal.signal(number, signal.SIG_IGN)\n"
        "                except (OSError, ValueError): pass\n"
        "            os.closerange(0, 64)\n"
        "            open(path + '/started', 'w').close()\n"
        "            while True: signal.pause()\n"
        "        os._exit(0)\n"
        "    while not os.path.exists(path + '/started'): pass\n"
        "    return 'left a daemon'\n"
    )
    compiled = lab.python(code, subprocess=("git",), write=[ground])
    assert call(compiled, path=str(ground)) == "left a daemon"
    assert descendants(os.getpid()) == set()


def test_answer_comes_from_the_tool_not_from_a_child_of_it(lab: Lab) -> None:
    """A child that ends like the launcher does not end the call."""
    code = (
        "import os\n"
        "def run():\n"
        "    if os.fork() == 0:\n"
        "        os._exit(3)\n"
        "    os.wait()\n"
        "    return 'parent'\n"
    )
    done = run(lab.python(code, subprocess=("git",)), NO_ARGUMENTS)
    assert answer(done)["value"] == "parent"
