"""Hosts that offer less than this one, simulated as closely as possible, for one command each.

A seccomp filter simulates a container's profile, and a kernel that lacks something. A user namespace of its
own simulates a limit of zero. Private mounts simulate file systems. As a program, ``simulated_host.py HOST
COMMAND…`` becomes the command on that host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import pyseccomp

CLONE_NEWUSER = 0x10000000
# System calls that Docker's default profile refuses without CAP_SYS_ADMIN
# (moby/profiles/seccomp/default.json).
DOCKER_MOUNTS = (
    *("mount", "umount2", "pivot_root", "setns", "unshare", "sethostname", "setdomainname"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
)
DOCKER_NAMESPACES = 0x7E020000
GET_ACTION_AVAIL = 2  # of seccomp(2)
PR_SET_DUMPABLE = 4  # of prctl(2)
# linux/mount.h, linux/sched.h; statvfs(3) has the same values for the bits that are used here.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1 << 10, 1 << 12, 1 << 14, 1 << 18, 1 << 21
CLONE_NEWNS = 0x00020000
LIBC = ctypes.CDLL(None, use_errno=True)


def _filter(*rules: tuple[int, str, tuple[pyseccomp.Arg, ...]]) -> None:
    made = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for number, name, arguments in rules:
        made.add_rule(pyseccomp.ERRNO(number), name, *arguments)
    made.load()


def docker() -> None:
    """Docker's default profile: no namespaces by clone or unshare, no mounts, ENOSYS for clone3."""
    rules = [(errno.EPERM, name, ()) for name in DOCKER_MOUNTS]
    # A filter cannot test for "any of these bits", so there is a rule for each bit.
    bits = [1 << bit for bit in range(32) if DOCKER_NAMESPACES >> bit & 1]
    refused = [(errno.EPERM, "clone", (pyseccomp.Arg(0, pyseccomp.MASKED_EQ, bit, bit),)) for bit in bits]
    _filter(*rules, *refused, (errno.ENOSYS, "clone3", ()))


def ubuntu() -> None:
    """Ubuntu 24.04: the clone succeeds, but in the new namespace AppArmor refuses what needs a capability."""
    calls = ("mount", "fsopen", "fsmount", "open_tree", "move_mount", "pivot_root", "mount_setattr")
    _filter(*((errno.EACCES, name, ()) for name in calls))


def no_landlock() -> None:
    """A kernel before 5.13, or built without Landlock."""
    _filter((errno.ENOSYS, "landlock_create_ruleset", ()))


def landlock_disabled() -> None:
    """A kernel that has Landlock and was booted without it."""
    _filter((errno.EOPNOTSUPP, "landlock_create_ruleset", ()))


def no_landlock_in_docker() -> None:
    """Neither namespaces nor Landlock."""
    docker()
    no_landlock()


def no_seccomp() -> None:
    """A kernel without CONFIG_SECCOMP_FILTER: it answers the question for available actions with EINVAL."""
    asked = pyseccomp.Arg(0, pyseccomp.EQ, GET_ACTION_AVAIL)
    _filter((errno.EINVAL, "seccomp", (asked,)))


def no_user_namespaces() -> None:
    """``user.max_user_namespaces=0``."""
    limited("max_user_namespaces", 0)


def few_net_namespaces() -> None:
    """``user.max_net_namespaces=2``: two sandboxes at once."""
    limited("max_net_namespaces", 2)


def few_processes() -> None:
    """The owner of the home may have 20 processes and threads (RLIMIT_NPROC), counted in a user namespace.

    The limit does not apply to root, so a test that runs as root gives the home to another user.
    """
    owner = Path(os.environ["MPP_HOME"]).stat()
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
        LIBC.prctl(PR_SET_DUMPABLE, 1)  # else root owns its files in /proc, and nobody can map its ids
    limited("max_user_namespaces", 1000)
    resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))


def limited(setting: str, most: int) -> None:
    """Set ``user.SETTING``, in a user namespace of its own with the ids of this host."""
    uid, gid = os.getuid(), os.getgid()
    unshared, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        os.write(unshared[1], b"x")
        os.read(mapped[0], 1)
        Path(f"/proc/sys/user/{setting}").write_text(str(most))
        return
    os.read(unshared[0], 1)
    if uid != 0:
        Path(f"/proc/{child}/setgroups").write_text("deny")
    many = "0 0 2147483647\n"
    Path(f"/proc/{child}/gid_map").write_text(f"{gid} {gid} 1\n" if uid else many)
    Path(f"/proc/{child}/uid_map").write_text(f"{uid} {uid} 1\n" if uid else many)
    os.write(mapped[1], b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def masked_proc() -> None:
    """``/proc`` as container engines show it: parts of it are covered, and settings are read-only."""
    own_mounts()
    for path in ("/proc/acpi", "/proc/scsi", "/proc/keys", "/proc/kcore", "/proc/timer_list"):
        if Path(path).is_dir():
            mount("none", path, "tmpfs", MS_RDONLY)
        elif Path(path).exists():
            mount("/dev/null", path, "", MS_BIND)
    over("/proc/sys", MS_RDONLY)


def no_proc() -> None:
    """No ``/proc`` at all: sandboxes are counted and measured with it."""
    own_mounts()
    mount("none", "/proc", "tmpfs", 0)


def noexec_home() -> None:
    """The home is on a file system from which no program may be run."""
    own_mounts()
    over(os.environ["MPP_HOME"], MS_NOEXEC)


def read_only_home() -> None:
    """The home is on a read-only file system."""
    own_mounts()
    over(os.environ["MPP_HOME"], MS_RDONLY)


def own_mounts() -> None:
    """Give this process its own mount namespace; nothing is mounted on the host, however this is called."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid != 0 else 0))
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1\n")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1\n")
    mount("", "/", "", MS_REC | MS_PRIVATE)


def over(path: str, flags: int) -> None:
    """Mount *path* on itself with *flags* added to its present flags, which a user may not remove."""
    mount(path, path, "", MS_BIND | MS_REC)
    kept = os.statvfs(path).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_RELATIME)
    mount("", path, "", MS_REMOUNT | MS_BIND | flags | kept)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """mount(2)."""
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    if LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


HOSTS = {
    "docker": docker,
    "ubuntu": ubuntu,
    "no-landlock": no_landlock,
    "landlock-disabled": landlock_disabled,
    "no-landlock-in-docker": no_landlock_in_docker,
    "no-seccomp": no_seccomp,
    "no-user-namespaces": no_user_namespaces,
    "few-net-namespaces": few_net_namespaces,
    "few-processes": few_processes,
    "masked-proc": masked_proc,
    "no-proc": no_proc,
    "noexec-home": noexec_home,
    "read-only-home": read_only_home,
}


def on(host: str, command: Sequence[str]) -> list[str]:
    """Return *command*, wrapped so that it runs on *host*."""
    return [sys.executable, str(Path(__file__).resolve()), host, *command]


if __name__ == "__main__":
    HOSTS[sys.argv[1]]()
    os.execvp(sys.argv[2], sys.argv[2:])
