"""A plan in words: what the tool can reach, through which mechanism, and what this host cannot enforce."""

from __future__ import annotations

import os
from typing import Any

from mpp_exec.consent.grant import Grant
from mpp_exec.consent.present import stays_read_only
from mpp_exec.permissions import DEGRADATIONS, IMPORTED_ONCE, Limits
from mpp_exec.sandbox import bare, layout, native, properties, surface
from mpp_exec.sandbox.kernel import KernelFacts
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.vocabulary import format_size

_ZONE = os.path.realpath("/etc/localtime")


def explain(plan: SandboxPlan, facts: KernelFacts) -> dict[str, Any]:
    """Return the plan as one JSON document: reach, mechanisms, limits, degradations, digest."""
    mounted = (*plan.programs, *plan.started)
    system = {
        file.target if plan.bare is None else file.source for program in mounted for file in program.files
    }
    reach = [
        {"path": _shown(entry.target), "source": _shown(entry.source), "access": _access(plan, entry)}
        for entry in plan.entries
        if entry.kind in ("bind", "hold")
        and entry.target not in system
        and not entry.target.startswith(("/dev/", "/mpp/", "/etc/", bare.SCRATCH, bare.LAUNCHER))
        and not (plan.bare is not None and entry.target == _ZONE)
    ]
    hidden = [
        entry.target for entry in plan.entries if entry.kind == "tmpfs" and entry.flags & native.ENTRY_EXISTS
    ]
    return {
        "package": plan.package,
        "version": plan.version,
        "digest": plan.digest,
        "tool": plan.tool,
        "plan": plan.fingerprint(),
        "command": [_shown(word) for word in plan.argv],
        "filesystem": reach,
        "scratch": _shown(plan.scratch),
        "hidden": hidden,
        "programs": [
            {
                "name": program.name,
                "version": program.version,
                "source": program.files[0].source,
                "executable": [file.target for file in program.files if file.executable],
                "libraries": [file.source for file in program.files if not file.executable],
            }
            for program in plan.programs
        ],
        "starts": [
            {
                "name": program.name,
                "executable": [file.source for file in program.files if file.executable],
                "readable": [file.source for file in program.files if not file.executable],
            }
            for program in plan.started
        ],
        "network": [str(each) for each in plan.network] or "none",
        "variables": [name for name, _ in plan.environment],
        "touches": list(plan.touches),
        "limits": _limits(plan.limits),
        "mechanisms": mechanisms(plan, facts),
        "system_calls": _system_calls(plan),
        "import_once": plan.import_once,
        "degraded": list(plan.degraded),
        "single": _single(plan, facts),
        "exposed": list(DEGRADATIONS["namespaces"]) if plan.bare is not None else [],
    }


def _system_calls(plan: SandboxPlan) -> int:
    """Return how many system calls the tool's own code can make, some with certain arguments only."""
    return len(surface.sealed(plan.tool_profile, plan.kind, subprocess=bool(plan.started)))


def _single(plan: SandboxPlan, facts: KernelFacts) -> dict[str, str]:
    """Return the properties that one mechanism enforces, since a person agreed to it."""
    rows = properties.properties(plan.situation(facts))
    return {each.holds: each.working[0] for each in rows if len(each.working) < properties.ENOUGH}


def _access(plan: SandboxPlan, entry: layout.Entry) -> str:
    if entry.target == plan.app:
        return "read (the package)"
    if entry.target == plan.storage:
        return "read (its storage)" if entry.attributes & native.MOUNT_RDONLY else "read, write (its storage)"
    return "read" if entry.attributes & native.MOUNT_RDONLY else "read, write"


def _shown(path: str) -> str:
    return path.replace(bare.HERE, "a folder of the call's own")


def _limits(limits: Limits) -> dict[str, int]:
    return {
        "wall_ms": limits.wall_ms,
        "cpu_ms": limits.cpu_ms,
        "memory": limits.memory,
        "processes": limits.processes,
        "open_files": limits.open_files,
        "output": limits.output,
        "scratch": limits.scratch,
    }


def mechanisms(plan: SandboxPlan, facts: KernelFacts) -> dict[str, list[str]]:
    """Return, for each property, what enforces it on this host."""
    return {
        **{each.name: list(each.working) for each in properties.properties(plan.situation(facts))},
        "system calls": [f"seccomp: {_system_calls(plan)} calls, all others ENOSYS", "no capabilities"],
        "output": ["supervisor's bound"],
    }


def granted(plan: SandboxPlan, grant: Grant) -> dict[str, Any]:
    """Return what *plan* makes of *grant*: each entry with what holds a tool to it, what was withheld.

    And what stays read-only inside of what it may change.
    """
    landlock = ["Landlock"] if plan.landlock is not None else []

    def held(mount: str, *others: str) -> list[str]:
        return [*([mount] if plan.bare is None else []), *landlock, *others]

    given, read_only = grant.permissions, not plan.write_roots
    rows = [("filesystem.read", path, held("read-only bind mount")) for path in given.read]
    rows += [
        ("filesystem.write", path, held("read-only bind mount: the tool only reads"))
        if read_only
        else ("filesystem.write", path, held("bind mount"))
        for path in given.write
    ]
    rows += [
        (
            "network",
            str(each),
            [
                "network namespace: loopback, and listeners for granted ports",
                "broker: the name decides, then the address is vetted",
                *(["Landlock: connects to granted ports only"] if plan.landlock and plan.landlock[1] else []),
            ],
        )
        for each in given.network
    ]
    rows += [("environment", name, ["environment made anew for each call"]) for name in given.environment]
    rows += [
        ("subprocess", name, ["seccomp: fork allowed", "noexec mounts but for its own files", *landlock])
        for name in given.subprocess
    ]
    if given.storage:
        bounded = held("bind mount", "measured while the tool runs", "RLIMIT_FSIZE")
        rows.append(("storage", format_size(given.storage), bounded))
    return {
        "granted": [{"permission": word, "entry": entry, "held_by": held} for word, entry, held in rows],
        "stays_read_only": [] if read_only or plan.bare is not None else stays_read_only(given),
        "withheld": [{"permission": each.permission, "reason": each.reason} for each in grant.withheld],
        "privacy": {
            "redaction": dict(grant.redaction),
            "allow": list(grant.privacy.allow),
            "receive": list(grant.privacy.receive),
        },
        "discloses": [*grant.privacy.describe(), *grant.describe_redaction()],
    }


def granted_lines(document: dict[str, Any]) -> list[str]:
    """Return the lines that a person reads, from the document of :func:`granted`."""
    lines = ["", "Granted, and enforced by:"] if document["granted"] else ["", "Nothing was granted."]
    lines += [
        f"  {row['permission']} {row['entry']}: {', '.join(row['held_by'])}" for row in document["granted"]
    ]
    if document["stays_read_only"]:
        first, *rest = document["stays_read_only"]
        lines += ["", f"{first[0].upper()}{first[1:]}", *(f"  {line.strip()}" for line in rest)]
    if document["discloses"]:
        lines += ["", "Of sensitive data, it may:"]
        lines += [f"  {line}" for line in document["discloses"]]
    if document["withheld"]:
        lines += ["", "Asked for, and withheld:"]
        lines += [f"  {row['permission']}: {row['reason']}" for row in document["withheld"]]
    return lines


def explain_lines(document: dict[str, Any]) -> list[str]:
    """Return the lines that a person reads, from the document of :func:`explain`."""
    lines = [
        f"{document['package']} {document['version']}, tool {document['tool']}",
        f"plan {document['plan']}",
        "",
        "It can reach:",
    ]
    lines += [
        f"  {entry['path']}: {entry['access']}"
        + (f", from {entry['source']}" if entry["source"] != entry["path"] else "")
        for entry in document["filesystem"]
    ]
    lines.append(
        f"  {document['scratch']}: read, write, private, "
        f"at most {document['limits']['scratch'] >> 20} MiB, gone after the call"
    )
    lines += [
        f"  {program['name']} {program['version']}: {program['source']} "
        f"with {len(program['libraries'])} files it loads"
        for program in document["programs"]
    ]
    for program in document["starts"]:
        lines.append(f"  it may start {program['name']}; these files are executable, and nothing else:")
        lines += [f"    {path}" for path in program["executable"]]
    alone = "" if document["starts"] else "no other program, no other process, "
    hosts = document["network"] if document["network"] != "none" else []
    lines += [f"  {host}, over TCP, through the broker" for host in hosts]
    nothing = "no other host, no listener, no UDP" if hosts else "no network"
    lines.append(f"  {nothing}, {alone}no device but null, random, urandom")
    if document["hidden"]:
        lines += ["", "Hidden under empty mounts:"] + [f"  {path}" for path in document["hidden"]]
    lines += ["", "Enforced by:"]
    lines += [f"  {name}: {', '.join(means)}" for name, means in document["mechanisms"].items()]
    limits = document["limits"]
    lines += [
        "",
        (
            f"Limits: {limits['wall_ms'] / 1000:g} s, {limits['cpu_ms'] / 1000:g} s of processor, "
            f"{limits['memory'] >> 20} MiB, {limits['processes']} processes and threads, "
            f"{limits['open_files']} open files, {limits['output'] >> 10} KiB of output"
        ),
    ]
    if document["import_once"]:
        lines += ["", f"As you agreed, it may {IMPORTED_ONCE}"]
    if document["degraded"]:
        lines += ["", f"Degraded, as you agreed: {', '.join(document['degraded'])}"]
        lines += [f"  {name} alone ensures {holds}" for holds, name in document["single"].items()]
    if document["exposed"]:
        lines += ["", "Without namespaces:"] + [f"  {line}" for line in document["exposed"]]
    return lines
