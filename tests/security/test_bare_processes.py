"""Without namespaces: no socket, no signal to others, no program, no process left, however the call ends."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sandbox_lab
from mpp_exec.permissions import Limits
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import ATTEMPTS, Lab, attempt, call

REFUSED = "Operation not permitted"
NOTHING = b'{"arguments":{}}'
NO_CALL = "Function not implemented"
DEADLINE = 30.0

CONNECT = """
import socket
def run(family, address):
    try:
        with socket.socket(getattr(socket, family), socket.SOCK_STREAM) as client:
            client.connect(tuple(address) if isinstance(address, list) else address)
    except OSError as error:
        return error.strerror
    return "connected"
"""
SOCKETS = ("socket", "connect")


@pytest.fixture
def bare(lab: Lab) -> Lab:
    return lab.without_namespaces()


def without_scopes(plan: SandboxPlan) -> SandboxPlan:
    assert plan.landlock is not None
    files, _, _ = plan.landlock
    return dataclasses.replace(plan, landlock=(files, 0, 0))


def error_of(plan: SandboxPlan) -> str:
    """Return the message of the exception that the tool of *plan* ends with."""
    return str(sandbox_lab.answer(sandbox_lab.run(plan, NOTHING))["error"]["message"])


def until_gone(pids: set[int]) -> None:
    """Wait until none of *pids* runs any more; a zombie that others must reap does not."""
    end = time.monotonic() + DEADLINE
    while any(running(pid) for pid in pids):
        assert time.monotonic() < end, pids
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_no_tcp_connection(bare: Lab) -> None:
    """seccomp has no socket; with one, Landlock has no port; without both it connects."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        plan = bare.python(CONNECT)
        given = {"family": "AF_INET", "address": list(listener.getsockname())}
        assert call(plan, **given) == NO_CALL
        with_sockets = sandbox_lab.without_seccomp(plan, *SOCKETS)
        assert call(with_sockets, **given) == "Permission denied"
        assert call(without_scopes(with_sockets), **given) == "connected"


def test_no_abstract_socket(bare: Lab) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0mpp-test-{os.getpid()}")
        listener.listen(1)
        plan = bare.python(CONNECT)
        given = {"family": "AF_UNIX", "address": f"\0mpp-test-{os.getpid()}"}
        assert call(plan, **given) == NO_CALL
        with_sockets = sandbox_lab.without_seccomp(plan, *SOCKETS)
        assert call(with_sockets, **given) == REFUSED
        assert call(without_scopes(with_sockets), **given) == "connected"


@pytest.mark.parametrize("family", ["AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_no_socket_of_any_family(bare: Lab, family: str) -> None:
    assert call(bare.python(CONNECT), family=family, address="x") == NO_CALL


def test_no_signal_to_another_process(bare: Lab) -> None:
    """seccomp names the tool; Landlock's scope stands behind it; without both only the id is left."""
    with subprocess.Popen(["sleep", "60"]) as other:
        plan = bare.python(ATTEMPTS)
        tries = (("kill", other.pid, 0), ("kill", os.getpid(), 0), ("kill", -1, 0))
        assert set(attempt(plan, *tries)) == {REFUSED}
        by_landlock = dataclasses.replace(plan, own_signals=False)
        assert attempt(by_landlock, *tries[:2]) == [REFUSED, REFUSED]
        alone = attempt(without_scopes(by_landlock), tries[0])
        assert alone == ([REFUSED] if os.geteuid() == 0 else ["done"])
        other.kill()


SIGNALS_ITSELF = """
import os, signal, threading
def run():
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(0, signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    return len(seen)
"""


def test_tool_may_signal_itself(bare: Lab) -> None:
    assert call(bare.python(SIGNALS_ITSELF)) == 3


KILLS_ITS_INIT = "import os, time\ndef run():\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n"


def test_tool_that_kills_its_init_dies_with_it(bare: Lab) -> None:
    """It cannot; allowed to, it does not outlive it."""
    plan = bare.python(KILLS_ITS_INIT)
    assert REFUSED in error_of(plan)
    before = sandbox_lab.descendants(os.getpid())
    done = sandbox_lab.run(dataclasses.replace(plan, own_signals=False), NOTHING)
    assert done.outcome == "killed"
    until_gone(sandbox_lab.descendants(os.getpid()) - before)


def test_no_program_is_executed(bare: Lab) -> None:
    plan = bare.python(ATTEMPTS)
    assert attempt(plan, ("execv", "/bin/true", ["true"])) == [REFUSED]
    script = {"run.sh": "#!/bin/sh\n/bin/ls\n"}
    shell = bare.program(None, "run.sh", files=script, executable=["run.sh"], requires=("sh",))
    done = sandbox_lab.run(shell)
    assert done.outcome == "tool_error"
    assert b"ls" in done.errors or b"fork" in done.errors
    code = 'import os\nos.execv("/bin/ls", ["ls"])\n'
    python = bare.program(None, "python3", "-I", "-S", files={"x.py": code}, requires=("python",))
    python = dataclasses.replace(python, argv=(*python.argv, f"{python.app}/x.py"))
    assert b"Permission denied" in sandbox_lab.run(python).errors


FORKS = """
import os, time
def run():
    if os.fork() == 0:
        time.sleep(600)
    return "forked"
"""


def test_forked_process_does_not_outlive_the_call(bare: Lab) -> None:
    """There is no fork; a child made all the same is in the group that init ends."""
    plan = bare.python(FORKS)
    assert NO_CALL in error_of(plan)
    before = sandbox_lab.descendants(os.getpid())
    assert call(sandbox_lab.without_seccomp(plan, "clone", "fork")) == "forked"
    assert sandbox_lab.descendants(os.getpid()) == before


SLEEPS = "import time\ndef run():\n    time.sleep(600)\n"


IGNORES = """
import signal
for number in {*range(1, 65)} - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_IGN)
"""


@pytest.mark.parametrize("code", [SLEEPS, IGNORES + SLEEPS], ids=["sleeps", "ignores signals"])
def test_deadline_ends_it_and_nothing_stays(bare: Lab, code: str) -> None:
    before = sandbox_lab.descendants(os.getpid())
    done = sandbox_lab.run(bare.python(code, limits=Limits(wall_ms=1000)), NOTHING)
    assert done.outcome == "timeout"
    assert sandbox_lab.descendants(os.getpid()) == before


def test_limits_hold(bare: Lab) -> None:
    small = Limits(memory=64 << 20, cpu_ms=1000, output=4096)

    def ends(line: str) -> str:
        return sandbox_lab.run(bare.python(f"def run():\n    {line}\n", limits=small), NOTHING).outcome

    assert ends("while True: pass") == "cpu"
    assert ends("print('x' * 100000, flush=True)") == "output"
    hungry = bare.python("def run():\n    bytearray(1 << 30)\n", limits=small)
    assert sandbox_lab.answer(sandbox_lab.run(hungry, NOTHING))["error"]["type"] == "MemoryError"


THREADS = """
import threading, time
def run():
    threading.stack_size(65536)
    for _ in range(64):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)
"""


def test_thread_bomb_is_counted(bare: Lab) -> None:
    """RLIMIT_NPROC would count every process of the user's: an unprivileged host counts by itself."""
    plan = bare.python(THREADS, limits=Limits(processes=8, wall_ms=20_000))
    done = sandbox_lab.run(plan, NOTHING)
    if os.geteuid() == 0:
        assert "can't start new thread" in sandbox_lab.answer(done)["error"]["message"]
    else:
        assert done.outcome == "processes"


MANY_THREADS = """
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int wait_forever(void *nothing)
{
    (void)nothing;
    for (;;) pause();
    return 0;
}

int main(void)
{
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    char *stacks = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i <= 15000; i++) {
        if (clone(wait_forever, stacks + i * 4096, flags, NULL) < 0) break;
        if (i % 500 == 0) printf(" %d", i);
    }
    sleep(600);
    return 0;
}
"""


def test_threads_made_faster_than_they_are_counted(bare: Lab, tmp_path: Path) -> None:
    """Counting ends where there are more than may be: whoever looked at each of them would never catch up."""
    (tmp_path / "threads.c").write_text("#define _GNU_SOURCE\n" + MANY_THREADS, encoding="ascii")
    bomb = sandbox_lab.build_program(tmp_path / "threads.c", tmp_path / "threads")
    plan = bare.program(bomb, limits=Limits(processes=16, wall_ms=20_000))
    # As below a host that is not root, where no limit of the kernel's can stand.
    rlimits = tuple(each for each in plan.rlimits if each[0] != resource.RLIMIT_NPROC)
    done = sandbox_lab.run(dataclasses.replace(plan, rlimits=rlimits))
    assert done.outcome == "processes"
    made = [int(number) for number in done.output.split()]
    assert max(made, default=0) < 12_000, "of 15,000"


HOST = """
import sys
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
import sandbox_lab
sandbox_lab.PLACES = Path(sys.argv[2])  # the host does not live to remove it
lab = sandbox_lab.Lab(Path(sys.argv[2])).without_namespaces()
plan = lab.python("import time\\ndef run():\\n    time.sleep(600)\\n")
print("ready", flush=True)
sandbox_lab.run(plan, b'{"arguments":{}}')
"""


@pytest.mark.parametrize("victim", ["host", "init"])
@pytest.mark.usefixtures("lab")
def test_killed_from_outside_nothing_lives_on(ground: Path, victim: str) -> None:
    """SIGKILL for the host, or for the init between it and the tool: the tool dies of either."""
    ground.chmod(0o755)
    command = [sys.executable, "-c", HOST, str(sandbox_lab.HERE), str(ground)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        end = time.monotonic() + DEADLINE
        # The host asks interpreters what they are, too: those have no init above them.
        while not ((tool := tools(host.pid)) and tool < (family := sandbox_lab.descendants(host.pid))):
            assert time.monotonic() < end
            time.sleep(0.01)
        if victim == "host":
            host.kill()
        else:
            os.kill(next(iter(family - tool)), signal.SIGKILL)
        until_gone(family)
        host.wait(DEADLINE)


def tools(host: int) -> set[int]:
    """Return what the init below *host* has started, once there is no more to come."""
    found = set()
    for pid in sandbox_lab.descendants(host):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name.startswith("python"):
            found.add(pid)
    return found
