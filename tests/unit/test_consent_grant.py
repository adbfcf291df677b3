"""A grant is what was asked for less something, and never more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_samples import KEY_ID, MANIFEST, NOW, UNPROTECTED, grant, signed
from mpp_exec.consent.approve import carry_over, make_grant, parse_redaction
from mpp_exec.consent.config import Settings, check_settings
from mpp_exec.consent.grant import MAX_GRANT_SIZE, Grant, effective
from mpp_exec.consent.paths import Protected, ProtectedPath
from mpp_exec.consent.policy import Policy, PolicyLayer, Withheld
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.package.manifest import ConfigField
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy

FOLDER = ConfigField("data_dir", "directory", required=True)


def refusal(function: Any, *arguments: Any, **keywords: Any) -> MppError:
    with pytest.raises(MppError) as caught:
        function(*arguments, **keywords)
    assert caught.value.hint
    return caught.value


def wide(tmp_path: Path) -> tuple[Any, Settings]:
    """A package that asks for everything, below *tmp_path*, and its settings."""
    (tmp_path / "data" / "sub").mkdir(parents=True, exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    package = signed(
        permissions=Permissions(
            network=(HostPort("*.cdn.example.com", 443), HostPort("api.example.com", 443)),
            environment=("TZ",),
            subprocess=("git",),
            storage=1 << 20,
            read=("${user_config.data_dir}",),
            write=(f"{tmp_path}/out",),
        ),
        privacy=Privacy(allow=("email",), receive=("phone",)),
        user_config=(FOLDER, ConfigField("token", "string", sensitive=True)),
    )
    settings = check_settings(
        package.manifest.user_config, {"data_dir": f"{tmp_path}/data"}, {"token": "hunter2"}
    )
    return package, settings


def test_grant_is_pinned_and_holds_final_paths(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    found = grant(package, settings)
    assert (found.package, found.version, found.digest, found.key_id) == (
        "acme/csv",
        "1.4.0",
        package.digest,
        KEY_ID,
    )
    assert found.permissions.read == (f"{tmp_path}/data",)
    assert found.permissions.write == (f"{tmp_path}/out",)
    assert found.config == {"data_dir": f"{tmp_path}/data"}
    assert found.secrets == ("token",)
    assert found.confirm == {"query": "never", "save": "never", "wipe": "always"}
    assert found.approved_at == datetime(2026, 11, 23, 12, 30, 15, 123000, tzinfo=UTC)
    assert found.withheld == ()


def test_secret_is_nowhere_in_a_grant(tmp_path: Path) -> None:
    found = grant(*wide(tmp_path))
    assert b"hunter2" not in found.encode()
    assert "hunter2" not in repr(found)


def test_grant_survives_storage(tmp_path: Path) -> None:
    found = grant(*wide(tmp_path), without=["network"])
    assert Grant.decode(found.encode()) == found
    assert Grant.decode(found.encode()).fingerprint == found.fingerprint


def test_permission_is_withheld_by_word(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    words = [
        "network=*.cdn.example.com:443",
        "environment",
        "filesystem.write",
        "privacy.allow=email",
        "storage",
        "filesystem.read=${user_config.data_dir}",
    ]
    found = grant(package, settings, without=words)
    assert found.permissions == Permissions(network=(HostPort("api.example.com", 443),), subprocess=("git",))
    assert found.privacy == Privacy(receive=("phone",))
    assert found.withheld == tuple(Withheld(word, "withheld by you") for word in words)


def test_final_path_can_be_withheld_too(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    assert grant(package, settings, without=[f"filesystem.read={tmp_path}/data"]).permissions.read == ()
    assert grant(package, settings, without=["privacy"]).privacy == Privacy()


@pytest.mark.parametrize(
    "word", ["netwrk", "network=other.org:443", "privacy.allow=phone", "privacy.x", "limits"]
)
def test_unknown_word_is_an_error(word: str, tmp_path: Path) -> None:
    """A word that withholds nothing was mistyped, and the permission would stay granted."""
    package, settings = wide(tmp_path)
    assert refusal(grant, package, settings, without=[word]).code == "permission.unknown"


def test_missing_path_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    (tmp_path / "out").rmdir()
    error = refusal(grant, package, settings)
    assert error.code == "path.missing"
    assert f"--without filesystem.write='{tmp_path}/out'" in error.hint
    assert grant(package, settings, without=[f"filesystem.write={tmp_path}/out"]).permissions.write == ()


def test_setting_without_a_value_grants_nothing() -> None:
    package = signed(
        permissions=Permissions(read=("${user_config.extra}/x",)),
        user_config=(ConfigField("extra", "directory"),),
    )
    found = grant(package)
    assert found.permissions == Permissions()
    assert found.withheld == (
        Withheld("filesystem.read=${user_config.extra}/x", "the setting extra has no value"),
    )


def test_policy_takes_away(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    layer = PolicyLayer(
        source="p",
        network=(),
        storage=0,
        limits={"wall_ms": 1_000},
        redaction={"email": "mask"},
        confirm={"read": "once"},
    )
    found = grant(package, settings, policy=Policy((layer,)))
    assert found.permissions.network == ()
    assert found.permissions.storage == 0
    assert found.limits == Limits(wall_ms=1_000)
    assert found.privacy == Privacy(receive=("phone",))
    assert found.confirm == {"query": "once", "save": "never", "wipe": "always"}
    assert len(found.withheld) == 5


def test_refused_publisher_gets_no_grant() -> None:
    policy = Policy((PolicyLayer(source="p", denied_publishers=("acme",)),))
    assert refusal(grant, policy=policy).code == "policy.publisher"


def test_degradation_is_part_of_the_grant_and_of_policy() -> None:
    assert grant(degrade=["cgroup"], degradable=["cgroup", "landlock"]).degradations == ("cgroup",)
    error = refusal(grant, degrade=["cgroups"], degradable=["cgroup"])
    assert (error.code, error.hint) == ("grant.unknown_degradation", "did you mean 'cgroup'?")
    assert refusal(grant, degrade=["cgroup"]).code == "grant.unknown_degradation"
    policy = Policy((PolicyLayer(source="p", degradations=()),))
    assert (
        refusal(grant, degrade=["cgroup"], degradable=["cgroup"], policy=policy).code == "policy.degradation"
    )


def test_confirmation_can_be_raised_and_not_lowered() -> None:
    assert grant(confirm={"query": "always"}).confirm["query"] == "always"
    assert refusal(grant, confirm={"wipe": "once"}).code == "grant.confirm_lowered"
    assert refusal(grant, confirm={"wpie": "always"}).code == "grant.unknown_tool"


def test_command_that_needs_what_was_withheld_is_refused_at_approval() -> None:
    runtime = MANIFEST.runtime.__class__("exec", command=("t", "${storage}"))
    package = signed(runtime=runtime, permissions=Permissions(storage=5))
    grant(package)
    assert refusal(grant, package, without=["storage"]).code == "config.no_storage"
    policy = Policy((PolicyLayer(source="p", storage=0),))
    assert refusal(grant, package, policy=policy).code == "config.no_storage"


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        make_grant(signed(), Settings(), policy=Policy(), protected=UNPROTECTED, now=NOW.replace(tzinfo=None))


def test_protected_path_is_covered_or_refused(tmp_path: Path) -> None:
    package, settings = wide(tmp_path)
    inside = Protected((ProtectedPath(f"{tmp_path}/out/deep/keys", "a secret"),), ())
    (tmp_path / "out" / "deep" / "keys").mkdir(parents=True)
    found = grant(package, settings, protected=inside)
    assert found.covers == (f"{tmp_path}/out/deep/keys",)
    assert found.pins() == (f"{tmp_path}/out/deep",)
    around = Protected((ProtectedPath(f"{tmp_path}", "a secret"),), ())
    assert refusal(grant, package, settings, protected=around).code == "grant.protected"


def test_effective_grant_follows_policy_of_the_moment(tmp_path: Path) -> None:
    found = grant(*wide(tmp_path), degrade=["cgroup"], degradable=["cgroup"])
    assert effective(found, Policy(), UNPROTECTED) == found
    layer = PolicyLayer(
        source="p",
        subprocess=(),
        write=(),
        degradations=(),
        confirm={"write": "always"},
        limits={"memory": 1},
    )
    less = effective(found, Policy((layer,)), UNPROTECTED)
    assert less.permissions.subprocess == less.permissions.write == less.degradations == ()
    assert less.confirm == {"query": "never", "save": "always", "wipe": "always"}
    assert less.limits.memory == 1
    assert {each.permission for each in less.withheld} == {
        "subprocess=git",
        f"filesystem.write={tmp_path}/out",
        "limits.memory",
        "degradation=cgroup",
    }
    denied = Policy((PolicyLayer(source="p", publishers=()),))
    assert refusal(effective, found, denied, UNPROTECTED).code == "policy.publisher"


def test_effective_grant_sees_what_is_protected_by_now(tmp_path: Path) -> None:
    found = grant(*wide(tmp_path))
    now = Protected((ProtectedPath(f"{tmp_path}/data/sub", "new"),), ())
    assert effective(found, Policy(), now).covers == (f"{tmp_path}/data/sub",)
    gone = Protected((ProtectedPath(f"{tmp_path}/data", "new"),), ())
    assert refusal(effective, found, Policy(), gone).code == "grant.protected"


def test_effective_grant_leaves_missing_paths_to_the_sandbox(tmp_path: Path) -> None:
    found = grant(*wide(tmp_path))
    (tmp_path / "out").rmdir()
    assert effective(found, Policy(), UNPROTECTED).permissions.write == (f"{tmp_path}/out",)


def test_a_choice_of_redaction_takes_away_what_was_asked_for() -> None:
    package = signed(privacy=Privacy(allow=("email", "phone"), receive=("email",)))
    found = grant(package, redaction={"email": "token", "ssn": "drop", "phone": "allow", "binary": "allow"})
    assert found.privacy == Privacy(allow=("phone",), receive=("email",))
    assert found.redaction == {"email": "token", "ssn": "drop"}
    assert Withheld("privacy.allow=email", "you chose token") in found.withheld
    assert Grant.decode(found.encode()) == found
    assert "return ssn values as nothing" in found.describe()


def test_a_choice_of_redaction_never_allows_what_was_not_asked_for_or_was_withheld() -> None:
    package = signed(privacy=Privacy(allow=("email",)))
    assert refusal(grant, package, redaction={"phone": "allow"}).code == "privacy.not_asked"
    without = ["privacy.allow=email"]
    error = refusal(grant, package, without=without, redaction={"email": "allow"})
    assert error.code == "privacy.not_asked"


def test_a_choice_of_redaction_is_cut_down_by_the_policy_of_the_moment_and_carried_over() -> None:
    found = grant(redaction={"email": "token", "phone": "drop"})
    policy = Policy((PolicyLayer(source="p", redaction={"email": "hash", "phone": "mask"}),))
    now = effective(found, policy, UNPROTECTED)
    assert now.redaction == {"email": "hash", "phone": "drop"}
    assert Withheld("privacy.email=token", "policy wants it redacted (hash)") in now.withheld
    later = carry_over(found, signed(version="1.4.1"), policy=Policy(), protected=UNPROTECTED)
    assert later is not None
    assert later.redaction == found.redaction


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["email"], "privacy.malformed"),
        (["email=hide"], "privacy.unknown_action"),
        (["binary=mask"], "privacy.unknown_action"),
        (["email=mask", "email=drop"], "privacy.twice"),
    ],
)
def test_words_of_redaction_that_say_nothing_are_refused(words: list[str], code: str) -> None:
    assert refusal(parse_redaction, words).code == code


@pytest.mark.parametrize(
    "change",
    [
        {"redaction": {"email": "blur"}},
        {"redaction": {"email": []}},
        {"redaction": 1},
        {"grant_version": 2},
        {"package": 5},
        {"extra": 1},
        {"confirm": {"query": "never"}},
        {"confirm": {"query": "maybe", "save": "never", "wipe": "always"}},
        {"confirm": {"query": "never", "save": "never", "wipe": "always", "x": "never"}},
        {"permissions": {}},
        {"limits": {"wall_ms": "1"}},
        {"withheld": [["a"]]},
        {"config": {"x": None}},
        {"config": {"x": [[1]]}},
        {"approved_at": 1 << 62},
        {"shown": {}},
        {"shown": {"tools": [1]}},
        {"covers": [1]},
    ],
)
def test_stored_grant_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    value = {**grant().to_value(), **change}
    with pytest.raises(ConsentError) as caught:
        Grant.decode(dumps(value))
    assert caught.value.code == "grant.unreadable"


@pytest.mark.parametrize("missing", sorted(grant().to_value()))
def test_stored_grant_that_lacks_a_key_is_refused(missing: str) -> None:
    value = grant().to_value()
    del value[missing]
    with pytest.raises(ConsentError):
        Grant.from_value(value)


def test_stored_grant_must_be_canonical() -> None:
    data = grant().encode()
    for broken in (b"", data[:-1], data + b"\0", b"\xff" * 10):
        with pytest.raises(ConsentError):
            Grant.decode(broken)
    assert loads(data, max_size=MAX_GRANT_SIZE, max_depth=40)["package"] == "acme/csv"


# Attenuation: small vocabularies, real folders.

hosts = st.sampled_from(["a.x.org", "b.x.org", "*.x.org", "y.org"])
words = st.sampled_from(["A", "B", "C"])
kinds = st.sampled_from(["email", "phone"])


def unique(strategy: st.SearchStrategy[Any], size: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=size, unique=True).map(lambda items: tuple(sorted(items)))


paths = st.sampled_from(["/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/var"])
permissions = st.builds(
    Permissions,
    network=unique(st.builds(HostPort, hosts, st.sampled_from([80, 443]))),
    environment=unique(words),
    subprocess=unique(words),
    storage=st.integers(0, 9),
    read=unique(paths),
    write=unique(paths),
)
layers = st.builds(
    PolicyLayer,
    source=st.just("p"),
    environment=st.none() | unique(words),
    storage=st.none() | st.integers(0, 9),
    read=st.none() | unique(paths),
    write=st.none() | unique(paths),
    limits=st.dictionaries(st.sampled_from(["wall_ms", "memory"]), st.integers(1, 20_000), max_size=2),
    redaction=st.dictionaries(kinds, st.just("mask"), max_size=1),
)
policies = st.lists(layers, max_size=2).map(lambda found: Policy(tuple(found)))


@pytest.mark.parametrize("when", ["at approval", "later"])
def test_what_was_kept_inside_something_to_write_goes_with_it(when: str) -> None:
    """A person withholds reading, and the organisation, then or later, writing: nothing is left to read."""
    package = signed(permissions=Permissions(read=("/", "/usr"), write=("/",)))
    narrow = Policy((PolicyLayer(source="p", write=()),))
    found = grant(package, policy=narrow if when == "at approval" else Policy(), without=["filesystem.read"])
    left = (found if when == "at approval" else effective(found, narrow, UNPROTECTED)).permissions
    assert (left.read, left.write) == ((), ())


@given(data=st.data(), asked=permissions, policy=policies, later=policies)
def test_no_step_ever_widens(data: st.DataObject, asked: Permissions, policy: Policy, later: Policy) -> None:
    package = signed(permissions=asked, privacy=Privacy(allow=("email", "phone")))
    chosen = data.draw(st.lists(st.sampled_from(asked.words()), max_size=3)) if asked.words() else []
    found = grant(package, policy=policy, without=chosen)
    assert asked.covers(found.permissions)
    assert package.manifest.limits.covers(found.limits)
    assert package.manifest.privacy.covers(found.privacy)
    for word in chosen:
        with pytest.raises(UsageError):
            found.permissions.without(word)
    assert grant(package, policy=policy).permissions.covers(found.permissions)
    again = effective(found, later, UNPROTECTED)
    assert found.permissions.covers(again.permissions)
    assert found.limits.covers(again.limits)
    assert found.privacy.covers(again.privacy)
    assert Grant.decode(found.encode()) == found
