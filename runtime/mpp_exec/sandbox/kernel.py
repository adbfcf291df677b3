"""What this kernel offers, as far as a plan is compiled for it.

This module asks only questions that have a short true answer. Whether namespaces are available is not such a
question: some systems let the call succeed and fail later (Ubuntu 24.04's AppArmor restriction). ``spaces``
finds that out by trying. ``properties`` says what follows from the facts.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from mpp_exec.errors import HostError
from mpp_exec.sandbox import cgroup, native


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What plans depend on.

    Attributes:
        machine: ``x86_64``.
        release: the kernel's release, for people.
        landlock_abi: 0 where there is no Landlock.
        landlock_errata: bit mask of fixed faults.
        seccomp: filters with ENOSYS answers and process kill are there.
        root: the host runs as root, so sandboxes get an id of their own; else they keep the host's.
        namespaces: taken to be there until a sandbox was seen to fail for the lack of them.
        cgroup: controllers of cgroups that this process may make; empty where none is delegated.
        processors: how many this process may run on.
    """

    machine: str
    release: str
    landlock_abi: int
    landlock_errata: int
    seccomp: bool
    root: bool
    namespaces: bool = True
    cgroup: tuple[str, ...] = ()
    processors: int = 1

    @property
    def platform(self) -> str:
        """The platform word of manifests: ``linux-x86_64``."""
        return f"linux-{self.machine}"


@functools.lru_cache(maxsize=2)
def _probe(uid: int) -> KernelFacts:
    system = os.uname()
    return KernelFacts(
        machine=system.machine,
        release=system.release,
        landlock_abi=native.landlock_abi(),
        landlock_errata=native.landlock_errata(),
        seccomp=all(
            native.seccomp_has(native.constant(f"SECCOMP_RET_{action}"))
            for action in ("ERRNO", "KILL_PROCESS", "ALLOW")
        ),
        root=uid == 0,
        cgroup=cgroup.delegation().controllers,
        processors=len(os.sched_getaffinity(0)),
    )


def probe() -> KernelFacts:
    """Ask the kernel; the answers hold for the life of the process and its effective user.

    Raises:
        HostError: this machine's architecture has no system call table here, it shows no ``/proc``,
            or a cgroup that was named for this process cannot be used.
    """
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110 - asked before every call
        raise HostError(
            "host.no_proc",
            "/proc is not mounted here, and mpp-exec sets up and measures sandboxes through it",
            "mount it: mount -t proc proc /proc",
        )
    facts = _probe(os.geteuid())
    if facts.machine != "x86_64":
        raise HostError(
            "host.architecture",
            f"no system call policy exists for {facts.machine}",
            "mpp-exec runs tools on x86_64 only",
        )
    return facts
