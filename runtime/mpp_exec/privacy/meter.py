"""Bounds of one redaction: how much it may find, how long it may take, and who may end it meanwhile.

The detectors are loops over what a tool wrote, so each turn of such a loop is a step of the redaction that
runs in this context. Where none runs that is bounded, a step does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

_Any = TypeVar("_Any")
_EVERY: Final = 256
"""Steps between two looks at the clock and at who may end the redaction; some milliseconds."""


_LARGE: Final = 1 << 16
"""Code points from which on one search is as long as many steps."""
_REACH: Final = 256


class StoppedError(Exception):
    """A redaction has ended without a result, so nothing that it was given may leave.

    Attributes:
        why: ``cancelled``, or which bound it has passed: ``findings`` or ``seconds``.
    """

    def __init__(self, why: Literal["cancelled", "findings", "seconds"]) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a redaction may cost.

    Attributes:
        findings: values that it may find.
        seconds: by *clock*.
        clock: seconds that never go backwards.
        cancelled: tells whether somebody has ended it.
    """

    findings: int
    seconds: float
    clock: Callable[[], float]
    cancelled: Callable[[], bool]


class _Meter:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._until = bounds.clock() + bounds.seconds
        self._found = 0
        self._left = 1  # the first step looks: what was cancelled before it began does not begin

    def step(self, found: int) -> None:
        if self._found + found > self._bounds.findings:
            raise StoppedError("findings")
        self._left -= 1
        if self._left > 0:
            return
        self.look()

    def look(self) -> None:
        self._left = _EVERY
        if self._bounds.cancelled():
            raise StoppedError("cancelled")
        if self._bounds.clock() > self._until:
            raise StoppedError("seconds")

    def add(self, found: int) -> None:
        self._found += found
        self.step(0)


_RUNNING: Final[ContextVar[_Meter | None]] = ContextVar("redaction", default=None)


class bounded:  # noqa: N801  # a block's head, as ``contextlib`` names those; a generator costs twice as much
    """Holds what runs in the block to *bounds*, None for no bounds.

    Raises:
        StoppedError: from the step that was one too many.
    """

    __slots__ = ("_meter", "_token")

    def __init__(self, bounds: Bounds | None) -> None:
        self._meter = _Meter(bounds) if bounds else None

    def __enter__(self) -> None:
        self._token = _RUNNING.set(self._meter)

    def __exit__(self, *_: object) -> None:
        _RUNNING.reset(self._token)


def step(found: int = 0) -> None:
    """Take one step of a loop that has *found* so many values, which :func:`add` does not know of yet.

    Raises:
        StoppedError: it must not go on.
    """
    if (meter := _RUNNING.get()) is not None:
        meter.step(found)


def pass_over(text: str) -> None:
    """Say that all of *text* is about to be searched at once, which takes as long as it is.

    Raises:
        StoppedError: it must not go on.
    """
    if len(text) >= _LARGE and (meter := _RUNNING.get()) is not None:
        meter.look()


def slices(text: str, ends: re.Pattern[str] | None = None) -> Iterator[str]:
    """Yield *text* in parts that a single search or translation goes over in a few milliseconds.

    A part ends right before what *ends* matches; anywhere without it.

    Raises:
        StoppedError: it must not go on.
    """
    start = 0
    while len(text) - start > _LARGE:
        end = start + _LARGE
        if ends is not None:
            match = ends.search(text, end)
            end = match.start() if match else len(text)
        pass_over(text)
        yield text[start:end]
        start = end
    yield text[start:]


def search(
    pattern: re.Pattern[str], text: str, start: int, limit: int, *, reach: int = _REACH
) -> re.Match[str] | None:
    """Return the first match of *pattern* from *start* on, as ``search`` does, in steps.

    A match and what the pattern looks at behind it are no longer than *reach* code points.

    Raises:
        StoppedError: it must not go on.
    """
    while limit - start > _LARGE:
        match = pattern.search(text, start, start + _LARGE + reach)
        if match and match.start() < start + _LARGE:
            return match
        start += _LARGE
        pass_over(text)
    return pattern.search(text, start, limit)


def spans(pattern: re.Pattern[str], text: str, *, reach: int = _REACH) -> Iterator[tuple[int, int]]:
    """Yield where *pattern* matches, as ``finditer`` does, in steps. No match is empty.

    *reach* is that of :func:`search`.

    Raises:
        StoppedError: it must not go on.
    """
    end = 0
    while match := search(pattern, text, end, len(text), reach=reach):
        step()
        start, end = match.span()
        yield start, end


def add(found: int) -> None:
    """Count *found* values.

    Raises:
        StoppedError: it must not go on.
    """
    if (meter := _RUNNING.get()) is not None:
        meter.add(found)


def steps(items: Iterable[_Any]) -> Iterator[_Any]:
    """Yield *items*, a step for each.

    Raises:
        StoppedError: it must not go on.
    """
    for item in items:
        step()
        yield item
