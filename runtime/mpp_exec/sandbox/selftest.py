"""What this host can enforce, found out by doing it: real sandboxes, one mechanism at a time.

A property counts as enforced where two mechanisms work for it, so each is tried with the other one
taken away: files with Landlock alone and with the mount namespace alone, the network with seccomp
alone and with the network namespace alone. Nothing leaves this machine: the network attempt goes to a
listener of this process on loopback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpp_exec.errors import HostError, MppError
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import interpreter, kernel, native, spawn
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.plan import SandboxPlan, probe_plan
from mpp_exec.sandbox.profiles import SEALED_AWAY, Allow

CANARY = "/canary"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``state`` is ``ok``, ``missing`` (not had here) or ``failed`` (had, and does not hold)."""

    name: str
    state: str
    detail: str
    hint: str = ""


def examine(cache: SandboxCache, launcher: str) -> list[Check]:
    """Try everything a plan relies on; *launcher* is the folder of ``inside``."""
    try:
        facts = kernel.probe()
    except HostError as error:
        return [Check("kernel", "missing", error.message, error.hint)]
    checks = [
        Check(
            "kernel",
            "ok",
            f"Linux {facts.release} on {facts.machine}, as {'root' if facts.root else 'a user'}",
        ),
        _landlock(facts),
        _seccomp(facts, cache),
    ]
    try:
        python = cache.program(Requirement("python", ">=3.11"))
        checks.append(Check("python", "ok", f"{python.files[0].source} is {python.version}"))
    except MppError as error:
        return [*checks, Check("python", "missing", error.message, error.hint)]
    if any(check.state != "ok" for check in checks if check.name in ("landlock", "seccomp")):
        return [*checks, *_namespaces()]
    try:
        checks += _enforcement(facts, cache, launcher, python)
    except MppError as error:
        checks.append(Check("sandbox", "failed", error.message, error.hint))
        checks += _namespaces()
    return checks


def _landlock(facts: kernel.KernelFacts) -> Check:
    if facts.landlock_abi == 0:
        return Check(
            "landlock",
            "missing",
            "this kernel has no Landlock",
            "boot Linux 5.13 or later with lsm=landlock,…",
        )
    return Check("landlock", "ok", f"ABI {facts.landlock_abi}, errata {facts.landlock_errata:#x}")


def _seccomp(facts: kernel.KernelFacts, cache: SandboxCache) -> Check:
    if not facts.seccomp:
        return Check(
            "seccomp", "missing", "this kernel has no seccomp filters", "CONFIG_SECCOMP_FILTER is needed"
        )
    try:
        size = len(cache.seal(SEALED_AWAY))
    except MppError as error:
        return Check("seccomp", "missing", error.message, error.hint)
    return Check(
        "seccomp",
        "ok",
        f"libseccomp's programs agree with the policy table ({size // 8} instructions sealed)",
    )


def _namespaces() -> list[Check]:
    """Say which namespace cannot be had, and what usually stands in the way."""
    checks = []
    for name in ("USER", "NS", "PID", "NET", "IPC", "UTS", "CGROUP"):
        flags = native.constant(f"CLONE_NEW{name}") | native.constant("CLONE_NEWUSER")
        error = native.try_namespaces(flags)
        label = "mount" if name == "NS" else name.lower()
        state, detail = ("ok", "can be made") if error == 0 else ("missing", os.strerror(error))
        checks.append(Check(f"{label} namespace", state, detail, "" if error == 0 else _namespace_hint()))
    return checks


def _namespace_hint() -> str:
    reasons = {
        "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
        "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=10000"),
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "give mpp-exec's interpreter an AppArmor profile with the userns rule",
        ),
    }
    for path, (bad, remedy) in reasons.items():
        with contextlib.suppress(OSError):
            if Path(path).read_text(encoding="ascii").strip() == bad:
                return remedy
    return "inside a container, allow user namespaces and mounts (its seccomp profile refuses them)"


def _enforcement(
    facts: kernel.KernelFacts, cache: SandboxCache, launcher: str, python: interpreter.Program
) -> list[Check]:
    with tempfile.TemporaryDirectory(prefix="mpp-doctor-") as folder, socket.socket() as listener:
        canary = Path(folder, "canary")
        canary.write_bytes(b"canary")
        canary.chmod(0o666)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        plan = probe_plan(facts, python, launcher, canary=str(canary), limits=Limits())
        request = {
            "hidden": str(canary),
            "canary": CANARY,
            "port": listener.getsockname()[1],
            "host_pid": os.getpid(),
        }

        def attempt(variant: SandboxPlan) -> dict[str, Any]:
            return _attempt(variant, request, cache)

        whole = attempt(plan)
        without_landlock = attempt(dataclasses.replace(plan, landlock=None))
        sockets = (Allow("socket", "tried by doctor"), Allow("connect", "tried by doctor"))
        sockets_allowed = dataclasses.replace(plan, tool_profile=(*plan.tool_profile, *sockets))
        rights, _, scopes = plan.landlock or (0, 0, 0)
        namespace_alone = attempt(dataclasses.replace(sockets_allowed, landlock=(rights, 0, scopes)))

    def check(name: str, seen: str, expected: tuple[str, ...], what: str) -> Check:
        held = seen in expected
        return Check(name, "ok" if held else "failed", f"{what}: {seen}", "" if held else "nothing runs here")

    return [
        check(
            "files: mount namespace alone", without_landlock["read_hidden"], ("ENOENT",), "a path not granted"
        ),
        check("files: Landlock alone", whole["read_canary"], ("EACCES",), "a mounted file without a rule"),
        check("files: writing", whole["write_package"], ("EROFS", "EACCES"), "writing into the package"),
        check("files: scratch", whole["write_scratch"], ("done",), "writing into /tmp"),
        check("network: seccomp alone", whole["connect"], ("ENOSYS",), "a socket"),
        check("network: namespace alone", namespace_alone["connect"], ("ENETUNREACH",), "a connection"),
        check("processes: fork", whole["fork"], ("ENOSYS",), "fork"),
        check("processes: execve", whole["execute"], ("EPERM",), "execve after the seal"),
        check("processes: threads", whole["thread"], ("done",), "a thread"),
        check("signals: PID namespace", whole["signal_host"], ("ESRCH", "EPERM"), "a signal to this process"),
        check("identity", whole["identity"], ("1000:1000",), "user and group inside"),
    ]


def _attempt(plan: SandboxPlan, request: dict[str, Any], cache: SandboxCache) -> dict[str, Any]:
    done = spawn.run(
        plan, json.dumps({"arguments": request}).encode(), cache=cache, invocation="00000000-doctor"
    )
    try:
        value = json.loads(done.output)["value"]
    except (ValueError, KeyError, TypeError) as error:
        detail = done.errors.decode("utf-8", "replace").strip().splitlines()[-1:] or [done.reason]
        raise HostError(
            "host.selftest",
            f"the probe did not answer: {detail[0]}",
            "run mpp-exec doctor --json and report it",
        ) from error
    if not isinstance(value, dict):
        raise HostError("host.selftest", "the probe answered nonsense", "report it")
    return value
