"""Runs mpp-exec's own work in a thread or process that Landlock confines; the only user of ``landlock``.

Landlock is the second mechanism behind code that reads untrusted input. The archive reader checks every path
itself. If one of its checks has a bug, the kernel still refuses to create, change or read a file outside the
folders named here. A tool's own confinement is not made here (see ``sandbox``).

Both no_new_privs (prctl(2)) and landlock_restrict_self(2) bind the calling *thread*, and what it starts, for
good. So the work gets a thread of its own that ends with it, and the host process stays as it was.
Descriptors that are already open stay usable: that is how the work gets its input.

What ``landlock`` 1.0.0.dev5 does, and why it is not simply called:

* Its system call wrappers look at ctypes' copy of errno, not at the result, so a stale errno makes the next
  successful call fail. Each thread has its own copy, which is 0 at its start. In the new thread this copy is
  therefore correct as long as no failure is ignored, and none is.
* ``Ruleset`` never closes its descriptor.
* ``FSAccess.all()`` is trimmed to the kernel's ABI and ends at ABI 5. It has all file-system rights except
  connecting to a UNIX socket by its path (ABI 9). It handles neither network nor scopes.
* A rule for a file must name file rights only, otherwise the kernel answers EINVAL.

See landlock(7) and the kernel's ``userspace-api/landlock.rst``.
"""

from __future__ import annotations

import _thread
import errno
import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from mpp_exec.errors import HostError, InternalError

_T = TypeVar("_T")

# Not built, disabled at boot, filtered.
_UNAVAILABLE = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
_HINT = "see `mpp-exec doctor`; this is a fault of mpp-exec or of this kernel"


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI version, 0 where there is no Landlock for this process.

    Raises:
        InternalError: ``confined.probe`` when the kernel's answer is none that landlock(7) knows.
    """
    import ctypes  # noqa: PLC0415 -- needed by an install only

    import landlock  # noqa: PLC0415

    ctypes.set_errno(0)
    try:
        return int(landlock.landlock_abi_version())
    except (landlock.LandlockError, ValueError) as error:  # ValueError: a kernel release it cannot parse
        code = ctypes.get_errno()
        if code in _UNAVAILABLE:
            return 0
        raise InternalError("confined.probe", f"landlock answers {os.strerror(code)}", _HINT) from error


def run_confined(
    work: Callable[[], _T],
    *,
    read: Sequence[str | os.PathLike[str]] = (),
    write: Sequence[str | os.PathLike[str]] = (),
    programs: Sequence[str | os.PathLike[str]] = (),
    cancel: threading.Event | None = None,
    required: bool = True,
) -> _T:
    """Call *work* in a short-lived thread that can open nothing outside *read* and *write*; return its value.

    Beneath *read*, files can be read and folders listed. Beneath *write*, regular files and folders
    can also be created, changed and removed, but no links, devices, sockets or programs. Files beneath
    *programs* can be read and executed, and what they start is confined like *work*. Every path must
    exist. Modules that *work* imports late must be in *read* as well.

    An exception of *work* is raised again here. If the caller is interrupted in the meantime (Ctrl-C),
    *cancel* is set, the end of *work* is awaited, and the interruption is raised. So nothing continues to
    write unnoticed. If the kernel has no Landlock and it is *required*, *work* is not called. If it is not
    required, *work* is called with only its own checks.

    Raises:
        HostError: ``host.no_landlock``, where it is *required*; *work* was not called.
        InternalError: ``confined.path``, ``confined.setup``, ``confined.ineffective`` or
            ``confined.thread``; *work* was not called.
    """
    abi = landlock_abi()
    if required and not abi:
        raise HostError(
            "host.no_landlock",
            "this kernel has no Landlock, and without it mpp-exec unpacks no files from outside",
            "boot Linux 5.13 or later with lsm=landlock,…",
        )
    outcome: list[_T] = []
    failure: list[BaseException] = []
    # An interruption can come between any two steps, and one inside threading's Event or Thread.start
    # leaves their inner lock held for ever. Bare locks have no inside: what has happened is in lists.
    gate, done = threading.Lock(), threading.Lock()
    gate.acquire()
    done.acquire()
    wanted, opened, finished = [True], list[bool](), list[bool]()

    def body() -> None:
        try:
            gate.acquire()
            if wanted:
                if abi:
                    _restrict_this_thread(read, write, programs)
                outcome.append(work())
        except BaseException as error:  # noqa: BLE001 -- handed to the caller, whatever it is
            failure.append(error)
        finally:
            finished.append(True)
            done.release()

    interruption: BaseException | None = None
    while not finished:
        try:
            if not opened:
                _thread.start_new_thread(body, ())
                opened.append(True)
                gate.release()
            done.acquire()
        except BaseException as error:
            if not opened:
                wanted.clear()
            if gate.locked():
                gate.release()
            if not opened:
                if isinstance(error, RuntimeError):
                    raise _no_thread(error) from error
                raise
            interruption = interruption or error
            if cancel is not None:
                cancel.set()
    if interruption is not None:
        raise interruption
    if failure:
        raise failure[0]
    return outcome[0]


def confine_process(*, read: Sequence[str | os.PathLike[str]]) -> None:
    """Confine this process permanently to reading files beneath *read*. It must have only one thread.

    Every path must exist.

    Raises:
        InternalError: ``confined.path``, ``confined.setup`` or ``confined.ineffective``, as above, or
            ``confined.probe``; ``confined.thread`` where there are other threads, which would stay free.
    """
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 -- names are enough
        raise InternalError("confined.thread", "a process can be confined only before it has threads", _HINT)
    import ctypes  # noqa: PLC0415 -- needed by an install only

    ctypes.set_errno(0)
    _restrict_this_thread(read, (), ())


def _no_thread(error: RuntimeError) -> InternalError:
    hint = "raise the limit on processes (ulimit -u)"
    return InternalError("confined.thread", f"cannot start a thread: {error}", hint)


def _restrict_this_thread(
    read: Sequence[str | os.PathLike[str]],
    write: Sequence[str | os.PathLike[str]],
    programs: Sequence[str | os.PathLike[str]],
) -> None:
    import landlock  # noqa: PLC0415

    access = landlock.FSAccess
    handled = access.all()
    reading = access.READ_FILE | access.READ_DIR
    writing = (
        reading
        | access.WRITE_FILE
        | access.TRUNCATE
        | access.REMOVE_DIR
        | access.REMOVE_FILE
        | access.MAKE_DIR
        | access.MAKE_REG
    )
    rules = [
        *((os.fspath(path), reading) for path in read),
        *((os.fspath(path), writing) for path in write),
        *((os.fspath(path), reading | access.EXECUTE) for path in programs),
    ]
    try:
        ruleset = landlock.Ruleset(handled)
        try:
            for path, rights in rules:
                try:
                    folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
                except OSError as error:
                    raise InternalError(
                        "confined.path", f"cannot confine to {path}: {error.strerror}", _HINT
                    ) from error
                kept = rights & handled if folder else rights & handled & access.all_file()
                ruleset.allow(path, rules=kept)
            ruleset.apply()
        finally:
            os.close(ruleset._fd)  # noqa: SLF001 -- the library has no close, and would leak one per call
    except (landlock.LandlockError, OSError, ValueError) as error:
        raise InternalError("confined.setup", f"landlock cannot be applied: {error}", _HINT) from error
    _require_enforcement([path for path, _ in rules], [os.fspath(path) for path in write])


def _require_enforcement(readable: list[str], writable: list[str]) -> None:
    """Refuse to go on unless the kernel now refuses paths that were not named; test this by opening two.

    Every host has them, and opening them changes nothing: ``/`` for listing, and ``/dev/null`` for writing
    (absent in some chroots).
    """
    probes = [(readable, "/", os.O_RDONLY | os.O_DIRECTORY), (writable, "/dev/null", os.O_WRONLY)]
    for granted, path, flags in probes:
        if any(_beneath(path, folder) for folder in granted):
            continue
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.EACCES or (error.errno == errno.ENOENT and path != "/"):
                continue
            raise InternalError(
                "confined.ineffective", f"cannot tell whether landlock is in force: {error}", _HINT
            ) from error
        os.close(descriptor)
        raise InternalError(
            "confined.ineffective", f"landlock was applied, yet {path} could still be opened", _HINT
        )


def _beneath(path: str, folder: str) -> bool:
    real = os.path.realpath(folder)
    return real in ("/", path) or path.startswith(real + "/")
