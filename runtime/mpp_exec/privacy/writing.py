"""A JSON value put together again, with what became of its strings, and what was found where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpp_exec.privacy.finding import Candidate, Finding
from mpp_exec.privacy.leaf import Leaf
from mpp_exec.privacy.numerals import digits

Explain = Callable[[Leaf, Candidate, str], Any]
"""Says why a finding counts, from the string, the span of it, and the key above it as it may be shown: ""
where it is no key of what is written, and was not redacted as one."""


class Writer:
    """Writes a value once. The numbers of *strings* count all strings and numbers, in document order."""

    def __init__(self, strings: dict[int, Leaf], keys: dict[str, Leaf], *, every_number: bool) -> None:
        self._strings = strings
        self._number = -1
        self._keys = keys
        self._keys_found = any(leaf.spans for leaf in keys.values())
        self._every_number = every_number
        self._path: list[str | int] = []
        self.explain: Explain | None = None
        self.plain = False  # the value is one string, and no pointer leads to it
        self.findings: list[Finding] = []

    def write(self, value: Any) -> Any:
        """Return *value* with what became of its strings, and take in what was found."""
        if isinstance(value, str):
            leaf = self._next()
            return value if leaf is None or leaf.written is None else leaf.written
        if isinstance(value, (dict, list)):
            return self._write_array(value) if isinstance(value, list) else self._write_object(value)
        if digits(value, every_number=self._every_number) is not None:
            leaf = self._next()
            return value if leaf is None or leaf.written is None else leaf.written or None  # dropped: null
        return value

    def _next(self) -> Leaf | None:
        self._number += 1
        leaf = self._strings.get(self._number)
        if leaf is not None and leaf.spans:
            self._report(leaf)
        return leaf

    def _report(self, leaf: Leaf, *, in_key: bool = False) -> None:
        tokens = (str(token).replace("~", "~0").replace("/", "~1") for token in self._path)
        pointer = None if self.plain else "".join(f"/{token}" for token in tokens)
        # What names a value may stand beside it, or above a column, and hold what is found there.
        shown = leaf.key if leaf.key in self._path else ""
        self.findings += [
            Finding(
                *(span.kind, span.start, span.end, span.score, pointer, span.rule or None, in_key),
                self.explain(leaf, span, shown) if self.explain else None,
            )
            for span in leaf.spans
        ]

    def _write_array(self, value: list[Any]) -> list[Any]:
        written = []
        for index, item in enumerate(value):
            self._path.append(index)
            written.append(self.write(item))
            self._path.pop()
        return written

    def _write_object(self, value: dict[str, Any]) -> dict[str, Any]:
        names = self._names(value) if self._keys_found else value
        written: dict[str, Any] = {}
        for name, (key, item) in zip(names, value.items(), strict=True):
            self._path.append(name)
            if self._keys_found and (leaf := self._keys.get(key)):
                self._report(leaf, in_key=True)
            written[name] = self.write(item)
            self._path.pop()
        return written

    def _names(self, value: dict[str, Any]) -> list[str]:
        """Return the keys as written. Those that a mask has made equal are numbered: none is lost."""
        written = {
            key: leaf.written for key in value if (leaf := self._keys.get(key)) and leaf.written is not None
        }
        taken = value.keys() - written.keys()
        used: dict[str, int] = {}
        names = []
        for key in value:
            name = masked = written.get(key, key)
            while key in written and name in taken:
                used[masked] = used.get(masked, 1) + 1
                name = f"{masked}~{used[masked]}"
            taken.add(name)
            names.append(name)
        return names
