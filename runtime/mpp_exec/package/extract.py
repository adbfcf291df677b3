"""Unpacking a package whose signature and table were checked.

An unpacked package is a folder with ``manifest.cose`` and, under ``files/``, what was packed: files
0644 or 0755, folders 0755, nothing else. Everything is reached from one open folder by openat(2)
without following links, so that no path, and nobody who can write nearby, leads anywhere else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Self

from mpp_exec.errors import InternalError
from mpp_exec.package.archive import Progress, UnverifiedPackage, digest_mismatch
from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.paths import FILES, FOLDER_MODE, MANIFEST_MEMBER, file_mode
from mpp_exec.package.records import Layout

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(
    package: UnverifiedPackage,
    files: Sequence[FileEntry],
    folder: int,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Unpack *package* into the empty, open *folder*, hashing what is written, and sync it to disk.

    The caller MUST have verified the signature over *files*, and checked the contents; see
    :meth:`mpp_exec.trust.verify.VerifiedPackage.extract`. On failure everything written is removed.

    Raises:
        PackageError: ``package.digest_mismatch`` or ``package.truncated``, the file has changed since
            it was checked.
        InternalError: ``package.io``, ``package.not_empty`` or ``package.cancelled``.
    """
    with os.scandir(folder) as entries:
        if next(entries, None) is not None:
            raise InternalError(
                "package.not_empty", "the folder to unpack into is not empty", "this is a fault of the caller"
            )
    try:
        _write_file(folder, MANIFEST_MEMBER, iter([memoryview(package.signed)]), 0o644)
        _write_tree(package, files, folder, progress, cancel=cancel)
        os.fsync(folder)
    except BaseException as error:
        shutil.rmtree(FILES, ignore_errors=True, dir_fd=folder)
        with suppress(OSError):
            os.unlink(MANIFEST_MEMBER, dir_fd=folder)
        if isinstance(error, OSError):
            raise InternalError(
                "package.io",
                f"the package cannot be unpacked: {error.strerror or error}",
                "check that the disk of the home is writable and has room",
            ) from None
        raise


def _write_tree(
    package: UnverifiedPackage,
    files: Sequence[FileEntry],
    folder: int,
    progress: Progress | None,
    *,
    cancel: threading.Event | None,
) -> None:
    """Write all files. In sorted order each folder is entered once, so it is synced when it is left."""
    layout = Layout.of(len(package.signed), files)
    with _Descent(folder) as descent:
        for member, entry in zip(layout.members[1:], files, strict=True):
            *parents, name = entry.path.split("/")
            parent = descent.enter(parents)
            digest = hashlib.sha256()
            pieces = _hashed(package.chunks(member.start, member.size, cancel), digest)
            _write_file(parent, name, pieces, file_mode(executable=entry.executable))
            if digest.digest() != entry.sha256:
                raise digest_mismatch(entry)
            if progress is not None:
                progress(member.end, layout.size)
    if progress is not None:
        progress(layout.size, layout.size)


def _hashed(pieces: Iterator[memoryview], digest: hashlib._Hash) -> Iterator[memoryview]:
    for piece in pieces:
        digest.update(piece)
        yield piece


class _Descent:
    """The chain of folders from ``files/`` down to where the current file is written."""

    def __init__(self, folder: int) -> None:
        self._base = folder
        self._names: list[str] = []
        self._open: list[int] = []

    def __enter__(self) -> Self:
        self._make(self._base, FILES)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        while self._open:
            self._leave(sync=kind is None)

    def enter(self, parents: list[str]) -> int:
        """Leave and make folders until the chain is *parents*; return the descriptor of the last."""
        common = 0
        while common < min(len(parents), len(self._names)) and parents[common] == self._names[common]:
            common += 1
        while len(self._names) > common:
            self._names.pop()
            self._leave(sync=True)
        for name in parents[common:]:
            self._make(self._open[-1], name)
            self._names.append(name)
        return self._open[-1]

    def _make(self, parent: int, name: str) -> None:
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
        descriptor = os.open(name, _OPEN_FOLDER, dir_fd=parent)
        self._open.append(descriptor)
        os.fchmod(descriptor, FOLDER_MODE)  # whatever the umask was

    def _leave(self, *, sync: bool) -> None:
        descriptor = self._open.pop()
        try:
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_file(folder: int, name: str, pieces: Iterator[memoryview], mode: int) -> None:
    descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
