"""The same text as a reader sees it: look-alikes of ASCII spelled in ASCII, invisible characters gone.

Only non-ASCII text comes here. :func:`spelled` maps one code point to one code point, so offsets
stay; :func:`without_invisible` removes code points and says where each remaining one came from.
The tables stand here, rather than being asked of ``unicodedata``, so that what is found does not
depend on the version of Python. They follow Unicode 16: decimal digits (Nd), compatibility forms
with a single ASCII equivalent (NFKC), dashes (Pd), spaces (Zs), Default_Ignorable_Code_Point and
combining marks. Letters of other scripts that look Latin (Unicode confusables.txt) are folded by
:func:`latin`, and only in words that mix scripts, since whole words in them are words.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter

# The zeros of every decimal digit system; its nine other digits follow each.
_ZEROS: Final = (
    "\u0660\u06f0\u07c0\u0966\u09e6\u0a66\u0ae6\u0b66\u0be6\u0c66\u0ce6\u0d66\u0de6\u0e50\u0ed0\u0f20\u1040"
    "\u1090\u17e0\u1810\u1946\u19d0\u1a80\u1a90\u1b50\u1bb0\u1c40\u1c50\ua620\ua8d0\ua900\ua9d0\ua9f0\uaa50"
    "\uabf0\U000104a0\U00010d30\U00011066\U000110f0\U00011136\U000111d0\U000112f0\U00011450\U000114d0"
    "\U00011650\U000116c0\U00011730\U000118e0\U00011950\U00011c50\U00011d50\U00011da0\U00016a60\U00016ac0"
    "\U00016b50\U0001d7ce\U0001d7d8\U0001d7e2\U0001d7ec\U0001d7f6\U0001e140\U0001e2f0\U0001e950\U0001fbf0"
    "\U00010d40\U000116d0\U000116da\U00011bf0\U00011f50\U00016d70\U0001ccf0\U0001e4f0\U0001e5f1"
)
_UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# (first code point of a run, the ASCII characters it stands for)
_RUNS: Final = (
    (0xFF01, "".join(map(chr, range(0x21, 0x7F)))),  # full-width forms
    (0x1D400, (_UPPER + _UPPER.lower()) * 13),  # mathematical alphanumerics
    (0x24B6, _UPPER + _UPPER.lower() + "0"),  # circled letters, circled zero
    (0x1F130, _UPPER),  # squared letters
    (0x2460, "123456789"),  # circled digits
    (0x2776, "123456789"),
    (0x2780, "123456789"),
    (0x278A, "123456789"),
    (0x2070, "0i"),  # superscripts and subscripts
    (0x2074, "456789"),
    (0x2080, "0123456789"),
    (0x2090, "aeox"),
    (0x2095, "hklmnpst"),
    (0x2102, "C"),  # letter-like symbols, which fill holes among the mathematical ones
    (0x210A, "gHHHh"),
    (0x2110, "IILl"),
    (0x2115, "N"),
    (0x2119, "PQRRR"),
    (0x2124, "Z"),
    (0x2128, "Z"),
    (0x212A, "K"),
    (0x212C, "BC"),
    (0x212F, "eEF"),
    (0x2133, "Mo"),
    (0x2139, "i"),
    (0x2145, "Ddeij"),
    (0x00B2, "23"),
    (0x00B9, "1"),
    (0x2010, "------"),  # dashes
    (0x2212, "-"),
    (0x2043, "-"),
    (0xFE58, "-"),
    (0xFE63, "-"),
    (0x00A0, " "),  # spaces
    (0x1680, " "),
    (0x2000, "           "),
    (0x202F, " "),
    (0x205F, " "),
    (0x3000, " "),
    (0x0085, "\n"),
    (0x2028, "\n\n"),
    (0x2024, "."),  # stops, colons, slashes, the at sign, the low line
    (0x3002, "."),
    (0xFE52, "."),
    (0xFF61, "."),
    (0xFE13, ":"),
    (0xFE55, ":"),
    (0x2236, ":"),
    (0x2044, "/"),
    (0x2215, "/"),
    (0xFE6B, "@"),
    (0xFE33, "__"),
    (0xFE4D, "___"),
)
_SPELLING: Final = {
    chr(first + step): ascii_
    for first, run in (*_RUNS, *((ord(zero), "0123456789") for zero in _ZEROS))
    for step, ascii_ in enumerate(run)
}
_TABLE: Final = str.maketrans(_SPELLING)
_FEW: Final = 16

# Default_Ignorable_Code_Point (soft hyphen, zero-width, bidirectional, fillers, variation selectors,
# tags), the byte order mark, interlinear annotation, and combining marks that sit on any character.
_INVISIBLE: Final = lazily(
    "[\u00ad\u0300-\u036f\u0483-\u0489\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u3164\ufe00-\ufe0f\ufe20-\ufe2f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)


def spelled(text: str) -> str:
    """Return *text* with every look-alike in ASCII. Same length, same offsets."""
    return "".join(map(_spelled, meter.slices(text)))


def _spelled(text: str) -> str:
    found = _SPELLING.keys() & set(text)
    if len(found) > _FEW:
        return text.translate(_TABLE)
    for character in found:  # each pass costs far less than a look at every code point
        text = text.replace(character, _SPELLING[character])
    return text


# Cyrillic, Greek, Armenian and small-capital letters that are drawn like a Latin one.
_CONFUSABLE: Final = dict(
    zip(
        "\u0430\u0435\u0451\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u0432\u043a\u043c\u043d\u0442"
        "\u0410\u0412\u0415\u0401\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
        "\u03b1\u03bf\u03c1\u03bd\u03b5\u03b9\u03ba\u03c4\u03c5\u03b3\u03b7\u03c7\u03f2\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
        "\u0570\u0578\u057d\u0585\u0131\u0251\u0261\ua731\u0280\u029f\u1d0f\u1d04",
        "aeeopcyxijsdhqwbkmhtABEEKMHOPCTYXIJSaopveiktuynxcABEZHIKMNOPTYXhnuoiagsrloc",
        strict=True,
    )
)
_CONFUSABLES: Final = str.maketrans(_CONFUSABLE)
_CONFUSED: Final = lazily("[" + "".join(_CONFUSABLE) + "]")
_WORD: Final = lazily(r"[^\s|<>()\"\\]+")
_BETWEEN_WORDS: Final = lazily(r"[\s|<>()\"\\]")
_ASCII_WORD: Final = lazily(r"[0-9A-Za-z]")


def latin(text: str) -> str:
    """Return *text* with look-alikes of Latin letters as these, in words that have both. Same length."""
    return "".join(map(_latin, meter.slices(text, _BETWEEN_WORDS)))


def _latin(text: str) -> str:
    return _WORD.sub(_as_latin, text) if _CONFUSED.search(text) else text


def _as_latin(match: re.Match[str]) -> str:
    word = match[0]
    return word.translate(_CONFUSABLES) if _ASCII_WORD.search(word) else word


class Offsets:
    """Where code points of a text with removals stood before."""

    def __init__(self, removed: Iterable[tuple[int, int]]) -> None:
        self._outer: Offsets | None = None
        self._at: list[int] = []  # offset in the shortened text where a removal took place
        self._shift: list[int] = []  # code points removed up to and including it
        total = 0
        for start, end in meter.steps(removed):
            self._at.append(start - total)
            total += end - start
            self._shift.append(total)

    def original(self, offset: int) -> int:
        """Return where the code point at *offset* of the shortened text stood."""
        found = bisect_right(self._at, offset)
        before = offset + self._shift[found - 1] if found else offset
        return before if self._outer is None else self._outer.original(before)

    def within(self, outer: Offsets) -> Offsets:
        """Return the way back through both, where the text with removals was shortened before (*outer*)."""
        both = Offsets(())
        both._at, both._shift, both._outer = self._at, self._shift, outer
        return both


def without_invisible(text: str) -> tuple[str, Offsets] | None:
    """Return *text* less its invisible characters and the way back, or None if it has none."""
    if not any(_INVISIBLE.search("".join(set(part))) for part in meter.slices(text)):
        return None
    removed = [*meter.spans(_INVISIBLE, text)]
    return without(text, removed), Offsets(removed)


def without(text: str, removed: Sequence[tuple[int, int]]) -> str:
    """Return *text* less the spans *removed*, which are in order."""
    ends = [0, *(end for _, end in removed)]
    starts = [*(start for start, _ in removed), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
