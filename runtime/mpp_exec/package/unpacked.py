"""Looking at an unpacked package again, before something in it runs.

Two looks: :func:`check_unpacked` hashes every file; :func:`fingerprint` only asks the file system
who everything is and when it last changed. Nobody but the owner of the home and root can change a
file there, and not without changing its ctime; so while the fingerprint is the one that was taken
beside a full check, the full check need not be repeated.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from mpp_exec.errors import InternalError, PackageError
from mpp_exec.package.archive import digest_mismatch
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.paths import FILES, FOLDER_MODE, MANIFEST_MEMBER, file_mode

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK: Final = 1024 * 1024

_HINT: Final = "install the package again; if nobody touched the home on purpose, find out who did"

_Tree = dict[str, Any]  # name -> _Tree for a folder, FileEntry for a file


def read_signed(folder: int) -> bytes:
    """Return ``manifest.cose`` of the unpacked package in the open *folder*, of which nothing is believed.

    Raises:
        PackageError: ``package.missing_member``, ``package.changed_member`` or ``package.too_large``.
        InternalError: ``package.io``.
    """
    with _opened(folder, MANIFEST_MEMBER, MANIFEST_MEMBER, stat.S_IFREG | file_mode(executable=False)) as (
        descriptor,
        status,
    ):
        if status.st_size > LIMITS.manifest:
            raise PackageError("package.too_large", f"the installed {MANIFEST_MEMBER} has grown", _HINT)
        return b"".join(bytes(piece) for piece in _chunks(descriptor, status.st_size))


def check_unpacked(folder: int, files: Sequence[FileEntry]) -> None:
    """Compare what is in the open *folder* with the signed *files*: names, modes, owners, contents.

    ``manifest.cose`` itself is only required to be there; see :func:`read_signed`.

    Raises:
        PackageError: ``package.missing_member``, ``package.extra_member``, ``package.digest_mismatch``
            or ``package.changed_member`` (another kind, mode or owner).
        InternalError: ``package.io``.
    """
    _compare_names(folder, {MANIFEST_MEMBER, FILES}, "")
    tree: _Tree = {}
    for entry in files:
        *parents, name = entry.path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = entry
    _check_folder(folder, FILES, tree, FILES)


def fingerprint(folder: int, files: Sequence[FileEntry]) -> str:
    """Return a short text that differs when anything under the open *folder* was touched.

    It covers device, inode, mode, owner, size, mtime and ctime of every file and folder; a file that
    appears or goes changes the times of its folder. It says nothing about contents by itself.

    Raises:
        PackageError: ``package.missing_member``.
        InternalError: ``package.io``.
    """
    digest = hashlib.sha256()
    for name in identified(files):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(name) from None
        except OSError as error:
            raise _io_error(error) from None
        shown = "" if name == "." else name
        digest.update(
            f"{shown}\0{status.st_dev} {status.st_ino} {status.st_mode} {status.st_uid} {status.st_size} "
            f"{status.st_mtime_ns} {status.st_ctime_ns}\n".encode()
        )
    return f"sha256:{digest.hexdigest()}"


def identified(files: Sequence[FileEntry]) -> tuple[str, ...]:
    """Return the names, below the folder of a package, of all that :func:`fingerprint` covers."""
    folders = {entry.path.rpartition("/")[0] for entry in files}
    for path in tuple(folders):
        while path := path.rpartition("/")[0]:
            folders.add(path)
    return (
        *(".", MANIFEST_MEMBER, FILES),
        *(f"{FILES}/{path}" for path in sorted(folders - {""})),
        *(f"{FILES}/{entry.path}" for entry in files),
    )


def _check_folder(parent: int, name: str, tree: _Tree, shown: str) -> None:
    """Check one folder and all below; a signed path has few enough parts for recursion."""
    with _opened(parent, name, shown, stat.S_IFDIR | FOLDER_MODE) as (folder, _):
        _compare_names(folder, set(tree), f"{shown}/")
        for child, node in tree.items():
            if isinstance(node, FileEntry):
                _check_file(folder, child, node)
            else:
                _check_folder(folder, child, node, f"{shown}/{child}")


def _check_file(folder: int, name: str, entry: FileEntry) -> None:
    mode = stat.S_IFREG | file_mode(executable=entry.executable)
    with _opened(folder, name, entry.path, mode) as (descriptor, status):
        if status.st_size != entry.size:
            raise digest_mismatch(entry)
        digest = hashlib.sha256()
        for piece in _chunks(descriptor, entry.size):
            digest.update(piece)
    if digest.digest() != entry.sha256:
        raise digest_mismatch(entry)


def _compare_names(folder: int, expected: set[str], prefix: str) -> None:
    try:
        found = set(os.listdir(folder))
    except OSError as error:
        raise _io_error(error) from None
    for name in sorted(found - expected):
        raise PackageError("package.extra_member", f"{prefix}{name!r} does not belong to the package", _HINT)
    for name in sorted(expected - found):
        raise _missing(f"{prefix}{name}")


@contextmanager
def _opened(folder: int, name: str, shown: str, expected_mode: int) -> Iterator[tuple[int, os.stat_result]]:
    """Open a file or folder of an unpacked package, refusing one of another kind, mode or owner.

    *expected_mode* is a whole ``st_mode``: with set-id and sticky bits, and the kind of file.
    """
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise _missing(shown) from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
            raise _changed(shown, "is of another kind") from None
        raise _io_error(error) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(expected_mode):
            raise _changed(shown, "is of another kind")
        if status.st_mode != expected_mode:
            raise _changed(shown, f"has mode {stat.S_IMODE(status.st_mode):04o}")
        if status.st_uid != os.geteuid():
            raise _changed(shown, f"belongs to user {status.st_uid}")
        yield descriptor, status
    except OSError as error:
        raise _io_error(error) from None
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, most: int) -> Iterator[memoryview]:
    """Yield the contents in pieces, each valid until the next; a little more than *most* bytes at most."""
    buffer = memoryview(bytearray(min(most, _CHUNK) + 1))
    done = 0
    while done <= most and (got := os.readv(descriptor, [buffer])):
        yield buffer[:got]
        done += got


def _missing(shown: str) -> PackageError:
    return PackageError("package.missing_member", f"{shown} of the installed package is missing", _HINT)


def _changed(shown: str, what: str) -> PackageError:
    return PackageError("package.changed_member", f"{shown} of the installed package {what}", _HINT)


def _io_error(error: OSError) -> InternalError:
    return InternalError(
        "package.io",
        f"the installed package cannot be read: {error.strerror or error}",
        "check the disk that the home is on",
    )
