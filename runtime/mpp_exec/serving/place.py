"""Where the resident runtime of a home is reached: ``serve/`` in the home, and who may be there.

::

    serve/socket        while one listens
    serve/lock          locked by the one that is there, or about to be
    serve/on-demand     the setting: seconds without a call after which one that was started so ends

A folder in the home, since a home is the user's own, closed to others, found by both sides without a word,
and covered in every sandbox; a folder of a name that anybody could guess in ``/tmp`` is none of this. It is
opened once and used by its descriptor, so that no link leads elsewhere and no path is too long for
``sun_path``: what is named is ``/proc/self/fd/N/socket``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from mpp_exec.errors import ConsentError, InternalError, UsageError
from mpp_exec.registry.home import Home
from mpp_exec.serving.peer import peer_of

FOLDER: Final = "serve"
_SOCKET, _LOCK, _SETTING = "socket", "lock", "on-demand"
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BACKLOG: Final = 128
_ATTEMPTS: Final = 100


class Place:
    """The folder of one home, open. A context manager."""

    def __init__(self, home: Home, descriptor: int) -> None:
        self.path = home.path / FOLDER
        self._home = home
        self._descriptor = descriptor

    @classmethod
    def open(cls, home: Home, *, make: bool = False) -> Place | None:
        """Open the folder of *home*, None where there is none; *make* makes it.

        Raises:
            ConsentError: ``serve.exposed``: it is no folder of the user's own, closed to others.
            InternalError: ``serve.io``.
        """
        path = home.path / FOLDER
        try:
            if make:
                with suppress(FileExistsError):
                    path.mkdir(mode=0o700)
            descriptor = os.open(path, _OPEN)
        except FileNotFoundError:
            if make:
                raise _io(path, "it was removed at once") from None
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _exposed(path) from None
            raise _io(path, error.strerror) from error
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            os.close(descriptor)
            raise _exposed(path)
        return cls(home, descriptor)

    @classmethod
    def made(cls, home: Home) -> Place:
        """Open the folder of *home*, making it if it is not there.

        Raises:
            as :meth:`open`.
        """
        found = cls.open(home, make=True)
        assert found is not None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def lock(self) -> int | None:
        """Return a descriptor that holds the lock of this home until closed; None if another holds the lock.

        Raises:
            InternalError: ``serve.io``.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            for _ in range(_ATTEMPTS):
                held = os.open(_LOCK, flags, 0o600, dir_fd=self._descriptor)
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(held)
                    return None
                if self._is(_LOCK, held):
                    return held
                os.close(held)  # the one that had it has just removed it
        except OSError as error:
            raise _io(self.path / _LOCK, error.strerror) from error
        raise _io(self.path / _LOCK, "it is another one every time")

    def listen(self) -> socket.socket:
        """Return a socket that listens here. MUST hold the lock: what was left by one that died is replaced.

        Raises:
            InternalError: ``serve.io``.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with suppress(FileNotFoundError):
                os.unlink(_SOCKET, dir_fd=self._descriptor)
            listener.bind(self._address())
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise _io(self.path / _SOCKET, error.strerror) from error
        finally:
            os.umask(before)
        return listener

    def identity(self) -> tuple[int, int] | None:
        """Return the identity of the socket here, None if there is none."""
        try:
            facts = os.stat(_SOCKET, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def is_reached(self) -> bool:
        """Return whether the home's path still leads here."""
        try:
            here, there = os.fstat(self._descriptor), os.lstat(self.path)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def close_to_clients(self, listening: tuple[int, int] | None) -> None:
        """Remove the socket that was *listening*. MUST hold the lock."""
        with suppress(OSError):
            if listening is not None and self.identity() == listening:
                os.unlink(_SOCKET, dir_fd=self._descriptor)

    def clear(self) -> None:
        """Remove the lock, and the folder if nothing is in it. MUST hold the lock."""
        with suppress(OSError):
            os.unlink(_LOCK, dir_fd=self._descriptor)
        with suppress(OSError):  # unless the setting is there
            self.path.rmdir()

    def connect(self, seconds: float) -> socket.socket | None:
        """Return a connection to this user's runtime, None where none listens.

        Raises:
            ConsentError: ``serve.owner``: another user's process does.
            InternalError: ``serve.io``: it does not answer.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(seconds)
            try:
                connection.connect(self._address())
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                return None
            self._require_own(connection)
        except OSError as error:
            connection.close()
            raise _io(self.path / _SOCKET, error.strerror or "it does not answer") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_own(self, connection: socket.socket) -> None:
        if (owner := peer_of(connection).uid) != os.geteuid():
            raise ConsentError(
                "serve.owner",
                f"a process of user {owner} listens at {self.path / _SOCKET}",
                f"end it, and remove {self.path}",
            )

    def on_demand(self) -> int | None:
        """Return after how many idle seconds an on-demand runtime ends; None if none is started on demand.

        Raises:
            UsageError: ``serve.setting``: the setting is not a number.
        """
        try:
            text = (self.path / _SETTING).read_text(encoding="ascii").strip()
            return int(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise UsageError(
                "serve.setting",
                f"{self.path / _SETTING} cannot be read",
                "set it anew: mpp-exec serve --on-demand on, or off",
            ) from None

    def set_on_demand(self, idle: int | None) -> None:
        """Let a call that finds no runtime start one, which ends after *idle* seconds; None: start none.

        Raises:
            InternalError: ``serve.io``.
        """
        try:
            if idle is None:
                with suppress(FileNotFoundError):
                    os.unlink(_SETTING, dir_fd=self._descriptor)
                with suppress(OSError):  # unless one is there
                    self.path.rmdir()
                return
            temporary = f"{_SETTING}.{os.getpid()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=self._descriptor), "w") as file:
                file.write(f"{idle}\n")
            # A client looks at its time before it starts one: the first may start it at once.
            os.utime(temporary, (0, 0), dir_fd=self._descriptor, follow_symlinks=False)
            os.rename(temporary, _SETTING, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError as error:
            raise _io(self.path / _SETTING, error.strerror) from error

    def _address(self) -> str:
        return f"/proc/self/fd/{self._descriptor}/{_SOCKET}"

    def _is(self, name: str, descriptor: int) -> bool:
        try:
            there = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        here = os.fstat(descriptor)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _exposed(path: Path) -> ConsentError:
    return ConsentError(
        "serve.exposed",
        f"{path} is not a folder of your own that is closed to others",
        "move it away; mpp-exec makes it anew",
    )


def _io(path: Path, reason: str | None) -> InternalError:
    return InternalError("serve.io", f"{path}: {reason}", "check the disk and the mode of the home")
