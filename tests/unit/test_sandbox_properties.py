"""What is enforced, right by right, on every kernel: from facts alone, so that any machine can ask."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

import sandbox_lab
from mpp_exec.consent.grant import WITHHELD_BY_USER, effective
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import Policy, PolicyLayer, Withheld
from mpp_exec.errors import HostError
from mpp_exec.permissions import DEGRADATIONS
from mpp_exec.sandbox.kernel import KernelFacts
from mpp_exec.sandbox.properties import (
    ENOUGH,
    Situation,
    command,
    impossible,
    needed,
    properties,
    require,
)

ABIS = range(8)
PLAIN = Situation(landlock_abi=7, root=False, namespaces=True, python=True, subprocess=False)
STARTS = dataclasses.replace(PLAIN, subprocess=True)
BARE = dataclasses.replace(PLAIN, namespaces=False)
EVERY = [
    Situation(abi, root, namespaces, python, subprocess)
    for abi in ABIS
    for root in (False, True)
    for namespaces in (False, True)
    for python in (False, True)
    for subprocess in (False, True)
]
EVERY += [dataclasses.replace(each, network=True) for each in EVERY if each.namespaces]

POSSIBLE = [each for each in EVERY if impossible(each) is None]


def facts(at: Situation, *, seccomp: bool = True) -> KernelFacts:
    return KernelFacts("x86_64", "6.0", at.landlock_abi, 0, seccomp, at.root, at.namespaces)


def refusal(at: Situation, *degradations: str, seccomp: bool = True) -> HostError:
    with pytest.raises(HostError) as caught:
        require(facts(at, seccomp=seccomp), at, sandbox_lab.grant(degradations=degradations))
    return caught.value


# Linux 5.13 (ABI 1), 5.19 (2), 6.2 (3), 6.7 (4), 6.10 (5), 6.12 (6), 6.15 (7).
@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (PLAIN, ["landlock", "landlock-truncate", "landlock-truncate", "", "", "", "", ""]),
        (
            STARTS,
            [
                "landlock",
                "landlock-scope landlock-truncate",
                "landlock-scope landlock-truncate",
                *["landlock-scope"] * 3,
                *["", ""],
            ],
        ),
        # A host that is root gives each sandbox an id of its own, which cannot signal others either.
        (
            dataclasses.replace(STARTS, root=True),
            ["landlock", "landlock-truncate", "landlock-truncate", "", "", "", "", ""],
        ),
        (
            BARE,
            [
                *["landlock namespaces"],
                *["landlock-net landlock-scope landlock-truncate namespaces"] * 2,
                "landlock-net landlock-scope namespaces",
                "landlock-scope namespaces",
                "landlock-scope namespaces",
                "namespaces",
                "namespaces",
            ],
        ),
    ],
    ids=["plain", "subprocess", "root", "bare"],
)
def test_every_abi_says_which_degradations_it_takes(at: Situation, expected: list[str]) -> None:
    seen = [" ".join(needed(dataclasses.replace(at, landlock_abi=abi))) for abi in ABIS]
    assert seen == expected


@pytest.mark.parametrize("abi", ABIS)
def test_without_namespaces_landlock_has_no_substitute(abi: int) -> None:
    """Below ABI 3 any file of the user's could be emptied: nobody can agree to that."""
    at = dataclasses.replace(BARE, landlock_abi=abi)
    if abi >= 3:
        assert impossible(at) is None
        return
    error = refusal(at, *DEGRADATIONS)
    assert error.code == "host.not_enforceable"
    assert "--degrade" not in error.hint
    assert ("truncated" if abi else "read") in error.message


@pytest.mark.parametrize("abi", ABIS)
def test_hosts_take_no_degradation_that_files_do_not(abi: int) -> None:
    """Where Landlock has no rules for TCP two hold: the namespace, and that no call makes another way."""
    at = dataclasses.replace(PLAIN, landlock_abi=abi)
    assert needed(dataclasses.replace(at, network=True)) == needed(at)


def test_hosts_need_namespaces_and_nobody_can_agree_otherwise() -> None:
    error = refusal(dataclasses.replace(BARE, network=True), *DEGRADATIONS)
    assert error.code == "host.network_without_namespaces"
    assert error.exit_code == 5
    assert "--without network" in error.hint
    assert "--degrade" not in error.hint


@pytest.mark.parametrize("abi", ABIS)
def test_without_namespaces_nothing_is_started(abi: int) -> None:
    """Nothing but the fork that is refused would end what a tool leaves behind."""
    error = refusal(dataclasses.replace(BARE, landlock_abi=abi, subprocess=True), *DEGRADATIONS)
    assert error.code == "host.not_enforceable"


@pytest.mark.parametrize("at", POSSIBLE)
def test_what_is_not_degraded_is_enforced_twice(at: Situation) -> None:
    """The rule itself: two mechanisms, or a name for what is missing, and the name is one to be typed."""
    for each in properties(at):
        assert len(each.working) >= ENOUGH or each.absent, each
        assert set(each.absent) <= set(DEGRADATIONS)
        assert len(set(each.working)) == len(each.working)


@pytest.mark.parametrize("at", POSSIBLE)
def test_plan_needs_every_name_and_runs_with_all_of_them(at: Situation) -> None:
    names = needed(at)
    assert require(facts(at), at, sandbox_lab.grant(degradations=tuple(DEGRADATIONS))) == names
    for name in names:
        error = refusal(at, *(other for other in names if other != name))
        assert error.exit_code == 5
        assert error.message.startswith("this host has no ")
        assert f"mpp-exec approve acme/lab {' '.join(f'--degrade {each}' for each in names)}" in error.hint


@pytest.mark.parametrize("abi", ABIS)
def test_more_of_landlock_never_needs_more_degradations(abi: int) -> None:
    for at in (PLAIN, STARTS, BARE):
        less, more = (dataclasses.replace(at, landlock_abi=each) for each in (abi, abi + 1))
        if abi:
            assert set(needed(more)) <= set(needed(less))
        for before, after in zip(properties(less), properties(more), strict=True):
            # The program for a tool's own signals makes room where the kernel does it.
            assert len(after.working) >= len(before.working) - (before.name == "signals")


def test_seccomp_has_no_degradation() -> None:
    assert refusal(PLAIN, *DEGRADATIONS, seccomp=False).code == "host.no_seccomp"


def test_codes_are_stable() -> None:
    assert refusal(dataclasses.replace(PLAIN, landlock_abi=0)).code == "host.no_landlock"
    assert refusal(dataclasses.replace(PLAIN, landlock_abi=2)).code == "host.not_enforced"
    assert refusal(BARE).code == "host.no_namespaces"


def test_line_to_type_keeps_what_was_withheld() -> None:
    """Approving again with less on the line would grant what the user had refused."""
    withheld = (Withheld("filesystem.write", WITHHELD_BY_USER), Withheld("network", "policy forbids it"))
    grant = dataclasses.replace(sandbox_lab.grant(), withheld=withheld)
    line = command(grant, ["namespaces"])
    assert line == "mpp-exec approve acme/lab --without filesystem.write --degrade namespaces"


def test_policy_takes_a_degradation_back() -> None:
    """Agreed to once, it is void where the organisation's policy does not list it; the call is refused."""
    at = dataclasses.replace(PLAIN, landlock_abi=2)
    agreed = sandbox_lab.grant(degradations=("landlock-truncate",))
    policy = Policy((PolicyLayer(source="policy", degradations=("landlock",)),))
    left = effective(agreed, policy, Protected((), ()))
    assert left.degradations == ()
    with pytest.raises(HostError):
        require(facts(at), at, left)
    assert require(facts(at), at, agreed) == ("landlock-truncate",)
    assert agreed.approved_at < datetime.now(UTC)


@pytest.mark.parametrize(("errata", "told"), [(0, True), (3, True), (4, False), (7, False)])
def test_erratum_that_weakens_a_mechanism_is_told_beside_it(errata: int, told: bool) -> None:
    """It is no reason to refuse: the mount is the other mechanism, and a tool cannot bring it about."""
    at = dataclasses.replace(PLAIN, errata=errata)
    (writing,) = (each for each in properties(at) if each.name == "writing")
    assert ("erratum 3" in writing.working[1]) == told
    assert needed(at) == ()
