"""No grant reaches what decides about grants, by whatever name the folder goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mpp_exec
from mpp_exec.consent.paths import Protected
from mpp_exec.errors import ConsentError
from mpp_exec.registry.home import other_homes
from private_mounts import run_in_private_mounts


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "deep" / "mpp-home"
    (folder / "keys").mkdir(parents=True)
    return folder


@pytest.fixture
def protected(home: Path, tmp_path: Path) -> Protected:
    (tmp_path / "user").mkdir()
    return Protected.of_host(home, environ={"HOME": str(tmp_path / "user")})


def refused(protected: Protected, path: object, *, write: bool = False) -> str:
    with pytest.raises(ConsentError) as caught:
        protected.check(os.path.realpath(str(path)), write=write)
    assert caught.value.hint
    return caught.value.code


def test_home_and_everything_in_it_is_refused(protected: Protected, home: Path) -> None:
    (home / "keys" / "home.key").write_text("secret")
    for path in (home, home / "keys", home / "keys" / "home.key"):
        assert refused(protected, path) == "grant.protected"


def test_home_that_nothing_names_is_covered_in_a_grant_to_a_tool_of_another_home(
    home: Path, tmp_path: Path
) -> None:
    user = tmp_path / "user"
    usual = user / ".local/share/mpp-exec"
    (usual / "keys").mkdir(parents=True)
    environ = {"HOME": str(user), "MPP_HOME": str(home)}
    others = other_homes(home, environ)
    guarded = Protected.of_host(home, others=others, environ=environ)
    assert refused(guarded, usual / "keys") == "grant.protected"
    assert str(usual) in guarded.check(str(user / ".local"), write=False)
    unaware = Protected.of_host(home, environ=environ)
    assert unaware.check(str(user / ".local"), write=False) == (), "the attack is real"


def test_kernel_interfaces_are_refused(protected: Protected) -> None:
    assert refused(protected, "/proc") == "grant.kernel_file_system"
    assert refused(protected, "/proc/sys/kernel") == "grant.kernel_file_system"
    assert refused(protected, "/sys") == "grant.kernel_file_system"
    for path in ("/dev", "/run", "/dev/shm"):
        assert refused(protected, path) in ("grant.protected", "grant.kernel_file_system")


def test_installed_program_is_refused(protected: Protected) -> None:
    program = Path(mpp_exec.__file__).parent
    assert refused(protected, program) == "grant.protected"
    assert refused(protected, program / "trust") == "grant.protected"


def test_modules_that_the_host_imports_are_not_writable(protected: Protected) -> None:
    """A module written beside the installed package would run unconfined in the next host process."""
    beside = Path(mpp_exec.__file__).parent.parent
    assert refused(protected, beside, write=True) == "grant.protected"
    assert protected.check(str(beside), write=False) == (str(beside / "mpp_exec"),)


def test_containing_grant_covers_the_home(protected: Protected, home: Path, tmp_path: Path) -> None:
    assert protected.check(str(tmp_path), write=False) == (str(home),)
    assert protected.check(str(home.parent), write=True) == (str(home),)


def test_grant_of_the_whole_root_covers_everything(protected: Protected, home: Path) -> None:
    covers = protected.check("/", write=False)
    assert {"/proc", "/sys", "/dev", "/run", str(home)} <= set(covers)
    assert not any(a != b and a.startswith(b + "/") for a in covers for b in covers), "covers do not nest"


def test_whole_home_folder_is_never_writable(protected: Protected, tmp_path: Path) -> None:
    (tmp_path / "user" / "inside").mkdir()
    for path in (tmp_path / "user", tmp_path, "/"):
        assert refused(protected, path, write=True) == "grant.whole_home"
    assert protected.check(str(tmp_path / "user"), write=False) == ()
    assert protected.check(str(tmp_path / "user" / "inside"), write=True) == ()


def test_policy_that_does_not_exist_yet_cannot_be_created(home: Path, tmp_path: Path) -> None:
    """A cover needs a place: where the policy's folder is missing, a writer of its parent could make it."""
    protected = Protected.of_host(
        home, policies=[tmp_path / "etc" / "mpp-exec"], environ={"HOME": "/nowhere"}
    )
    (tmp_path / "etc").mkdir()
    assert refused(protected, tmp_path / "etc", write=True) == "grant.uncoverable"
    assert protected.check(str(tmp_path / "etc"), write=False) == ()
    (tmp_path / "etc" / "mpp-exec").mkdir()
    assert protected.check(str(tmp_path / "etc"), write=True) == (str(tmp_path / "etc" / "mpp-exec"),)
    assert refused(protected, tmp_path / "etc" / "mpp-exec") == "grant.protected"


BIND = """
import ctypes, errno, os, sys
from pathlib import Path
from mpp_exec.consent.paths import Protected, pins
from mpp_exec.errors import ConsentError
from mpp_exec.registry.home import other_homes

libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, fstype=None, flags=0):
    Path(target).mkdir(parents=True, exist_ok=True)
    if libc.mount(str(source).encode(), str(target).encode(), fstype and fstype.encode(), flags, None):
        raise OSError(ctypes.get_errno(), "mount", str(target))
MS_BIND = 4096
base = Path(sys.argv[1])
home = base / "work" / "deep" / "mpp-home"
(home / "keys" / "deep").mkdir(parents=True, exist_ok=True)
(base / "user" / "w").mkdir(parents=True, exist_ok=True)
protected = Protected.of_host(home, environ={"HOME": str(base / "user")})
def check(path, write=False):
    try:
        return protected.check(str(path), write=write)
    except ConsentError as error:
        return error.code
"""


def test_bind_mount_of_the_home_is_the_home(tmp_path: Path) -> None:
    """Bound elsewhere, the home, a folder inside it and a folder above it are recognised."""
    program = """
mount(home, base / "a", None, MS_BIND)
mount(home / "keys", base / "b", None, MS_BIND)
mount(base / "work", base / "c", None, MS_BIND)
mount(base / "user", base / "d", None, MS_BIND)
print(check(base / "a"), check(base / "a" / "keys"), check(base / "b"), check(base / "b" / "deep"))
print(check(base / "c" / "deep" / "mpp-home" / "keys"), check(base / "c"), check(base / "d", True))
print(check(base))
"""
    out = run_in_private_mounts(BIND + program, tmp_path).splitlines()
    assert out[0].split() == ["grant.protected"] * 4
    assert out[1] == f"grant.protected ('{tmp_path}/c/deep/mpp-home',) grant.whole_home"
    assert out[2] == str(
        tuple(f"{tmp_path}/{p}" for p in ("a", "b", "c/deep/mpp-home", "work/deep/mpp-home"))
    )


def test_bind_mount_is_recognised_by_device_and_inode_alone(tmp_path: Path) -> None:
    """The second comparison: what the mount table fails to tell, device and inode of every parent do."""
    program = """
from mpp_exec.consent.mounts import MountTable
MountTable.appearances = lambda self, path: (path,)
mount(home, base / "a", None, MS_BIND)
print(check(base / "a"), check(base / "a" / "keys" / "deep"))
"""
    assert run_in_private_mounts(BIND + program, tmp_path) == "grant.protected grant.protected\n"


def test_new_instance_of_a_kernel_file_system_is_refused_and_covered(tmp_path: Path) -> None:
    """One that shares nothing with what is below /proc, /sys and /dev."""
    program = """
mount("none", base / "wide" / "terminals", "devpts", 0)
print(check(base / "wide" / "terminals"), check(base / "wide"))
"""
    out = run_in_private_mounts(BIND + program, tmp_path)
    assert out == f"grant.kernel_file_system ('{tmp_path}/wide/terminals',)\n"


def test_kernel_file_system_mounted_elsewhere(tmp_path: Path) -> None:
    """A proc or a bind of sysfs under an innocent name is refused, and covered inside a wider grant."""
    program = """
mount("/proc", base / "wide" / "innocent", None, MS_BIND | 16384)
mount("/proc/sys", base / "wide" / "sub", None, MS_BIND | 16384)
for path in ("innocent", "innocent/self", "sub"):
    print(check(base / "wide" / path))
print(check(base / "wide", True))
"""
    out = run_in_private_mounts(BIND + program, tmp_path).splitlines()
    assert out[:3] == ["grant.kernel_file_system"] * 3
    assert out[3] == str((f"{tmp_path}/wide/innocent", f"{tmp_path}/wide/sub"))


def test_cover_could_be_moved_away_without_pins(tmp_path: Path) -> None:
    """Why `pins` exists: a folder above a cover can be renamed, unless it is a mount point itself."""
    program = """
grant = base / "work"
(base / "empty").mkdir()
mount(grant, grant, None, MS_BIND)
mount(base / "empty", home, None, MS_BIND)
os.rename(grant / "deep", grant / "moved")
os.rename(grant / "moved", grant / "deep")
print("moved away")
libc.umount2(str(home).encode(), 2)
covers = check(grant, True)
for pin in pins(str(grant), covers):
    mount(pin, pin, None, MS_BIND)
mount(base / "empty", home, None, MS_BIND)
for victim in (grant / "deep", home):
    try:
        os.rename(victim, grant / "moved")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    out = run_in_private_mounts(BIND + program, tmp_path).splitlines()
    assert out == ["moved away", "EBUSY", "EXDEV"]


def test_mountinfo_line_cannot_be_forged(tmp_path: Path) -> None:
    """A mount point with spaces and newlines in its name does not add lines or fields to the table."""
    program = """
for break_ in "\\n\\r\\x0b\\x0c\\x1c\\x85\\u2028":
    evil = base / f"x 27 1 9:9 / {break_}99 1 0:1 / / rw - proc proc"
    mount(home, evil, None, MS_BIND)
    print(check(evil), check(base / "user" / "w", True))
"""
    out = run_in_private_mounts(BIND + program, tmp_path)
    assert out == "grant.protected ()\n" * 7
