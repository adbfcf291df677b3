"""The system call table, against the headers of this machine and against libseccomp."""

from __future__ import annotations

import re
from pathlib import Path

import pyseccomp
import pytest

from mpp_exec.sandbox.syscalls import AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, X32_BIT, X86_64

HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h"))


def test_no_number_stands_twice() -> None:
    assert len(set(X86_64.values())) == len(X86_64)
    assert all(0 <= number < X32_BIT for number in X86_64.values())


def test_table_agrees_with_the_kernel_headers() -> None:
    header = next((path for path in HEADERS if path.exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    found = {
        name: int(number)
        for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", header.read_text(), re.MULTILINE)
    }
    assert len(found) > 300
    assert {name: X86_64.get(name) for name in found} == found


def test_table_agrees_with_libseccomp() -> None:
    """libseccomp answers a negative number for a call that this architecture, or its age, does not know."""
    known = {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in X86_64}
    assert sum(number >= 0 for number in known.values()) > 300
    assert {name: number for name, number in known.items() if number >= 0 and number != X86_64[name]} == {}


def test_architectures_are_those_of_the_audit_header() -> None:
    """linux/audit.h: the ELF machine, and the bits for 64 bits and little-endian."""
    assert AUDIT_ARCH_X86_64 == 62 | 0x80000000 | 0x40000000
    assert AUDIT_ARCH_I386 == 3 | 0x40000000
