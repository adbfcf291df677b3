"""The event loop of the process: the host's messages come first, sandboxes take turns, timers expire."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from mpp_exec.egress.addresses import may_be_dialled
from mpp_exec.egress.resolving import Resolve, Resolver, ask_host
from mpp_exec.egress.tenant import Tenant
from mpp_exec.egress.traffic import Traffic
from mpp_exec.vocabulary import HostPort

_LATER: Final = 1_024


class Later:
    """A scheduled call."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Cancel the scheduled call."""
        self.call = None


class Exchange:
    """All sandboxes of one host process.

    Args:
        links_max: connections at once, of all sandboxes.
        resolve: the addresses of a name; raises OSError where it has none.
        may_dial: whether a name may lead to an address.
    """

    def __init__(
        self,
        *,
        links_max: int = 1_000,
        resolve: Resolve = ask_host,
        may_dial: Callable[[str], bool] = may_be_dialled,
    ) -> None:
        self.links = 0
        self.links_max = links_max
        self.may_dial = may_dial
        self.resolver = Resolver(resolve)
        self._shares = Counter[str]()  # number of links, by owner
        self._tenants: dict[str, Tenant] = {}
        self._by_fd: dict[int, Tenant] = {}
        self._order = itertools.count()
        self._later: list[tuple[float, int, Later]] = []
        self._later_most = _LATER
        self._events = select.epoll()
        self._events.register(self.resolver.wake, select.EPOLLIN)

    def open(
        self,
        invocation: str,
        destinations: tuple[HostPort, ...],
        streams: list[socket.socket],
        names: socket.socket | None,
        whose: str = "",
    ) -> None:
        """Begin to serve a sandbox, and keep its sockets. *whose* as in ``Broker.open``.

        Raises:
            ValueError: the sandbox is already served.
        """
        if invocation in self._tenants:
            raise ValueError("it is open already")
        tenant = Tenant(self, whose or invocation, destinations, streams, names)
        self._tenants[invocation] = tenant
        self._by_fd[tenant.fileno()] = tenant
        self._events.register(tenant.fileno(), select.EPOLLIN)

    def end(self, invocation: str, *, drop: bool = False) -> Traffic:
        """End all connections of a sandbox, and return its traffic. *drop* as in ``Outlet.end``.

        Raises:
            ValueError: there is no such sandbox.
        """
        tenant = self._tenants.pop(invocation, None)
        if tenant is None:
            raise ValueError("it is not open")
        fd = next(fd for fd, each in self._by_fd.items() if each is tenant)
        del self._by_fd[fd]
        return tenant.end(drop=drop)

    def has_room(self, whose: str) -> bool:
        """Return whether, after one more connection, as many are left for others as *whose* has."""
        return self._shares[whose] <= self.links_max - self.links - 1

    def linked(self, whose: str, change: int) -> None:
        """Count a connection that has begun (1) or ended (-1)."""
        self.links += change
        self._shares[whose] += change
        if not self._shares[whose]:
            del self._shares[whose]

    def close(self) -> None:
        """End every sandbox, and close everything."""
        for invocation in list(self._tenants):
            self.end(invocation)
        self._events.close()
        self.resolver.close()

    def after(self, seconds: float, call: Callable[[], None]) -> Later:
        """Schedule *call* in *seconds*."""
        later = Later(call)
        if len(self._later) >= self._later_most:  # most are of connections that ended long before
            self._later = [each for each in self._later if each[2].call is not None]
            heapq.heapify(self._later)
            self._later_most = max(_LATER, 2 * len(self._later))
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), later))
        return later

    def run(self, control: int, read_control: Callable[[], bool]) -> None:
        """Go on until *read_control*, called when the descriptor *control* is readable, returns False."""
        self._events.register(control, select.EPOLLIN)
        while True:
            ready = self._ready()
            # No activity of a sandbox may delay its own end.
            if control in ready and not read_control():
                return
            self.turn(ready)

    def _ready(self) -> set[int]:
        return {fd for fd, _ in self._events.poll(self._wait())}

    def turn(self, ready: set[int] | None = None) -> None:
        """Give each sandbox in *ready* its turn; without *ready*, wait until one is ready."""
        ready = self._ready() if ready is None else ready
        if self.resolver.wake in ready:
            self.resolver.deliver()
        for fd in ready:
            tenant = self._by_fd.get(fd)
            if tenant is not None:
                tenant.turn()
        self._pass_time()

    def _wait(self) -> float | None:
        while self._later and self._later[0][2].call is None:
            heapq.heappop(self._later)
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _pass_time(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            call = heapq.heappop(self._later)[2].call
            if call is not None:
                call()
