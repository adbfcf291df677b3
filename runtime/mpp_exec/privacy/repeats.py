"""Stretches of a text in which one short piece stands again and again: what holds of one piece holds of all.

What a tool writes to keep redaction busy is ``key=key=key=…``: a place every few characters, and at each much
to read. Where all that can be read around two places is the same, the second is not read again. So a stretch
costs what its first piece does, and its two ends; findings are those of all of its pieces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import Candidate, moved

_Any = TypeVar("_Any")
_Find = Callable[[str, str, Any], list[Candidate]]

# What a detector reads around a place, at most: code points in front of it, and from it on.
BEFORE: Final = 512
AFTER: Final = 4096
_LONGEST: Final = 128  # code points of a piece
_PROBE: Final = 2 * _LONGEST  # as long as two pieces, so that there is one way to see them
_STRIDE: Final = 2048  # between two places where a stretch is looked for
_STEP: Final = 4096  # by which it is followed
SHORTEST: Final = BEFORE + AFTER + _STRIDE
"""Code points of a text in which there may be a stretch that is worth it."""


class _Stretch(NamedTuple):
    """Offsets from *first* until before *last* read as the one that is *piece* in front of them does."""

    first: int
    last: int
    piece: int


class Repeats:
    """The stretches of one text, and what was found in their first pieces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stretches = list(_stretches(text)) if len(text) >= SHORTEST else []
        self._answers: dict[tuple[Any, ...], tuple[list[Candidate], int]] = {}
        self._from = self._to = self._piece = 0  # the one that was asked for last

    def __bool__(self) -> bool:
        return bool(self._stretches)

    def found(self, find: _Find, key: str, places: Sequence[Any]) -> list[Candidate]:
        """Return what *find* finds at *places*, offsets or pairs of one and a word.

        It must read no further around a place than said above, and what it finds at one must not depend on
        the others, but that it may leave out what it has been over.

        Raises:
            StoppedError: the redaction must not go on.
        """
        found: list[Candidate] = []
        left: list[Any] = []
        for place in places:
            at, word = place if isinstance(place, tuple) else (place, None)
            by = self.back(at)
            if not by:
                left.append(place)
                continue
            meter.step(len(found))
            asked = (find, at - by, word)
            if (known := self._answers.get(asked)) is None:
                there = at - by if word is None else (at - by, word)
                answer = find(self._text, key, [there])
                # Of long values that overlap not all are needed to know what they cover.
                shortest = min((each.end - each.start for each in answer), default=0)
                known = self._answers[asked] = answer, max(1, shortest // self._piece - 1)
            answer, every = known
            if answer and (by // self._piece % every == 0 or at + self._piece >= self._to):
                found += moved(answer, by)
        return found + find(self._text, key, left) if left else found

    def once(self, read: Callable[[int], _Any]) -> Callable[[int], tuple[_Any, int]]:
        """Return what asks *read* about an offset, and but once where all around reads the same.

        It returns the answer, and how far in front of the offset that was given. *read* must read no further
        than is said above.
        """
        answers: dict[int, _Any] = {}

        def read_once(at: int) -> tuple[_Any, int]:
            by = self.back(at) if self._stretches else 0
            if not by:
                return read(at), 0
            if at - by not in answers:
                answers[at - by] = read(at - by)
            return answers[at - by], by

        return read_once

    def back(self, at: int) -> int:
        """Return how far in front of *at* a first piece reads the same, and around it; 0 if none."""
        if not self._from <= at < self._to:
            index = bisect_right(self._stretches, (at + 1,)) - 1
            if index < 0:
                return 0
            self._from, self._to, self._piece = self._stretches[index]
            if at >= self._to:
                return 0
        return ((at - self._from) // self._piece + 1) * self._piece


def _stretches(text: str) -> list[_Stretch]:
    """Return the stretches of *text*, in order."""
    stretches: list[_Stretch] = []
    at = 0
    while at + SHORTEST <= len(text):
        meter.step()
        again = text.find(text[at : at + _PROBE], at + 1, at + _PROBE + _LONGEST)
        end = _end(text, at, again - at) if again >= 0 else at
        if end - at >= SHORTEST:
            first = at + BEFORE + again - at
            stretches.append(_Stretch(first, end - AFTER, again - at))
            at = end
        else:
            at += _STRIDE
    return stretches


def _end(text: str, start: int, piece: int) -> int:
    """Return up to where, at least, *text* repeats what is *piece* code points in front, from *start* on."""
    at = start + piece
    while at < len(text):
        meter.step()
        size = min(_STEP, len(text) - at)
        if text[at : at + size] != text[at - piece : at - piece + size]:
            break
        at += size
    return at
