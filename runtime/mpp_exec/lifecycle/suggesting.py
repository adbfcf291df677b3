"""From what a traced tool asked for to the smallest ``[permissions]`` that would have sufficed.

Pure but for two questions about the host, whether a path exists and whether a program does, which are
asked through functions: the answers go to the person who traces, never to the tool or a model.

The watcher knows what was asked, not what the kernel answered, so two rules stand for the answers: what
lies in a grant was given and is kept because it was used; what lies outside was refused and is proposed
where it exists. What a tool would have asked next, had it been given that, nobody knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.calls.prepared import HostAsked, Prepared
from mpp_exec.consent.config import all_of
from mpp_exec.lifecycle.reached import hosts_of
from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.access import Access
from mpp_exec.sandbox.building import STORAGE
from mpp_exec.vocabulary import (
    HostPort,
    VocabularyError,
    format_size,
    parse_env_name,
    parse_path,
    parse_program,
)

MANY: Final = 8
"""So many files below one granted folder are named singly; of more, their common folder is."""

_DEFAULT_STORAGE: Final = 16 << 20
# What every program of a distribution looks for by itself: its loader, its C library, its shell's PATH.
_SYSTEM: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/locale", "/usr/share/zoneinfo"),
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/proc", "/sys", "/dev", "/run", "/app", "/mpp", "/python"),
)
_PROGRAMS: Final = (
    "/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/sbin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/python/bin",
)
_ALWAYS_SET: Final = frozenset(("PATH", "HOME", "TMPDIR", "LANG", "PWD"))
# Looked up by every interpreter and library to decide how text is shown.
_DISPLAY: Final = ("LC_", "PYTHON", "LANGUAGE", "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "_")


@dataclass(frozen=True, slots=True)
class Host:
    """What is asked of the host: whether a path exists, a program is there, a variable is set."""

    exists: Callable[[str], bool]
    program: Callable[[str], bool]
    variable: Callable[[str], bool]


@dataclass(slots=True)
class Suggestion:
    """What would have sufficed.

    Attributes:
        permissions: paths as a manifest writes them, with ``${user_config.KEY}`` where they lie below one.
        spared: what was refused to a tool that came to a good end all the same.
        denied: what was tried and refused, each as a word of ``--without`` has it (``filesystem.read=/x``).
        remarks: what a person must know beside it.
    """

    permissions: Permissions = field(default_factory=Permissions)
    spared: Permissions = field(default_factory=Permissions)
    denied: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def toml(self) -> str:
        """Return the tables of ``mpp.toml``. Paths hold no control, so a JSON string is one of TOML."""
        first, second = _tables(self.permissions)
        lines = ["[permissions]", *first]
        if second:
            lines += ["", "[permissions.filesystem]", *second]
        if self.spared != Permissions():
            lines += ["", "# refused, and it came to a good end without:"]
            lines += [f"# {line}" for table in _tables(self.spared) for line in table]
        return "\n".join(lines) + "\n"


def _tables(given: Permissions) -> tuple[list[str], list[str]]:
    """Return the lines of ``[permissions]`` and of ``[permissions.filesystem]``."""
    first = [
        f"{key} = {_list(entries)}"
        for key, entries in (
            ("network", [str(each) for each in given.network]),
            ("environment", given.environment),
            ("subprocess", given.subprocess),
        )
        if entries
    ]
    if given.storage:
        first.append(f'storage = "{format_size(given.storage)}"')
    return first, [
        f"{key} = {_list(entries)}"
        for key, entries in (("read", given.read), ("write", given.write))
        if entries
    ]


@dataclass(slots=True)
class _Collected:
    """Entries of :class:`Permissions` while they are found."""

    network: set[HostPort] = field(default_factory=set)
    environment: set[str] = field(default_factory=set)
    subprocess: set[str] = field(default_factory=set)
    storage: int = 0
    read: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)

    def value(self, written: Callable[[Iterable[str]], tuple[str, ...]]) -> Permissions:
        paths = Permissions(read=tuple(sorted(self.read)), write=tuple(sorted(self.write))).reduced()
        return Permissions(
            network=tuple(self.network),
            environment=tuple(self.environment),
            subprocess=tuple(self.subprocess),
            storage=self.storage,
            read=written(paths.read),
            write=written(paths.write),
        ).reduced()


def _list(entries: Iterable[str]) -> str:
    return f"[{', '.join(encoding.json_dumps(entry) for entry in entries)}]"


def suggest(
    prepared: Prepared,
    accesses: Iterable[Access],
    tried: Mapping[str, Any],
    host: Host,
    asked: HostAsked,
    *,
    ok: bool,
) -> Suggestion:
    """Return the smallest permissions for what the call that was *prepared* asked for.

    *accesses* is what the watcher noted, *tried* what the launcher of a Python tool did, *asked* the hosts
    that it reached or did not: hints all, of any content. Whatever they say, nothing is proposed that a
    manifest could not say. Whether the tool came to a good end (*ok*) decides about what it was refused: if
    it did, it could do without.
    """
    return _Suggesting(prepared, tuple(accesses), tried, host, asked, ok=ok).made()


class _Suggesting:
    def __init__(
        self,
        prepared: Prepared,
        accesses: tuple[Access, ...],
        tried: Mapping[str, Any],
        host: Host,
        asked: HostAsked,
        *,
        ok: bool,
    ) -> None:
        manifest, config = prepared.manifest, prepared.grant.config
        self._manifest = manifest
        self._tool = prepared.tool
        self._granted = prepared.grant.permissions
        self._config = [
            (str(value), f"${{user_config.{each.key}}}", each.multiple)
            for each in manifest.user_config
            if each.type in ("directory", "file") and each.key in config
            for value in all_of(config[each.key])
        ]
        self._plan = prepared.plan
        self._accesses = accesses
        self._tried = tried
        self._host = host
        self._asked = asked
        self._ok = ok
        self._made = Suggestion()
        self._used = _Collected()
        self._refused = _Collected()

    def made(self) -> Suggestion:
        self._paths()
        self._programs()
        self._network()
        self._environment()
        self._storage()
        used, refused = self._used.value(self._written), self._refused.value(self._written)
        made = self._made
        if self._ok:
            made.permissions, made.spared = used, refused
        else:
            made.permissions = Permissions(
                network=used.network + refused.network,
                environment=used.environment + refused.environment,
                subprocess=used.subprocess + refused.subprocess,
                storage=max(used.storage, refused.storage),
                read=used.read + refused.read,
                write=used.write + refused.write,
            ).reduced()
        if made.permissions.write and self._tool.operation == "read":
            made.remarks.append(
                f'writing needs operation = "write" in the [[tools]] table of {self._tool.name}: '
                "the write grants of a tool that reads are mounted read-only"
            )
        return made

    # Paths

    def _paths(self) -> None:
        used: dict[tuple[str, str], set[str]] = {}
        refused: dict[tuple[str, str], None] = {}
        lost = 0
        for each in self._accesses:
            if each.does not in ("look", "read", "change", "make") or not each.path or each.path == "/":
                continue
            mode = "write" if each.does in ("change", "make") else "read"
            root = self._root(each.path)
            path = each.path
            if each.does == "make" and path != root:
                # An entry is made in a folder, and what is not there yet cannot be granted.
                path = str(PurePosixPath(path).parent)
            if root is not None:
                if self._host.exists(path):
                    used.setdefault((root, mode), set()).add(path)
            elif self._is_own(each.path) or (each.does == "look" and self._leads_somewhere(each.path)):
                continue
            elif path != "/" and self._host.exists(path):
                refused[path, mode] = None
            else:
                lost += 1
        if lost:
            self._made.remarks.append(f"{lost} paths that it looked for are not on this host and left out")
        for (root, mode), paths in used.items():
            getattr(self._used, mode).update(_folded(root, paths))
        for path, mode in refused:
            getattr(self._refused, mode).add(path)
            self._made.denied.append(f"filesystem.{mode}={path}")
        # Writing covers reading, but for what a grant for reading protects inside of a write grant.
        writes = self._used.write | self._refused.write
        for found in (self._used, self._refused):
            found.read = {
                path
                for path in found.read
                if self._root(path) in self._granted.read or not any(_within(path, each) for each in writes)
            }

    def _root(self, path: str) -> str | None:
        covering = [root for root in (*self._granted.read, *self._granted.write) if _within(path, root)]
        return max(covering, key=len, default=None)

    def _is_own(self, path: str) -> bool:
        return (
            any(_within(path, own) for own in (*_SYSTEM, *_PROGRAMS, self._plan.scratch, STORAGE))
            or any(_within(path, entry.target) for entry in self._plan.entries if entry.kind != "dir")
            or path in ("/etc", "/usr")
        )

    def _leads_somewhere(self, path: str) -> bool:
        """Tell whether *path* is only on the way: resolving a path looks at every folder above it."""
        below = f"{path}/"
        return any(root.startswith(below) for root in (*self._granted.read, *self._granted.write)) or any(
            each.path.startswith(below) and not self._is_own(each.path) for each in self._accesses
        )

    def _written(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return *paths* as a manifest writes them; what it cannot write is a remark."""
        written = []
        for path in paths:
            value, name, several = max(
                (each for each in self._config if _within(path, each[0])), default=("", "", False)
            )
            text = (
                name if several else name + path[len(value) :]
            )  # not every one of several has that below it
            try:
                written.append(parse_path(text, placeholder=True))
            except VocabularyError as error:
                self._made.remarks.append(f"{path} cannot be asked for: {error.message}")
        return tuple(written)

    # Everything else

    def _programs(self) -> None:
        started = {program.name: program for program in self._plan.started}
        forks = any(each.does == "fork" for each in self._accesses)
        wanted: dict[str, None] = {}
        for each in self._accesses:
            folder, _, name = each.path.rpartition("/")
            if folder not in _PROGRAMS or name == self._plan.exec_path.rpartition("/")[2]:
                continue
            # Who may start nothing gets no further than looking for the program.
            if each.does == "start" or (each.does == "look" and forks):
                wanted[name] = None
        for text in _texts(self._tried.get("program")):
            wanted[text.rpartition("/")[2]] = None
        self._used.subprocess.update(name for name in wanted if name in started)
        missing = sorted(name for name in wanted if name not in started and self._is_program(name))
        self._refused.subprocess.update(missing)
        self._made.denied += [f"subprocess={name}" for name in missing]
        if forks and not missing:
            self._made.remarks.append(
                "it tried to start a process, of which program is unknown: name it with --subprocess PROGRAM"
            )

    def _is_program(self, name: str) -> bool:
        interpreters = {program.path.rpartition("/")[2] for program in self._plan.programs}
        try:
            return parse_program(name) not in interpreters and self._host.program(name)
        except VocabularyError:
            return False

    def _network(self) -> None:
        found = hosts_of(self._granted, _texts(self._tried.get("host")), self._asked, self._accesses)
        self._made.denied += [f"network={each}" for each in found.refused]
        self._made.remarks += found.remarks
        self._refused.network.update(found.refused)
        self._used.network.update(found.used)

    def _environment(self) -> None:
        granted = self._granted.environment
        if self._plan.kind != "python":
            if granted:
                self._made.remarks.append(
                    "which variables a program reads is not seen: those granted are kept"
                )
            self._used.environment.update(granted)
            return
        own = {
            *_ALWAYS_SET,
            *self._manifest.runtime.env,
            *(f.env for f in self._manifest.user_config if f.env),
        }
        looked_up = [name for name in _texts(self._tried.get("variable")) if name not in own]
        self._used.environment.update(name for name in looked_up if name in granted)
        for name in looked_up:
            if name in granted or name.startswith((*_DISPLAY, "MPP_")) or not self._host.variable(name):
                continue
            try:
                self._refused.environment.add(parse_env_name(name))
            except VocabularyError:
                continue
            self._made.denied.append(f"environment={name}")

    def _storage(self) -> None:
        texts = (*self._manifest.runtime.command, *(text for _, text in self._manifest.runtime.env))
        used = (
            any(_within(each.path, STORAGE) for each in self._accesses if each.path)
            or "MPP_STORAGE" in _texts(self._tried.get("variable"))
            or any("${storage}" in text for text in texts)
        )
        if not used:
            return
        if self._granted.storage:
            self._used.storage = self._granted.storage
            return
        self._refused.storage = self._manifest.permissions.storage or _DEFAULT_STORAGE
        self._made.denied.append("storage")


def _folded(root: str, paths: set[str]) -> set[str]:
    """Return *paths* below the granted *root*, or their common folder where they are many."""
    least = {path for path in paths if not any(other != path and _within(path, other) for other in paths)}
    if len(least) <= MANY:
        return least
    common = os.path.commonpath(sorted(least))
    return {common if _within(common, root) else root}


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
