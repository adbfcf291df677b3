"""Interpreters that a package takes from the host: their names, and which versions will do.

``python>=3.11,<4`` is a name and clauses, all of which must hold. The clauses are those of PEP 440
over plain release numbers: ``==`` and ``!=`` take a trailing ``.*``, ``~=1.4`` is ``>=1.4,==1.*``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import VocabularyError

INTERPRETERS: Final = ("bash", "bun", "deno", "lua", "node", "perl", "php", "python", "ruby", "sh")
"""What can be required; what is no interpreter is a program (``subprocess``)."""

_REQUIREMENT: Final = lazily(r"([a-z]+)((?:[<>=!~].*)?)", re.ASCII)
_CLAUSE: Final = lazily(
    r"(>=|<=|==|!=|~=|>|<)((?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})){0,5})(\.\*)?", re.ASCII
)
_COMPARISONS: Final[dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_HINT: Final = "write a name and bounds, as in python>=3.11 or node>=20,<23"


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """An interpreter taken from the host: ``python>=3.11`` is ``("python", ">=3.11")``."""

    name: str
    specifier: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"

    def allows(self, release: tuple[int, ...]) -> bool:
        """Return whether an interpreter of this release, such as ``(3, 11, 2)``, will do."""
        return all(_holds(clause, release) for clause in self.specifier.split(",") if clause)


def parse_requirement(text: str) -> Requirement:
    """Parse ``NAME`` or ``NAME`` and clauses; spaces are dropped, clauses sorted.

    Raises:
        VocabularyError: no known interpreter, or no readable bound.
    """
    compact = text.replace(" ", "")
    match = _REQUIREMENT.fullmatch(compact)
    if match is None:
        raise VocabularyError(f"{text!r} is not a requirement", _HINT)
    name, specifier = match.groups()
    if name not in INTERPRETERS:
        raise VocabularyError(
            f"{name!r} is not an interpreter known here",
            f"one of {', '.join(INTERPRETERS)}; other programs are asked for as subprocess in [permissions]",
        )
    clauses = specifier.split(",") if specifier else []
    if len(clauses) > 8:
        raise VocabularyError(f"{text!r} has more than 8 bounds", _HINT)
    for clause in clauses:
        parts = _CLAUSE.fullmatch(clause)
        if parts is None:
            raise VocabularyError(f"{clause!r} is not a bound on a version", _HINT)
        comparison, release, star = parts.groups()
        if (star and comparison not in ("==", "!=")) or (comparison == "~=" and "." not in release):
            raise VocabularyError(
                f"{clause!r} is not a bound on a version", "'.*' goes with == and !=, ~= needs two numbers"
            )
    return Requirement(name, ",".join(sorted(set(clauses))))


def _holds(clause: str, release: tuple[int, ...]) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return False
    comparison, text, star = match.groups()
    bound = tuple(int(number) for number in text.split("."))
    if star:
        return (_cut(release, len(bound)) == bound) == (comparison == "==")
    length = max(len(bound), len(release))
    ours, theirs = _cut(release, length), _cut(bound, length)
    if comparison == "~=":
        return ours >= theirs and _cut(release, len(bound) - 1) == bound[:-1]
    return _COMPARISONS[comparison](ours, theirs)


def _cut(release: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (*release, *(0,) * length)[:length]
