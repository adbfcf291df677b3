"""Detectors that an organisation brings: patterns, on an engine whose time is linear in the text.

RE2 has no look-around and no back-references, and so no pattern that hangs. It is the optional extra
``rules``; where a policy has rules and the engine is missing, nothing is redacted by halves: it is an error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mpp_exec.consent.redaction_rules import RedactionRule
from mpp_exec.errors import UsageError
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import MASK, ORGANISATION, Candidate
from mpp_exec.privacy.views import in_original, views

_MEMORY: Final = 8 << 20  # bytes of one compiled pattern; what needs more is refused
_SCORE: Final = 0.9
_VALUE: Final = "value"


@dataclass(frozen=True, slots=True)
class Broken:
    """A test of a rule that does not hold, or a pattern that is none.

    Attributes:
        name: of the rule.
        message: what is wrong.
    """

    name: str
    message: str


class Patterns:
    """Compiled rules. Safe to use in several threads.

    Args:
        rules: in the order in which they are tried.

    Raises:
        UsageError: ``privacy.no_engine``, ``privacy.bad_pattern``.
    """

    def __init__(self, rules: Iterable[RedactionRule]) -> None:
        compiled = [(rule.name, _compiled(rule.name, rule.pattern)) for rule in rules]
        self._compiled = [(name, each, each.groupindex.get(_VALUE, 0)) for name, each in compiled]

    def find(self, text: str) -> list[Candidate]:
        """Return what the rules find in *text*, also as it looks (``detect.views``), but for what masks hold.

        Raises:
            StoppedError: the redaction must not go on.
        """
        found: list[Candidate] = []
        for view, offsets in views(text):
            masks = [mask.span() for mask in MASK.finditer(view)] if "[" in view else []
            ends = [end for _, end in masks]
            for name, pattern, group in self._compiled:
                meter.pass_over(view)
                for match in meter.steps(pattern.finditer(view)):
                    start, end = match.span(group)
                    if start < 0:  # another branch of the pattern than that with the group
                        start, end = match.span()
                    behind = bisect_right(ends, start)  # the first mask that ends behind it
                    if start < end and (behind == len(masks) or end <= masks[behind][0]):
                        value = view[start:end].casefold()
                        found.append(
                            in_original(Candidate(name, start, end, _SCORE, value, ORGANISATION), offsets)
                        )
        return found


@lru_cache(maxsize=16)
def compiled(rules: tuple[RedactionRule, ...]) -> Patterns:
    """Return the rules, compiled.

    Raises:
        UsageError: as :class:`Patterns`.
    """
    return Patterns(rules)


def broken(rules: Iterable[RedactionRule]) -> list[Broken]:
    """Return what is wrong with *rules*, by their own tests.

    Raises:
        UsageError: ``privacy.no_engine``.
    """
    wrong: list[Broken] = []
    for rule in rules:
        try:
            patterns = Patterns([rule])
        except UsageError as error:
            if error.code == "privacy.no_engine":
                raise
            wrong.append(Broken(rule.name, error.message))
            continue
        wrong += [
            Broken(rule.name, f"finds nothing in match[{index}]")
            for index, text in enumerate(rule.match)
            if not patterns.find(text)
        ]
        wrong += [
            Broken(rule.name, f"finds something in no_match[{index}]")
            for index, text in enumerate(rule.no_match)
            if patterns.find(text)
        ]
    return wrong


def _compiled(name: str, pattern: str) -> Any:
    try:
        import re2  # noqa: PLC0415  # an extra that few need
    except ImportError:
        raise UsageError(
            "privacy.no_engine",
            "the policy has redaction rules, and the engine that finds them is not installed",
            "pip install 'mpp-exec[rules]'",
        ) from None
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise UsageError(
            "privacy.bad_pattern",
            f"the pattern of the redaction rule {name} is none: {shown}",
            "write it in RE2's syntax, which has no look-around and no back-references",
        ) from None
