"""Compiles a profile with libseccomp and proves the result; nothing that was not proven is returned.

libseccomp before 2.6.1 can merge 64-bit comparisons so that a filter becomes weaker (GHSA-4q85-33p6-j5g6),
and distributions ship older versions. So the compiler is not trusted: every program runs through the
simulator of ``bpf`` for every system call number and for the boundary values of every compared argument, and
must agree with the policy table of ``profiles``.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
from collections.abc import Iterator

from mpp_exec.errors import HostError, InternalError
from mpp_exec.sandbox import bpf, syscalls
from mpp_exec.sandbox.allow import FULL, Allow, Arg, by_name, decide
from mpp_exec.sandbox.profiles import SEALED_AWAY
from mpp_exec.sandbox.watching import Watched, asks, ordinary, told_profile, watched_calls

REFUSED = bpf.RET_ERRNO | errno.ENOSYS
IDLE = bpf.RET_ERRNO
SEALED = bpf.RET_ERRNO | errno.EPERM
COMPILER_VERSION = 10
"""Raised when this file, ``profiles`` or ``watching`` change what programs do; part of cache keys."""

_KEPT = 64
"""Programs that a process keeps: compiled and proven once, whatever homes it opens."""

_LAST_NUMBER = 600  # beyond the table's last; the boundary numbers are added to these
_BOUNDARY_NUMBERS = (0x3FFFFFFF, 0x40000000, 0x40000001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@functools.lru_cache(maxsize=_KEPT)
def compile_profile(profile: tuple[Allow, ...]) -> bytes:
    """Return the proven BPF program of *profile*: allowed calls pass, others get ENOSYS, i386 and x32 kill.

    Raises:
        HostError: libseccomp is missing or too old to build it.
        InternalError: the compiled program disagrees with the table. It must not be used.
    """
    program = _export(profile)
    prove(program, profile)
    return program


@functools.lru_cache(maxsize=_KEPT)
def compile_seal(away: tuple[str, ...] = SEALED_AWAY) -> bytes:
    """Return the proven program that takes the calls of *away* away (EPERM) and allows all else.

    Raises:
        HostError, InternalError: as :func:`compile_profile`.
    """
    program = _export((), away)
    prove_seal(program, away)
    return program


@functools.lru_cache(maxsize=_KEPT)
def compile_watch(profile: tuple[Allow, ...]) -> bytes:
    """Return the proven program of a traced call: it asks the watcher of what ``watching`` lists.

    Raises:
        HostError, InternalError: as :func:`compile_profile`.
    """
    rows = watched_calls(profile)
    program = _export((), watched=rows)
    prove_watch(program, profile)
    return program


def _export(
    profile: tuple[Allow, ...], away: tuple[str, ...] = (), watched: tuple[Watched, ...] = ()
) -> bytes:
    try:
        import pyseccomp  # noqa: PLC0415 - 19 ms and libseccomp, needed when a plan is compiled only
    except (ImportError, OSError, RuntimeError) as error:
        raise HostError(
            "host.libseccomp",
            f"libseccomp cannot be loaded: {error}",
            "install it: apt-get install libseccomp2",
        ) from error
    try:
        default = pyseccomp.ALLOW if away or watched else pyseccomp.ERRNO(errno.ENOSYS)
        compiler = pyseccomp.SyscallFilter(default)
        # By default libseccomp kills the thread only, which leaves a process that lost one.
        compiler.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
        compiler.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # binary tree
        for name in away:
            compiler.add_rule(pyseccomp.ERRNO(errno.EPERM), syscalls.X86_64[name])
        asked = {(row.name, row.args): Allow(row.name, "", row.args) for row in watched}
        idle = [Allow(allow.name, "", allow.idle) for allow in profile if allow.idle is not None]
        for action, allow in (
            *((pyseccomp.ALLOW, Allow(row.name, "", way)) for row in profile for way in row.ways),
            *((pyseccomp.ERRNO(0), row) for row in idle),
            *((pyseccomp.NOTIFY, row) for row in asked.values()),
        ):
            number = syscalls.X86_64[allow.name]
            for values in itertools.product(*(arg.values for arg in allow.args)):
                compiler.add_rule(
                    action,
                    number,
                    *(
                        pyseccomp.Arg(arg.index, pyseccomp.MASKED_EQ, arg.mask, value)
                        for arg, value in zip(allow.args, values, strict=True)
                    ),
                )
        fd = os.memfd_create("mpp-bpf", os.MFD_CLOEXEC)
        with os.fdopen(fd, "r+b") as file:
            compiler.export_bpf(file)
            file.seek(0)
            return file.read(bpf.MAX_INSTRUCTIONS * bpf.INSTRUCTION.size + 1)
    except (OSError, AttributeError, NotImplementedError) as error:
        raise HostError(
            "host.libseccomp",
            f"libseccomp cannot compile the program: {error}",
            "libseccomp 2.5 or later is needed",
        ) from error


def prove(program: bytes, profile: tuple[Allow, ...]) -> None:
    """Hold *program* against *profile*.

    Raises:
        InternalError: it allows what the table refuses, refuses what the table allows, makes what is to be
            answered only, or answers another architecture with anything but the death of the process.
    """
    code = bpf.decode(program)
    names = {number: name for name, number in syscalls.X86_64.items()}
    table = by_name(profile)
    _prove_architectures(code)
    x32 = range(syscalls.X32_BIT, syscalls.X32_BIT + _LAST_NUMBER)
    for number in itertools.chain(range(_LAST_NUMBER), x32, _BOUNDARY_NUMBERS):
        name = names.get(number)
        allow = table.get(name) if name else None
        for arguments in _boundaries(allow):
            verdict = bpf.simulate(code, bpf.call_data(number, arguments, syscalls.AUDIT_ARCH_X86_64))
            if number >= syscalls.X32_BIT:
                # libseccomp lets -1 (a tracer's "skip this call") fall through to the default action.
                skipped = number == 0xFFFFFFFF and verdict == REFUSED
                accepted = skipped or verdict == bpf.RET_KILL_PROCESS
            else:
                accepted = verdict == _wanted(allow, arguments)
            if not accepted:
                raise _disproven(number, name, arguments, verdict)


def _wanted(allow: Allow | None, arguments: tuple[int, ...]) -> int:
    if allow is None:
        return REFUSED
    if allow.holds(arguments):
        return bpf.RET_ALLOW
    return IDLE if allow.idles(arguments) else REFUSED


def prove_seal(program: bytes, away: tuple[str, ...] = SEALED_AWAY) -> None:
    """Hold the sealing *program* against what it is to take *away*, as :func:`prove` does."""
    code = bpf.decode(program)
    refused = {syscalls.X86_64[name] for name in away}
    names = {number: name for name, number in syscalls.X86_64.items()}
    _prove_architectures(code)
    for number in range(_LAST_NUMBER):
        for arguments in _boundaries(None):
            verdict = bpf.simulate(code, bpf.call_data(number, arguments, syscalls.AUDIT_ARCH_X86_64))
            if verdict != (SEALED if number in refused else bpf.RET_ALLOW):
                raise _disproven(number, names.get(number), arguments, verdict)


def prove_watch(program: bytes, profile: tuple[Allow, ...]) -> None:
    """Hold the watching *program* against its rows, and the rows against *profile*.

    If the program of ``told_profile`` replaces the ordinary one, a traced tool may do what *profile* allows
    and nothing else: calls that only the traced program allows are sent to the watcher, which refuses them.

    Raises:
        InternalError: it asks of another call, or says anything but "ask" and "allow".
    """
    code = bpf.decode(program)
    rows, told = watched_calls(profile), told_profile(profile)
    names = {number: name for name, number in syscalls.X86_64.items()}
    _prove_architectures(code)
    for number in range(_LAST_NUMBER):
        name = names.get(number)
        conditions = [allow for allow in (*profile, *told) if allow.name == name and any(allow.ways)]
        conditions += [Allow(row.name, "", row.args) for row in rows if row.name == name and row.args]
        for arguments in itertools.chain(_boundaries(None), *map(_boundaries, conditions)):
            verdict = bpf.simulate(code, bpf.call_data(number, arguments, syscalls.AUDIT_ARCH_X86_64))
            asked = asks(rows, name, arguments)
            if verdict != (bpf.RET_USER_NOTIF if asked else bpf.RET_ALLOW):
                raise _disproven(number, name, arguments, verdict)
            if ordinary(rows, told, name, arguments) != decide(profile, name, arguments):
                raise _disproven(number, f"traced {name}", arguments, verdict)


def _prove_architectures(code: tuple[bpf.Instruction, ...]) -> None:
    for arch in (syscalls.AUDIT_ARCH_I386, 0, 0xC00000B7, syscalls.AUDIT_ARCH_X86_64 ^ 1, 0xFFFFFFFF):
        for number in (0, 1, 11, 59, 322, syscalls.X32_BIT, 0xFFFFFFFF):
            verdict = bpf.simulate(code, bpf.call_data(number, (), arch))
            if verdict != bpf.RET_KILL_PROCESS:
                raise _disproven(number, f"architecture {arch:#x}", (), verdict)


def _boundaries(allow: Allow | None) -> Iterator[tuple[int, ...]]:
    """Yield argument tuples: every compared argument at and beside its boundaries."""
    yield (0,) * 6
    yield (FULL,) * 6
    if allow is None:
        return
    for args in (*allow.ways, allow.idle or ()):
        yield from _around(args)
    if allow.also:  # what one way lets through, another must not
        yield from _mixed(allow.ways)


def _mixed(ways: tuple[tuple[Arg, ...], ...]) -> Iterator[tuple[int, ...]]:
    """Yield every value of one way beside every value of the others."""
    values: dict[int, set[int]] = {}
    for arg in itertools.chain(*ways):
        values.setdefault(arg.index, set()).update(arg.values)
    for chosen in itertools.product(*(sorted(values[index]) for index in sorted(values))):
        arguments = [0] * 6
        for index, value in zip(sorted(values), chosen, strict=True):
            arguments[index] = value
        yield tuple(arguments)


def _around(args: tuple[Arg, ...]) -> Iterator[tuple[int, ...]]:
    # Each argument sweeps its boundaries while the others take what they may and one value they may not.
    for swept in args:
        others = [(*arg.values, FULL) for arg in args if arg is not swept]
        rest = [arg for arg in args if arg is not swept]
        for value, *chosen in itertools.product(sorted(_values(swept)), *others):
            for filler in (0, FULL):
                arguments = [filler] * 6
                arguments[swept.index] = value
                for arg, other in zip(rest, chosen, strict=True):
                    arguments[arg.index] = other
                yield tuple(arguments)


def _values(arg: Arg) -> set[int]:
    """Return the values of one argument at which a wrong comparison would show."""
    found = {0, 1, FULL, 1 << 31, 1 << 32, (1 << 32) - 1, 1 << 63}
    for value in arg.values:
        found |= {value, (value - 1) & FULL, (value + 1) & FULL, value | 1 << 32, value | 1 << 63}
        found |= {value | (FULL ^ arg.mask), value ^ (1 << 31)}
        found |= {value ^ (1 << bit) for bit in range(64) if arg.mask >> bit & 1 and len(arg.values) <= 3}
        found |= {value | (1 << bit) for bit in range(64) if not arg.mask >> bit & 1 and len(arg.values) <= 3}
    return found


def _disproven(number: int, name: str | None, arguments: tuple[int, ...], verdict: int) -> InternalError:
    shown = ", ".join(f"{value:#x}" for value in arguments)
    return InternalError(
        "seccomp.disproven",
        f"the compiled program answers {name or number}({shown}) with {verdict:#x}, against the policy table",
        "this libseccomp miscompiles the program; update it and report the version",
    )
