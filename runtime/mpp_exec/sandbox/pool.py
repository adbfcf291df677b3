"""Sandboxes that wait for the calls to come: as many as are used, and none where nobody calls.

A tool that is called twice within ``IDLE`` seconds gets a sandbox prepared for its next call; one that is
called faster than they are made gets more of them, up to what the pool may hold. One sandbox serves one call.
What the tool burns while it waits, a change of the home or of policy, another plan, age and idleness end
them.

One thread makes and watches them. It exists while there are any, those at work included: a sandbox is killed
by the kernel when the thread that made it ends (``PR_SET_PDEATHSIG`` follows the thread).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mpp_exec.errors import InternalError, MppError
from mpp_exec.sandbox.alarm import Alarm
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.mounted import MountTable
from mpp_exec.sandbox.parked import Parked, can_be_parked
from mpp_exec.sandbox.shelf import Recipe, Shelf

IDLE: Final = 60.0
"""Seconds without a call after which nothing is kept for a tool."""

AGE: Final = 300.0
"""Seconds after which a waiting sandbox is replaced: what a tool saw when it was imported grows old."""

PERIOD: Final = 0.2
"""Seconds between two looks at whether what they were made from still holds."""

SANDBOXES: Final = 16

LEAVING: Final = 8
"""Sandboxes whose call is over and that the kernel may still be freeing; a call beyond waits for its own."""

MEMORY: Final = 256 << 20

_PATIENCE: Final = 0.25  # seconds in which a copy for one call has to be ready
_REST: Final = 0.003  # seconds after a call in which its caller does something with the result
_ROUND: Final = 0.002  # seconds between two looks at what is being prepared: it may talk all the time
_LOOK_AFTER: Final = 1.0  # seconds between two looks at what each of them uses
_BURY_AFTER: Final = 0.02  # seconds between two looks at whether what was killed is dead
_LINGER: Final = 2.0  # seconds that the thread stays with nothing to keep
_TOOLS_MAX: Final = (
    256  # whose calls are counted; of more, the one that was called the longest ago is forgotten
)


class Pool:
    """The prepared sandboxes of one process. Thread-safe.

    Args:
        cache: compiled programs.
        basis: returns what holds now; where it is not what they were made under, or raises, they end.
        sandboxes: how many may wait at once, over all tools; 0 for none.
        memory: bytes that all that wait may have together.
        keep_images: told for which packages, by digest, sandboxes are kept.
        at_rest: done by the thread when a call has been over for a moment, for whoever put something off.
    """

    def __init__(
        self,
        cache: SandboxCache,
        basis: Callable[[], object],
        *,
        sandboxes: int = SANDBOXES,
        memory: int = MEMORY,
        keep_images: Callable[[frozenset[str]], None] = lambda _: None,
        at_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._cache = cache
        self._at_rest = at_rest
        self._keep_images = keep_images
        self._alarm: Alarm | None = None
        self._basis = basis
        self._most = sandboxes
        self._memory = memory
        self._mounts: MountTable | None = None
        self._wake = threading.Condition()  # guards everything below
        self._shelves: dict[tuple[int, str], Shelf] = {}
        self._leaving: list[Parked] = []
        self._lent: weakref.WeakSet[Parked] = weakref.WeakSet()  # one that an interruption lost is not in it
        self._dying: list[Parked] = []  # for the thread to close: killed, and not all dead yet
        self._copying = 0  # callers that make one from a template at this moment
        self._emptied: list[Shelf] = []  # with a template to be ended
        self._thread: threading.Thread | None = None
        self._closing = False
        self._is_put_off = False
        self._gives_way = False

    @contextmanager
    def lent(self, recipe: Recipe) -> Iterator[Parked | None]:
        """Yield a prepared sandbox of *recipe* for one call, None where none is.."""
        parked = self._take(recipe) or self._copied(recipe)
        try:
            yield parked
        finally:
            if parked is not None and not self._takes_leave(parked):
                parked.close()
            with self._wake:
                if parked is not None:
                    self._lent.discard(parked)
                    if (shelf := self._shelves.get(recipe.key)) is not None:
                        shelf.failures = 0  # it has served a call; to have been ready is no merit
                if self._closing:
                    self._wake.notify_all()

    def call_is_over(self) -> bool:
        """Let another one be made: when the caller has what it asked for, and not beside that.

        Returns whether there is a thread that does so, and what was to be done at rest.
        """
        with self._wake:
            if self._thread is None or not self._thread.is_alive() or self._closing or self._alarm is None:
                return False
            self._alarm.soon(_REST)
            self._is_put_off = True
            return True

    def make_room(self) -> None:
        """End what waits: others have no namespaces left. What is in demand is made anew by and by."""
        with self._wake:
            self._gives_way = True
            if self._alarm is not None:
                self._alarm.now()

    def _takes_leave(self, parked: Parked) -> bool:
        """Return whether the thread waits for the end of one that is dead: of a few at once only."""
        with self._wake:
            alive = self._thread is not None and self._thread.is_alive()
            if not parked.is_leaving or not alive or len(self._leaving) >= LEAVING:
                return False
            self._leaving.append(parked)
            return True

    @property
    def waiting(self) -> int:
        """How many are ready for a call."""
        with self._wake:
            return sum(len(shelf.ready) for shelf in self._shelves.values())

    def close(self) -> None:
        """End all of them, and the thread. Those that are lent are waited for."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            if self._alarm is not None:
                self._alarm.now()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._wake:
            if self._alarm is not None:
                self._alarm.close()
                self._alarm = None
            if self._mounts is not None:
                self._mounts.close()
                self._mounts = None

    def _mounted(self) -> int | None:
        """Return what tells the host's mounts from those of another moment. The caller has the lock."""
        if self._mounts is None:
            self._mounts = MountTable()
        return self._mounts.changes()

    def _take(self, recipe: Recipe) -> Parked | None:
        if self._most == 0:
            return None
        now = time.monotonic()
        with self._wake:
            if self._closing:
                return None
            shelf = self._shelves.get(recipe.key)
            if shelf is None and not can_be_parked(recipe.plan):
                return None  # of what has a shelf that was asked: it is the same plan
            if shelf is not None and shelf.recipe.basis != recipe.basis:
                return None  # one of the two is out of date; the thread knows which
            if shelf is None or (not shelf.all and now - shelf.last_call > IDLE):
                self._put_away(recipe.key)
                shelf = self._shelves[recipe.key] = Shelf(recipe)
                self._forget()
            shelf.called(now)
            parked = shelf.ready[-1] if shelf.ready else None
            if parked is not None and parked.holds_mounts(self._mounted()):
                shelf.ready.pop()
            else:
                parked = None  # the thread ends what is there
            if parked is not None:
                self._lent.add(parked)
            elif shelf.calls > 1:
                shelf.missed(now, self._most)
            self._start()
        return parked

    def _copied(self, recipe: Recipe) -> Parked | None:
        """Return one that is copied for this call, where others were: that takes less than to start Python.

        It waits for its call like any other, for a moment. None where the call is to make its own.
        """
        with self._wake:
            shelf = self._shelves.get(recipe.key)
            alive = self._thread is not None and self._thread.is_alive() and not self._closing
            if not alive or shelf is None or shelf.recipe.basis != recipe.basis:
                return None
            # One that fails as it waits does not wait here either.
            if not shelf.copies_well or shelf.failures:
                return None
            template, mounted = shelf.template, self._mounted()
            self._copying += 1  # the thread stays: what it has made a template of ends with it
        parked = None
        try:
            if template is None or not template.serves:
                return None  # the thread makes another one, when it has something to prepare
            parked = recipe.begun(self._cache, mounted, template)
            limit = time.monotonic() + _PATIENCE
            while parked.is_copied and parked.look(20) == "preparing" and time.monotonic() < limit:
                pass
            sound = parked.is_copied and parked.state == "ready" and recipe.unchanged()
            with self._wake:
                if sound:
                    self._lent.add(parked)
                    return parked
                shelf.copies_well = False
        except MppError:
            pass  # the call itself will say why
        finally:
            with self._wake:
                self._copying -= 1
                if parked is not None and parked not in self._lent:
                    parked.kill()
                    self._dying.append(parked)
        return None

    def _forget(self) -> None:
        """Forget the calls of a tool that nothing waits for, where there are too many."""
        idle = [key for key, shelf in self._shelves.items() if not shelf.all and shelf.last_call]
        if len(self._shelves) > _TOOLS_MAX and idle:
            self._put_away(min(idle, key=lambda key: self._shelves[key].last_call))

    def _put_away(self, key: tuple[int, str]) -> None:
        """Have a shelf no more, if there is one; the thread ends its template. The caller has the lock."""
        shelf = self._shelves.pop(key, None)
        if shelf is not None and shelf.template is not None:
            self._emptied.append(shelf)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            try:
                self._alarm = self._alarm or Alarm()
            except InternalError:
                return  # no descriptor: nothing is prepared
            self._thread = threading.Thread(target=self._keep, name="mpp-exec-pool", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread: nothing is prepared
                self._thread.start()

    # -- the thread --------------------------------------------------------------------------------

    def _keep(self) -> None:
        looked_after = idle_since = time.monotonic()
        try:
            while not self._is_over(idle_since):
                self._drop_outdated()
                now = time.monotonic()
                self._retire(now)
                self._give_way()
                if now - looked_after >= _LOOK_AFTER:
                    looked_after = now
                    self._look_after()
                busy = self._prepare(now)
                with self._wake:
                    used = any(shelf.all or shelf.target for shelf in self._shelves.values())
                    if self._lent or self._copying or self._leaving or self._dying or used:
                        idle_since = now
                    closing, alarm = self._closing, self._alarm
                if not closing and alarm is not None and alarm.wait(_ROUND if busy else self._until_dead()):
                    self._rest()
        except BaseException:
            self._keep_images(frozenset())
            self._empty()
            self._see_off()
            raise

    def _give_way(self) -> None:
        with self._wake:
            gives_way, self._gives_way = self._gives_way, False
            shelves = list(self._shelves.values()) if gives_way else []
        for shelf in shelves:
            with self._wake:
                gone, shelf.ready, shelf.preparing = shelf.all, [], []
                shelf.target = min(1, shelf.target)
            self._end(gone)
            shelf.back_off()

    def _rest(self) -> None:
        """Do what was put off while a call was made."""
        with self._wake:
            put_off, self._is_put_off = self._is_put_off, False
        if put_off:
            self._at_rest()

    def _until_dead(self) -> float:
        """Return how long to wait for the next round, in which what was killed may be dead."""
        return _BURY_AFTER if self._leaving or self._dying else PERIOD

    def _bury(self) -> None:
        """Let go of what is dead, and wait for nobody."""
        with self._wake:
            killed = [*self._leaving, *self._dying]
        self._drop_emptied()
        for parked in killed:
            if parked.kill():
                parked.close()
                with self._wake:
                    (self._dying if parked in self._dying else self._leaving).remove(parked)

    def _drop_emptied(self) -> None:
        """End the templates of shelves that were put away."""
        with self._wake:
            emptied, self._emptied = self._emptied, []
        for shelf in emptied:
            shelf.drop_template()

    def _see_off(self) -> None:
        """Wait until all that was killed is gone."""
        with self._wake:
            killed = [*self._leaving, *self._dying]
            self._leaving.clear()
            self._dying.clear()
        self._drop_emptied()
        for parked in killed:
            parked.close()

    def _is_over(self, idle_since: float) -> bool:
        """Whether the thread may end: nothing waits. A sandbox that is lent would be killed by that."""
        self._bury()
        with self._wake:
            # Asked for since the last round, perhaps: whoever did saw that this thread lives.
            wanted = any(shelf.all or shelf.target for shelf in self._shelves.values())
            wanted = wanted or bool(self._leaving or self._dying or self._is_put_off)
            over = self._closing or (not wanted and time.monotonic() - idle_since > _LINGER)
            if over and (self._lent or self._copying):
                self._wake.wait(PERIOD)
                return False
            if over:
                self._keep_images(frozenset())
                for shelf in self._shelves.values():
                    shelf.drop_template()  # they would end with this thread
                self._thread = None  # under the lock: the next call starts another
                if self._closing:
                    self._empty()
                    self._see_off()
            return over

    def _drop_outdated(self) -> None:
        """End what was made under something that holds no more, also by a call that came with it late."""
        try:
            now = self._basis()
        except MppError:
            now = object()  # a doubt is a change
        with self._wake:
            outdated = {key: shelf for key, shelf in self._shelves.items() if shelf.recipe.basis != now}
            for key in outdated:
                self._put_away(key)
            used = [shelf for shelf in self._shelves.values() if shelf.target or shelf.all]
        self._end([parked for shelf in outdated.values() for parked in shelf.all])
        self._keep_images(frozenset(shelf.recipe.plan.digest for shelf in used))

    def _empty(self) -> None:
        with self._wake:
            shelves = list(self._shelves.values())
            for key in list(self._shelves):
                self._put_away(key)
        self._end([parked for shelf in shelves for parked in shelf.all])

    def _end(self, gone: list[Parked]) -> None:
        """Kill them, all before any is waited for: a tool decides how long it takes to take down its own.

        The thread closes them as they die, and looks after the others meanwhile.
        """
        for parked in gone:
            parked.kill()
        self._dying += gone

    def _retire(self, now: float) -> None:
        """End what nobody has called for, what is old, and what is more than there is demand for."""
        gone: list[Parked] = []
        with self._wake:
            for key, shelf in list(self._shelves.items()):
                if now - shelf.last_call > IDLE:
                    gone += shelf.all
                    self._put_away(key)
                    continue
                shelf.decay(now)
                mounted = self._mounted()
                old = [
                    parked
                    for parked in shelf.ready
                    if now - parked.began > AGE or not parked.holds_mounts(mounted)
                ]
                kept = [parked for parked in shelf.ready if parked not in old]
                gone += [*old, *kept[shelf.target :]]
                shelf.ready = kept[: shelf.target]
            unwanted = [shelf for shelf in self._shelves.values() if not shelf.target and not shelf.all]
        for shelf in unwanted:
            shelf.drop_template()
        self._end(gone)

    def _look_after(self) -> None:
        with self._wake:
            waiting = [(shelf, parked) for shelf in self._shelves.values() for parked in shelf.ready]
        for shelf, parked in waiting:
            with self._wake:
                if parked not in shelf.ready:
                    continue  # it has its call
                shelf.ready.remove(parked)
            # Nobody else has it now.
            if parked.look() == "ready":
                with self._wake:
                    shelf.ready.insert(0, parked)
            else:
                self._failed(shelf, parked)

    def _shrink(self) -> None:
        """End what waits, the least called for first, until all of it is within the bound of memory."""
        while True:
            with self._wake:
                shelves = [shelf for shelf in self._shelves.values() if shelf.ready]
                used = sum(shelf.resident for shelf in shelves)
                if used <= self._memory:
                    return
                shelf = min(shelves, key=lambda shelf: shelf.last_call)
                parked = shelf.ready.pop(0)
                shelf.target = len(shelf.ready)
            self._failed(shelf, parked)

    def _prepare(self, now: float) -> bool:
        """Make what is missing and see whether what is being made is ready; return whether something is."""
        with self._wake:
            shelves = [] if self._closing else list(self._shelves.values())
        making = Counter({shelf.package: 0 for shelf in shelves})
        for shelf in shelves:
            making[shelf.package] += len(shelf.preparing)
        places = max(2, os.cpu_count() or 1)
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
        with self._wake:
            return not self._closing and any(shelf.preparing for shelf in self._shelves.values())

    def _begin(self, shelf: Shelf) -> None:
        recipe = shelf.recipe
        if not recipe.unchanged():
            shelf.back_off()
            return
        now = time.monotonic()
        with self._wake:
            mounted = self._mounted()
        template = shelf.source(now)
        try:
            parked = recipe.begun(self._cache, mounted, template)
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
        with self._wake:
            if is_sound and self._shelves.get(shelf.recipe.key) is shelf:
                shelf.ready.append(made)
                shelf.copies_well = made.is_copied
                parked = None
        if parked is None:
            self._shrink()
        else:
            self._failed(shelf, parked)

    def _failed(self, shelf: Shelf, parked: Parked) -> None:
        self._end([parked])
        shelf.back_off()

    def _has_room(self, wanted: Shelf) -> bool:
        """Return whether one more may wait for *wanted*; what is in less demand makes room for it."""
        with self._wake:
            waiting = [parked for shelf in self._shelves.values() for parked in shelf.all]
            used = sum(shelf.resident for shelf in self._shelves.values())
            used += sum(parked.resident for parked in self._dying)
            each = max((parked.resident for parked in wanted.all), default=0)
            if len(waiting) + len(self._dying) < self._most and used + each <= self._memory:
                return True
            if self._dying:
                return False  # what one of them leaves may be enough
            others = [shelf for shelf in self._shelves.values() if shelf is not wanted and shelf.ready]
            oldest = min(others, key=lambda shelf: shelf.last_call, default=None)
            if oldest is None or oldest.last_call >= wanted.last_call:
                return False
            oldest.target = max(0, len(oldest.ready) - 1)
            evicted = oldest.ready.pop(0)
        self._end([evicted])
        return False  # until it is dead
