"""Programs of the host: found over PATH, and asked what they are, where nobody else could have put them.

A question is answered by running the program, as the user and outside of any sandbox. So whoever could
put a file on the way to it would run as the user: every folder, link and file on that way has to be the
user's or root's, and writable by nobody else. What a shim looks up in turn is looked up in such folders only.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator

from mpp_exec.errors import HostError

_LINKS_MAX = 40  # as the kernel has it
_PATIENCE = 20  # seconds


def found(name: str) -> str | None:
    """Return where the program *name* is on PATH, as it is named there; None where there is none.

    Raises:
        HostError: ``host.interpreter_untrusted``, another user could have put it there.
    """
    path = shutil.which(name)
    if path is None:
        return None
    path = os.path.abspath(path)  # noqa: PTH100 -- links stay as they are
    refuse_if_replaceable(path)
    return path


def refuse_if_replaceable(path: str) -> None:
    """Check that only the user or root can change what is at *path*, or put something else there.

    Raises:
        HostError: ``host.interpreter_untrusted``, it names the file or folder that another user can change.
    """
    for each, facts in _on_the_way(path):
        refuse_if_changeable(each, facts)


def refuse_if_changeable(path: str, facts: os.stat_result | None = None) -> None:
    """Check that *path* itself is the user's or root's, and writable by nobody else.

    Raises:
        HostError: ``host.interpreter_untrusted``.
    """
    facts = facts or os.stat(path)  # noqa: PTH116 -- one call, no object
    mode, link = facts.st_mode, stat.S_ISLNK(facts.st_mode)
    # In a sticky folder others can make files, and replace none of the user's.
    shared = not link and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
    open_to_group = mode & stat.S_IWGRP and not _is_the_users_alone(facts.st_gid)
    if facts.st_uid not in (0, os.geteuid()) or (shared and (mode & stat.S_IWOTH or open_to_group)):
        raise HostError(
            "host.interpreter_untrusted",
            f"{path} can be changed by another user, so it is not run"
            if stat.S_ISREG(mode)
            else f"{path} can be changed by another user, so nothing that it leads to is run",
            f"make it yours or root's, and writable by nobody else: chmod go-w {path}",
        )


def _is_the_users_alone(group: int) -> bool:
    """Return whether *group* is root's, or the one that many systems give each user to be alone in."""
    if group == 0:
        return True
    try:
        user, entry = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return entry.gr_name == user and set(entry.gr_mem) <= {user}


def _on_the_way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every folder, link and file that is looked at when *path* is opened.

    Raises:
        HostError: there are too many links.
    """
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
            raise HostError("host.interpreter_untrusted", f"{path} leads over too many links")
        leads = os.readlink(here)  # noqa: PTH115 -- one call, no object
        at = "" if leads.startswith("/") else at
        pending += leads.split("/")[::-1]


def _paths() -> str:
    """Return PATH less the folders in which another user could put a program."""
    kept = []
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        try:
            if os.path.isabs(folder):  # noqa: PTH117
                refuse_if_replaceable(folder)
                kept.append(folder)
        except (OSError, HostError):
            continue
    return os.pathsep.join(kept)


def answer(command: list[str]) -> str | None:
    """Return what *command* says on standard output, None where it fails. The caller has checked the program.

    It sees nothing of the user's environment but PATH and HOME, which shims need.
    """
    environment = {"PATH": _paths(), "LC_ALL": "C"}
    if home := os.environ.get("HOME"):
        environment["HOME"] = home
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None
