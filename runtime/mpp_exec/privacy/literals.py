"""Values that are known already: redacted wherever they stand, whatever surrounds them."""

from __future__ import annotations

import base64
import contextlib
import heapq
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter, rules
from mpp_exec.privacy.beginnings import Beginnings
from mpp_exec.privacy.configured import Configured
from mpp_exec.privacy.detect import BETWEEN
from mpp_exec.privacy.escapes import Unescaped
from mpp_exec.privacy.finding import KINDS, Candidate, is_word
from mpp_exec.privacy.repeats import AFTER, Repeats
from mpp_exec.privacy.views import in_original, views

USER_CONFIG: Final = "user_config"
RECEIVED: Final = "received"
"""Rules of the values that a tool was handed: its secrets, and what stood behind tokens."""
# Of what detectors have found, pieces of this length are known: the length of an AWS secret access key
# and of a GitHub token, and less than a line of a private key. As they all have one length, one pass
# over a text finds any number of them.
_PIECE: Final = 40
# Up to here one fast search per piece is cheaper than that pass.
_FEW: Final = 64
# So many values that begin with one word, and more, are looked for by that word.
_ALIKE: Final = 4
_REST: Final = lazily(r"[0-9A-Za-z+/_-]*={0,2}")
# What was recognised by its label is looked for as it was written. Beyond a few values they are found by the
# word that they start with, and secrets inside longer words by their first characters.
_FIRST_WORD: Final = lazily(r"[0-9A-Za-z]+|.", re.DOTALL)
_SHORTEST_SEEN: Final = 4
# A secret of this length is one inside a longer word, too.
_SHORTEST_GLUED: Final = 12
# Places of a text that are tried between two looks at the clock.
_STRIDE: Final = 1 << 15
# How deep JSON in JSON is that a value may have been found in.
_LEVELS: Final = 2
# Written the same inside JSON text.
_PLAIN: Final = lazily(r"[ !#-\[\]-~]*")
# Escapes that those spellings leave out: not ``\n`` and ``\"``, which stand everywhere in JSON.
_ESCAPED: Final = {
    "%": lazily(r"%[0-9A-Fa-f]{2}"),
    "\\": lazily(r"\\(?:[uUx][0-9A-Fa-f]{2}|[ !#-/:-@\[\]-`{-~])"),
    "&": lazily(r"&(?:#[0-9xX]|[A-Za-z]{2,8};)"),
}
_URL_SAFE: Final = str.maketrans("+/", "-_")
# A blank of a form, as a URL has it.
_FORM: Final = lazily(r"[^\s+]\+[^\s+]")
_MASKS: Final = frozenset(word for kind in KINDS for word in (kind.upper(), *kind.upper().split("_")))


class Literals:
    """Values that are secret without being recognisable: configured ones, and pieces of those found."""

    def __init__(self) -> None:
        self._configured = Configured()
        self._pieces: dict[str, Candidate] = {}
        self._seen: dict[str, Candidate] = {}
        self._asked: set[str] = set()
        self._by_word: dict[str, Beginnings] = {}
        self._glued: dict[str, Beginnings] = {}
        self._longest = 0
        self._has_blank = False
        # A text that is one string is asked about twice in a row.
        self._last: tuple[str, int, list[Candidate]] = ("", 0, [])

    def __bool__(self) -> bool:
        return bool(self._configured or self._pieces or self._seen)

    def add_configured(self, value: str, kind: str = "secret", rule: str = USER_CONFIG) -> None:
        """Make a value known that was handed to the tool, in every spelling of one level of encoding."""
        known = Candidate(kind, 0, 0, 1.0, value, rule)
        self._configured.add(value, known)
        self._add_pieces(value.splitlines(), known)

    def begun(self, text: str) -> int:
        """Return where a value begins that was handed to the tool and that *text* ends in the middle of."""
        return self._configured.begun(text)

    def add_found(self, secret: Candidate) -> None:
        """Make a secret known that was recognised by its surroundings and may stand elsewhere without."""
        of_key = secret.rule == "private_key"
        self._add_pieces(rules.key_lines(secret.value) if of_key else [secret.value], secret)

    def add_seen(self, written: str, candidate: Candidate) -> None:
        """Make a value known that its label gave away, and that may stand elsewhere without one."""
        if written in self._asked or len(written) < _SHORTEST_SEEN or written.upper() in _MASKS:
            return
        self._asked.add(written)
        spellings = [written] if _PLAIN.fullmatch(written) else _spellings(written)
        if candidate.kind == "secret" and len(self._seen) < _FEW:
            spellings = [*spellings, *_in_base64(written)]
        for spelling in spellings:
            if spelling in self._seen or len(spelling) < _SHORTEST_SEEN:
                continue
            self._seen[spelling] = candidate
            self._longest = max(self._longest, len(spelling))
            self._has_blank = self._has_blank or " " in spelling
            self._by_word.setdefault(_first_word(spelling, 0), Beginnings()).add(spelling)
            if _may_be_glued(candidate, spelling):
                self._glued.setdefault(spelling[:_SHORTEST_GLUED], Beginnings()).add(spelling)

    def _add_pieces(self, lines: list[str], secret: Candidate) -> None:
        for line in lines:
            for start in range(0, len(line) - _PIECE + 1, _PIECE):
                self._pieces.setdefault(line[start : start + _PIECE], secret)

    def find(self, text: str) -> list[Candidate]:
        """Return every occurrence of every value in *text*, in time linear in its length."""
        known = len(self._pieces) + len(self._seen)
        if self._last[0] is not text or self._last[1] != known:
            self._last = (text, known, self._found(text))
        return [*self._last[2]]

    def _found(self, text: str) -> list[Candidate]:
        found: list[Candidate] = []
        for each in self._configured.find(text) if self._configured else ():
            meter.step(len(found))
            found.append(each)
        if not self._pieces and not self._seen:
            return found
        for view, offsets in views(text):
            for start, end, known in (*self._in_reading(view), *self._find_escaped(view)):
                meter.step(len(found))
                found.append(in_original(known._replace(start=start, end=end), offsets))
        return found

    def _in_reading(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        yield from self._find_pieces(text)
        yield from self._find_seen(text)

    def _find_escaped(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        """Yield what stands in *text* where escapes of a URL, a program or HTML are undone."""
        plus = self._has_blank and bool(_FORM.search(text))
        if plus:  # in a form; as long as it was
            yield from self._in_reading(text.replace("+", " "))
        for mark, escape in _ESCAPED.items():
            if mark not in text or not escape.search(text):
                continue
            undone = Unescaped(text.replace("+", " ") if plus and mark == "%" else text, mark)
            for start, end, known in self._in_reading(undone.text):
                yield undone.original(start), undone.original(end), known

    def found_in(self, texts: Sequence[str]) -> Iterator[int]:
        """Yield the numbers of those *texts* that any value stands in."""
        joined = BETWEEN.join(texts)
        found = self.find(joined)
        if not found:
            return
        ends = list(accumulate(len(text) + len(BETWEEN) for text in texts))
        yield from sorted({bisect_right(ends, each.start) for each in found})

    def _find_seen(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        # Where most begin alike, one is part of the other, and a place is asked for all of them at once.
        if len(self._seen) <= min(_FEW, _ALIKE * len(self._by_word)):
            for written, known in self._seen.items():
                for start in meter.steps(_places(text, written, len(written))):
                    end = start + len(written)
                    if _may_be_glued(known, written) or not _is_inside(text, start, end):
                        yield start, end, known
            return
        words = (word.start() for word in _FIRST_WORD.finditer(text))
        glued = _windows(text, _SHORTEST_GLUED, self._glued)
        again = Repeats(text if self._longest < AFTER else "")
        for places, read in ((words, self._word_at), (glued, self._glued_at)):
            written_at = again.once(partial(read, text))
            low = high = 0
            value = ""
            for start in meter.steps(places):
                written, _ = written_at(start)
                if not written:
                    continue
                if start >= high or written != value:
                    if value:
                        yield low, high, self._seen[value]
                    low, value = start, written
                high = start + len(written)  # of the same value that overlaps, as one
            if value:
                yield low, high, self._seen[value]

    def _word_at(self, text: str, start: int) -> str:
        """Return the value that the word at *start* begins, "" if none."""
        begun = self._by_word.get(_first_word(text, start))
        for written in begun.at(text, start) if begun else ():
            if not _is_inside(text, start, start + len(written)):
                return written
        return ""

    def _glued_at(self, text: str, start: int) -> str:
        """Return the value that starts at *start*, where a word may go on around it, "" if none."""
        return next(self._glued[text[start : start + _SHORTEST_GLUED]].at(text, start), "")

    def _find_pieces(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        if len(self._pieces) <= _FEW:
            for piece, known in self._pieces.items():
                start = text.find(piece)
                while start >= 0:
                    meter.step()
                    end = _end(text, start)
                    yield start, end, known
                    start = text.find(piece, end)
            return
        end = 0
        for start in _windows(text, _PIECE, self._pieces):
            if start >= end:
                end = _end(text, start)
                yield start, end, self._pieces[text[start : start + _PIECE]]


def _spellings(written: str) -> dict[str, None]:
    """Return how a value may be *written* elsewhere: what it means as JSON, and as JSON in JSON has it."""
    import json  # noqa: PLC0415  # only where there are such values

    level = [written]
    for _ in range(_LEVELS):
        with contextlib.suppress(ValueError):
            level.append(str(json.loads(f'"{level[-1]}"', strict=False)))
    spellings = dict.fromkeys(level)
    for _ in range(_LEVELS):
        for each in [*spellings]:
            spellings |= dict.fromkeys(json.dumps(each, ensure_ascii=only)[1:-1] for only in (True, False))
    return spellings


def _in_base64(written: str) -> Iterator[str]:
    """Yield what base64 of *written* by itself is, with and without what it is filled up with."""
    encoded = base64.b64encode(written.encode("utf-8", "surrogatepass")).decode()
    if len(encoded) >= _SHORTEST_GLUED:  # a shorter one may be some word
        for each in (encoded, encoded.translate(_URL_SAFE)):
            yield from (each, each.rstrip("="))


def _windows(text: str, size: int, wanted: Collection[str]) -> Iterator[int]:
    """Yield where *text* goes on with one of *wanted*, strings of *size* code points each, in order.

    Places may overlap.

    Raises:
        StoppedError: the redaction must not go on.
    """
    if not wanted:
        return
    if len(wanted) <= _FEW:
        yield from meter.steps(heapq.merge(*(_places(text, each, 1) for each in wanted)))
        return
    last = len(text) - size + 1
    for low in range(0, last, _STRIDE):
        meter.pass_over(text)
        for start in range(low, min(low + _STRIDE, last)):
            if text[start : start + size] in wanted:
                meter.step()
                yield start


def _places(text: str, written: str, stride: int) -> Iterator[int]:
    """Yield where *written* stands in *text*, each at least *stride* behind the one before."""
    start = text.find(written)
    while start >= 0:
        yield start
        start = text.find(written, start + stride)


def _may_be_glued(known: Candidate, written: str) -> bool:
    """Tell whether a value counts inside a longer word, too."""
    return known.kind == "secret" and len(written) >= _SHORTEST_GLUED


def _first_word(text: str, start: int) -> str:
    word = _FIRST_WORD.match(text, start)
    return word[0] if word else ""


def _is_inside(text: str, start: int, end: int) -> bool:
    """Tell whether a value continues on either side, and so is only part of a longer one."""
    before = is_word(text[start - 1 : start]) and is_word(text[start : start + 1])
    return before or (is_word(text[end - 1 : end]) and is_word(text[end : end + 1]))


def _end(text: str, start: int) -> int:
    """Return where the value ends of which a piece stands at *start*."""
    rest = _REST.match(text, start + _PIECE)
    return rest.end() if rest else start + _PIECE
