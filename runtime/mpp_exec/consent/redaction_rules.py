r"""Rules by which an organisation's own identifiers are redacted: a pattern, and tests of it.

::

    [[redaction_rule]]
    name = "employee_id"              # the kind: it stands in results as [EMPLOYEE_ID]
    pattern = 'EMP-[0-9]{6}\b'        # RE2 syntax; a group that is called value is redacted alone
    match = ["EMP-123456"]            # texts in which it must find something
    no_match = ["EMP-12", "TEMP-1"]   # texts in which it must not

Rules only add to what is redacted, so every layer of policy may have some. Only the engine
(``privacy.patterns``) interprets patterns; this module reads what a file says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from mpp_exec.package.fields import FieldError, Fields
from mpp_exec.patterns import lazily

KEY: Final = "redaction_rule"
_NAME: Final = lazily(r"[a-z][a-z_]{1,16}[a-z]", re.ASCII)
_BINARY: Final = "binary"
_MOST_RULES: Final = 64
_LONGEST_PATTERN: Final = 1024
_LONGEST_TEST: Final = 4096


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """One rule.

    Attributes:
        name: the kind of what it finds, one of the built-in ones or a new one.
        pattern: a regular expression in RE2's syntax.
        match: texts in which it finds something.
        no_match: texts in which it does not.
    """

    name: str
    pattern: str
    match: tuple[str, ...]
    no_match: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the table that the rule was read from."""
        return {
            "name": self.name,
            "pattern": self.pattern,
            "match": list(self.match),
            "no_match": list(self.no_match),
        }


def parse_rules(value: Any) -> tuple[RedactionRule, ...]:
    """Return the rules of a ``[[redaction_rule]]`` array.

    Raises:
        FieldError: the value is not such an array, or is too large.
    """
    if not isinstance(value, list) or len(value) > _MOST_RULES:
        raise FieldError("wrong_type", KEY, f"must be at most {_MOST_RULES} tables, [[{KEY}]]")
    return tuple(_rule(each, f"{KEY}[{index}]") for index, each in enumerate(value))


def _rule(value: Any, where: str) -> RedactionRule:
    table = Fields(value, where, ("name", "pattern", "match", "no_match"))
    name, pattern = table.text("name"), table.text("pattern")
    match, no_match = table.texts("match"), table.texts("no_match", [])
    if not _NAME.fullmatch(name):
        raise FieldError(
            "unknown_word",
            table.key("name"),
            "must be 3 to 18 lower-case letters and low lines",
            "like employee_id",
        )
    if name == _BINARY:
        raise FieldError("unknown_word", table.key("name"), "must not be binary, content without text")
    if not 0 < len(pattern) <= _LONGEST_PATTERN:
        raise FieldError(
            "unknown_word", table.key("pattern"), f"must have 1 to {_LONGEST_PATTERN} characters"
        )
    if not match:
        raise FieldError(
            "missing_key", table.key("match"), "needs a text in which the pattern finds something"
        )
    if any(len(text) > _LONGEST_TEST for text in (*match, *no_match)):
        raise FieldError("unknown_word", where, f"a test has more than {_LONGEST_TEST} characters")
    return RedactionRule(name, pattern, match, no_match)
