"""Letters that stand for digits among digits: ``4l6-65O-2000``. Same length, same offsets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.finding import is_word
from mpp_exec.privacy.repeats import Repeats

# A number with separators, of nothing but digits and such letters; read forwards and backwards from there.
_FORWARD: Final = lazily(r"(?:[-./_() ]{0,2}[0-9OoIli]){1,24}")
_BACKWARD: Final = lazily(r"(?:[0-9OoIli][-./_() ]{0,2}){1,24}")
_REACH: Final = 72
_TABLE: Final = str.maketrans("OoIli", "00111")
_FEWEST: Final = 6


class Region(NamedTuple):
    """A number of a text, and how it reads with digits for letters: of the same length."""

    start: int
    end: int
    written: str


def regions(text: str, meetings: Iterable[int]) -> list[Region]:
    """Return the numbers in *text* that are mostly digits; such letters stand beside digits at *meetings*."""
    found: list[Region] = []
    read = 0
    number_at = Repeats(text).once(lambda at: _number_at(text, 0, at))
    for at in meetings:
        meter.step(len(found))
        if at < read:
            continue
        # Not back into the number before, where that is near.
        number, by = number_at(at) if read <= at + 1 - _REACH else (_number_at(text, read, at), 0)
        if number:
            read = number.end + by
            found.append(Region(number.start + by, read, number.written))
    return found


def _number_at(text: str, floor: int, at: int) -> Region | None:
    """Return the number around *at* that does not start before *floor*, None if there is none."""
    start = _start(text, floor, at + 1)
    forward = _FORWARD.match(text, at)
    end = forward.end() if forward else at + 1
    number = text[start:end]
    if (_is_number(number) and not is_word(text[end : end + 1])) or text[end : end + 1] in ("x", "X"):
        return Region(start, end, number.translate(_TABLE))
    return None


def rewritten(text: str, numbers: Iterable[Region]) -> str:
    """Return *text* with digits for letters in *numbers*, which are in order."""
    written: list[str] = []
    read = 0
    for start, end, number in numbers:
        written += (text[read:start], number)
        read = end
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
