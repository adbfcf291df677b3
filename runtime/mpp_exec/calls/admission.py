"""How many sandboxes run at once in one process, and in which order callers wait for their turn.

Packages take turns, and so do the clients of a shared runtime. A caller that calls one slow tool most often
therefore does not make the others wait for all of its calls. Calls of one package by one client are served
in the order in which they arrive. A caller waits no longer than its deadline, and can be cancelled while it
waits. It is refused at once if too many callers are waiting. A call holds no place while a person is asked.

A client of a shared runtime gets no more places than it leaves free. So the next client finds some, however
slow the tools of the first one are and whatever it asks for.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from mpp_exec.errors import InternalError, UsageError
from mpp_exec.waits import event

MOST_WAITING: Final = 1000
"""Calls that may wait in one process."""

_PER_PROCESSOR: Final = 8  # tools wait for disks, servers and people more than they compute
_MEMORY: Final = 256 << 20  # bytes; what a sandbox may use by default
_LONGEST: Final = 3_600_000  # ms; poll(2) is asked again after that

Entered = Literal["at once", "later", "timeout", "cancelled"]


def default_bound() -> int:
    """Return the default number of sandboxes that run at once; it follows from processors and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(_PER_PROCESSOR * len(os.sched_getaffinity(0)), memory // _MEMORY))


class _Ticket:
    """One caller; *fd* is an eventfd that becomes readable at its turn, or -1 while it need not wait."""

    __slots__ = ("client", "fd", "share")

    def __init__(self, share: str, client: str) -> None:
        self.fd = -1
        self.share = share
        self.client = client


class Admission:
    """Admits callers to the sandboxes of one process. Thread-safe."""

    def __init__(self, bound: int, *, waiting: int = MOST_WAITING) -> None:
        self.bound = bound
        self.waiting = waiting
        self._lock = threading.RLock()
        self._inside: set[_Ticket] = set()
        self._held: Counter[str] = Counter()  # places by client, for clients that have a name
        self._queues: dict[str, deque[_Ticket]] = {}  # by share, in turn order; none is empty
        self._closed = False

    @property
    def is_alone(self) -> bool:
        """Whether at most one caller has its turn."""
        return len(self._inside) <= 1

    @property
    def queued(self) -> int:
        """The number of waiting callers."""
        with self._lock:
            return sum(map(len, self._queues.values()))

    @contextmanager
    def admitted(
        self, share: str, cancel_fd: int, deadline: float | None, *, client: str = ""
    ) -> Iterator[Entered]:
        """Wait for a turn of *share* (package and client) and yield how the wait ended.

        The turn ends with the block. If this yields ``timeout`` or ``cancelled``, nothing may run.

        *client* names one client of a shared runtime; it is "" if the runtime is not shared. *deadline* is
        a time of ``time.perf_counter``, None for no deadline. *cancel_fd* becomes readable when the call is
        cancelled.

        Raises:
            InternalError: ``call.busy``: too many callers wait; ``host.exhausted``: no descriptor is left.
            UsageError: ``runtime.closed``.
        """
        ticket = _Ticket(share, client)
        try:
            entered: Entered = "timeout"
            if deadline is None or time.perf_counter() < deadline:
                entered = "at once" if self._enter(ticket) else self._wait(ticket, cancel_fd, deadline)
            yield entered
        finally:
            self._leave(ticket)

    def busy(self, waiting: int) -> InternalError:
        """Return the error for a call that finds *waiting* other callers in the queues."""
        return InternalError(
            "call.busy",
            f"{self.bound} sandboxes run at once, and {waiting} calls wait",
            "call again later, or let more run at once: Runtime(sandboxes=N)",
        )

    def close(self) -> None:
        """Turn away every waiting caller and every later one."""
        with self._lock:
            self._closed = True
            for queue in self._queues.values():
                for ticket in queue:
                    os.eventfd_write(ticket.fd, 1)

    def _enter(self, ticket: _Ticket) -> bool:
        with self._lock:
            self.refuse_closed()
            # A caller that waits although there is room waits for places of its own client.
            if self._may_enter(ticket) and ticket.share not in self._queues:
                self._let_in(ticket)
                return True
            if (waiting := self.queued) >= self.waiting:
                raise self.busy(waiting)
            ticket.fd = event("the call to wait with")
            self._queues.setdefault(ticket.share, deque()).append(ticket)
            return False

    def _wait(self, ticket: _Ticket, cancel_fd: int, deadline: float | None) -> Entered:
        waiting = select.poll()
        waiting.register(ticket.fd, select.POLLIN)
        waiting.register(cancel_fd, select.POLLIN)
        while True:
            left = None if deadline is None else deadline - time.perf_counter()
            if left is not None and left <= 0:
                return "timeout"
            ready = dict(waiting.poll(_LONGEST if left is None else min(_LONGEST, int(left * 1000) + 1)))
            if cancel_fd in ready:
                return "cancelled"
            if ticket.fd in ready:
                with self._lock:
                    self.refuse_closed()
                return "later"

    def _leave(self, ticket: _Ticket) -> None:
        with self._lock:
            if ticket in self._inside:
                self._inside.remove(ticket)
                self._held[ticket.client] -= 1
                if self._held[ticket.client] <= 0:
                    del self._held[ticket.client]
            queue = self._queues.get(ticket.share)
            if queue is not None and ticket in queue:
                queue.remove(ticket)
                if not queue:
                    del self._queues[ticket.share]
            if ticket.fd >= 0:
                os.close(ticket.fd)
                ticket.fd = -1
            while (following := self._next()) is not None:
                self._let_in(following)
                os.eventfd_write(following.fd, 1)

    def _may_enter(self, ticket: _Ticket) -> bool:
        free = self.bound - len(self._inside)
        return free > (self._held[ticket.client] if ticket.client else 0)

    def _let_in(self, ticket: _Ticket) -> None:
        self._inside.add(ticket)
        self._held[ticket.client] += 1

    def _next(self) -> _Ticket | None:
        """Remove and return the first caller of the queue whose turn it is; that queue then goes last.

        Return None if no caller may enter.
        """
        share = next((name for name, queue in self._queues.items() if self._may_enter(queue[0])), None)
        if share is None:
            return None
        queue = self._queues.pop(share)
        ticket = queue.popleft()
        if queue:
            self._queues[share] = queue
        return ticket

    def refuse_closed(self) -> None:
        """Raise if this is closed.

        Raises:
            UsageError: ``runtime.closed``.
        """
        if self._closed:
            raise UsageError("runtime.closed", "the runtime is closed", "open another one")
