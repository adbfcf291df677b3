"""Compiles grant, manifest and kernel facts into one plan. Nothing here touches the kernel."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from mpp_exec.consent.grant import Grant
from mpp_exec.package.manifest import Manifest, Tool
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import (
    bare,
    cgroup,
    interpreter,
    kernel,
    landlock,
    launcher,
    layout,
    network,
    profiles,
    properties,
)
from mpp_exec.sandbox.building import APP, LAUNCH, SCRATCH, SHOWN, STORAGE, Builder
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.vocabulary import HostPort

# A runtime that reserves address space it never uses cannot start with no more of it than memory. Without any
# bound, reading a byte every 2 MiB would fill the host with page tables, which no limit counts: this much
# address space takes 256 MiB of them at most.
_RESERVING = ("node", "deno", "bun")
_RESERVED = 128 << 30
# For RLIMIT_CPU the kernel counts ticks, each as a whole: beside other processes a tenth more than was used.
# The supervisor, who counts exactly, is to be the first to end a tool.
_TICKS = 1.25
_PAGE = 4096

ProgramFinder = Callable[[Requirement], interpreter.Program]


def compile_plan(
    manifest: Manifest,
    tool: Tool,
    grant: Grant,
    facts: kernel.KernelFacts,
    *,
    app: str,
    storage: str | None,
    find_program: ProgramFinder = interpreter.find,
    find_started: Callable[[str], interpreter.Program] = interpreter.find_started,
    compile_launcher: Callable[[interpreter.Program], bytes] = launcher.compiled,
    find_modules: Callable[[interpreter.Program], interpreter.KeptFile | None] = lambda _: None,
) -> SandboxPlan:
    """Compile the plan of *tool* for this kernel.

    *app* is the folder of the installed files, *storage* the package's private folder (None without
    one); both are real paths of the host. *find_program*, *find_started* and *compile_launcher* find out
    about the host's programs, *find_modules* what has been compiled of the package for one.

    Raises:
        HostError: this host cannot enforce it, or lacks a program; nothing ran.
        ConsentError: a granted path cannot appear at its own path.
    """
    destinations = grant.permissions.network
    at = properties.Situation(
        landlock_abi=facts.landlock_abi,
        root=facts.root,
        namespaces=facts.namespaces,
        python=manifest.runtime.kind == "python",
        subprocess=bool(grant.permissions.subprocess),
        network=bool(destinations),
    )
    degraded = properties.require(facts, at, grant)
    read_only = tool.operation == "read"
    programs = tuple(find_program(requirement) for requirement in required(manifest))
    started = tuple(find_started(name) for name in grant.permissions.subprocess)
    argv, exec_path = _command(manifest, tool, programs)
    launch, modules = b"", None
    if manifest.runtime.kind == "python":
        python = next(program for program in programs if program.name == "python")
        launch, modules = compile_launcher(python), find_modules(python)
    import_once = grant.import_once and bool(launch) and facts.namespaces and not started and launcher.saves()
    runs = _Runs(
        programs, started, _entry_program(programs, exec_path, app), argv, exec_path, launch, _path(modules)
    )
    if facts.namespaces:
        made = _mounted(
            manifest,
            grant,
            runs,
            facts.landlock_abi,
            app=app,
            storage=storage,
            read_only=read_only,
            import_once=import_once,
        )
    else:
        made = bare.made(
            grant,
            programs=programs,
            runnable=runs.runnable,
            argv=argv,
            exec_path=exec_path,
            abi=facts.landlock_abi,
            root=facts.root,
            read_only=read_only,
            app=app,
            storage=storage,
            launch=launch,
            modules=runs.modules,
        )
    return SandboxPlan(
        package=manifest.name,
        version=manifest.version,
        digest=grant.digest,
        tool=tool.name,
        kind=manifest.runtime.kind,
        entries=_told(made.entries, grant.limits, hosts=bool(destinations)),
        rules=tuple(made.rules),
        landlock=landlock.handled(facts.landlock_abi) if facts.landlock_abi else None,
        limits=grant.limits,
        rlimits=_rlimits(grant.limits, grant.permissions.storage, programs, facts),
        tool_profile=profiles.tool_profile(
            manifest.runtime.kind,
            subprocess=bool(started),
            writes=not read_only and bool(grant.permissions.write or storage is not None),
            mounts=facts.namespaces,
            network=bool(destinations),
            restores=import_once,
        ),
        argv=made.argv,
        exec_path=made.exec_path,
        environment=_environment(manifest, tool, made, storage=storage is not None),
        scratch=made.scratch,
        write_roots=() if read_only else grant.permissions.write,
        programs=programs,
        started=started,
        touches=_touches(grant, storage=storage is not None, read_only=read_only),
        degraded=degraded,
        root=facts.root,
        own_signals=at.own_signals,
        storage=made.storage,
        bare=made.bare,
        cgroup=cgroup.bounds(grant.limits, facts.cgroup, facts.processors),
        modules=modules,
        network=destinations,
        streams=network.streams(destinations),
        addresses=network.addresses(destinations),
        import_once=import_once,
    )


class _Runs(NamedTuple):
    """What of the host runs in a sandbox, and how.

    *runnable* is the program that executing *exec_path* executes; *launch* is the launcher of a Python tool,
    and *modules* what has been compiled for it, both empty for any other.
    """

    programs: tuple[interpreter.Program, ...]
    started: tuple[interpreter.Program, ...]
    runnable: tuple[interpreter.Program, ...]
    argv: tuple[str, ...]
    exec_path: str
    launch: bytes
    modules: str


def _mounted(
    manifest: Manifest,
    grant: Grant,
    runs: _Runs,
    landlock_abi: int,
    *,
    app: str,
    storage: str | None,
    read_only: bool,
    import_once: bool,
) -> bare.Made:
    """Return what is mounted in a sandbox with namespaces, in the order in which it is: grants come late."""
    mounted_read_only = (*grant.permissions.read, *(grant.permissions.write if read_only else ()))
    over_scratch = tuple(path for path in grant.permissions.write if path == SCRATCH)
    build = Builder(landlock_abi, (*mounted_read_only, *over_scratch), network.etc(grant.permissions.network))
    build.system((*runs.programs, *runs.started), (*runs.runnable, *runs.started))
    build.package(app, manifest)
    if runs.launch:
        build.launcher(launcher.FOLDER, runs.launch, runs.modules, import_once=import_once)
    build.scratch(grant.limits.scratch)
    build.layout.late = True
    build.grants(grant, read_only=read_only)
    if storage is not None:
        build.storage(storage, read_only=read_only)
    if manifest.runtime.kind != "python":
        build.entry_point(runs.exec_path)
    return bare.Made(
        build.layout.entries,
        build.rules,
        runs.argv,
        runs.exec_path,
        build.scratch_path,
        STORAGE,
        f"{interpreter.PROGRAMS}:{interpreter.PYTHON_ROOT}/bin",
    )


def _touches(grant: Grant, *, storage: bool, read_only: bool) -> tuple[str, ...]:
    """Return by what a call can touch the outside, so that it is on record before it begins."""
    ways = (
        ("network", bool(grant.permissions.network)),
        ("write", bool(grant.permissions.write) and not read_only),
        ("storage", storage and not read_only),
        ("subprocess", bool(grant.permissions.subprocess)),
    )
    return tuple(way for way, is_open in ways if is_open)


def _environment(
    manifest: Manifest, tool: Tool, made: bare.Made, *, storage: bool
) -> tuple[tuple[str, str], ...]:
    return (
        ("PATH", made.path),
        ("HOME", f"{made.scratch}/home"),
        ("TMPDIR", made.scratch),
        ("LANG", "C.UTF-8"),
        ("MPP_PACKAGE", f"{manifest.name}@{manifest.version}"),
        ("MPP_TOOL", tool.name),
        *((("MPP_STORAGE", made.storage),) if storage else ()),
    )


def _path(modules: interpreter.KeptFile | None) -> str:
    return "" if modules is None or not modules.is_good else modules.path


def required(manifest: Manifest) -> tuple[Requirement, ...]:
    """Return the host programs that a package runs on."""
    named = manifest.runtime.requires
    if manifest.runtime.kind == "python" and not any(each.name == "python" for each in named):
        return (Requirement("python", ">=3.11"), *named)
    return named


def own_plan(
    facts: kernel.KernelFacts,
    python: interpreter.Program,
    launch: bytes,
    entry: str,
    *,
    limits: Limits,
    shown: tuple[tuple[str, str], ...] = (),
    unruled: tuple[tuple[str, str], ...] = (),
    destinations: tuple[HostPort, ...] = (),
) -> SandboxPlan:
    """Return the plan of a tool of the project's own, *entry* of ``inside``.

    *shown* are folders of the host that it may read, and where it finds them; *unruled* is mounted for
    writing, and named by no rule of Landlock. *destinations* are hosts that it may reach.
    """
    build = Builder(facts.landlock_abi, etc=network.etc(destinations))
    build.system((python,), (python,))
    build.launcher(launcher.FOLDER, launch)
    build.layout.bind(launcher.FOLDER, APP, layout.CODE)
    build.rule(APP, landlock.READ, is_dir=True)
    for source, target in shown:
        build.layout.bind(source, target, layout.READ_ONLY)
        build.rule(target, landlock.READ, is_dir=True)
    build.scratch(limits.scratch)
    for source, target in unruled:
        build.layout.bind(source, target, layout.WRITABLE)
    argv = (python.path, "-I", "-S", "-B", LAUNCH, entry, APP)
    return SandboxPlan(
        package="mpp-exec/own",
        version="0.0.0",
        digest="",
        tool=entry.partition(":")[2],
        kind="python",
        entries=_told(build.layout.entries, limits),
        rules=tuple(build.rules),
        landlock=landlock.handled(facts.landlock_abi),
        limits=limits,
        rlimits=_rlimits(limits, 0, (python,), facts),
        tool_profile=profiles.tool_profile("python", subprocess=False, network=bool(destinations)),
        argv=argv,
        exec_path=python.path,
        environment=(
            ("PATH", "/bin"),
            ("HOME", build.home),
            ("TMPDIR", build.scratch_path),
            ("LANG", "C.UTF-8"),
        ),
        scratch=build.scratch_path,
        write_roots=(),
        programs=(python,),
        started=(),
        touches=(),
        degraded=(),
        root=facts.root,
        cgroup=cgroup.bounds(limits, facts.cgroup, facts.processors),
        network=destinations,
        streams=network.streams(destinations),
        addresses=network.addresses(destinations),
    )


def _command(
    manifest: Manifest, tool: Tool, programs: tuple[interpreter.Program, ...]
) -> tuple[tuple[str, ...], str]:
    if manifest.runtime.kind == "python":
        python = next(program for program in programs if program.name == "python")
        folders = [f"{APP}/{folder}" if folder != "." else APP for folder in manifest.runtime.path] + [APP]
        # -I: no variables, no user site; -S: no site-packages; -B: nothing is written beside the sources.
        argv = (python.path, "-I", "-S", "-B", LAUNCH, tool.entry, *folders)
        return argv, python.path
    first, *rest = manifest.runtime.command
    name = first.removesuffix("3") if first.startswith("python") else first
    program = next((each for each in programs if each.name in (first, name)), None)
    path = program.path if program is not None else f"{APP}/{first.removeprefix('${app}/')}"
    return (path, *rest), path


def _entry_program(
    programs: tuple[interpreter.Program, ...], exec_path: str, app: str
) -> tuple[interpreter.Program, ...]:
    """Return the host program that executing the entry executes: itself, or the one its first line names.

    A package that requires several interpreters runs on one of them; starting another one is what
    ``subprocess`` is for.
    """
    if not exec_path.startswith(f"{APP}/"):
        return tuple(program for program in programs if program.path == exec_path)
    try:
        with open(app + exec_path[len(APP) :], "rb") as file:  # noqa: PTH123 - two bytes of it decide
            first = file.readline(256)
    except OSError:
        return ()
    if not first.startswith(b"#!"):
        return ()
    name = os.fsdecode(first[2:].split(maxsplit=1)[0]).rpartition("/")[2] if first[2:].split() else ""
    wanted = (name, "python") if name.startswith("python") else (name,)
    return tuple(program for program in programs if program.name in wanted)


def _rlimits(
    limits: Limits, storage: int, programs: tuple[interpreter.Program, ...], facts: kernel.KernelFacts
) -> tuple[tuple[int, int, int], ...]:
    cpu = max(1, math.ceil(limits.cpu_ms / 1000 * _TICKS))
    # Beyond what scratch holds: a tool that fills it is told ENOSPC, and not killed by SIGXFSZ.
    file_size = max(limits.scratch, storage) + _PAGE
    # One for init, which is of the same user in the same namespace; and one more where a cgroup is to be the
    # first to refuse, since it counts what it refused.
    processes = limits.processes + (2 if facts.cgroup else 1)
    reserved = _RESERVED if any(program.name in _RESERVING for program in programs) else 0
    rows = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: (file_size, file_size),
        resource.RLIMIT_DATA: (limits.memory, limits.memory),
        resource.RLIMIT_AS: (limits.memory + reserved, limits.memory + reserved),
        resource.RLIMIT_STACK: (8 << 20, 8 << 20),
        # 1, not 0: with a core_pattern that is a pipe, 0 still starts the host's helper.
        resource.RLIMIT_CORE: (1, 1),
        resource.RLIMIT_NPROC: (processes, processes),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_MEMLOCK: (65536, 65536),
        resource.RLIMIT_SIGPENDING: (256, 256),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_NICE: (0, 0),
        resource.RLIMIT_RTPRIO: (0, 0),
    }
    if not (facts.namespaces or facts.root):
        # Without a user namespace it would count all processes of the user's; the supervisor counts instead.
        del rows[resource.RLIMIT_NPROC]
    return tuple((number, soft, hard) for number, (soft, hard) in sorted(rows.items()))


def _told(entries: Iterable[Entry], limits: Limits, *, hosts: bool = False) -> tuple[Entry, ...]:
    """Return *entries* with the launcher told what all of them show, where there is a place for it."""
    made = tuple(entries)
    text = layout.shown(made, limits.output, hosts=hosts)
    return tuple(replace(entry, data=text) if entry.target == SHOWN else entry for entry in made)
