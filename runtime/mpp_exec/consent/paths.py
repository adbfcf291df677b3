"""Which path a person means, and which paths no grant may reach.

A granted path is the final absolute path: every link is resolved once, at approval, and the result is shown.
A path is protected if it decides what tools may do or leads out of any sandbox. It must never be handed to a
tool: a grant that equals it or lies inside it is refused. In a grant that contains it, an empty mount covers
it. A home that nothing names (:mod:`.homes`) is protected as well, if it is found.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import mpp_exec
from mpp_exec.consent.homes import home_above, homes_in
from mpp_exec.consent.mounts import DISKS, KERNEL_FILE_SYSTEMS, MountTable, beneath
from mpp_exec.errors import ConsentError, UsageError

_SYSTEM: Final = ("/proc", "/sys", "/dev", "/run")
_HOME: Final = "a home of mpp-exec"
_KERNEL: Final = "an interface to the kernel and to running programs"


def canonical_path(text: str, *, kind: str = "", what: str = "path") -> str:
    """Return the final absolute path that *text* leads to, with every link resolved.

    *text* may begin with ``~/``; a relative one is taken from the working directory. *kind* is
    ``file``, ``directory`` or empty for either; nothing else (device, socket, pipe) is accepted.
    *what* names the thing in messages.

    Raises:
        UsageError: ``path.empty``, ``path.dotdot``, ``path.encoding``, ``path.missing``,
            ``path.unreachable`` or ``path.kind``.
    """
    if not text:
        raise UsageError("path.empty", f"{what} is empty", "give the path of an existing file or folder")
    if ".." in text.split("/"):
        raise UsageError(
            "path.dotdot", f"{what} {text} contains ..", "write the path that is meant, without going up"
        )
    if not is_text(text):
        raise UsageError(
            "path.encoding",
            f"{what} {text!a} is not UTF-8 text",
            "only paths that are valid UTF-8 can be granted: rename the file or folder",
        )
    if text == "~" or text.startswith("~/"):
        text = home_folder() + text[1:]
    text = re.sub("^/+", "/", text)  # two leading slashes would survive, and //a is the same path as /a
    try:
        final = os.path.realpath(text, strict=True)
        mode = os.stat(final).st_mode  # noqa: PTH116 -- Path would normalise the text
    except FileNotFoundError as error:
        raise UsageError(
            "path.missing", f"{what} {text} does not exist", "create it first, or give another one"
        ) from error
    except OSError as error:
        raise UsageError(
            "path.unreachable",
            f"{what} {text} cannot be reached: {error.strerror}",
            "check its permissions and links",
        ) from error
    if not is_text(final):
        raise UsageError(
            "path.encoding",
            f"{what} {text} leads to {final!a}, which is not UTF-8 text",
            "only paths that are valid UTF-8 can be granted: rename the file or folder",
        )
    accepted = {"file": (stat.S_ISREG,), "directory": (stat.S_ISDIR,)}.get(kind, (stat.S_ISREG, stat.S_ISDIR))
    if not any(test(mode) for test in accepted):
        expected = {"file": "regular file", "directory": "folder"}.get(kind, "regular file or folder")
        raise UsageError("path.kind", f"{what} {final} is not a {expected}", f"give the path of a {expected}")
    return final


def is_text(path: str) -> bool:
    """Return whether *path* is valid text: no NUL, no byte that is not UTF-8 (here a lone surrogate)."""
    return "\0" not in path and not any("\ud800" <= character <= "\udfff" for character in path)


def home_folder() -> str:
    """Return the effective user's home folder: ``$HOME``, else the one of the password database."""
    return os.environ.get("HOME") or _database_home() or "/"


def _database_home() -> str:
    return _home_of(os.geteuid())


@functools.lru_cache(maxsize=8)
def _home_of(user: int) -> str:
    """Return the home folder of *user*; ask the password database once, as it may be on the network."""
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:
        return ""


@dataclass(frozen=True, slots=True)
class ProtectedPath:
    """One path that no grant may reach; *what* says why in words, *writes_only* allows reading it."""

    path: str
    what: str
    writes_only: bool = False


@dataclass(frozen=True, slots=True)
class Protected:
    """All that no grant may reach on this host.

    Attributes:
        paths: protected files and folders; one that does not exist yet counts by its text.
        homes: home folders: neither they nor folders above them are granted for writing.
    """

    paths: tuple[ProtectedPath, ...]
    homes: tuple[str, ...]

    @classmethod
    def of_host(
        cls,
        home: Path,
        *,
        others: Iterable[Path] = (),
        policies: Iterable[Path] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> Protected:
        """Collect the protected paths of this host: *home* and *others*, policies, the program.

        Beyond the contract's list, the folders from which Python imports for mpp-exec are protected from
        writing: a module beside the installed package would run in the next host process.
        """
        paths = [ProtectedPath(path, _KERNEL) for path in _SYSTEM]
        paths.append(ProtectedPath(os.path.realpath(home), "the home of mpp-exec"))
        paths += [ProtectedPath(os.path.realpath(path), _HOME) for path in others]
        paths += [ProtectedPath(os.path.realpath(path), "a policy of mpp-exec") for path in policies]
        paths += _program()
        homes = {path for path in (environ.get("HOME", ""), _database_home()) if path.startswith("/")}
        return cls(tuple(paths), tuple(sorted(os.path.realpath(path) for path in homes)))

    def with_homes(self, homes: Iterable[str]) -> Protected:
        """Return a copy that also protects *homes*, which must exist."""
        more = [ProtectedPath(path, _HOME) for path in homes]
        return replace(self, paths=(*self.paths, *more)) if more else self

    def homes_within(self, paths: Iterable[str], steps: int) -> tuple[str, ...]:
        """Return the homes inside the final *paths* that a search of *steps* steps finds.

        Only disks of this machine are searched, since another file system may never answer.

        Raises:
            HostError: ``host.mountinfo``.
        """
        table = MountTable.read()
        closed = {each.path for each in self.paths if not each.writes_only}
        closed.update(mount.point for mount in table.mounts if mount.fstype not in DISKS)
        folders = []
        for path in paths:
            with suppress(OSError):  # a vanished path is reported elsewhere
                if table.holding(path).fstype in DISKS:
                    folders.append(path)
        return homes_in(folders, steps, closed)

    def check(self, path: str, *, write: bool, table: MountTable | None = None) -> tuple[str, ...]:
        """Return the paths inside the final *path* that must be covered by empty mounts, sorted.

        Raises:
            ConsentError: ``grant.protected`` (equals or lies inside a protected path),
                ``grant.kernel_file_system``, ``grant.whole_home`` or ``grant.uncoverable``.
            OSError: *path* cannot be looked up.
            HostError: ``host.mountinfo``.
        """
        table = table or MountTable.read()
        fstype = table.holding(path).fstype
        if fstype in KERNEL_FILE_SYSTEMS:
            raise ConsentError(
                "grant.kernel_file_system",
                f"{path} is on a {fstype} file system, an interface to the kernel",
                "no tool can be given this; grant a folder with ordinary files",
            )
        if write:
            self._refuse_whole_home(path, table)
        identities = _identities(path)
        covers: set[str] = {
            mount.point for mount in table.inside(path) if mount.fstype in KERNEL_FILE_SYSTEMS
        }
        for protected in self.paths:
            if write or not protected.writes_only:
                covers.update(_covers(path, protected, identities, write=write, table=table))
        if home := home_above(path):
            raise _protected(path, home, _HOME)
        return tuple(sorted(c for c in covers if not any(c != o and beneath(c, o) for o in covers)))

    def _refuse_whole_home(self, path: str, table: MountTable) -> None:
        for home in self.homes:
            if any(beneath(place, path) for place in _located(home, table).places):
                raise ConsentError(
                    "grant.whole_home",
                    f"{path} is your home folder or contains it: a tool is never given all of it to write",
                    "grant the one folder inside it that the tool needs",
                )


@functools.cache
def _program() -> tuple[ProtectedPath, ...]:
    """Return where mpp-exec is installed and where it imports from; both are fixed for the process's life."""
    installed = os.path.dirname(os.path.realpath(mpp_exec.__file__))  # noqa: PTH120
    imported = {os.path.dirname(installed)}  # noqa: PTH120
    imported.update(os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
    if sys.prefix != sys.base_prefix:
        imported.add(os.path.realpath(sys.prefix))
    return (
        ProtectedPath(installed, "the installed mpp_exec"),
        *(ProtectedPath(path, "what mpp-exec imports", writes_only=True) for path in sorted(imported)),
    )


@dataclass(frozen=True, slots=True)
class _Located:
    """Where a path is now. *identity* is device and inode, None if the path is missing or out of reach."""

    identity: tuple[int, int] | None
    places: tuple[str, ...]
    missing: bool = False


def _located(path: str, table: MountTable) -> _Located:
    try:
        return _existing(path, _identity(path), table)
    except FileNotFoundError:
        return _Located(None, (path,), missing=True)
    except OSError:  # We may not look at it: only its text is known.
        return _Located(None, (path,))


@functools.lru_cache(maxsize=128)
def _existing(path: str, identity: tuple[int, int], table: MountTable) -> _Located:
    """Return where this file or folder appears; that changes only with the mount table."""
    return _Located(identity, table.appearances(path))


def _covers(
    path: str,
    protected: ProtectedPath,
    identities: dict[tuple[int, int], str],
    *,
    write: bool,
    table: MountTable,
) -> set[str]:
    """Return where *protected* appears strictly inside *path*; refuse when *path* is inside it."""
    located = _located(protected.path, table)
    if located.missing:
        # Nothing to hide from a reader. A writer could create it, and an empty mount needs a place.
        if write and beneath(protected.path, path):
            raise ConsentError(
                "grant.uncoverable",
                f"{path} is where {protected.path} would be ({protected.what}), which does not exist yet",
                "grant a folder further in",
            )
        return set()
    through = identities.get(located.identity) if located.identity else None
    for place in located.places:
        if through is not None or beneath(path, place):
            raise _protected(path, through or place, protected.what)
    return {place for place in located.places if beneath(place, path) and os.path.lexists(place)}


def _protected(path: str, place: str, what: str) -> ConsentError:
    return ConsentError(
        "grant.protected",
        f"{path} is or lies inside {place}: {what}",
        "no tool can be given this; grant another folder",
    )


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _identities(path: str) -> dict[tuple[int, int], str]:
    """Return device and inode of the canonical *path* and of every folder above it, with their paths."""
    found = {_identity(path): path}
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        found[_identity(path)] = path
    return found


def is_exposed(path: str) -> bool:
    """Return whether another user could replace the granted *path*.

    That takes write access to a folder above it: as its owner, by its group's or everybody's bits, or, in a
    sticky folder, as the owner of the entry in it. Root is not another user.

    Raises:
        OSError: a folder above cannot be looked at.
    """
    trusted = (0, os.geteuid())
    below = os.lstat(path)
    for parent in Path(path).parents:
        status = os.lstat(parent)
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid not in trusted:
            return True
        if shared and not (status.st_mode & stat.S_ISVTX and below.st_uid in trusted):
            return True
        below = status
    return False


def pins(granted: str, covers: Iterable[str]) -> tuple[str, ...]:
    """Return the folders between a write grant and the *covers* inside it, outermost first.

    A mount point cannot be renamed, but a folder above it can: a tool that may write *granted* could move
    such a folder away and create the covered path anew. The sandbox must bind-mount each of these folders on
    itself, so that it cannot be renamed either.
    """
    found = {
        str(parent)
        for cover in covers
        if beneath(cover, granted)
        for parent in Path(cover).parents
        if str(parent) != granted and beneath(str(parent), granted)
    }
    return tuple(sorted(found))
