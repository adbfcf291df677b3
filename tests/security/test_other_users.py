"""Another user of the machine holds a lock on what is a call's own, or takes an approved file's place.

A lock (flock(2)) takes no right to write, only a descriptor. So what a call has is closed to others, and
removed under the lock that the call holds itself.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpp_exec import owners
from mpp_exec.errors import HostError, MppError
from mpp_exec.registry.home import Home
from mpp_exec.registry.places import call_folder
from mpp_exec.sandbox import cgroup
from sandbox_lab import ATTEMPTS, Lab, attempt

ROOT = os.geteuid() == 0
OTHER = 1234
only_root = pytest.mark.skipif(not ROOT, reason="only root can be another user for a moment")


def error_of_another_user(path: Path) -> int:
    """Return the errno with which another user fails to open *path*, 0 where it does not."""
    child = os.fork()
    if child == 0:
        number = 255
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            number = 0
        except OSError as error:
            number = error.errno or 254
        finally:
            os._exit(number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def shelf_of(tmp_path: Path) -> Iterator[Path]:
    """A shelf for calls of a host that is root, on a path that others can pass through."""
    shelf = Path("/var/tmp") / f"mpp-shelf-{os.getpid()}"
    shelf.mkdir(mode=0o711)
    try:
        with call_folder(Home.open(tmp_path / "home"), root=True, shelf=shelf) as place:
            yield place
        assert list(shelf.iterdir()) == []
    finally:
        shelf.rmdir()


@only_root
def test_the_folder_of_a_call_cannot_be_opened_to_be_locked(tmp_path: Path) -> None:
    with shelf_of(tmp_path) as place:
        assert error_of_another_user(place) == 13
        place.chmod(0o755)
        assert error_of_another_user(place) == 0, "without the defence"


def test_the_folder_of_a_call_goes_although_somebody_waits_to_lock_it(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    over = threading.Event()

    def lock(descriptor: int) -> None:
        while not over.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return

    with call_folder(home, root=False) as place:
        (place / "made").write_text("by the tool")
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        attacker = threading.Thread(target=lock, args=(descriptor,))
        attacker.start()
    try:
        assert list(home.tmp.iterdir()) == []
    finally:
        over.set()
        attacker.join()
        os.close(descriptor)


@only_root
def test_the_cgroup_of_a_call_cannot_be_opened_to_be_locked() -> None:
    """Folders stand in for groups: their modes are the same."""
    parent = Path("/var/tmp") / f"mpp-groups-{os.getpid()}"
    parent.mkdir(mode=0o755)
    try:
        with cgroup.Group(str(parent), ()):
            (group,) = parent.iterdir()
            assert error_of_another_user(group) == 13
            group.chmod(0o755)
            assert error_of_another_user(group) == 0, "without the defence"
        assert list(parent.iterdir()) == []
    finally:
        parent.rmdir()


def test_a_lock_that_is_always_anothers_ends_the_call_and_leaves_no_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", taken)
    with pytest.raises(MppError), cgroup.Group(str(tmp_path), ()):
        pytest.fail("it was entered")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_an_approved_one_is_another_although_its_inode_comes_back(
    lab: Lab, ground: Path
) -> None:
    """A file system gives the number of a removed file to the next one, so that alone says nothing."""
    granted = ground / "data"
    granted.write_text("the user's")
    granted.chmod(0o644)
    approved = owners.identity(str(granted))
    if approved[2] == 0:
        pytest.skip("this file system does not tell when a file was made")
    plan = lab.python(ATTEMPTS, read=[granted], identities={str(granted): approved})
    assert attempt(plan, ("read", str(granted))) == ["the user's"]
    granted.unlink()
    for number in range(200):
        other = ground / f"other{number}"
        other.write_text("the attacker's")
        other.chmod(0o644)
        if other.lstat().st_ino == approved[1]:
            break
    other.rename(granted)
    with pytest.raises(HostError) as caught:
        attempt(plan, ("read", str(granted)))
    assert caught.value.code == "host.grant_changed"
    now = owners.identity(str(granted))
    by_number = lab.python(ATTEMPTS, read=[granted], identities={str(granted): (*now[:2], 0)})
    assert attempt(by_number, ("read", str(granted))) == ["the attacker's"], "without the defence"


@contextmanager
def way_of_another_user() -> Iterator[tuple[Path, Path]]:
    """A folder of another user's, as a $HOME that root was left with, and one of root's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        theirs, ours = Path(name, "theirs"), Path(name, "ours")
        for folder in (theirs, ours):
            folder.mkdir(mode=0o755)
        os.chown(theirs, OTHER, OTHER)
        yield theirs, ours


@only_root
@pytest.mark.parametrize("part", [".local", ".local/share"])
def test_a_link_of_another_user_leads_to_no_home(part: str) -> None:
    """It would choose among root's homes, and so its grants and policy, or have one made anywhere."""
    with way_of_another_user() as (theirs, ours):
        link = theirs / part
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(ours)
        for each in {link.parent, link}:
            os.chown(each, OTHER, OTHER, follow_symlinks=False)
        with pytest.raises(MppError) as caught:
            Home.open(environ={"HOME": str(theirs)})
        assert caught.value.code == "home.exposed"
        assert list(ours.iterdir()) == []


@only_root
def test_a_link_of_another_user_in_a_sticky_folder_leads_to_no_home() -> None:
    with way_of_another_user() as (theirs, ours):
        os.chown(theirs, 0, 0)
        theirs.chmod(0o1777)
        (theirs / "link").symlink_to(ours)
        os.chown(theirs / "link", OTHER, OTHER, follow_symlinks=False)
        with pytest.raises(MppError) as caught:
            Home.open(theirs / "link" / "home")
        assert caught.value.code == "home.exposed"
        assert "link" in caught.value.message
        assert list(ours.iterdir()) == []


@only_root
def test_a_home_that_is_refused_leaves_nothing_in_the_folder_of_another_user() -> None:
    """A ~/.local of root's would keep its user from all that is kept there."""
    with way_of_another_user() as (theirs, _):
        with pytest.raises(MppError) as caught:
            Home.open(environ={"HOME": str(theirs)})
        assert caught.value.code == "home.exposed"
        assert list(theirs.iterdir()) == []


def test_a_named_cgroup_that_is_a_folder_of_files_has_nothing_written_where_they_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write to a folder that $MPP_CGROUP names would have root write into any file."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    (tmp_path / "cgroup.subtree_control").symlink_to(canary)
    monkeypatch.setenv("MPP_CGROUP", str(tmp_path))
    cgroup._delegation.cache_clear()
    with pytest.raises(HostError) as caught:
        cgroup.delegation()
    assert caught.value.code == "host.cgroup"
    assert canary.read_text() == "as it was"
