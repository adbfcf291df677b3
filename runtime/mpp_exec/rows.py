r"""Breaks a line into screen rows, so that a row that the terminal wraps is not taken for a line of its own.

If a line is longer than the screen is wide, the terminal continues it in the first column, where lines of
ours begin. Whoever wrote the line and guesses the width can make anything appear there: ``it may:``, or the
end of the arguments of a call. So the line is broken before that, and each further row is marked.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from mpp_exec.patterns import lazily

WIDTH: Final = 78
"""Columns that nearly every screen has."""

_NARROWEST: Final = 24
_TAB: Final = 8
_WORD: Final = lazily(r"[!-~]{1,72}")
_BEGINNING: Final = lazily(r" {0,8}")


def rows(line: str, width: int = WIDTH) -> list[str]:
    """Return *line*, in which nothing is invisible, as rows of at most *width* columns.

    If the line is quoted (``  | ``), further rows begin in the same way, otherwise with a bar that is
    indented deeper. Characters beyond ASCII count as two columns, because some of them take two, and
    terminals disagree about which ones. The end of one word, such as a digest, stays whole, so that it can be
    copied.
    """
    if len(line) <= width and line.isascii() and "\t" not in line:
        return [line]
    room = max(width, _NARROWEST)
    beginning = _BEGINNING.match(line)
    assert beginning is not None
    mark = f"{beginning[0]}| " if line.startswith("|", beginning.end()) else f"{beginning[0]}  | "
    found: list[str] = []
    begin, used = 0, 0
    for at, character in enumerate(line):
        columns = _TAB if character == "\t" else 1 if character.isascii() else 2
        if used + columns > room:
            if _WORD.fullmatch(line, at):
                break
            found.append((mark if found else "") + line[begin:at])
            begin, used = at, len(mark)
        used += columns
    found.append((mark if found else "") + line[begin:])
    return found


def width_of(terminal: int) -> int:
    """Return the columns of a row on the open *terminal*."""
    with suppress(OSError):
        return width_for(os.get_terminal_size(terminal).columns)
    return WIDTH


def width_for(columns: int) -> int:
    """Return the columns of a row on a terminal that says it has so many: some wrap behind the last one."""
    return columns - 1 if columns > 0 else WIDTH
