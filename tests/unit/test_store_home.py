"""Where the home is, and which home is refused."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mpp_exec import owners
from mpp_exec.errors import MppError
from mpp_exec.registry import home as home_module
from mpp_exec.registry.home import Home, resolve_home

ROOT = os.geteuid() == 0
FOLDERS = {"keys": 0o700, "packages": 0o755, "storage": 0o700, "cache": 0o700, "tmp": 0o700}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path: Path) -> str:
    with pytest.raises(MppError) as caught:
        Home.open(path)
    assert caught.value.hint
    assert str(path.name) in caught.value.message or str(path.parent) in caught.value.message
    return caught.value.code


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        ("/a", {"MPP_HOME": "/b", "XDG_DATA_HOME": "/c", "HOME": "/d"}, "/a"),
        (None, {"MPP_HOME": "/b", "XDG_DATA_HOME": "/c", "HOME": "/d"}, "/b"),
        (None, {"MPP_HOME": "", "XDG_DATA_HOME": "/c", "HOME": "/d"}, "/c/mpp-exec"),
        (None, {"XDG_DATA_HOME": "c", "HOME": "/d"}, "/d/.local/share/mpp-exec"),
        (None, {"HOME": "/d"}, "/d/.local/share/mpp-exec"),
    ],
)
def test_home_is_chosen_in_order(option: str | None, environ: dict[str, str], expected: str) -> None:
    assert resolve_home(option, environ) == Path(expected)


def test_relative_choice_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_home("x", {}) == tmp_path / "x"
    assert resolve_home(None, {"MPP_HOME": "y"}) == tmp_path / "y"


def test_without_home_the_password_database_is_asked() -> None:
    assert resolve_home(None, {}).is_absolute()


def test_home_is_made_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        home = Home.open(tmp_path / "deep" / "er" / "home")
    finally:
        os.umask(old)
    assert mode(home.path) == mode(home.path.parent) == mode(home.path.parent.parent) == 0o700
    assert {path.name: mode(path) for path in home.path.iterdir()} == FOLDERS


def test_strict_umask_leaves_packages_readable(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        (tmp_path / "x").mkdir(mode=0o700)
        (tmp_path / "x").chmod(0o700)
        home = Home.open(tmp_path / "x")
    finally:
        os.umask(old)
    assert {path.name: mode(path) for path in home.path.iterdir()} == FOLDERS


def test_readable_home_is_closed(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    home.path.chmod(0o755)
    home.keys.chmod(0o755)
    Home.open(tmp_path / "home")
    assert mode(home.path) == mode(home.keys) == 0o700


def test_home_is_canonical(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert Home.open(tmp_path / "link" / "home").path == tmp_path / "home"


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777])
def test_home_that_others_can_write_is_refused(tmp_path: Path, bits: int) -> None:
    Home.open(tmp_path / "home")
    (tmp_path / "home").chmod(bits)
    assert refused(tmp_path / "home") == "home.writable"
    assert mode(tmp_path / "home") == bits, "it is refused, not repaired: who knows what was put there"


def test_link_is_refused(tmp_path: Path) -> None:
    Home.open(tmp_path / "real")
    (tmp_path / "home").symlink_to("real")
    assert refused(tmp_path / "home") == "home.link"
    (tmp_path / "dangling").symlink_to("absent")
    assert refused(tmp_path / "dangling") == "home.link"
    assert not (tmp_path / "absent").exists()


def test_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "README").write_text("mine")
    assert refused(folder) == "home.not_a_home"
    assert [path.name for path in folder.iterdir()] == ["README"]
    assert mode(folder) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="the organisation's policy is root's")
@pytest.mark.parametrize("name", ["", "below", "below/deep", "../linked"])
def test_place_of_the_organisations_policy_is_refused_and_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Closed to others as a home is, it would stop the calls of everybody else, who read it."""
    folder = tmp_path / "mpp-exec"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "policy.toml").write_text("")
    (tmp_path / "linked").symlink_to(folder)
    monkeypatch.setattr(home_module, "SYSTEM_POLICY", folder / "policy.toml")
    assert refused(folder / name) == "home.policy"
    assert mode(folder) == 0o755
    assert [path.name for path in folder.iterdir()] == ["policy.toml"]


def test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert refused(tmp_path / "home") == "home.not_a_folder"


def test_root_folder_and_nul_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MppError) as caught:
        Home.open(Path("/"))
    assert caught.value.code in ("home.not_a_home", "home.owner")
    with pytest.raises(MppError) as caught:
        Home.open(tmp_path / "a\0b")
    assert caught.value.code == "home.unknown"


def test_what_is_no_text_is_refused_and_not_made(tmp_path: Path) -> None:
    """SQLite is told a path as text, and so is the ledger."""
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir()
    (tmp_path / "link").symlink_to(odd)
    for path in (tmp_path / os.fsdecode(b"\xfe/home"), odd / "home", tmp_path / "link/home"):
        with pytest.raises(MppError) as caught:
            Home.open(path)
        assert caught.value.code == "home.unknown"
        assert "UTF-8" in caught.value.message
    assert sorted(tmp_path.iterdir()) == [tmp_path / "link", odd]
    assert list(odd.iterdir()) == []


def test_parent_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    """Somebody else could rename the home away and put another in its place."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert refused(tmp_path / "open" / "home") == "home.exposed"
    assert list((tmp_path / "open").iterdir()) == []
    (tmp_path / "open").chmod(0o1777)
    Home.open(tmp_path / "open" / "home")


@pytest.mark.skipif(not ROOT, reason="giving folders away takes root")
def test_parent_that_a_group_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member could put a home of his own making in its place between two looks, and back again."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 0, 1234)
    shared.chmod(0o770)
    assert refused(shared / "home") == "home.exposed"
    assert list(shared.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(owners, "others_may_change", lambda *_, **__: False)
        Home.open(shared / "home")
    shared.chmod(0o1770)
    Home.open(shared / "home")


def test_parent_that_the_users_own_group_can_write_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless its list names somebody: then the bits of the group are what that one may do, too."""
    name = pwd.getpwuid(os.geteuid()).pw_name if ROOT else "user"
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name=name))
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=[]))
    (tmp_path / "own").chmod(0o770)
    Home.open(tmp_path / "own" / "home")
    entries = (
        (1, 7, -1),
        (2, 7, 1234),
        (4, 0, -1),
        (16, 7, -1),
        (32, 0, -1),
    )  # acl(5)
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(tmp_path / "own", "system.posix_acl_access", access)
    except OSError as error:
        pytest.skip(f"this file system keeps no lists: {error}")
    assert refused(tmp_path / "own" / "home") == "home.exposed"


@pytest.mark.skipif(not ROOT, reason="giving folders away takes root")
def test_home_of_another_user_is_refused(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    os.chown(home.path, 1000, 1000)
    assert refused(home.path) == "home.owner"


@pytest.mark.skipif(not ROOT, reason="giving folders away takes root")
def test_home_inside_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1000, 1000)
    assert refused(tmp_path / "theirs" / "home") == "home.exposed"


def test_part_that_is_a_link_is_refused(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    home.tmp.rmdir()
    home.tmp.symlink_to(tmp_path)
    with pytest.raises(MppError) as caught:
        Home.open(tmp_path / "home")
    assert caught.value.code == "home.exposed"


def test_paths_are_made_of_names_and_digests_only(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    assert home.package_folder("sha256:" + "ab" * 32) == home.packages / ("ab" * 32)
    assert home.storage_folder("acme/csv") == home.storage / "acme" / "csv"
    for digest in ("", "ab" * 32, "sha256:../../x", "sha256:" + "AB" * 32, "sha256:" + "ab" * 32 + "\n"):
        with pytest.raises(ValueError, match="digest"):
            home.package_folder(digest)
    for name in ("", "acme", "acme/../x", "../acme", "acme/csv/x", "Acme/csv", "acme/csv\n"):
        with pytest.raises(ValueError, match="name"):
            home.storage_folder(name)


def test_many_processes_make_one_home(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from mpp_exec.registry.home import Home; Home.open(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    running = [subprocess.Popen(command) for _ in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8
    assert {path.name: mode(path) for path in (tmp_path / "home").iterdir()} == FOLDERS
