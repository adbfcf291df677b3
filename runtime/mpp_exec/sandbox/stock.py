"""What a pool keeps: which sandboxes wait, how many, and what they may have together.

The stock keeps sandboxes that are in demand and whose basis has not changed. All others, and those that are
too many, are killed here, and closed when they are dead. Methods that a caller may use at any moment require
the lock, and say so. Everything else is for the one thread that makes sandboxes.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from mpp_exec.errors import MppError
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.ground import Grounds
from mpp_exec.sandbox.mounted import MountTable
from mpp_exec.sandbox.parked import Parked, can_be_parked
from mpp_exec.sandbox.shelf import Recipe, Shelf

IDLE: Final = 60.0
"""Seconds without a call after which nothing is kept for a tool."""

AGE: Final = 300.0
"""Seconds after which a waiting sandbox is replaced: what a tool saw when it was imported grows old."""

_TOOLS_MAX: Final = (
    256  # whose calls are counted; of more, the one that was called the longest ago is forgotten
)


class Stock:
    """The sandboxes that wait, by tool, and those that are being ended.

    Args:
        cache: compiled programs.
        basis: returns what holds now; if it differs from what they were made under, or raises, they end.
        sandboxes: how many may wait at once, over all tools.
        memory: bytes that all waiting sandboxes may have together.
        keep_images: told for which packages, by digest, sandboxes are kept.
        grounds: what sandboxes that are no copies are built on; None for nothing.

    Attributes:
        lock: guards all other attributes, and those of its pool.
        shelves: those that wait, by ``Recipe.key``.
        dying: killed, and not all dead yet.
        leaving: as *dying*, after their call.
    """

    def __init__(
        self,
        cache: SandboxCache,
        basis: Callable[[], object],
        *,
        sandboxes: int,
        memory: int,
        keep_images: Callable[[frozenset[str]], None],
        grounds: Grounds | None = None,
    ) -> None:
        self._cache = cache
        self._basis = basis
        self._most = sandboxes
        self._memory = memory
        self._keep_images = keep_images
        self._grounds = grounds
        self._mounts: MountTable | None = None
        self._emptied: list[Shelf] = []  # with a template or a snapshot to be ended
        self.lock = threading.Condition()
        self.shelves: dict[tuple[int, str], Shelf] = {}
        self.dying: list[Parked] = []
        self.leaving: list[Parked] = []

    # -- with the lock -----------------------------------------------------------------------------

    @property
    def is_wanted(self) -> bool:
        """Whether anything waits, or is to. The caller has the lock."""
        return any(shelf.all or shelf.target for shelf in self.shelves.values())

    @property
    def is_ending(self) -> bool:
        """Whether anything that was killed is not known to be dead."""
        return bool(self.leaving or self.dying)

    def mounted(self) -> int | None:
        """Return what tells the host's mounts of now from those of another time. The caller has the lock."""
        if self._mounts is None:
            self._mounts = MountTable()
        return self._mounts.changes()

    def shelf_for(self, recipe: Recipe, now: float) -> Shelf | None:
        """Return where those of *recipe* wait, None where none may. The caller has the lock."""
        shelf = self.shelves.get(recipe.key)
        if shelf is None and not can_be_parked(recipe.plan):
            return None  # of what has a shelf that was asked: it is the same plan
        if shelf is not None and shelf.recipe.basis != recipe.basis:
            return None  # one of the two is out of date; the thread knows which
        if shelf is None or (not shelf.all and now - shelf.last_call > IDLE):
            self._put_away(recipe.key)
            shelf = self.shelves[recipe.key] = Shelf(recipe)
            self._forget()
        return shelf

    def _forget(self) -> None:
        """Forget the calls of a tool that nothing waits for, where there are too many."""
        idle = [key for key, shelf in self.shelves.items() if not shelf.all and shelf.last_call]
        if len(self.shelves) > _TOOLS_MAX and idle:
            self._put_away(min(idle, key=lambda key: self.shelves[key].last_call))

    def _put_away(self, key: tuple[int, str]) -> None:
        """Have a shelf no more, if there is one; the thread ends its sources. The caller has the lock."""
        shelf = self.shelves.pop(key, None)
        if shelf is not None and (shelf.template is not None or shelf.snapshot is not None):
            self._emptied.append(shelf)

    def close(self) -> None:
        """Let go of the table of mounts: nothing waits any more. The caller has the lock."""
        if self._mounts is not None:
            self._mounts.close()
            self._mounts = None

    # -- what is made ------------------------------------------------------------------------------

    def refill(self, now: float) -> bool:
        """Make what is missing and see whether what is being made is ready; return whether something is."""
        with self.lock:
            shelves = list(self.shelves.values())
        making = Counter({shelf.package: 0 for shelf in shelves})
        places = max(2, os.cpu_count() or 1)
        for shelf in shelves:
            making[shelf.package] += len(shelf.preparing)
        for shelf in shelves:
            if shelf.is_saving or shelf.missing(now):
                # One at a time: what another may come to is not known before that is there.
                may_begin = making.total() < places and not any(each.is_saving for each in shelves)
                shelf.saved(now, self._cache, self._left() if may_begin else 0)
                making[shelf.package] += shelf.is_saving
        for shelf in shelves:
            # One place is left to others: a tool may hang while it is prepared.
            while (
                making.total() < places
                and making[shelf.package] < places - 1
                and shelf.missing(now)
                and self._has_room(shelf)
            ):
                self._begin(shelf)
                making[shelf.package] += 1
        for shelf in shelves:
            for parked in list(shelf.preparing):
                self._see(shelf, parked)
        with self.lock:
            return any(shelf.preparing or shelf.is_saving for shelf in self.shelves.values())

    def _left(self) -> int:
        """Return how many bytes a snapshot may take beside what waits."""
        with self.lock:
            return max(0, self._memory - sum(shelf.resident for shelf in self.shelves.values()))

    def _has_room(self, wanted: Shelf) -> bool:
        """Return whether one more may wait for *wanted*; what is in less demand makes room for it."""
        with self.lock:
            waiting = [parked for shelf in self.shelves.values() for parked in shelf.all]
            used = sum(shelf.resident for shelf in self.shelves.values())
            used += sum(parked.resident for parked in self.dying)
            each = max((parked.resident for parked in wanted.all), default=0)
            if len(waiting) + len(self.dying) < self._most and used + each <= self._memory:
                return True
            if self.dying:
                return False  # what one of them leaves may be enough
            others = [shelf for shelf in self.shelves.values() if shelf is not wanted and shelf.ready]
            oldest = min(others, key=lambda shelf: shelf.last_call, default=None)
            if oldest is None or oldest.last_call >= wanted.last_call:
                return False
            oldest.target = max(0, len(oldest.ready) - 1)
            evicted = oldest.ready.pop(0)
        self.end([evicted])
        return False  # until it is dead

    def _begin(self, shelf: Shelf) -> None:
        recipe = shelf.recipe
        if not recipe.unchanged():
            shelf.back_off()
            return
        now = time.monotonic()
        with self.lock:
            mounted = self.mounted()
        snapshot = shelf.saved(now, self._cache, 0)
        template = shelf.source(now) if snapshot is None else None
        try:
            parked = recipe.begun(self._cache, mounted, template, snapshot, self._grounds)
        except MppError:
            shelf.back_off()  # the call itself will say why
            return
        if template is not None and not parked.is_copied:
            shelf.not_copied(now)
        shelf.preparing.append(parked)

    def _see(self, shelf: Shelf, made: Parked) -> None:
        parked: Parked | None = made
        state = made.look(5)
        if state == "preparing":
            return
        shelf.preparing.remove(made)
        # What it has imported meanwhile was what was verified, too; in an image it cannot be anything else.
        is_sound = state == "ready" and (made.image is not None or shelf.recipe.unchanged())
        with self.lock:
            if is_sound and self.shelves.get(shelf.recipe.key) is shelf:
                shelf.ready.append(made)
                shelf.copies_well = made.is_copied
                parked = None
        if parked is None:
            self._shrink()
        else:
            self._failed(shelf, parked)

    # -- what is ended -----------------------------------------------------------------------------

    def drop_outdated(self) -> None:
        """End what was made under something that holds no more, also by a call that came with it late."""
        try:
            now = self._basis()
        except MppError:
            now = object()  # a doubt is a change
        with self.lock:
            outdated = {key: shelf for key, shelf in self.shelves.items() if shelf.recipe.basis != now}
            for key in outdated:
                self._put_away(key)
            used = [shelf for shelf in self.shelves.values() if shelf.target or shelf.all]
        self.end([parked for shelf in outdated.values() for parked in shelf.all])
        self._keep_images(frozenset(shelf.recipe.plan.digest for shelf in used))

    def retire(self, now: float) -> None:
        """End what nobody has called for, what is old, and what is more than there is demand for."""
        gone: list[Parked] = []
        with self.lock:
            for key, shelf in list(self.shelves.items()):
                if now - shelf.last_call > IDLE:
                    gone += shelf.all
                    self._put_away(key)
                    continue
                shelf.decay(now)
                mounted = self.mounted()
                old = [
                    parked
                    for parked in shelf.ready
                    if now - parked.began > AGE or not parked.holds_mounts(mounted)
                ]
                kept = [parked for parked in shelf.ready if parked not in old]
                gone += [*old, *kept[shelf.target :]]
                shelf.ready = kept[: shelf.target]
            unwanted = [shelf for shelf in self.shelves.values() if not shelf.target and not shelf.all]
        for shelf in unwanted:
            shelf.drop_sources()
        if self._grounds is not None:
            self._grounds.rest()
        self.end(gone)

    def give_way(self) -> None:
        """End what waits. What is in demand is made anew by and by."""
        with self.lock:
            shelves = list(self.shelves.values())
        for shelf in shelves:
            with self.lock:
                gone, shelf.ready, shelf.preparing = shelf.all, [], []
                shelf.target = min(1, shelf.target)
            self.end(gone)
            shelf.back_off()

    def look_after(self) -> None:
        """Look at each one that waits: one that burns more than it may, or has died, is of no use."""
        with self.lock:
            waiting = [(shelf, parked) for shelf in self.shelves.values() for parked in shelf.ready]
        for shelf, parked in waiting:
            with self.lock:
                if parked not in shelf.ready:
                    continue  # it has its call
                shelf.ready.remove(parked)
            # Nobody else has it now.
            if parked.look() == "ready":
                with self.lock:
                    shelf.ready.insert(0, parked)
            else:
                self._failed(shelf, parked)

    def _shrink(self) -> None:
        """End what waits, the least called for first, until all of it is within the bound of memory."""
        while True:
            with self.lock:
                shelves = [shelf for shelf in self.shelves.values() if shelf.ready]
                used = sum(shelf.resident for shelf in shelves)
                if used <= self._memory:
                    return
                shelf = min(shelves, key=lambda shelf: shelf.last_call)
                parked = shelf.ready.pop(0)
                shelf.target = len(shelf.ready)
            self._failed(shelf, parked)

    def _failed(self, shelf: Shelf, parked: Parked) -> None:
        self.end([parked])
        if not parked.spoil_source():
            shelf.back_off()  # else the next one is made in the ordinary way, at once

    def empty(self) -> None:
        """Keep nothing, and wait until all that was killed is gone."""
        with self.lock:
            shelves = list(self.shelves.values())
            for key in list(self.shelves):
                self._put_away(key)
        self.end([parked for shelf in shelves for parked in shelf.all])
        with self.lock:
            killed = [*self.leaving, *self.dying]
            self.leaving.clear()
            self.dying.clear()
        self._drop_emptied()
        for parked in killed:
            parked.close()

    def drop_sources(self) -> None:
        """Have nothing that sandboxes are made of: no images, no templates, no snapshots."""
        self._keep_images(frozenset())
        with self.lock:
            for shelf in self.shelves.values():
                shelf.drop_sources()

    def end(self, gone: list[Parked]) -> None:
        """Kill them, all before any is waited for: a tool decides how long it takes to take down its own.

        The thread closes them as they die, and looks after the others meanwhile.
        """
        for parked in gone:
            parked.kill()
        with self.lock:
            self.dying += gone

    def bury(self) -> None:
        """Let go of what is dead, and wait for nobody."""
        with self.lock:
            killed = [*self.leaving, *self.dying]
        self._drop_emptied()
        for parked in killed:
            if parked.kill():
                parked.close()
                with self.lock:
                    (self.dying if parked in self.dying else self.leaving).remove(parked)

    def _drop_emptied(self) -> None:
        """End what the sandboxes of shelves came from that were put away."""
        with self.lock:
            emptied, self._emptied = self._emptied, []
        for shelf in emptied:
            shelf.drop_sources()
