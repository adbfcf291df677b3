"""Spans of one string that overlap or touch, settled."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.literals import USER_CONFIG

SECRETS: Final = ("secret", "url_credential")


def position(span: Candidate) -> tuple[int, int]:
    """Return what spans are sorted by: their start, the longer one first."""
    return span.start, -span.end


def merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates in order, those that overlap as one of a sure secret's kind, or the longest's."""
    joined: list[Candidate] = []
    winner: Candidate | None = None
    start = end = longest = 0
    for candidate in sorted(candidates, key=position):
        length = candidate.end - candidate.start
        if winner is not None and candidate.start < end:
            sure = _is_sure(candidate)
            longer = (length, candidate.score) >= (longest, winner.score)
            winner = candidate if (longer if sure == _is_sure(winner) else sure) else winner
            end = max(end, candidate.end)
            longest = max(longest, length)
        else:
            if winner is not None:
                joined.append(_spread(winner, start, end))
            winner, start, end, longest = candidate, candidate.start, candidate.end, length
    if winner is not None:
        joined.append(_spread(winner, start, end))
    return joined


def _spread(span: Candidate, start: int, end: int) -> Candidate:
    return span if (span.start, span.end) == (start, end) else span._replace(start=start, end=end)


def _is_sure(candidate: Candidate) -> bool:
    """Tell whether a secret is one by its own form: it is called so, whatever longer thing it is part of."""
    return candidate.kind in SECRETS and candidate.score >= 0.9 and candidate.rule != USER_CONFIG


def apart(spans: list[Candidate], others: list[Candidate]) -> list[Candidate]:
    """Return the spans that touch none of *others*. Both are in order and without overlap."""
    ends = [other.end for other in others]
    kept = []
    for span in spans:
        index = bisect_right(ends, span.start)
        if index == len(others) or others[index].start >= span.end:
            kept.append(span)
    return kept
