"""What a process has mapped, as the process itself is told it to write its snapshot (``native/snapshot.c``).

The host reads this from ``/proc``, which a tool cannot see inside. It also finds here what cannot be
restored. That is for tools that would work only by chance, and is no defence: what a tool saves is its own
affair.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.sandbox.native import lib

STACK: Final = 8 << 20
"""Bytes that a stack may grow to, RLIMIT_STACK of every plan: below one that is restored they are mapped."""

REGIONS_MAX: Final = lib.MPP_SNAPSHOT_REGIONS - 512  # a saved one may be in several pieces
TEXT_MAX: Final = 128 << 10
SMAPS_MAX: Final = 8 << 20
"""Bytes of ``smaps``: a tool can have more mappings than anybody wants to read of."""
OWN_DESCRIPTORS: Final = frozenset({"0", "1", "2", "3", "4"})
"""Those of the launcher: the three of every process, the one for its result, and the snapshot."""

_HEAD = lazily(
    r"([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ ([0-9]+) *(.*)"
)
_REGION = struct.Struct("=QQQIIII")
_COUNTS = struct.Struct("=II")


class UnsavableError(Exception):
    """The process has something that is not restored."""


@dataclass(slots=True)
class _Mapping:
    start: int
    end: int
    protection: int
    shared: bool
    offset: int
    inode: int
    path: str
    anonymous: int = 0
    resident: int = 0
    flags: tuple[str, ...] = ()


def told(folder: int) -> bytes:
    """Return the list of mappings for the process whose folder in /proc is open as *folder*.

    Raises:
        UnsavableError: it has more than one thread, descriptors of its own, or memory of a kind that is
            not restored.
        OSError: it cannot be looked at.
    """
    if len(_listed(folder, "task")) != 1:
        raise UnsavableError("threads")
    if not _listed(folder, "fd") <= OWN_DESCRIPTORS:
        raise UnsavableError("descriptors")
    return encoded(_read(folder, "smaps"))


def encoded(smaps: str) -> bytes:
    """Return ``struct request`` of what *smaps* says, see proc_pid_smaps(5).

    Raises:
        UnsavableError: as :func:`told`.
    """
    regions: list[bytes] = []
    texts = bytearray(b"\0")
    places: dict[str, int] = {}
    for each in _mappings(smaps):
        if each.path == "[vsyscall]":  # is the same in every process
            continue
        kind, offset, at = _kind(each), 0, 0
        if kind == lib.MPP_REGION_FILE:
            if each.path not in places:
                places[each.path] = len(texts)
                texts += os.fsencode(each.path) + b"\0"
            offset, at = each.offset, places[each.path]
        if each.path == "[stack]":
            below = (each.end - STACK, each.start, 0, lib.MPP_REGION_ZERO, each.protection, 0, 0)
            regions.append(_REGION.pack(*below))
        regions.append(_REGION.pack(each.start, each.end, offset, kind, each.protection, at, 0))
    if len(regions) > REGIONS_MAX or len(texts) > TEXT_MAX:
        raise UnsavableError("too many mappings")
    return _COUNTS.pack(len(regions), len(texts)) + b"".join(regions) + bytes(texts)


def _kind(mapping: _Mapping) -> int:
    """Return what is to be done with one."""
    if mapping.path == "[vdso]":
        return int(lib.MPP_REGION_VDSO)
    if mapping.path.startswith("[vvar"):
        return int(lib.MPP_REGION_VVAR)
    executable, writable = mapping.protection & 4, mapping.protection & 2
    if mapping.shared and (writable or "mw" in mapping.flags or not mapping.inode):
        raise UnsavableError("shared memory")
    if executable and (mapping.anonymous or not mapping.inode or writable):
        raise UnsavableError("code that is in no file")
    if mapping.inode and not mapping.path.startswith("/"):
        raise UnsavableError("a file without a path")
    if mapping.inode and not mapping.anonymous:
        if mapping.path.endswith(" (deleted)"):
            raise UnsavableError("a deleted file")
        return int(lib.MPP_REGION_FILE)
    # Random state of libraries: it is not to be in any copy, wf(madvise) and dp (MAP_DROPPABLE).
    if not mapping.resident or "wf" in mapping.flags or "dp" in mapping.flags:
        return int(lib.MPP_REGION_ZERO)
    if not mapping.protection & 1:
        raise UnsavableError("memory that cannot be read")
    return int(lib.MPP_REGION_SAVED)


def _mappings(smaps: str) -> list[_Mapping]:
    found: list[_Mapping] = []
    # What else ends lines stands in names as it is: of all that, the kernel rewrites this one only.
    for line in smaps.split("\n"):
        if head := _HEAD.fullmatch(line):
            start, end, read, write, execute, share, offset, inode, path = head.groups()
            protection = (read == "r") | (write == "w") << 1 | (execute == "x") << 2
            where = (int(start, 16), int(end, 16), protection, share == "s", int(offset, 16), int(inode))
            found.append(_Mapping(*where, path))
            continue
        name, _, value = line.partition(":")
        if not found:
            continue
        if name in ("Anonymous", "Swap"):
            found[-1].anonymous += int(value.split()[0])
        if name in ("Rss", "Swap"):
            found[-1].resident += int(value.split()[0])
        if name == "VmFlags":
            found[-1].flags = tuple(value.split())
    return found


def _listed(folder: int, name: str) -> set[str]:
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return set(os.listdir(below))  # noqa: PTH208 - a descriptor
    finally:
        os.close(below)


def _read(folder: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        text = file.read(SMAPS_MAX + 1)
    if len(text) > SMAPS_MAX:
        raise UnsavableError("too many mappings")
    return os.fsdecode(text)
