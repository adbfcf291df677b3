"""What a file inside a package may be called, and where it lies unpacked.

A path is checked three times by the same rules: when it is packed, when it stands in a signed
manifest, and when a damaged archive is examined to say what is wrong with it. Each way of being
wrong has a code of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from mpp_exec.errors import PackageError
from mpp_exec.package.limits import LIMITS, ArchiveLimits

MANIFEST_MEMBER: Final = "manifest.cose"
"""The first member of every archive; no packaged file may have this name."""

FILES: Final = "files"
"""The folder that holds what was packed; it becomes ``/app`` in a sandbox."""

FOLDER_MODE: Final = 0o755

# Control, format (bidirectional, zero-width, tags), surrogate, line and paragraph separator: none of
# them can be seen, and some of them change how the rest is seen.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_HINT: Final = "the package was made by other means than `mpp-exec build`; do not use it"


def file_mode(*, executable: bool) -> int:
    """Return the permission bits that a packaged file has once unpacked."""
    return 0o755 if executable else 0o644


def check_path(path: str, limits: ArchiveLimits = LIMITS) -> None:
    """Refuse a path that is not plain, relative, visible and in NFC.

    Raises:
        PackageError: ``package.nul``, ``package.backslash``, ``package.absolute_path``,
            ``package.parent_path``, ``package.not_nfc``, ``package.bad_path`` or
            ``package.path_too_long``.
    """
    if "\0" in path:
        raise _refusal("nul", path, "holds a NUL")
    if "\\" in path:
        raise _refusal("backslash", path, "holds a backslash")
    if path.startswith("/"):
        raise _refusal("absolute_path", path, "is absolute")
    parts = path.split("/")
    if ".." in parts:
        raise _refusal("parent_path", path, "leads out of its folder")
    if "" in parts or "." in parts:
        raise _refusal("bad_path", path, "has an empty part or a '.' in it")
    if not (path.isascii() and path.isprintable()):
        if any(unicodedata.category(character) in _INVISIBLE for character in path):
            raise _refusal("bad_path", path, "holds an invisible character")
        if not unicodedata.is_normalized("NFC", path):
            raise _refusal("not_nfc", path, "is not in Unicode normal form C")
    size = len(path.encode())
    if (
        size > limits.path
        or len(parts) > limits.depth
        or (size > limits.component and any(len(part.encode()) > limits.component for part in parts))
    ):
        raise _refusal("path_too_long", path, "is too long or too deep")


def check_table(paths: Iterable[str], limits: ArchiveLimits = LIMITS) -> None:
    """Refuse a set of paths that could not all exist side by side, also where case is folded.

    Folders count: ``A/x`` and ``a/y`` collide, and so do a file ``a`` and a file ``a/b``.

    Raises:
        PackageError: whatever :func:`check_path` raises, ``package.duplicate_member``,
            ``package.case_collision`` or ``package.too_large`` for too many.
    """
    spelled: dict[str, str] = {_fold(MANIFEST_MEMBER): MANIFEST_MEMBER}
    files: set[str] = {MANIFEST_MEMBER}
    folders: set[str] = set()
    for count, path in enumerate(paths, start=1):
        if count > limits.members:
            raise PackageError(
                "package.too_large",
                f"the package has more than {limits.members} files",
                "leave files out with .mppignore, or pack them into one",
            )
        check_path(path, limits)
        if path in files:
            raise _refusal("duplicate_member", path, "occurs twice")
        files.add(path)
        prefix = path
        while prefix and prefix not in folders:
            if spelled.setdefault(_fold(prefix), prefix) != prefix:
                other = spelled[_fold(prefix)]
                raise _refusal("case_collision", path, f"differs from {other!r} only in case")
            if prefix is not path:
                folders.add(prefix)
            prefix = prefix.rpartition("/")[0]
    both = files & folders
    if both:
        raise _refusal("bad_path", min(both), "is a file and a folder at once")


def sort_key(path: str) -> bytes:
    """Return what the file table is sorted by: the bytes of the path in UTF-8."""
    return path.encode()


def _fold(path: str) -> str:
    """Return the form in which paths that a case-insensitive file system would merge are equal."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _refusal(reason: str, path: str, what: str) -> PackageError:
    shown = path if len(path) <= 200 else path[:200] + "…"
    return PackageError(f"package.{reason}", f"member {shown!r} {what}", _HINT)
