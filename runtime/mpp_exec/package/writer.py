"""Writing a package file: the other half of :mod:`.archive`.

The signed manifest stands first in the file but is known last, since it holds the digest of every
content. What is known beforehand is its length. So contents are written where they will stand, each
read only once, and the manifest is put in front of them at the end.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable

from mpp_exec.package.records import Layout, Member


class ArchiveWriter:
    """Fills an empty, seekable file with the archive that *layout* describes.

    :meth:`add` every file in the order of the layout, then :meth:`finish`. The descriptor stays the
    caller's; so do sync and rename. Disk errors are raised as OSError.
    """

    def __init__(self, descriptor: int, layout: Layout) -> None:
        self._descriptor = descriptor
        self._layout = layout
        self._crcs: list[int] = []

    def add(self, pieces: Iterable[bytes | memoryview]) -> bytes:
        """Write the contents of the next file and return their SHA-256 (raw).

        Raises:
            ValueError: there are more or fewer bytes than the layout says; nothing is to be kept.
        """
        member = self._layout.members[len(self._crcs) + 1]
        digest, crc, position = hashlib.sha256(), 0, member.start
        for piece in pieces:
            if position + len(piece) > member.end:
                raise ValueError(f"more than {member.size} bytes of contents")
            digest.update(piece)
            crc = zlib.crc32(piece, crc)
            self._write(piece, position)
            position += len(piece)
        if position != member.end:
            raise ValueError(f"fewer than {member.size} bytes of contents")
        self._write_header(member, crc)
        self._crcs.append(crc)
        return digest.digest()

    def finish(self, signed: bytes) -> None:
        """Write the signed manifest and the central directory.

        Raises:
            ValueError: a file was not added, or *signed* has not the length that was laid out.
        """
        first = self._layout.members[0]
        if len(signed) != first.size:
            raise ValueError(f"{len(signed)} bytes of signed manifest where {first.size} were laid out")
        crcs = [zlib.crc32(signed), *self._crcs]
        records = self._layout.directory_records(crcs)  # raises if their number is not right
        self._write_header(first, crcs[0])
        self._write(signed, first.start)
        self._write(records, self._layout.directory)

    def _write_header(self, member: Member, crc: int) -> None:
        self._write(member.local_header(crc), member.header)

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest = rest[written:]
            offset += written
