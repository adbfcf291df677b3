"""One level of encoding undone: escapes of URLs, JSON, HTML, programs; base64; with the way back."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter

_X: Final = r"\\{1,2}x"
# Bytes of UTF-8 that are one character, each behind a mark.
_MANY_BYTES: Final = (
    "{0}[CDcd][0-9A-Fa-f]{0}[89ABab][0-9A-Fa-f]|{0}[Ee][0-9A-Fa-f](?:{0}[89ABab][0-9A-Fa-f]){{2}}"
    "|{0}[Ff][0-4](?:{0}[89ABab][0-9A-Fa-f]){{3}}"
)
# Escapes of printable ASCII and of letters, also where they are escaped once more in a JSON string; what is
# no escape of that kind hides no value that a detector would know. Python has ``\xfc``, and bytes in bytes.
_ESCAPE: Final = lazily(
    r"%[2-7][0-9A-Fa-f]|\\{1,2}u0(?:0[2-7A-Fa-f]|1[0-9A-Fa-f])[0-9A-Fa-f]"
    r"|&(?:#(?:[0-9]{2,3}|[xX][0-9A-Fa-f]{2})|[A-Za-z]{2,8});"
    rf"|{_MANY_BYTES.format('%')}|{_MANY_BYTES.format(_X)}|{_X}[2-7A-Fa-f][0-9A-Fa-f]"
)
# Every escape of one character, by the mark that it starts with: bytes of UTF-8 in a URL or a program, JSON,
# what a shell or a regular expression needs, HTML. For a value that is known, whatever its characters are.
_BYTES: Final = "{0}[0-7][0-9A-Fa-f]|" + _MANY_BYTES
_EVERY_ESCAPE: Final = {
    "%": lazily(_BYTES.format("%")),
    "\\": lazily(
        _BYTES.format(r"\\x")
        + r"|\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}"
        r"|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}|\\[ -/:-@\[-`{-~bfnrtv]"
    ),
    "&": lazily(r"&(?:#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6})|[A-Za-z]{2,8});"),
}
MARKS: Final = tuple(_EVERY_ESCAPE)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Standard and URL-safe (RFC 4648), long enough for a value in it.
_BASE64: Final = lazily(r"[0-9A-Za-z+/_-]{16,}={0,2}(?![0-9A-Za-z+/_=-])")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class Unescaped:
    """A text with its escapes as the characters they stand for.

    Args:
        text: the text.
        mark: undo every escape that starts with this one of MARKS; without one, those that may hide what a
            detector looks for.

    Attributes:
        text: what a reader sees who undoes the escapes.
    """

    def __init__(self, text: str, mark: str = "") -> None:
        pattern, meaning_of = (_EVERY_ESCAPE[mark], _any_meaning) if mark else (_ESCAPE, _meaning)
        pieces: list[str] = []
        self._at: list[int] = []  # offset in the shorter text behind each escape
        self._shift: list[int] = []  # how much shorter it is from there on
        read = shift = length = 0
        for escape in meter.steps(pattern.finditer(text)):
            meaning = meaning_of(escape[0])
            if not meaning:
                continue
            pieces += (text[read : escape.start()], meaning)
            length += escape.start() - read + 1
            shift += escape.end() - escape.start() - 1
            self._at.append(length)
            self._shift.append(shift)
            read = escape.end()
        pieces.append(text[read:])
        self.text = "".join(pieces)

    def __bool__(self) -> bool:
        """Tell whether anything in it was escaped."""
        return bool(self._at)

    def original(self, offset: int) -> int:
        """Return where the code point at *offset* stood; what precedes it ended there."""
        index = bisect_right(self._at, offset)
        return offset + self._shift[index - 1] if index else offset


def _meaning(escape: str) -> str:
    """Return the printable character that an escape stands for, "" if it stands for none."""
    if escape[0] != "&":
        meaning = _any_meaning(escape.replace("\\\\", "\\"))
        return meaning if meaning.isprintable() else ""
    name = escape[1:-1]
    if name[0] != "#":
        return _entities().get(name, "")
    code = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0x20 <= code < 0x7F else ""


def _any_meaning(escape: str) -> str:
    """Return the one character that an escape of any kind stands for, "" if it stands for none."""
    if escape[0] == "&":
        from html import unescape  # noqa: PLC0415  # a table of two thousand names, which few texts need

        meaning = unescape(escape)
        return meaning if len(meaning) == 1 else ""
    if escape[0] == "%" or escape[1] == "x":
        data = bytes.fromhex(escape.replace("%", "").replace("\\x", ""))
        return data.decode("utf-8", "ignore") or (chr(data[0]) if len(data) == 1 else "")
    if escape[1] in "uU" and len(escape) > 2:
        units = [int(unit, 16) for unit in re.split(r"\\[uU]", escape)[1:]]
        code = units[0] if len(units) == 1 else 0x10000 + (units[0] - 0xD800 << 10) + units[1] - 0xDC00
        return chr(code) if code < 0x110000 else ""
    return _CONTROLS.get(escape[1], escape[1])


@cache
def _entities() -> dict[str, str]:
    """Return the names that HTML has for characters of ASCII."""
    from html.entities import html5  # noqa: PLC0415  # a table of two thousand names, which few texts need

    return {
        name.removesuffix(";"): meaning
        for name, meaning in html5.items()
        if len(meaning) == 1 and meaning.isascii() and meaning.isprintable()
    }


def decoded(text: str, starts: Iterable[int]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and meaning of what in *text*, at some of *starts*, is printable text in base64."""
    for at in meter.steps(starts):
        match = _BASE64.match(text, at)
        if not match:
            continue
        encoded = match[0].rstrip("=")
        padded = encoded.translate(_URL_SAFE) + "=" * (-len(encoded) % 4)
        try:
            meaning = binascii.a2b_base64(padded).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if meaning.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
            yield match.start(), match.end(), meaning
