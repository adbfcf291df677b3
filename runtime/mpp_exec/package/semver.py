"""Semantic Versioning 2.0.0: what a version is, and which of two is the later one."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import VocabularyError

MAX_VERSION: Final = 128
"""Characters of a version; the grammar itself sets no bound."""

# The expression that semver.org recommends.
_SEMVER: Final = lazily(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


@total_ordering
class Version:
    """A version, ordered by precedence (SemVer 2.0.0 §11). Build metadata has none (§10).

    Two versions that differ only in build metadata are therefore equal here, though their texts,
    and the packages that bear them, are not.
    """

    __slots__ = ("_key", "text")

    def __init__(self, text: str) -> None:
        """Parse *text*; raise :class:`VocabularyError` if it is no version."""
        match = _SEMVER.fullmatch(text) if len(text) <= MAX_VERSION else None
        if match is None:
            raise VocabularyError(
                f"{text!r} is not a version", "versions are SemVer 2.0.0, as in 1.4.0 or 2.0.0-rc.1"
            )
        major, minor, patch, pre_release, _build = match.groups()
        self.text = text
        # A pre-release comes before its release; numeric identifiers before others; fewer before more.
        identifiers = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in (pre_release or "").split(".")
            if part
        )
        self._key = (int(major), int(minor), int(patch), pre_release is None, identifiers)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Version({self.text!r})"
