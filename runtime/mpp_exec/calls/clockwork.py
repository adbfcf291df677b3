"""What is recorded beside a call: how long each stage took, and whether the start is on record."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpp_exec.audit.ledger import Ledger, Token


class Clockwork:
    """Times the stages of one call, in µs since it was *began* (``time.perf_counter_ns``).

    Every moment belongs to one stage, also after rounding: their sum is the whole.
    """

    def __init__(self, began: int) -> None:
        self.stages: dict[str, int] = {}
        self.parts: dict[str, int] = {}
        self._began = began
        self._last = 0

    def stage(self, name: str) -> int:
        """End a stage; return how long it took."""
        now = (time.perf_counter_ns() - self._began) // 1000
        took = now - self._last
        self._last = now
        stages = self.stages
        stages[name] = stages.get(name, 0) + took
        return took


class Beside:
    """What is done beside the tool: its start is put on record, if that was not done before it began."""

    def __init__(self, begin: Callable[[], Token], ledger: Ledger, *, at_once: bool) -> None:
        self._begin = begin
        self._ledger = ledger
        self._at_once = at_once
        self._token: Token | None = None
        self.tried = False

    @property
    def failed(self) -> bool:
        """Whether the start could not be put on record."""
        return self.tried and self._token is None

    def begun(self) -> None:
        """Put the start on record, once."""
        if not self.tried:
            self.tried = True
            self._token = self._begin()
            if self._at_once:
                self._ledger.wake()

    def lasts(self) -> None:
        """See to it that the start is written though the call has not ended."""
        self._ledger.wake()

    def token(self) -> Token:
        """Return what its end is put on record with."""
        self.begun()
        assert self._token is not None
        return self._token
