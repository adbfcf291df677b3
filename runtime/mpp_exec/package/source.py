"""The files of a folder that is to become a package: found, judged and read without surprises."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mpp_exec.errors import PackageError, UsageError
from mpp_exec.package.ignore import IgnoreRules
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.paths import check_path, sort_key

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK: Final = 1024 * 1024

_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that will be packed. ``size`` in bytes; ``state`` changes when the file is touched."""

    path: str
    size: int
    executable: bool
    state: tuple[int, ...]


def collect(folder: int, ignore: IgnoreRules, output: tuple[int, int] | None = None) -> list[SourceFile]:
    """Return the files to pack from the open *folder*, sorted as in the archive.

    *output* is device and inode of a file to leave out: the package that is about to be replaced.

    Raises:
        UsageError: ``build.not_a_file`` (link, device, socket, FIFO), ``build.bad_name``,
            ``build.unreadable``, or a code of :mod:`.paths`.
    """
    found: list[SourceFile] = []
    _collect(folder, "", ignore, output, found.append)
    return sorted(found, key=lambda file: sort_key(file.path))


def _collect(
    folder: int,
    prefix: str,
    ignore: IgnoreRules,
    output: tuple[int, int] | None,
    add: Callable[[SourceFile], None],
) -> None:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        path = prefix + _decoded(name, prefix)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue  # gone since it was listed: a temporary file of an editor's
        kind = stat.S_IFMT(status.st_mode)
        if ignore.ignores(path, folder=kind == stat.S_IFDIR) or (status.st_dev, status.st_ino) == output:
            continue
        try:
            check_path(path)
        except PackageError as error:
            raise UsageError(error.code, error.message, _RENAME) from None
        if kind == stat.S_IFDIR:
            inner = _open(os.fsencode(name), _FOLDER, folder, path)
            try:
                _collect(inner, f"{path}/", ignore, output, add)
            finally:
                os.close(inner)
        elif kind == stat.S_IFREG:
            add(SourceFile(path, status.st_size, bool(status.st_mode & stat.S_IXUSR), _state(status)))
        else:
            raise UsageError(
                "build.not_a_file",
                f"{path} is {_KINDS.get(kind, 'no regular file')}, and only regular files can be packed",
                "put the file itself in its place, or leave it out with .mppignore",
            )


def read(folder: int, file: SourceFile) -> Iterator[memoryview]:
    """Yield the contents of *file* in pieces, each valid until the next.

    Raises:
        UsageError: ``build.file_changed``, it is not the file that was found, or ``build.unreadable``.
    """
    *parents, name = file.path.encode().split(b"/")
    opened = [folder]
    try:
        for parent in parents:
            opened.append(_open(parent, _FOLDER, opened[-1], file.path))
        opened.append(_open(name, _FILE, opened[-1], file.path))
        descriptor = opened[-1]
        if _state(os.fstat(descriptor)) != file.state:
            raise _changed(file.path)
        buffer = memoryview(bytearray(min(file.size, _CHUNK) + 1))
        done = 0
        while got := _read(descriptor, buffer, file.path):
            done += got
            if done > file.size:
                raise _changed(file.path)
            yield buffer[:got]
        if done != file.size or _state(os.fstat(descriptor)) != file.state:
            raise _changed(file.path)
    finally:
        for descriptor in opened[1:]:
            os.close(descriptor)


def read_text(folder: int, name: str, most: int) -> str | None:
    """Return the text of one file directly in *folder*, of *most* bytes at most, or None without it.

    Raises:
        UsageError: ``build.not_a_file``, ``build.too_large``, ``build.not_text``, ``build.unreadable``.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            "build.not_a_file", f"{name} is not a regular file", f"put the file itself in the place of {name}"
        )
    if status.st_size > most:
        raise UsageError("build.too_large", f"{name} is larger than {most} bytes", "shorten it")
    file = SourceFile(name, status.st_size, executable=False, state=_state(status))
    data = b"".join(bytes(piece) for piece in read(folder, file))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            "build.not_text", f"{name} is not UTF-8: byte {error.start} is not text", "save it as UTF-8"
        ) from None


def check_sizes(files: list[SourceFile]) -> None:
    """Refuse what no package could hold, naming the file.

    Raises:
        UsageError: ``build.too_large``.
    """
    hint = "leave files out with .mppignore, or keep large data outside the package"
    if len(files) > LIMITS.members:
        raise UsageError(
            "build.too_large", f"{len(files)} files, and a package holds at most {LIMITS.members}", hint
        )
    for file in files:
        if file.size > LIMITS.member:
            raise UsageError(
                "build.too_large", f"{file.path} has {file.size} bytes, and at most {LIMITS.member} fit", hint
            )
    total = sum(file.size for file in files)
    if total > LIMITS.archive:
        raise UsageError(
            "build.too_large", f"the files have {total} bytes, and at most {LIMITS.archive} fit", hint
        )


_RENAME: Final = "rename the file, or leave it out with .mppignore"


def _decoded(name: str, prefix: str) -> str:
    """Return a name as UTF-8 whatever the locale is: packages do not depend on it."""
    raw = os.fsencode(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UsageError("build.bad_name", f"the name {prefix}{raw!r} is not UTF-8", _RENAME) from None


def _state(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _open(name: bytes, flags: int, folder: int, shown: str) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise _unreadable(shown, error) from None


def _read(descriptor: int, buffer: memoryview, shown: str) -> int:
    try:
        return os.readv(descriptor, [buffer])
    except OSError as error:
        raise _unreadable(shown, error) from None


def _unreadable(shown: str, error: OSError) -> UsageError:
    return UsageError(
        "build.unreadable", f"{shown} cannot be read: {error.strerror}", "check its mode, or leave it out"
    )


def _changed(path: str) -> UsageError:
    return UsageError("build.file_changed", f"{path} changed while it was packed", "build again")
