"""Finds out whether this host gives a sandbox its namespaces and mounts, by making one.

No setting tells this. A container's seccomp profile refuses the clone. Ubuntu 24.04 lets the clone succeed
and refuses what comes after it. A limit of zero looks like a full disk. So an empty sandbox is built by the
same code as every other, up to the moment at which it would execute a tool that is not there.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from dataclasses import dataclass

from mpp_exec.errors import HostError, InternalError
from mpp_exec.sandbox import layout, native, scarce, supervise
from mpp_exec.sandbox.building import HOST_NAME, TOOL_ID
from mpp_exec.sandbox.encoded import encode_plan
from mpp_exec.sandbox.layout import Layout

_NOTHING = "/nothing"
_DEADLINE = 20_000_000_000  # ns
_STEPS = ("clone", "id_map", "tree", "ids", "session", "root", "layout", "pivot", "capabilities")
"""Steps of a spawn that take a namespace, or a right in one."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Where building a sandbox with namespaces failed: a step of ``supervise.SPAWN_STEPS``, and an errno."""

    step: str
    error: int

    def __str__(self) -> str:
        return f"{self.step}: {os.strerror(self.error)}"


def missing() -> Missing | None:
    """Return why this host gives no namespaces, None where it does; asked once per process and user.

    Raises:
        HostError: the sandbox cannot be built for a reason that has nothing to do with namespaces.
        InternalError: the machine lacks memory, descriptors or processes at this moment.
    """
    return scarce.patiently(lambda: _missing(os.geteuid()))


@functools.lru_cache(maxsize=2)
def _missing(uid: int) -> Missing | None:
    made = Layout()
    made.bind("/dev/null", "/dev/null", layout.DEVICE)
    made.scratch("/tmp", 1 << 20)  # noqa: S108 - inside
    # One instruction, BPF_RET | BPF_K: nothing runs that a filter would have to stop.
    allow = struct.pack("=HBBI", 0x06, 0, 0, native.constant("SECCOMP_RET_ALLOW"))
    message = encode_plan(
        entries=made.entries,
        rules=(),
        limits=(),
        filter_program=allow,
        guard_program=allow,
        argv=(_NOTHING,),
        environment=(),
        exec_path=_NOTHING,
        working_directory="/tmp",  # noqa: S108 - inside
        host_name=HOST_NAME,
        uid=TOOL_ID,
        landlock=None,
        root_attributes=layout.READ_ONLY,
    )
    raw = supervise.invoke(
        message,
        b"",
        bounds=supervise.Bounds(
            cpu_us=_DEADLINE // 1000, memory=1 << 30, output=4096, processes=16, as_root=uid == 0
        ),
        wall_ns=_DEADLINE,
    )
    if (raw.step, raw.error) == ("exec", errno.ENOENT):
        return None
    full = raw.error in (errno.ENOSPC, errno.EUSERS)
    if raw.step in _STEPS and raw.error not in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN):
        if scarce.is_used_up(raw.step, raw.error):  # at this moment: no answer to be kept
            raise scarce.used_up("no sandbox could be built to try it")
        # clone(2) says ENOSPC or EUSERS where user.max_*_namespaces are 0.
        if not full or raw.step == "clone":
            return Missing(raw.step, raw.error)
    elif raw.step == "exec_init":
        raise HostError(
            "host.spawn_exec_init",
            f"the init program of mpp-exec cannot be executed: {os.strerror(raw.error)}",
            "is it on a noexec mount? install mpp-exec on a file system that programs may be run from",
        )
    raise InternalError(
        "host.exhausted",
        f"no sandbox could be built to try it: {raw.step}: {os.strerror(raw.error)}",
        "the machine may be out of memory, descriptors or processes; try again later",
    )
