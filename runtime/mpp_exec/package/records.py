"""The records of a ZIP archive, in the one form that a package has.

APPNOTE.TXT 6.3.10 leaves a writer a hundred choices; here each is made once, so that every byte of
an archive follows from its members' names, sizes, checksums and executable bits:

* method 0 (stored), no extra fields, no comments, no data descriptors, no encryption, no ZIP64
* general purpose flag 0x0800 (names are UTF-8), also where a name is ASCII
* version needed 2.0, made by 2.0 on UNIX; time 1980-01-01 00:00:00, the first that ZIP can say
* external attributes: a regular file, 0644 or 0755; ``manifest.cose`` is 0644
* the members stand one behind the other, first ``manifest.cose``, and the central directory, in the
  same order, follows the last

What is not known before the contents have been read is the CRC-32. ZIP has it; nothing here relies
on it: contents are identified by SHA-256.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.paths import MANIFEST_MEMBER

LOCAL_MAGIC: Final = b"PK\x03\x04"
CENTRAL_MAGIC: Final = b"PK\x01\x02"
END_MAGIC: Final = b"PK\x05\x06"

# APPNOTE 4.3.7: magic, version needed, flags, method, time, date, crc, compressed, size, name, extra
LOCAL: Final = struct.Struct("<4s5H3I2H")
# 4.3.12: magic, made by, needed, flags, method, time, date, crc, compressed, size, name, extra,
# comment, disk, internal attributes, external attributes, offset of the local header
CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
# 4.3.16: magic, disk, disk of directory, entries here, entries, size, offset, comment
END: Final = struct.Struct("<4s4H2IH")

STORED: Final = 0
_MADE_BY: Final = 3 << 8 | 20  # 4.4.2: UNIX, 2.0
_NEEDED: Final = 20
_UTF8: Final = 0x0800  # 4.4.4, bit 11
_TIME: Final = 0
_DATE: Final = 1 << 5 | 1  # 4.4.6, MS-DOS: year 0 (1980), month 1, day 1
_CRC_OFFSET: Final = 14  # of the checksum within a local header

S_IFREG: Final = 0o100000


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member stands: ``header`` is the offset of its local header, ``start`` of its contents."""

    name: bytes
    size: int
    executable: bool
    header: int
    start: int

    @property
    def end(self) -> int:
        """The offset behind the last byte of the contents, where the next record begins."""
        return self.start + self.size

    def local_header(self, crc: int) -> bytes:
        """Return the record in front of the contents."""
        return (
            LOCAL.pack(
                LOCAL_MAGIC,
                _NEEDED,
                _UTF8,
                STORED,
                _TIME,
                _DATE,
                crc,
                self.size,
                self.size,
                len(self.name),
                0,
            )
            + self.name
        )

    def central_header(self, crc: int) -> bytes:
        """Return the record in the central directory."""
        mode = S_IFREG | (0o755 if self.executable else 0o644)
        return (
            CENTRAL.pack(
                CENTRAL_MAGIC,
                _MADE_BY,
                _NEEDED,
                _UTF8,
                STORED,
                _TIME,
                _DATE,
                crc,
                self.size,
                self.size,
                len(self.name),
                0,
                0,
                0,
                0,
                mode << 16,
                self.header,
            )
            + self.name
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """What an archive must look like, as far as it is known without its contents. Offsets in bytes.

    Attributes:
        members: in the order of the archive; the first is ``manifest.cose``.
        directory: offset of the central directory.
        size: of the whole file.
    """

    members: tuple[Member, ...]
    directory: int
    size: int

    @classmethod
    def of(cls, manifest_size: int, files: Iterable[FileEntry]) -> Layout:
        """Lay out a signed manifest of *manifest_size* bytes and *files*, in their order."""
        members = [manifest_member(manifest_size)]
        position = members[0].end
        for entry in files:
            name = entry.path.encode()
            start = position + LOCAL.size + len(name)
            members.append(Member(name, entry.size, entry.executable, position, start))
            position = start + entry.size
        records = sum(CENTRAL.size + len(member.name) for member in members)
        return cls(tuple(members), position, position + records + END.size)

    def directory_records(self, crcs: Iterable[int]) -> bytes:
        """Return the central directory and the end record, given each member's CRC-32."""
        records = b"".join(member.central_header(crc) for member, crc in zip(self.members, crcs, strict=True))
        count = len(self.members)
        return records + END.pack(END_MAGIC, 0, 0, count, count, len(records), self.directory, 0)


def manifest_member(size: int) -> Member:
    """Return the first member of every archive, for a signed manifest of *size* bytes."""
    name = MANIFEST_MEMBER.encode()
    return Member(name, size, executable=False, header=0, start=LOCAL.size + len(name))


def without_crc(local_header: bytes) -> bytes:
    """Return a local header with its checksum blanked, to compare it before the contents are known."""
    return local_header[:_CRC_OFFSET] + bytes(4) + local_header[_CRC_OFFSET + 4 :]
