"""A home that no variable names any more, in a folder that a tool is granted: its keys stay its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.calls import prepare
from mpp_exec.consent import homes
from mpp_exec.consent.grant import found_covers
from mpp_exec.consent.paths import Protected
from mpp_exec.errors import ConsentError
from mpp_exec.permissions import Permissions
from mpp_exec.registry.home import Home
from mpp_exec.registry.store import Store
from private_mounts import run_in_private_mounts
from stage import NAME, Stage

TAKES = """
import os

def run(home, beside):
    found = []
    for attempt in (
        lambda: open(home + "/keys/_home.key", "rb").read().hex(),
        lambda: os.listdir(home + "/keys"),
        lambda: open(home + "/state.db", "r+b").write(b"x"),
        lambda: os.rename(home, beside + "/moved"),
        lambda: open(home + "/new", "x").close(),
        lambda: open(beside + "/said").read(),
    ):
        try:
            found.append(attempt())
        except OSError as error:
            found.append(type(error).__name__)
    return found
"""

LISTS = """
import os

def run(folder):
    return [len(os.listdir(each)) for each in os.scandir(os.fsencode(folder)) if each.is_dir()]
"""


def made(path: Path) -> Path:
    """Make a home at *path*, as a command does that is told to use it."""
    with Store(Home.open(path)):
        pass
    return path


@pytest.fixture
def stage(tmp_path: Path, ground: Path) -> Iterator[Stage]:
    (ground / "said").write_text("hello")
    with Stage(tmp_path) as opened:
        yield opened


def grant(stage: Stage, ground: Path, *, write: bool) -> None:
    permissions = Permissions(write=(str(ground),)) if write else Permissions(read=(str(ground),))
    stage.python(TAKES, permissions=permissions, tool={"operation": "write" if write else "read"})


def taken(stage: Stage, ground: Path, home: Path) -> Any:
    result = stage.runtime.call(NAME, "run", {"home": str(home), "beside": str(ground)})
    assert result.outcome == "ok", result
    assert result.structured is not None
    return result.structured["result"]


def assert_untouched(found: Any, home: Path, state: bytes) -> None:
    assert found[:3] == ["FileNotFoundError"] * 3
    assert set(found[3:5]) <= {"OSError", "PermissionError"}
    assert found[5] == "hello", "the rest of the folder is there"
    assert (home / "state.db").read_bytes() == state
    assert not (home / "new").exists()


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("place", ["earlier", "work/of/last/year/.home"])
def test_of_a_home_that_was_there_nothing_is_seen(
    stage: Stage, ground: Path, place: str, write: bool
) -> None:
    home = made(ground / place)
    state = (home / "state.db").read_bytes()
    grant(stage, ground, write=write)
    assert stage.runtime.store.approved(NAME).grant.covers == (str(home),), "it is shown at approval"
    assert_untouched(taken(stage, ground, home), home, state)


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_nor_of_one_that_came_after_the_approval(
    stage: Stage, ground: Path, monkeypatch: pytest.MonkeyPatch, write: bool
) -> None:
    grant(stage, ground, write=write)
    home = made(ground / "work/later")
    state = (home / "state.db").read_bytes()
    assert_untouched(taken(stage, ground, home), home, state)
    another = made(ground / "work/still-later")
    monkeypatch.setattr(prepare, "_SEARCHED", -1.0)
    state = (another / "state.db").read_bytes()
    assert_untouched(taken(stage, ground, another), another, state)


def test_what_was_found_at_approval_is_not_lost_where_there_is_more_than_a_call_can_search(
    stage: Stage, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = made(ground / "work/of/last/year/.home")
    state = (home / "state.db").read_bytes()
    grant(stage, ground, write=False)
    monkeypatch.setattr(prepare, "QUICK", 1)
    assert_untouched(taken(stage, ground, home), home, state)


def test_one_that_is_gone_is_in_nobodys_way(stage: Stage, ground: Path) -> None:
    home = made(ground / "earlier")
    grant(stage, ground, write=True)
    home.rename(ground.with_name(f"{ground.name}-aside"))
    aside = ground.with_name(f"{ground.name}-aside")
    try:
        assert taken(stage, ground, home)[5] == "hello"
    finally:
        aside.rename(home)


@pytest.mark.parametrize("name", [b"a\nb", b"\x1b[31m", "\u202e".encode(), b"\xff"], ids=ascii)
def test_whatever_the_folder_is_called(stage: Stage, ground: Path, name: bytes) -> None:
    """A call covers it, and approval names it, or says of which name that cannot be done."""
    permissions = Permissions(write=(str(ground),))
    stage.python(LISTS, permissions=permissions, tool={"operation": "write"})
    home = key_in(ground / os.fsdecode(name))
    result = stage.runtime.call(NAME, "run", {"folder": str(ground)})
    assert result.structured == {"result": [0]}
    protected = Protected.of_host(stage.home)
    if name != b"\xff":
        assert found_covers(permissions, protected) == (home,)
        return
    with pytest.raises(ConsentError) as refused:
        found_covers(permissions, protected)
    assert refused.value.code == "grant.uncoverable"
    assert "udcff" in refused.value.message


def test_a_link_leads_to_none(stage: Stage, ground: Path) -> None:
    home = made(ground / "work/of/last/year/.home")
    state = (home / "state.db").read_bytes()
    (ground / "link").symlink_to(home)
    (ground / "parent").symlink_to(home.parent)
    grant(stage, ground, write=True)
    for way in (ground / "link", ground / "parent/.home"):
        found = taken(stage, ground, way)
        assert found[:3] == ["FileNotFoundError"] * 3
        (ground / "moved").unlink(missing_ok=True)  # the link itself is the tool's to move
    assert (home / "state.db").read_bytes() == state


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("inside", ["", "keys", "keys/_home.key", "state.db", "storage", "link"])
def test_it_cannot_be_granted(stage: Stage, ground: Path, inside: str, write: bool) -> None:
    home = made(ground / "earlier")
    (ground / "link").symlink_to(home / "keys")
    path = ground / "link" if inside == "link" else home / inside
    with pytest.raises(ConsentError) as refused:
        grant(stage, path, write=write)
    assert refused.value.code == "grant.protected"


@pytest.mark.parametrize("came", ["around", "instead"])
def test_nor_is_a_grant_kept_where_one_came(stage: Stage, ground: Path, came: str) -> None:
    """What was an ordinary folder when it was agreed to lies in a home now, or is one."""
    folder = ground / "home/storage" if came == "around" else ground / "home"
    folder.mkdir(parents=True)
    grant(stage, folder, write=False)
    (ground / "home/storage").mkdir(exist_ok=True)
    made(ground / "home")
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME, "run", {})
    assert refused.value.code == "grant.protected"


def test_the_keys_alone_are_known_where_they_are_mounted_elsewhere(tmp_path: Path) -> None:
    program = """
import ctypes, sys
from pathlib import Path
from mpp_exec.consent.grant import found_covers
from mpp_exec.consent.paths import Protected
from mpp_exec.errors import ConsentError
from mpp_exec.registry.home import Home
from mpp_exec.registry.store import Store

base = Path(sys.argv[1])
home = base / "earlier"
with Store(Home.open(home)):
    pass
seen = base / "granted/seen"
seen.mkdir(parents=True)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(str(home / "keys").encode(), str(seen).encode(), None, 4096, None) == 0
protected = Protected.of_host(base / "home", environ={"HOME": "/nowhere"})
for path in (seen, seen / "_home.key"):
    try:
        print(protected.check(str(path), write=False))
    except ConsentError as error:
        print(error.code)
print(protected.homes_within([str(base)], 1000))
found = protected.with_homes([str(home)])
print(found.check(str(base / "granted"), write=False))
"""
    out = run_in_private_mounts(program, tmp_path).splitlines()
    assert out[:2] == ["grant.protected"] * 2
    assert out[2:] == [f"('{tmp_path}/earlier', '{tmp_path}/granted/seen')", f"('{tmp_path}/granted/seen',)"]


def key_in(folder: Path) -> str:
    (folder / "keys").mkdir(parents=True)
    (folder / "keys/_home.key").touch()
    return str(folder)


def test_a_search_is_bounded_goes_to_the_nearest_first_and_follows_no_link(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    deep, near = key_in(inside / "a/b/c"), key_in(inside / "z")
    key_in(outside)
    (inside / "link").symlink_to(outside)
    (inside / "keys").mkdir()
    for number in range(50):
        (inside / f"m{number}").mkdir()
    assert homes.homes_in([str(inside)], 10_000) == (near, deep)
    assert homes.homes_in([str(inside)], 10_000, {str(inside / "a")}) == (near,)
    assert homes.homes_in([str(inside), str(inside / "a")], 10_000) == (near, deep)
    assert homes.homes_in([str(inside)], 490) == (near,)
    for steps in (0, 1, 20):
        assert homes.homes_in([str(inside)], steps) == ()
    assert homes.homes_in([str(tmp_path / "gone"), deep], 1000) == (f"{deep}/keys",), (
        "one that is given is none"
    )


def test_no_disk_of_another_machine_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may never answer; and what no grant reaches anyway is left out."""
    home = key_in(tmp_path / "inside/home")
    protected = Protected((), ())
    assert protected.homes_within([str(tmp_path)], 1000) == (home,)
    assert protected.with_homes([str(tmp_path / "inside")]).homes_within([str(tmp_path)], 1000) == ()
    assert protected.homes_within([str(tmp_path / "gone")], 1000) == ()
    monkeypatch.setattr("mpp_exec.consent.paths.DISKS", frozenset())
    monkeypatch.setattr(os, "scandir", None)
    assert protected.homes_within([str(tmp_path)], 1000) == ()
