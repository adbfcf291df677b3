"""A policy only takes away, whatever its layers are and in whatever order they come."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.consent.policy import ACTIONS, NetworkPattern, Policy, PolicyLayer, Withheld, stricter
from mpp_exec.consent.policy_file import parse_layer, parse_network_pattern
from mpp_exec.errors import ConsentError
from mpp_exec.package.manifest import CONFIRMS, OPERATIONS
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy
from mpp_exec.vocabulary import VocabularyError

EXAMPLE = """
carry_over = false
[publishers]
allow = ["acme", "sha256:{key}"]
deny = ["evil"]
[permissions]
network = ["*.example.com:443", "*:8443", "build.local:*"]
environment = ["TZ"]
subprocess = ["git"]
storage = "64MiB"
[permissions.filesystem]
read = ["/srv", "/home/u/data"]
write = ["/srv/out"]
[limits]
wall = "60s"
processes = 4
[degradations]
allow = ["cgroup"]
[confirm]
write = "once"
destructive = "always"
[redaction]
email = "mask"
ip_address = "allow"
""".format(key="ab" * 32)


def example() -> Policy:
    return Policy((parse_layer(EXAMPLE, "policy.toml", narrowing=False),))


def refusal(text: str, *, narrowing: bool = False) -> ConsentError:
    with pytest.raises(ConsentError) as caught:
        parse_layer(text, "p.toml", narrowing=narrowing)
    assert caught.value.hint
    return caught.value


def test_empty_policy_bounds_nothing() -> None:
    asked = Permissions(
        network=(HostPort("a.b", 1),), storage=5, read=("/",), write=("/x",), environment=("A",)
    )
    for policy in (Policy(), Policy((parse_layer("", "p", narrowing=True),))):
        assert policy.ceiling(asked) == (asked, ())
        assert policy.bound(Limits(memory=10**12)) == (Limits(memory=10**12), ())
        assert policy.carry_over
        assert policy.redaction == {}
        assert policy.degradation_refusal("cgroup") == ""
        policy.require_publisher("anybody", "sha256:x")


def test_permissions_outside_are_withheld_with_a_reason() -> None:
    asked = Permissions(
        network=(
            HostPort("a.example.com", 443),
            HostPort("a.example.com", 80),
            HostPort("*.example.com", 443),
            HostPort("elsewhere.org", 8443),
            HostPort("build.local", 22),
        ),
        environment=("TZ", "USER"),
        subprocess=("git", "sh"),
        storage=1 << 30,
        read=("/srv/a", "/home/u/data", "/home/u/database", "/srv/out/x"),
        write=("/srv/out/y", "/srv/a"),
    )
    allowed, withheld = example().ceiling(asked)
    assert allowed == Permissions(
        network=tuple(d for d in asked.network if d != HostPort("a.example.com", 80)),
        environment=("TZ",),
        subprocess=("git",),
        storage=64 << 20,
        read=("/srv/a", "/home/u/data", "/srv/out/x"),
        write=("/srv/out/y",),
    )
    reason = "policy.toml does not allow it"
    assert set(withheld) == {
        Withheld("network=a.example.com:80", reason),
        Withheld("environment=USER", reason),
        Withheld("subprocess=sh", reason),
        Withheld("filesystem.read=/home/u/database", reason),
        Withheld("filesystem.write=/srv/a", reason),
        Withheld("storage", "policy.toml allows 64MiB at most"),
    }


def test_bound_on_reading_holds_for_writing_too() -> None:
    policy = Policy((PolicyLayer(source="p", read=("/srv",)),))
    assert policy.ceiling(Permissions(write=("/etc", "/srv/x")))[0].write == ("/srv/x",)


def test_limits_are_lowered_to_the_smallest() -> None:
    policy = Policy(
        (*example().layers, PolicyLayer(source="q", limits={"wall_ms": 5_000, "memory": 1 << 30}))
    )
    bounded, withheld = policy.bound(Limits(wall_ms=90_000, processes=9))
    assert (bounded.wall_ms, bounded.processes, bounded.memory) == (5_000, 4, Limits().memory)
    assert Withheld("limits.wall", "policy.toml allows 1m at most") in withheld
    assert Withheld("limits.wall", "q allows 5s at most") in withheld


def test_publishers_by_name_and_by_key() -> None:
    policy = example()
    policy.require_publisher("acme", "sha256:other")
    policy.require_publisher("unlisted", "sha256:" + "ab" * 32)
    for name, key in (("other", "sha256:x"), ("evil", "sha256:" + "ab" * 32)):
        with pytest.raises(ConsentError) as caught:
            policy.require_publisher(name, key)
        assert caught.value.code == "policy.publisher"


def test_empty_list_of_publishers_admits_none() -> None:
    with pytest.raises(ConsentError):
        Policy((PolicyLayer(source="p", publishers=()),)).require_publisher("acme", "sha256:x")


def test_confirmation_is_raised_and_never_lowered() -> None:
    policy = example()
    assert policy.confirmation("read", "never") == "never"
    assert policy.confirmation("write", "never") == "once"
    assert policy.confirmation("write", "always") == "always"
    lax = Policy((PolicyLayer(source="p", confirm={"destructive": "never"}),))
    assert lax.confirmation("destructive", "always") == "always"


def test_degradations_that_a_layer_lists_are_all_it_allows() -> None:
    assert example().degradation_refusal("cgroup") == ""
    assert "landlock" in example().degradation_refusal("landlock")


def test_redacted_kinds_are_not_disclosed() -> None:
    kept, withheld = example().disclose(Privacy(allow=("email", "ip_address", "phone"), receive=("email",)))
    assert kept == Privacy(allow=("ip_address", "phone"))
    reason = "policy wants it redacted (mask)"
    assert withheld == (Withheld("privacy.allow=email", reason), Withheld("privacy.receive=email", reason))


def test_what_may_be_a_token_may_be_received() -> None:
    policy = Policy((PolicyLayer(source="p", redaction={"email": "token", "phone": "partial"}),))
    kept, _ = policy.disclose(Privacy(allow=("email",), receive=("email", "iban", "phone")))
    assert kept == Privacy(receive=("email", "iban"))


def test_a_choice_of_redaction_is_cut_down_to_what_the_layers_leave() -> None:
    policy = Policy((PolicyLayer(source="p", redaction={"email": "hash", "phone": "partial"}),))
    actions, withheld = policy.redact({"email": "token", "phone": "drop", "ssn": "partial"})
    assert actions == {"email": "hash", "phone": "drop", "ssn": "partial"}
    assert withheld == (Withheld("privacy.email=token", "policy wants it redacted (hash)"),)


def test_effective_policy_can_be_printed() -> None:
    document = example().to_json()
    assert json.loads(json.dumps(document)) == document
    layer = document["layers"][0]
    assert layer["publishers"] == {"allow": ["acme", "sha256:" + "ab" * 32], "deny": ["evil"]}
    assert layer["permissions"]["network"] == ["*.example.com:443", "*:8443", "build.local:*"]
    assert document["effective"] == {
        "carry_over": False,
        "storage": "64MiB",
        "limits": {"wall": "1m", "processes": "4"},
        "confirm": {"write": "once", "destructive": "always"},
        "redaction": {"email": "mask", "ip_address": "allow"},
    }
    again = parse_layer("carry_over = true\n[permissions]\nnetwork = []", "p", narrowing=True).to_json()
    assert again == {"source": "p", "carry_over": True, "permissions": {"network": []}}


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("carry_over", "policy.malformed", "TOML"),
        ("carry_over = 1", "policy.wrong_type", "carry_over"),
        ("cary_over = true", "policy.unknown_key", "carry_over"),
        ("[publishers]\nalow = []", "policy.unknown_key", "allow"),
        ('[publishers]\nallow = ["Acme"]', "policy.unknown_word", "publishers.allow[0]"),
        ('[publishers]\nallow = "acme"', "policy.wrong_type", "list"),
        ('[permissions]\nnetwork = ["example.com"]', "policy.unknown_word", "no port"),
        ('[permissions]\nstorage = "64MB"', "policy.unknown_word", "64MB"),
        ("[permissions]\nstorage = 5", "policy.wrong_type", "storage"),
        ('[permissions.filesystem]\nread = ["srv"]', "policy.unknown_word", "read[0]"),
        ('[permissions.filesystem]\nwrite = ["/srv/../etc"]', "policy.unknown_word", "'..'"),
        ('[permissions]\nenvironment = ["LD_PRELOAD"]', "policy.unknown_word", "LD_PRELOAD"),
        ("[limits]\nprocesses = 0", "policy.unknown_word", "at least 1"),
        ("[limits]\nprocesses = true", "policy.wrong_type", "processes"),
        ("[limits]\nmem = 5", "policy.unknown_key", "memory"),
        ('[confirm]\nwrite = "maybe"', "policy.unknown_word", "write"),
        ('[confirm]\nwrites = "once"', "policy.unknown_key", "write"),
        ('[redaction]\nemail = "blur"', "policy.unknown_word", "blur"),
        ('[redaction]\nbinary = "mask"', "policy.unknown_word", "drop"),
        ("[redaction]\nemail = 1", "policy.unknown_word", "email"),
        ("redaction = 1", "policy.wrong_type", "redaction"),
        ('[redaction]\n"E-Mail" = "mask"', "policy.unknown_word", "E-Mail"),
        ('[degradations]\nallow = ["No Such"]', "policy.unknown_word", "No Such"),
        ("a = " + "[" * 5000, "policy.malformed", "p.toml"),
        ("a = " + "9" * 5000, "policy.malformed", "p.toml"),  # CPython's own ValueError
    ],
)
def test_mistakes_are_named(text: str, code: str, shown: str) -> None:
    error = refusal(text)
    assert error.code == code
    assert "p.toml" in error.message
    assert shown in f"{error.message} {error.hint}"


def test_users_layer_cannot_leave_data_unredacted() -> None:
    assert refusal('[redaction]\nemail = "allow"', narrowing=True).code == "policy.widens"
    parse_layer('[redaction]\nemail = "allow"', "p", narrowing=False)


@pytest.mark.parametrize(
    "text", ["*:*", "*:443", "a.b:*", "a.b:443", "*.a.b:*", "[::1]:*", "[::1]:80", "127.0.0.1:80"]
)
def test_network_patterns_round_trip(text: str) -> None:
    assert str(parse_network_pattern(text)) == text


@pytest.mark.parametrize(
    "text", ["", "*", ":443", "*:", "*:0", "*.com:443", "a.*.b:443", "https://a.b:443", "*:99999"]
)
def test_network_patterns_that_are_none(text: str) -> None:
    with pytest.raises(VocabularyError):
        parse_network_pattern(text)


# Property tests: small vocabularies, so that things meet.

hosts = st.sampled_from(["a.x.org", "b.x.org", "*.x.org", "*.a.x.org", "y.org"])
ports = st.sampled_from([80, 443])
destinations = st.builds(HostPort, hosts, ports)
paths = st.lists(st.sampled_from(["a", "b", ".ssh"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
words = st.sampled_from(["A", "B", "C"])


def unique(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3, unique=True).map(lambda items: tuple(sorted(items)))


permissions = st.builds(
    Permissions,
    network=unique(destinations),
    environment=unique(words),
    subprocess=unique(words),
    storage=st.integers(0, 9),
    read=unique(paths),
    write=unique(paths),
)
patterns = st.builds(NetworkPattern, st.one_of(hosts, st.just("*")), st.one_of(ports, st.just(0)))
layers = st.builds(
    PolicyLayer,
    source=st.just("p"),
    carry_over=st.booleans(),
    network=st.none() | st.lists(patterns, max_size=2).map(tuple),
    environment=st.none() | unique(words),
    subprocess=st.none() | unique(words),
    storage=st.none() | st.integers(0, 9),
    read=st.none() | unique(paths),
    write=st.none() | unique(paths),
    limits=st.dictionaries(st.sampled_from(["wall_ms", "memory"]), st.integers(1, 50), max_size=2),
    confirm=st.dictionaries(st.sampled_from(OPERATIONS), st.sampled_from(CONFIRMS), max_size=2),
    redaction=st.dictionaries(st.sampled_from(["email", "phone"]), st.sampled_from(ACTIONS), max_size=2),
    degradations=st.none() | unique(words),
    import_once=st.booleans(),
)
policies = st.lists(layers, max_size=3).map(lambda found: Policy(tuple(found)))


@given(policies, permissions)
def test_ceiling_never_widens_and_is_stable(policy: Policy, asked: Permissions) -> None:
    allowed, withheld = policy.ceiling(asked)
    assert asked.covers(allowed)
    assert policy.ceiling(allowed) == (allowed, ())
    assert (allowed == asked) == (not withheld)


@given(policies, policies, permissions)
def test_another_layer_never_widens(policy: Policy, more: Policy, asked: Permissions) -> None:
    both = Policy(policy.layers + more.layers)
    assert policy.ceiling(asked)[0].covers(both.ceiling(asked)[0])
    assert both.ceiling(asked)[0] == Policy(more.layers + policy.layers).ceiling(asked)[0]
    assert policy.bound(Limits())[0].covers(both.bound(Limits())[0])
    assert not (both.carry_over and not policy.carry_over)
    for operation, confirm in itertools.product(OPERATIONS, CONFIRMS):
        asks = both.confirmation(operation, confirm)
        assert stricter(asks, policy.confirmation(operation, confirm)) == asks
    for kind, action in policy.redaction.items():
        assert ACTIONS.index(both.redaction[kind]) >= ACTIONS.index(action)
    for word in ("A", "B"):
        assert policy.degradation_refusal(word) == "" or both.degradation_refusal(word)
    assert policy.once(asked=True)[0] or not both.once(asked=True)[0]


@given(policies, permissions, permissions)
def test_ceiling_is_monotone(policy: Policy, asked: Permissions, more: Permissions) -> None:
    """Asking for more never makes less of what was asked for before allowed."""
    wider = Permissions(
        network=tuple(sorted({*asked.network, *more.network})),
        environment=tuple(sorted({*asked.environment, *more.environment})),
        subprocess=tuple(sorted({*asked.subprocess, *more.subprocess})),
        storage=max(asked.storage, more.storage),
        read=tuple(sorted({*asked.read, *more.read})),
        write=tuple(sorted({*asked.write, *more.write})),
    )
    assert policy.ceiling(wider)[0].gives(policy.ceiling(asked)[0])


@given(patterns, destinations)
def test_pattern_admits_only_what_its_text_says(pattern: NetworkPattern, destination: HostPort) -> None:
    if pattern.covers(destination):
        assert pattern.port in (0, destination.port)
        suffix = pattern.host.removeprefix("*")
        assert destination.host == pattern.host or destination.host.removeprefix("*").endswith(suffix)
