"""Ends calls that may no longer run: the grant was withdrawn, or the storage is over its bound.

Any process of the home can withdraw. While calls are running, this process checks the home's change counter
and the policy several times a second. It cancels the calls that have lost anything that they were prepared
with: grant, trust, or a permission by the policy (promise 2).
"""

from __future__ import annotations

import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mpp_exec.errors import InternalError, MppError
from mpp_exec.waits import ended_by, event

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALLEST: Final = 4096  # bytes that an empty file takes of a file system, approximately
_DEEPEST: Final = 128  # folders in folders; each holds a descriptor while it is counted

_Seen = tuple[int, object]
"""The home's change counter and the policy, when calls were last asked about."""

_LINGER: Final = 300  # looks without a call before a thread ends: starting one costs the next call more

PERIOD = 0.2
"""Seconds between two looks; a withdrawn grant ends its calls within twice this time."""


class Cancellation:
    """An eventfd that ends a call once it is set. Setting it after :meth:`close` does nothing.

    An interruption can leave a call on a list from which it should have been removed. By then the number of
    its descriptor may have been reused.

    Raises:
        InternalError: ``host.exhausted``: no descriptor is left, so the call could not be ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = event("the call")
        self._is_set = False

    @property
    def fd(self) -> int:
        """The descriptor to poll, -1 when closed."""
        return self._fd

    def is_set(self) -> bool:
        """Return whether the call was ended; also valid after :meth:`close`."""
        return self._is_set

    def set(self) -> None:
        """End the call."""
        with self._lock:
            if self._fd >= 0:
                self._is_set = True
                os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Close the descriptor; the call is over. May be repeated."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)


@dataclass(slots=True, eq=False)
class RunningCall:
    """A call that can be ended from outside.

    Attributes:
        lost: says why the call may no longer run, "" while it may.
        withdrawn: says the same, as far as that can be decided without looking at files.
        about: what the answer depends on. Calls with an equal value are checked once per round, because the
            answer may need a look at thousands of files. None for a call that is like no other.
        reason: why the call was ended, "" while it was not.
    """

    lost: Callable[[], str]
    cancellation: Cancellation
    about: object = None
    withdrawn: Callable[[], str] = lambda: ""
    reason: str = ""
    _bounds: tuple[tuple[Path, int, str], ...] = ()

    def bound(self, folder: Path, limit: int, reason: str) -> None:
        """End the call for *reason* once *folder* takes more than *limit* bytes."""
        self._bounds = (*self._bounds, (folder, limit, reason))

    @property
    def is_bounded(self) -> bool:
        """Whether the call has a folder to measure."""
        return bool(self._bounds)

    def overflow(self) -> str:
        """Return why the call must end because of what it has written, "" if it need not."""
        return next((why for folder, limit, why in self._bounds if folder_size(folder, limit) > limit), "")

    def cancel(self, reason: str) -> None:
        """End the call; the first reason counts."""
        if not self.reason:
            self.reason = reason
            self.cancellation.set()


class Watchdog:
    """Watches running calls from two threads, which exist while there are calls and for a minute after.

    One thread checks grants. The other measures what calls have written, so a package whose files take
    seconds to count delays no withdrawal.

    *changed* returns the home's change counter, *policy* the current policy. When either changes, the thread
    checks what each call has lost. If either cannot be read, the calls end: a doubt is a no.
    """

    def __init__(self, changed: Callable[[], int], policy: Callable[[], object]) -> None:
        self._changed = changed
        self._policy = policy
        self._calls: set[RunningCall] = set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._measuring: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Event()

    @contextmanager
    def watch(self, call: RunningCall, basis: object) -> Iterator[RunningCall]:
        """Watch *call* during the block. *basis* is the counter and policy under which it was prepared.

        Raises:
            InternalError: ``host.exhausted``: no thread is left to watch it.
        """
        with self._wake:
            if self._closed:
                call.cancel("the runtime was closed")
            self._calls.add(call)
            if self._thread is None or not self._thread.is_alive():
                self._thread = _started(self._look, "mpp-exec-watchdog")
            if call.is_bounded:
                self._start_measuring()
        try:
            # If it was withdrawn between being prepared and being watched, the thread may have missed it.
            if (self._changed(), self._policy()) != basis and (why := call.lost()):
                call.cancel(f"it was not to run any more: {why}")
            yield call
        finally:
            with self._wake:
                self._calls.discard(call)
                if self._closed:  # nobody else waits for the end of a call
                    self._wake.notify_all()

    def bound(self, call: RunningCall, folder: Path, limit: int, reason: str) -> None:
        """Bound a *call* that is already watched, as :meth:`RunningCall.bound` does.

        Raises:
            as :meth:`watch`.
        """
        with self._wake:
            call.bound(folder, limit, reason)
            self._start_measuring()

    def _start_measuring(self) -> None:
        if self._measuring is None or not self._measuring.is_alive():
            self._measuring = _started(self._measure, "mpp-exec-measure")

    def close(self, until: float = math.inf) -> bool:
        """Cancel every call; wait until all calls and the threads have ended; return whether they have.

        The wait ends at *until* (``time.monotonic``).
        """
        with self._wake:
            self._closed = True
            self._closing.set()
            for call in self._calls:
                call.cancel("the runtime was closed")
            self._wake.notify_all()
            threads = self._thread, self._measuring
            while (running := self._running()) and time.monotonic() < until:
                self._wake.wait(PERIOD)
            self._calls.clear()
        alive = [thread for thread in threads if not ended_by(until, thread)]
        return not running and not alive

    def _running(self) -> bool:
        return any(call.cancellation.fd >= 0 for call in self._calls)

    def _look(self) -> None:
        idle = 0
        seen: _Seen | None = None  # the first calls are checked once in any case
        while True:
            with self._wake:
                self._wake.wait(PERIOD)
                if self._closed and not self._calls:
                    return
                self._calls = {call for call in self._calls if call.cancellation.fd >= 0}
                calls = list(self._calls)
                idle = 0 if calls else idle + 1
                if idle > _LINGER:  # the next call starts another thread
                    self._thread = None
                    return
            seen = self._examine(calls, seen)

    def _examine(self, calls: list[RunningCall], seen: _Seen | None) -> _Seen | None:
        if not calls:
            return seen
        try:
            now = self._changed(), self._policy()
            if now != seen:
                # Check all calls before the first look at files: one look may take longer than any call has.
                _ask(calls, lambda call: call.withdrawn())
                _ask([call for call in calls if not call.reason], lambda call: call.lost())
        except Exception as error:  # noqa: BLE001 -- for example used-up memory: no error counts as a yes
            what = error.message if isinstance(error, MppError) else type(error).__name__
            for call in calls:
                call.cancel(f"whether it may run could not be checked: {what}")
            return seen
        return now

    def _measure(self) -> None:
        idle = 0
        while not self._closing.wait(PERIOD):
            with self._wake:
                calls = [call for call in self._calls if call.is_bounded]
                idle = 0 if calls else idle + 1
                if idle > _LINGER:
                    self._measuring = None
                    return
            for call in calls:
                if self._closing.is_set():
                    return
                if call.cancellation.fd >= 0 and (why := _overflow(call)):
                    call.cancel(why)


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    """Return a thread that does *work*.

    Raises:
        InternalError: ``host.exhausted``.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise InternalError(
            "host.exhausted",
            f"no thread is left to watch the call: {error}",
            "try again later, or raise the limit on processes (ulimit -u)",
        ) from error
    return thread


def _overflow(call: RunningCall) -> str:
    """Return why *call* must end: for what it has written, or because that cannot be measured."""
    try:
        return call.overflow()
    except Exception as error:  # noqa: BLE001 -- as above
        return f"what it has written could not be measured: {type(error).__name__}"


def _ask(calls: list[RunningCall], question: Callable[[RunningCall], str]) -> None:
    """Ask whether each of *calls* may run, once for calls that are alike; cancel those that may not."""
    answers: list[tuple[object, str]] = []
    for call in calls:
        about = call if call.about is None else call.about
        why = next((answer for other, answer in answers if other == about), None)
        if why is None:
            why = question(call)
            answers.append((about, why))
        if why:
            call.cancel(f"it may not run any more: {why}")


def folder_size(folder: Path, limit: int) -> int:
    """Return the bytes that everything below *folder* takes, or more than *limit* if in doubt.

    Links are not followed. Each folder is opened relative to its parent, so that no depth and no path length
    hides anything. A folder that cannot be read (a tool closed it to its owner) counts as too much: a doubt
    is a no. Counting ends when the limit is passed: at most *limit* / 4096 + 1 entries are looked at.
    """
    total: int = 0
    stack: list[Any] = []  # of os.scandir, whose type has no public name
    descriptors: list[int] = []
    try:
        descriptors.append(os.open(folder, _FOLDER))
        stack.append(os.scandir(descriptors[-1]))
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                os.close(descriptors.pop())
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                # Count blocks, not length: a sparse file takes less, many small files take more.
                total += max(int(status.st_blocks) * 512, _SMALLEST)
                if total > limit:
                    return total
                if stat.S_ISDIR(status.st_mode):
                    if len(descriptors) == _DEEPEST:
                        return limit + 1
                    descriptors.append(os.open(entry.name, _FOLDER, dir_fd=descriptors[-1]))
                    stack.append(os.scandir(descriptors[-1]))
            except FileNotFoundError:
                continue  # removed meanwhile
    except OSError:
        return limit + 1
    finally:
        for listing in stack:
            listing.close()
        for descriptor in descriptors:
            os.close(descriptor)
    return total
