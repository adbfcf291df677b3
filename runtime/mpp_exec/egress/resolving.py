"""Asks the host's resolver for the addresses of names, in a few threads, since the resolver blocks.

Sandboxes take turns, and each has at most a few names being resolved: a sandbox whose names are slow delays
only itself. A thread that waits for a name server cannot be cancelled; its answer is dropped if it is no
longer wanted.
"""

from __future__ import annotations

import _thread
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mpp_exec.egress.granted import is_address

THREADS_MAX: Final = 16
EACH_MAX: Final = 4
"""Names that are being resolved at once: for all, and for one sandbox."""

Resolve = Callable[[str, int], list[str]]


def ask_host(name: str, port: int) -> list[str]:
    """Return the addresses of *name* from the host's resolver, in the order to try them.

    Raises:
        OSError: the resolver has none.
    """
    # Pass bytes: text would be encoded again, which imports a module.
    found = socket.getaddrinfo(name.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


@dataclass(slots=True, eq=False)
class Job:
    """A name to resolve for a sandbox; *done* is called with its addresses, or with an empty list."""

    whose: str
    name: str
    port: int
    done: Callable[[list[str]], None]


@dataclass(slots=True)
class _Queue:
    """The jobs of one sandbox."""

    jobs: deque[Job] = field(default_factory=deque)
    running: int = 0


class Resolver:
    """Resolves names for many sandboxes. Only the loop's thread may call methods other than ``_work``.

    Attributes:
        wake: a descriptor that is readable when there are answers to :meth:`deliver`.
    """

    def __init__(self, resolve: Resolve = ask_host) -> None:
        self._resolve = resolve
        self._free = threading.Semaphore(0)
        self._queues: dict[str, _Queue] = {}
        self._ready: deque[Job] = deque()
        self._answers: deque[tuple[Job, list[str]]] = deque()
        self._running = 0
        self._threads = 0
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = threading.Lock()
        self._is_closed = False

    def ask(self, job: Job) -> None:
        """Queue *job*."""
        self._queues.setdefault(job.whose, _Queue()).jobs.append(job)
        self._begin()

    def drop(self, job: Job) -> None:
        """Never call ``done`` of *job*: a waiting job is not begun, a running job is not waited for."""
        job.done = _nobody
        queue = self._queues.get(job.whose)
        if queue is not None and job in queue.jobs:
            queue.jobs.remove(job)
            self._drop_if_idle(job.whose)

    def deliver(self) -> None:
        """Deliver the answers that have arrived."""
        os.eventfd_read(self.wake)
        while self._answers:
            job, addresses = self._answers.popleft()
            self._running -= 1
            self._queues[job.whose].running -= 1
            self._drop_if_idle(job.whose)
            job.done(addresses)
        self._begin()

    def close(self) -> None:
        """Make the threads end, each when it has its answer; no job may be queued afterwards."""
        for _ in range(self._threads):
            self._free.release()
        with self._waking:  # its number may be another file's as soon as it is closed
            self._is_closed = True
            os.close(self.wake)

    def _drop_if_idle(self, whose: str) -> None:
        queue = self._queues[whose]
        if not queue.jobs and not queue.running:
            del self._queues[whose]

    def _begin(self) -> None:
        """Start the jobs that may run, one of each sandbox in turn."""
        while self._running < THREADS_MAX:
            whose = next((w for w, q in self._queues.items() if q.jobs and q.running < EACH_MAX), None)
            if whose is None:
                return
            queue = self._queues.pop(whose)
            self._queues[whose] = queue  # at the end now
            self._ready.append(queue.jobs.popleft())
            queue.running += 1
            self._running += 1
            if self._running > self._threads:
                self._add_thread()
            if self._threads:
                self._free.release()
            else:  # nobody would do it: it has no addresses, as far as anybody can tell
                self._answers.append((self._ready.pop(), []))
                os.eventfd_write(self.wake, 1)

    def _add_thread(self) -> None:
        """Have one more thread. Where none can be had, what waits is for those that there are."""
        with suppress(RuntimeError):
            _thread.start_new_thread(self._work, ())
            self._threads += 1

    def _work(self) -> None:
        while True:
            self._free.acquire()
            if not self._ready:
                return
            job = self._ready.popleft()
            try:
                addresses = [each for each in self._resolve(job.name, job.port) if is_address(each)]
            except (OSError, UnicodeError, ValueError):
                addresses = []
            self._answers.append((job, addresses))
            with self._waking:
                if self._is_closed:
                    return
                os.eventfd_write(self.wake, 1)


def _nobody(_: list[str]) -> None:
    """Nobody is to be told."""
