"""Where a package file is written: at once and whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from mpp_exec.errors import InternalError, UsageError


def file_name(name: str, version: str) -> str:
    """Return the usual name of the file of package *name*."""
    return f"{name.replace('/', '-')}-{version}.mpp"


def place_of(output: str | os.PathLike[str] | None, usual: str) -> Path:
    """Return where a package goes: to *output*, as *usual* into that where it is a folder, or here.

    Raises:
        UsageError: ``build.bad_output``: something else than a file is there, or no file can have that name.
    """
    path = Path(output) if output is not None else Path()
    if os.path.isdir(path):  # noqa: PTH112 -- Path.is_dir raises where it is too long, or not reachable
        path /= usual
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the temporary name is short: it would be told too late
            raise UsageError(
                "build.bad_output",
                f"{path} cannot be written: {error.strerror}",
                "choose a shorter name with -o",
            ) from None
        return path  # not there, or not reachable: creating the new file tells which
    if not stat.S_ISREG(mode):
        raise UsageError(
            "build.bad_output", f"{path} exists and is not a regular file", "choose another name with -o"
        )
    return path


@contextmanager
def replacing(target: Path) -> Iterator[int]:
    """Yield a descriptor to write to; afterwards the file is *target*, or, on failure, is not at all.

    The temporary name ends like a package's, so that no other build packs it meanwhile.

    Raises:
        UsageError: ``build.bad_output``.
        InternalError: ``build.io``.
    """
    temporary = target.with_name(f".{token_hex(8)}.mpp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            "build.bad_output",
            f"nothing can be written to {target.parent}: {reason}",
            "choose another place with -o",
        ) from None
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise InternalError(
            "build.io",
            f"{target} cannot be written: {error.strerror}",
            "check that the disk has room, or choose another place with -o",
        ) from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
