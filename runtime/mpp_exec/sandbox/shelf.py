"""The sandboxes that wait for one tool: what they are made from, and how many of them are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mpp_exec.sandbox.message import Variables
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan

_DECAY: Final = 10.0  # seconds without a miss after which one less is kept
_BACKOFF_MAX: Final = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a sandbox is prepared from. Two are the same where plan and files are.

    Attributes:
        plan: the plan, which is compared by identity: the same inputs give the same object.
        files: what tells the installed files from changed ones.
        constants: variables that every call has, and that are nobody's secret.
        early_start: whether the tool may be started before its call.
        command: its command line, with the user's values put in; None for the plan's.
        basis: what it was made under; nothing is prepared from it where that is not so any more.
        unchanged: tells whether the installed files are still those that were verified.
    """

    plan: SandboxPlan
    files: str
    constants: Variables
    early_start: bool
    command: tuple[str, ...] | None = None
    basis: object = None
    unchanged: Callable[[], bool] = lambda: True

    @property
    def key(self) -> tuple[int, str]:
        """What it is found by, as long as it is referred to."""
        return id(self.plan), self.files


@dataclass(slots=True, eq=False)
class Shelf:
    """The sandboxes of one recipe, and how much they are in demand."""

    recipe: Recipe
    ready: list[Parked] = field(default_factory=list)
    preparing: list[Parked] = field(default_factory=list)
    calls: int = 0
    target: int = 0
    last_call: float = 0.0
    last_miss: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def package(self) -> str:
        """The package whose tool it is."""
        return self.recipe.plan.package

    @property
    def all(self) -> list[Parked]:
        """All of them, ready or not."""
        return [*self.ready, *self.preparing]

    def missing(self, now: float) -> bool:
        """Whether one more is to be made."""
        return len(self.ready) + len(self.preparing) < self.target and now >= self.not_before

    def called(self, now: float) -> None:
        """Count a call."""
        self.calls += 1
        self.last_call = now

    def missed(self, now: float, most: int) -> None:
        """Have more of them ready: it is called faster than they are made."""
        self.target = min(most, max(1, self.target * 2))
        self.last_miss = now

    def decay(self, now: float) -> None:
        """Have one less ready after a while in which there were enough."""
        if self.target > 1 and now - self.last_miss > _DECAY:
            self.target -= 1
            self.last_miss = now

    def back_off(self) -> None:
        """Wait longer after each failure: a tool may crash, or need what it is granted to start."""
        self.failures += 1
        self.not_before = time.monotonic() + min(2.0**self.failures, _BACKOFF_MAX)
