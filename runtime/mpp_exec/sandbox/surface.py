"""The kernel surface in numbers and in words, from the policy table itself.

What ``explain`` and ``doctor`` say, and what ``docs/system-calls.md`` lists, comes from here. So none of
them can differ from what is enforced.
"""

from __future__ import annotations

from collections.abc import Iterator

from mpp_exec.sandbox.allow import FULL, LOW, Allow, Arg
from mpp_exec.sandbox.profiles import SEALED_AWAY, SEALED_WITH_PROGRAMS, init_profile, tool_profile
from mpp_exec.sandbox.syscalls import X86_64

Profile = tuple[Allow, ...]


def sealed(profile: Profile, kind: str, *, subprocess: bool) -> Profile:
    """Return what of *profile* is left once tool code runs: the launcher of a Python tool seals it."""
    if kind != "python":
        return profile
    away = SEALED_WITH_PROGRAMS if subprocess else SEALED_AWAY
    return tuple(allow for allow in profile if allow.name not in away)


def profiles() -> dict[str, Profile]:
    """Return every profile by its name in words, as tool code meets it."""
    found = {
        f"{kind}{', with subprocess' * subprocess}{', writing' * writes}": sealed(
            tool_profile(kind, subprocess=subprocess, writes=writes), kind, subprocess=subprocess
        )
        for kind in ("python", "exec")
        for subprocess in (False, True)
        for writes in (False, True)
    }
    with_hosts = {
        f"{kind}, with hosts{' and subprocess' * subprocess}": sealed(
            tool_profile(kind, subprocess=subprocess, network=True), kind, subprocess=subprocess
        )
        for kind in ("python", "exec")
        for subprocess in (False, True)
    }
    return found | with_hosts | {"init": init_profile()}


def summary() -> str:
    """Return one line: how many calls each profile leaves."""
    return ", ".join(f"{name}: {len(profile)}" for name, profile in profiles().items())


def _condition(arg: Arg) -> str:
    if not arg.values:
        return "never"
    width = {FULL: "", LOW: " (low 32 bits)"}.get(arg.mask, f" & {arg.mask:#x}")
    values = ", ".join(f"{value:#x}" if value > 9 else str(value) for value in sorted(arg.values))
    return f"argument {arg.index}{width} is {'one of ' if len(arg.values) > 1 else ''}{values}"


def _where(allow: Allow) -> str:
    text = "; or: ".join("; ".join(_condition(arg) for arg in way) for way in allow.ways)
    if allow.idle is None:
        return text
    idle = "; ".join(_condition(arg) for arg in allow.idle) or "always"
    return f"{text}. Answered with success, and not made: {idle}"


def _rows(by_profile: dict[str, Profile]) -> Iterator[tuple[Allow, list[str]]]:
    """Yield each different rule once, by the number of its call, and the profiles that it stands in."""
    found: dict[Allow, list[str]] = {}
    for name, profile in by_profile.items():
        for allow in profile:
            found.setdefault(allow, []).append(name)
    yield from sorted(found.items(), key=lambda row: (X86_64[row[0].name], len(row[0].args), row[1]))


_HEAD = """# System calls

This page lists which system calls a tool may make, why, and with which arguments. `make docs` makes it from
the policy table (`runtime/mpp_exec/sandbox/profiles.py`), and a test compares the two. A call that is not
listed answers ENOSYS. So does a listed call whose condition does not hold. i386 and x32 calls kill the
process.

The table shows the profile of a Python tool as tool code meets it: the launcher gives up `execve` and
`seccomp` before it loads the tool. With subprocess, `execve` stays, and Landlock's execute right names what
the tool can start. An exec tool can execute its entry and the entry's loader.
"""


def page() -> str:
    """Return ``docs/system-calls.md``."""
    by_profile = profiles()
    marks = dict(
        zip(
            by_profile, ("p", "pw", "P", "Pw", "e", "ew", "E", "Ew", "pn", "Pn", "en", "En", "i"), strict=True
        )
    )
    counts = [
        f"| {name} | {marks[name]} | {len(profile)} | {sum(bool(allow.args) for allow in profile)} |"
        for name, profile in by_profile.items()
    ]
    calls = [
        f"| `{allow.name}` | {' '.join(marks[name] for name in names)} | {allow.why} | {_where(allow)} |"
        for allow, names in _rows(by_profile)
    ]
    lines = [
        _HEAD,
        f"| profile | sign | calls, of {len(X86_64)} | bound by arguments |",
        "|---|---|---|---|",
        *counts,
        "",
        "| call | profiles | why | only where |",
        "|---|---|---|---|",
        *calls,
    ]
    return "\n".join(lines) + "\n"
