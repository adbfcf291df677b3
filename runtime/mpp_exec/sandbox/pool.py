"""Sandboxes that wait for coming calls: as many as are used, and none if nobody calls.

A tool that is called twice within a minute gets a sandbox prepared for its next call. A tool that is called
faster than sandboxes are made gets more of them, up to what the pool may hold. One sandbox serves one call.
A waiting sandbox ends when its tool uses too much while it waits, on a change of the home or of the policy,
for another plan, by age and by idleness (``stock``).

One thread makes and watches the sandboxes. It lives while there are any, those at work included, because the
kernel kills a sandbox when the thread that made it ends (``PR_SET_PDEATHSIG`` follows the thread).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mpp_exec.errors import InternalError, MppError
from mpp_exec.sandbox.alarm import Alarm
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.ground import Grounds
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.shelf import Recipe
from mpp_exec.sandbox.stock import Stock
from mpp_exec.waits import ended_by

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
_GIVEN_UP: Final = 1.0  # seconds that the thread has once nobody waits for what is lent
_BURY_AFTER: Final = 0.02  # seconds between two looks at whether what was killed is dead
_LINGER: Final = 2.0  # seconds that the thread stays with nothing to keep


class Pool:
    """The prepared sandboxes of one process. Thread-safe.

    Args:
        cache: compiled programs.
        basis: returns what holds now; where it is not what they were made under, or raises, they end.
        sandboxes: how many may wait at once, over all tools; 0 for none.
        memory: bytes that all that wait may have together.
        keep_images: told for which packages, by digest, sandboxes are kept.
        grounds: what is built on them that is no copy; None for nothing.
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
        grounds: Grounds | None = None,
    ) -> None:
        self._cache = cache
        self._at_rest = at_rest
        self._most = sandboxes
        self._stock = Stock(
            cache, basis, sandboxes=sandboxes, memory=memory, keep_images=keep_images, grounds=grounds
        )
        self._wake = self._stock.lock  # guards everything below
        self._alarm: Alarm | None = None
        self._lent: weakref.WeakSet[Parked] = weakref.WeakSet()  # one that an interruption lost is not in it
        self._copying = 0  # callers that make one from a template at this moment
        self._thread: threading.Thread | None = None
        self._closing = False
        self._leaves_lent = False
        self._is_put_off = False
        self._gives_way = False

    @contextmanager
    def lent(self, recipe: Recipe) -> Iterator[Parked | None]:
        """Yield a prepared sandbox of *recipe* for one call, None where none is."""
        parked = self._take(recipe) or self._copied(recipe)
        try:
            yield parked
        finally:
            if parked is not None and not self._takes_leave(parked):
                parked.close()
            with self._wake:
                if parked is not None:
                    self._lent.discard(parked)
                    if (shelf := self._stock.shelves.get(recipe.key)) is not None:
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
        """Return whether it is dead, and the thread waits for the rest: for that of a few at once only."""
        has_left = parked.has_left()
        with self._wake:
            alive = self._thread is not None and self._thread.is_alive()
            if not has_left or not alive or len(self._stock.leaving) >= LEAVING:
                return False
            self._stock.leaving.append(parked)
            return True

    @property
    def waiting(self) -> int:
        """How many are ready for a call."""
        with self._wake:
            return sum(len(shelf.ready) for shelf in self._stock.shelves.values())

    def close(self, until: float = math.inf) -> bool:
        """End all of them, and the thread; return whether they have ended. Lent ones are waited for.

        They are waited for until *until* (of ``time.monotonic``) at the latest. Then the thread ends all the
        same, and the kernel kills what the thread has made. So no lent sandbox outlives a closed runtime.
        """
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            if self._alarm is not None:
                self._alarm.now()
            thread = self._thread
        in_time = ended_by(until, thread)
        if not in_time:
            self._leaves_lent = True
            if not ended_by(time.monotonic() + _GIVEN_UP, thread):
                return False  # it hangs in something, perhaps with the lock
        with self._wake:
            if self._alarm is not None:
                self._alarm.close()
                self._alarm = None
            self._stock.close()
        return in_time

    def _take(self, recipe: Recipe) -> Parked | None:
        if self._most == 0:
            return None
        now = time.monotonic()
        with self._wake:
            if self._closing:
                return None
            shelf = self._stock.shelf_for(recipe, now)
            if shelf is None:
                return None
            shelf.called(now)
            parked = shelf.ready[-1] if shelf.ready else None
            if parked is not None and parked.holds_mounts(self._stock.mounted()):
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
            shelf = self._stock.shelves.get(recipe.key)
            alive = self._thread is not None and self._thread.is_alive() and not self._closing
            if not alive or shelf is None or shelf.recipe.basis != recipe.basis:
                return None
            # One that fails as it waits does not wait here either.
            if not shelf.copies_well or shelf.failures:
                return None
            template, snapshot, mounted = shelf.template, shelf.snapshot, self._stock.mounted()
            self._copying += 1  # the thread stays: what it has made a template of ends with it
        parked = None
        try:
            if snapshot is not None and not snapshot.serves:
                snapshot = None
            if snapshot is None and (template is None or not template.serves):
                return None  # the thread makes another one, when it has something to prepare
            parked = recipe.begun(self._cache, mounted, template, snapshot)
            limit = time.monotonic() + _PATIENCE
            while parked.is_copied and parked.look(20) == "preparing" and time.monotonic() < limit:
                pass
            sound = parked.is_copied and parked.state == "ready" and recipe.unchanged()
            with self._wake:
                if sound:
                    self._lent.add(parked)
                    return parked
                if parked.state == "ended":  # and not only late
                    parked.spoil_source()
                shelf.copies_well = False
        except MppError:
            pass  # the call itself will say why
        finally:
            with self._wake:
                self._copying -= 1
                if parked is not None and parked not in self._lent:
                    self._stock.end([parked])
        return None

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            try:
                self._alarm = self._alarm or Alarm()
            except InternalError:
                return  # no descriptor: nothing is prepared
            thread = threading.Thread(target=self._keep, name="mpp-exec-pool", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread: nothing is prepared
                thread.start()
                self._thread = thread

    # -- the thread --------------------------------------------------------------------------------

    def _keep(self) -> None:
        stock = self._stock
        looked_after = idle_since = time.monotonic()
        try:
            while not self._is_over(idle_since):
                stock.drop_outdated()
                now = time.monotonic()
                stock.retire(now)
                with self._wake:
                    gives_way, self._gives_way = self._gives_way, False
                    closing = self._closing
                if gives_way:
                    stock.give_way()
                if now - looked_after >= _LOOK_AFTER:
                    looked_after = now
                    stock.look_after()
                busy = not closing and stock.refill(now)
                with self._wake:
                    if self._lent or self._copying or stock.is_ending or stock.is_wanted:
                        idle_since = now
                    closing, alarm = self._closing, self._alarm
                if not closing and alarm is not None and alarm.wait(_ROUND if busy else self._until_dead()):
                    self._rest()
        except BaseException:
            stock.drop_sources()
            stock.empty()
            raise

    def _rest(self) -> None:
        """Do what was put off while a call was made."""
        with self._wake:
            put_off, self._is_put_off = self._is_put_off, False
        if put_off:
            self._at_rest()

    def _until_dead(self) -> float:
        """Return how long to wait for the next round, in which what was killed may be dead."""
        return _BURY_AFTER if self._stock.is_ending else PERIOD

    def _is_over(self, idle_since: float) -> bool:
        """Whether the thread may end: nothing waits. A sandbox that is lent would be killed by that."""
        stock = self._stock
        stock.bury()
        with self._wake:
            # Asked for since the last round, perhaps: whoever did saw that this thread lives.
            wanted = stock.is_wanted or stock.is_ending or self._is_put_off
            over = self._closing or (not wanted and time.monotonic() - idle_since > _LINGER)
            if over and (self._lent or self._copying) and not self._leaves_lent:
                self._wake.wait(PERIOD)
                return False
            if over:
                stock.drop_sources()  # they would end with this thread
                self._thread = None  # under the lock: the next call starts another
                if self._closing:
                    stock.empty()
            return over
