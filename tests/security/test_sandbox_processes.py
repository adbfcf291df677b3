"""Attacks on other processes: the host's, the sandbox's own init, and its reports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from errno import ENOSYS, EPERM, ESRCH
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import kernel, properties
from sandbox_lab import Lab, answer, call, init_processes, run, sweep, without_landlock, without_seccomp


def refused() -> set[int]:
    """Return how a signal to another number fails: without scopes of Landlock, seccomp says no by itself."""
    return {ESRCH} if kernel.probe().landlock_abi >= properties.SCOPE_ABI else {EPERM}


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same host user, in no sandbox."""
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        assert process.poll() is None, "it is alive to the end"
        process.kill()


KILL = """
import os, signal
def run(targets, number):
    seen = []
    for target in targets:
        try:
            os.kill(target, number)
            seen.append(0)
        except OSError as error:
            seen.append(error.errno)
    return seen
"""


class TestSignals:
    @pytest.mark.parametrize("number", [0, 9, 15, 19])
    def test_host_process_by_its_number(
        self, lab: Lab, bystander: subprocess.Popen[bytes], number: int
    ) -> None:
        """Its number means nothing inside, also with the filter and Landlock's scope taken away.

        (Where Landlock has none, the launcher's own program for signals is still there.)
        """
        targets = [bystander.pid, -bystander.pid, os.getpid(), os.getppid()]
        targets = [target for target in targets if target not in (0, 1, 2, -1, -2)]
        compiled = lab.python(KILL)
        assert set(call(compiled, targets=targets, number=number)) == refused()
        bared = without_landlock(without_seccomp(compiled))
        assert set(call(bared, targets=targets, number=number)) == refused()

    def test_everything_at_once(self, lab: Lab, bystander: subprocess.Popen[bytes]) -> None:
        """kill(-1) reaches every process of the namespace but init and itself: none."""
        assert bystander
        compiled = lab.python(KILL)
        assert set(call(compiled, targets=[-1], number=9)) == refused()
        everything = list(range(3, 400)) + [-number for number in range(3, 400)]
        assert set(call(compiled, targets=everything, number=9)) == refused()

    def test_init_takes_no_signal_from_inside(self, lab: Lab) -> None:
        code = (
            "import os, signal\n"
            "def run():\n"
            "    for number in range(65):\n"
            "        try: os.kill(1, number)\n"
            "        except OSError: pass\n"
            "    for number in (signal.SIGKILL, signal.SIGSTOP):\n"
            "        try: os.kill(1, number)\n"
            "        except PermissionError: pass\n"
            "    return os.getppid()\n"
        )
        assert call(lab.python(code)) == 1
        assert call(without_landlock(lab.python(code))) == 1

    def test_signals_to_init_take_no_room(self, lab: Lab) -> None:
        """It hears none, and each was kept: as many as the host's user may have, who had no timer then."""
        code = (
            "import os, signal\n"
            "def run():\n"
            "    number = signal.SIGRTMIN\n"
            "    signal.pthread_sigmask(signal.SIG_BLOCK, [number])\n"
            "    for target in [1] * 2000 + [os.getpid()] * 20:\n"
            "        try: os.kill(target, number)\n"
            "        except PermissionError: pass\n"
            "    seen = 0\n"
            "    while signal.sigtimedwait([number], 0) is not None: seen += 1\n"
            "    return seen\n"
        )
        assert call(lab.python(code)) == 20, "where there is no room, of one number one is kept"

    def test_process_group_of_init(self, lab: Lab) -> None:
        """Init leads the session, and the tool is in its group: signalling it is signalling oneself."""
        code = "import os, signal\ndef run():\n    os.kill(0, signal.SIGTERM)\n"
        done = run(lab.python(code), b'{"arguments":{}}')
        assert (done.outcome, done.reason) == ("tool_error", "died of SIGTERM")

    def test_tool_that_stops_itself_is_stopped_in_time(self, lab: Lab) -> None:
        code = "import os, signal\ndef run():\n    os.kill(0, signal.SIGSTOP)\n"
        done = run(lab.python(code, limits=Limits(wall_ms=500)), b'{"arguments":{}}')
        assert done.outcome == "timeout"
        assert init_processes() == set()


class TestInit:
    LOOK = """
import ctypes
def run():
    libc = ctypes.CDLL(None, use_errno=True)
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    room = ctypes.create_string_buffer(64)
    local = Vector(ctypes.addressof(room), 64)
    seen = []
    for attempt in (
        lambda: libc.process_vm_readv(1, ctypes.byref(local), 1, ctypes.byref(Vector(0x400000, 64)), 1, 0),
        lambda: libc.process_vm_writev(1, ctypes.byref(local), 1, ctypes.byref(Vector(0x400000, 64)), 1, 0),
        lambda: libc.ptrace(16, 1, 0, 0),
        lambda: libc.syscall(438, libc.syscall(434, 1, 0), 3, 0),
        lambda: libc.syscall(302, 1, 7, None, room),
    ):
        ctypes.set_errno(0)
        seen.append(ctypes.get_errno() if attempt() == -1 else 0)
    return seen
"""

    def test_its_memory_and_descriptors(self, lab: Lab) -> None:
        """Init is not dumpable, holds no capability, and the filter has none of these calls: each alone."""
        compiled = lab.python(self.LOOK)
        assert set(call(compiled)) == {ENOSYS}
        alone = call(without_landlock(without_seccomp(compiled)))
        assert alone[:4] == [EPERM] * 4

    def test_report_of_its_making_does_not_reach_the_host(self, lab: Lab, probe: Path) -> None:
        """The socket to the host is closed before the tool begins."""
        done = run(lab.program(probe, "forge"))
        assert (done.outcome, done.output) == ("tool_error", b"")
        assert done.reason == "ended with status 7"

    def test_end_of_the_tool_cannot_be_faked(self, lab: Lab, probe: Path) -> None:
        """A tool that goes on after it closed everything is not over, and is stopped."""
        done = run(lab.program(probe, "silent", limits=Limits(wall_ms=300)))
        assert done.outcome == "timeout"

    def test_priorities(self, lab: Lab, probe: Path) -> None:
        calls = [
            ("setpriority", 0, 0, 0xFFFFFFEC),
            ("sched_setscheduler", 0, 1, "b"),
            ("ioprio_set", 1, 0, 0x2000),
        ]
        assert set(sweep(lab.program(probe, "sweep"), calls)) == {ENOSYS}
        alone = sweep(without_seccomp(lab.program(probe, "sweep")), calls[:1])
        assert alone == [13], "no capability to raise it"


class TestWhatOneCallLeavesForTheNext:
    def test_scratch(self, lab: Lab) -> None:
        code = (
            "import os\n"
            "def run():\n"
            "    seen = [sorted(os.listdir(path)) for path in ('/tmp', '/tmp/home')]\n"
            "    for path in ('/tmp/left', '/tmp/home/.profile', '/tmp/.hidden'):\n"
            "        with open(path, 'w') as file: file.write('left')\n"
            "    return seen\n"
        )
        compiled = lab.python(code)
        for _ in range(3):
            assert call(compiled) == [["home"], []]

    def test_package_and_interpreter(self, lab: Lab) -> None:
        """No compiled module, no changed source: what the next call loads is what was installed."""
        code = (
            "import os\n"
            "def run():\n"
            "    import helper\n"
            "    failed = 0\n"
            "    for path in ('/app/tool.py', '/app/new', '/app/a/b', '/python/lib/x', '/mpp/launch.pyc'):\n"
            "        try: open(path, 'w')\n"
            "        except OSError: failed += 1\n"
            "    try: os.mkdir('/app/__pycache__')\n"
            "    except OSError: failed += 1\n"
            "    return [failed, sorted(os.listdir('/app'))]\n"
        )
        compiled = lab.python(code, files={"helper.py": ""})
        for _ in range(2):
            assert call(compiled) == [6, ["helper.py", "tool.py"]]
        app = next(Path(entry.source) for entry in compiled.entries if entry.target == "/app")
        assert sorted(path.name for path in app.iterdir()) == ["helper.py", "tool.py"]

    def test_shared_memory(self, lab: Lab) -> None:
        code = (
            "import os\n"
            "def run():\n"
            "    return [os.path.lexists(path) for path in ('/dev/shm', '/dev/mqueue', '/run', '/var')]\n"
        )
        assert call(lab.python(code)) == [False] * 4

    def test_state_of_the_interpreter(self, lab: Lab) -> None:
        code = (
            "import builtins\n"
            "def run():\n"
            "    seen, builtins.left = hasattr(builtins, 'left'), 1\n"
            "    return seen\n"
        )
        compiled = lab.python(code)
        assert [call(compiled), call(compiled)] == [False, False]

    def test_randomness(self, lab: Lab) -> None:
        code = (
            "import os, random, secrets, ssl, uuid\n"
            "def run():\n"
            "    return [random.random(), secrets.token_hex(), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()),\n"
            "            hash('x'), id(object())]\n"
        )
        compiled = lab.python(code)
        values = [call(compiled) for _ in range(3)]
        for column in zip(*values, strict=True):
            assert len(set(column)) == 3, column


NO_REQUESTS = (
    *(b"", b"null", b"[]", b"{}", b"\xff", b"[" * 10_000),
    *(b'{"arguments": 5}', b'{"arguments": {"run": 1}}'),
)


class TestLauncher:
    @pytest.mark.parametrize("name", ["-c", "--help", "-", "a b", "x'; import os; '"])
    def test_entry_is_a_name_and_nothing_more(self, lab: Lab, name: str) -> None:
        compiled = lab.python("", files={f"{name}.py": "def run():\n    return 'found'\n"})
        argv = tuple(f"{name}:run" if word == "tool:run" else word for word in compiled.argv)
        assert call(replace(compiled, argv=argv)) == "found"

    def test_folder_is_a_folder_and_no_option(self, lab: Lab) -> None:
        files = {"-c/helper.py": "NAME = 'found'\n"}
        compiled = lab.python(
            "import helper\ndef run():\n    return helper.NAME\n", files=files, path=("-c",)
        )
        assert call(compiled) == "found"

    def test_variables_for_the_interpreter_have_no_effect(self, lab: Lab) -> None:
        """Names that decide what Python loads are refused before; here they are passed all the same."""
        variables = (
            ("PYTHONPATH", "/app/evil"),
            ("PYTHONHOME", "/app/evil"),
            ("PYTHONSTARTUP", "/app/evil/json.py"),
            ("PYTHONINSPECT", "1"),
            ("PYTHONWARNINGS", "error"),
            ("PYTHONUSERBASE", "/app/evil"),
        )
        files = {"evil/json.py": "raise SystemExit\n", "evil/sitecustomize.py": "raise SystemExit\n"}
        compiled = lab.python("import json\ndef run():\n    return json.__file__\n", files=files)
        done = run(compiled, b'{"arguments":{}}', variables=variables)
        assert answer(done)["value"].startswith("/python/lib")

    @pytest.mark.parametrize("request_bytes", NO_REQUESTS)
    def test_request_that_is_none_is_an_error(self, lab: Lab, request_bytes: bytes) -> None:
        """The host checks what it sends; the launcher does not fall over it."""
        done = run(lab.python("def run():\n    return 5\n"), request_bytes)
        assert "error" in answer(done)

    def test_tool_that_closes_the_way_of_its_result(self, lab: Lab) -> None:
        done = run(lab.python("import os\ndef run():\n    os.closerange(0, 64)\n"), b'{"arguments":{}}')
        assert done.outcome == "tool_error"
        assert done.output == b""

    def test_number_of_the_signal_that_python_ignores(self, lab: Lab) -> None:
        """Python sets SIGPIPE and SIGXFSZ aside by itself; nothing else came from the host."""
        code = (
            "import signal\n"
            "def run():\n"
            "    return [s.name for s in signal.valid_signals() if isinstance(s, signal.Signals)\n"
            "            and signal.getsignal(s) == signal.SIG_IGN]\n"
        )
        assert sorted(call(lab.python(code))) == ["SIGPIPE", "SIGXFSZ"]
        assert signal.SIGPIPE
