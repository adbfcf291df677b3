"""Attacks on the kernel: every system call by its number, and every way around the filter.

Refused means ENOSYS and nothing else: EFAULT would mean that the kernel looked at the arguments.
"""

from __future__ import annotations

import json
from errno import ENOSYS, EPERM
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.sandbox.profiles import SEALED_AWAY, tool_profile
from sandbox_lab import NUMBERS, Lab, call, run, sweep, without_landlock, without_seccomp

BAD = (1, 1, 1, 1, 1, 1)
Call = tuple[object, ...]

ALLOWED = {NUMBERS[allow.name] for allow in tool_profile("exec", subprocess=False)}
LAST = 600
# uretprobe and uprobe: the kernel's own entries, which pass by every filter and kill whoever else calls them.
PROBES = (335, 336)

# Python makes the same calls from where a tool of its kind stands: behind the seal.
PYTHON_SWEEP = """
import ctypes
def run(calls):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    seen = []
    for call in calls:
        ctypes.set_errno(0)
        words = [ctypes.c_void_p(word) if isinstance(word, int) else word.encode() for word in call]
        seen.append(ctypes.get_errno() if libc.syscall(*words) == -1 else 0)
    return seen
"""


class TestEveryNumber:
    def test_call_that_is_not_listed_does_not_exist(self, lab: Lab, probe: Path) -> None:
        calls = [(number, *BAD) for number in range(LAST) if number not in (*ALLOWED, *PROBES)]
        assert len(calls) > 350
        seen = sweep(lab.program(probe, "sweep"), calls)
        assert {call[0]: errno for call, errno in zip(calls, seen, strict=True) if errno != ENOSYS} == {}

    def test_nor_behind_the_seal_of_a_python_tool(self, lab: Lab) -> None:
        listed = {NUMBERS[allow.name] for allow in tool_profile("python", subprocess=False)}
        calls = [[number, *BAD] for number in range(LAST) if number not in (*listed, *PROBES)]
        seen = call(lab.python(PYTHON_SWEEP), calls=calls)
        away = {NUMBERS[name]: EPERM for name in SEALED_AWAY}
        expected = [away.get(each[0], ENOSYS) for each in calls]
        assert dict(zip(map(str, calls), seen, strict=True)) == dict(
            zip(map(str, calls), expected, strict=True)
        )

    def test_sealed_calls_are_refused_whatever_their_arguments(self, lab: Lab) -> None:
        calls = [
            [NUMBERS[name], *words] for name in SEALED_AWAY for words in (BAD, (0,) * 6, (1, 0, 0, 0, 0, 0))
        ]
        assert set(call(lab.python(PYTHON_SWEEP), calls=calls)) == {EPERM}

    def test_entries_of_the_kernels_own_end_the_tool(self, lab: Lab, probe: Path) -> None:
        for number in PROBES:
            done = run(lab.program(probe, "sweep"), f"{number}\n".encode())
            # ENXIO: called from elsewhere than a probe. ENOSYS: a kernel without them.
            assert done.reason == "died of SIGILL" or done.output in (b"6\n", b"38\n")

    def test_sweep_would_find_an_open_call(self, lab: Lab, probe: Path) -> None:
        """Without the filter most of these exist, and say so."""
        names = ("ptrace", "keyctl", "bpf", "io_uring_setup", "userfaultfd", "shmget", "personality", "mount")
        seen = sweep(without_seccomp(lab.program(probe, "sweep")), [(name, *BAD) for name in names])
        assert ENOSYS not in seen[:1] + seen[2:4] + seen[5:]
        assert seen.count(ENOSYS) <= 2

    @pytest.mark.parametrize("number", [LAST, 1000, 0x3FFFFFFF])
    def test_number_beyond_the_table(self, lab: Lab, probe: Path, number: int) -> None:
        assert sweep(lab.program(probe, "sweep"), [(number, *BAD)]) == [ENOSYS]


# What a listed call may not be asked for, beside the same call as it may.
CONDITIONS: list[tuple[Call, Call]] = [
    *(
        (("ioctl", 0, request, "b"), ("ioctl", 0, 0x541B, "b"))
        for request in (0x5412, 0x541C, 0x5410, 0x540E, 0x5609)
    ),
    *(
        (("ioctl", 0, 0x5412 | high << 32, "b"), ("ioctl", 0, 0x541B | high << 32, "b"))
        for high in (1, 1 << 31)
    ),
    *(
        (("ioctl", 0, request, "b"), ("ioctl", 0, 0x5401, "b"))
        for request in (0xC0045878, 0x40086602, 0xC020660B)
    ),
    *(
        (("fcntl", 0, command, 1 << 20), ("fcntl", 0, 1))
        for command in (8, 10, 15, 1024, 1025, 1026, 1031, 1033)
    ),
    *((("fcntl", 0, 1031 | high << 32, 1 << 20), ("fcntl", 0, 1 | high << 32)) for high in (1, 1 << 31)),
    *(
        (("prctl", option, 1, 0), ("prctl", 3))
        for option in (1, 4, 8, 22, 24, 28, 35, 36, 47, 50, 53, 59, 0x59616D61)
    ),
    (("prctl", 4 | 1 << 32, 1), ("prctl", 3 | 1 << 32)),
    *(
        (("arch_prctl", code, 0), ("arch_prctl", 0x1003, "b"))
        for code in (0x1001, 0x1004, 0x1012, 0x3001, 0x5001)
    ),
    *((("prlimit64", pid, 0, 0, "b"), ("prlimit64", 0, 0, 0, "b")) for pid in (1, 2, 0xFFFFFFFF)),
    *((("socketpair", 1, kind, 0, "b"), ("socketpair", 1, 1, 0, "b")) for kind in (2, 3, 4, 5, 10)),
    *(
        (("socketpair", family, 1, 0, "b"), ("socketpair", 1, 0o2004001, 0, "b"))
        for family in (0, 2, 10, 16, 30, 40)
    ),
    *(
        (("chmod", "s:/tmp/none", mode), ("chmod", "s:/tmp/none", 0o1777))
        for mode in (0o4000, 0o2000, 0o6777)
    ),
    (("chmod", "s:/tmp/none", 0o4000 | 1 << 40), ("chmod", "s:/tmp/none", 0o777 | 1 << 40)),
    # FUTEX_LOCK_PI, UNLOCK_PI, TRYLOCK_PI, WAIT_REQUEUE_PI, CMP_REQUEUE_PI, LOCK_PI2; FUTEX_WAKE
    *(
        (("futex", "b", operation | private, 0, 0, "b", 0), ("futex", "b", 1 | private, 1))
        for operation in (6, 7, 8, 11, 12, 13)
        for private in (0, 128, 1 << 40)
    ),
    # MERGEABLE, UNMERGEABLE, COLD, PAGEOUT, REMOVE, COLLAPSE, HWPOISON, SOFT_OFFLINE; NORMAL
    *(
        (("madvise", 0, 4096, advice), ("madvise", 0, 4096, 0))
        for advice in (12, 13, 20, 21, 9, 25, 100, 101, 100 | 1 << 32)
    ),
    *(
        (("mmap", 0, 4096, 3, 0x22 | flag, -1, 0), ("mmap", 0, 4096, 3, 0x22, -1, 0))
        for flag in (0x100, 0x2000, 0x40000)
    ),
    *((("mremap", 0, 4096, 8192, flags, 0), ("mremap", 0, 4096, 8192, 1, 0)) for flags in (2, 3, 4, 5)),
    *((("pipe2", "b", flags), ("pipe2", "b", 0o2004000)) for flags in (0o200, 0o40000, 0o200 | 1 << 32)),
    *((("fallocate", 0, mode, 0, 1), ("fallocate", 0, 0, 0, 1)) for mode in (1, 2, 3, 8, 16, 32, 64)),
    (("close_range", 100, 101, 2), ("close_range", 100, 101, 4)),
    *(
        (
            ("renameat2", -100, "s:/tmp/none", -100, "s:/tmp/x", flags),
            ("renameat2", -100, "s:/n", -100, "s:/x", 1),
        )
        for flags in (2, 4)
    ),
    # MSG_OOB, MSG_ZEROCOPY; MSG_OOB, MSG_ERRQUEUE
    *((("sendto", 0, "b", 1, flags, 0, 0), ("sendto", 0, "b", 1, 0x4040, 0, 0)) for flags in (1, 0x4000000)),
    *((("recvfrom", 0, "b", 1, flags, 0, 0), ("recvfrom", 0, "b", 1, 0x42, 0, 0)) for flags in (1, 0x2000)),
    # SO_GET_FILTER, SO_PEERSEC, SO_PEERPIDFD; TCP and IP levels
    *((("getsockopt", 0, 1, name, "b", "b"), ("getsockopt", 0, 1, 3, "b", "b")) for name in (26, 31, 77)),
    *((("getsockopt", 0, level, 3, "b", "b"), ("getsockopt", 0, 1, 4, "b", "b")) for level in (0, 6)),
    *((("setitimer", clock, "b", 0), ("setitimer", 0, "b", 0)) for clock in (1, 2)),
    *((("membarrier", command, 0, 0), ("membarrier", 0, 0, 0)) for command in (1, 2, 4)),
]


@pytest.mark.parametrize("with_landlock", [True, False])
def test_listed_call_with_other_arguments(lab: Lab, probe: Path, with_landlock: bool) -> None:
    """Refused by the value, also with bits that the kernel does not look at; and its like goes through."""
    compiled = lab.program(probe, "sweep")
    if not with_landlock:
        compiled = without_landlock(compiled)
    refused = sweep(compiled, [refused for refused, _ in CONDITIONS])
    assert [each for each, errno in zip(CONDITIONS, refused, strict=True) if errno != ENOSYS] == []
    allowed = sweep(compiled, [allowed for _, allowed in CONDITIONS])
    assert [each for each, errno in zip(CONDITIONS, allowed, strict=True) if errno == ENOSYS] == []


@pytest.mark.parametrize("act", ["int80", "x32"])
def test_entry_of_another_abi_kills_the_process(lab: Lab, probe: Path, act: str) -> None:
    """Their numbers mean other calls, which the filter was not written for."""
    done = run(lab.program(probe, act))
    assert (done.outcome, done.output) == ("syscall", b"")
    assert "i386 or x32" in done.reason


def test_i386_entry_is_there_to_be_refused(lab: Lab, probe: Path) -> None:
    """Where this kernel has no 32-bit entry, the attempt dies of a fault instead."""
    done = run(without_seccomp(lab.program(probe, "int80")))
    assert done.outcome == "syscall", "the profile that allows everything still refuses other architectures"


# (what, system call with arguments, what each mechanism alone says). Without seccomp these exist; what then
# still refuses them is Landlock, an empty set of capabilities, or the PID namespace.
ALONE: list[tuple[str, list[Call], set[int]]] = [
    ("mounting in namespaces of its own", [("mount", "s:none", "s:/app", "s:tmpfs", 0, 0)], {EPERM}),
    ("a bind mount", [("mount", "s:/app", "s:/tmp", 0, 4096, 0)], {EPERM}),
    ("another root", [("pivot_root", "s:/tmp", "s:/tmp")], {EPERM}),
    ("a new session of init", [("setsid",)], {0, EPERM}),
    ("tracing init", [("ptrace", 16, 1, 0, 0), ("ptrace", 0x4206, 1, 0, 0)], {EPERM}),
    ("init's memory", [("kcmp", 1, 2, 0, 0, 0)], {EPERM}),
    ("the kernel's log", [("syslog", 3, "b", 100)], {EPERM}),
    ("reboot", [("reboot", 0xFEE1DEAD, 672274793, 0x1234567, 0)], {EPERM}),
    ("the clock", [("clock_settime", 0, "b"), ("settimeofday", "b", 0)], {EPERM}),
    ("the host's name", [("sethostname", "s:x", 1), ("setdomainname", "s:x", 1)], {EPERM}),
    ("root", [("setuid", 0), ("setgid", 0), ("setresuid", 0, 0, 0), ("setgroups", 1, "b")], {EPERM, 22}),
    ("accounting and swap", [("acct", 0), ("swapoff", "s:/tmp/x")], {EPERM}),
    ("a terminal", [("vhangup",)], {EPERM}),
]


@pytest.mark.parametrize(("calls", "errors"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE])
def test_without_seccomp_something_else_refuses(
    lab: Lab, probe: Path, calls: list[Call], errors: set[int]
) -> None:
    compiled = lab.program(probe, "sweep")
    assert set(sweep(compiled, calls)) == {ENOSYS}, "seccomp alone"
    new_namespaces: list[Call] = [("unshare", 0x10000000 | 0x20000)] if "mount" in str(calls) else []
    seen = sweep(without_seccomp(compiled), [*new_namespaces, *calls])
    assert set(seen[len(new_namespaces) :]) <= errors


# Nothing but the filter stands before these: it must hold.
SECCOMP_ONLY: list[tuple[str, Call]] = [
    ("a user namespace with all capabilities", ("unshare", 0x10000000)),
    ("keys of the host's session", ("keyctl", 0, 0xFFFFFFFD, 0)),
    ("io_uring", ("io_uring_setup", 1, "b")),
    ("a memory file", ("memfd_create", "s:x", 0)),
    ("shared memory", ("shmget", 0, 4096, 0o1600)),
    ("message queues", ("msgget", 0, 0o1600)),
    ("semaphores", ("semget", 0, 1, 0o1600)),
    ("inotify", ("inotify_init1", 0)),
    ("executable stacks", ("personality", 0x0400000)),
    ("a pidfd", ("pidfd_open", 1, 0)),
    ("a clock of processor time", ("timer_create", 2, 0, "b")),
    ("a timer that widens races", ("timerfd_create", 1, 0)),
    ("the host's disk: its kind, size and room", ("statfs", "s:/app", "b")),
    ("a lock that inherits priority", ("futex", "b", 6, 0, 0)),
    ("an interruption of every processor", ("membarrier", 1, 0, 0)),
]


@pytest.mark.parametrize("attack", [row[1] for row in SECCOMP_ONLY], ids=[row[0] for row in SECCOMP_ONLY])
def test_only_seccomp_refuses(lab: Lab, probe: Path, attack: Call) -> None:
    compiled = lab.program(probe, "sweep")
    assert sweep(compiled, [attack]) == [ENOSYS]
    assert sweep(without_landlock(compiled), [attack]) == [ENOSYS]
    assert sweep(without_seccomp(compiled, str(attack[0])), [attack]) == [0], "the attack is real"


def test_capabilities_are_none_and_stay_none(lab: Lab) -> None:
    code = """
import ctypes, os
def run():
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    got = libc.capget(header, sets) or any(sets)
    bounding = [libc.prctl(23, capability, 0, 0, 0) for capability in range(41)]
    sets[0] = sets[1] = 0xFFFFFFFF  # effective and permitted
    raised = libc.capset(header, sets)
    no_new_privs = libc.prctl(39, 0, 0, 0, 0)
    return [got, max(bounding), raised, ctypes.get_errno(), no_new_privs]
"""
    assert call(lab.python(code)) == [0, 0, -1, ENOSYS, 1]
    alone = call(without_seccomp(lab.python(code), "capset"))
    assert alone == [0, 0, -1, EPERM, 1], "there is none to be had"


def test_program_added_by_the_tool_is_refused(lab: Lab, probe: Path) -> None:
    """A filter of its own could answer for the kernel, a listener could answer for anybody."""
    calls: list[Call] = [
        ("seccomp", operation, flags, "b") for operation in range(4) for flags in (0, 1, 2, 4, 8, 16)
    ]
    calls += [("prctl", 22, 2, "b"), ("prctl", 22, 1, 0), ("prctl", 38, 1, 0, 0, 0)]
    compiled = lab.program(probe, "sweep")
    assert set(sweep(compiled, calls)) == {ENOSYS}
    real = sweep(
        without_seccomp(compiled, "seccomp", "prctl"), [("seccomp", 1, 0, "b"), ("prctl", 22, 2, "b")]
    )
    assert ENOSYS not in real, "the kernel looks at the arguments"
    python_calls: list[Any] = [
        [NUMBERS["seccomp"], operation, flags, 0] for operation in (0, 1) for flags in (0, 8)
    ]
    assert set(call(lab.python(PYTHON_SWEEP), calls=python_calls)) <= {EPERM, ENOSYS}


def test_landlock_of_the_tool_cannot_be_widened(lab: Lab, probe: Path) -> None:
    """A further ruleset could only narrow; it does not get that far."""
    calls: list[Call] = [
        ("landlock_create_ruleset", "b", 24, 0),
        ("landlock_add_rule", 0, 1, "b", 0),
        ("landlock_restrict_self", 0, 0),
    ]
    assert set(sweep(lab.program(probe, "sweep"), calls)) == {ENOSYS}


def test_limits_cannot_be_raised(lab: Lab) -> None:
    code = """
import resource
def run():
    seen = {}
    for name in ("AS", "DATA", "NPROC", "NOFILE", "CPU", "FSIZE", "CORE", "MEMLOCK"):
        number = getattr(resource, "RLIMIT_" + name)
        soft, hard = resource.getrlimit(number)
        for wanted in ((hard + 1, hard + 1), (soft, resource.RLIM_INFINITY)):
            try:
                resource.setrlimit(number, wanted)
                seen[name] = resource.getrlimit(number)
            except (OSError, ValueError) as error:
                pass
    return seen
"""
    assert call(lab.python(code)) == {}


def test_answer_is_json_of_the_tool_whatever_it_calls(lab: Lab, probe: Path) -> None:
    """The sweep itself runs in a sandbox that works."""
    done = run(lab.program(probe, "echo"), b"[1]")
    assert json.loads(done.output) == {"length": 3, "request": [1]}
