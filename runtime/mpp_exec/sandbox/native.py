"""The seam to C: other modules get ``ffi``, ``lib`` and the constants of contract.h from here.

What a single C call asks of the kernel is here, too. A sandbox's life is in ``supervise``.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

from mpp_exec.errors import HostError

try:
    from mpp_exec.sandbox._native import ffi as ffi  # noqa: PLC0414 -- exported
    from mpp_exec.sandbox._native import lib as lib  # noqa: PLC0414 -- exported
except ImportError as error:  # the wheel is for another platform, or the tree was not built
    raise HostError(
        "host.native_missing",
        f"the native part of mpp-exec cannot be loaded: {error}",
        "install a wheel for this platform, or build it: pip install .",
    ) from error

ALL_NAMESPACES: int = (
    lib.CLONE_NEWUSER
    | lib.CLONE_NEWNS
    | lib.CLONE_NEWPID
    | lib.CLONE_NEWNET
    | lib.CLONE_NEWIPC
    | lib.CLONE_NEWUTS
    | lib.CLONE_NEWCGROUP
)

PLAN_MAX: int = lib.MPP_PLAN_MAX
ARGS_MAX: int = lib.MPP_ARGS_MAX
TREES_MAX: int = lib.MPP_TREES_MAX
STREAMS_MAX: int = lib.MPP_STREAMS_MAX
ADDRESSES_MAX: int = lib.MPP_ADDRESSES_MAX

ENTRY_KINDS: dict[str, int] = {
    "dir": lib.MPP_ENTRY_DIR,
    "file": lib.MPP_ENTRY_FILE,
    "link": lib.MPP_ENTRY_LINK,
    "bind": lib.MPP_ENTRY_BIND,
    "tmpfs": lib.MPP_ENTRY_TMPFS,
    "hold": lib.MPP_ENTRY_HOLD,
}
ENTRY_EXISTS: int = lib.MPP_ENTRY_EXISTS
ENTRY_IDMAP: int = lib.MPP_ENTRY_IDMAP
ENTRY_WRITABLE: int = lib.MPP_ENTRY_WRITABLE
ENTRY_OWNED: int = lib.MPP_ENTRY_OWNED
ENTRY_IMAGE: int = lib.MPP_ENTRY_IMAGE

SNAPSHOT_RESTORED: int = lib.MPP_SNAPSHOT_RESTORED
SNAPSHOT_SAVED: int = lib.MPP_SNAPSHOT_SAVED

MOUNT_RDONLY: int = lib.MOUNT_ATTR_RDONLY
MOUNT_NOSUID: int = lib.MOUNT_ATTR_NOSUID
MOUNT_NODEV: int = lib.MOUNT_ATTR_NODEV
MOUNT_NOEXEC: int = lib.MOUNT_ATTR_NOEXEC

OUTER_ID_BASE = 0x70000000
"""A root host's sandboxes run as this id plus the host pid of their init: used by nothing else, and by no
two living sandboxes."""


def init_program() -> int:
    """Return a descriptor of the init program, open for as long as this process lives.

    A host that becomes a daemon closes whatever is open, and its numbers are given to other files:
    the descriptor is used only while it is still the init program.
    """
    fd, identity = _open_init()
    with contextlib.suppress(OSError):
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) == identity:
            return fd
    _open_init.cache_clear()
    return _open_init()[0]


@functools.cache
def _open_init() -> tuple[int, tuple[int, int]]:
    path = Path(__file__).with_name("mpp-init")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        facts = os.fstat(fd)
    except OSError as error:
        raise HostError(
            "host.native_missing",
            f"the init program cannot be opened: {error.strerror}",
            "install mpp-exec again: pip install --force-reinstall mpp-exec",
        ) from error
    return fd, (facts.st_dev, facts.st_ino)


def try_clone(namespaces: int, cgroup_fd: int = -1) -> int:
    """Return 0 where a process can be cloned into *namespaces* and a cgroup, else the errno of clone(2)."""
    return int(lib.mpp_try_clone(namespaces, cgroup_fd))


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI version, 0 where there is none (or it is not booted)."""
    return _checked(lib.mpp_landlock_abi(), "landlock_create_ruleset")


def landlock_errata() -> int:
    """Return the bits of LANDLOCK_CREATE_RULESET_ERRATA: which known faults this kernel has fixed."""
    return _checked(lib.mpp_landlock_errata(), "landlock_create_ruleset")


def seccomp_has(action: int) -> bool:
    """Tell whether the kernel offers seccomp filters with *action* (SECCOMP_RET_*)."""
    return _checked(lib.mpp_seccomp_action(action), "seccomp") == 1


def _checked(value: int, call: str) -> int:
    if value < 0:
        raise HostError("host.probe", f"{call}: {os.strerror(-value)}", "run mpp-exec doctor")
    return value


def constant(name: str) -> int:
    """Return a constant of the kernel's headers, as compiled in (``LANDLOCK_ACCESS_FS_*``, …)."""
    return int(getattr(lib, name))


def open_alarm() -> int:
    """Return a descriptor that becomes readable when the time has come that :func:`set_alarm` sets.

    Raises:
        OSError: the machine has no more descriptors.
    """
    fd = int(lib.mpp_alarm_open())
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return fd


def set_alarm(fd: int, nanoseconds: int) -> None:
    """Let *fd* become readable in *nanoseconds*, and not before."""
    lib.mpp_alarm_set(fd, nanoseconds)


def look(folder: int, names: bytes, count: int) -> bytes:
    """Return who *count* files are at this moment, as ``struct mpp_identity`` each; see ``look.Look``."""
    identities = ffi.new("struct mpp_identity[]", count)
    lib.mpp_look(folder, ffi.from_buffer("char[]", names), count, identities)
    return bytes(ffi.buffer(identities))
