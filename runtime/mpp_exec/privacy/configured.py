"""Values that a tool was handed: found in every spelling that one call of a library undoes.

As it stands; with escapes of URLs, JSON, HTML or a program for any of its characters; in base64 of the
value or of a text around it, in lines too; in hexadecimal digits. What of a value is a secret by itself
(members of a JSON document, the password of a URL) counts as one that was handed over. All spellings are
made once.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import meter
from mpp_exec.privacy.detect import detect
from mpp_exec.privacy.escapes import MARKS, Unescaped
from mpp_exec.privacy.finding import Candidate, is_word
from mpp_exec.privacy.secret_names import strength
from mpp_exec.privacy.values import is_random
from mpp_exec.privacy.views import in_original, views

# A short value is likely to be part of some innocent word, so it counts only as a word of its own; a little
# longer and of more than letters or digits, anywhere.
_SHORT: Final = 8
_SHORT_AND_MIXED: Final = 6
# Of base64 and of what is inside a value: shorter ones would be found everywhere.
_SHORTEST_CORE: Final = 5
_SHORTEST_PART: Final = 4
_SHORTEST_BEGUN: Final = 4
_LONG: Final = 12
_URL_SAFE: Final = str.maketrans("+/", "-_")
_LINE: Final = "[0-9A-Za-z+/_-]{60}"
_BREAK: Final = lazily(
    rf"\n(?:(?<={_LINE}\n)|(?<={_LINE}\r\n))[ \t]{{0,8}}(?=[0-9A-Za-z+/_-])"  # of base64 in lines
)
_JSON: Final = lazily(r"\s*[{\[]")
_SECRETS: Final = ("secret", "url_credential")


class Configured:
    """Values that a tool was handed, in every spelling in which they are looked for."""

    def __init__(self) -> None:
        self._plain: dict[str, Candidate] = {}
        # In base64, with how many characters on either side hold bits of the value, too.
        self._cores: dict[str, tuple[Candidate, int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._plain)

    def add(self, value: str, known: Candidate) -> None:
        """Make *value* known, and what of it is a secret by itself; *known* says what it counts as."""
        self._add(value, known)
        for part in _parts(value):
            if part != value:
                self._add(part, known._replace(value=part))

    def _add(self, value: str, known: Candidate) -> None:
        for written in dict.fromkeys((value, value.strip())):
            for spelling, _ in chain(views(written), ((each, None) for each in _in_paths(written))):
                if spelling:
                    self._plain.setdefault(spelling, known)
                    if " " in spelling:
                        self._plain.setdefault(
                            spelling.replace(" ", "+"), known
                        )  # in a form, as a URL has it
            data = written.encode("utf-8", "surrogatepass")
            if len(data) >= _SHORTEST_CORE:
                for digits in (data.hex(), data.hex().upper()):
                    self._plain.setdefault(digits, known)
            for shift in range(3):
                core, before, after = _core(data, shift)
                if len(core) >= _SHORTEST_CORE:
                    for spelling in (core, core.translate(_URL_SAFE)):
                        self._cores.setdefault(spelling, (known, before, after))

    def find(self, text: str) -> Iterator[Candidate]:
        """Yield every occurrence of every value in *text*, in any of its spellings."""
        for view, offsets in views(text):
            for found in self._in_view(view):
                yield in_original(found, offsets)

    def begun(self, text: str) -> int:
        """Return where in *text* a value begins that it ends in the middle of, its length for none."""
        starts = [len(text)]
        for value in self._plain:
            for length in range(min(len(value) - 1, len(text)), _SHORTEST_BEGUN - 1, -1):
                if text.endswith(value[:length]):
                    starts.append(len(text) - length)
                    break
        return min(starts)

    def _in_view(self, view: str) -> Iterator[Candidate]:
        yield from self._as_written(view)
        for mark in MARKS:  # one at a time: a value may hold what is an escape elsewhere
            if mark in view and (undone := Unescaped(view, mark)):
                for found in self._as_written(undone.text):
                    yield found._replace(start=undone.original(found.start), end=undone.original(found.end))

    def _as_written(self, text: str) -> Iterator[Candidate]:
        for value, known in self._plain.items():
            for start in _places(text, value):
                end = start + len(value)
                if _stands_alone(value) or not (
                    is_word(text[start - 1 : start]) or is_word(text[end : end + 1])
                ):
                    yield known._replace(start=start, end=end)
        yield from self._in_base64(text)
        if "\n" in text:
            yield from self._over_lines(text)

    def _in_base64(self, text: str) -> Iterator[Candidate]:
        for core, (known, before, after) in self._cores.items():
            for start in _places(text, core):
                end = start + len(core) + after
                yield known._replace(start=max(0, start - before), end=min(end, len(text)))

    def _over_lines(self, text: str) -> Iterator[Candidate]:
        """Yield what stands in base64 that is broken into lines."""
        breaks = [
            (each.start() - (text[each.start() - 1] == "\r"), each.end())
            for each in meter.steps(_BREAK.finditer(text))
        ]
        if not breaks:
            return
        from mpp_exec.privacy.fold import Offsets  # noqa: PLC0415  # with tables that few texts need

        starts, ends = [0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(text)]
        joined = "".join(text[start:end] for start, end in zip(starts, ends, strict=True))
        offsets = Offsets(breaks)
        for found in self._in_base64(joined):
            yield in_original(found, offsets)


def _core(data: bytes, shift: int) -> tuple[str, int, int]:
    """Return what base64 of *data* is behind *shift* bytes of anything, whatever stands around it.

    And how many characters in front and behind it, 0 or 1, hold bits of it beside those of others.
    """
    encoded = base64.b64encode(bytes(shift) + data).decode().rstrip("=")
    first = -(-8 * shift // 6)
    last = 8 * (shift + len(data)) // 6
    return encoded[first:last], int(8 * shift % 6 > 0), int(8 * (shift + len(data)) % 6 > 0)


def _in_paths(value: str) -> Iterator[str]:
    """Yield how *value* is spelled inside a path that somebody has normalised, and inside a JSON pointer."""
    if "/" in value:
        yield posixpath.normpath(f"/x/{value}").removeprefix("/x/")
        yield posixpath.normpath(value)
    if "/" in value or "~" in value:
        yield value.replace("~", "~0").replace("/", "~1")


def _stands_alone(value: str) -> bool:
    """Tell whether *value* is one wherever it stands, inside a longer word too."""
    return len(value) >= _SHORT or (
        len(value) >= _SHORT_AND_MIXED and not value.isalpha() and not value.isdigit()
    )


def _places(text: str, value: str) -> Iterator[int]:
    start = text.find(value)
    while start >= 0:
        meter.step()
        yield start
        start = text.find(value, start + len(value))


def _parts(value: str) -> Iterator[str]:
    """Yield what of a value is a secret by itself."""
    for found in detect(value):
        if found.kind in _SECRETS and not found.weak:
            part = found.value.partition(":")[2] if found.kind == "url_credential" else found.value
            if len(part) >= _SHORTEST_PART:
                yield part
    if _JSON.match(value):
        import json  # noqa: PLC0415  # only where there are such values

        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from _members(document)


def _members(document: Any) -> Iterator[str]:
    """Yield the strings of a JSON document that are secrets by their name or by what they look like."""
    waiting = [(document, "")]
    while waiting:
        value, key = waiting.pop()
        if isinstance(value, dict):
            waiting += [(member, name) for name, member in value.items()]
        elif isinstance(value, list):
            waiting += [(member, key) for member in value]
        elif isinstance(value, str) and len(value) >= _SHORTEST_PART:
            looks = len(value) >= _LONG and "://" not in value and is_random(value)
            if looks or strength(key) or len(value.splitlines()) > 1:
                yield value
