"""One level of encoding undone: escapes of URLs and of JSON, and base64, with the way back to offsets."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from mpp_exec.privacy import meter

# Escapes of printable ASCII; what is no escape of that kind hides no value that a detector would know.
ESCAPED: Final = re.compile(r"%[2-7][0-9A-Fa-f]|\\u00[2-7][0-9A-Fa-f]")
# Standard and URL-safe (RFC 4648), long enough for a value in it.
_BASE64: Final = re.compile(r"(?<![0-9A-Za-z+/_-])[0-9A-Za-z+/_-]{16,}={0,2}(?![0-9A-Za-z+/_=-])")
_SHORTEST: Final = 16
_LONGEST: Final = 1 << 16
_URL_SAFE: Final = str.maketrans("-_", "+/")


class Unescaped:
    """A text with its escapes as the characters they stand for.

    Attributes:
        text: what a reader sees who undoes the escapes.
    """

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self._at: list[int] = []  # offset in the shorter text behind each escape
        self._shift: list[int] = []  # how much shorter it is from there on
        read = shift = length = 0
        for escape in meter.steps(ESCAPED.finditer(text)):
            pieces += (text[read : escape.start()], chr(int(escape[0][-2:], 16)))
            length += escape.start() - read + 1
            shift += escape.end() - escape.start() - 1
            self._at.append(length)
            self._shift.append(shift)
            read = escape.end()
        pieces.append(text[read:])
        self.text = "".join(pieces)

    def original(self, offset: int) -> int:
        """Return where the code point at *offset* stood; what precedes it ended there."""
        index = bisect_right(self._at, offset)
        return offset + self._shift[index - 1] if index else offset


def may_hold_base64(text: str) -> bool:
    """Tell whether a word of *text* is printable text in base64."""
    words = " ".join([word for word in text.split() if len(word) >= _SHORTEST])
    return bool(words) and next(decoded(words), None) is not None


def decoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and meaning of what in *text* is printable text in base64."""
    for match in meter.steps(_BASE64.finditer(text)):
        encoded = match[0].rstrip("=")
        if len(encoded) % 4 == 1 or len(encoded) > _LONGEST:
            continue
        padded = encoded.translate(_URL_SAFE) + "=" * (-len(encoded) % 4)
        try:
            meaning = binascii.a2b_base64(padded).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if meaning.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
            yield match.start(), match.end(), meaning
