"""Folders that appear and vanish atomically, whichever process is killed at whatever time.

A folder that is being made or removed lies in ``tmp/``. Its owner holds a lock on the folder itself
(flock(2)) for as long as the owner lives: a lock ends with its process, while a process id may be reused.
A folder in ``tmp/`` without a lock has no owner, and :func:`sweep` removes it. A call takes a shared lock on
the package that it runs, so that its files stay until the call is over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_FDCWD: Final = -100  # <fcntl.h>
_RENAME_EXCHANGE: Final = 2  # <linux/fs.h>


class Workspace:
    """A new, locked, empty folder in *tmp*; at the end of a ``with`` statement nothing of it is left there.

    *mode* is the mode of the folder. If others could open the folder, they could also lock it (flock(2)
    requires no write permission), and so keep :func:`sweep` from removing it.

    Attributes:
        descriptor: the descriptor of the open folder.
        path: where the folder is until it is published.
    """

    def __init__(self, tmp: Path, mode: int = 0o755) -> None:
        while True:
            self.path = tmp / secrets.token_hex(16)
            self.path.mkdir(mode=0o700)
            try:
                self.descriptor = os.open(self.path, _OPEN)
            except FileNotFoundError:
                continue  # swept before it was locked
            except OSError:
                self.path.rmdir()
                raise
            if _try_lock(self.descriptor, fcntl.LOCK_EX) and _is_at(self.descriptor, self.path):
                break
            os.close(self.descriptor)  # being swept
        os.fchmod(self.descriptor, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what lies in ``tmp/`` (the folder, or the folder that it replaced), and unlock it."""
        try:
            if _is_at(self.descriptor, self.path):
                with suppress(OSError):  # under the lock that is held: nobody comes between
                    _remove(self.path)
        finally:
            os.close(self.descriptor)
        _sweep_entry(self.path)

    def publish(self, target: Path) -> bool:
        """Move the folder to *target* atomically and unlock it; return whether it replaced a folder.

        The replaced folder then lies in ``tmp/``, unlocked, and may vanish at any moment.

        Raises:
            OSError: it stays where it was.
        """
        replaces = target.exists()
        if replaces:
            _exchange(self.path, target)
        else:
            self.path.rename(target)
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        _sync(target.parent)
        return replaces

    def unpublish(self, target: Path) -> None:
        """Undo a :meth:`publish` that replaced nothing.

        Raises:
            OSError: something else is at *target* by now, or nothing.
        """
        if not _is_at(self.descriptor, target):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
        target.rename(self.path)


def retire(folder: Path, tmp: Path) -> None:
    """Move *folder* into *tmp*. Processes that have it open or mounted keep it for now.

    Raises:
        OSError: it stays where it was.
    """
    target = tmp / secrets.token_hex(16)
    try:
        folder.rename(target)
    except PermissionError:  # a tool closed its own storage folder, and moving one changes its ".."
        _open_up(str(folder))
        folder.rename(target)


def sweep(tmp: Path) -> None:
    """Remove everything in *tmp* that is not locked; entries that cannot be removed stay for the next time.

    Raises:
        OSError: *tmp* cannot be listed.
    """
    with os.scandir(tmp) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _sweep_entry(tmp / name)


def _sweep_entry(path: Path) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode) and not os.access(path, os.R_OK | os.X_OK):
            _open_up(str(path))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError:  # a link or a socket, which cannot be locked
            path.unlink()
            return
        try:
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, path):
                _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove *path* and everything below it, even closed folders and thousands of levels made by a tool.

    This uses no recursion and no long path: a folder deeper than one level is first moved up beside its
    parent. Entries that cannot be removed stay for the next time.
    """
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    descriptor = os.open(path, _OPEN)
    try:
        pending = [entry.name for entry in os.scandir(descriptor)]
        while pending:
            _remove_entry(descriptor, pending.pop(), pending)
    finally:
        os.close(descriptor)
    path.rmdir()


def _remove_entry(top: int, name: str, pending: list[str]) -> None:
    """Remove *name* in the open folder *top*; its own folders move up into *top* and are *pending*."""
    try:
        os.unlink(name, dir_fd=top)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # EPERM is what POSIX asks for, EISDIR what Linux says
        pass
    else:
        return
    _open_up(name, top)
    folder = os.open(name, _OPEN, dir_fd=top)
    try:
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.name, folder)  # moving a folder changes its ".."
                moved = secrets.token_hex(16)
                os.rename(entry.name, moved, src_dir_fd=folder, dst_dir_fd=top)
                pending.append(moved)
            else:
                os.unlink(entry.name, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _open_up(folder: str, parent: int | None = None) -> None:
    """Make *folder* accessible to its owner, and never a file that was put in its place."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o700)  # noqa: PTH101 -- of the open folder, not of a path
    finally:
        os.close(descriptor)


def lease(folder: Path, held: list[int]) -> int:
    """Return a descriptor of *folder*; the folder will not be removed until that descriptor is closed.

    The descriptor is put into *held* in the same step in which it is opened, whatever happens after. A signal
    that is handled between any two steps of the interpreter finds it there; the caller, who gave the list,
    closes it.

    Raises:
        FileNotFoundError: it is not there, or was just replaced or removed.
        OSError: it cannot be opened.
    """
    held.extend(map(os.open, (folder,), (_OPEN,)))
    descriptor = held[-1]
    if not (_try_lock(descriptor, fcntl.LOCK_SH) and _is_at(descriptor, folder)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return descriptor


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether *path* still names the open folder."""
    held = os.fstat(descriptor)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step (renameat2(2))."""
    import ctypes  # noqa: PLC0415 -- only where something is installed again

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, _OPEN)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
