"""What a tool may ask for, and when one set of permissions is no wider than another.

Values only; no I/O. A :class:`Permissions` occurs twice in a tool's life: in the signed manifest, where
paths may begin with a ``${user_config.KEY}`` placeholder, and in a grant, where every path is the final
absolute path that will be mounted.

``covers`` asks whether the wider value allows everything that the narrower one allows. It errs on one side
only: True is a proof, False may mean that this could not be decided. On values in their
:meth:`Permissions.reduced` form it is a partial order.

If granted paths lie inside one another, the innermost one decides: a folder that is granted for reading
inside a folder that is granted for writing stays read-only. So such an entry takes a right away, and
whatever narrows a value has to keep the entry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

from mpp_exec.errors import UsageError
from mpp_exec.vocabulary import (
    HostPort,
    VocabularyError,
    format_duration,
    format_size,
    parse_host_port,
    parse_path,
)

__all__ = [
    "DEGRADATIONS",
    "HostPort",
    "Limits",
    "Permissions",
    "Privacy",
    "is_protected_name",
    "path_covers",
]

_Entry = TypeVar("_Entry", str, HostPort)

DEGRADATIONS: Final = {
    "landlock": (
        "this kernel's Landlock is missing: mounts, namespaces and seccomp are all that confines it",
    ),
    "landlock-net": ("Landlock's rules for TCP are missing: seccomp alone refuses connections",),
    "landlock-scope": ("Landlock's scopes are missing: one mechanism is left against signals to others",),
    "landlock-truncate": (
        "Landlock's right to truncate is missing: read-only mounts alone keep files from being emptied",
    ),
    "namespaces": (
        "there are no namespaces: Landlock alone keeps files from it, and seccomp alone all sockets but TCP",
        "it sees which files exist, their names, owners, sizes and times, where links lead, and no contents",
        "it sees which processes exist, the name of this host, and how busy it is",
        "what is installed beside its interpreter can be read",
        "each call is refused if a folder that it may change contains something that must stay read-only",
        "the size of its scratch is checked several times a second, and can exceed its limit in between",
        "deleted files that it keeps open are not counted: as many as it may open, each as large as scratch",
    ),
}
"""What a person can agree to do without, by the name of what is missing, and what that means. A
degradation that a host does not need takes no effect there."""

IMPORT_ONCE: Final = "import_once"
"""The word of ``--without`` for it, and its name in policies."""
IMPORTED_ONCE: Final = (
    "be imported once, with nothing of a call, and be copied for each call; copies share"
    " the random values that it has drawn by then, their memory layout and their hash secret"
)

_AGENT_FILES: Final = frozenset({"agents.md", "claude.md", "gemini.md"})


def is_protected_name(name: str) -> bool:
    """Return whether a file or folder of this name decides what other programs of the user will do.

    Dot names (``.git``, ``.ssh``, ``.bashrc``, ``.vscode``, ``.config/autostart``) and the files
    that instruct agents. Inside a write grant they are read-only unless they are named, so the
    folder above does not cover them for writing.
    """
    return name.startswith(".") or name.casefold() in _AGENT_FILES


def path_covers(wider: str, narrower: str, *, write: bool = False) -> bool:
    """Return whether a grant of *wider* also grants *narrower*, for reading or (with *write*) for writing."""
    if wider == narrower:
        return True
    prefix = wider if wider == "/" else f"{wider}/"
    if not narrower.startswith(prefix):
        return False
    return not write or not any(is_protected_name(name) for name in narrower[len(prefix) :].split("/"))


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a tool may reach. The empty value reaches nothing. Tuples are sorted and unique.

    Attributes:
        network: host:port destinations.
        environment: names of host variables the tool may see.
        subprocess: names of host programs it may start.
        storage: size in bytes of its private folder, 0 for none.
        read: paths it may read (absolute, or with ``${user_config.KEY}`` in a manifest).
        write: paths it may read and write.
    """

    network: tuple[HostPort, ...] = ()
    environment: tuple[str, ...] = ()
    subprocess: tuple[str, ...] = ()
    storage: int = 0
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def covers(self, narrower: Permissions) -> bool:
        """Return whether this value allows everything that *narrower* allows."""
        return self.gives(narrower) and not any(
            narrower.mounts_writable(path) and not self.mounts_writable(path) for path in self.read
        )

    def gives(self, entries: Permissions) -> bool:
        """Return whether this grants each of *entries*, even if it keeps paths inside them read-only."""
        return (
            all(self._reaches(destination) for destination in entries.network)
            and set(entries.environment) <= set(self.environment)
            and set(entries.subprocess) <= set(self.subprocess)
            and entries.storage <= self.storage
            and all(self.may_read(path) for path in entries.read)
            and all(self.may_write(path) for path in entries.write)
        )

    def _reaches(self, destination: HostPort) -> bool:
        return any(granted.covers(destination) for granted in self.network)

    def may_read(self, path: str) -> bool:
        """Return whether *path* may be read."""
        return any(path_covers(granted, path) for granted in (*self.read, *self.write))

    def may_write(self, path: str) -> bool:
        """Return whether *path* may be written."""
        return self.mounts_writable(path) and any(path_covers(each, path, write=True) for each in self.write)

    def mounts_writable(self, path: str) -> bool:
        """Return whether the innermost granted folder that contains *path* is granted for writing.

        Paths that are protected by their names also have mounts of their own, where the sandbox looks for
        such names.
        """
        written = max((len(each) for each in self.write if path_covers(each, path)), default=0)
        return written > 0 and not any(len(each) > written and path_covers(each, path) for each in self.read)

    def _less(self, path: str) -> Permissions:
        """Return a copy without the entries that are exactly *path*."""
        return replace(
            self,
            read=tuple(each for each in self.read if each != path),
            write=tuple(each for each in self.write if each != path),
        )

    def reduced(self) -> Permissions:
        """Return the smallest value that allows the same: without entries that another entry covers."""
        network = [
            destination
            for destination in self.network
            if not any(other != destination and other.covers(destination) for other in self.network)
        ]
        write = [path for path in self.write if not self._less(path).may_write(path)]
        read = [path for path in self.read if path not in self.write and self._decides(path)]
        return replace(
            self,
            network=_sorted(network),
            environment=_sorted(self.environment),
            subprocess=_sorted(self.subprocess),
            read=_sorted(read),
            write=_sorted(write),
        )

    def _decides(self, path: str) -> bool:
        """Return whether the read grant of *path* makes a difference."""
        less = self._less(path)
        return not less.may_read(path) or less.mounts_writable(path)

    def intersect(self, other: Permissions) -> Permissions:
        """Return the widest value that both this and *other* cover, reduced."""
        network = [d for d in self.network if other._reaches(d)] + [
            d for d in other.network if self._reaches(d)
        ]
        paths = (*self.read, *self.write, *other.read, *other.write)
        write = [path for path in paths if self.may_write(path) and other.may_write(path)]
        # If neither value mounts a path read-only, a read entry would do so: only its name protects it there.
        read = [
            path
            for path in paths
            if self.may_read(path)
            and other.may_read(path)
            and not (
                self.mounts_writable(path)
                and other.mounts_writable(path)
                and any(path_covers(each, path) for each in write)
            )
        ]
        return Permissions(
            network=_sorted(network),
            environment=_sorted(set(self.environment) & set(other.environment)),
            subprocess=_sorted(set(self.subprocess) & set(other.subprocess)),
            storage=min(self.storage, other.storage),
            read=_sorted(read),
            write=_sorted(write),
        ).reduced()

    def kept_read_only(self) -> tuple[str, ...]:
        """Return the paths that could be written if they were not granted for reading."""
        return tuple(path for path in self.read if self._less(path).mounts_writable(path))

    def keeping(self, paths: Iterable[str]) -> Permissions:
        """Return a copy that grants for reading those of *paths* that would otherwise be writable."""
        kept = self
        for path in sorted(paths):
            if kept.mounts_writable(path):
                kept = replace(kept, read=_sorted((*kept.read, path)))
        return kept

    def words(self) -> list[str]:
        """Return every word that :meth:`without` accepts here, general words before particular ones."""
        words: list[str] = []
        kept = self.kept_read_only()
        read = tuple(path for path in self.read if path not in kept)
        for name, entries in (
            ("network", self.network),
            ("filesystem", (*self.read, *self.write)),
            ("filesystem.read", read),
            ("filesystem.write", self.write),
            ("environment", self.environment),
            ("subprocess", self.subprocess),
        ):
            if entries:
                words.append(name)
                words += [f"{name}={entry}" for entry in entries if name != "filesystem"]
        if self.storage:
            words.append("storage")
        return words

    def without(self, word: str) -> Permissions:
        """Return a copy less one permission: ``network``, ``filesystem.read=/data``, ``environment=TZ``, ….

        A word without ``=`` withholds all entries of its kind. A word with ``=`` withholds that entry and
        the entries that it covers (``network=*.example.com:443``; a folder and everything below it).
        Reading and writing are two lists, as in ``mpp.toml``: a path in both lists stays readable without
        ``filesystem.write``. A read entry inside a folder that stays writable is kept: without the entry,
        that path would become writable.

        Raises:
            UsageError: ``permission.unknown``: no permission was requested under that word.
        """
        name, equals, entry = word.partition("=")
        lists = _WITHHELD.get(name, ())
        kept = self
        if not equals:
            kept = self._replaced({each: type(getattr(self, each))() for each in lists})
        elif lists and name != "storage":
            kept = self._replaced({each: _without_entry(getattr(self, each), name, entry) for each in lists})
        kept = kept.keeping(path for path in self.read if not self.mounts_writable(path))
        if kept == self:
            raise UsageError(
                "permission.unknown", f"{word!r} is not among the permissions asked for", self._hint(word)
            )
        return kept

    def less(self, words: Iterable[str]) -> Permissions:
        """Return a copy :meth:`without` each of *words*; words that match nothing are ignored."""
        kept = self
        for word in words:
            with contextlib.suppress(UsageError):
                kept = kept.without(word)
        return kept

    def _replaced(self, changes: dict[str, Any]) -> Permissions:
        return replace(self, **changes)

    def _hint(self, word: str) -> str:
        import difflib  # noqa: PLC0415 -- only for a mistake

        words = self.words()
        name, _, entry = word.partition("=")
        if name.startswith("filesystem") and any(
            not entry or entry == path for path in self.kept_read_only()
        ):
            return "it keeps a part of a writable folder read-only; withhold filesystem.write instead"
        if close := difflib.get_close_matches(word, words, n=1):
            return f"did you mean {close[0]}?"
        return f"it asks for: {', '.join(words)}" if words else "it asks for no permission at all"

    def describe(self) -> list[str]:
        """Return one line for a person per thing allowed; each completes "it may …"."""
        lines = [f"connect to {_describe_host(destination)}" for destination in self.network]
        lines += [f"read {path} and everything below it" for path in self.read if path not in self.write]
        lines += [
            f"read and change {path} and everything below it; how much it writes there is not bounded"
            for path in self.write
        ]
        lines += [f"see the environment variable {name} of this host" for name in self.environment]
        lines += [f"start the program {name} of this host" for name in self.subprocess]
        if self.storage:
            lines.append(f"keep up to {format_size(self.storage)} in a private folder between calls")
        return lines or ["reach nothing outside its sandbox"]


def _describe_host(destination: HostPort) -> str:
    if destination.host.startswith("*."):
        return f"every host below {destination.host[2:]}, port {destination.port}"
    return f"{destination.host}, port {destination.port}"


# The words of --without, and the fields each of them empties or shortens.
_WITHHELD: Final[dict[str, tuple[str, ...]]] = {
    "network": ("network",),
    "filesystem": ("read", "write"),
    "filesystem.read": ("read",),
    "filesystem.write": ("write",),
    "environment": ("environment",),
    "subprocess": ("subprocess",),
    "storage": ("storage",),
}


def _without_entry(entries: tuple[Any, ...], name: str, entry: str) -> tuple[Any, ...]:
    """Return *entries* without those that *entry* covers; all of them if *entry* is no word of that kind."""
    try:
        if name == "network":
            destination = parse_host_port(entry)
            return tuple(kept for kept in entries if not destination.covers(kept))
        if name.startswith("filesystem"):
            path = parse_path(entry, placeholder=True)
            return tuple(kept for kept in entries if not path_covers(path, kept))
    except VocabularyError:
        return entries
    return tuple(kept for kept in entries if kept != entry)


def _sorted(entries: Iterable[_Entry]) -> tuple[_Entry, ...]:
    return tuple(sorted(set(entries)))


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource bounds of one invocation, each with a safe default. Times in ms, sizes in bytes."""

    wall_ms: int = 10_000
    cpu_ms: int = 5_000
    memory: int = 256 * 1024 * 1024
    processes: int = 16
    open_files: int = 64
    output: int = 1024 * 1024
    scratch: int = 64 * 1024 * 1024

    def covers(self, narrower: Limits) -> bool:
        """Return whether *narrower* exceeds none of these bounds."""
        return all(getattr(narrower, bound.name) <= getattr(self, bound.name) for bound in fields(self))

    def intersect(self, other: Limits) -> Limits:
        """Return the stricter of each bound."""
        return Limits(
            **{
                bound.name: min(getattr(self, bound.name), getattr(other, bound.name))
                for bound in fields(self)
            }
        )

    def describe(self) -> list[str]:
        """Return one line for a person per bound; each completes "it may …"."""
        return [
            f"run for {format_duration(self.wall_ms)}",
            f"use {format_duration(self.cpu_ms)} of processor time",
            f"use {format_size(self.memory)} of memory and {format_size(self.scratch)} of temporary files",
            f"have {self.processes} processes and {self.open_files} open files",
            f"return {format_size(self.output)}",
        ]


@dataclass(frozen=True, slots=True)
class Privacy:
    """Kinds of sensitive data a tool may return in the clear, or be handed behind a token."""

    allow: tuple[str, ...] = field(default=())
    receive: tuple[str, ...] = field(default=())

    def covers(self, narrower: Privacy) -> bool:
        """Return whether *narrower* lets no other kind through."""
        return set(narrower.allow) <= set(self.allow) and set(narrower.receive) <= set(self.receive)

    def intersect(self, other: Privacy) -> Privacy:
        """Return the kinds that both let through."""
        return Privacy(
            allow=_sorted(set(self.allow) & set(other.allow)),
            receive=_sorted(set(self.receive) & set(other.receive)),
        )

    def describe(self) -> list[str]:
        """Return one line for a person per kind; each completes "it may …"."""
        return [f"return {kind} values unredacted" for kind in self.allow] + [
            f"be given the real {kind} value behind a token" for kind in self.receive
        ]
