"""Builds the message that init reads: a plan, completed with what differs from call to call."""

from __future__ import annotations

import resource
from dataclasses import replace

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import bare, layout, native, profiles
from mpp_exec.sandbox.building import APP, HOST_NAME, LAUNCH, RESTORE, TOOL_ID
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.encoded import encode_plan
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan, with_seal
from mpp_exec.sandbox.watching import told_profile

Variables = tuple[tuple[str, str], ...]

# Where the number of an invocation stands in a kept message until it is known; no text of a plan holds it.
_UNNUMBERED = "\x01" * 36


def for_call(
    plan: SandboxPlan,
    special: tuple[Entry, ...],
    *,
    arguments: tuple[str, ...] | None,
    variables: Variables,
    cache: SandboxCache,
    invocation: str,
    traced: bool = False,
    early_start: bool = False,
) -> bytes:
    """Return the message of one call; *special* are the mounts that lie over those of the plan.

    Calls that differ in nothing but their number share one encoding. *early_start* is for a sandbox
    that was parked so.

    Raises:
        InternalError: it does not fit.
    """
    argv = plan.argv if arguments is None else arguments
    if plan.bare is not None:
        argv, variables = _placed(plan, argv, variables)

    def encode(number: str) -> bytes:
        return _encode(
            plan,
            (*_with_programs(plan, cache, traced=traced), *special),
            argv=argv,
            environment=(*plan.environment, ("MPP_INVOCATION", number), *variables),
            cache=cache,
            traced=traced,
            early_start=early_start,
        )

    if len(invocation) != len(_UNNUMBERED) or plan.bare is not None:
        return encode(invocation)
    template = cache.message(
        plan, (special, argv, variables, traced, early_start), lambda: encode(_UNNUMBERED)
    )
    mark = _UNNUMBERED.encode()
    if template.count(mark) != 1:
        return encode(invocation)
    return template.replace(mark, invocation.encode("ascii"))


def for_parking(
    plan: SandboxPlan,
    *,
    constants: Variables,
    cache: SandboxCache,
    early_start: bool,
    command: tuple[str, ...] | None = None,
    of_image: bool = False,
    traced: bool = False,
    snapshot: int = 0,
) -> bytes:
    """Return the message that a sandbox is prepared from, ahead of its call.

    With *early_start* the Python tool or MCP server is started, by *command* if given, and has the
    variables *constants*, which every call has and which are nobody's secret. Otherwise both come with
    the call. One that is *of_image* gets the package's files from there. A *traced* one is not started early.
    *snapshot* is what is done with the one that it is given: ``SNAPSHOT_SAVED``, ``SNAPSHOT_RESTORED``, or 0.

    Raises:
        InternalError: it does not fit.
    """
    argv = plan.argv if command is None else command
    if early_start and plan.kind == "python":
        at = argv.index(LAUNCH) + 1
        argv = (*argv[:at], "--saved" if snapshot == native.SNAPSHOT_SAVED else "--parked", *argv[at:])
    entries = _with_programs(plan, cache, traced=traced)
    return _encode(
        plan,
        _of_image(entries) if of_image else entries,
        argv=argv,
        environment=(*plan.environment, *(constants if early_start else ())),
        cache=cache,
        traced=traced,
        early_start=early_start,
        snapshot=snapshot,
    )


def _encode(
    plan: SandboxPlan,
    entries: tuple[Entry, ...],
    *,
    argv: tuple[str, ...],
    environment: Variables,
    cache: SandboxCache,
    traced: bool = False,
    early_start: bool = False,
    snapshot: int = 0,
) -> bytes:
    return encode_plan(
        entries=entries,
        rules=plan.rules,
        limits=_with_room(plan) if snapshot == native.SNAPSHOT_SAVED else plan.rlimits,
        filter_program=cache.filter(told_profile(plan.tool_profile) if traced else plan.tool_profile),
        watch_program=cache.watch(plan.tool_profile) if traced else b"",
        guard_program=cache.filter(profiles.init_profile(namespaces=plan.bare is None)),
        argv=argv,
        environment=environment,
        exec_path=RESTORE if snapshot == native.SNAPSHOT_RESTORED else plan.exec_path,
        working_directory=plan.scratch,
        host_name=HOST_NAME,
        uid=TOOL_ID,
        landlock=plan.landlock,
        root_attributes=layout.READ_ONLY,
        own_signals=plan.own_signals,
        processors=plan.processors,
        late=plan.late,
        early_start=early_start,
        streams=plan.streams,
        addresses=plan.addresses,
        snapshot=snapshot,
        few_buffers=bool(plan.streams) and not plan.cgroup,
    )


def _with_room(plan: SandboxPlan) -> tuple[tuple[int, int, int], ...]:
    """Return the limits of a process of *plan* that writes all of its memory into one file.

    What it may write to besides is its scratch, which is bounded by its own size.
    """
    return tuple(
        (number, max(soft, plan.limits.memory), max(hard, plan.limits.memory))
        if number == resource.RLIMIT_FSIZE
        else (number, soft, hard)
        for number, soft, hard in plan.rlimits
    )


def _placed(
    plan: SandboxPlan, argv: tuple[str, ...], variables: Variables
) -> tuple[tuple[str, ...], Variables]:
    """Return what was put into the plan for one call with the folder of that call in it."""
    assert plan.bare is not None
    place = plan.bare.place
    if place == bare.HERE:
        raise InternalError("sandbox.unsettled", "a plan without namespaces was run without a folder for it")
    moved = tuple(bare.at(text, place) for text in argv)
    return moved, tuple((name, bare.at(value, place)) for name, value in variables)


def _of_image(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return *entries* with the package's files from its image, and from nowhere else."""
    return tuple(
        replace(entry, flags=entry.flags | native.ENTRY_IMAGE)
        if entry.kind == "bind" and entry.target == APP
        else entry
        for entry in entries
    )


def _with_programs(plan: SandboxPlan, cache: SandboxCache, *, traced: bool) -> tuple[Entry, ...]:
    if plan.kind != "python" or plan.bare is not None:
        return plan.entries
    seal = cache.seal(profiles.SEALED_WITH_PROGRAMS if plan.started else profiles.SEALED_AWAY)
    return with_seal(plan, seal, traced=traced)
