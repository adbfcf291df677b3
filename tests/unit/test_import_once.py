"""Tools that ask to be imported once: what is signed, what a person agrees to, and what policy says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cddl_verifier import Validator

from consent_samples import READ, UNPROTECTED, grant, signed
from manifest_samples import FULL, PYTHON, TOML
from mpp_exec.consent.approve import carry_over
from mpp_exec.consent.difference import difference
from mpp_exec.consent.grant import Grant, effective
from mpp_exec.consent.policy import Policy, PolicyLayer, Withheld
from mpp_exec.consent.policy_file import parse_layer
from mpp_exec.consent.present import approval_text, update_text
from mpp_exec.consent.standing import lost
from mpp_exec.encoding import dumps
from mpp_exec.errors import PackageError, UsageError
from mpp_exec.lifecycle.complying import _beyond, _beyond_manifest
from mpp_exec.package import canonical
from mpp_exec.package.authoring import parse_toml
from mpp_exec.package.manifest import Requirement, RuntimeSpec
from mpp_exec.permissions import IMPORTED_ONCE
from mpp_exec.trust.verify import SignedManifest

CDDL = Path(__file__).parents[2] / "docs" / "manifest.cddl"
ONCE = RuntimeSpec("python", requires=(Requirement("python"),), import_once=True)
FORBIDDEN = Policy((PolicyLayer(source="p", import_once=False),))


def asking(**changes: Any) -> SignedManifest:
    return signed(runtime=ONCE, tools=(replace(READ, entry="tool:run"),), **changes)


def not_asking(**changes: Any) -> SignedManifest:
    runtime = replace(ONCE, import_once=False)
    return signed(runtime=runtime, tools=(replace(READ, entry="tool:run"),), **changes)


def test_it_is_signed_where_it_is_asked_for_and_nowhere_else() -> None:
    asks = replace(PYTHON, runtime=replace(PYTHON.runtime, import_once=True))
    value = canonical.to_value(asks)
    assert value["runtime"].pop("import_once") is True
    assert value == canonical.to_value(PYTHON)
    assert canonical.from_value(canonical.to_value(asks)) == asks
    assert Validator(CDDL).validate(dumps(canonical.to_value(asks)), root_type="manifest").valid


@pytest.mark.parametrize("given", [False, None, 1, "true"])
def test_no_other_way_to_say_the_same(given: Any) -> None:
    value = canonical.to_value(PYTHON)
    value["runtime"]["import_once"] = given
    assert not Validator(CDDL).validate(dumps(value), root_type="manifest").valid
    with pytest.raises(PackageError) as caught:
        canonical.from_value(value)
    assert caught.value.code in ("manifest.inconsistent", "manifest.wrong_type")
    assert " runtime.import_once " in caught.value.message


def test_it_goes_with_python_only() -> None:
    with pytest.raises(PackageError) as caught:
        canonical.from_value(
            canonical.to_value(replace(FULL, runtime=replace(FULL.runtime, import_once=True)))
        )
    assert (caught.value.code, "runtime.import_once" in caught.value.message) == (
        "manifest.inconsistent",
        True,
    )


def test_author_writes_it_in_the_runtime_table() -> None:
    text = TOML.replace("[runtime]\n", "[runtime]\nimport_once = true\n")
    assert parse_toml(text).runtime.import_once
    assert not parse_toml(text.replace("= true", "= false", 1)).runtime.import_once
    assert not parse_toml(TOML).runtime.import_once


def test_who_agrees_is_told_and_may_agree_to_less() -> None:
    package = asking()
    found = grant(package)
    assert found.import_once
    assert f"  - {IMPORTED_ONCE}" in approval_text(package, found)
    less = grant(package, without=["import_once"])
    assert not less.import_once
    assert less.withheld == (Withheld("import_once", "withheld by you"),)
    text = approval_text(package, less)
    assert f"  - {IMPORTED_ONCE}" not in text
    assert "  - import_once (withheld by you)" in text
    with pytest.raises(UsageError) as caught:
        grant(not_asking(), without=["import_once"])
    assert caught.value.code == "permission.unknown"


def test_nothing_of_it_is_in_a_grant_that_does_without() -> None:
    for package in (asking(), not_asking()):
        found = grant(package, without=["import_once"] if package == asking() else [])
        assert "import_once" not in found.to_value()
        assert Grant.decode(found.encode()) == found
    found = grant(asking())
    assert found.to_value()["import_once"] is True
    assert Grant.decode(found.encode()) == found


def test_policy_forbids_it_when_it_is_agreed_to_and_at_each_call() -> None:
    reason = Withheld("import_once", "p does not allow it")
    at_approval = grant(asking(), policy=FORBIDDEN)
    assert (at_approval.import_once, at_approval.withheld) == (False, (reason,))
    agreed = grant(asking())
    now = effective(agreed, FORBIDDEN, UNPROTECTED)
    assert (now.import_once, now.withheld) == (False, (reason,))
    assert _beyond(agreed, FORBIDDEN) == _beyond_manifest(asking().manifest, FORBIDDEN) == (reason,)
    assert lost(agreed, now, "query") == "it may not be imported once"
    assert lost(now, agreed, "query") == ""
    assert effective(agreed, Policy(), UNPROTECTED) == agreed


def test_policy_says_so_in_its_file() -> None:
    layer = parse_layer("import_once = false", "p", narrowing=True)
    assert not layer.import_once
    assert layer.to_json() == {"source": "p", "carry_over": True, "import_once": False}
    assert parse_layer("", "p", narrowing=True).import_once
    assert Policy((PolicyLayer(source="q"), layer)).once(asked=True)[0] is False


def test_update_that_asks_for_it_is_wider() -> None:
    old, new = grant(not_asking()), asking(version="1.5.0")
    (change,) = difference(old, new)
    assert change.widens
    assert "  + asks to be imported once, and to be copied for each call" in update_text(new, old, [change])
    assert carry_over(old, new, policy=Policy(), protected=UNPROTECTED) is None


def test_update_keeps_it_or_does_without() -> None:
    old = grant(asking())
    kept = carry_over(old, asking(version="1.5.0"), policy=Policy(), protected=UNPROTECTED)
    assert kept is not None
    assert kept.import_once
    (change,) = difference(old, not_asking(version="1.5.0"))
    assert not change.widens
    without = carry_over(old, not_asking(version="1.5.0"), policy=Policy(), protected=UNPROTECTED)
    assert without is not None
    assert not without.import_once
    withheld = grant(asking(), without=["import_once"])
    again = carry_over(withheld, asking(version="1.5.0"), policy=Policy(), protected=UNPROTECTED)
    assert again is not None
    assert not again.import_once
    forbidden = carry_over(old, asking(version="1.5.0"), policy=FORBIDDEN, protected=UNPROTECTED)
    assert forbidden is not None
    assert not forbidden.import_once
