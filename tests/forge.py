"""A forge of packages: makes valid packages from parameters, and can break exactly one thing.

The ZIP writer here is written from APPNOTE.TXT and shares no code with the ZIP writer under test, so that the
two check each other. It writes whatever it is told to write, including archives that no reader should accept.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mpp_exec.encoding import dumps
from mpp_exec.package import canonical
from mpp_exec.package.manifest import FileEntry, Manifest, Requirement, RuntimeSpec, Tool
from mpp_exec.trust.cose import ManifestSigner
from mpp_exec.trust.keys import SigningKey
from mpp_exec.trust.publishers import Publisher, TrustView

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PLATFORM = "linux-x86_64"

KEY = SigningKey(b"\x01" * 32)
OTHER_KEY = SigningKey(b"\x02" * 32)

PYTHON_FILES = {"echo.py": b"def echo(text):\n    return text\n", "data/words.txt": b"alpha beta\n"}
EXEC_FILES = {"bin/echo": b"\x7fELF, or so it says\n", "README": b""}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def files_table(files: Mapping[str, bytes], executable: Sequence[str] = ()) -> tuple[FileEntry, ...]:
    """Return the table of *files* (path to contents), sorted."""
    return tuple(
        FileEntry(path, len(files[path]), hashlib.sha256(files[path]).digest(), path in executable)
        for path in sorted(files, key=str.encode)
    )


def tool(name: str = "echo", **changes: Any) -> Tool:
    """Return a valid tool."""
    base = Tool(name=name, description="Says it again.", input_schema=SCHEMA, entry="echo:echo")
    return replace(base, **changes)


def manifest(kind: str = "python", files: Mapping[str, bytes] | None = None, **changes: Any) -> Manifest:
    """Return a valid manifest of *kind* ``python`` or ``exec``, with *changes* to its fields."""
    if kind == "python":
        files = PYTHON_FILES if files is None else files
        runtime = RuntimeSpec(kind="python", requires=(Requirement("python", ">=3.11"),))
        tools = (tool(),)
        table = files_table(files)
    else:
        files = EXEC_FILES if files is None else files
        runtime = RuntimeSpec(kind="exec", command=("bin/echo",))
        tools = (tool(entry=""),)
        table = files_table(files, executable=("bin/echo",))
    base = Manifest(
        name="acme/echo",
        version="1.0.0",
        publisher_key=KEY.public_key,
        runtime=runtime,
        tools=tools,
        files=table,
        description="A tool for tests.",
    )
    return replace(base, **changes)


def sign(value: Manifest | Any, key: SigningKey = KEY) -> bytes:
    """Return ``manifest.cose`` over a manifest, or over any other CBOR value."""
    return sign_bytes(dumps(canonical.to_value(value) if isinstance(value, Manifest) else value), key)


def sign_bytes(payload: bytes, key: SigningKey = KEY) -> bytes:
    """Return ``manifest.cose`` over any bytes."""
    return ManifestSigner("acme", key).sign(payload)


@dataclass(frozen=True)
class RawMember:
    """One member of an archive; every field of its records can be chosen freely."""

    name: bytes
    data: bytes = b""
    mode: int = 0o100644
    method: int = 0
    flags: int = 0x0800
    needed: int = 20
    made_by: int = 0x0314
    time: int = 0
    date: int = 0x0021
    crc: int | None = None
    packed: int | None = None
    size: int | None = None
    disk: int = 0
    internal: int = 0
    low_attributes: int = 0
    extra: bytes = b""
    central_extra: bytes = b""
    comment: bytes = b""
    central_name: bytes | None = None
    descriptor: bytes = b""
    in_body: bool = True
    in_directory: bool = True

    def local(self) -> bytes:
        """Return the local header, name, extra field, contents and data descriptor."""
        return (
            struct.pack(
                "<IHHHHHIIIHH",
                0x04034B50,
                self.needed,
                self.flags,
                self.method,
                self.time,
                self.date,
                *self._sums(),
                len(self.name),
                len(self.extra),
            )
            + self.name
            + self.extra
            + self.data
            + self.descriptor
        )

    def central(self, offset: int) -> bytes:
        """Return the member's record in the central directory."""
        name = self.name if self.central_name is None else self.central_name
        return (
            struct.pack(
                "<IHHHHHHIIIHHHHHII",
                0x02014B50,
                self.made_by,
                self.needed,
                self.flags,
                self.method,
                self.time,
                self.date,
                *self._sums(),
                len(name),
                len(self.central_extra),
                len(self.comment),
                self.disk,
                self.internal,
                self.mode << 16 | self.low_attributes,
                offset,
            )
            + name
            + self.central_extra
            + self.comment
        )

    def _sums(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        packed = len(self.data) if self.packed is None else self.packed
        return crc, packed, len(self.data) if self.size is None else self.size


def pack(
    members: Sequence[RawMember], *, comment: bytes = b"", before: bytes = b"", after: bytes = b""
) -> bytes:
    """Return an archive of *members*; *before* and *after* are bytes that do not belong to it."""
    body, directory = bytearray(before), bytearray()
    count = 0
    for member in members:
        if member.in_directory:
            directory += member.central(len(body))
            count += 1
        if member.in_body:
            body += member.local()
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), len(comment))
    return bytes(body + directory) + end + comment + after


def raw_members(signed: bytes, files: Mapping[str, bytes], executable: Sequence[str] = ()) -> list[RawMember]:
    """Return the members of a valid archive, for changing them."""
    members = [RawMember(b"manifest.cose", signed)]
    for path in sorted(files, key=str.encode):
        mode = 0o100755 if path in executable else 0o100644
        members.append(RawMember(path.encode(), files[path], mode))
    return members


def package(kind: str = "python", **changes: Any) -> bytes:
    """Return a valid package of *kind*, with *changes* to its manifest."""
    files = PYTHON_FILES if kind == "python" else EXEC_FILES
    executable = () if kind == "python" else ("bin/echo",)
    return pack(raw_members(sign(manifest(kind, **changes)), files, executable))


def package_of(files: Mapping[str, bytes], executable: Sequence[str] = (), **changes: Any) -> bytes:
    """Return a package that contains and signs exactly *files* (with ``echo.py``: a valid python one)."""
    made = replace(manifest("python", files, **changes), files=files_table(files, executable))
    return pack(raw_members(sign(made), files, executable))


def publisher(name: str = "acme", key: SigningKey = KEY) -> Publisher:
    """Return a publisher that was added by hand."""
    return Publisher(name, key.public_key, NOW, "added")


def view(**changes: Any) -> TrustView:
    """Return the trust of a home that knows ``acme`` by :data:`KEY`."""
    return replace(TrustView(publishers={"acme": publisher()}), **changes)


@dataclass
class Tree:
    """A source folder with an ``mpp.toml``, which can be changed before building."""

    root: Path
    toml: str = field(
        default="""\
[package]
name = "acme/echo"
version = "1.0.0"
description = "A tool for tests."

[runtime]
kind = "python"
requires = ["python>=3.11"]

[[tools]]
name = "echo"
description = "Says it again."
entry = "echo:echo"
inputSchema = { type = "object", properties = { text = { type = "string" } }, required = ["text"] }
"""
    )
    files: dict[str, bytes] = field(default_factory=lambda: dict(PYTHON_FILES))
    executable: tuple[str, ...] = ()

    def write(self) -> Path:
        """Write the folder and return it."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "mpp.toml").write_text(self.toml)
        for path, data in self.files.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o755 if path in self.executable else 0o644)
        return self.root
