"""A file system that does not answer: its one file ``f`` can be opened, but a reader waits for ever.

As a program, ``hung_files.py FOLDER`` mounts it there, as root, and says so. The mount ends with this
process. The protocol is that of the kernel's ``linux/fuse.h``, revision 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable

HEADER, ANSWER = struct.Struct("<IIQQ"), struct.Struct("<IiQ")
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR = (
    1,
    2,
    3,
    14,
    15,
    18,
    25,
    26,
    27,
    29,
)
INTERRUPT, BATCH_FORGET = 36, 42
SILENT = (FORGET, READ, INTERRUPT, BATCH_FORGET)
HEADER_SIZE = 40
FOR_LONG = 1000  # seconds


def attributes(inode: int, mode: int) -> bytes:
    return struct.pack("<6Q10I", inode, 10, 1, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


ROOT, FILE = attributes(1, 0o40755), attributes(2, 0o100644)


def looked_up(_: int, body: bytes) -> bytes | None:
    return struct.pack("<4Q2I", 2, 0, FOR_LONG, FOR_LONG, 0, 0) + FILE if body.rstrip(b"\0") == b"f" else None


ANSWERS: dict[int, Callable[[int, bytes], bytes | None]] = {
    INIT: lambda *_: struct.pack("<4I2H2I2H8I", 7, 31, 1 << 16, 0, 12, 9, 1 << 16, 1, 32, 0, 0, *[0] * 7),
    LOOKUP: looked_up,
    GETATTR: lambda node, _: struct.pack("<Q2I", FOR_LONG, 0, 0) + (ROOT if node == 1 else FILE),
    OPEN: lambda *_: struct.pack("<Q2I", 1, 0, 0),
    OPENDIR: lambda *_: struct.pack("<Q2I", 1, 0, 0),
    **dict.fromkeys((RELEASE, FLUSH, RELEASEDIR), lambda *_: b""),
}


def main(folder: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    os.write(1, b"mounted\n")
    while True:
        request = os.read(device, 1 << 20)
        _, operation, unique, node = HEADER.unpack_from(request)
        if operation in SILENT:
            continue
        known = ANSWERS.get(operation)
        answer = known(node, request[HEADER_SIZE:]) if known is not None else None
        error = -(errno.ENOSYS if known is None else errno.ENOENT) if answer is None else 0
        content = answer or b""
        os.write(device, ANSWER.pack(ANSWER.size + len(content), error, unique) + content)


if __name__ == "__main__":
    main(sys.argv[1])
