"""Decides who could change what a path leads to: only the user and root, or somebody else.

Source: path_resolution(7), inode(7) for the sticky bit, acl(5): with an access control list, the group bits
of the mode are the list's mask.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
from collections.abc import Collection, Iterator

_LINKS_MAX = 40  # as the kernel has it
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100  # <fcntl.h>
_STATX_BTIME = 0x800  # <linux/stat.h>
_ACCESS_LIST = "system.posix_acl_access"


Identity = tuple[int, int, int]
"""Device, inode, and when it was made (ns since 1970, 0 where the file system does not tell)."""


def identity(path: str) -> Identity:
    """Return which file *path* is, links not followed.

    The inode of a file that was removed may be the next one's, at once; the moment it was made is not.

    Raises:
        OSError: it is not there.
    """
    facts = os.lstat(path)
    return facts.st_dev, facts.st_ino, _birth(path)


def _birth(path: str) -> int:
    """Return the time of birth from statx(2), which Python's own stat does not tell."""
    import ctypes  # noqa: PLC0415 -- for approvals and grants of files, not for every call

    seen = ctypes.create_string_buffer(256)
    try:
        failed = ctypes.CDLL(None).statx(
            _AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, seen
        )
    except AttributeError:  # a C library before it
        return 0
    (mask,) = struct.unpack_from("I", seen, 0)
    if failed or not mask & _STATX_BTIME:
        return 0
    seconds, nanoseconds = struct.unpack_from("qI", seen, 80)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def stranger(path: str, *, also: Collection[int] = ()) -> tuple[str, os.stat_result] | None:
    """Return the first part of the way to *path* that somebody else could change, and its facts.

    None if there is no such part: then nobody but the user, root and *also* can change what is at *path*, or
    replace it.

    Raises:
        OSError: it is not there, or leads over too many links.
    """
    return next(((at, facts) for at, facts in _way(path) if others_may_change(at, facts, also=also)), None)


def others_may_change(path: str, facts: os.stat_result, *, also: Collection[int] = ()) -> bool:
    """Return whether somebody but the user, root and *also* could change what has *facts* at *path*."""
    mode = facts.st_mode
    if facts.st_uid not in (0, os.geteuid()) and facts.st_uid not in also:
        return True
    # In a sticky folder others can make files, and replace none of the user's. A link has no mode.
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return False
    if mode & stat.S_IWOTH:
        return True
    return bool(mode & stat.S_IWGRP) and not (_is_the_users_alone(facts.st_gid) and not _has_a_list(path))


def _is_the_users_alone(group: int) -> bool:
    """Return whether *group* is root's, or the one that many systems give each user to be alone in."""
    try:
        owner, entry = pwd.getpwuid(0 if group == 0 else os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return entry.gr_name == owner and set(entry.gr_mem) <= {owner}


def _has_a_list(path: str) -> bool:
    try:
        return bool(os.getxattr(path, _ACCESS_LIST))
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every folder, link and file that is looked at when *path*, which is absolute, is opened."""
    pending = path.split("/")[::-1]
    at, links = "", 0
    yield "/", os.lstat("/")
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = at.rpartition("/")[0]
            continue
        here = f"{at}/{part}"
        facts = os.lstat(here)
        yield here, facts
        if not stat.S_ISLNK(facts.st_mode):
            at = here
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        leads = os.readlink(here)  # noqa: PTH115 -- one call, no object
        at = "" if leads.startswith("/") else at
        pending += leads.split("/")[::-1]
