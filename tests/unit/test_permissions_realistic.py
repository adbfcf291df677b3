"""The order of permissions over what authors really write, and against a reading of its own, path by path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.permissions import Limits, Permissions
from mpp_exec.vocabulary import HostPort
from permission_strategies import destinations, limits, manifest_paths, permissions


def reach(one: Permissions, path: str) -> str:
    """Say what may be done with *path*: walk up to the first folder that is granted, writing first."""
    names = path.split("/")
    for length in range(len(names), 0, -1):
        folder = "/".join(names[:length]) or "/"
        if folder in one.write:
            hidden = any(name.startswith(".") for name in names[length:])
            return "read" if hidden else "write"
        if folder in one.read:
            return "read"
    return ""


def names(destination: HostPort) -> list[HostPort]:
    """Return some destinations that a granted one reaches."""
    host = destination.host
    if not host.startswith("*."):
        return [destination]
    return [HostPort(f"{label}{host[1:]}", destination.port) for label in ("api", "x", "api.deep")]


def reaches(one: Permissions, wanted: HostPort) -> bool:
    return any(
        granted.port == wanted.port
        and (
            granted.host == wanted.host
            or (granted.host[:2] == "*." and wanted.host.endswith(granted.host[1:]))
        )
        for granted in one.network
    )


@given(permissions, manifest_paths)
def test_reading_and_writing_are_decided_by_the_innermost_folder(one: Permissions, path: str) -> None:
    expected = reach(one, path)
    assert one.may_read(path) == (expected != "")
    assert one.may_write(path) == (expected == "write")


@given(permissions, permissions, manifest_paths, destinations)
def test_what_is_covered_reaches_nothing_more(
    one: Permissions, two: Permissions, path: str, wanted: HostPort
) -> None:
    """True is a proof: no path and no host can be found that only the narrower one reaches."""
    for wide, narrow in ((one, two), (one, one.intersect(two)), (one, one.reduced())):
        if not wide.covers(narrow):
            continue
        ranks = ("", "read", "write")
        for each in (path, *narrow.read, *narrow.write, *wide.read, *wide.write):
            assert ranks.index(reach(narrow, each)) <= ranks.index(reach(wide, each)), each
        for destination in (wanted, *(name for granted in narrow.network for name in names(granted))):
            assert not reaches(narrow, destination) or reaches(wide, destination)


@given(permissions, permissions, permissions)
def test_partial_order(one: Permissions, two: Permissions, three: Permissions) -> None:
    assert one.covers(one)
    if one.covers(two) and two.covers(one):
        assert one.reduced() == two.reduced()
    narrower = one.intersect(two)
    if two.covers(three):
        assert not narrower.covers(three) or one.covers(three)
    assert one.covers(narrower.intersect(three))


@given(permissions, st.data())
def test_attenuation_never_widens(one: Permissions, data: st.DataObject) -> None:
    less = one
    while words := less.words():
        word = data.draw(st.sampled_from(words))
        withheld = less.without(word)
        assert less.covers(withheld), word
        assert one.covers(withheld), word
        less = withheld
    assert less == Permissions()


@given(limits, limits)
def test_limits_meet_at_the_stricter_of_each(one: Limits, two: Limits) -> None:
    both = one.intersect(two)
    assert one.covers(both)
    assert two.covers(both)
    assert one.covers(two) == (both == two)
