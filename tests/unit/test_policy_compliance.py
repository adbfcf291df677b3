"""What ``policy check`` says is what happens at a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from consent_samples import UNPROTECTED, grant, signed
from mpp_exec.consent.grant import Grant, effective
from mpp_exec.consent.policy import Policy, PolicyLayer, Withheld
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError
from mpp_exec.lifecycle.complying import _asked_more_often, _beyond, _beyond_manifest, load_policy
from mpp_exec.permissions import HostPort, Permissions, Privacy

LAYERS = {
    "none": PolicyLayer(source="p"),
    "network": PolicyLayer(source="p", network=()),
    "folders": PolicyLayer(source="p", read=("/nowhere",)),
    "storage": PolicyLayer(source="p", storage=5),
    "limits": PolicyLayer(source="p", limits={"wall_ms": 1, "memory": 1 << 60}),
    "redaction": PolicyLayer(source="p", redaction={"email": "mask", "phone": "hash", "ssn": "drop"}),
    "degradations": PolicyLayer(source="p", degradations=()),
    "confirm": PolicyLayer(source="p", confirm={"read": "once", "destructive": "never"}),
}
PACKAGE = signed(
    permissions=Permissions(
        network=(HostPort("a.example.com", 443),),
        environment=("TZ",),
        storage=1 << 20,
        read=("/usr/share",),
        write=("/var/tmp",),
    ),
    privacy=Privacy(allow=("email",), receive=("phone",)),
)


def wide() -> Grant:
    return grant(
        PACKAGE,
        redaction={"ssn": "token"},
        degrade=["landlock-scope"],
        degradable=["landlock-scope"],
    )


@pytest.mark.parametrize("name", LAYERS)
def test_a_check_takes_away_exactly_what_a_call_does(name: str) -> None:
    policy = Policy((LAYERS[name],))
    now = effective(wide(), policy, UNPROTECTED)
    assert now.withheld == (*wide().withheld, *_beyond(wide(), policy))
    assert (not _beyond(wide(), policy)) == (name in ("none", "confirm"))
    raised = {tool: asks for tool, asks in now.confirm.items() if asks != wide().confirm[tool]}
    assert _asked_more_often(wide(), policy) == raised == ({"query": "once"} if name == "confirm" else {})


def test_what_is_not_approved_is_held_against_it_by_what_it_asks_for() -> None:
    asks = Permissions(read=("/srv", "${user_config.folder}"), environment=("TZ",))
    manifest = signed(permissions=asks).manifest
    policy = Policy((PolicyLayer(source="p", read=("/usr",), environment=()),))
    assert _beyond_manifest(manifest, policy) == (
        Withheld("environment=TZ", "p does not allow it"),
        Withheld("filesystem.read=/srv", "p does not allow it"),
    )


def test_a_kind_that_there_is_not_is_a_mistake_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('[redaction]\nemial = "mask"\n')
    files = PolicyFiles(tmp_path, system=tmp_path / "none" / "policy.toml", environ={})
    with pytest.raises(ConsentError) as caught:
        load_policy(files)
    assert caught.value.code == "policy.unknown_word"
