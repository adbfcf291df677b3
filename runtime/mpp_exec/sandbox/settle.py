"""Gives a plan without namespaces its folder, for one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mpp_exec.sandbox import bare, profiles
from mpp_exec.sandbox.bare import needs_namespaces
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.special import special_entries


def settle(plan: SandboxPlan, place: Path, cache: SandboxCache) -> SandboxPlan:
    """Return *plan* for one call in *place*, a new, empty folder whose path is free of links.

    Raises:
        HostError: a write grant holds a file that mounts would protect, at this moment.
        InternalError: the disk said no.
    """
    assert plan.bare is not None
    special = next((entry.target for entry in special_entries(plan)), None)
    if special is not None:
        raise needs_namespaces(
            f"{special} cannot be protected inside of a folder that is granted for writing",
            "approve with a folder that does not contain it",
        )
    settled = bare.settle(plan.bare, place, cache.seal(profiles.SEALED_AWAY))

    def at(text: str) -> str:
        return bare.at(text, settled.place)

    entries = (replace(entry, source=at(entry.source), target=at(entry.target)) for entry in plan.entries)
    return replace(
        plan,
        entries=tuple(entries),
        rules=tuple((at(path), access) for path, access in plan.rules),
        argv=tuple(map(at, plan.argv)),
        exec_path=at(plan.exec_path),
        environment=tuple((name, at(value)) for name, value in plan.environment),
        scratch=at(plan.scratch),
        bare=settled,
    )
