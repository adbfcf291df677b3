"""Plans compiled for a grant, and the rights that a plan gives to a path, evaluated as the kernel would."""

from __future__ import annotations

from typing import Final

import sandbox_lab
from mpp_exec.consent.grant import Grant
from mpp_exec.package.manifest import Operation, RuntimeSpec
from mpp_exec.sandbox import landlock, native
from mpp_exec.sandbox.interpreter import HostFile, Program
from mpp_exec.sandbox.kernel import KernelFacts
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.planning import compile_plan

FACTS: Final = KernelFacts(
    machine="x86_64", release="6.12", landlock_abi=6, landlock_errata=7, seccomp=True, root=False
)


def program(name: str) -> Program:
    path = "/python/bin/python3.11" if name == "python" else f"/bin/{name}"
    return Program(name, "3.11.2", path, (HostFile(f"/usr/bin/{name}", path, executable=True),), (), ())


def plan_of(grant: Grant, kind: str, operation: Operation) -> SandboxPlan:
    runtime = RuntimeSpec("exec", command=("bin/tool",)) if kind == "exec" else RuntimeSpec("python")
    made = sandbox_lab.manifest(runtime, operation)
    return compile_plan(
        made,
        made.tools[0],
        grant,
        FACTS,
        app="/srv/home/packages/0/files",
        storage="/srv/storage" if grant.permissions.storage else None,
        find_program=lambda requirement: program(requirement.name),
        find_started=program,
        compile_launcher=lambda _: b"launcher",
    )


def reach(plan: SandboxPlan, path: str) -> set[str]:
    """Return which of read and write the plan allows on the host's *path*.

    The last mount over the path decides, together with Landlock's rules for the path and the folders above
    it.
    """
    over = [
        entry
        for entry in plan.entries
        if entry.kind in ("bind", "tmpfs") and f"{path}/".startswith(f"{entry.target}/")
    ]
    if not over or over[-1].kind != "bind" or over[-1].source != over[-1].target:
        return set()
    rights = 0
    for rule, access in plan.rules:
        rights |= access if f"{path}/".startswith(f"{rule}/") else 0
    given = {"read"} if rights & landlock.READ_FILE else set()
    if rights & landlock.WRITE_FILE and not over[-1].attributes & native.MOUNT_RDONLY:
        given.add("write")
    return given
