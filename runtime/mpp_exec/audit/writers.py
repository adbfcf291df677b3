"""Which writers of a ledger still live.

Every process that writes holds an exclusive flock(2) on a file of its own in ``HOME/locks``, from
before its first entry until it closes. The kernel gives the lock up when the process dies, however
it dies, so a start without outcome is either still running or will never have one, and which of the
two can be told without trusting a process id, a clock or a time-out.

The lock belongs to an open file description, which fork(2) shares: a forked child must
:meth:`WriterLock.abandon` it, or its parent would seem to live on in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from mpp_exec.errors import InternalError
from mpp_exec.patterns import lazily

_PREFIX: Final = "ledger."
_NAME: Final = lazily(r"[0-9]{1,10}-[0-9a-f]{32}")
_ATTEMPTS: Final = 16
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class WriterLock:
    """A held lock. ``name`` is ``PID-NONCE``: the process id is for people, the nonce decides."""

    __slots__ = ("_descriptor", "_path", "name")

    def __init__(self, folder: Path) -> None:
        """Make and lock a file in *folder*, which is created if need be (mode 0700).

        Raises:
            InternalError: ``ledger.lock``, this file system gives no locks.
            OSError: the file cannot be made.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        for _ in range(_ATTEMPTS):
            name = f"{os.getpid()}-{os.urandom(16).hex()}"
            path = folder / f"{_PREFIX}{name}"
            descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
            # Between these two calls the file looks like a dead writer's: someone may be looking at it
            # (then the lock is refused) or have removed it (then it has no name any more).
            if _lock(descriptor, fcntl.LOCK_EX) and os.fstat(descriptor).st_nlink == 1:
                self.name = name
                self._path = path
                self._descriptor = descriptor
                return
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        raise InternalError(
            "ledger.lock",
            f"no lock can be taken in {folder}",
            "the home must be on a file system with flock(2)",
        )

    def release(self) -> None:
        """Give the lock up and remove its file."""
        with contextlib.suppress(OSError):  # a file left behind is removed by the next writer
            self._path.unlink()
        os.close(self._descriptor)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock without releasing it."""
        os.close(self._descriptor)


def is_alive(folder: Path, name: object) -> bool:
    """Say whether the writer *name* still runs. When in doubt it does: its outcome may yet come.

    What is no name, such as one that somebody put into the database, belongs to nobody.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return False
    try:
        descriptor = os.open(folder / f"{_PREFIX}{name}", _OPEN)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def alive(folder: Path) -> list[str]:
    """Return the names of the writers in *folder* that still run."""
    names = (item.name.removeprefix(_PREFIX) for item in folder.iterdir() if item.name.startswith(_PREFIX))
    return [name for name in names if is_alive(folder, name)]


def sweep(folder: Path) -> None:
    """Remove the files of dead writers from *folder*. What cannot be removed stays: it does no harm."""
    with contextlib.suppress(OSError), os.scandir(folder) as listing:
        for item in listing:
            if item.name.startswith(_PREFIX) and _NAME.fullmatch(item.name.removeprefix(_PREFIX)):
                with contextlib.suppress(OSError):
                    _remove_if_dead(Path(item.path))


def _remove_if_dead(path: Path) -> None:
    descriptor = os.open(path, _OPEN)
    try:
        # Removed under the lock: a writer that is just being born then fails to lock, or finds its file
        # without a name, and in both cases takes another.
        if _lock(descriptor, fcntl.LOCK_SH):
            path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    """Try the lock once. Raises OSError where the file system has none at all."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True
