"""Where in a text a value could stand: the door to ``native/anchors.c``, which reads a text once.

What it does not find is not looked at any further, so what it says must hold for every value that a detector
would find. It knows words that announce a value or start a token, and the first sign of each form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from mpp_exec.privacy import meter
from mpp_exec.privacy._anchors import ffi, lib

# What has to stand around a word (``native/anchors.h`` says what each means).
CASE: Final[int] = lib.MPP_NEEDLE_CASE
WORD: Final[int] = lib.MPP_NEEDLE_WORD
WHOLE: Final[int] = lib.MPP_NEEDLE_WHOLE
START: Final[int] = lib.MPP_NEEDLE_START
TOKEN: Final[int] = lib.MPP_NEEDLE_TOKEN
DIGIT: Final[int] = lib.MPP_NEEDLE_DIGIT
COLON: Final[int] = lib.MPP_NEEDLE_COLON
ASSIGN: Final[int] = lib.MPP_NEEDLE_ASSIGN
AT_SIGN: Final[int] = lib.MPP_NEEDLE_AT
ROLE: Final[int] = lib.MPP_NEEDLE_ROLE

FORMS: Final[int] = lib.MPP_FORMS
_LONGEST: Final[int] = lib.MPP_NEEDLE_MAX
_CHUNK: Final = 1 << 20  # bytes between two looks at whether the redaction may go on; a few milliseconds
_ROOM_MIN: Final[int] = 2 * lib.MPP_ROOM_MIN
_ROOM_MAX: Final = 1 << 14
_LARGEST: Final = 1 << 31
_uncleared: Final[Any] = ffi.new_allocator(should_clear_after_alloc=False)


def form(name: str) -> int:
    """Return the number of a form by its name in ``enum mpp_form``."""
    number: int = getattr(lib, f"MPP_FORM_{name}")
    return number


class Needle(NamedTuple):
    """A word that is searched for in either case.

    Attributes:
        word: 1 to 64 ASCII characters.
        checks: what has to stand around it, any of the constants above together.
        need: how many characters that tokens are made of follow it (``TOKEN``).
    """

    word: str
    checks: int = 0
    need: int = 0


class Scanner:
    """Finds anchors. Made once for a set of words; safe to use in several threads.

    Args:
        needles: each is known by its number in them.
    """

    def __init__(self, needles: Sequence[Needle]) -> None:
        words = b"".join(needle.word.encode("ascii") for needle in needles)
        self._words = ffi.from_buffer(words or b"\0")
        states = len(words) + 1
        classes = len(set(words.lower())) + 1
        entries = ffi.new("struct mpp_needle[]", max(1, len(needles)))
        twins: dict[str, int] = {}
        offset = 0
        for number, needle in enumerate(needles):
            folded = needle.word.lower()
            entries[number] = (offset, len(needle.word), needle.checks, twins.get(folded, 0), needle.need)
            twins[folded] = number + 1
            offset += len(needle.word)
        # What the automaton points to lives as long as it does.
        self._held = (
            entries,
            ffi.new("uint32_t[]", states * classes),
            *(ffi.new("uint32_t[]", states) for _ in range(3)),
        )
        self._automaton = ffi.new("struct mpp_automaton *")
        automaton = self._automaton
        automaton.words, automaton.needles, automaton.needle_count = self._words, entries, len(needles)
        automaton.state_room, automaton.next_room = states, states * classes
        automaton.next, automaton.fail, automaton.output, automaton.link = self._held[1:]
        if lib.mpp_automaton_build(automaton, len(words)) != 0:
            raise ValueError("no words to search for")

    def chunks(self, text: str) -> Iterator[list[int]]:
        """Yield the anchors of one part of *text* after the other, as offset, number, offset, number.

        The number of a form is below ``FORMS``, that of a needle is behind. Within a part anchors are almost
        in order: what ends at the same place may start at different ones.

        Raises:
            StoppedError: the redaction must not go on.
        """
        yield from _chunks(text, lambda *where: lib.mpp_scan_text(self._automaton, *where))


def marks(text: str) -> Iterator[list[int]]:
    """Yield where *text* reads in another way, ``LOOKALIKE`` and ``CONTROL``, as :meth:`Scanner.chunks` does.

    Raises:
        StoppedError: as there.
    """
    yield from _chunks(text, lib.mpp_scan_marks)


def _chunks(text: str, scan_on: Callable[..., int]) -> Iterator[list[int]]:
    # One byte for each code point: what is no Latin-1 is a question mark, which no word has.
    data = text.encode("latin-1", "replace")
    size = len(data)
    if size >= _LARGEST:
        raise meter.StoppedError("seconds")
    held = ffi.from_buffer(data)
    scan = ffi.new("struct mpp_scan *")
    room = min(_ROOM_MIN + size // 4, _ROOM_MAX)
    found = _uncleared("struct mpp_anchor[]", room)
    flat = ffi.cast("uint32_t *", found)
    while scan.at < size:
        meter.pass_over(text)
        count = scan_on(held, size, min(size, scan.at + _CHUNK), scan, found, room)
        if count:
            yield ffi.unpack(flat, 2 * count)
