r"""Text as a terminal shows it: control characters, and the sequences that colour it, gone.

``jane\x1b[31m@\x1b[mexample.com`` is an address in what a search tool prints, and ``j\0a\0n\0e\0`` is what
UTF-16 looks like to whom it is not told. Tabs and line breaks stay: they separate what stands beside them.

Source: ECMA-48 (control sequences, control strings); Unicode's line and paragraph separators.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.fold import Offsets, without

# In Latin-1, as bytes: C0 but for NUL, tab, line feed and carriage return, DEL, C1.
_CONTROLS: Final = bytes((*range(1, 9), 11, 12, *range(14, 32), *range(127, 160)))
# A NUL before a line feed is what this package joins texts with (``detect.BETWEEN``), and a carriage return
# there is half of a line break.
_SEQUENCE: Final = (
    r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]|\x9b[0-?]{1,64}[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]{0,2048}(?:\x07|\x1b\\|\x9c)|\x1b[()*+][0AB]"
    r"|\x00(?!\n)|\r(?!\n)|[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]"
)
_LONGEST: Final = 4096  # code points, more than any of them has
_HIDDEN: Final = lazily(_SEQUENCE)
# How a manual page prints bold and underlined: each character over itself, or over a low line.
_OVERSTRUCK: Final = lazily(rf"([^\x00-\x1f])\x08(?=\1)|_\x08|{_SEQUENCE}")


def shown(text: str) -> Iterator[tuple[str, Offsets]]:
    """Yield *text* in each way it reads without its control characters, with the way back."""
    if not _has_controls(text):
        return
    for pattern in (_HIDDEN, _OVERSTRUCK) if "\b" in text else (_HIDDEN,):
        removed = [*meter.spans(pattern, text, reach=_LONGEST)]
        if removed:
            yield without(text, removed), Offsets(removed)


def _has_controls(text: str) -> bool:
    # Faster, in this order, than one look of a pattern at every character.
    data = text.encode("latin-1", "replace")
    if len(data.translate(None, _CONTROLS)) < len(data):
        return True
    if data.count(b"\0") > data.count(b"\0\n") or data.count(b"\r") > data.count(b"\r\n"):
        return True
    return not text.isascii() and ("\u2028" in text or "\u2029" in text)
