"""Folders for one call each, for sandboxes without mounts, which need a place for scratch.

A folder is made locked, and is removed with everything that a tool left in it. After a SIGKILL of the host,
the folder is unlocked, and the next call removes it. If the host is root, the folder lies outside of the
home, which the tool's own id cannot enter: in a folder of root that others can traverse but not list. The
folder of a call can be traversed, too, but not opened: a process that can open it could hold a lock on it
and so keep it from being removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mpp_exec.errors import HostError
from mpp_exec.registry.faults import io_error
from mpp_exec.registry.folders import Workspace, sweep
from mpp_exec.registry.home import Home

SHELF: Final = Path("/var/lib/mpp-exec")


@contextmanager
def call_folder(home: Home, *, root: bool, shelf: Path = SHELF) -> Iterator[Path]:
    """Yield a new, empty folder whose path is free of links; nothing of it is left at the end.

    Raises:
        HostError: the host is root, and there is no place that the tool's own id could reach.
        InternalError: ``store.*``, the disk failed.
    """
    parent = _shelf(shelf) if root else home.tmp
    try:
        sweep(parent)
        workspace = Workspace(parent, 0o711)
    except OSError as error:
        raise io_error(error, parent) from error
    with workspace:
        yield workspace.path


def _shelf(shelf: Path) -> Path:
    """Return the folder for calls of a host that is root, made if it is not there.

    Raises:
        HostError: it cannot be made, or somebody else could put something in its place.
    """
    hint = "run mpp-exec as an unprivileged user, or make it a folder of root's that only root may write to"
    try:
        real = Path(os.path.realpath(shelf.parent)) / shelf.name
        with suppress(FileExistsError):
            real.mkdir(mode=0o711)
            real.chmod(0o711)  # whatever the umask was
        for folder in (real, *real.parents):
            status = folder.lstat()
            others = 0 if status.st_mode & stat.S_ISVTX and folder != real else stat.S_IWGRP | stat.S_IWOTH
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & others:
                raise HostError("host.no_call_folder", f"{folder} is not root's alone to change", hint)
            if not status.st_mode & stat.S_IXOTH:
                raise HostError("host.no_call_folder", f"{folder} is closed to the tool's own id", hint)
    except OSError as error:
        raise HostError(
            "host.no_call_folder", f"{shelf} cannot be made or looked at: {error.strerror}", hint
        ) from error
    return real
