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
import resource
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mpp_exec.errors import HostError, MppError
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import (
    bare,
    building,
    cgroup,
    interpreter,
    kernel,
    launcher,
    native,
    properties,
    spaces,
    spawn,
    surface,
)
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.network import Serve
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.planning import own_plan
from mpp_exec.sandbox.profiles import SEALED_AWAY, Allow, tool_profile
from mpp_exec.sandbox.remedy import Remedy, remedy
from mpp_exec.sandbox.settle import settle
from mpp_exec.vocabulary import HostPort

CANARY = "/canary"
_PROBE = "probe:attempts"
_HOSTS_PROBE = "probe:hosts"
_UNHURRIED = Limits(wall_ms=60_000, cpu_ms=60_000)  # a slow machine is not one that cannot enforce


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``state`` is ``ok``, ``missing`` (not had here) or ``failed`` (had, and does not hold)."""

    name: str
    state: str
    detail: str
    hint: str = ""


PlaceMaker = Callable[[], AbstractContextManager[Path]]
"""Makes the folder of one call without namespaces."""


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


Connect = Callable[[tuple[HostPort, ...], tuple[int, ...], int], "Outlet"]
"""Has a sandbox reach hosts: of its sockets, the streams, and the one for names."""


class Outlet(Protocol):
    """What one sandbox has of whatever connects for it."""

    def end(self) -> object:
        """Close every connection."""


def examine(cache: SandboxCache, place: PlaceMaker, connect: Connect | None = None) -> Findings:
    """Try everything a plan relies on; *connect* is the broker's, None to do without."""
    try:
        facts = kernel.probe()
        gone = spaces.missing()
    except MppError as error:
        return Findings([Check("kernel", "missing", error.message, error.hint)])
    facts = dataclasses.replace(facts, namespaces=gone is None)
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
            checks += _enforcement(facts, cache, python)
            if connect is not None:
                checks += _hosts(facts, cache, python, connect)
        else:
            checks += _without_namespaces(facts, cache, python, place)
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


def _enforcement(facts: kernel.KernelFacts, cache: SandboxCache, python: interpreter.Program) -> list[Check]:
    with tempfile.TemporaryDirectory(prefix="mpp-doctor-") as folder, socket.socket() as listener:
        canary = Path(folder, "canary")
        canary.write_bytes(b"canary")
        canary.chmod(0o666)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        plan = own_plan(
            facts,
            python,
            cache.launcher(python),
            _PROBE,
            limits=_UNHURRIED,
            unruled=((str(canary), CANARY),),
        )
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


def _hosts(
    facts: kernel.KernelFacts, cache: SandboxCache, python: interpreter.Program, connect: Connect
) -> list[Check]:
    """Try what a tool with hosts can reach: a listener of this process by its address, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        granted = (HostPort("127.0.0.1", port),)
        plan = own_plan(
            facts, python, cache.launcher(python), _HOSTS_PROBE, limits=_UNHURRIED, destinations=granted
        )
        threading.Thread(target=_greet, args=(listener,), daemon=True).start()
        outlets: list[Outlet] = []
        try:
            seen = _attempt(
                plan,
                {"port": port},
                cache,
                lambda streams, names: outlets.append(connect(granted, streams, names)),
            )
        except MppError as error:
            return [Check("hosts", "missing", error.message, error.hint)]
        finally:
            for outlet in outlets:
                outlet.end()
            with contextlib.suppress(OSError):  # wakes who waits for a connection that never came
                listener.shutdown(socket.SHUT_RDWR)
    return [
        check("hosts: a granted one", seen["granted"], ("done",), "an answer through the broker"),
        check("hosts: another port", seen["port"], ("EACCES", "ECONNREFUSED"), "a connection"),
        check("hosts: another address", seen["address"], ("ENETUNREACH",), "a connection"),
        check("hosts: listening", seen["listen"], ("ENOSYS", "EACCES"), "a listener of the tool's"),
        check("hosts: other sockets", seen["raw"], ("ENOSYS",), "a raw socket"),
    ]


def _greet(listener: socket.socket) -> None:
    with contextlib.suppress(OSError), listener.accept()[0] as connection:
        connection.sendall(b"hello")


def _without_namespaces(
    facts: kernel.KernelFacts,
    cache: SandboxCache,
    python: interpreter.Program,
    place: PlaceMaker,
) -> list[Check]:
    """Try the profile that is left: each attempt has Landlock or seccomp alone against it."""
    if facts.landlock_abi < properties.TRUNCATE_ABI:
        return []
    with tempfile.TemporaryDirectory(prefix="mpp-doctor-") as folder, socket.socket() as listener:
        canary = Path(folder, "canary")
        canary.write_bytes(b"canary")
        canary.chmod(0o666)
        Path(folder).chmod(0o755)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        request = {
            "hidden": str(canary),
            "canary": str(canary),
            "port": listener.getsockname()[1],
            "host_pid": os.getpid(),
        }
        with place() as here:
            plan = settle(
                _bare_probe_plan(facts, python, cache.launcher(python), limits=Limits()), here, cache
            )
            seen = _attempt(plan, request, cache)
    return [
        check("without namespaces: files", seen["read_hidden"], ("EACCES",), "a path not granted"),
        check("without namespaces: writing", seen["write_canary"], ("EACCES",), "writing to it"),
        check("without namespaces: network", seen["connect"], ("ENOSYS",), "a socket"),
        check("without namespaces: fork", seen["fork"], ("ENOSYS",), "fork"),
        check("without namespaces: execve", seen["execute"], ("EPERM",), "execve after the seal"),
        check("without namespaces: signals", seen["signal_host"], ("EPERM",), "a signal to this process"),
        check("without namespaces: threads", seen["thread"], ("done",), "a thread"),
    ]


def _bare_probe_plan(
    facts: kernel.KernelFacts, python: interpreter.Program, launch: bytes, *, limits: Limits
) -> SandboxPlan:
    """Return the plan of ``doctor`` for a host without namespaces: the same tool, from a copy."""
    build = bare.BareBuilder(facts.landlock_abi, root=facts.root)
    app = f"{bare.HERE}{building.APP}"
    build.system((python,), (python,))
    build.call(app, launcher=True)
    real = python.files[0].source
    whole = own_plan(facts, python, launch, _PROBE, limits=limits)
    return dataclasses.replace(
        whole,
        entries=tuple(build.entries),
        rules=tuple(build.rules),
        rlimits=tuple(row for row in whole.rlimits if facts.root or row[0] != resource.RLIMIT_NPROC),
        tool_profile=tool_profile("python", subprocess=False, mounts=False),
        argv=(real, "-I", "-S", "-B", f"{bare.LAUNCHER}/launch.pyc", _PROBE, app),
        exec_path=real,
        environment=(("HOME", f"{bare.SCRATCH}/home"), ("TMPDIR", bare.SCRATCH), ("LANG", "C.UTF-8")),
        scratch=bare.SCRATCH,
        own_signals=True,
        bare=bare.Bare(launcher.FOLDER, app, launch),
    )


def check(name: str, seen: str, expected: tuple[str, ...], what: str) -> Check:
    """Return the finding that *what* ended as *seen*, which should be one of *expected*."""
    held = seen in expected
    return Check(name, "ok" if held else "failed", f"{what}: {seen}", "" if held else "nothing runs here")


def _attempt(
    plan: SandboxPlan, request: dict[str, Any], cache: SandboxCache, serve: Serve | None = None
) -> dict[str, Any]:
    asked = json.dumps({"arguments": request}).encode()
    done = spawn.run(plan, asked, cache=cache, invocation="00000000-doctor", serve=serve)
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
