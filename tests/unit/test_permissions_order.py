"""When one asking is no wider than another: a partial order, and what it is used for."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.errors import UsageError
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy, is_protected_name, path_covers
from mpp_exec.sandbox.special import LED_ELSEWHERE

# Small vocabularies, so that values meet: covering and being covered must be common.
hosts = st.sampled_from(["a.x.y", "b.x.y", "c.b.x.y", "*.x.y", "*.b.x.y", "x.y", "*.y.z", "127.0.0.1", "::1"])
destinations = st.builds(HostPort, hosts, st.sampled_from([80, 443]))
paths = st.lists(st.sampled_from(["a", "b", ".git", "c.d"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


def tuples(entries: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(entries, max_size=4).map(lambda chosen: tuple(sorted(set(chosen))))  # type: ignore[type-var]


permissions = st.builds(
    Permissions,
    network=tuples(destinations),
    environment=tuples(st.sampled_from(["TZ", "A", "B"])),
    subprocess=tuples(st.sampled_from(["git", "rg"])),
    storage=st.sampled_from([0, 1, 2]),
    read=tuples(paths),
    write=tuples(paths),
)
limits = st.builds(Limits, **{bound.name: st.integers(0, 2) for bound in fields(Limits)})
privacy = st.builds(Privacy, allow=tuples(st.sampled_from("abc")), receive=tuples(st.sampled_from("abc")))

NOTHING = Permissions()


@given(permissions)
def test_reflexive(one: Permissions) -> None:
    assert one.covers(one)
    assert one.covers(NOTHING)


@given(permissions, permissions, permissions)
def test_transitive(one: Permissions, two: Permissions, three: Permissions) -> None:
    if one.covers(two) and two.covers(three):
        assert one.covers(three)


@given(permissions, permissions)
def test_antisymmetric_on_reduced_values(one: Permissions, two: Permissions) -> None:
    if one.covers(two) and two.covers(one):
        assert one.reduced() == two.reduced()


@given(permissions)
def test_reducing_changes_nothing_that_is_allowed(one: Permissions) -> None:
    assert one.reduced().covers(one)
    assert one.covers(one.reduced())
    assert one.reduced().reduced() == one.reduced()


@given(permissions, permissions)
def test_an_intersection_is_covered_by_both(one: Permissions, two: Permissions) -> None:
    both = one.intersect(two)
    assert one.covers(both)
    assert two.covers(both)
    assert both == two.intersect(one)


@given(permissions, permissions, permissions)
def test_an_intersection_is_the_widest_that_both_cover(
    one: Permissions, two: Permissions, three: Permissions
) -> None:
    if one.covers(three) and two.covers(three):
        assert one.intersect(two).covers(three)


@given(permissions, permissions)
def test_covering_means_that_the_intersection_is_the_narrower(one: Permissions, two: Permissions) -> None:
    assert one.covers(two) == (one.intersect(two) == two.reduced())


@given(permissions, st.data())
def test_withholding_narrows_and_never_widens(one: Permissions, data: st.DataObject) -> None:
    words = one.words()
    if not words:
        return
    word = data.draw(st.sampled_from(words))
    less = one.without(word)
    assert one.covers(less)
    assert less != one
    assert word not in less.words()


@given(permissions)
def test_withholding_every_word_leaves_nothing(one: Permissions) -> None:
    while words := one.words():
        one = one.without(words[-1])
    assert one == NOTHING


@given(permissions)
def test_an_unknown_word_is_refused_and_says_what_there_is(one: Permissions) -> None:
    for word in (
        "",
        "netwrk",
        "network=",
        "=",
        "storage=1",
        "filesystem.read=..",
        "filesystem.read=",
        "environment=",
    ):
        with pytest.raises(UsageError) as caught:
            one.without(word)
        assert caught.value.code == "permission.unknown"
        assert caught.value.hint


ASKED = Permissions(
    network=(
        HostPort("*.cdn.example.com", 443),
        HostPort("a.cdn.example.com", 443),
        HostPort("api.example.com", 443),
    ),
    environment=("A", "TZ"),
    subprocess=("git", "rg"),
    storage=1 << 24,
    read=("${user_config.dir}/in", "/data", "/data/a", "/database"),
    write=("/data/a", "/out"),
)


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("network", {"network": ()}),
        ("network=api.example.com:443", {"network": ASKED.network[:2]}),
        ("network=API.example.com.:443", {"network": ASKED.network[:2]}),
        ("network=*.cdn.example.com:443", {"network": ASKED.network[2:]}),
        ("network=*.example.com:443", {"network": ()}),
        ("network=a.cdn.example.com:443", {"network": (ASKED.network[0], ASKED.network[2])}),
        ("environment", {"environment": ()}),
        ("environment=TZ", {"environment": ("A",)}),
        ("subprocess", {"subprocess": ()}),
        ("subprocess=git", {"subprocess": ("rg",)}),
        ("storage", {"storage": 0}),
        ("filesystem", {"read": (), "write": ()}),
        ("filesystem.read", {"read": ()}),
        ("filesystem.write", {"write": ()}),
        ("filesystem.read=/data", {"read": ("${user_config.dir}/in", "/database")}),
        ("filesystem.read=/data/", {"read": ("${user_config.dir}/in", "/database")}),
        ("filesystem.write=/data/a", {"write": ("/out",)}),
        ("filesystem=/data/a", {"read": ("${user_config.dir}/in", "/data", "/database"), "write": ("/out",)}),
        ("filesystem.read=${user_config.dir}/in", {"read": ("/data", "/data/a", "/database")}),
        ("filesystem.read=/", {"read": ("${user_config.dir}/in",)}),
    ],
)
def test_what_each_word_withholds(word: str, changes: dict[str, object]) -> None:
    less = ASKED.without(word)
    for field in fields(Permissions):
        assert getattr(less, field.name) == changes.get(field.name, getattr(ASKED, field.name)), field.name


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("netwrok", "did you mean network?"),
        ("network=api.exmple.com:443", "did you mean network=api.example.com:443?"),
        ("subprocess=gti", "did you mean subprocess=git?"),
        ("filesystem.wirte=/out", "did you mean filesystem.write=/out?"),
        ("xyzzy", "it asks for: network, "),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        ASKED.without(word)
    assert hint in caught.value.hint


def test_a_write_grant_does_not_cover_what_decides_about_other_programs() -> None:
    folder = Permissions(write=("/p",))
    assert folder.covers(Permissions(write=("/p/src", "/p/src/a.c")))
    assert folder.covers(Permissions(read=("/p/.git", "/p/.ssh/id")))
    for named in (
        "/p/.git",
        "/p/.git/hooks",
        "/p/a/.vscode/tasks.json",
        "/p/.bashrc",
        "/p/CLAUDE.md",
        "/p/agents.md",
    ):
        assert not folder.covers(Permissions(write=(named,))), named
        assert folder.intersect(Permissions(write=(named,))) == Permissions(read=(named,))


def test_a_read_grant_inside_a_write_grant_takes_something_away() -> None:
    """The sandbox mounts it read-only. Without it the same folder would be writable, and that is wider."""
    whole = Permissions(write=("/p",))
    part = Permissions(read=("/p/in",), write=("/p",))
    assert whole.covers(part)
    assert not part.covers(whole)
    assert not part.covers(Permissions(write=("/p/in/deep",)))
    assert part.covers(Permissions(read=("/p/in/deep",), write=("/p/out",)))
    assert part.kept_read_only() == ("/p/in",)
    assert part.reduced() == part
    assert part.intersect(whole) == part
    again = Permissions(read=("/p/in",), write=("/p", "/p/in/deep"))
    assert again.may_write("/p/in/deep/x")
    assert not again.may_write("/p/in/x")
    assert not part.covers(again)


@pytest.mark.parametrize("word", ["filesystem.read", "filesystem.read=/p/in", "filesystem=/p/in"])
def test_withholding_what_is_read_only_inside_a_write_grant_does_not_make_it_writable(word: str) -> None:
    part = Permissions(read=("/other", "/p/in"), write=("/p", "/p/in/deep"))
    try:
        less = part.without(word)
    except UsageError as error:
        assert "withhold filesystem.write" in error.hint  # noqa: PT017 -- some of the words leave something over
        less = part
    assert not less.may_write("/p/in/x")
    assert part.covers(less)
    assert part.without("filesystem.write").read == ("/other", "/p/in")
    assert "filesystem.read=/p/in" not in part.words()


def test_everything_the_sandbox_mounts_read_only_is_protected_here() -> None:
    for path in LED_ELSEWHERE:
        assert is_protected_name(path.partition("/")[0]), path


def test_paths_are_compared_by_component() -> None:
    assert path_covers("/data", "/data/x")
    assert not path_covers("/data", "/database")
    assert path_covers("/", "/anything")
    assert not path_covers("/", "${user_config.dir}")
    assert path_covers("${user_config.dir}", "${user_config.dir}/x")
    assert not path_covers("${user_config.dir}", "${user_config.dir2}/x")


@given(limits, limits, limits)
def test_limits_are_ordered(one: Limits, two: Limits, three: Limits) -> None:
    assert one.covers(one)
    assert not (one.covers(two) and two.covers(three)) or one.covers(three)
    assert not (one.covers(two) and two.covers(one)) or one == two
    both = one.intersect(two)
    assert one.covers(both)
    assert two.covers(both)
    assert not (one.covers(three) and two.covers(three)) or both.covers(three)


@given(privacy, privacy)
def test_privacy_is_ordered(one: Privacy, two: Privacy) -> None:
    assert one.covers(one)
    assert one.covers(Privacy())
    assert not (one.covers(two) and two.covers(one)) or one == two
    assert one.covers(one.intersect(two))
    assert two.covers(one.intersect(two))


def test_each_bound_counts() -> None:
    base = Limits()
    for bound in fields(Limits):
        more = {
            field.name: getattr(base, field.name) + (field.name == bound.name) for field in fields(Limits)
        }
        assert not base.covers(Limits(**more)), bound.name
        assert Limits(**more).covers(base)


def test_permissions_in_plain_words() -> None:
    assert ASKED.describe() == [
        "connect to every host below cdn.example.com, port 443",
        "connect to a.cdn.example.com, port 443",
        "connect to api.example.com, port 443",
        "read ${user_config.dir}/in and everything below it",
        "read /data and everything below it",
        "read /database and everything below it",
        "read and change /data/a and everything below it; how much it writes there is not bounded",
        "read and change /out and everything below it; how much it writes there is not bounded",
        "see the environment variable A of this host",
        "see the environment variable TZ of this host",
        "start the program git of this host",
        "start the program rg of this host",
        "keep up to 16MiB in a private folder between calls",
    ]
    assert NOTHING.describe() == ["reach nothing outside its sandbox"]
    assert Limits().describe() == [
        "run for 10s",
        "use 5s of processor time",
        "use 256MiB of memory and 64MiB of temporary files",
        "have 16 processes and 64 open files",
        "return 1MiB",
    ]
    assert Privacy(("email",), ("iban",)).describe() == [
        "return email values unredacted",
        "be given the real iban value behind a token",
    ]


@given(permissions)
def test_everything_asked_for_is_said(one: Permissions) -> None:
    text = "\n".join(one.describe())
    for entries in (one.read, one.write, one.environment, one.subprocess):
        assert all(entry in text for entry in entries)
