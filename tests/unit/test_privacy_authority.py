"""Policy, user, package: every combination of what they can say of a kind, against a table in other words."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from consent_samples import UNPROTECTED, grant, signed
from mpp_exec.consent.grant import Grant, effective
from mpp_exec.consent.policy import Action, Policy, PolicyLayer
from mpp_exec.errors import UsageError
from mpp_exec.permissions import Privacy
from mpp_exec.privacy.finding import KINDS
from mpp_exec.privacy.policy import RedactionPolicy, effective_actions

# How much of a value is left. Written here anew, and not taken from what is tested.
LEFT: dict[Action, int] = {"allow": 5, "token": 4, "partial": 3, "hash": 2, "mask": 1, "drop": 0}
SAID: tuple[Action | None, ...] = (None, *LEFT)


def of_left(much: int) -> Action:
    (action,) = (action for action, left in LEFT.items() if left == much)
    return action


def expected(layers: tuple[Action | None, ...], choice: Action | None, *, asks: bool, agreed: bool) -> Action:
    """Say in a few lines what docs/privacy.md does in words.

    *agreed* is whether the user lets the package return the kind that it asks for.
    """
    bound = min((LEFT[each] for each in layers if each), default=5)
    if choice is None:
        choice = "allow" if asks and agreed else None
    if (
        choice is None
    ):  # nobody wants anything: a policy that is no leave says what is done, else it is masked
        return of_left(bound) if bound < 5 else "mask"
    return of_left(min(bound, LEFT[choice]))


def actions(layers: tuple[Action | None, ...], granted: Grant, asked: Privacy, kind: str) -> Action:
    """Return what is done with *kind* in a call: as the grant was stored, under the policy of that moment."""
    policy = stack(layers, kind)
    left = effective(granted, policy, UNPROTECTED)
    found = effective_actions(
        organisation=policy.redaction,
        granted={**dict.fromkeys(left.privacy.allow, "allow"), **left.redaction},
        requested=asked.allow,
    )
    return RedactionPolicy(found, bytes(32)).action(kind)


def stack(layers: tuple[Action | None, ...], kind: str) -> Policy:
    return Policy(
        tuple(
            PolicyLayer(source=f"layer {number}", redaction={kind: action} if action else {})
            for number, action in enumerate(layers)
        )
    )


def approved(
    layers: tuple[Action | None, ...], choice: Action | None, kind: str, **how: bool
) -> Grant | None:
    """Return what a person agreed to under *layers*, None if it cannot be agreed to."""
    allow = (kind,) if how["asks"] else ()
    keywords: dict[str, Any] = {"policy": stack(layers, kind)}
    if choice:
        keywords["redaction"] = {kind: choice}
    if how["asks"] and not how["agreed"]:
        keywords["without"] = [f"privacy.allow={kind}"]
    try:
        return grant(signed(privacy=Privacy(allow=allow)), **keywords)
    except UsageError:
        return None


WAYS = [(asks, agreed) for asks in (True, False) for agreed in (True, False) if asks or agreed]


@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_of_policy_choice_and_request(kind: str) -> None:
    """By one policy that was there when the user agreed, and by one that came later."""
    for said, choice, (asks, agreed) in itertools.product(SAID, SAID, WAYS):
        for then in ((said,), ()):
            granted = approved(then, choice, kind, asks=asks, agreed=agreed)
            may_be_allowed = asks and agreed
            if granted is None:
                assert choice == "allow", (said, choice, asks, agreed)
                assert not may_be_allowed, (said, choice, asks, agreed)
                continue
            assert choice != "allow" or may_be_allowed, "what is not asked for was allowed"
            done = actions((said,), granted, Privacy(allow=(kind,) if asks else ()), kind)
            assert done == expected((said,), choice, asks=asks, agreed=agreed), (said, choice, asks, agreed)


def test_every_combination_of_three_layers_of_policy() -> None:
    """The organisation's, that of the variable and the home's: no later one gives back what one took."""
    for choice, (asks, agreed) in itertools.product(SAID, WAYS):
        granted = approved((), choice, "email", asks=asks, agreed=agreed)
        if granted is None:
            continue
        for layers in itertools.product(SAID, repeat=3):
            done = actions(layers, granted, Privacy(allow=("email",) if asks else ()), "email")
            assert done == expected(layers, choice, asks=asks, agreed=agreed), (layers, choice, asks, agreed)


def test_what_a_policy_took_at_approval_comes_back_only_by_agreeing_again() -> None:
    """A policy that is relaxed later leaves no more than what stands in the grant."""
    for then, now, choice in itertools.product(SAID, SAID, SAID):
        granted = approved((then,), choice, "email", asks=True, agreed=True)
        assert granted is not None
        done = actions((now,), granted, Privacy(allow=("email",)), "email")
        most = expected((now,), choice, asks=True, agreed=True)
        assert LEFT[done] <= LEFT[most], (then, now, choice)
        if choice not in {None, "allow"} and then is not None:  # stored as the choice that it came to
            assert LEFT[done] <= LEFT[then], (then, now, choice)


def test_a_stored_allow_that_the_manifest_does_not_ask_for_is_none() -> None:
    """A grant says what its package may do; what the package does not ask for now, no grant gives it."""
    for said in SAID:
        granted = approved((), None, "email", asks=True, agreed=True)
        assert granted is not None
        done = actions((said,), granted, Privacy(), "email")
        assert done == expected((said,), None, asks=False, agreed=True), said


@pytest.mark.parametrize("said", SAID)
def test_a_kind_is_received_only_where_a_token_is_the_least_that_is_done_with_it(said: Action | None) -> None:
    granted = grant(signed(privacy=Privacy(receive=("email",))))
    left = effective(granted, stack((None, said), "email"), UNPROTECTED)
    assert left.privacy.receive == (("email",) if LEFT[said or "allow"] >= LEFT["token"] else ())
