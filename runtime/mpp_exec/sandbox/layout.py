"""What a sandbox's file system consists of: entries in the order in which init makes them.

The root is a small tmpfs. Everything in it is listed: a folder, a synthetic file, a link, a bind of
one approved host path, a fresh tmpfs. What is not listed does not exist inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from mpp_exec.errors import ConsentError
from mpp_exec.owners import Identity
from mpp_exec.sandbox import native

READ_ONLY = native.MOUNT_RDONLY | native.MOUNT_NOSUID | native.MOUNT_NODEV | native.MOUNT_NOEXEC
WRITABLE = native.MOUNT_NOSUID | native.MOUNT_NODEV | native.MOUNT_NOEXEC
# Code is mapped or executed from here; Landlock's execute right says which file may become a program.
CODE = native.MOUNT_RDONLY | native.MOUNT_NOSUID | native.MOUNT_NODEV
# What is written to one is not its file system's, which is the host's: no time of it is changed.
DEVICE = native.MOUNT_RDONLY | native.MOUNT_NOSUID | native.MOUNT_NOEXEC

RESERVED = ("/app", "/dev", "/mpp", "/proc", "/python", "/scratch", "/storage", "/sys")
"""Where the sandbox has something of its own, so that no grant can appear there."""

_EMPTY = 4096  # bytes of a tmpfs that only has to be there
_INODES_PER_MIB = 256
# Removing one takes two microseconds, and a call is not over before that: it must be, when its limit says so.
_INODES_MAX = 32768


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the layout (``struct mpp_entry``). ``target`` is absolute inside the sandbox.

    ``identity`` is what a bind's source must be (``owners.identity``); None accepts whatever is there.
    ``late`` says that a sandbox which is prepared ahead of its call gets it only with that.
    """

    kind: str
    target: str
    source: str = ""
    data: bytes = b""
    mode: int = 0o755
    size: int = 0
    inodes: int = 0
    attributes: int = 0
    flags: int = 0
    identity: Identity | None = None
    late: bool = False


class Layout:
    """Collects entries; parents are made where nothing has made them yet.

    Attributes:
        entries: what was collected.
        late: whether what is collected from now on is late.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.late = False
        self._made: set[str] = {"/"}
        self._binds: list[str] = []

    def folder(self, target: str, mode: int = 0o755) -> None:
        """Make *target* and its parents, unless a bind already shows it."""
        if target in self._made or self._inside_bind(target):
            return
        self.folder(str(PurePosixPath(target).parent))
        self._made.add(target)
        self.entries.append(Entry("dir", target, mode=mode, late=self.late))

    def file(self, target: str, data: bytes) -> None:
        """Make a synthetic file, unless a granted folder lies there."""
        if self._inside_bind(target):
            return
        self.folder(str(PurePosixPath(target).parent))
        self._made.add(target)
        self.entries.append(Entry("file", target, data=data, mode=0o444))

    def link(self, target: str, destination: str) -> None:
        """Make a symbolic link at *target*, unless something is there already."""
        if target in self._made or self._inside_bind(target):
            return
        self.folder(str(PurePosixPath(target).parent))
        self._made.add(target)
        self.entries.append(Entry("link", target, source=destination))

    def bind(
        self,
        source: str,
        target: str,
        attributes: int,
        flags: int = 0,
        identity: Identity | None = None,
    ) -> None:
        """Show the host's *source*, a path without links, at *target*."""
        exists = target in self._made or self._inside_bind(target)
        if not exists:
            self.folder(str(PurePosixPath(target).parent))
        flags |= native.ENTRY_EXISTS if exists else 0
        entry = Entry(
            "bind", target, source, attributes=attributes, flags=flags, identity=identity, late=self.late
        )
        self.entries.append(entry)
        self._made.add(target)
        self._binds.append(target)

    def scratch(self, target: str, size: int) -> None:
        """Mount a private, writable tmpfs of *size* bytes that is gone with the sandbox."""
        inodes = min(max(1024, size // (1 << 20) * _INODES_PER_MIB), _INODES_MAX)
        self.folder(str(PurePosixPath(target).parent))
        self.entries.append(Entry("tmpfs", target, mode=0o700, size=size, inodes=inodes, attributes=WRITABLE))
        self._made.add(target)

    def cover(self, target: str, *, is_dir: bool) -> None:
        """Hide what a bind shows at *target* under an empty, read-only mount."""
        if is_dir:
            empty = Entry(
                "tmpfs",
                target,
                mode=0o555,
                size=_EMPTY,
                inodes=1,
                attributes=READ_ONLY,
                flags=native.ENTRY_EXISTS,
                late=self.late,
            )
            self.entries.append(empty)
        else:
            nothing = Entry("bind", target, "/dev/null", attributes=READ_ONLY, flags=native.ENTRY_EXISTS)
            self.entries.append(replace(nothing, late=self.late))

    def _inside_bind(self, target: str) -> bool:
        return any(target == bind or target.startswith(f"{bind}/") for bind in self._binds)


def shown(entries: Iterable[Entry], limit: int, *, traced: bool = False, hosts: bool = False) -> bytes:
    """Return, as JSON, what the launcher of a Python tool knows: the paths shown, and the output's bound.

    The launcher notes accesses beside these paths. It can tell which of them come late, as *hosts* do if
    there are any. The paths are no secret to a tool, which can try each of them, but they are a secret to
    other users. So they are in a file inside, and on no command line.
    """
    entries = tuple(entries)
    first = next((i for i, entry in enumerate(entries) if entry.late), len(entries))
    paths = {
        entry.target: not entry.attributes & native.MOUNT_RDONLY or entry.attributes == DEVICE
        for entry in entries
        if entry.kind in ("bind", "tmpfs")
    }
    files = [entry.target for entry in entries if entry.kind == "file"]
    told = {
        "read": [*paths, *files],
        "write": [path for path, writable in paths.items() if writable],
        "late": [entry.target for entry in entries[first:] if entry.kind in ("bind", "tmpfs")],
        "limit": limit,
        "traced": traced,
        "hosts": hosts,
    }
    return json.dumps(told).encode("ascii")


def refuse_reserved(paths: Iterable[str]) -> None:
    """Refuse grants that cannot appear at their own path.

    Raises:
        ConsentError: a path is ``/`` or equals, contains or lies in a path of the sandbox's own.
    """
    for path in paths:
        for own in RESERVED:
            if path in ("/", own) or path.startswith(f"{own}/"):
                raise ConsentError(
                    "grant.reserved_path",
                    f"{path} cannot be granted: the sandbox uses this path itself",
                    "grant a folder below your home or another data folder",
                )
