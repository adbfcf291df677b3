"""Finds, refuses and escapes characters that a person cannot see or takes for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mpp_exec.patterns import lazily

# Characters that a person does not see, or that change how others are seen. The ranges stand here
# because unicodedata's answer depends on the version of Python, and what is refused must not:
# controls (Cc), Default_Ignorable_Code_Point of Unicode 16 (zero-width, bidirectional, variation
# selectors, tags), line and paragraph separators, interlinear annotation, surrogates, noncharacters.
_UNSEEN: Final = (
    "\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f"
    "\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufdd0-\\ufdef\\ufe00-\\ufe0f\\ufeff"
    "\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(1, 17))
)
_HIDDEN: Final = lazily(f"[{_UNSEEN}]")
# A blank that is no blank to any rule that knows blanks: the pattern of Braille without a dot.
_FORBIDDEN: Final = lazily(f"[{_UNSEEN}\\u2800]")
# What looks like a space, and is another character, but for the wide one of East Asian texts.
_INEXACT: Final = lazily(f"[{_UNSEEN}\\u2800\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f]")
_WHITESPACE_CONTROLS: Final = "\t\n\r"


def forbidden_character(text: str, *, allow_line_breaks: bool = False) -> str:
    """Return the first control, bidirectional, zero-width, tag or blank character as ``U+XXXX``, or ``""``.

    *allow_line_breaks* lets tab, line feed and carriage return pass: for data that is only ever
    shown escaped.
    """
    if text.isascii() and text.isprintable():  # most names are: no pattern is compiled for them
        return ""
    for match in _FORBIDDEN.finditer(text):
        if not (allow_line_breaks and match.group() in _WHITESPACE_CONTROLS):
            return f"U+{ord(match.group()):04X}"
    return ""


def replace_forbidden(text: str, replacement: Callable[[str], str], *, keep: str = "") -> str:
    """Return *text* with every :func:`forbidden_character` replaced, but those in *keep*."""
    return _FORBIDDEN.sub(lambda match: match[0] if match[0] in keep else replacement(match[0]), text)


def visible(text: str, *, keep: str = "") -> str:
    r"""Return *text* with what a person would not see written out, as ``\x1b``, but for *keep*."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def exact(text: str) -> str:
    r"""Return *text* with all written out that a person would not see, or would take for a space."""
    return _INEXACT.sub(lambda match: ascii(match[0])[1:-1], text)
