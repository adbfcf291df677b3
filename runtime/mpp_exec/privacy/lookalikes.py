"""Letters that stand for digits among digits: ``4l6-65O-2000``. Same length, same offsets."""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import is_word

# Where a digit and such a letter meet; most text has no such place.
MIXED: Final = re.compile(r"[0-9](?:[-./ ]?[OoIli]|(?<=[OoIli].)|(?<=[OoIli][-./ ].))")
# A number with separators, of nothing but digits and such letters; read forwards and backwards from there.
_FORWARD: Final = re.compile(r"(?:[-./_() ]{0,2}[0-9OoIli]){1,24}")
_BACKWARD: Final = re.compile(r"(?:[0-9OoIli][-./_() ]{0,2}){1,24}")
_REACH: Final = 72
_TABLE: Final = str.maketrans("OoIli", "00111")
_FEWEST: Final = 6


def digits(text: str) -> str:
    """Return *text* with letters as the digits that they look like, in numbers that are mostly digits."""
    written: list[str] = []
    read = 0
    meeting = MIXED.search(text)
    while meeting:
        meter.step()
        start = _start(text, read, meeting.start() + 1)
        forward = _FORWARD.match(text, meeting.start())
        end = forward.end() if forward else meeting.end()
        number = text[start:end]
        if (_is_number(number) and not is_word(text[end : end + 1])) or text[end : end + 1] in ("x", "X"):
            written += (text[read:start], number.translate(_TABLE))
            read = end
        meeting = MIXED.search(text, end)
    written.append(text[read:])
    return "".join(written)


def _start(text: str, floor: int, end: int) -> int:
    """Return where the number begins that holds the character before *end*."""
    backwards = text[max(floor, end - _REACH) : end][::-1]
    match = _BACKWARD.match(backwards)
    start = end - match.end() if match else end - 1
    while start < end and not text[start].isalnum():
        start += 1
    return start if not is_word(text[start - 1 : start]) else end  # the end of a word


def _is_number(written: str) -> bool:
    count = sum(map(str.isdigit, written))
    letters = sum(map(str.isalpha, written))
    return count + letters >= _FEWEST and count >= letters
