"""Say what is wrong with an archive that was already refused.

The reader accepts one byte string and compares; when the comparison fails, it knows only where. This
module looks again, leniently, for the reason a person would want to hear. Nothing here accepts
anything: every path ends in a :class:`PackageError`.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mpp_exec.errors import PackageError
from mpp_exec.package.limits import ArchiveLimits
from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.paths import MANIFEST_MEMBER, check_path, check_table
from mpp_exec.package.records import (
    CENTRAL,
    CENTRAL_MAGIC,
    END,
    END_MAGIC,
    LOCAL,
    LOCAL_MAGIC,
    STORED,
)

Read = Callable[[int, int], bytes]
"""``read(offset, count)`` returns up to *count* bytes of the archive."""

_MAX_COMMENT: Final = 0xFFFF
_ENCRYPTED: Final = 0x0001

_HINT: Final = "the file was changed after it was signed; get it again from its publisher"
_HINT_TRUNCATED: Final = "the end of the file is missing; download or copy it again"


@dataclass(frozen=True, slots=True)
class _Found:
    """One record as it stands in the file: ``mode`` is the UNIX mode, 0 in a local header."""

    name: bytes
    method: int
    flags: int
    size: int
    mode: int


def diagnose(read: Read, size: int, files: Sequence[FileEntry], limits: ArchiveLimits) -> PackageError:
    """Return the error that names the first reason found why an archive is not what *files* imply.

    *size* is that of the archive. The code is one of ``package.truncated``, ``trailing_bytes``,
    ``nul``, ``backslash``, ``absolute_path``, ``parent_path``, ``bad_path``, ``not_nfc``,
    ``path_too_long``, ``symlink_member``, ``device_member``, ``compressed_member``,
    ``encrypted_member``, ``duplicate_member``, ``case_collision``, ``extra_member``,
    ``missing_member``, ``digest_mismatch`` and, if it is none of these, ``bad_record``.
    """
    return next(_reasons(read, size, files, limits))


def _reasons(
    read: Read, size: int, files: Sequence[FileEntry], limits: ArchiveLimits
) -> Iterator[PackageError]:
    """Yield reasons, the most telling first; there is always one."""
    tail_start = max(0, size - END.size - _MAX_COMMENT)
    tail = read(tail_start, size - tail_start)
    at = tail.rfind(END_MAGIC)
    if at < 0 or len(tail) - at < END.size:
        yield PackageError("package.truncated", "the archive ends in the middle", _HINT_TRUNCATED)
        return
    end = tail_start + at
    record = tail[at : at + END.size]
    central = _central_records(read, end, record, limits)
    local = _local_records(read, size, limits)
    yield from _bad_members(central)
    yield from _bad_members(local)
    expected = {MANIFEST_MEMBER: 0} | {entry.path: entry.size for entry in files}
    if central:
        yield from _differences(central, expected, limits, complete=True)
    yield from _differences(local, expected, limits, complete=False)
    if end + END.size < size and record.endswith(b"\0\0"):  # no comment is announced
        surplus = size - end - END.size
        yield PackageError("package.trailing_bytes", f"{surplus} bytes follow the end of the archive", _HINT)
    yield PackageError("package.bad_record", "a record of the archive differs from what was signed", _HINT)


def _central_records(read: Read, end: int, record: bytes, limits: ArchiveLimits) -> list[_Found]:
    """Return what the central directory lists; nothing if the end record does not lead to it."""
    _, _, _, _, count, length, offset, _ = END.unpack(record)
    if offset + length > end:
        return []
    most = (limits.members + 1) * (CENTRAL.size + limits.path)
    data = read(offset, min(length, most))
    found: list[_Found] = []
    at = 0
    while len(data) - at >= CENTRAL.size and data[at : at + 4] == CENTRAL_MAGIC:
        fields = CENTRAL.unpack_from(data, at)
        flags, method, size = fields[3], fields[4], fields[9]
        name_length, extra, comment = fields[10:13]
        start = at + CENTRAL.size
        name = data[start : start + name_length]
        found.append(_Found(name, method, flags, size, fields[15] >> 16))
        at = start + name_length + extra + comment
    return found if len(found) == count else []


def _local_records(read: Read, size: int, limits: ArchiveLimits) -> list[_Found]:
    """Return what is found by walking from local header to local header, from the beginning."""
    found: list[_Found] = []
    at = 0
    while len(found) <= limits.members + 1 and at + LOCAL.size <= size:
        fixed = read(at, LOCAL.size)
        if len(fixed) < LOCAL.size or not fixed.startswith(LOCAL_MAGIC):
            break
        _, _, flags, method, _, _, _, packed, unpacked, name_length, extra = LOCAL.unpack(fixed)
        name = read(at + LOCAL.size, name_length)
        found.append(_Found(name, method, flags, unpacked, 0))
        at += LOCAL.size + name_length + extra + packed
    return found


def _bad_members(records: Iterable[_Found]) -> Iterator[PackageError]:
    """Yield what is wrong with any record taken by itself."""
    for record in records:
        try:
            name = record.name.decode()
            check_path(name)
        except UnicodeDecodeError:
            yield PackageError("package.bad_path", f"member {record.name[:200]!r} is not UTF-8", _HINT)
            return
        except PackageError as error:
            yield error
            return
        kind = stat.S_IFMT(record.mode)
        for reason, wrong, what in (
            ("symlink_member", kind == stat.S_IFLNK, "is a symbolic link"),
            ("device_member", kind not in (0, stat.S_IFREG), "is not a regular file"),
            ("encrypted_member", record.flags & _ENCRYPTED, "is encrypted"),
            ("compressed_member", record.method != STORED, "is compressed"),
        ):
            if wrong:
                yield PackageError(f"package.{reason}", f"member {name!r} {what}", _HINT)


def _differences(
    records: Sequence[_Found], expected: dict[str, int], limits: ArchiveLimits, *, complete: bool
) -> Iterator[PackageError]:
    """Yield how *records*, each right by itself, differ from the signed table (path to size).

    Only *complete* records, those of the central directory, tell that something is missing.
    """
    names = [record.name.decode() for record in records]
    for name, count in Counter(names).items():
        if count > 1:
            yield PackageError("package.duplicate_member", f"member {name!r} occurs twice", _HINT)
    try:
        check_table((name for name in names if name != MANIFEST_MEMBER), limits)
    except PackageError as error:
        yield error
    for name in names:
        if name not in expected:
            yield PackageError("package.extra_member", f"member {name!r} was not signed", _HINT)
    for name in sorted(expected.keys() - names) if complete else ():
        yield PackageError("package.missing_member", f"member {name!r} is missing", _HINT)
    for record, name in zip(records, names, strict=True):
        signed = expected.get(name, record.size)
        if name != MANIFEST_MEMBER and record.size != signed:
            what = f"member {name!r} has {record.size} bytes where {signed} were signed"
            yield PackageError("package.digest_mismatch", what, _HINT)
