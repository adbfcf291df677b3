"""The broker's seccomp program, held against its table by an interpreter that is not its maker's."""

from __future__ import annotations

import errno

import pytest

from mpp_exec.egress import filter as seccomp
from mpp_exec.sandbox import bpf, syscalls

CODE = bpf.decode(seccomp.program())
REFUSED, ABSENT = bpf.RET_ERRNO | errno.EPERM, bpf.RET_ERRNO | errno.ENOSYS


def verdict(number: int, *arguments: int, arch: int = syscalls.AUDIT_ARCH_X86_64) -> int:
    return bpf.simulate(CODE, bpf.call_data(number, arguments, arch))


def test_the_numbers_are_those_of_the_kernel() -> None:
    own = {**seccomp.ALLOWED, "socket": seccomp.SOCKET, "clone": seccomp.CLONE, "clone3": seccomp.CLONE3}
    assert {name: syscalls.X86_64[name] for name in own} == own


def test_what_is_listed_and_nothing_else() -> None:
    special = (seccomp.SOCKET, seccomp.CLONE, seccomp.CLONE3)
    for number in set(range(600)) - set(special):
        wanted = bpf.RET_ALLOW if number in seccomp.ALLOWED.values() else REFUSED
        assert verdict(number) == wanted, number
        assert verdict(number | 0x40000000) == bpf.RET_KILL_PROCESS
        assert verdict(number, arch=syscalls.AUDIT_ARCH_I386) == bpf.RET_KILL_PROCESS


@pytest.mark.parametrize("family", [0, 1, 3, 9, 11, 16, 17, 38, 40, 44, (1 << 31) | 2])
def test_other_sockets_are_refused(family: int) -> None:
    assert verdict(seccomp.SOCKET, family, 1, 0) == REFUSED


def test_internet_sockets_are_made() -> None:
    assert {verdict(seccomp.SOCKET, family, 1, 0) for family in (2, 10, 1 << 32 | 2)} == {bpf.RET_ALLOW}


def test_threads_and_no_processes() -> None:
    thread = 0x3D0F00
    assert verdict(seccomp.CLONE, thread) == bpf.RET_ALLOW
    assert verdict(seccomp.CLONE3) == ABSENT
    for flags in (0, 17, 0x4111, thread & ~seccomp.CLONE_THREAD):
        assert verdict(seccomp.CLONE, flags) == REFUSED
    for bit in range(32):
        if seccomp.CLONE_NEW >> bit & 1:
            assert verdict(seccomp.CLONE, thread | 1 << bit) == REFUSED
