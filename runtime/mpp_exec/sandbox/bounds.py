"""What a sandbox of a plan may use, as C has it."""

from __future__ import annotations

from mpp_exec.sandbox import cgroup, native, supervise
from mpp_exec.sandbox.plan import SandboxPlan


def bounds_of(plan: SandboxPlan) -> supervise.Bounds:
    """Return what a sandbox of *plan* may use."""
    return supervise.Bounds(
        cpu_us=plan.limits.cpu_ms * 1000,
        memory=plan.limits.memory
        + (cgroup.OVERHEAD if plan.cgroup else 0),  # it counts the sandbox's own, too
        output=plan.limits.output,
        processes=plan.limits.processes,
        as_root=plan.root,
        namespaces=native.ALL_NAMESPACES if plan.bare is None else 0,
    )
