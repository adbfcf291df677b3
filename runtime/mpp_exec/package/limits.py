"""How large a package may be: every bound of the archive in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Bounds that building and reading share. Sizes in bytes.

    They keep every number of a ZIP record below where ZIP64 would begin (65,535 members, 4 GiB), so
    that there is one form of archive and not two.

    Attributes:
        archive: the whole file.
        member: the contents of one file.
        members: how many files.
        manifest: ``manifest.cose``, the signed manifest.
        path: one member's path, in UTF-8.
        component: one part of a path between slashes, in UTF-8 (NAME_MAX of Linux).
        depth: parts in one path.
    """

    archive: int = 2 * 1024**3
    member: int = 1024**3
    members: int = 50_000
    manifest: int = 16 * 1024**2
    path: int = 1024
    component: int = 255
    depth: int = 32


LIMITS: Final = ArchiveLimits()
"""The bounds in force. A test may pass smaller ones; nothing reads them from outside."""
