"""What do a thousand sandboxes take that wait for their call, and what would end first?

Each sandbox has imported a Python tool and is complete except for what a call brings. The sandboxes are made
one after the other with the project's own ``Parked``: first each one is started, then each one is copied from
one template. One call is made when all of them exist.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path
from typing import Any, Final

from bench.harness import Contestant, facts_of, report
from bench.stage import folder, install_python
from mpp_exec import Runtime
from mpp_exec.errors import MppError
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.template import Template

_SPARE: Final = 2 << 30  # bytes of memory that are left to other processes
_READY: Final = 60.0  # seconds within which a sandbox must be ready
_STEADY: Final = 2 << 20  # bytes by which the memory changes in half a second on an idle machine
_PSS_OF: Final = 50  # sandboxes whose memory is read: reading it takes longer than making them


def run(*, rounds: int, as_json: bool) -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made: list[Parked] = []
    try:
        with folder() as where, Runtime(install_python(where), parked=0) as runtime:
            runtime.call("bench/python", "answer", {})
            kept = [
                _measured(runtime, made, rounds, copied=copied, as_json=as_json) for copied in (False, True)
            ]
            return all(kept)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _measured(runtime: Runtime, made: list[Parked], rounds: int, *, copied: bool, as_json: bool) -> bool:
    made.clear()
    _settle()
    begun, called, ended = (Contestant(name, lambda: None) for name in ("make one", "call, last", "end one"))
    before = _Taken()
    stopped = ""
    with runtime.preparer.prepared("bench/python", "answer") as prepared:
        recipe = prepared.recipe
        template = Template(recipe.plan) if copied else None
        try:
            while len(made) < rounds and not stopped:
                at = time.perf_counter_ns()
                stopped = _one(made, recipe, runtime, template)
                begun.samples.append(time.perf_counter_ns() - at)
                if _available() < _SPARE:
                    stopped = "memory is left to others"
            taken, count = _Taken().since(before), len(made)
            pss = _pss(_children())
        finally:
            at = time.perf_counter_ns()
            for parked in made:
                parked.kill()
            for parked in made:
                parked.close()
            ended.samples.append((time.perf_counter_ns() - at) // max(1, len(made)))
            if template is not None:
                template.close()
        at = time.perf_counter_ns()
        runtime.call("bench/python", "answer", {})
        called.samples.append(time.perf_counter_ns() - at)
    each = {name: value / count for name, value in taken.items()}
    limits = _limits()
    ends = {name: int(limits[name] / each[name]) for name in limits if each.get(name)}
    facts_of(
        f"what sandboxes take that wait, {'copied' if copied else 'started'}",
        {
            "waiting": count,
            "stopped by": stopped or "nothing",
            "PSS of one, MiB": round(pss / (1 << 20), 2),
            "memory of the machine for one, MiB": round(each["memory"] / (1 << 20), 2),
            "descriptors of one": round(each["descriptors"], 2),
            "processes of one": round(each["processes"], 2),
            "would be used up at": ", ".join(
                f"{end:,} ({name})" for name, end in sorted(ends.items(), key=lambda pair: pair[1])
            ),
        },
        as_json=as_json,
    )
    named = f"sandboxes that wait, {'copied' if copied else 'started'}: the time they take"
    report(named, [begun, ended, called], [], as_json=as_json)
    return count == rounds


def _one(made: list[Parked], recipe: Any, runtime: Runtime, template: Template | None) -> str:
    """Make one more sandbox and wait until it is ready; return why it failed, or ""."""
    try:
        parked = Parked(
            recipe.plan,
            constants=recipe.constants,
            cache=runtime.cache,
            early_start=recipe.early_start,
            command=recipe.command,
            template=template,
        )
    except MppError as error:
        return f"{error.code}: {error.message}"
    made.append(parked)
    if parked.is_copied != (template is not None):
        return "the template makes no copies"
    until = time.monotonic() + _READY
    while (state := parked.look(5)) == "preparing" and time.monotonic() < until:
        pass
    return "" if state == "ready" else f"one is {state}"


class _Taken:
    """The resources of the machine, and of this process's limits, that are in use."""

    def __init__(self) -> None:
        self.now = {
            "memory": -_available(),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "processes": len(_children()),
            "namespaces": len({_net(pid) for pid in _children()}),
        }

    def since(self, before: _Taken) -> dict[str, int]:
        return {name: value - before.now[name] for name, value in self.now.items()}


def _limits() -> dict[str, int]:
    return {
        "memory": _available(),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "processes": int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")),
        "namespaces": int(Path("/proc/sys/user/max_net_namespaces").read_text(encoding="ascii")),
    }


def _available() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024


def _settle() -> None:
    """Wait until the resources of ended processes are freed: the kernel frees them asynchronously."""
    until = time.monotonic() + _READY / 6
    last, now = 0, _available()
    while abs(now - last) > _STEADY and time.monotonic() < until:
        time.sleep(0.5)
        last, now = now, _available()


def _children() -> list[int]:
    """Return every process below this one."""
    found, left = [], [os.getpid()]
    while left:
        pid = left.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                found += children
                left += children
    return found


def _net(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def _pss(processes: list[int]) -> float:
    """Return the bytes of one sandbox, averaged over those of *processes*; shared pages count in parts."""
    by_sandbox: dict[str, int] = {}
    for pid in processes:
        name = _net(pid)
        if name not in by_sandbox and len(by_sandbox) >= _PSS_OF:
            continue
        with contextlib.suppress(OSError, StopIteration, ValueError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            kib = int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
            by_sandbox[name] = by_sandbox.get(name, 0) + kib * 1024
    return sum(by_sandbox.values()) / max(1, len(by_sandbox))
