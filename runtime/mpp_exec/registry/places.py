"""Folders for one call each, where a sandbox has no mounts to keep scratch in.

Made locked, and removed with all that a tool left in it; what a SIGKILL of the host leaves there is
nobody's, and the next call removes it. For a host that is root it lies outside of the home, which the
tool's own id cannot enter, in a folder of root's that others can pass through and not list. The folder of
a call can be passed through, too, and not opened: who can open it can hold a lock on it that keeps it there.
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
        HostError: the host is root, and there is nowhere that the tool's own id could reach.
        InternalError: ``store.*``, the disk said no.
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
