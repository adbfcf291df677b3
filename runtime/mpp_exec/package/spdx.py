"""The syntax of SPDX licence expressions (SPDX 2.3, annex D); identifiers are not looked up."""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.vocabulary import VocabularyError

MAX_EXPRESSION: Final = 500

_TOKEN: Final = lazily(r" *(\(|\)|[A-Za-z0-9.:+-]+)", re.ASCII)
_IDENTIFIER: Final = lazily(
    r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+|[A-Za-z0-9][A-Za-z0-9.-]*\+?", re.ASCII
)
_OPERATORS: Final = ("AND", "OR", "WITH")


def check_license(text: str) -> str:
    """Return *text* if it is a licence expression, such as ``MIT OR Apache-2.0``, or empty.

    Raises:
        VocabularyError: it is neither.
    """
    if text and not (len(text) <= MAX_EXPRESSION and _is_expression(text)):
        raise VocabularyError(
            f"{text!r} is not an SPDX licence expression",
            "as in Apache-2.0, or MIT OR Apache-2.0; see spdx.org/licenses",
        )
    return text


def _is_expression(text: str) -> bool:
    """Walk over the words: operands and operators alternate, parentheses balance, WITH takes two names."""
    position, depth, operand_next, after_with, after_name = 0, 0, True, False, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return False
        word, position = match.group(1), match.end()
        if word == "(":
            if not operand_next or after_with:
                return False
            depth += 1
        elif word == ")":
            if operand_next or depth == 0:
                return False
            depth -= 1
            after_name = False
        elif word in _OPERATORS:
            if operand_next or (word == "WITH" and not after_name):
                return False
            operand_next, after_with, after_name = True, word == "WITH", False
        else:
            if not operand_next or _IDENTIFIER.fullmatch(word) is None:
                return False
            operand_next, after_name, after_with = False, not after_with, False
    return depth == 0 and not operand_next
