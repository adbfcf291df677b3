"""What one call could leave for the next one of the same tool: nothing, by any way that a process has.

Each row leaves something and looks for it. Within one call it finds it; the next call does not.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import native
from mpp_exec.sandbox.profiles import tool_profile
from sandbox_lab import (
    Lab,
    answer,
    call,
    descendants,
    init_processes,
    run,
    sweep,
    without_landlock,
    without_seccomp,
)

TOOL = """
import builtins, ctypes, fcntl, gc, glob, hashlib, json, logging, mmap, os, random, resource, secrets
import signal, socket, sqlite3, ssl, string, sys, tempfile, threading, time, uuid
held = {}
libc = ctypes.CDLL(None, use_errno=True)
def lock(path):
    held["lock"] = open(path)
    fcntl.flock(held["lock"], fcntl.LOCK_EX | fcntl.LOCK_NB)
def locked(path):
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
def run(leave, find):
    if leave:
        exec(leave)
    return bool(eval(find))
"""

LEFT = {
    "a file in scratch": ("open('/tmp/left', 'w')", "os.path.exists('/tmp/left')"),
    "a file in its home": ("open('/tmp/home/.profile', 'w')", "os.listdir('/tmp/home')"),
    "a folder": ("os.mkdir('/tmp/d')", "os.path.isdir('/tmp/d')"),
    "a link": ("os.symlink('/app', '/tmp/l')", "os.path.islink('/tmp/l')"),
    "times of its scratch": ("os.utime('/tmp', (1, 1))", "os.stat('/tmp').st_mtime < 100"),
    "the mode of its scratch": ("os.chmod('/tmp', 0o711)", "os.stat('/tmp').st_mode & 0o777 == 0o711"),
    "a lock on the package": ("lock('/app/tool.py')", "locked('/app/tool.py')"),
    "a lock on a device": ("lock('/dev/null')", "locked('/dev/null')"),
    "a global of a module": ("json.left = 1", "hasattr(json, 'left')"),
    "a builtin": ("builtins.left = 1", "hasattr(builtins, 'left')"),
    "a module": ("sys.modules['left'] = json", "'left' in sys.modules"),
    "a folder on the path": ("sys.path.append('/tmp')", "'/tmp' in sys.path"),
    "a variable": ("os.environ['LEFT'] = '1'", "'LEFT' in os.environ"),
    "a variable of C's": ("libc.setenv(b'LEFT', b'1', 1)", "libc.getenv(b'LEFT') != 0"),
    "a working directory": ("os.chdir('/app')", "os.getcwd() == '/app'"),
    "a umask": ("os.umask(0o77)", "os.umask(0o22) == 0o77"),
    "a signal handler": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "signal.getsignal(signal.SIGTERM) == signal.SIG_IGN",
    ),
    "a blocked signal": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {10})",
        "10 in signal.pthread_sigmask(signal.SIG_BLOCK, set())",
    ),
    "a pending signal": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {10})\nos.kill(os.getpid(), 10)",
        "signal.sigpending()",
    ),
    "a timer": ("signal.setitimer(signal.ITIMER_REAL, 600)", "signal.getitimer(signal.ITIMER_REAL)[0]"),
    "a lower limit": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 20",
    ),
    "a name of its process": (
        "libc.prctl(15, b'left')",
        "libc.prctl(16, held.setdefault('n', ctypes.create_string_buffer(16))) or held['n'].value == b'left'",
    ),
    "a descriptor": ("os.dup2(2, 40)", "os.path.exists('/x') or not libc.fcntl(40, 1) == -1"),
    "a pair of sockets": (
        "held['s'] = socket.socketpair()",
        "sum(libc.fcntl(f, 1) >= 0 for f in range(3, 64)) > 1",
    ),
    "memory": ("held['m'] = b'left' * 1000", "'m' in held"),
    "a thread": ("threading.Thread(target=time.sleep, args=(9,)).start()", "threading.active_count() > 1"),
    "a trace function": ("sys.setprofile(lambda *_: None)", "sys.getprofile() is not None"),
    "a random state": ("random.seed(5)", "random.getstate() == random.Random(5).getstate()"),
    "a logger": ("logging.getLogger('left')", "'left' in logging.Logger.manager.loggerDict"),
    "an interned answer": ("string.left = [hash('x')]", "getattr(string, 'left', None) == [hash('x')]"),
    "a compiled module": (
        "os.mkdir('/tmp/__pycache__')\nsys.dont_write_bytecode = False",
        "glob.glob('/tmp/__pycache__') and not sys.dont_write_bytecode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LEFT)
def test_left_for_the_next_call(lab: Lab, what: str) -> None:
    leave, find = LEFT[what]
    compiled = lab.python(TOOL)
    if what.startswith("a lock"):  # of a tool that may leave files behind: another one takes none
        locks = tool_profile("python", subprocess=False, writes=True)
        compiled = dataclasses.replace(compiled, tool_profile=locks)
    assert call(compiled, leave=leave, find=find) is True, "within one call it is there"
    for _ in range(2):
        assert call(compiled, leave="", find=find) is False


# And whether two copies of one process, made by a bare clone, would share it: without an execve of its own.
STATE = {
    "random.random()": True,
    "secrets.token_hex()": False,  # the kernel's randomness
    "ssl.RAND_bytes(8).hex()": False,  # OpenSSL looks at its process id
    "str(uuid.uuid4())": False,
    "hash('x')": True,
    "tempfile.mktemp()": False,  # looks at its process id, too
    "ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, 'Py_FrozenFlag'))": True,
    "ctypes.addressof(ctypes.create_string_buffer(8))": True,
}
TWINS = """
def run(values):
    said = []
    for _ in range(2):
        out, into = os.pipe()
        child = libc.syscall(57)
        if child == 0:
            os.write(into, json.dumps([eval(value) for value in values]).encode())
            os._exit(0)
        os.close(into)
        said.append(json.loads(os.read(out, 65536)))
        os.waitpid(child, 0)
    return [one == other for one, other in zip(*said)]
"""


def test_copies_of_one_process_would_share_their_state(lab: Lab) -> None:
    compiled = lab.python(TOOL + TWINS, subprocess=("sh",))
    assert call(compiled, values=list(STATE)) == list(STATE.values())


@pytest.mark.parametrize("value", STATE)
def test_state_that_two_calls_would_share(lab: Lab, value: str) -> None:
    """Randomness and addresses: what one call sees must not tell what the next one has."""
    compiled = lab.python(TOOL.replace("bool(eval(find))", "eval(find)"))
    seen = [call(compiled, leave="", find=value) for _ in range(3)]
    if "Frozen" in value and len(set(seen)) == 1:
        assert seen[0] < 1 << 32, "an interpreter that was linked to a fixed address"
    else:
        assert len(set(seen)) == 3


def test_process_left_by_a_tool_that_may_start_some(lab: Lab) -> None:
    code = (
        "import os, signal\n"
        "def run():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        signal.pause()\n"
        "    return 1\n"
    )
    assert call(lab.python(code, subprocess=("true",))) == 1
    assert descendants(os.getpid()) == set()


@pytest.mark.parametrize(
    ("make", "find"),
    [
        (("shmget", 0x6D7071, 4096, 0o1666), ("shmget", 0x6D7071, 0, 0)),
        (("msgget", 0x6D7071, 0o1666), ("msgget", 0x6D7071, 0)),
        (("semget", 0x6D7071, 1, 0o1666), ("semget", 0x6D7071, 0, 0)),
        (("add_key", "s:user", "s:mpp-left", "s:x", 1, -3), ("keyctl", 10, -3, "s:user", "s:mpp-left", 0)),
    ],
    ids=["System V shared memory", "System V messages", "System V semaphores", "a key"],
)
def test_object_of_the_kernel(
    lab: Lab, probe: Path, make: tuple[object, ...], find: tuple[object, ...]
) -> None:
    """The filter refuses to make it; without the filter its namespace goes with the call."""
    assert sweep(lab.program(probe, "sweep"), [make, find]) == [38, 38]
    open_ = without_seccomp(lab.program(probe, "sweep"))
    if make[0] == "add_key":  # a keyring of its own first: the one that is inherited is the host's
        join = ("keyctl", 1, 0)
        assert sweep(open_, [join, make, find]) == [0, 0, 0]
        assert sweep(open_, [join, find]) == [0, 126]
        return
    assert sweep(open_, [make, find]) == [0, 0]
    assert sweep(open_, [find]) == [2]


def test_two_calls_at_the_same_time_do_not_meet(lab: Lab, ground: Path) -> None:
    """Each sees its own scratch, its own processes, its own name for itself."""
    code = (
        "import os\n"
        "def run(mine, other):\n"
        "    open('/tmp/here', 'w').write(mine)\n"
        f"    open({str(ground)!r} + '/' + mine, 'w').close()\n"
        f"    while not os.path.exists({str(ground)!r} + '/' + other): pass\n"
        "    seen = [open('/tmp/here').read(), os.listdir('/tmp'), os.getpid()]\n"
        "    for pid in range(3, 100):\n"
        "        try: os.kill(pid, 0); seen.append(pid)\n"
        "        except OSError: pass\n"
        "    return seen\n"
    )
    compiled = lab.python(code, write=[ground], limits=Limits(wall_ms=60_000, cpu_ms=30_000))
    seen: dict[str, Any] = {}

    def work(mine: str, other: str) -> None:
        seen[mine] = call(compiled, mine=mine, other=other)

    threads = [threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in "ab":
        content, listed, pid = seen[name]
        assert (content, sorted(listed), pid) == (name, ["here", "home"], 2)
    assert init_processes() == set()


def test_package_changed_by_its_own_tool_between_calls(lab: Lab) -> None:
    """Written to, removed, renamed, linked over, mapped: the next call runs what was installed."""
    code = (
        "import mmap, os\n"
        "def run(evil):\n"
        "    failed = 0\n"
        "    for attempt in (\n"
        "        lambda: open('/app/tool.py', 'a').write(evil),\n"
        "        lambda: os.truncate('/app/tool.py', 0),\n"
        "        lambda: os.unlink('/app/tool.py'),\n"
        "        lambda: os.rename('/app/tool.py', '/app/x.py'),\n"
        "        lambda: os.replace('/tmp/home', '/app/home'),\n"
        "        lambda: os.symlink('/tmp/x', '/app/json.py'),\n"
        "        lambda: os.chmod('/app/tool.py', 0o777),\n"
        "        lambda: os.utime('/app/tool.py'),\n"
        "        lambda: mmap.mmap(os.open('/app/tool.py', os.O_RDONLY), 0, prot=mmap.PROT_WRITE),\n"
        "    ):\n"
        "        try: attempt()\n"
        "        except OSError: failed += 1\n"
        "    return failed\n"
    )
    compiled = lab.python(code)
    request = json.dumps({"arguments": {"evil": "raise SystemExit"}}).encode()
    for _ in range(2):
        assert answer(run(compiled, request))["value"] == 9
    if not compiled.root:  # below a host that is root the files are another id's, too
        entries = (
            dataclasses.replace(entry, attributes=entry.attributes & ~native.MOUNT_RDONLY)
            if entry.target == "/app"
            else entry
            for entry in compiled.entries
        )
        weak = dataclasses.replace(without_landlock(compiled), entries=tuple(entries))
        assert answer(run(weak, request))["value"] < 9, "the attack is real"
