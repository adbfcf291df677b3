"""What is recorded beside a call: how long each stage took, and whether the start is on record."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpp_exec.audit.ledger import Ledger, Token


class Clockwork:
    """Times the stages of one call, in µs from *began* (``time.perf_counter_ns``).

    Every moment belongs to one stage. Also after rounding, the sum of the stages is the whole time.
    """

    def __init__(self, began: int) -> None:
        self.stages: dict[str, int] = {}
        self.parts: dict[str, int] = {}
        self._began = began
        self._last = 0

    def stage(self, name: str) -> int:
        """End a stage; return how long it took, in µs."""
        now = (time.perf_counter_ns() - self._began) // 1000
        took = now - self._last
        self._last = now
        stages = self.stages
        stages[name] = stages.get(name, 0) + took
        return took


class Beside:
    """The work beside the running tool: record its start, if that was not done before the tool began."""

    def __init__(self, begin: Callable[[], Token], ledger: Ledger, *, at_once: bool) -> None:
        self._begin = begin
        self._ledger = ledger
        self._at_once = at_once
        self._token: Token | None = None
        self.tried = False

    @property
    def failed(self) -> bool:
        """Whether recording the start failed."""
        return self.tried and self._token is None

    def begun(self) -> None:
        """Record the start, once."""
        if not self.tried:
            self.tried = True
            self._token = self._begin()
            if self._at_once:
                self._ledger.wake()

    def lasts(self) -> None:
        """Make sure that the start is written even though the call has not ended."""
        self._ledger.wake()

    def token(self) -> Token:
        """Return the token with which the end of the call is recorded."""
        self.begun()
        assert self._token is not None
        return self._token
