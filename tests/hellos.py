"""TLS ClientHellos as bytes, valid and invalid ones."""

from __future__ import annotations

import struct


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def server_name(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    """Return the extension with *names*."""
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names))


def hello(*extensions: tuple[int, bytes], before: bytes = b"", behind: bytes = b"") -> bytes:
    """Return the handshake message, with *before* and *behind* inserted into it."""
    listed = b"".join(struct.pack("!H", kind) + vector(2, data) for kind, data in extensions)
    body = b"\x03\x03" + bytes(32) + vector(1, b"s" * 32) + vector(2, b"\x13\x01") + vector(1, b"\0") + before
    body += vector(2, listed) if extensions else b""
    return b"\x01" + vector(3, body + behind)


def records(message: bytes, size: int = 16_384, kind: int = 22) -> bytes:
    """Return *message* in records of *size* bytes."""
    return b"".join(
        bytes([kind]) + b"\x03\x01" + vector(2, message[at : at + size])
        for at in range(0, len(message), size)
    )


def hello_for(name: str, size: int = 16_384) -> bytes:
    return records(hello((10, b"\0\2\0\x1d"), server_name(name.encode()), (43, b"\2\3\4")), size)
