"""Attacks on packages: their definition, how to make one, and the required result.

Each attack breaks exactly one thing in a valid package: after it was signed, or (``signed_*``) before it is
signed with the publisher's own key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import forge
from mpp_exec.encoding import dumps, sha256_digest
from mpp_exec.errors import MppError
from mpp_exec.package import canonical
from mpp_exec.package.archive import open_package
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import verify

GOOD = forge.package("python")
SIGNED_MANIFEST = forge.sign(forge.manifest("python"))
VALUE = canonical.to_value(forge.manifest("python"))


@dataclass(frozen=True)
class Attack:
    """One broken thing: the bytes of the file, the home that it is for, and the code of the refusal."""

    name: str
    code: str
    make: Callable[[], bytes]
    view: TrustView = field(default_factory=forge.view)
    platform: str = forge.PLATFORM
    later: timedelta = timedelta()


def members() -> list[forge.RawMember]:
    """Return the members of the good package, for changing them."""
    return forge.raw_members(SIGNED_MANIFEST, forge.PYTHON_FILES)


def changed(index: int, **changes: Any) -> bytes:
    """Change one member of the good package, after it was signed."""
    made = members()
    made[index] = replace(made[index], **changes)
    return forge.pack(made)


def with_extra(*extra: forge.RawMember) -> bytes:
    """Add members to the good package."""
    return forge.pack([*members(), *extra])


def signed_value(**changes: Any) -> bytes:
    """Sign a manifest with these keys changed."""
    return forge.pack(forge.raw_members(forge.sign(VALUE | changes), forge.PYTHON_FILES))


def signed_bytes(payload: bytes) -> bytes:
    """Sign bytes that need not be a manifest."""
    return forge.pack(forge.raw_members(forge.sign_bytes(payload), forge.PYTHON_FILES))


def with_envelope(envelope: bytes) -> bytes:
    """Put an envelope into an otherwise good archive."""
    return forge.pack(forge.raw_members(envelope, forge.PYTHON_FILES))


def signed_paths(*paths: str) -> bytes:
    """Sign a table with these paths besides ``echo.py``, and pack exactly them."""
    files = {"echo.py": forge.PYTHON_FILES["echo.py"]} | dict.fromkeys(paths, b"x")
    return forge.package_of(files)


def signed_table(change: Callable[[list[Any]], None]) -> bytes:
    """Sign a changed file table."""
    rows = [list(row) for row in VALUE["files"]]
    change(rows)
    return signed_value(files=rows)


def envelope_parts() -> list[Any]:
    """Return the four parts of a valid envelope."""
    protected = b"\xa3\x01\x32\x03\x78\x1dapplication/mpp-manifest+cbor\x04\x58\x20" + bytes.fromhex(
        forge.KEY.key_id.removeprefix("sha256:")
    )
    payload = dumps(VALUE)
    signature = forge.KEY.sign(dumps(["Signature1", protected, b"", payload]))
    return [protected, {}, payload, signature]


def envelope(index: int, part: Any) -> bytes:
    """Replace one part of the envelope; the signature stays the same."""
    parts = envelope_parts()
    parts[index] = part
    return with_envelope(dumps(parts, tag=18))


def signed_protected(protected: bytes) -> bytes:
    """Replace the protected header and sign the result: everything except the header is valid."""
    parts = envelope_parts()
    parts[0] = protected
    parts[3] = forge.KEY.sign(dumps(["Signature1", protected, b"", parts[2]]))
    return with_envelope(dumps(parts, tag=18))


PROTECTED = envelope_parts()[0]
END = GOOD.rindex(b"PK\x05\x06")
DIRECTORY = GOOD.index(b"PK\x01\x02")
OTHER_SIGNER = forge.pack(
    forge.raw_members(
        forge.sign(forge.manifest("python", publisher_key=forge.OTHER_KEY.public_key), forge.OTHER_KEY),
        forge.PYTHON_FILES,
    )
)
DIGEST = sha256_digest(SIGNED_MANIFEST)
SEEN = (forge.KEY.key_id, "acme/echo")


def listing(folder: Path) -> list[tuple[str, int]]:
    """Return everything under *folder*, with its mode."""
    return sorted((str(path.relative_to(folder)), path.lstat().st_mode) for path in folder.rglob("*"))


def install(path: Path, attack: Attack) -> None:
    """Do what an installation does with the file at *path*, up to the registry, into a folder beside it."""
    with open_package(path) as package:
        verified = verify(package, attack.view, now=forge.NOW + attack.later, platform=attack.platform)
        folder = os.open(path.parent / "target", os.O_RDONLY | os.O_DIRECTORY)
        try:
            verified.extract(folder)
        finally:
            os.close(folder)


def assert_refused(attack: Attack, place: Path) -> None:
    """Fail unless *attack* is refused with its code and nothing below *place* has changed."""
    (place / "target").mkdir()
    path = place / "package.mpp"
    path.write_bytes(attack.make())
    before = listing(place)
    with pytest.raises(MppError) as error:
        install(path, attack)
    assert error.value.code == attack.code
    assert error.value.message
    assert error.value.hint
    assert error.value.exit_code == (4 if attack.code == "trust.unknown_publisher" else 3)
    assert listing(place) == before
