"""Compiled programs against the policy table: the proof accepts what agrees and nothing else."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import pytest

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import bpf, profiles, seccomp, syscalls, watching
from mpp_exec.sandbox.allow import FULL, LOW, Allow, Arg
from mpp_exec.sandbox.bpf import Instruction

PYTHON = profiles.tool_profile("python", subprocess=False)
PROFILES = (
    PYTHON,
    profiles.tool_profile("exec", subprocess=False),
    profiles.tool_profile("exec", subprocess=True),
    profiles.init_profile(),
    profiles.tool_profile("python", subprocess=True, network=True),
)
# Every shape of a condition: none, one value, several, a mask, two arguments.
_NAMES = ("read", "open", "prlimit64", "socketpair", "mprotect", "arch_prctl", "clone", "exit_group")
SHAPES = tuple(allow for allow in PYTHON if allow.name in _NAMES)
Program = tuple[Instruction, ...]


@pytest.fixture(scope="module")
def shapes() -> Program:
    return bpf.decode(seccomp.compile_profile(SHAPES))


@pytest.mark.parametrize(
    "profile", PROFILES, ids=["python", "exec", "exec with subprocess", "init", "with hosts"]
)
def test_compiled_profile_is_proven(profile: tuple[Allow, ...]) -> None:
    program = seccomp.compile_profile(profile)
    seccomp.prove(program, profile)
    hosts = any(allow.name == "socket" for allow in profile)
    assert len(bpf.decode(program)) < (650 if hosts else 450)  # what its installation costs grows with it


def test_same_profile_gives_the_same_program() -> None:
    assert seccomp.compile_profile(PYTHON) == seccomp.compile_profile(PYTHON)


def answer(program: Program, number: int, arch: int = syscalls.AUDIT_ARCH_X86_64) -> int:
    return bpf.simulate(program, bpf.call_data(number, (), arch))


def test_other_architectures_and_x32_kill_the_process(shapes: Program) -> None:
    """KILL_PROCESS, since a killed thread would leave the others running."""
    getpid = 20
    assert answer(shapes, getpid, syscalls.AUDIT_ARCH_I386) == bpf.RET_KILL_PROCESS
    assert answer(shapes, 0, 0xC00000B7) == bpf.RET_KILL_PROCESS
    for number in range(600):
        assert answer(shapes, syscalls.X32_BIT | number) == bpf.RET_KILL_PROCESS


def test_what_is_not_listed_does_not_exist(shapes: Program) -> None:
    for name in ("write", "clone3", "io_uring_setup"):
        assert answer(shapes, syscalls.X86_64[name]) == seccomp.REFUSED
    assert answer(shapes, 599) == seccomp.REFUSED


def test_seal_takes_away_and_allows_the_rest() -> None:
    program = bpf.decode(seccomp.compile_seal())
    for name, number in syscalls.X86_64.items():
        expected = seccomp.SEALED if name in profiles.SEALED_AWAY else bpf.RET_ALLOW
        assert answer(program, number) == expected, name


def test_program_of_another_profile_is_disproven(shapes: Program) -> None:
    """One rule more, one rule less, one condition less: each is found."""
    program = bpf.encode(shapes)
    getpid = Allow("getpid", "test")
    unconditional = tuple(dataclasses.replace(allow, args=()) for allow in SHAPES)
    for other in (SHAPES[1:], (*SHAPES, getpid), unconditional):
        with pytest.raises(InternalError) as caught:
            seccomp.prove(program, other)
        assert caught.value.code == "seccomp.disproven"
        with pytest.raises(InternalError):
            seccomp.prove(seccomp.compile_profile(other), SHAPES)


def test_program_that_was_never_compiled_for_it_is_disproven() -> None:
    everything = bpf.encode((Instruction(bpf.RET_K, 0, 0, bpf.RET_ALLOW),))
    nothing = bpf.encode((Instruction(bpf.RET_K, 0, 0, bpf.RET_KILL_PROCESS),))
    for program in (everything, nothing):
        with pytest.raises(InternalError):
            seccomp.prove(program, SHAPES)
        with pytest.raises(InternalError):
            seccomp.prove_seal(program)
    with pytest.raises(InternalError):
        seccomp.prove_seal(seccomp.compile_profile(SHAPES))


@pytest.mark.parametrize("number", [59, 501, 599, syscalls.X32_BIT | 59, syscalls.X32_BIT | 520])
def test_program_with_a_hole_for_one_number_is_disproven(shapes: Program, number: int) -> None:
    """520 is execve of the x32 table."""
    hole = (
        Instruction(bpf.LD_W_ABS, 0, 0, 4),
        Instruction(bpf.JMP_JEQ_K, 0, 3, syscalls.AUDIT_ARCH_X86_64),
        Instruction(bpf.LD_W_ABS, 0, 0, 0),
        Instruction(bpf.JMP_JEQ_K, 0, 1, number),
        Instruction(bpf.RET_K, 0, 0, bpf.RET_ALLOW),
    )
    with pytest.raises(InternalError):
        seccomp.prove(bpf.encode((*hole, *shapes)), SHAPES)


def test_merged_comparison_of_both_halves_is_disproven() -> None:
    """The fault of GHSA-4q85-33p6-j5g6: a comparison of 64 bits that looks at fewer."""
    wide = (Allow("fcntl", "test", (Arg(1, (1 << 32 | 5,)),)),)
    low_half_only = (Allow("fcntl", "test", (Arg(1, (5,), LOW),)),)
    with pytest.raises(InternalError):
        seccomp.prove(seccomp.compile_profile(low_half_only), wide)


def mutants(program: Program) -> Iterator[tuple[str, Program]]:
    """Every program that differs from *program* in one field of one instruction, by a little or a lot."""
    jumps = (bpf.JMP_JEQ_K, bpf.JMP_JGT_K, bpf.JMP_JGE_K, bpf.JMP_JSET_K)
    verdicts = (bpf.RET_ALLOW, bpf.RET_KILL_PROCESS, seccomp.REFUSED, bpf.RET_ERRNO | 1, 0)
    for index, step in enumerate(program):
        changes: list[dict[str, int]] = []
        if step.code == bpf.RET_K:
            changes += [{"constant": verdict} for verdict in verdicts]
        else:
            changes += [{"constant": (step.constant + by) % (1 << 32)} for by in (1, -1)]
            changes += [{"constant": step.constant ^ 1 << bit} for bit in (0, 2, 16, 31)]
        if step.code in jumps:
            changes += [{"code": code} for code in jumps]
            changes += [{"jump_true": step.jump_true + by} for by in (1, -1)]
            changes += [{"jump_false": step.jump_false + by} for by in (1, -1)]
            changes.append({"jump_true": step.jump_false, "jump_false": step.jump_true})
        for change in changes:
            changed = dataclasses.replace(step, **change)
            if changed != step and 0 <= changed.jump_true < 256 and 0 <= changed.jump_false < 256:
                yield f"{index}: {change}", (*program[:index], changed, *program[index + 1 :])


def probes(profile: tuple[Allow, ...], chance: random.Random) -> Iterator[tuple[int, ...]]:
    """Calls beyond those that the proof tries: random arguments, near and far from what is allowed."""
    for name, number in syscalls.X86_64.items():
        allow = next((each for each in profile if each.name == name), None)
        yield bpf.call_data(number, (0,) * 6, syscalls.AUDIT_ARCH_X86_64)
        for _ in range(150 if allow and allow.args else 1):
            arguments = [chance.choice((0, FULL, chance.getrandbits(64))) for _ in range(6)]
            for arg in allow.args if allow else ():
                value = chance.choice((*arg.values, chance.getrandbits(chance.choice((4, 16, 32, 64)))))
                noise = chance.choice((0, 1 << chance.randrange(64), chance.getrandbits(64) & ~arg.mask))
                arguments[arg.index] = value ^ noise
            yield bpf.call_data(number, tuple(arguments), syscalls.AUDIT_ARCH_X86_64)


def outcome(program: Program, words: tuple[int, ...]) -> int | None:
    try:
        return bpf.simulate(program, words)
    except InternalError:
        return None


def test_tampered_program_is_disproven_unless_it_means_the_same(shapes: Program) -> None:
    """Each constant, jump and comparison, changed: the proof objects, or no call tells the two apart."""
    chance = random.Random(5)
    calls = tuple(probes(SHAPES, chance))
    before = [outcome(shapes, words) for words in calls]
    survivors = 0
    for what, mutant in mutants(shapes):
        try:
            seccomp.prove(bpf.encode(mutant), SHAPES)
        except InternalError:
            continue
        survivors += 1
        assert [outcome(mutant, words) for words in calls] == before, what
    assert survivors < 120, "most changes change what it means"


def test_tampered_seal_is_disproven_unless_it_means_the_same() -> None:
    seal = bpf.decode(seccomp.compile_seal())
    calls = [bpf.call_data(number, (), syscalls.AUDIT_ARCH_X86_64) for number in range(1024)]
    before = [outcome(seal, words) for words in calls]
    for what, mutant in mutants(seal):
        try:
            seccomp.prove_seal(bpf.encode(mutant))
        except InternalError:
            continue
        assert [outcome(mutant, words) for words in calls] == before, what


@pytest.mark.parametrize("kind", ["python", "exec"])
@pytest.mark.parametrize("subprocess", [False, True])
def test_a_traced_tool_may_do_what_it_may_do_untraced(kind: str, subprocess: bool) -> None:
    """The two programs of a traced call, with the watcher's refusals, are proven to be the profile."""
    profile = profiles.tool_profile(kind, subprocess=subprocess)
    seccomp.prove_watch(seccomp.compile_watch(profile), profile)
    seccomp.compile_profile(watching.told_profile(profile))
    refused = {row.name for row in watching.watched_calls(profile) if row.refuse}
    assert refused == ({"socket"} if subprocess else {"socket", "fork", "vfork", "clone"})


def test_a_way_that_lets_another_one_s_values_through_is_disproven() -> None:
    """Merged, level and name of an option would be allowed in any pair: 26 of SOL_SOCKET, too."""
    split = next(
        allow for allow in profiles.tool_profile("exec", subprocess=False, network=True) if allow.also
    )
    levels = tuple(sorted(value for way in split.ways for value in way[0].values))
    names = tuple(sorted({value for way in split.ways for value in way[1].values}))
    merged = Allow(split.name, "", (Arg(1, levels, LOW), Arg(2, names, LOW)))
    seccomp.prove(seccomp.compile_profile((split,)), (split,))
    with pytest.raises(InternalError) as caught:
        seccomp.prove(seccomp.compile_profile((merged,)), (split,))
    assert caught.value.code == "seccomp.disproven"


def test_a_watching_program_that_asks_about_less_is_disproven() -> None:
    """Whoever was not asked lets a socket through: such a program is never installed."""
    profile = profiles.tool_profile("exec", subprocess=False)
    code = bpf.decode(seccomp.compile_watch(profile))
    blind = [
        dataclasses.replace(each, constant=bpf.RET_ALLOW) if each.constant == bpf.RET_USER_NOTIF else each
        for each in code
    ]
    for program in (
        bpf.encode(tuple(blind)),
        seccomp.compile_watch(profiles.tool_profile("exec", subprocess=True)),
    ):
        with pytest.raises(InternalError) as caught:
            seccomp.prove_watch(program, profile)
        assert caught.value.code == "seccomp.disproven"


def test_watched_rows_that_let_more_through_are_disproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """A told call that the watcher would let on is wider than the profile, and the proof says so."""
    profile = profiles.tool_profile("exec", subprocess=False)
    program = seccomp.compile_watch(profile)
    rows = tuple(dataclasses.replace(row, refuse=False) for row in watching.watched_calls(profile))
    monkeypatch.setattr(seccomp, "watched_calls", lambda _: rows)
    with pytest.raises(InternalError) as caught:
        seccomp.prove_watch(program, profile)
    assert "traced" in caught.value.message
