"""A text in each way in which it has to be read, and the way back to its own offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_exec.privacy import anchors, lookalikes
from mpp_exec.privacy.anchors import form
from mpp_exec.privacy.finding import Candidate

if TYPE_CHECKING:
    from mpp_exec.privacy.fold import Offsets

_LOOKALIKE: Final = form("LOOKALIKE")


def views(text: str, *, for_anchors: bool = False) -> Iterator[tuple[str, Offsets | None]]:
    """Yield *text* in each way it has to be read, with the way back to its own offsets.

    Invisible and control characters are read both as nothing (``jane@exa|mple.com``) and as the separators
    that they are as well (``order|4111111111111111``); letters that stand among digits as digits too.
    *for_anchors* leaves out what has anchors: such digits, and control characters of Latin-1.
    """
    if text.isascii():
        yield text, None
        if for_anchors:
            return
        marks = _marks(text)
        if (digits := _rewritten(text, marks.lookalike)) != text:
            yield digits, None
        if not marks.control:
            return
    else:
        yield from _readings(text, with_digits=not for_anchors)
    from mpp_exec.privacy import controls  # noqa: PLC0415  # needs tables that plain ASCII never needs

    for shorter, offsets in controls.shown(text):
        for reading, inner in _readings(shorter, with_digits=not for_anchors):
            yield reading, offsets if inner is None else inner.within(offsets)


def _readings(text: str, *, with_digits: bool) -> Iterator[tuple[str, Offsets | None]]:
    """Yield *text* in each way it has to be read, control characters being what they are."""
    if text.isascii():
        yield text, None
        if with_digits and (digits := _digits(text)) != text:
            yield digits, None
        return
    from mpp_exec.privacy import fold  # noqa: PLC0415  # tables that plain ASCII never needs

    spelled = fold.spelled(text)
    latin = fold.latin(spelled)
    readings = dict.fromkeys((spelled, latin, _digits(latin) if with_digits else latin))
    for reading in readings:
        yield reading, None
    for reading in readings:
        if shortened := fold.without_invisible(reading):
            yield shortened
            shorter, offsets = shortened
            again_latin = fold.latin(shorter)
            for again in dict.fromkeys((again_latin, _digits(again_latin) if with_digits else again_latin)):
                if again != shorter:
                    yield again, offsets


def _digits(text: str) -> str:
    """Return *text* with letters as the digits that they look like, in numbers that are mostly digits."""
    return _rewritten(text, _marks(text).lookalike)


def _rewritten(text: str, meetings: list[int]) -> str:
    regions = lookalikes.regions(text, meetings)
    return lookalikes.rewritten(text, regions) if regions else text


class _Marks(NamedTuple):
    """Where a text reads in another way: digits among letters that look like them, control characters."""

    lookalike: list[int]
    control: list[int]


def _marks(text: str) -> _Marks:
    marks = _Marks([], [])
    for flat in anchors.marks(text):
        for at, what in zip(flat[::2], flat[1::2], strict=True):
            (marks.lookalike if what == _LOOKALIKE else marks.control).append(at)
    return marks


def in_original(candidate: Candidate, offsets: Offsets | None) -> Candidate:
    """Return *candidate*, found in a view, with offsets into the text that the view was made of."""
    if offsets is None:
        return candidate
    return candidate._replace(
        start=offsets.original(candidate.start), end=offsets.original(candidate.end - 1) + 1
    )
