"""One invocation: from a plan and a request to what came out of the sandbox."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from mpp_exec.errors import HostError, InternalError
from mpp_exec.sandbox import cgroup, native, scarce, supervise
from mpp_exec.sandbox.access import Access, read_notes, watched_rows
from mpp_exec.sandbox.appeared import appeared
from mpp_exec.sandbox.bounds import bounds_of
from mpp_exec.sandbox.bpf import RET_USER_NOTIF
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.call import Brought, Call
from mpp_exec.sandbox.ground import FindGround
from mpp_exec.sandbox.outcome import Outcome, judge
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.special import mounts_of, survey
from mpp_exec.sandbox.supervise import Made, RawOutcome

# No more than a spawn on a loaded machine needs; the wall limit of the call runs from the same moment.
# A parked sandbox was cloned before.
_STAGES = (("clone", "started", "cloned"), ("prepare", "cloned", "sent"), ("confine", "sent", "ready"))
_PARKED_STAGES = (("release", "started", "sent"), ("confine", "sent", "ready"))


class Completed(NamedTuple):
    """What is left of an invocation. All of its processes are dead, and reaped but for what leaves.

    Attributes:
        outcome: one of the contract's words; ``reason`` says it in a sentence, "" for ``ok``.
        output: what it wrote to descriptor 1, ``errors`` to descriptor 2, together within the bound.
        cut: it was stopped from outside, so either may end in the middle of what it wrote.
        timing: µs by stage: clone, prepare, confine, run, reap. ``restored`` is no stage, and there only
            where the sandbox was restored from a snapshot: what that took, before the call.
        cpu_us, memory_peak, processes_peak: what it used (bytes; processes and threads). With a cgroup, what
            the kernel counted, the kernel's own memory and pages of files included; else sampled.
        accesses: what a traced call asked the kernel for; ``accesses_lost`` counts those beyond the bound.
        appeared: files that other programs obey, and that were not there when it began.
    """

    outcome: Outcome
    reason: str
    output: bytes
    errors: bytes
    timing: Mapping[str, int]
    cpu_us: int
    memory_peak: int
    processes_peak: int
    accesses: tuple[Access, ...] = ()
    accesses_lost: int = 0
    appeared: tuple[str, ...] = ()
    cut: bool = False


def run(
    plan: SandboxPlan,
    call: Call,
    *,
    cache: SandboxCache,
    traced: bool = False,
    parked: Parked | None = None,
    look: Callable[[], object] = lambda: None,
    until: contextlib.ExitStack | None = None,
    ground: FindGround = lambda _: None,
) -> Completed:
    """Run *plan* once for *call*, in a sandbox that nothing else has seen. The calling thread waits.

    A *traced* call is confined in the same way, and watched. A *parked* sandbox, made from this plan, is used
    up. Where the call does not fit it any more, another one is made, after a *look* at the installed files,
    which raises where they are not what was signed. One that is made for this call is built on the *ground*
    of its message, where there is one. What the kernel is still freeing of it is waited for when *until*
    ends; without *until*, before this returns.

    Raises:
        HostError: a step of the spawn was refused by this kernel, or a granted path or a cgroup changed;
            a write grant holds more files to protect than can be mounted.
        InternalError: the machine lacks memory, descriptors or processes.
    """
    if traced and plan.bare is not None:
        raise HostError(
            "host.trace_without_namespaces",
            "without namespaces a trace could not tell what was refused from what the host has anyway",
            "trace it on a host with namespaces; without a trace the tool runs as ever",
        )
    if traced and not native.seccomp_has(RET_USER_NOTIF):
        raise HostError(
            "host.no_user_notification",
            "this kernel offers no seccomp user notification, so nothing can be watched",
            "Linux 5.5 or later has it; without a trace the tool runs as ever",
        )
    limits = plan.limits
    if call.wall_ms and call.wall_ms < limits.wall_ms:
        limits = replace(limits, wall_ms=call.wall_ms)
    before = survey(plan)
    brought = Brought(
        call,
        call.request,
        special=mounts_of(plan, before) if plan.bare is None else (),
        wall_ns=limits.wall_ms * 1_000_000,
        cache=cache,
    )
    if parked is not None:
        raw = parked.call(brought)
    if parked is None or (raw.step != "none" and parked.is_unaware(raw.step)):
        # What was prepared does not fit any more, and nothing of the call has reached it: from the beginning.
        if parked is not None and parked.image is not None:
            look()  # it would not have had the installed files
        if parked is not None and call.dialogue is not None:
            brought = brought._replace(request=call.dialogue.opening())
        made = _served if plan.streams else _cold
        raw = made(plan, brought, traced=traced, until=until, ground=ground)
    # One that was cloned for this call is another one.
    restored = parked.restored_us if parked is not None and not raw.stamps["cloned"] else 0
    if raw.step != "none":
        entries = (*plan.entries, *brought.special)
        raise _spawn_error(raw, [entry.target for entry in entries], [path for path, _ in plan.rules])
    if call.told_ms is not None and limits.wall_ms < plan.limits.wall_ms:
        limits = replace(limits, wall_ms=call.told_ms)
    outcome, reason = judge(raw, limits)
    return Completed(
        outcome=outcome,
        reason=reason,
        output=raw.output,
        errors=raw.errors,
        timing=_timing(raw.stamps, restored),
        cpu_us=raw.user_us + raw.system_us,
        memory_peak=raw.memory_peak or raw.resident_peak,
        processes_peak=raw.processes_peak,
        accesses=read_notes(plan.tool_profile, raw.notes),
        accesses_lost=raw.notes_lost,
        appeared=appeared(plan, before),
        cut=_is_cut(plan, raw),
    )


def _cold(
    plan: SandboxPlan,
    brought: Brought,
    *,
    traced: bool,
    until: contextlib.ExitStack | None,
    ground: FindGround,
) -> RawOutcome:
    """Build a sandbox for this call alone, and run it. Until when its end may be put off, see ``run``."""
    call = brought.call
    message = brought.message(plan, traced=traced)
    found = None if traced else ground(message)
    with contextlib.ExitStack() as here:
        group = (here if until is None else until).enter_context(cgroup.entered(plan.cgroup))
        raw = supervise.invoke(
            message,
            brought.request,
            bounds=bounds_of(plan),
            made=Made(
                cgroup_fd=group,
                watched=watched_rows(plan.tool_profile) if traced else (),
                alone=not plan.started,
                ground=native.ffi.NULL if found is None else found.handle,
            ),
            wall_ns=brought.wall_ns,
            cancel_fd=call.cancel_fd,
            dialogue=call.dialogue,
            meanwhile=call.meanwhile,
            until=until,
        )
    if found is not None and not raw.grounded:
        found.fits = False
    return raw


def _served(
    plan: SandboxPlan,
    brought: Brought,
    *,
    traced: bool,
    until: contextlib.ExitStack | None,  # noqa: ARG001 -- as _cold
    ground: FindGround,
) -> RawOutcome:
    """As :func:`_cold`, of a plan with hosts: built first, then served, and only then is there a tool."""
    made = Parked(plan, constants=(), cache=brought.cache, early_start=False, traced=traced, ground=ground)
    began = time.monotonic_ns()  # what is compiled for a first call takes from no call's time
    try:
        while made.look(100) == "preparing":
            continue  # within the limit of time, which is that of its call
        if made.state != "ready":
            return _lost(made.failure())
        took = time.monotonic_ns() - began
        return made.call(brought._replace(wall_ns=max(1, brought.wall_ns - took)))
    finally:
        made.close()


def _lost(raw: RawOutcome) -> RawOutcome:
    """Return *raw* as the end that it is: one that ended without a word is lost."""
    return raw if raw.step != "none" or raw.stop != "none" else raw._replace(stop="lost")


def _is_cut(plan: SandboxPlan, raw: RawOutcome) -> bool:
    """Return whether it was stopped in the middle of what it wrote. A launcher answers behind that."""
    if raw.stop == "answered" and plan.kind == "python":
        return False
    return raw.stop != "none" or os.WIFSIGNALED(raw.status)


def _timing(stamps: Mapping[str, int], restored: int) -> dict[str, int]:
    timing: dict[str, int] = {"restored": restored} if restored else {}
    for name, begin, end in _PARKED_STAGES if not stamps["cloned"] else _STAGES:
        first, second = stamps[begin], stamps[end]
        if first and second >= first:
            timing[name] = (second - first) // 1000
    last = stamps["exited"] or stamps["stopped"] or stamps["reaped"]
    if stamps["ready"]:
        timing["run"] = (last - stamps["ready"]) // 1000
    timing["reap"] = max(0, stamps["reaped"] - last) // 1000
    return timing


_EXHAUSTED = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC, errno.EUSERS)

_NAMESPACES = (
    "user namespaces cannot be had here: check kernel.unprivileged_userns_clone, user.max_user_namespaces, "
    "an AppArmor restriction (Ubuntu) or a container's seccomp profile; mpp-exec doctor tries each"
)
_ROOT = "this root may not become another user or give up its rights: run mpp-exec as an unprivileged user"
_OF_ENTRIES = ("source", "tree", "idmap_mount", "image", "hand_over", "layout")  # detail is an entry's index
_HINTS = {
    "clone": _NAMESPACES,
    "id_map": _NAMESPACES,
    "ids": _ROOT,  # with namespaces it was seen to work before
    "capabilities": _ROOT,
    "hand_over": _ROOT,
    "root": _NAMESPACES,
    "idmap_mount": "the file system of a writable grant has no idmapped mounts: run as an unprivileged user, "
    "or grant a folder on another file system",
    "network": "the kernel refused a network of its own: is IPv6 off where an address of it is granted? is "
    "/proc/sys read-only, as in many containers, and no cgroup delegated that would count instead?",
    "watch": "what a container or another sandbox watches through seccomp can have no second watcher: "
    "trace outside of it",
    "landlock": "the kernel refused the Landlock rules it announced; run mpp-exec doctor",
    "exec": "the entry cannot be executed: is the home on a noexec mount? mpp-exec --home DIR names another",
    "exec_init": "the init program of mpp-exec cannot be executed: is it on a noexec mount?",
}


def _spawn_error(raw: RawOutcome, targets: list[str], rules: list[str]) -> HostError | InternalError:
    """Turn a failed step into an error that names it, what it was about, and what to do."""
    about = ""
    if raw.step in _OF_ENTRIES and raw.detail < len(targets):
        about = f" for {targets[raw.detail]}"
    elif raw.step == "landlock" and raw.detail < len(rules):
        about = f" for {rules[raw.detail]}"
    said = f"the sandbox could not be built: {raw.step}{about}: {os.strerror(raw.error)}"
    if scarce.is_used_up(raw.step, raw.error):
        return scarce.used_up(said)
    # clone(2) says ENOSPC or EUSERS where user.max_*_namespaces are 0: that is no full disk.
    if raw.error in _EXHAUSTED and not (raw.step == "clone" and raw.error in (errno.ENOSPC, errno.EUSERS)):
        return InternalError(
            "host.exhausted",
            said,
            "the machine is out of memory, descriptors or processes; try again later",
        )
    if raw.error == errno.ESTALE or (raw.step == "source" and raw.error in (errno.ENOENT, errno.ELOOP)):
        return HostError(
            "host.grant_changed",
            said,
            "the path changed since it was approved; approve again with the new one",
        )
    return HostError(
        f"host.spawn_{raw.step}", said, _HINTS.get(raw.step, "mpp-exec doctor says what is missing")
    )
