"""The folder that holds everything mpp-exec owns for one user: where it is, and whether to trust it.

::

    state.db            what is installed, trusted and granted (``store``)
    ledger.db, ledger.head
    locks/              which processes that write the ledger are alive
    keys/               0700: private keys, the key of the home
    packages/<digest>/  unpacked packages, world-readable inside a home that is not
    storage/<name>/     0700: the private folders of packages
    cache/              0700: what can be made again
    tmp/                0700: what is being made; whatever is left there is removed
    policy.toml         the user's own policy, if there is one

A home decides what runs with the user's rights. So a home that somebody else could write to, or could put in
place of the real one, is refused rather than repaired.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpp_exec import owners
from mpp_exec.consent.paths import is_text
from mpp_exec.consent.policy_file import SYSTEM_POLICY
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.registry.faults import io_error

_FOLDERS: Final = {"keys": 0o700, "packages": 0o755, "storage": 0o700, "cache": 0o700, "tmp": 0o700}
_OWN: Final = lazily(r"(state|ledger)\.[a-z.-]+|policy\.toml|.*\.sock", re.ASCII)
_DIGEST: Final = lazily(r"sha256:([0-9a-f]{64})", re.ASCII)
_NAME: Final = lazily(r"([a-z0-9][a-z0-9-]{0,62})/([a-z0-9][a-z0-9-]{0,62})", re.ASCII)


def other_homes(home: Path, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where another home of this user may be besides *home*: the default one."""
    unnamed = {name: value for name, value in environ.items() if name != "MPP_HOME"}
    try:
        usual = resolve_home(environ=unnamed)
    except UsageError:
        return ()
    return () if usual == home else (usual,)


def is_usual(home: Path) -> bool:
    """Return whether a command that names no home would use *home*, with the variables of this process."""
    try:
        return resolve_home() == home
    except UsageError:
        return False


def resolve_home(option: str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the home is: *option* (``--home``), ``$MPP_HOME``, or ``mpp-exec`` in the data folder.

    That is ``$XDG_DATA_HOME``, where it is absolute (XDG Base Directory Specification), else
    ``~/.local/share``.

    Raises:
        UsageError: ``home.unknown``.
    """
    if chosen := option or environ.get("MPP_HOME"):
        return Path(chosen).absolute()
    data = environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        return Path(data) / "mpp-exec"
    user = environ.get("HOME", "")
    if not user.startswith("/"):
        try:
            user = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            user = ""
    if not user.startswith("/"):
        raise UsageError(
            "home.unknown", "there is no home folder to keep a home in", "name one: --home DIR or MPP_HOME"
        )
    return Path(user) / ".local" / "share" / "mpp-exec"


@dataclass(frozen=True, slots=True)
class Home:
    """A home that was checked to be the user's own. *path* is canonical."""

    path: Path

    @classmethod
    def open(cls, path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Home:
        """Check the home at *path* (default: :func:`resolve_home`); create it if it does not exist.

        Raises:
            UsageError: ``home.unknown``, ``home.not_a_folder``, ``home.link``, ``home.not_a_home``,
                ``home.policy``.
            ConsentError: ``home.owner``, ``home.writable``, ``home.exposed``.
            InternalError: ``store.*``, the disk said no.
        """
        wanted = (path if path is not None else resolve_home(environ=environ)).absolute()
        _refuse_no_text(wanted)
        try:
            _refuse_place_of_policy(wanted)
            _refuse_exposed_way(wanted)
            if wanted.name in ("", ".."):
                wanted = Path(os.path.realpath(wanted))
                _refuse_exposed_way(wanted)
            _make_parents(wanted)
            real = Path(os.path.realpath(wanted.parent)) / wanted.name
            _refuse_no_text(real)
            with suppress(FileExistsError):
                real.mkdir(mode=0o700)
            descriptor = _open_folder(real)
            try:
                _check(descriptor, real)
                _furnish(descriptor, real)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise io_error(error, wanted) from error
        return cls(real)

    @property
    def state(self) -> Path:
        """The database of the store."""
        return self.path / "state.db"

    @property
    def keys(self) -> Path:
        """The folder of private keys."""
        return self.path / "keys"

    @property
    def packages(self) -> Path:
        """The folder of unpacked packages."""
        return self.path / "packages"

    @property
    def storage(self) -> Path:
        """The folder of the packages' private folders."""
        return self.path / "storage"

    @property
    def cache(self) -> Path:
        """The folder of files that can be made again."""
        return self.path / "cache"

    @property
    def tmp(self) -> Path:
        """The folder of files that are being made or removed."""
        return self.path / "tmp"

    def package_folder(self, digest: str) -> Path:
        """Return where the package with *digest* is unpacked.

        Raises:
            ValueError: *digest* is not a digest, so no path can be made of it.
        """
        return _package_folder(self.path, digest)

    def storage_folder(self, name: str) -> Path:
        """Return the private folder of package *name*; it exists once something was stored.

        Raises:
            ValueError: *name* is not a package name.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not a package name")
        return self.storage / match[1] / match[2]


@functools.lru_cache(maxsize=64)  # every call asks for the same one; to make a path takes 400 steps
def _package_folder(home: Path, digest: str) -> Path:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"{digest!r} is not a package digest")
    return home / "packages" / match[1]


def _make_parents(path: Path) -> None:
    """Make the missing folders above *path*, closed to others (Path.mkdir would use the umask)."""
    for parent in reversed(path.parents):
        if not parent.exists():
            with suppress(FileExistsError):
                parent.mkdir(mode=0o700)


def _open_folder(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if path.is_symlink():
            raise UsageError(
                "home.link",
                f"the home {path} is a symbolic link",
                f"name the folder itself: --home {os.path.realpath(path)}",
            ) from None
        if path.exists() and not path.is_dir():
            raise UsageError(
                "home.not_a_folder",
                f"the home {path} is not a folder",
                "name another: --home DIR or MPP_HOME",
            ) from None
        if path.exists() and not os.access(path, os.R_OK | os.X_OK) and path.stat().st_uid != os.geteuid():
            raise _foreign(path, path.stat().st_uid) from None
        raise


def _refuse_no_text(home: Path) -> None:
    """Refuse a path that is not valid text: SQLite and the ledger have to write it down."""
    if not is_text(str(home)):
        raise UsageError(
            "home.unknown",
            f"the path of the home is {str(home)!a}, which is not UTF-8 text",
            "name another: --home DIR or MPP_HOME",
        )


def _refuse_exposed_way(home: Path) -> None:
    """Refuse a home that a stranger could rename away or redirect, to put another folder in its place.

    Files in the home are opened by path, so a stranger who could do that once could do it between any two
    looks (TOCTOU). A group counts as strangers, unless it is root's or the user's alone. The path is checked
    as it is named: the owners of its links, and of the folders that hold them, decide where it ends. It is
    checked before a missing part of it is made, so that nothing is made in a stranger's folder, or where a
    stranger's link leads.
    """
    there = next((parent for parent in home.parents if os.path.lexists(parent)), Path("/"))
    root = Path("/").stat().st_uid  # in a user namespace, root shows as another id
    found = owners.stranger(str(there), also=(root,))
    if found is None:
        return
    at, status = found
    if status.st_uid not in (0, os.geteuid(), root):
        way = "reached over the link" if stat.S_ISLNK(status.st_mode) else "inside"
        raise ConsentError(
            "home.exposed",
            f"the home {home} is {way} {at}, which belongs to user {status.st_uid}",
            "keep the home in a folder of your own: --home DIR or MPP_HOME",
        )
    everybody = status.st_mode & stat.S_IWOTH
    raise ConsentError(
        "home.exposed",
        f"the home {home} is inside {at}, where {'everybody' if everybody else 'a group'} can rename it",
        f"keep the home in a folder of your own, or: chmod {'o' if everybody else 'g'}-w {at}",
    )


def _refuse_place_of_policy(home: Path) -> None:
    """Refuse root a home in the policy's folder: closed to others, it would stop the calls of others."""
    if os.geteuid() != 0:
        return  # to nobody else it belongs
    real, folder = Path(os.path.realpath(home)), Path(os.path.realpath(SYSTEM_POLICY.parent))
    if folder in (real, *real.parents):
        raise UsageError(
            "home.policy",
            f"the home {home} would be in {folder}, where everybody reads the organisation's policy",
            "name another: --home DIR or MPP_HOME",
        )


def _check(descriptor: int, path: Path) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise _foreign(path, status.st_uid)
    if status.st_mode & 0o022:
        raise ConsentError(
            "home.writable",
            f"the home {path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"if nobody has touched it: chmod 700 {path}",
        )
    foreign = [name for name in os.listdir(descriptor) if name not in _FOLDERS and not _OWN.fullmatch(name)]
    if foreign and "state.db" not in os.listdir(descriptor):
        raise UsageError(
            "home.not_a_home",
            f"{path} is not a home of mpp-exec and not empty: it holds {min(foreign)!r}",
            "name an empty folder, or one that does not exist yet: --home DIR or MPP_HOME",
        )


def _foreign(path: Path, owner: int) -> MppError:
    return ConsentError(
        "home.owner",
        f"the home {path} belongs to user {owner}, not to you ({os.geteuid()})",
        "use a home of your own: --home DIR or MPP_HOME",
    )


def _furnish(descriptor: int, path: Path) -> None:
    """Close the home to others, and make its missing folders."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o700:
        os.fchmod(descriptor, 0o700)
    for name, mode in _FOLDERS.items():
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(name, mode, dir_fd=descriptor)
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise ConsentError(
                "home.exposed",
                f"{path / name} is not your own folder",
                "move it away; mpp-exec makes it anew",
            )
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(name, mode, dir_fd=descriptor)  # no link: it was looked at, and nobody else writes here
