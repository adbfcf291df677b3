"""Protects what other programs execute or obey, where a tool may write beside it.

There is one policy, ``permissions.is_protected_name``. What approval says is not covered by a write grant is
mounted read-only here, and ``appeared`` reports it. A folder is listed anew at each call, because it is the
user's. What exists when the call begins is mounted on itself, read-only. What does not exist cannot be.

A name that is a symbolic link cannot be a mount point. The target of the link is mounted read-only if a
write grant contains it. The link itself is compared afterwards.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from mpp_exec.errors import HostError, InternalError
from mpp_exec.permissions import is_protected_name, path_covers
from mpp_exec.sandbox import layout, native, repository
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan

LED_ELSEWHERE: Final = (
    *(".config/fish", ".config/autostart", ".config/systemd", ".config/environment.d", ".config/git"),
    *(".config/nvim", ".config/pip", ".cargo/config", ".cargo/config.toml", ".github/workflows"),
    *(".local/bin", ".vscode/settings.json", ".vscode/tasks.json", ".claude/settings.json"),
    *(".ssh/config", ".ssh/authorized_keys", ".aws/config", ".docker/config.json"),
)
"""Names below protected folders that are looked at one by one: where they are links into the grant, as in
folders of dotfiles, the folder's own mount does not protect what they lead to."""

Facts = tuple[int, ...]
"""Mode, device, inode and time of change; () for nothing."""

ABSENT: Final[Facts] = ()
UNKNOWN: Final[Facts] = (-1,)

_ENTRIES_MAX: Final = native.TREES_MAX
_TEXT_MAX: Final = 48 << 10  # bytes of paths; the plan has to hold programs and variables, too
_LINKS_MAX: Final = 40  # as the kernel has it
_STEPS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Survey:
    """What is special in the writable folders of a plan, as it is at one moment.

    Attributes:
        mounts: path by path, whether it is mounted writable (a folder on the way, ``.git``) or read-only.
        watched: what no mount guards, by the special name: what is there, and what it leads to.
        repositories: the folders that are bare repositories of git.
    """

    mounts: dict[str, bool]
    watched: dict[str, tuple[Facts, Facts]]
    repositories: frozenset[str]


def special_entries(plan: SandboxPlan) -> tuple[Entry, ...]:
    """Return the mounts that protect special files in writable grants, as they are at this moment.

    Raises:
        HostError: there are more than a sandbox can mount.
        InternalError: a writable folder cannot be looked at.
    """
    return mounts_of(plan, survey(plan))


def survey(plan: SandboxPlan) -> Survey:
    """Look at every special name in the writable folders of *plan*.

    Raises:
        HostError, InternalError: as :func:`special_entries`.
    """
    if not plan.write_roots:
        return Survey({}, {}, frozenset())
    git = any(program.name == "git" for program in plan.started)
    found: dict[str, bool] = {}
    looked: list[tuple[str, str]] = []
    for root in sorted(plan.write_roots):
        try:
            names = sorted(protected_names(root, _ENTRIES_MAX))
        except OSError as error:
            raise _unseen(root, error) from error
        if len(names) > _ENTRIES_MAX:
            raise _too_many(root, f"more than {_ENTRIES_MAX}")
        for path in candidates(plan, root, names):
            facts = seen(path)
            top = path.count("/") == root.count("/") + 1
            if facts == UNKNOWN and top:
                raise _unseen(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
            target = path if top and not is_link(facts) else resolved(path)
            looked.append((root, path))
            if target is None or not _can_be_guarded(plan, target, lead=target != path):
                continue
            writable = git and path == f"{root}/.git" and os.path.isdir(target)  # noqa: PTH112 -- quicker
            found[target] = found.get(target, True) and writable
    mounts = _with_pins(plan, _reduced(plan, found))
    watched = {path: state(plan, path, mounts) for root, path in looked if not is_guarded(root, path, mounts)}
    bare = frozenset(root for root in plan.write_roots if repository.is_repository(root))
    return Survey(mounts, watched, bare)


def protected_names(root: str, limit: int, known: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the protected names in the folder *root*: all *known* ones, and *limit* + 1 others at most.

    Raises:
        OSError: it cannot be listed. What is no folder, or not there, holds none.
    """
    try:
        entries = os.scandir(root)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if is_protected_name(entry.name):
                if entry.name not in known:
                    limit -= 1
                if limit >= -1 or entry.name in known:
                    yield entry.name


def candidates(plan: SandboxPlan, root: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the paths to look at for the protected *names* in *root*, outer ones first.

    What the grant names, and what the plan hides or shows read-only anyway, is left out.
    """
    present = tuple(names)
    paths = [f"{root}/{name}" for name in present]
    paths += [f"{root}/{name}" for name in LED_ELSEWHERE if name.partition("/")[0] in present]
    if ".git" in present:
        # What is deeper in it can only be written where the tool may start git.
        whole = any(program.name == "git" for program in plan.started)
        git = f"{root}/.git"
        paths += repository.obeyed(git) if whole else [f"{git}/{name}" for name in repository.OBEYED]
    if repository.is_repository(root):
        paths += repository.obeyed(root)
    inner = [granted for granted in plan.write_roots if granted.startswith(f"{root}/")]
    for path in paths:
        named = any(path_covers(granted, path, write=True) for granted in inner)
        if not named and _shown_writable(plan, path):
            yield path


def seen(path: str) -> Facts:
    """Return what is at *path*, links not followed."""
    try:
        facts = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError:
        return UNKNOWN
    return facts.st_mode, facts.st_dev, facts.st_ino, facts.st_ctime_ns


def is_link(facts: Facts) -> bool:
    """Return whether *facts* are those of a symbolic link."""
    return facts not in (ABSENT, UNKNOWN) and stat.S_ISLNK(facts[0])


def resolved(path: str) -> str | None:
    """Return *path* with every link in it followed, None where they are too many or cannot be read.

    Bounded, since a tool may have made them. What is missing is taken as it is named.
    """
    pending = path.split("/")[::-1]
    at, links = "", 0
    for _ in range(_STEPS_MAX):
        if not pending:
            return at or "/"
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = at.rpartition("/")[0]
            continue
        try:
            leads = os.readlink(f"{at}/{part}")  # noqa: PTH115 -- quicker
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                return None
            at = f"{at}/{part}"
            continue
        links += 1
        if links > _LINKS_MAX:
            return None
        at = "" if leads.startswith("/") else at
        pending += leads.split("/")[::-1]
    return None


def state(plan: SandboxPlan, path: str, mounts: dict[str, bool]) -> tuple[Facts, Facts]:
    """Return what is at the special name *path*, and what it leads to where the tool could write that."""
    folder = path.rpartition("/")[0]
    own = seen(path) if resolved(folder) == folder else ABSENT
    target = resolved(path)
    if target is None or target == path or target in plan.write_roots:
        return own, ABSENT
    inside = [root for root in plan.write_roots if target.startswith(f"{root}/")]
    if not inside or is_guarded(max(inside, key=len), target, mounts):
        return own, ABSENT
    return own, seen(target)


def is_guarded(root: str, path: str, mounts: dict[str, bool]) -> bool:
    """Return whether *path* in the writable folder *root* is one of *mounts* or lies in a read-only one."""
    return path in mounts or any(
        not writable and mount.startswith(f"{root}/") and path.startswith(f"{mount}/")
        for mount, writable in mounts.items()
    )


def mounts_of(plan: SandboxPlan, found: Survey) -> tuple[Entry, ...]:
    """Return the mounts of *found*, with those of the plan that they lie over, outer ones first.

    Raises:
        HostError: there are more than a sandbox can mount.
    """
    if not found.mounts:
        return ()
    special = [
        Entry(
            "bind",
            path,
            path,
            attributes=layout.WRITABLE if writable else layout.READ_ONLY,
            flags=native.ENTRY_EXISTS | native.ENTRY_IDMAP | (native.ENTRY_WRITABLE if writable else 0),
        )
        for path, writable in found.mounts.items()
    ]
    entries = sorted([*_again(plan, special), *special], key=lambda entry: entry.target.count("/"))
    binds = sum(entry.kind == "bind" for entry in (*plan.entries, *entries))
    text = sum(len(os.fsencode(entry.source)) + len(os.fsencode(entry.target)) for entry in entries)
    if entries and (binds > _ENTRIES_MAX or text > _TEXT_MAX):
        holders = {
            root: sum(path.startswith(f"{root}/") for path in found.mounts) for root in plan.write_roots
        }
        root = max(holders, key=lambda each: holders[each])
        raise _too_many(root, str(holders[root]))
    return tuple(entries)


def _can_be_guarded(plan: SandboxPlan, path: str, *, lead: bool) -> bool:
    """Return whether *path* is something in a writable folder that a mount can lie on and has to.

    *lead* means that a link leads there. A path that the grant names itself stays writable.
    """
    if path in plan.write_roots or not any(path.startswith(f"{root}/") for root in plan.write_roots):
        return False
    if lead and any(root.startswith(f"{path}/") for root in plan.write_roots):
        return False
    facts = seen(path)
    if facts in (ABSENT, UNKNOWN) or is_link(facts):
        return False
    return _shown_writable(plan, path)


def _shown_writable(plan: SandboxPlan, path: str) -> bool:
    """Return whether the plan lets *path* be written. A mount over a cover would show what that hides."""
    shown = [
        entry
        for entry in plan.entries
        if entry.kind in ("bind", "tmpfs", "hold")
        and (path == entry.target or path.startswith(f"{entry.target}/"))
    ]
    nearest = max(reversed(shown), key=lambda entry: len(entry.target), default=None)  # of equals, the upper
    return nearest is None or not nearest.attributes & native.MOUNT_RDONLY


def _reduced(plan: SandboxPlan, found: dict[str, bool]) -> dict[str, bool]:
    """Return *found* without what a read-only mount of it protects already, outer ones first."""
    kept: dict[str, bool] = {}
    for path in sorted(found, key=lambda each: (each.count("/"), each)):
        root = _root_of(plan, path)
        if not any(
            not writable and len(mount) > len(root) and path.startswith(f"{mount}/")
            for mount, writable in kept.items()
        ):
            kept[path] = found[path]
    return kept


def _with_pins(plan: SandboxPlan, found: dict[str, bool]) -> dict[str, bool]:
    """Return *found* with the folders on the way: renamed away, one would take the protected file with it."""
    made = dict(found)
    for path in found:
        root = _root_of(plan, path)
        folder = path.rpartition("/")[0]
        while len(folder) > len(root):
            made.setdefault(folder, True)
            folder = folder.rpartition("/")[0]
    return dict(sorted(made.items(), key=lambda item: (item[0].count("/"), item[0])))


def _root_of(plan: SandboxPlan, path: str) -> str:
    return max((root for root in plan.write_roots if path.startswith(f"{root}/")), key=len)


def _again(plan: SandboxPlan, special: list[Entry]) -> Iterable[Entry]:
    """Yield the plan's mounts that *special* ones lie over: a fresh copy of the host's tree has no covers."""
    for entry in plan.entries:
        above = [mount for mount in special if entry.target.startswith(f"{mount.target}/")]
        if not above or entry.kind not in ("bind", "tmpfs"):
            continue
        nearest = max(above, key=lambda mount: len(mount.target))
        named = any(
            entry.target == root or (entry.target.startswith(f"{root}/") and len(root) > len(nearest.target))
            for root in plan.write_roots
        )
        attributes = entry.attributes
        if nearest.attributes & native.MOUNT_RDONLY and not named:
            attributes |= native.MOUNT_RDONLY  # a pin, which must not open what is protected
        yield replace(entry, attributes=attributes, flags=entry.flags | native.ENTRY_EXISTS)


def _unseen(path: str, error: OSError) -> InternalError:
    return InternalError(
        "sandbox.special_files", f"{path} cannot be looked at: {error.strerror}", "check its permissions"
    )


def _too_many(root: str, count: str) -> HostError:
    return HostError(
        "host.too_many_special",
        f"{root} holds {count} names that have to be read-only, and a sandbox cannot mount that many",
        "remove what begins with a dot and is not needed, or approve with a folder that holds less of it",
    )
