"""Values that are known already: redacted wherever they stand, whatever surrounds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mpp_exec.privacy import rules
from mpp_exec.privacy.detect import in_original, views
from mpp_exec.privacy.finding import Candidate, is_word

USER_CONFIG: Final = "user_config"
# A short value is likely to be part of some innocent word, so it counts only as a word of its own.
_SHORT: Final = 8
# Of what detectors have found, pieces of this length are known: the length of an AWS secret access key
# and of a GitHub token, and less than a line of a private key. As they all have one length, one pass
# over a text finds any number of them.
_PIECE: Final = 40
# Up to here one fast search per piece is cheaper than that pass.
_FEW: Final = 64
_REST: Final = re.compile(r"[0-9A-Za-z+/_-]*={0,2}")


class Literals:
    """Values that are secret without being recognisable: configured ones, and pieces of those found."""

    def __init__(self) -> None:
        self._configured: dict[str, Candidate] = {}
        self._pieces: dict[str, Candidate] = {}

    def __bool__(self) -> bool:
        return bool(self._configured or self._pieces)

    def add_configured(self, value: str) -> None:
        """Make a sensitive configuration value known, also as it looks inside JSON text."""
        import json  # noqa: PLC0415  # only where there are such values

        escaped = (json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False))
        for written in (value, value.strip(), *escaped):
            for spelling, _ in views(written):
                if spelling:
                    self._configured[spelling] = Candidate("secret", 0, 0, 1.0, value, USER_CONFIG)
        self._add_pieces(value.splitlines(), Candidate("secret", 0, 0, 1.0, value, USER_CONFIG))

    def add_found(self, secret: Candidate) -> None:
        """Make a secret known that was recognised by its surroundings and may stand elsewhere without."""
        of_key = secret.rule == "private_key"
        self._add_pieces(rules.key_lines(secret.value) if of_key else [secret.value], secret)

    def _add_pieces(self, lines: list[str], secret: Candidate) -> None:
        for line in lines:
            for start in range(0, len(line) - _PIECE + 1, _PIECE):
                self._pieces.setdefault(line[start : start + _PIECE], secret)

    def find(self, text: str) -> list[Candidate]:
        """Return every occurrence of every value in *text*, in time linear in its length."""
        found: list[Candidate] = []
        for view, offsets in views(text):
            for start, end, known in (*self._find_configured(view), *self._find_pieces(view)):
                found.append(in_original(known._replace(start=start, end=end), offsets))
        return found

    def _find_configured(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        for value, known in self._configured.items():
            start = text.find(value)
            while start >= 0:
                end = start + len(value)
                inside = is_word(text[start - 1 : start]) or is_word(text[end : end + 1])
                if len(value) >= _SHORT or not inside:
                    yield start, end, known
                start = text.find(value, end)

    def _find_pieces(self, text: str) -> Iterator[tuple[int, int, Candidate]]:
        if len(self._pieces) <= _FEW:
            for piece, known in self._pieces.items():
                start = text.find(piece)
                while start >= 0:
                    end = _end(text, start)
                    yield start, end, known
                    start = text.find(piece, end)
            return
        end = 0
        for start in range(len(text) - _PIECE + 1):
            if start >= end and (piece := text[start : start + _PIECE]) in self._pieces:
                end = _end(text, start)
                yield start, end, self._pieces[piece]


def _end(text: str, start: int) -> int:
    """Return where the value ends of which a piece stands at *start*."""
    rest = _REST.match(text, start + _PIECE)
    return rest.end() if rest else start + _PIECE
