"""What a tool can learn about its host without opening anything: no process, mount, name or path of it.

What is left, and why, stands in ``docs/threat-model.md`` ("What a tool can learn").
"""

from __future__ import annotations

import getpass
import os
import platform
import socket
from dataclasses import replace
from errno import EACCES, ENOENT, ENOSYS, EROFS, ESRCH
from pathlib import Path
from typing import Any

import pytest

from file_attacks import BY_NUMBER
from mpp_exec.sandbox import kernel, native
from mpp_exec.sandbox.layout import READ_ONLY, RESERVED, Entry
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.properties import TRUNCATE_ABI
from sandbox_lab import PLACES, Lab, answer, call, run, without_landlock, without_seccomp

LOOK = """
import ctypes, os, resource, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def said(result):
    return ctypes.get_errno() if result == -1 else result
def run(code, pid=0):
    ctypes.set_errno(0)
    try:
        return eval(code)
    except OSError as error:
        return error.errno
"""


@pytest.fixture(scope="module")
def look(lab: Lab) -> Any:
    compiled = lab.python(LOOK)
    return lambda code, **more: call(compiled, code=code, **more)


def showing(lab: Lab, *paths: str) -> SandboxPlan:
    """Return the plan of LOOK with *paths* of the host in it, read-only, as no grant could have them."""
    compiled = without_landlock(lab.python(LOOK))
    shown = (Entry("bind", path, os.path.realpath(path), attributes=READ_ONLY) for path in paths)
    return replace(compiled, entries=(*compiled.entries, *shown))


@pytest.mark.parametrize("how", BY_NUMBER)
def test_process_of_the_host_by_its_number(look: Any, lab: Lab, how: str) -> None:
    """Answered as for a number that nobody has: by the PID namespace, whatever the filter lets through."""
    nobody = 4_000_000
    open_ = without_landlock(without_seccomp(lab.python(LOOK)))
    for pid in {os.getpid(), os.getppid()} - {0, 1, 2}:
        expected = {"child": 10}.get(how, ESRCH)
        seen = look(BY_NUMBER[how], pid=pid)
        assert seen == look(BY_NUMBER[how], pid=nobody)
        assert seen in (expected, ENOSYS)
        assert call(open_, code=BY_NUMBER[how], pid=pid) == expected
        assert call(open_, code=BY_NUMBER[how], pid=0) != expected or how == "child", "the question is real"


def test_priority_of_all_processes_of_a_user(look: Any, lab: Lab) -> None:
    """Its own, and of no process of the host's user, who may have the same id."""
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
    mine, other = "os.getpriority(os.PRIO_USER, 0)", "os.getpriority(os.PRIO_USER, 33)"
    assert look(mine) == look(other) == ENOSYS
    open_ = without_landlock(without_seccomp(lab.python(LOOK)))
    assert call(open_, code=mine) == os.getpriority(os.PRIO_PROCESS, 0), "the namespace alone"
    assert call(open_, code=other) == ESRCH


def test_load_memory_and_processes_of_the_host(look: Any, lab: Lab) -> None:
    code = "said(libc.sysinfo(ctypes.create_string_buffer(256)))"
    assert look(code) == ENOSYS
    assert call(without_seccomp(lab.python(LOOK), "sysinfo"), code=code) == 0, "the attack is real"


@pytest.mark.parametrize("path", ["loadavg", "meminfo", "stat", "uptime", "self/mountinfo", "self/status"])
def test_host_facts_in_proc(look: Any, lab: Lab, path: str) -> None:
    code = f"os.open('/proc/{path}', 0)"
    assert look(code) == ENOENT
    assert call(showing(lab, "/proc"), code=code) > 2, "the attack is real"


def test_names_of_the_host(look: Any) -> None:
    """Host, domain and user name, in no answer of the kernel and no file."""
    code = (
        "[list(os.uname()), socket.gethostname(), open('/etc/passwd').read(), open('/etc/hosts').read(),"
        " open('/etc/resolv.conf').read(), dict(os.environ), sys.argv, os.getcwd()]"
    )
    seen = look(code)
    assert seen[0][1] == seen[1] == "mpp"
    text = repr(seen)
    names = {socket.gethostname(), socket.getfqdn(), getpass.getuser(), str(Path.home())}
    names -= {"localhost", "/tmp"}  # which are the sandbox's own words, too
    assert [name for name in names if len(name) > 3 and name in text] == []


def test_domain_name(look: Any) -> None:
    """uname(2) has a field for it that a new namespace copies from the host's."""
    code = "[libc.uname(room := ctypes.create_string_buffer(390)), room.raw[325:].rstrip(bytes(1)).decode()]"
    assert look(code) == [0, "mpp"]


@pytest.mark.parametrize(
    "path", ["/etc/machine-id", "/etc/hostname", "/etc/os-release", "/etc/fstab", "/etc/mtab"]
)
def test_file_that_tells_which_host_it_is(look: Any, lab: Lab, path: str) -> None:
    assert look(f"os.stat({path!r})") == ENOENT
    if os.path.exists(path):  # noqa: PTH110 -- a link into /proc counts as what it leads to
        place, name = ("/proc", "/proc/self/mounts") if path == "/etc/mtab" else (path, path)
        assert call(showing(lab, place), code=f"os.open({name!r}, 0)") > 2, "the attack is real"


def test_stack_of_a_program_holds_what_it_was_given(lab: Lab, attacker: Path) -> None:
    """Above the stack lie arguments, variables and what the kernel tells a loader: nothing of the host's."""
    done = run(lab.program(attacker, "stack", "end"))
    words = [word.decode() for word in done.output.split(b"\0") if word]
    assert words[:3] == ["/app/bin/tool", "stack", "end"]
    variables, last = words[3:-1], words[-1]
    assert last == "/app/bin/tool"
    assert sorted(word.partition("=")[0] for word in variables) == sorted(
        ("PATH", "HOME", "TMPDIR", "LANG", "MPP_PACKAGE", "MPP_TOOL", "MPP_INVOCATION")
    )
    assert str(lab.root) not in done.output.decode()


def test_auxiliary_vector_names_its_own_ids(lab: Lab, attacker: Path) -> None:
    assert run(lab.program(attacker, "auxiliary")).output == b"1000 1000 1000 0 0"


def test_descriptors_say_nothing_about_who_holds_the_other_end(look: Any) -> None:
    """Three pipes: no name, no terminal, no credentials."""
    code = (
        "[[os.fstat(fd).st_mode >> 12, os.isatty(fd), said(libc.getsockopt(fd, 1, 17, None, None))]"
        " for fd in (0, 1, 2)]"
    )
    for mode, terminal, credentials in look(code):
        assert (mode, terminal) == (1, False), "a FIFO"
        assert credentials in (88, ENOSYS), "not a socket, or nothing that may be asked"


WALK = """
import ctypes, gc, os, sys
libc = ctypes.CDLL(None, use_errno=True)

def asked(option):
    room = ctypes.create_string_buffer(4096)
    if libc.prctl(option, room, len(room), 0, 0) < 0:
        return ctypes.get_errno()
    return room.raw.rstrip(bytes(1)).hex()

def strings():
    seen, found, left = set(), [], [*gc.get_objects(), *map(vars, list(sys.modules.values()))]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (str, bytes)):
            found.append(each if isinstance(each, str) else each.decode("latin-1"))
        else:
            left += gc.get_referents(each)
    return found

def run(words, options, answers):
    text = strings()
    return {
        "words": [word for word in words if any(bytes.fromhex(word).decode() in each for each in text)],
        "environ": dict(os.environ),
        "prctl": [option for option in options if asked(option) not in answers],
    }
"""
# That are questions, or that the kernel answers whatever the arguments are (linux/prctl.h).
QUESTIONS = (
    *(2, 3, 5, 7, 9, 11, 13, 16, 19, 21, 23, 25, 27, 30, 34, 37, 39, 42, 44, 46, 48, 51, 52, 56, 60, 61),
    *(0x41555856, 65, 66, 69, 71, 73, 74, 76, 78),
)


def test_no_word_of_the_host_is_in_anything_the_interpreter_holds(lab: Lab) -> None:
    """Every string of every object that a tool finds, its variables, and all that prctl(2) tells."""
    host = {str(lab.root), socket.gethostname(), str(Path.cwd()), os.path.realpath(Path(__file__).parents[2])}
    words = [word.encode().hex() for word in sorted(host) if len(word) > 3 and word not in RESERVED]
    answers: list[Any] = [1, ENOSYS, 22, "", b"python3.11".hex(), b"launch.pyc".hex()]
    seen = call(lab.python(WALK), words=words, options=QUESTIONS, answers=answers)
    assert seen["words"] == []
    assert set(seen["environ"]) == {
        *("PATH", "HOME", "TMPDIR", "LANG", "MPP_PACKAGE", "MPP_TOOL", "MPP_INVOCATION")
    }
    open_ = without_seccomp(lab.python(WALK))
    told = call(open_, words=words, options=QUESTIONS, answers=answers)["prctl"]
    assert seen["prctl"] == []
    assert told, "the question is real"
    name = "as the host is called"
    found = call(lab.python(f"HOST = {name!r}\n{WALK}"), words=[name.encode().hex()], options=[], answers=[])
    assert found["words"] != [], "what is there is found"


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_path_of_a_descriptor(look: Any, lab: Lab, fd: int) -> None:
    for path in (f"/proc/self/fd/{fd}", f"/dev/fd/{fd}", ("/dev/stdin", "/dev/stdout", "/dev/stderr")[fd]):
        assert look(f"os.readlink({path!r})") == ENOENT
    assert str(call(showing(lab, "/proc"), code=f"os.readlink('/proc/self/fd/{fd}')")).startswith("pipe:")


def test_mount_sources_are_not_told(look: Any, lab: Lab) -> None:
    """The package is at /app and says nothing of where the home is; its folder has no parent to be named."""
    for code in ("__file__", "os.getcwd()", "os.path.realpath('/app')", "os.path.realpath('/app/..')"):
        assert str(lab.root) not in str(look(code))
    assert look("__file__") == "/app/tool.py"
    bare = call(lab.without_namespaces().python(LOOK), code="__file__", pid="")
    assert bare.startswith((str(lab.root), str(PLACES))), "without a mount namespace it is a path of the host"
    assert look("os.chdir('/app') or os.getcwd()") == "/app"
    assert look("os.listdir('/app/..')") == EACCES


def test_owners_that_mean_nothing_inside(lab: Lab, ground: Path) -> None:
    """A granted file's owner is the tool's own id or nobody's: no number of a user of the host."""
    (ground / "file").write_text("x")
    code = "[os.stat(path).st_uid for path in (pid, pid + '/file', '/app', '/dev/null', '/python')]"
    seen = call(lab.python(LOOK, read=[ground]), code=code, pid=str(ground))
    assert set(seen) <= {1000, 65534}


def test_time_stamps_are_not_left_on_what_is_read(lab: Lab, ground: Path) -> None:
    """Reading changes no access time on a read-only mount: it would be seen by the next call."""
    (ground / "file").write_text("x")
    os.utime(ground / "file", (1, 1))
    compiled = lab.python(LOOK, read=[ground])
    code = "[os.read(os.open(pid, 0), 9).decode(), int(os.stat(pid).st_atime)]"
    for _ in range(2):
        assert call(compiled, code=code, pid=f"{ground}/file") == ["x", 1]
    assert (ground / "file").stat().st_atime == 1
    entries = (
        replace(each, attributes=each.attributes & ~native.MOUNT_RDONLY)
        if each.source == str(ground)
        else each
        for each in compiled.entries
    )
    if not os.statvfs(ground).f_flag & os.ST_NOATIME:
        seen = call(replace(compiled, entries=tuple(entries)), code=code, pid=f"{ground}/file")
        assert seen[1] > 1, "the attack is real"


DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")


def test_time_stamps_are_not_left_on_devices(lab: Lab) -> None:
    """They are the host's, and would tell every later call when one was written to last."""
    compiled = lab.python(LOOK)
    code = "[run(f'os.utime({path!r})') for path in pid] + [os.write(os.open(pid[0], os.O_WRONLY), b'x')]"
    assert call(compiled, code=code, pid=DEVICES) == [EROFS, EROFS, EROFS, 1], "it is written to"
    said = answer(run(lab.python("def run():\n    open('/dev/null', 'w').close()\n"), b'{"arguments":{}}'))
    assert said == {"value": None}, "and nobody is told that it was tried"
    entries = (
        replace(each, attributes=each.attributes & ~native.MOUNT_RDONLY) if each.source in DEVICES else each
        for each in compiled.entries
    )
    seen = call(replace(compiled, entries=tuple(entries)), code=code, pid=DEVICES[:1])
    assert seen == [None, 1], "the attack is real"


def test_attacks_are_real_where_there_are_no_namespaces(lab: Lab, ground: Path) -> None:
    """Names, priorities and owners of the host, which nothing but namespaces keeps from a tool."""
    if kernel.probe().landlock_abi < TRUNCATE_ABI:
        pytest.skip("this kernel runs nothing without namespaces")
    (ground / "file").write_text("x")
    (ground / "file").chmod(0o644)
    ground.chmod(0o755)
    code = "[socket.gethostname(), os.getpriority(os.PRIO_PROCESS, 1), os.stat(pid).st_uid]"
    domain = (
        "(libc.uname(room := ctypes.create_string_buffer(390)), room.raw[325:].rstrip(bytes(1)).decode())[1]"
    )
    compiled = without_seccomp(lab.without_namespaces().python(LOOK, read=[ground]))
    assert call(compiled, code=domain) == Path("/proc/sys/kernel/domainname").read_text().strip()
    seen = call(compiled, code=code, pid=f"{ground}/file")
    assert seen == [socket.gethostname(), os.getpriority(os.PRIO_PROCESS, 1), os.geteuid()]


@pytest.mark.parametrize("namespaces", [True, False])
def test_groups_of_the_hosts_user(lab: Lab, namespaces: bool) -> None:
    """Neither which they are nor how many: a host that is no root can give up none of them."""
    if not namespaces and kernel.probe().landlock_abi < TRUNCATE_ABI:
        pytest.skip("this kernel runs nothing without namespaces")
    compiled = (lab if namespaces else lab.without_namespaces()).python(LOOK)
    code = "[os.getgroups(), said(libc.getgroups(1, ctypes.create_string_buffer(4)))]"
    assert call(compiled, code=code) == [[], 0]
    # The attack is real where the host has some: of one that is root a tool has none in any case.
    mine = os.getgroups() if os.geteuid() != 0 else []
    seen = call(without_seccomp(compiled, "getgroups"), code="os.getgroups()")
    assert (len(seen) if namespaces else seen) == (len(mine) if namespaces else mine)


def test_kernel_release_is_told(look: Any) -> None:
    """Known and accepted: C libraries refuse to start without it, and vDSO and behaviour tell it as well."""
    assert look("os.uname().release") == platform.release()


def test_size_of_a_disk(look: Any, lab: Lab, ground: Path) -> None:
    """Neither of what was granted nor of where the package lies."""
    size = "os.statvfs(pid).f_blocks * os.statvfs(pid).f_frsize"
    granted = lab.python(LOOK, read=[ground])
    assert look(size, pid="/app") == call(granted, code=size, pid=str(ground)) == ENOSYS
    facts = os.statvfs(ground)
    seen = call(without_seccomp(granted, "statfs", "fstatfs"), code=size, pid=str(ground))
    assert seen == facts.f_blocks * facts.f_frsize, "the attack is real"
