"""Values that are known already: redacted wherever they stand, whatever surrounds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mpp_exec.privacy.detect import in_original, views
from mpp_exec.privacy.finding import Candidate

USER_CONFIG: Final = "user_config"
# A short value is likely to be part of some innocent word, so it counts only as a word of its own.
_SHORT: Final = 8
# Up to here one search per value; beyond it, one pass over the text for all of them.
_FEW: Final = 64


class Literals:
    """A set of literal values, each with the candidate that an occurrence of it becomes."""

    def __init__(self) -> None:
        self._values: dict[str, Candidate] = {}
        self._by_prefix: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, value: str, rule: str) -> None:
        """Make *value* known as a secret of *rule*."""
        if value and value not in self._values:
            self._values[value] = Candidate("secret", 0, 0, 1.0, value, rule)
            if len(value) >= _SHORT:
                self._by_prefix.setdefault(value[:_SHORT], []).append(value)

    def add_configured(self, value: str) -> None:
        """Make a sensitive configuration value known, also as it looks inside JSON text."""
        import json  # noqa: PLC0415  # only where there are such values

        for written in (
            value,
            value.strip(),
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
        ):
            for spelling, _ in views(written):
                self.add(spelling, USER_CONFIG)

    def find(self, text: str) -> list[Candidate]:
        """Return every occurrence of every value in *text*. Time is linear in its length."""
        found = []
        for view, offsets in views(text):
            for start, value in self._occurrences(view):
                known = self._values[value]._replace(start=start, end=start + len(value))
                found.append(in_original(known, offsets))
        return found

    def _occurrences(self, text: str) -> Iterator[tuple[int, str]]:
        many = len(self._values) > _FEW
        for value in self._values:
            if many and len(value) >= _SHORT:
                continue
            start = text.find(value)
            while start >= 0:
                if len(value) >= _SHORT or _is_word(text, start, start + len(value)):
                    yield start, value
                start = text.find(value, start + len(value))
        if many:
            for start in range(len(text) - _SHORT + 1):
                for value in self._by_prefix.get(text[start : start + _SHORT], ()):
                    if text.startswith(value, start):
                        yield start, value


def _is_word(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())
