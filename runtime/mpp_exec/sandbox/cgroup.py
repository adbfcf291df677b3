"""Puts each invocation into a cgroup of its own, where cgroup v2 is delegated.

The kernel then bounds and counts the invocation. Permissions alone do not decide where a group may be made.
A host's own processes are never moved (except with ``own``, see below), and a cgroup that somebody else
manages is left alone:

- ``$MPP_CGROUP`` names a folder below which groups may be made. ``own`` stands for the cgroup that this
  process is in and has to itself: the process then moves into a child of it, because the kernel lets a
  cgroup bound its children only when no process is in it (cgroups(7), no internal processes).
- Otherwise, where systemd runs: the cgroup above this process's, if systemd marked it as delegated.
- Otherwise: the cgroup above, if it belongs to this unprivileged user; or, for root, the root of the
  hierarchy.

Whether this works is found out by trying: a trial group is made and bounded, and a process is born in it.

The process that makes a group locks it (flock(2) on the folder; the lock ends with the process). So a later
start can tell the leftovers of a killed host from groups in use, in whichever PID namespace, and removes
them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import secrets
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mpp_exec.errors import HostError, InternalError
from mpp_exec.patterns import lazily
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import native

VARIABLE: Final = "MPP_CGROUP"
OVERHEAD: Final = 4 << 20
"""Bytes beside the tool's own: init, the root's tmpfs, mounts and namespaces."""

Bounds = tuple[tuple[str, str], ...]
"""Files of a group and what is written into each, in order."""

_NEEDED: Final = ("memory", "pids")
_WANTED: Final = ("cpu", *_NEEDED)
_PREFIX: Final = "mpp-exec-"
_NAME: Final = lazily(rf"{_PREFIX}[0-9a-f]{{16}}")
_HOST: Final = "mpp-exec-host"
_SYSTEMD: Final = "/run/systemd/system"  # sd_booted(3)
_DELEGATED: Final = ("user.delegate", "trusted.delegate")
_EXHAUSTED: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC)
_PERIOD_US: Final = 100_000
_EMPTY_S: Final = 5.0  # a group whose processes were reaped is empty at once; this is for a stalled machine
_TRIES: Final = 16  # a start that sweeps takes one or two folders away


@dataclass(frozen=True, slots=True)
class Delegation:
    """Where groups are made, ``""`` for nowhere, and then why not and what would help.

    ``controllers`` are those of ``cpu``, ``memory`` and ``pids`` that work there; all but cpu always do.
    """

    path: str
    controllers: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


def bounds(limits: Limits, controllers: tuple[str, ...], processors: int) -> Bounds:
    """Return what a group of a call with *limits* is bounded by; nothing without *controllers*.

    Memory is that of the limit and of scratch, which is memory as well. One of several *processors* is
    left to the host, so that its next call is served however many threads a tool spins.
    """
    if not controllers:
        return ()
    rows = [
        ("memory.swap.max", "0"),
        ("memory.max", str(limits.memory + limits.scratch + OVERHEAD)),
        ("memory.oom.group", "1"),
        ("pids.max", str(limits.processes + 1)),  # one for init
    ]
    if "cpu" in controllers and processors > 1:
        rows.append(("cpu.max", f"{(processors - 1) * _PERIOD_US} {_PERIOD_US}"))
    return tuple(rows)


def delegation() -> Delegation:
    """Return where this process may make groups. Found once for a process and its effective user.

    Raises:
        HostError: ``$MPP_CGROUP`` names a place where it cannot be done.
        InternalError: the machine is out of memory, descriptors or cgroups.
    """
    return _delegation(os.getpid(), os.geteuid(), os.environ.get(VARIABLE, ""))


@functools.lru_cache(maxsize=4)
def _delegation(_process: int, user: int, named: str) -> Delegation:
    try:
        where = _named(named) if named else _candidate(user)
    except OSError as error:
        where = _refused(error)
    if where.path:
        where = _tried(where.path)
    if named and not where.path:
        raise HostError(
            "host.cgroup",
            f"no cgroup can be made where {VARIABLE}={named} says: {where.reason}",
            f"name a delegated cgroup (see README), or unset {VARIABLE}",
        )
    return where


_HINT: Final = (
    "systemd-run --user --scope -p Delegate=yes env MPP_CGROUP=own COMMAND; "
    "in a unit Delegate=yes, DelegateSubgroup=host"
)


def _words(error: OSError) -> str:
    return f"{error.filename or 'cgroup'}: {error.strerror or error}"


def _refused(error: OSError) -> Delegation:
    """Return that it cannot be done here; what a busy machine refused now is not taken for an answer."""
    if error.errno in _EXHAUSTED:
        raise InternalError("host.exhausted", f"no cgroup can be made: {_words(error)}", "try again later")
    return Delegation("", reason=_words(error), hint=_HINT)


def _named(value: str) -> Delegation:
    if value != "own":
        # Elsewhere its files would be somebody's, and what is written to them go where they lead.
        return Delegation(value) if _is_cgroup(value) else Delegation("", reason=f"{value} is not a cgroup2")
    own = own_folder(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))
    if own is None:
        return Delegation("", reason="no cgroup2 mount shows the cgroup of this process")
    # Again after a fork, or after another process of the project did so: already below.
    if Path(own).name == _HOST:
        return Delegation(str(Path(own).parent))
    others = set(_read(f"{own}/cgroup.procs").split()) - {str(os.getpid())}
    if others:
        return Delegation("", reason=f"{own} holds other processes, and nobody asked to move them")
    leaf = Path(own, _HOST)
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    return Delegation(own)


def _is_cgroup(path: str) -> bool:
    device = os.stat(path).st_dev  # noqa: PTH116 - one call
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = (line.split(" - ") for line in _read("/proc/self/mountinfo").splitlines() if " - " in line)
    return any(left.split(" ")[2] == number and right.startswith("cgroup2 ") for left, right in lines)


def _candidate(user: int) -> Delegation:
    own = own_folder(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))
    if own is None:
        return Delegation(
            "", reason="no cgroup2 mount shows the cgroup of this process", hint="mount cgroup2"
        )
    above = str(Path(own).parent)
    if os.path.isdir(_SYSTEMD):  # noqa: PTH112 - a link is none
        if _is_marked(above):
            return Delegation(above)
        return Delegation("", reason="systemd has delegated no cgroup to this process", hint=_HINT)
    if user == 0 and not os.path.lexists(f"{own}/cgroup.type"):  # only the root of the hierarchy has none
        return Delegation(own)
    if user != 0 and os.path.lexists(f"{above}/cgroup.procs") and Path(above).stat().st_uid == user:
        return Delegation(above)
    return Delegation("", reason="no cgroup is delegated to this process", hint=_HINT)


def _is_marked(folder: str) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - files of the kernel
        return file.read()


def own_folder(mountinfo: str, membership: str) -> str | None:
    """Return the folder of this process's cgroup, from ``/proc/self/mountinfo`` and ``/proc/self/cgroup``.

    None where no mount shows it: only version 1 is there, or the mount is of another subtree.
    """
    own = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)
    if own is None:
        return None
    for line in mountinfo.splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split(" ")[0] != "cgroup2":
            continue
        root, point = (_unescaped(text) for text in fields.split(" ")[3:5])
        inside = own if root == "/" else own.removeprefix(root)
        if root not in ("/", own) and not own.startswith(f"{root}/"):
            continue
        return point + inside.rstrip("/")
    return None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _tried(path: str) -> Delegation:
    """Make a group below *path*, bound it, let a process be born in it, remove it; and leftovers, too."""
    try:
        offered = set(_read(f"{path}/cgroup.controllers").split())
        absent = [name for name in _NEEDED if name not in offered]
        if absent:
            return Delegation("", reason=f"{path} has no controller {', '.join(absent)}", hint=_HINT)
        controllers = tuple(name for name in _WANTED if name in offered and _enabled(path, name))
        absent = [name for name in _NEEDED if name not in controllers]
        if absent:
            reason = f"{path} cannot give its children the controller {', '.join(absent)}: it holds processes"
            return Delegation("", reason=reason, hint=_HINT)
        sweep(path)
        with Group(path, bounds(Limits(), controllers, 2)) as group:
            error = native.try_clone(0, group.fd)
            if error:
                return Delegation(
                    "", reason=f"no process can be born in {path}: {os.strerror(error)}", hint=_HINT
                )
            os.close(os.open("cgroup.kill", os.O_WRONLY | os.O_CLOEXEC, dir_fd=group.fd))  # Linux 5.14
    except OSError as error:
        return _refused(error)
    except HostError as error:
        return Delegation("", reason=error.message, hint=_HINT)
    return Delegation(path, controllers)


def _enabled(path: str, controller: str) -> bool:
    control = Path(path, "cgroup.subtree_control")
    if controller not in _read(str(control)).split():
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}", encoding="ascii")
    return controller in _read(str(control)).split()


class Group:
    """The cgroup of one invocation, for the length of a ``with`` block: made, bounded, then removed.

    Attributes:
        fd: its folder, for a process to be born in.

    Raises:
        HostError: it cannot be made or bounded, where that worked before. Nothing ran.
        InternalError: the machine is out of memory, descriptors or cgroups.
    """

    def __init__(self, parent: str, rows: Bounds) -> None:
        self.fd = -1
        self._path = ""
        self._parent = parent
        self._rows = rows

    def __enter__(self) -> Self:
        try:
            self._make()
            for name, value in self._rows:
                self._write(name, value)
        except OSError as error:
            self._remove()
            message = f"the cgroup of the call cannot be made: {_words(error)}"
            if error.errno in _EXHAUSTED:
                raise InternalError("host.exhausted", message, "try again later") from error
            raise HostError("host.cgroup", message, "run mpp-exec doctor: the delegation changed") from error
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        for _ in range(_TRIES):
            self._path = f"{self._parent}/{_PREFIX}{secrets.token_hex(8)}"
            # Closed to others: who can open it can lock it, and so keep every start from removing it.
            os.mkdir(self._path, 0o700)  # noqa: PTH102 - one call of the kernel, on every invocation
            self.fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            # A start that sweeps may have come between: then it has the lock, or the folder is gone.
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.isdir(self._path):  # noqa: PTH112 - as above
                    return
            with contextlib.suppress(OSError):
                os.rmdir(self._path)  # noqa: PTH106 - as above
            os.close(self.fd)
            self.fd = -1
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self._parent)

    def _write(self, name: str, value: str) -> None:
        try:
            file = os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.fd)
        except FileNotFoundError:
            if name == "memory.swap.max":  # the kernel has no swap to bound
                return
            raise
        try:
            os.write(file, value.encode("ascii"))
        finally:
            os.close(file)

    def _remove(self) -> None:
        fd, self.fd = self.fd, -1
        if not self._path:
            return
        try:
            _clear(self._path, fd)
        finally:
            if fd >= 0:
                os.close(fd)


def _clear(path: str, fd: int) -> None:
    """Kill what is in the group *path* and remove it; what cannot be removed is left to a later start."""
    until = time.monotonic() + _EMPTY_S
    while True:
        try:
            os.rmdir(path)  # noqa: PTH106 - one call of the kernel, on every invocation
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or fd < 0 or time.monotonic() > until:
                return
        else:
            return
        with contextlib.suppress(OSError):
            _kill_and_wait(fd, until)


def _kill_and_wait(fd: int, until: float) -> None:
    file = os.open("cgroup.kill", os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.write(file, b"1")
    finally:
        os.close(file)
    events = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while b"populated 1" in os.pread(events, 256, 0) and time.monotonic() < until:
            poll.poll(100)  # told by the kernel; the bound is for a change between reading and waiting
    finally:
        os.close(events)


def sweep(parent: str) -> None:
    """Remove the groups of hosts that are dead: those that nobody holds a lock on."""
    for name in os.listdir(parent):  # noqa: PTH208 - names are all it takes
        if not _NAME.fullmatch(name):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(f"{parent}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clear(f"{parent}/{name}", fd)
            finally:
                os.close(fd)


@contextlib.contextmanager
def entered(rows: Bounds) -> Iterator[int]:
    """Yield the descriptor of a group bounded by *rows*, or -1 where a plan has none.

    Raises:
        HostError, InternalError: as :class:`Group`; or nothing is delegated any more.
    """
    if not rows:
        yield -1
        return
    where = delegation()
    if not where.path:
        raise HostError(
            "host.cgroup",
            f"the plan counts on a cgroup, and none can be made: {where.reason}",
            "start mpp-exec anew where the cgroup is delegated",
        )
    with Group(where.path, rows) as group:
        yield group.fd
