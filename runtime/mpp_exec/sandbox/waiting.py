"""A sandbox that waits for its one call, as C has it (``native/park.c``): the inside of a ``Parked``."""

from __future__ import annotations

import functools
from typing import Protocol

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.native import ffi, init_program, lib
from mpp_exec.sandbox.supervise import (
    PLAIN,
    Bounds,
    Dialogue,
    Made,
    Meanwhile,
    RawOutcome,
    collected,
    launched,
    to_the_end,
    worked_on,
)

PARKED_STATES: dict[int, str] = {
    value: name.removeprefix("MPP_PARKED_").lower()
    for value, name in ffi.typeof("enum mpp_parked").elements.items()
}
"""How a parked sandbox is: ``preparing``, ``ready``, ``ended``."""


class Greeting(Dialogue, Protocol):
    """What is said with a tool before its call."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be said before the call."""

    def opening(self) -> bytes:
        """Return what is said first."""


class ParkedSandbox:
    """A sandbox that is prepared ahead of its one call. Not for two threads at once.

    Its processes end with this one, and with :meth:`close`, which has to be called.
    """

    def __init__(
        self,
        message: bytes,
        *,
        bounds: Bounds,
        wall_ns: int,
        made: Made = PLAIN,
        greeting: Greeting | None = None,
        answers: bool = False,
    ) -> None:
        """Begin to prepare one from *message*, within *wall_ns* from now. The bounds are those of its call.

        With a *greeting* it is ready when that is done. One that *answers* ends its call with a line end on
        descriptor 1. What is to be watched belongs to one whose tool is started by its call. Where it fails
        at once, :attr:`state` is ``ended``.
        """
        self._launch = functools.partial(launched, bounds=bounds, parked=True, answers=answers)
        self._alone = made.alone
        self._greeting = greeting
        said = b"" if greeting is None else greeting.opening()
        launch, self._kept = self._launch(
            message,
            said,
            wall_ns=wall_ns,
            made=made,
            dialogue=greeting is not None,
            init_fd=init_program(),
        )
        self._outcome = ffi.new("struct mpp_outcome *")
        # Released also where an interruption lost it.
        self._slot = ffi.gc(ffi.new("struct mpp_sandbox **"), lib.mpp_release)
        failed = lib.mpp_spawn(launch, self._outcome, self._slot) != 0
        self.state = "ended" if failed else "preparing"

    def look(self, wait_ms: int = 0) -> str:
        """Look after it and return its state: ``preparing``, ``ready``, or ``ended`` (of no use any more).

        Waits up to *wait_ms* for something to happen while it is being prepared.
        """
        if self.state == "ended":
            return self.state
        state = PARKED_STATES[lib.mpp_park_look(self._slot[0], self._outcome, wait_ms)]
        if state == "heard":
            state = self._greet()
        self.state = state
        return state

    def _greet(self) -> str:
        """Answer what was heard; return the state, which is the one before where that changes nothing."""
        if self._greeting is None:
            return "ended"
        try:
            answer = worked_on(self._slot[0], self._outcome, self._greeting)
        except InternalError:
            return "ended"
        if answer is None or self._outcome.stop != 0:
            return "ended"
        if answer and lib.mpp_say(self._slot[0], answer, len(answer)) != 0:
            return "ended"
        if self._greeting.is_done:
            lib.mpp_greeted(self._slot[0])
        return self.state

    def greeted(self) -> str:
        """Take its greeting for done, whatever is still owed; return the state."""
        lib.mpp_greeted(self._slot[0])
        return self.look()

    @property
    def status(self) -> int:
        """What wait(2) said of its tool, once that has ended by itself; else -1."""
        return int(self._outcome.status)

    @property
    def folder(self) -> int:
        """The folder in /proc of its tool, while it is ready, and is one process; else -1. It is its own."""
        return int(lib.mpp_tool_folder(self._slot[0]))

    def tell(self, said: bytes) -> None:
        """Write to descriptor 0 of one that is ready what is no call: it gets none any more.

        Raises:
            InternalError: ``sandbox.told``: it was told something before.
        """
        self._said = ffi.from_buffer("uint8_t[]", said)
        if lib.mpp_park_tell(self._slot[0], self._said, len(said)) != 0:
            raise InternalError("sandbox.told", "a sandbox is told twice what it is to do")

    @property
    def lacks_image(self) -> bool:
        """Whether it could not be made since no mount of the image was to be had."""
        return bool(self._outcome.step == lib.MPP_STEP_IMAGE)

    @property
    def is_grounded(self) -> bool:
        """Whether it was built on the ground that it was given."""
        return bool(self._outcome.grounded)

    @property
    def is_copied(self) -> bool:
        """Whether it is a copy of its template."""
        return bool(self._outcome.copied)

    def sockets(self) -> tuple[int, ...]:
        """Return the sockets of its network, for names first, until it has its call; () where it has none."""
        found = ffi.new("const int **")
        count = lib.mpp_sockets(self._slot[0], found)
        return tuple(found[0][index] for index in range(count))

    def failure(self) -> RawOutcome:
        """Return what is known of one that is ``ended`` and was never called."""
        return collected(self._outcome)

    @property
    def resident(self) -> int:
        """The most bytes of memory that its processes were seen to have together."""
        return int(self._outcome.resident_peak)

    def call(
        self,
        message: bytes,
        request: bytes,
        *,
        wall_ns: int,
        cancel_fd: int = -1,
        dialogue: Dialogue | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> RawOutcome:
        """Give it its call and do as ``invoke``: every process of it is dead and reaped on return.

        *message* is what it was prepared from, with what the call brings behind that. An outcome whose
        ``step`` is not ``none`` says that nothing of the call has reached the tool. One that is ``leaving``
        was killed: :meth:`left` waits until it runs no code any more, :meth:`close` until it is reaped.
        *meanwhile* is told that the tool has its request.
        """
        launch, _kept = self._launch(
            message,
            request,
            wall_ns=wall_ns,
            made=Made(alone=self._alone),
            cancel_fd=cancel_fd,
            dialogue=dialogue is not None,
        )
        self.state = "ended"
        try:
            if lib.mpp_unpark(self._slot[0], launch, self._outcome) == 0:
                to_the_end(self._slot[0], self._outcome, dialogue, meanwhile)
            outcome = collected(self._outcome)
        except BaseException:
            self.close()
            raise
        if not outcome.leaving:
            self.close()
        return outcome

    def left(self) -> bool:
        """Wait until one that is leaving runs no code; return False where only :meth:`close` is sure."""
        return bool(lib.mpp_left(self._slot[0]))

    def kill(self) -> bool:
        """Kill what is left of it, without waiting; return whether all of it is dead. May be repeated."""
        self.state = "ended"
        return bool(lib.mpp_kill(self._slot[0]))

    def close(self) -> None:
        """Kill and reap what is left of it. May be repeated."""
        self.state = "ended"
        lib.mpp_release(self._slot)
