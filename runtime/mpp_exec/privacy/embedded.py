"""JSON in a string: what a tool prints that answers with text, a line of a log, a fenced block.

Its keys say of its strings and numbers what they would say if it were not text. What they leave alone is left
alone here, too: the ``name`` of a product does not become somebody's for being written down.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.escapes import Unescaped
from mpp_exec.privacy.finding import Candidate

if TYPE_CHECKING:
    import json


class Said(NamedTuple):
    """What the keys of a JSON value say of its strings and numbers.

    Attributes:
        total: how many there are, of numbers those that could hold a value; None where nothing depends on it.
        below: by their number in document order those that a key announces: text, key, and candidates in
            offsets of the text.
    """

    total: int | None
    below: Mapping[int, tuple[str, str, list[Candidate]]]


Read = Callable[[Any], Said]
"""Says it of one value after the other."""


_BEGINS: Final = lazily(r"\{\s{0,64}\"|\[\s{0,64}[{\[\"]")
_TOKEN: Final = lazily(r"\"([^\"\\]*(?:\\.[^\"\\]*)*)\"(\s{0,64}:)?|-?[0-9][0-9.eE+-]*", re.DOTALL)
_ESCAPED: Final = lazily(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL
)
_SHORTEST: Final = 8
_PART: Final = 1 << 12  # code points in which a value is looked for at first
_LITERAL: Final = 16  # more than ``-Infinity`` or an escape has: what may be cut and is told at its beginning
# Code points that are read in vain, beyond the text itself, before no more is tried.
_IN_VAIN: Final = 1 << 12
# What a label in front of a value is believed of by itself, and is not below the keys of JSON.
_QUIET: Final = ("address", "person", "username")


class _Text(NamedTuple):
    """A string or number of JSON as it is written: its offsets, less quotes, and whether it has escapes."""

    start: int
    end: int
    raw: str
    is_string: bool


def announced(text: str, found: list[Candidate], read: Read, keeps: Callable[[Any], bool]) -> list[Candidate]:
    """Return *found*, less what the keys of JSON in *text* leave alone, and with what they announce.

    *keeps* tells whether a number is one of those that *read* counts.
    """
    quiet = sorted(each.start for each in found if is_quiet(each))
    dropped: set[int] = set()
    more: list[Candidate] = []
    for low, high, value in _values(text):
        said = read(value)
        is_any = any(candidates for _, _, candidates in said.below.values()) if said.below else False
        if not is_any and (not quiet or bisect_left(quiet, low) == bisect_left(quiet, high)):
            continue
        texts = _texts(text, low, high, keeps)
        if not _are_meant(texts, said):
            continue
        sure: set[int] = set()
        for number, (_, _, candidates) in said.below.items():
            if candidates:
                sure.add(texts[number].start)
                more += _in_text(texts[number], candidates)
        dropped.update({each.start for each in texts} - sure)
    if not more and not dropped:
        return found
    return [
        each
        for each in found
        if not (is_quiet(each) and each.start in dropped and not is_mailbox(text, each))
    ] + more


def escaped(text: str, read: Read, keeps: Callable[[Any], bool]) -> Iterator[Candidate]:
    """Yield what the keys of JSON in *text* announce that is escaped as a whole: in HTML, in quotes."""
    for mark, signs in _ESCAPED_WHOLE:
        if any(sign in text for sign in signs):
            plain = Unescaped(text, mark)
            for each in announced(plain.text, [], read, keeps):
                yield each._replace(start=plain.original(each.start), end=plain.original(each.end))


# What undoes it, and the quotes that begin a key then.
_ESCAPED_WHOLE: Final = (("&", ("&quot;", "&#34;", "&#x22;")), ("\\", ('{\\"', '[\\"')))


def is_quiet(candidate: Candidate) -> bool:
    """Tell whether a label in front of a value may have made *candidate*, which a key of JSON need not."""
    return candidate.kind in _QUIET and not candidate.rule


def is_mailbox(text: str, candidate: Candidate) -> bool:
    """Tell whether what follows *candidate* makes it a name, whatever stands above: ``Jane Doe <jane@…>``."""
    return text[candidate.end : candidate.end + 2].lstrip('" ').startswith("<")


class KeysAbove:
    """The keys of JSON in *text* that announce what is found in it.

    Whoever asks in the order of the text has it gone over once; what nobody asks about is not read.
    """

    def __init__(self, text: str, read: Read, keeps: Callable[[Any], bool]) -> None:
        self._text = text
        self._read = read
        self._keeps = keeps
        self._begin()

    def _begin(self) -> None:
        self._values = _values(self._text)
        self._behind = self._low = self._high = 0  # the end of a value, and the next one
        self._value: Any = None
        self._keys: list[tuple[int, int, str]] | None = []

    def of(self, span: Candidate) -> str | None:
        """Return the key that announces *span*: "" for one in a string, None if none does."""
        if span.start < self._behind:
            self._begin()
        while span.start >= self._high:
            if (following := next(self._values, None)) is None:
                return None
            self._behind = self._high
            self._low, self._high, self._value = following
            self._keys = None
        if span.start < self._low:
            return None
        if self._keys is None:
            self._keys = sorted(self._announcing())
        index = bisect_left(self._keys, (span.start + 1,)) - 1
        return self._keys[index][2] if index >= 0 and span.start < self._keys[index][1] else None

    def _announcing(self) -> Iterator[tuple[int, int, str]]:
        """Yield start and end of each string and number of a value that a key announces, and the key."""
        said = self._read(self._value)
        texts = _texts(self._text, self._low, self._high, self._keeps)
        for number, (_, key, candidates) in said.below.items() if _are_meant(texts, said) else ():
            if candidates:
                yield texts[number].start, texts[number].end, key


def quiet(text: str, read: Read, keeps: Callable[[Any], bool]) -> frozenset[int]:
    """Return where in *text* the strings of JSON begin that no key makes a name or an address."""
    starts: set[int] = set()
    for low, high, value in _values(text):
        said = read(value)
        texts = _texts(text, low, high, keeps)
        if _are_meant(texts, said):
            sure = {texts[number].start for number, (*_, found) in said.below.items() if found}
            starts.update({each.start for each in texts} - sure)
    return frozenset(starts)


def _values(text: str) -> Iterator[tuple[int, int, Any]]:
    """Yield start, end and value of each object or array in *text*."""
    if len(text) < _SHORTEST or not ("{" in text or "[" in text):
        return
    import json  # noqa: PLC0415  # most results have no text that is JSON

    decoder = json.JSONDecoder(strict=False)
    at, in_vain = 0, 0
    while (begins := _BEGINS.search(text, at)) and in_vain <= len(text) + _IN_VAIN:
        meter.step()
        low = begins.start()
        try:
            length, value = _value_at(text, low, decoder)
        except (RecursionError, ValueError):  # too deep, or a number with too many digits
            return
        if length > 0:
            yield low, low + length, value
        in_vain -= min(0, length)
        at = low + max(1, length)


def _value_at(text: str, low: int, decoder: json.JSONDecoder) -> tuple[int, Any]:
    """Return the length of a JSON value in *text* and the value; of none, less than 0: what was read in vain.

    It is looked for in a part of the text, and in a larger one where that may have ended too early: what is
    wrong with JSON is told with its line, so the decoder counts all that stand before it.
    """
    size = _PART
    while True:
        part = text[low : low + size]
        try:
            value, end = decoder.raw_decode(part)
        except ValueError as error:
            pos, message = getattr(error, "pos", None), getattr(error, "msg", "")
            if pos is None:  # a number with too many digits
                raise
            is_cut = pos > len(part) - _LITERAL or message.startswith("Unterminated")
            if len(part) < size or not is_cut:
                return -len(part) if is_cut else -1 - pos, None
        else:
            return end, value
        size *= 8


def _texts(text: str, low: int, high: int, keeps: Callable[[Any], bool]) -> list[_Text]:
    """Return the strings and numbers between two offsets of *text*, less keys, in document order."""
    texts: list[_Text] = []
    for token in _TOKEN.finditer(text, low, high):
        meter.step()
        if token[1] is None:
            if keeps(_number(token[0])):
                texts.append(_Text(token.start(), token.end(), token[0], is_string=False))
        elif token[2] is None:
            texts.append(_Text(token.start(1), token.end(1), token[1], is_string=True))
    return texts


def _are_meant(texts: list[_Text], said: Said) -> bool:
    """Tell whether *texts* are what was read: a key that stands twice in an object is read once."""
    return said.total is None or (
        len(texts) == said.total
        and all(_means(texts[number], meant) for number, (meant, _, _) in said.below.items())
    )


def _number(written: str) -> int | float:
    return int(written) if written.lstrip("-").isdigit() else float(written)


def _means(written: _Text, meant: str) -> bool:
    if written.is_string and "\\" in written.raw:
        import json  # noqa: PLC0415  # loaded by now

        return bool(json.loads(f'"{written.raw}"', strict=False) == meant)
    return not written.is_string or written.raw == meant


def _in_text(written: _Text, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield *candidates* of the meaning of a string or number with offsets into the text that has it."""
    offsets: list[int] = []
    if written.is_string and "\\" in written.raw:
        offsets = [each.start() for each in meter.steps(_ESCAPED.finditer(written.raw))]
        offsets.append(len(written.raw))
    for each in candidates:
        if not written.is_string:
            start, end = 0, written.end - written.start
        else:
            start, end = (offsets[each.start], offsets[each.end]) if offsets else (each.start, each.end)
        yield each._replace(start=written.start + start, end=written.start + end)
