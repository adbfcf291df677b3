"""The mount table, and every place where one folder of the host can be seen.

A path does not identify a folder: bind mounts show the same folder, or a part of it, elsewhere. The file
system and the path inside that file system identify it. ``/proc/thread-self/mountinfo``
(proc_pid_mountinfo(5)) gives both for every mount.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass

from mpp_exec.errors import HostError
from mpp_exec.patterns import lazily

_MOUNTINFO = "/proc/thread-self/mountinfo"
_ESCAPE = lazily(r"\\([0-7]{3})")
_MOUNT_ID = lazily(rb"^mnt_id:\s*([0-9]+)$", re.MULTILINE)

KERNEL_FILE_SYSTEMS = frozenset(
    {
        "binder",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "cpuset",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nfsd",
        "nsfs",
        "proc",
        "pstore",
        "resctrl",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    }
)
"""File systems that are an interface to the kernel: what lies on one is never granted."""

DISKS = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay", "ramfs"}
    | {"reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
"""File systems of this machine: to list a folder of theirs asks no server and no other program, and ends."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: the folder *root* of file system *device*, attached at *point*."""

    id: int
    device: str
    root: str
    point: str
    fstype: str


def beneath(path: str, folder: str) -> bool:
    """Return whether the canonical absolute *path* is *folder* or lies inside it; compares only the text."""
    return path == folder or path.startswith(folder if folder.endswith("/") else folder + "/")


def _rebase(path: str, old: str, new: str) -> str:
    """Return the place below *new* that *path* has below *old*; normpath would keep a leading ``//``."""
    rest = path[len(old.rstrip("/")) :].strip("/")
    return "/".join([new.rstrip("/"), rest]) if rest else new


@dataclass(frozen=True, slots=True, eq=False)
class MountTable:
    """The mounts that the calling thread sees, in the order in which they were made.

    Compared by identity: :meth:`read` returns the same table again while the mounts are the same.
    """

    mounts: tuple[Mount, ...]

    @classmethod
    def read(cls) -> MountTable:
        """Read the table of the calling thread's mount namespace.

        Raises:
            HostError: ``host.mountinfo`` without ``/proc``: a path that cannot be looked up is not granted.
        """
        try:
            return _parsed(_read(_MOUNTINFO).decode("utf-8", "surrogateescape"))
        except (OSError, ValueError, IndexError) as error:
            raise _unreadable(error) from error

    @classmethod
    def parse(cls, text: str) -> MountTable:
        """Parse the text of a mountinfo file. Malformed lines raise ValueError or IndexError."""
        mounts = []
        # Not splitlines: the kernel escapes line feeds in names, but no other character that it splits at.
        for line in text.removesuffix("\n").split("\n"):
            left, right = line.split(" - ", 1)
            number, _, device, root, point = left.split(" ")[:5]
            mounts.append(Mount(int(number), device, _unescape(root), _unescape(point), right.split(" ")[0]))
        return cls(tuple(mounts))

    def holding(self, path: str) -> Mount:
        """Return the mount on which the existing *path* lies (its own, if a mount sits on it).

        Raises:
            OSError: *path* cannot be looked up.
            HostError: ``host.mountinfo`` when the kernel does not tell.
        """
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # The kernel's own answer: comparing prefixes goes wrong where mounts hide one another.
            number = int(_MOUNT_ID.findall(_read(f"/proc/thread-self/fdinfo/{descriptor}"))[0])
        except (OSError, ValueError, IndexError) as error:
            raise _unreadable(error) from error
        finally:
            os.close(descriptor)
        for mount in self.mounts:
            if mount.id == number:
                return mount
        raise _unreadable(LookupError(f"mount {number} of {path} is not in the table"))

    def appearances(self, path: str) -> tuple[str, ...]:
        """Return every place where the existing *path*, or a folder inside it, can be seen.

        *path* itself is among them. A bind mount of a folder inside *path* counts with its mount
        point. Places that another mount hides are listed too: too many is safe, too few is not.
        """
        mount = self.holding(path)
        if not beneath(path, mount.point):
            raise _unreadable(LookupError(f"{path} is not below its mount point {mount.point}"))
        inside = _rebase(path, mount.point, mount.root)
        places = {path}
        for other in self.mounts:
            if other.device != mount.device:
                continue
            if beneath(inside, other.root):
                places.add(_rebase(inside, other.root, other.point))
            elif beneath(other.root, inside):
                places.add(other.point)
        return tuple(sorted(places))

    def inside(self, folder: str) -> tuple[Mount, ...]:
        """Return the mounts whose mount point lies strictly inside *folder*."""
        return tuple(m for m in self.mounts if m.point != folder and beneath(m.point, folder))


@functools.lru_cache(maxsize=2)
def _parsed(text: str) -> MountTable:
    return MountTable.parse(text)


def _read(path: str) -> bytes:
    """Read a file of ``/proc`` in as few reads as possible: the list can change between two reads."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _unescape(field: str) -> str:
    """Undo the octal escapes of space, tab, newline and backslash, in bytes, as the kernel wrote them."""
    raw = _ESCAPE.sub(
        lambda match: chr(int(match[1], 8)), field.encode("utf-8", "surrogateescape").decode("latin-1")
    )
    return raw.encode("latin-1").decode("utf-8", "surrogateescape")


def _unreadable(error: Exception) -> HostError:
    return HostError(
        "host.mountinfo",
        f"cannot look up where folders are mounted: {error}",
        "mount /proc: without it, no path can be checked and none is granted",
    )
