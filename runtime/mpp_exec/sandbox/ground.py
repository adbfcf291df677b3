"""The ground of a plan: mounts that are the same for each of its calls, laid once (``native/ground.c``).

A tool that is called again with nothing prepared for it has its sandbox built there: what a call brings is
added to a copy, and no tool can write to what it shares with others. Nothing of a call is ever in it, no
process, and nothing of the host's but what the plan shows. It is used by calls of its plan that find every
source and every entry to be what it was laid from; any other is built on nothing, as ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.bounds import bounds_of
from mpp_exec.sandbox.mounted import MountTable
from mpp_exec.sandbox.native import ffi, init_program, lib
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.supervise import Bounds, launched

MOST: Final = 8
"""Grounds of one process."""

IDLE: Final = 60.0
"""Seconds between two calls: that of a tool which is called less often is let go."""

_MAKING_NS: Final = 2_000_000_000


class Ground:
    """What *message*, of a call, says of mounts, laid for others. Thread-safe.

    Attributes:
        fits: False once a call could not be built on it: what it was laid from is not there any more.

    Raises:
        InternalError: ``sandbox.ground``: this kernel cannot, or a source is not there. Nothing is left.
    """

    __slots__ = ("_slot", "fits")

    def __init__(self, message: bytes, bounds: Bounds) -> None:
        # Released with the last reference, also where an interruption lost it.
        self._slot = ffi.gc(ffi.new("struct mpp_ground **"), lib.mpp_ground_close)
        self.fits = True
        launch, _kept = launched(message, b"", bounds=bounds, wall_ns=_MAKING_NS, init_fd=init_program())
        outcome = ffi.new("struct mpp_outcome *")
        if lib.mpp_ground_make(launch, outcome, self._slot) != 0:
            raise InternalError("sandbox.ground", "no ground could be laid", "the call is made without one")

    @property
    def handle(self) -> Any:
        """What a launch takes (``struct mpp_ground *``), for as long as this object lives."""
        return self._slot[0]


FindGround = Callable[[bytes], Ground | None]
"""What returns the ground for a message of a plan, None where there is none."""


class _Place:
    """One plan that is called on demand, and its ground once it has one."""

    __slots__ = ("changes", "ground", "last", "plan")

    def __init__(self, plan: SandboxPlan) -> None:
        self.plan = plan
        self.ground: Ground | None = None
        self.changes: int | None = None
        self.last = 0.0


class Grounds:
    """The grounds of one process. Thread-safe.

    None outlives a change of what it was laid under (*basis*), of its plan or of the host's mounts, as far
    as anybody asks for one: it holds nothing that could be used meanwhile.
    """

    def __init__(self, most: int = MOST) -> None:
        """Keep *most* at a time."""
        self._most = most
        self._lock = threading.Lock()  # guards everything below
        self._places: dict[int, _Place] = {}  # by the plan's identity; that which was asked for last is last
        self._basis: object = None
        self._mounts: MountTable | None = None
        self._closed = False

    def of(self, plan: SandboxPlan, basis: object, message: bytes) -> Ground | None:
        """Return the ground of *plan* for a call of *message*, None where it is to be built on nothing.

        One is laid for the second call within ``IDLE``. *basis* is what holds now, beside the plan.
        """
        now = time.monotonic()
        with self._lock:
            gone = self._let_go(now, basis)
            place = self._places.pop(id(plan), None)
            # One with hosts needs the host's /proc while it is built, and a ground has none.
            if self._closed or plan.bare is not None or plan.streams:
                return None
            again = place is not None and place.plan is plan
            if place is None or not again:
                place = _Place(plan)
            place.last = now
            self._places[id(plan)] = place
            changes = self._changes()
            if place.ground is not None and (not place.ground.fits or place.changes != changes):
                gone.append(place.ground)
                place.ground = None
            if place.ground is not None or not again or changes is None:
                return place.ground
            place.changes = changes
        del gone  # freed here, and not beside whoever waits for the lock
        try:
            made = Ground(message, bounds_of(plan))
        except InternalError:
            made = None  # tried again by the next call
        with self._lock:
            if not self._closed and self._places.get(id(plan)) is place:
                place.ground = made
        return made

    def rest(self) -> None:
        """Let go what nobody has asked for in a while."""
        with self._lock:
            gone = self._let_go(time.monotonic(), self._basis)
        del gone

    def _let_go(self, now: float, basis: object) -> list[Ground]:
        """Forget what is not to be used any more; return the grounds among that."""
        changed, self._basis = basis != self._basis, basis
        gone: list[Ground] = []
        for key, place in list(self._places.items()):
            if changed or now - place.last > IDLE or len(self._places) > self._most:
                del self._places[key]
                if place.ground is not None:
                    gone.append(place.ground)
        return gone

    def _changes(self) -> int | None:
        if self._mounts is None:
            self._mounts = MountTable()
        return self._mounts.changes()

    def close(self) -> None:
        """Let all of them go. May be repeated; none is laid after it."""
        with self._lock:
            self._closed = True
            gone, self._places = self._places, {}
            if self._mounts is not None:
                self._mounts.close()
        del gone
