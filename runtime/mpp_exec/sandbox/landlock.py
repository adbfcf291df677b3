"""Which Landlock rights a plan handles and grants, by the ABI of the kernel.

The plan handles every right that the kernel can handle, so what no rule names is denied. Init builds the
ruleset itself with raw system calls, because scratch and synthetic files exist in no other mount namespace.
This module decides what goes into it.

Source: Linux ``include/uapi/linux/landlock.h``, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

from mpp_exec.sandbox.native import constant

EXECUTE = constant("LANDLOCK_ACCESS_FS_EXECUTE")
WRITE_FILE = constant("LANDLOCK_ACCESS_FS_WRITE_FILE")
READ_FILE = constant("LANDLOCK_ACCESS_FS_READ_FILE")
READ_DIR = constant("LANDLOCK_ACCESS_FS_READ_DIR")
REMOVE_DIR = constant("LANDLOCK_ACCESS_FS_REMOVE_DIR")
REMOVE_FILE = constant("LANDLOCK_ACCESS_FS_REMOVE_FILE")
MAKE_CHAR = constant("LANDLOCK_ACCESS_FS_MAKE_CHAR")
MAKE_DIR = constant("LANDLOCK_ACCESS_FS_MAKE_DIR")
MAKE_REG = constant("LANDLOCK_ACCESS_FS_MAKE_REG")
MAKE_SOCK = constant("LANDLOCK_ACCESS_FS_MAKE_SOCK")
MAKE_FIFO = constant("LANDLOCK_ACCESS_FS_MAKE_FIFO")
MAKE_BLOCK = constant("LANDLOCK_ACCESS_FS_MAKE_BLOCK")
MAKE_SYM = constant("LANDLOCK_ACCESS_FS_MAKE_SYM")
REFER = constant("LANDLOCK_ACCESS_FS_REFER")
# Newer than some distributions' headers.
TRUNCATE = 1 << 14  # ABI 3, Linux 6.2
IOCTL_DEV = 1 << 15  # ABI 5, Linux 6.10
NET_BIND_TCP = 1  # ABI 4, Linux 6.7
NET_CONNECT_TCP = 2
SCOPE_ABSTRACT_UNIX_SOCKET = 1  # ABI 6, Linux 6.12
SCOPE_SIGNAL = 2

_ABI_1 = (
    *(EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE),
    *(MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM),
)

READ = READ_FILE | READ_DIR
# No devices, sockets or FIFOs: those are ways to talk to something outside. No links to granted places
# either way is left to REFER, which needs the right on both sides.
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def handled(abi: int) -> tuple[int, int, int]:
    """Return what a ruleset on this *abi* handles: file system rights, network rights, scopes."""
    fs = sum(_ABI_1)
    fs |= REFER if abi >= 2 else 0
    fs |= TRUNCATE if abi >= 3 else 0
    fs |= IOCTL_DEV if abi >= 5 else 0
    net = NET_BIND_TCP | NET_CONNECT_TCP if abi >= 4 else 0
    scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0
    return fs, net, scoped


def access(wanted: int, abi: int, *, is_dir: bool) -> int:
    """Return the part of *wanted* that a rule of this *abi* may name on a folder, or on a file."""
    fs, _, _ = handled(abi)
    return wanted & fs & (fs if is_dir else _FILE_RIGHTS)
