"""The sealed head: how far the ledger had grown, signed and kept apart from the database.

A hash chain shows a change in its middle but not that its end is missing. So the number and hash of
the last entry are signed with a key of the home (Ed25519) into ``HOME/ledger.head``, at least every
second while entries are added and when a writer closes. A database that ends before the sealed
entry, or holds another one in its place, has been tampered with.

What a head cannot show: entries cut off before they were sealed (at most the last second of a
process that was killed), and a home put back as a whole, database and head together, to an older
state. Against that helps only a copy of the head kept elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpp_exec.audit.faults import busy
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import MppError

if TYPE_CHECKING:
    from mpp_exec.trust.keys import HomeKey, SigningKey

_PURPOSE: Final = "ledger-head"
_LABEL: Final = b"mpp-exec ledger head v1\0"
_MAX_SIZE: Final = 4096
_PAUSE: Final = 0.005  # seconds between two looks at a lock that another process holds


@dataclass(frozen=True, slots=True)
class Head:
    """What is sealed: the last entry's number and hash, which stands for all before it; and when (ms)."""

    sequence: int
    hash: bytes
    at: int

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return _LABEL + dumps({"sequence": self.sequence, "hash": self.hash, "at": self.at})


class HeadForgedError(Exception):
    """The file is no head that this home has signed."""


def signing_key(home_key: HomeKey) -> SigningKey:
    """Return the key that seals a home's ledger. Its public half may be given to an auditor."""
    from mpp_exec.trust.keys import SigningKey  # noqa: PLC0415 -- loads libsodium

    return SigningKey(home_key.derive(_PURPOSE))


def encode(head: Head, key: SigningKey) -> bytes:
    """Return the file's bytes: a CBOR map of ``head`` (the signed bytes) and ``signature``."""
    message = head.message()
    return dumps({"head": message, "signature": key.sign(message)})


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the signed bytes and the signature in *data*.

    Raises:
        HeadForgedError: it is no head.
    """
    try:
        outer = loads(data, max_size=_MAX_SIZE)
    except MppError:
        raise HeadForgedError from None
    match outer:
        case {"head": bytes(message), "signature": bytes(signature)} if len(outer) == 2:
            return message, signature
    raise HeadForgedError


def decode(data: bytes, public_key: bytes) -> Head:
    """Return the head in *data*.

    Raises:
        HeadForgedError: it is not what *public_key*'s owner signed.
    """
    from mpp_exec.trust.keys import verify_signature  # noqa: PLC0415 -- loads libsodium

    message, signature = parts(data)
    if not message.startswith(_LABEL) or not verify_signature(public_key, message, signature):
        raise HeadForgedError
    return Head(**loads(message.removeprefix(_LABEL), max_size=_MAX_SIZE))


def read(path: Path) -> bytes | None:
    """Return the file's bytes, cut off where they are too many to be a head, or None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MAX_SIZE + 1)


def write(path: Path, data: bytes) -> None:
    """Put *data* in place of the file at once and for good: after a crash it is the old head or the new.

    The caller holds :func:`exclusive`, so the temporary name is nobody else's.
    """
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)  # left by a crash, or put there for us to write into
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def exclusive(lock: Path, deadline: float) -> Iterator[None]:
    """Hold the lock that renewing a head needs, so that it never goes back to an older one.

    *deadline* is a ``time.monotonic()``; flock(2) has no time-out of its own, hence the asking again.

    Raises:
        InternalError: ``ledger.busy``, others held it all the time.
    """
    descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise busy("another process holds the ledger's head") from None
                time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)
