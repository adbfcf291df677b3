"""Finds host programs on PATH and asks them what they are, if no other user could have put them there.

To ask means to run the program, as the user and outside of any sandbox. So whoever could put a file on its
path could run code as the user. Every folder, link and file on this path must therefore belong to the user
or to root, and be writable by nobody else. If the program is a shim, it looks up other programs in such
folders only.
"""

from __future__ import annotations

import os
import stat

from mpp_exec import owners
from mpp_exec.errors import HostError

_PATIENCE = 20  # seconds


def found(name: str) -> str | None:
    """Return where the program *name* is on PATH, as it is named there; None where there is none.

    Raises:
        HostError: ``host.interpreter_untrusted``, another user could have put it there.
    """
    import shutil  # noqa: PLC0415 -- only for tools that start a program of the host

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
    try:
        found = owners.stranger(path)
    except OSError as error:
        raise HostError(
            "host.interpreter_untrusted", f"{path} cannot be looked at: {error.strerror}"
        ) from error
    if found is not None:
        raise _untrusted(*found)


def refuse_if_changeable(path: str) -> None:
    """Check that *path* itself is the user's or root's, and writable by nobody else.

    Raises:
        HostError: ``host.interpreter_untrusted``.
    """
    facts = os.stat(path)  # noqa: PTH116 -- one call, no object
    if owners.others_may_change(path, facts):
        raise _untrusted(path, facts)


def _untrusted(path: str, facts: os.stat_result) -> HostError:
    what = "it is not run" if stat.S_ISREG(facts.st_mode) else "nothing that it leads to is run"
    return HostError(
        "host.interpreter_untrusted",
        f"{path} can be changed by another user, so {what}",
        f"make it yours or root's, and writable by nobody else: chmod go-w {path}",
    )


def _paths() -> str:
    """Return PATH less the folders in which another user could put a program."""
    kept = []
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        try:
            if os.path.isabs(folder):  # noqa: PTH117
                refuse_if_replaceable(folder)
                kept.append(folder)
        except HostError:
            continue
    return os.pathsep.join(kept)


def answer(command: list[str]) -> str | None:
    """Return what *command* says on standard output, None where it fails. The caller has checked the program.

    It sees nothing of the user's environment but PATH and HOME, which shims need.
    """
    environment = {"PATH": _paths(), "LC_ALL": "C"}
    if home := os.environ.get("HOME"):
        environment["HOME"] = home
    import subprocess  # noqa: PLC0415 -- what it finds is kept; most processes never ask

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
