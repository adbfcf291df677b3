"""Many strings, and which of them a text goes on with at a place, however many of them begin alike.

What a few hundred people are called begins with a few first names, so no place is asked for each length.
The beginnings of all strings are in order, and each knows the longest other one that it begins with: the
last that is not behind the text leads to every one that the text begins with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from mpp_exec.privacy import meter

_LENGTH: Final = 64
"""Code points of a beginning. A string that is longer is looked for behind it."""


class Beginnings:
    """Strings to be looked for at given places of a text. None may be empty."""

    def __init__(self) -> None:
        self._strings: dict[str, list[str]] = {}
        self._ordered: list[str] = []
        self._shorter: list[int] = []

    def add(self, string: str) -> None:
        """Take in *string*, which is no member yet."""
        same = self._strings.setdefault(string[:_LENGTH], [])
        same.append(string)
        if len(same) == 1:
            self._ordered = []  # in order again where it is next asked for

    def at(self, text: str, start: int) -> Iterator[str]:
        """Yield the strings that *text* goes on with at *start*, the longest first.

        Raises:
            StoppedError: the redaction must not go on.
        """
        if not self._ordered:
            self._put_in_order()
        read = text[start : start + _LENGTH]
        index = bisect_right(self._ordered, read) - 1
        while index >= 0:
            beginning = self._ordered[index]
            if read.startswith(beginning):
                for string in meter.steps(sorted(self._strings[beginning], key=len, reverse=True)):
                    if text.startswith(string, start):
                        yield string
            index = self._shorter[index]

    def _put_in_order(self) -> None:
        self._ordered = sorted(self._strings)
        self._shorter = []
        open_: list[int] = []
        for index, beginning in enumerate(meter.steps(self._ordered)):
            while open_ and not beginning.startswith(self._ordered[open_[-1]]):
                open_.pop()
            self._shorter.append(open_[-1] if open_ else -1)
            open_.append(index)
