"""Finds out by trying what this host can enforce.

A property counts as enforced if two mechanisms work for it. So each mechanism is tried with the other one
taken away (``attempts``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from mpp_exec.errors import MppError
from mpp_exec.package.requirement import Requirement
from mpp_exec.sandbox import (
    attempts,
    cgroup,
    kernel,
    native,
    properties,
    spaces,
    surface,
)
from mpp_exec.sandbox.attempts import Check, Connect, PlaceMaker
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.profiles import SEALED_AWAY
from mpp_exec.sandbox.remedy import Remedy, remedy


@dataclass(frozen=True, slots=True)
class Findings:
    """What this host can enforce.

    Attributes:
        checks: what was tried, and how it ended.
        degradations: what a grant must name here for a tool that starts no programs; ``with_programs`` for
            one that does. None where no grant suffices.
        profile: the AppArmor profile that would give namespaces here, "" if that is not what is missing.
    """

    checks: list[Check]
    degradations: tuple[str, ...] | None = None
    with_programs: tuple[str, ...] | None = None
    profile: str = ""


def examine(cache: SandboxCache, place: PlaceMaker, connect: Connect | None = None) -> Findings:
    """Try everything a plan relies on; *connect* is the broker's, None to do without."""
    try:
        facts = kernel.probe()
        gone = spaces.missing()
    except MppError as error:
        return Findings([Check("kernel", "missing", error.message, error.hint)])
    facts = replace(facts, namespaces=gone is None)
    mending = remedy(gone) if gone is not None else Remedy("")
    checks = _tried(facts, cache, place, connect)
    if gone is not None:
        checks += [Check("namespaces", "missing", str(gone), mending.hint), *_namespaces(mending.hint)]
    plain, starting = (_needed(facts, subprocess=starts) for starts in (False, True))
    checks.append(_degradations(plain, starting))
    return Findings(checks, plain, starting, mending.profile)


def _needed(facts: kernel.KernelFacts, *, subprocess: bool) -> tuple[str, ...] | None:
    at = properties.Situation(
        landlock_abi=facts.landlock_abi,
        root=facts.root,
        namespaces=facts.namespaces,
        python=True,
        subprocess=subprocess,
    )
    return properties.needed(at) if facts.seccomp and properties.impossible(at) is None else None


def _degradations(plain: tuple[str, ...] | None, starting: tuple[str, ...] | None) -> Check:
    if plain is None:
        detail = "no tool can run here, whatever it is approved with"
        return Check("degradations", "missing", detail, "see above for what is missing")
    more = [] if starting is None else [name for name in starting if name not in plain]
    details = [f"to run a tool here its approval must name: {', '.join(plain)}"] if plain else []
    if starting is None:
        details.append("no tool that starts programs can run here")
    elif more:
        details.append(f"a tool that starts programs also needs {', '.join(more)}")
    if not details:
        return Check("degradations", "ok", "none is needed: two mechanisms stand behind each property")
    options = " ".join(f"--degrade {name}" for name in (*plain, *more))
    return Check(
        "degradations", "missing", "; ".join(details), f"mpp-exec approve NAME {options}" if options else ""
    )


def _tried(
    facts: kernel.KernelFacts, cache: SandboxCache, place: PlaceMaker, connect: Connect | None
) -> list[Check]:
    checks = [
        Check(
            "kernel",
            "ok",
            f"Linux {facts.release} on {facts.machine}, as {'root' if facts.root else 'a user'}",
        ),
        _landlock(facts),
        _seccomp(facts, cache),
        _cgroup(facts),
    ]
    try:
        python = cache.program(Requirement("python", ">=3.11"))
        checks.append(Check("python", "ok", f"{python.files[0].source} is {python.version}"))
    except MppError as error:
        return [*checks, Check("python", "missing", error.message, error.hint)]
    if any(check.state != "ok" for check in checks if check.name in ("landlock", "seccomp")):
        return checks
    try:
        if facts.namespaces:
            checks += attempts.enforcement(facts, cache, python)
            if connect is not None:
                checks += attempts.hosts(facts, cache, python, connect)
        else:
            checks += attempts.without_namespaces(facts, cache, python, place)
    except MppError as error:
        checks.append(Check("sandbox", "failed", error.message, error.hint))
    return checks


def _landlock(facts: kernel.KernelFacts) -> Check:
    if facts.landlock_abi == 0:
        return Check(
            "landlock",
            "missing",
            "this kernel has no Landlock",
            "boot Linux 5.13 or later with lsm=landlock,…",
        )
    detail = f"ABI {facts.landlock_abi}, errata {facts.landlock_errata:#x}"
    if facts.landlock_errata & properties.MOVED_ERRATUM:
        return Check("landlock", "ok", detail)
    return Check(
        "landlock",
        "ok",
        f"{detail}; it holds to read-only {properties.UNMENDED}",
        "newer kernels, and some with updates, say that they have mended it; mounts hold either way",
    )


def _cgroup(facts: kernel.KernelFacts) -> Check:
    """Say whether the kernel counts; where it does not, everything runs all the same."""
    where = cgroup.delegation()
    if facts.cgroup:
        return Check(
            "cgroup", "ok", f"each call in one of its own below {where.path}: {', '.join(facts.cgroup)}"
        )
    detail = f"none is delegated, so memory and processor time are sampled every 10 ms ({where.reason})"
    return Check("cgroup", "ok", detail, where.hint)


def _seccomp(facts: kernel.KernelFacts, cache: SandboxCache) -> Check:
    if not facts.seccomp:
        return Check(
            "seccomp", "missing", "this kernel has no seccomp filters", "CONFIG_SECCOMP_FILTER is needed"
        )
    try:
        cache.seal(SEALED_AWAY)
    except MppError as error:
        return Check("seccomp", "missing", error.message, error.hint)
    return Check(
        "seccomp",
        "ok",
        f"libseccomp's programs agree with the policy table (calls a tool can make: {surface.summary()})",
    )


def _namespaces(hint: str) -> list[Check]:
    """Say which namespace cannot even be cloned into."""
    checks = []
    for name in ("USER", "NS", "PID", "NET", "IPC", "UTS", "CGROUP"):
        flags = native.constant(f"CLONE_NEW{name}") | native.constant("CLONE_NEWUSER")
        error = native.try_clone(flags)
        label = "mount" if name == "NS" else name.lower()
        state, detail = ("ok", "can be made") if error == 0 else ("missing", os.strerror(error))
        checks.append(Check(f"{label} namespace", state, detail, "" if error == 0 else hint))
    return checks
