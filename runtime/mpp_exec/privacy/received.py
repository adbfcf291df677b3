"""What became of the tokens in one call's arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """Arguments in which tokens were replaced.

    Attributes:
        value: the arguments, a JSON value; what came in where nothing was replaced.
        tokens: kind of each token that was replaced.
        values: kind and value behind each of them, to be redacted wherever the tool says them.
    """

    value: Any
    tokens: Mapping[str, str] = field(default_factory=dict)
    values: Collection[tuple[str, str]] = field(default=(), repr=False)

    def counts(self) -> dict[str, int]:
        """Return how many different values of each kind were handed over."""
        return {} if not self.tokens else dict(sorted(Counter(self.tokens.values()).items()))
