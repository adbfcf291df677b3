"""Attacks on the kernel, one by one, on every way that a tool runs; and what each does without the filter.

``test_sandbox_system_calls.py`` says that no unlisted number does anything; this file says what for.
"""

from __future__ import annotations

from errno import ENOSYS, EPERM
from pathlib import Path

import pytest

from kernel_attacks import ALL, PYTHON_SWEEP, KernelAttack
from mpp_exec.sandbox.profiles import SEALED_AWAY
from mpp_exec.sandbox.syscalls import X86_64
from sandbox_lab import Lab, call, sweep, without_landlock, without_seccomp

PATHS = (
    *("program", "python", "program with subprocess", "python with subprocess"),
    *("program without namespaces", "python without namespaces"),
)


@pytest.fixture(scope="module")
def answers(lab: Lab, probe: Path) -> dict[str, dict[str, int]]:
    """What every attack was answered, by each path of execution that exists."""
    seen = {}
    for path in PATHS:
        granted = ("true",) if path.endswith("subprocess") else ()
        there = lab.without_namespaces() if path.endswith("namespaces") else lab
        rows = [row for row in ALL if not (granted and row.starts)]
        if path.startswith("program"):
            got = sweep(there.program(probe, "sweep", subprocess=granted), [row.call for row in rows])
        else:
            numbered = [(X86_64[str(row.call[0])], *row.call[1:]) for row in rows]
            got = call(there.python(PYTHON_SWEEP, subprocess=granted), calls=numbered)
        seen[path] = {row.name: errno for row, errno in zip(rows, got, strict=True)}
    return seen


@pytest.mark.parametrize("attack", ALL, ids=[row.name for row in ALL])
def test_attack_by_system_call(
    lab: Lab, probe: Path, answers: dict[str, dict[str, int]], attack: KernelAttack
) -> None:
    """It does not exist on any path; without the filter, the kernel does it or looks at it."""
    name = str(attack.call[0])
    for path in PATHS:
        if attack.name in answers[path]:
            sealed = path.startswith("python") and name in SEALED_AWAY
            assert answers[path][attack.name] == (EPERM if sealed else ENOSYS), path
    missing = {ENOSYS} if attack.optional else set()
    open_ = without_landlock(without_seccomp(lab.program(probe, "sweep")))
    assert sweep(open_, [attack.call])[0] in {*attack.seen, *missing}, "it is no attack"


def test_every_attack_is_another_one() -> None:
    assert len({row.name for row in ALL}) == len(ALL)
    assert len({row.call for row in ALL}) == len(ALL)
