"""A string in which spans were replaced, the way back to the offsets it had, and what to read again of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy.finding import Candidate

# How far it may be to the end of a word.
_WORD: Final = 256
_SPACE: Final = lazily(r"\s")


class Rewriting:
    """A string with spans replaced, and the way back to the offsets it had."""

    def __init__(self, text: str, spans: list[Candidate], replacements: list[str]) -> None:
        pieces: list[str] = []
        self._spans = spans
        self._starts: list[int] = []
        self._ends: list[int] = []
        read = length = 0
        for span, written in zip(spans, replacements, strict=True):
            length += span.start - read
            pieces += (text[read : span.start], written)
            self._starts.append(length)
            length += len(written)
            self._ends.append(length)
            read = span.end
        pieces.append(text[read:])
        self.text = "".join(pieces)

    def around(self, reach: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of the text with a replacement, and *reach* on either side; they do not overlap.

        They end at white space, so that no word is read without its beginning or end.
        """
        low, high = max(0, self._starts[0] - reach), 0
        for start, end in zip(self._starts, self._ends, strict=True):
            if high and start - reach > high:
                yield self._widened(low, high)
                low = start - reach
            high = end + reach
        yield self._widened(low, high)

    def part(self, start: int, end: int) -> str:
        """Return what is written of the text between two offsets; of a span that one of them is in, all."""
        first = bisect_right(self._spans, start, key=_end)  # the first that ends behind it
        before = self._ends[first - 1] - self._spans[first - 1].end if first else 0
        is_inside = first < len(self._spans) and self._spans[first].start < start
        low = self._starts[first] if is_inside else start + before
        last = bisect_left(self._spans, end, key=_start) - 1  # the last that starts in front of it
        if last < 0:
            return self.text[low:end]
        return self.text[low : max(self._ends[last], end + self._ends[last] - self._spans[last].end)]

    def _widened(self, low: int, high: int) -> tuple[int, int]:
        if low > 0:
            before = _SPACE.search(self.text[max(0, low - _WORD) : low][::-1])
            low -= before.start() if before else 0
        if high < len(self.text):
            behind = _SPACE.search(self.text, high, high + _WORD)
            high = behind.start() if behind else high
        return low, min(high, len(self.text))

    def in_original(self, candidate: Candidate) -> Candidate:
        """Return *candidate* where it stood; one that touches a replacement takes all of its span."""
        start, _ = self._place(candidate.start)
        _, end = self._place(candidate.end - 1)
        return candidate._replace(start=start, end=end)

    def _place(self, offset: int) -> tuple[int, int]:
        """Return start and end of what the code point at *offset* stands for."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return offset, offset + 1
        if offset < self._ends[index]:
            return self._spans[index].start, self._spans[index].end
        original = self._spans[index].end + offset - self._ends[index]
        return original, original + 1


def _start(span: Candidate) -> int:
    return span.start


def _end(span: Candidate) -> int:
    return span.end
