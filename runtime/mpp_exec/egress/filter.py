"""The seccomp program of the process: which system calls it may make, and why. Anything else is EPERM.

A linear list is as good as a tree here: for system calls that no argument decides, the kernel caches the
answer (Linux 5.11). Calls of the i386 and x32 ABIs kill the process.

Sources: linux/filter.h, linux/seccomp.h, linux/bpf_common.h; the numbers are those of
``arch/x86/entry/syscalls/syscall_64.tbl``.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _ABSENT = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_X86_64, _X32 = 0xC000003E, 0x40000000

ALLOWED: Final = {
    # bytes of sockets and of what the resolver reads
    "read": 0,
    "close": 3,
    "lseek": 8,
    "pread64": 17,
    "openat": 257,  # Landlock decides which files
    "open": 2,  # used by musl
    "fstat": 5,
    "newfstatat": 262,
    "stat": 4,
    "lstat": 6,
    "write": 1,  # the eventfd
    "fcntl": 72,
    "ioctl": 16,  # FIONBIO, FIONREAD
    "access": 21,
    "getcwd": 79,
    # connections
    "connect": 42,
    "accept4": 288,
    "bind": 49,  # asks whether an address is this host's own
    "getsockname": 51,
    "getpeername": 52,
    "getsockopt": 55,
    "setsockopt": 54,
    "shutdown": 48,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "sendmmsg": 307,
    "recvmsg": 47,
    "epoll_create1": 291,
    "epoll_ctl": 233,
    "epoll_wait": 232,
    "epoll_pwait": 281,
    "poll": 7,
    "ppoll": 271,
    "select": 23,
    "pselect6": 270,
    "eventfd2": 290,
    # memory
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "mremap": 25,
    "madvise": 28,
    # threads
    "futex": 202,
    "set_robust_list": 273,
    "rseq": 334,
    "exit": 60,
    "exit_group": 231,
    "sched_yield": 24,
    "sched_getaffinity": 204,
    "rt_sigprocmask": 14,
    "rt_sigaction": 13,
    "rt_sigreturn": 15,
    "sigaltstack": 131,
    "restart_syscall": 219,
    # time, randomness, what it is
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "gettimeofday": 96,
    "nanosleep": 35,
    "getrandom": 318,
    "getpid": 39,
    "gettid": 186,
    "getuid": 102,
    "geteuid": 107,
    "getgid": 104,
    "getegid": 108,
    "uname": 63,
}
"""By name, the calls that may be made with any arguments."""

SOCKET, CLONE, CLONE3 = 41, 56, 435
FAMILIES: Final = (2, 10)
"""AF_INET and AF_INET6: no UNIX socket of the host's can be reached, no netlink, no packets."""

CLONE_THREAD: Final = 0x00010000
CLONE_NEW: Final = 0x7E020080
"""Every flag for a new namespace that clone(2) knows."""


def program() -> bytes:
    """Return the instructions of the filter."""
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in ALLOWED.values():
        code += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    code += [
        (_IF_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, _ABSENT),
    ]  # its flags cannot be seen; clone comes next
    code += [
        (_IF_EQUAL, 0, 5, SOCKET),
        (_LOAD, 0, 0, _ARGUMENTS),  # an int: its low half
        (_IF_EQUAL, 2, 0, FAMILIES[0]),
        (_IF_EQUAL, 1, 0, FAMILIES[1]),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
        (_IF_EQUAL, 0, 4, CLONE),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_IF_ANY_BIT, 2, 0, CLONE_NEW),
        (_IF_ANY_BIT, 0, 1, CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(INSTRUCTION.pack(*each) for each in code)
