"""Reading a package file: an archive that nobody vouches for yet.

Reading has two phases, and between them stands the signature:

1. :func:`open_package` reads the first record and the signed manifest, nothing else.
2. :meth:`UnverifiedPackage.check_contents` is told the file table that was signed. From it every byte
   of the archive but the contents and their CRC-32 is known in advance; the rest is streamed, hashed
   and compared. There is no parser that could be confused, only a comparison that fails.

The file is held open by one descriptor from the first byte to the last, and whatever is unpacked is
hashed once more while it is written: a file that changes meanwhile is refused like any other.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from mpp_exec.encoding import sha256_digest
from mpp_exec.errors import InternalError, PackageError, UsageError
from mpp_exec.package.diagnose import diagnose
from mpp_exec.package.limits import LIMITS, ArchiveLimits
from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.paths import MANIFEST_MEMBER, check_table, sort_key
from mpp_exec.package.records import LOCAL, LOCAL_MAGIC, STORED, Layout, Member, manifest_member, without_crc

Progress = Callable[[int, int], None]
"""``progress(done, total)`` in bytes, called often; it must be quick and open no files."""

_CHUNK: Final = 1024 * 1024
# Bytes of an archive, and of its members on average, below which a second thread costs more than it saves.
_PARALLEL_ARCHIVE: Final = 4 * 1024 * 1024
_PARALLEL_MEMBER: Final = 64 * 1024

_HINT_NOT_A_PACKAGE: Final = "a package is a file that `mpp-exec build` wrote, usually NAME-VERSION.mpp"
_HINT_TRUNCATED: Final = "the end of the file is missing; download or copy it again"
_HINT_CHANGED: Final = "the file was changed after it was signed; get it again from its publisher"


def open_package(path: str | os.PathLike[str], limits: ArchiveLimits = LIMITS) -> UnverifiedPackage:
    """Open a package file and read its signed manifest, of which nothing is believed yet.

    Never blocks on a FIFO and never opens a device: what is no regular file is refused before.

    Raises:
        UsageError: ``package.not_found`` or ``package.unreadable``.
        PackageError: ``package.not_a_package``, ``package.truncated``, ``package.too_large``,
            ``package.compressed_member`` or ``package.bad_record``.
        InternalError: ``package.io``.
    """
    shown = os.fspath(path)
    try:
        _refuse_irregular(os.stat(path), shown)  # noqa: PTH116 -- opening a device can already do things
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            "package.not_found",
            f"there is no file {shown}",
            "check the path; build one with: mpp-exec build DIR",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise UsageError(
            "package.unreadable", f"{shown} cannot be opened: {_reason(error)}", "check the path and its mode"
        ) from None
    try:
        return UnverifiedPackage(descriptor, shown, limits)
    except BaseException:
        os.close(descriptor)
        raise


class UnverifiedPackage:
    """An open package file. Close it, or use it in a ``with`` statement.

    Attributes:
        path: as it was given, for messages.
        size: of the archive, in bytes.
        signed: the bytes of ``manifest.cose``, unverified.
        digest: the package digest, SHA-256 of ``signed``.
    """

    def __init__(self, descriptor: int, path: str, limits: ArchiveLimits = LIMITS) -> None:
        """Take over *descriptor*, unless an error is raised. See :func:`open_package`."""
        status = os.fstat(descriptor)
        _refuse_irregular(status, path)
        self._descriptor = descriptor
        self._limits = limits
        self.path = path
        self.size = status.st_size
        if self.size > limits.archive:
            raise PackageError(
                "package.too_large",
                f"{path} has {self.size} bytes, and a package at most {limits.archive}",
                "split it, or keep large data outside the package",
            )
        self.signed = self._read_signed()
        self.digest = sha256_digest(self.signed)

    def fileno(self) -> int:
        """Return the descriptor of the open file, which stays this object's."""
        return self._descriptor

    def close(self) -> None:
        """Close the file. Harmless when it is closed already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_contents(self, files: Sequence[FileEntry], progress: Progress | None = None) -> None:
        """Compare every byte of the archive with what the signed *files* say it must be.

        The caller MUST have verified the signature over the table that *files* comes from.

        Raises:
            PackageError: ``package.bad_table`` or a code of :mod:`.paths` if the table itself is
                unacceptable, ``package.digest_mismatch``, or a code of :func:`.diagnose.diagnose`.
            InternalError: ``package.io``.
        """
        check_files(files, self._limits)
        layout = Layout.of(len(self.signed), files)
        if layout.size != self.size:
            raise self._diagnosis(files)
        crcs, headers = self._stream(layout, files, progress)
        directory = self.read(layout.directory, layout.size - layout.directory)
        if (
            any(
                header != member.local_header(crc)
                for header, member, crc in zip(headers, layout.members, crcs, strict=True)
            )
            or directory != layout.directory_records(crcs)
            or self.read(layout.size, 1)
        ):
            raise self._diagnosis(files)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to *count* bytes from *offset*; fewer at the end of the file.

        Raises:
            InternalError: ``package.io``.
        """
        parts = []
        try:
            while count > 0:
                part = os.pread(self._descriptor, min(count, _CHUNK), offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                count -= len(part)
        except OSError as error:
            raise self._io_error(error) from None
        return b"".join(parts)

    def chunks(self, offset: int, count: int, cancel: threading.Event | None = None) -> Iterator[memoryview]:
        """Yield exactly *count* bytes from *offset* in large pieces. A piece is valid until the next.

        Raises:
            PackageError: ``package.truncated``, the file has become shorter.
            InternalError: ``package.io``, or ``package.cancelled`` once *cancel* is set.
        """
        buffer = memoryview(bytearray(min(count, _CHUNK)))
        while count > 0:
            if cancel is not None and cancel.is_set():
                raise InternalError("package.cancelled", "reading was cancelled", "run the command again")
            try:
                got = os.preadv(self._descriptor, [buffer[: min(count, _CHUNK)]], offset)
            except OSError as error:
                raise self._io_error(error) from None
            if got == 0:
                raise _truncated(self.path)
            yield buffer[:got]
            offset += got
            count -= got

    def _read_signed(self) -> bytes:
        """Read and check the first local header, and the signed manifest behind it."""
        name = MANIFEST_MEMBER.encode()
        header = self.read(0, LOCAL.size + len(name))
        if not header or not header.startswith(LOCAL_MAGIC[: len(header)]):
            raise _not_a_package(self.path, "does not begin like one")
        if len(header) < LOCAL.size + len(name):
            raise _truncated(self.path)
        _, _, _, method, _, _, crc, _, size, name_length, _ = LOCAL.unpack(header[: LOCAL.size])
        if header[LOCAL.size :] != name or name_length != len(name):
            raise _not_a_package(self.path, f"is a ZIP file that does not begin with {MANIFEST_MEMBER}")
        if method != STORED:
            raise PackageError(
                "package.compressed_member", f"member {MANIFEST_MEMBER!r} is compressed", _HINT_CHANGED
            )
        if header != manifest_member(size).local_header(crc):
            raise PackageError(
                "package.bad_record", "the first record of the archive is not what it must be", _HINT_CHANGED
            )
        if size > self._limits.manifest:
            raise PackageError(
                "package.too_large",
                f"the signed manifest has {size} bytes, and may have {self._limits.manifest}",
                "the package was made by other means than `mpp-exec build`; do not use it",
            )
        signed = self.read(len(header), size)
        if len(signed) < size:
            raise _truncated(self.path)
        return signed

    def _stream(
        self, layout: Layout, files: Sequence[FileEntry], progress: Progress | None
    ) -> tuple[list[int], list[bytes]]:
        """Compare headers and digests from front to back; return each member's CRC-32 and local header.

        A large archive is read twice at the same time: a second thread takes the checksums, which
        would otherwise cost as much again as half the digests.
        """
        first, *rest = layout.members
        headers = [self.read(0, first.start)]
        threaded = layout.size >= max(_PARALLEL_ARCHIVE, _PARALLEL_MEMBER * len(rest))
        with _Checksums(self, rest, threaded=threaded) as checksums:
            for member, entry in zip(rest, files, strict=True):
                headers.append(self.read(member.header, member.start - member.header))
                if without_crc(headers[-1]) != member.local_header(0):
                    raise self._diagnosis(files)
                digest, done = hashlib.sha256(), member.start
                for piece in self.chunks(member.start, member.size):
                    digest.update(piece)
                    checksums.update(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, layout.size)
                if digest.digest() != entry.sha256:
                    raise digest_mismatch(entry)
                checksums.next_member()
            crcs = [zlib.crc32(self.signed), *checksums.result()]
        if progress is not None:
            progress(layout.size, layout.size)
        return crcs, headers

    def _diagnosis(self, files: Sequence[FileEntry]) -> PackageError:
        return diagnose(self.read, self.size, files, self._limits)

    def _io_error(self, error: OSError) -> InternalError:
        return InternalError(
            "package.io", f"{self.path} cannot be read: {_reason(error)}", "check the disk it is on"
        )


class _Checksums:
    """The CRC-32 of each member, taken from the pieces handed in or, *threaded*, by a thread of its own."""

    def __init__(self, package: UnverifiedPackage, members: Sequence[Member], *, threaded: bool) -> None:
        self._package = package
        self._members = members
        self._cancel = threading.Event()
        self._crcs: list[int] = []
        self._crc = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mpp-exec-crc32") if threaded else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is not done yet, and wait until the thread has ended."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def update(self, piece: memoryview) -> None:
        """Take the next *piece* of the current member."""
        if self._thread is None:
            self._crc = zlib.crc32(piece, self._crc)

    def next_member(self) -> None:
        """Close the current member."""
        if self._thread is None:
            self._crcs.append(self._crc)
            self._crc = 0

    def result(self) -> list[int]:
        """Wait for the checksums, in the order of the members."""
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._crcs

    def _run(self) -> None:
        try:
            for member in self._members:
                crc = 0
                for piece in self._package.chunks(member.start, member.size, self._cancel):
                    crc = zlib.crc32(piece, crc)
                self._crcs.append(crc)
        except Exception as error:  # noqa: BLE001 -- raised again in the thread that waits
            self._failure = error


def check_files(files: Sequence[FileEntry], limits: ArchiveLimits = LIMITS) -> None:
    """Refuse a file table that could not be laid out, or not in one way only.

    Raises:
        PackageError: ``package.bad_table``, ``package.too_large``, or a code of :mod:`.paths`.
    """
    check_table((entry.path for entry in files), limits)
    previous = b""
    total = 0
    for entry in files:
        key = sort_key(entry.path)
        if key <= previous:
            raise _bad_table(entry, "is out of order")
        if len(entry.sha256) != hashlib.sha256().digest_size:
            raise _bad_table(entry, "has no SHA-256")
        if entry.size < 0:
            raise _bad_table(entry, "has a negative size")
        if entry.size > limits.member:
            raise PackageError(
                "package.too_large",
                f"{entry.path!r} has {entry.size} bytes, and a packaged file at most {limits.member}",
                "keep large data outside the package",
            )
        previous = key
        total += entry.size
        if total > limits.archive:
            raise PackageError(
                "package.too_large",
                f"the files have more than {limits.archive} bytes together",
                "keep large data outside the package",
            )


def _bad_table(entry: FileEntry, what: str) -> PackageError:
    return PackageError(
        "package.bad_table",
        f"the signed file table is wrong: {entry.path!r} {what}",
        "the package was made by other means than `mpp-exec build`; do not use it",
    )


def digest_mismatch(entry: FileEntry) -> PackageError:
    """Return the error for contents that are not those of *entry*."""
    return PackageError(
        "package.digest_mismatch", f"the contents of {entry.path!r} are not what was signed", _HINT_CHANGED
    )


def _refuse_irregular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PackageError(
            "package.not_a_package", f"{path} is a folder", f"build a package from it: mpp-exec build {path}"
        )
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_package(path, "is not a regular file")


def _not_a_package(path: str, what: str) -> PackageError:
    return PackageError("package.not_a_package", f"{path} is not a package: it {what}", _HINT_NOT_A_PACKAGE)


def _truncated(path: str) -> PackageError:
    return PackageError("package.truncated", f"{path} ends in the middle", _HINT_TRUNCATED)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
