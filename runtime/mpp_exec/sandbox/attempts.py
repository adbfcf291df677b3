"""Self-test sandboxes that try what a tool may not do, with one mechanism at a time.

File access is tried with Landlock alone and with the mount namespace alone; network access with seccomp
alone and with the network namespace alone. Nothing leaves this machine: connections go to a listener of this
process on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mpp_exec.errors import HostError, MppError
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import bare, building, interpreter, kernel, launcher, properties, spawn
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.network import Serve
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.planning import own_plan
from mpp_exec.sandbox.profiles import tool_profile
from mpp_exec.sandbox.settle import settle
from mpp_exec.vocabulary import HostPort

_CANARY = "/canary"
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

Connect = Callable[[tuple[HostPort, ...], tuple[int, ...], int], "Outlet"]
"""Has a sandbox reach hosts: of its sockets, the streams, and the one for names."""


class Outlet(Protocol):
    """What one sandbox has of whatever connects for it."""

    def end(self) -> object:
        """Close every connection."""


@contextlib.contextmanager
def _bait() -> Iterator[tuple[str, int]]:
    """Yield what only a sandbox can keep a tool from: a file that all may write to, a port of loopback."""
    with tempfile.TemporaryDirectory(prefix="mpp-doctor-") as folder, socket.socket() as listener:
        canary = Path(folder, "canary")
        canary.write_bytes(b"canary")
        canary.chmod(0o666)
        Path(folder).chmod(0o755)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield str(canary), listener.getsockname()[1]


def enforcement(facts: kernel.KernelFacts, cache: SandboxCache, python: interpreter.Program) -> list[Check]:
    """Try what a tool with nothing granted can reach where there are namespaces."""
    with _bait() as (canary, port):
        plan = own_plan(
            facts,
            python,
            cache.launcher(python),
            _PROBE,
            limits=_UNHURRIED,
            unruled=((canary, _CANARY),),
        )
        request = {
            "hidden": canary,
            "canary": _CANARY,
            "port": port,
            "host_pid": os.getpid(),
        }

        def attempt(variant: SandboxPlan) -> dict[str, Any]:
            return _attempt(variant, request, cache)

        whole = attempt(plan)
        without_landlock = attempt(replace(plan, landlock=None))
        sockets = (Allow("socket", "tried by doctor"), Allow("connect", "tried by doctor"))
        sockets_allowed = replace(plan, tool_profile=(*plan.tool_profile, *sockets))
        rights, _, scopes = plan.landlock or (0, 0, 0)
        namespace_alone = attempt(replace(sockets_allowed, landlock=(rights, 0, scopes)))

    return [
        _finding(
            "files: mount namespace alone",
            without_landlock["read_hidden"],
            ("ENOENT",),
            "a path not granted",
        ),
        _finding("files: Landlock alone", whole["read_canary"], ("EACCES",), "a mounted file without a rule"),
        _finding("files: writing", whole["write_package"], ("EROFS", "EACCES"), "writing into the package"),
        _finding("files: scratch", whole["write_scratch"], ("done",), "writing into /tmp"),
        _finding("network: seccomp alone", whole["connect"], ("ENOSYS",), "a socket"),
        _finding("network: namespace alone", namespace_alone["connect"], ("ENETUNREACH",), "a connection"),
        _finding("processes: fork", whole["fork"], ("ENOSYS",), "fork"),
        _finding("processes: execve", whole["execute"], ("EPERM",), "execve after the seal"),
        _finding("processes: threads", whole["thread"], ("done",), "a thread"),
        _finding(
            "signals: PID namespace", whole["signal_host"], ("ESRCH", "EPERM"), "a signal to this process"
        ),
        _finding("identity", whole["identity"], ("1000:1000",), "user and group inside"),
    ]


def hosts(
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
        _finding("hosts: a granted one", seen["granted"], ("done",), "an answer through the broker"),
        _finding("hosts: another port", seen["port"], ("EACCES", "ECONNREFUSED"), "a connection"),
        _finding("hosts: another address", seen["address"], ("ENETUNREACH",), "a connection"),
        _finding("hosts: listening", seen["listen"], ("ENOSYS", "EACCES"), "a listener of the tool's"),
        _finding("hosts: other sockets", seen["raw"], ("ENOSYS",), "a raw socket"),
    ]


def _greet(listener: socket.socket) -> None:
    with contextlib.suppress(OSError), listener.accept()[0] as connection:
        connection.sendall(b"hello")


def without_namespaces(
    facts: kernel.KernelFacts,
    cache: SandboxCache,
    python: interpreter.Program,
    place: PlaceMaker,
) -> list[Check]:
    """Try the profile that is left: each attempt has Landlock or seccomp alone against it."""
    if facts.landlock_abi < properties.TRUNCATE_ABI:
        return []
    with _bait() as (canary, port):
        request = {
            "hidden": canary,
            "canary": canary,
            "port": port,
            "host_pid": os.getpid(),
        }
        with place() as here:
            plan = settle(
                _bare_probe_plan(facts, python, cache.launcher(python), limits=Limits()), here, cache
            )
            seen = _attempt(plan, request, cache)
    return [
        _finding("without namespaces: files", seen["read_hidden"], ("EACCES",), "a path not granted"),
        _finding("without namespaces: writing", seen["write_canary"], ("EACCES",), "writing to it"),
        _finding("without namespaces: network", seen["connect"], ("ENOSYS",), "a socket"),
        _finding("without namespaces: fork", seen["fork"], ("ENOSYS",), "fork"),
        _finding("without namespaces: execve", seen["execute"], ("EPERM",), "execve after the seal"),
        _finding("without namespaces: signals", seen["signal_host"], ("EPERM",), "a signal to this process"),
        _finding("without namespaces: threads", seen["thread"], ("done",), "a thread"),
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
    return replace(
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


def _finding(name: str, seen: str, expected: tuple[str, ...], what: str) -> Check:
    """Return the finding that *what* ended as *seen*, which should be one of *expected*."""
    held = seen in expected
    return Check(name, "ok" if held else "failed", f"{what}: {seen}", "" if held else "nothing runs here")


def _attempt(
    plan: SandboxPlan, request: dict[str, Any], cache: SandboxCache, serve: Serve | None = None
) -> dict[str, Any]:
    asked = json.dumps({"arguments": request}).encode()
    done = spawn.run(plan, Call(asked, "00000000-doctor", serve=serve), cache=cache)
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
