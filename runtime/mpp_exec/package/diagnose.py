"""Say what is wrong with an archive that was already refused.

The reader accepts one byte string and compares; when the comparison fails, it knows only where. This
module looks again, leniently, for the reason a person would want to hear. Nothing here accepts
anything: every path ends in a :class:`PackageError`.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
    offset: int


def diagnose(read: Read, size: int, files: Sequence[FileEntry], limits: ArchiveLimits) -> PackageError:
    """Return the error that names the first reason found why an archive is not what *files* imply.

    *size* is that of the archive. The code is one of ``package.truncated``, ``trailing_bytes``,
    ``nul``, ``backslash``, ``absolute_path``, ``parent_path``, ``bad_path``, ``not_nfc``,
    ``path_too_long``, ``symlink_member``, ``device_member``, ``compressed_member``,
    ``encrypted_member``, ``duplicate_member``, ``case_collision``, ``extra_member``,
    ``missing_member``, ``digest_mismatch`` and, if it is none of these, ``bad_record``.
    """
    tail_start = max(0, size - END.size - _MAX_COMMENT)
    tail = read(tail_start, size - tail_start)
    at = tail.rfind(END_MAGIC)
    if at < 0 or len(tail) - at < END.size:
        return PackageError("package.truncated", "the archive ends in the middle", _HINT_TRUNCATED)
    central = _central_records(read, tail_start + at, tail[at : at + END.size], limits)
    local = _local_records(read, size, limits)
    for records in (central, local):
        problem = _first_problem(records)
        if problem is not None:
            return problem
    expected = {MANIFEST_MEMBER: 0} | {entry.path: entry.size for entry in files}
    for records in (central, local):
        problem = _against_table(records, expected, limits)
        if problem is not None:
            return problem
    if tail_start + at + END.size < size and tail[at + END.size - 2 : at + END.size] == b"\0\0":
        return PackageError(
            "package.trailing_bytes",
            f"{size - tail_start - at - END.size} bytes follow the end of the archive",
            _HINT,
        )
    return PackageError("package.bad_record", "a record of the archive differs from what was signed", _HINT)


def _central_records(read: Read, end: int, record: bytes, limits: ArchiveLimits) -> list[_Found]:
    """Return what the central directory lists, as far as it can be read."""
    _, _, _, _, _, length, offset, _ = END.unpack(record)
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
        found.append(_Found(name, method, flags, size, fields[15] >> 16, fields[16]))
        at = start + name_length + extra + comment
    return found


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
        found.append(_Found(name, method, flags, unpacked, 0, at))
        at += LOCAL.size + name_length + extra + packed
    return found


def _first_problem(records: Iterable[_Found]) -> PackageError | None:
    """Return what is wrong with any record taken by itself."""
    for record in records:
        try:
            name = record.name.decode()
            check_path(name)
        except UnicodeDecodeError:
            return PackageError("package.bad_path", f"member {record.name[:200]!r} is not UTF-8", _HINT)
        except PackageError as error:
            return error
        kind = stat.S_IFMT(record.mode)
        for reason, wrong, what in (
            ("symlink_member", kind == stat.S_IFLNK, "is a symbolic link"),
            ("device_member", kind not in (0, stat.S_IFREG), "is no regular file"),
            ("encrypted_member", record.flags & _ENCRYPTED, "is encrypted"),
            ("compressed_member", record.method != STORED, "is compressed"),
        ):
            if wrong:
                return PackageError(f"package.{reason}", f"member {name!r} {what}", _HINT)
    return None


def _against_table(
    records: Sequence[_Found], expected: dict[str, int], limits: ArchiveLimits
) -> PackageError | None:
    """Return how the *records* differ from the signed table (path to size)."""
    names = [record.name.decode() for record in records]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        return PackageError("package.duplicate_member", f"member {twice[0]!r} occurs twice", _HINT)
    try:
        check_table((name for name in names if name != MANIFEST_MEMBER), limits)
    except PackageError as error:
        return error
    extra = [name for name in names if name not in expected]
    if extra:
        return PackageError("package.extra_member", f"member {extra[0]!r} was not signed", _HINT)
    missing = sorted(expected.keys() - names)
    if missing:
        return PackageError("package.missing_member", f"member {missing[0]!r} is missing", _HINT)
    for record, name in zip(records, names, strict=True):
        if name != MANIFEST_MEMBER and record.size != expected[name]:
            return PackageError(
                "package.digest_mismatch",
                f"member {name!r} has {record.size} bytes where {expected[name]} were signed",
                _HINT,
            )
    return None
