"""Redaction of text that is longer than anyone wants to hold: piece by piece, the same however it arrives.

Text is redacted in blocks, and where a block ends depends on the text alone, never on how it was cut into
pieces: behind the last line of about a mebibyte that leaves no value, no private key and no announcement in
two. A block is read with some of what stands in front of it and behind it, so that what announces a value may
stand on the other side of its end. What has been found in one block is known in the next ones; what a block
finds does not reach back into those that have been handed over. The header of a table goes with its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from mpp_exec.privacy import rules, sql, tables
from mpp_exec.privacy.detect import detect
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.redact import Redactor

_BLOCK: Final = 1 << 20
"""Code points of a block, at most; with what is looked at behind its end, that is all that is ever held."""
_LOOK: Final = 1 << 14
_CONTEXT: Final = 256  # code points in front of a value that may announce it
_TRIES: Final = 64  # ends of lines that are tried before one is taken
_ANNOUNCES: Final = ":=,([{|>\\\"'"
_MOST_KNOWN: Final = 1 << 14  # blocks' worth of findings that are remembered


class StreamRedactor:
    """Redacts one long text. Not thread-safe.

    Args:
        new_redactor: makes what redacts a block; a new one is made when it knows too much.
        block: code points of a block, for tests of it.
    """

    def __init__(self, new_redactor: Callable[[], Redactor], *, block: int = _BLOCK) -> None:
        self._new = new_redactor
        self._redactor = new_redactor()
        self._block = block
        self._look = min(_LOOK, block // 4)
        self._held = ""
        self._pieces: list[str] = []
        self._length = 0
        self._header = ""
        self._context = ""
        self._known = 0
        self.counts: Counter[str] = Counter()
        """How many values of each kind were found so far."""

    def feed(self, text: str) -> str:
        """Take in more text, and return what is certain by now.

        Raises:
            StoppedError: as :meth:`Redactor.redact`.
        """
        self._pieces.append(text)
        self._length += len(text)
        if self._length < self._block + self._look:
            return ""
        self._held, self._pieces = "".join(self._pieces), []
        written: list[str] = []
        while len(self._held) >= self._block + self._look:
            text = self._held[: self._block + self._look]
            clean, end = self._redacted(text, self._end_of_block(text))
            written.append(clean)
            self._held = self._held[end:]
        self._pieces, self._length = [self._held], len(self._held)
        return "".join(written)

    def finish(self) -> str:
        """Return the rest; nothing may be fed any more.

        Raises:
            StoppedError: as :meth:`feed`.
        """
        rest, self._pieces, self._length = "".join(self._pieces), [], 0
        return self._redacted(rest, len(rest))[0] if rest else ""

    def _end_of_block(self, text: str) -> int:
        """Return where the block ends that *text* begins with: behind one of its last lines, or in one."""
        low = self._block - self._look
        straddled = detect(text[low:])
        fallback = 0
        end = text.rfind("\n", low, self._block) + 1
        for _ in range(_TRIES):
            if end <= low:
                break
            fallback = fallback or end
            inside = any(each.start + low < end < each.end + low for each in straddled)
            if not inside and text[low:end].rstrip()[-1:] not in _ANNOUNCES:
                break
            end = text.rfind("\n", low, end - 1) + 1
        end = end if end > low else fallback or self._between(low, straddled)
        if rules.opens_private_key(text[:end]):
            begins = text.rfind("-----BEGIN", 0, end)
            end = begins if begins > 0 else end
        return end

    def _between(self, low: int, straddled: list[Candidate]) -> int:
        """Return an end that is inside no value of a text without lines."""
        end = self._block
        for each in sorted(straddled, reverse=True, key=_start):
            announced = each.start + low - _CONTEXT  # what announces it stays with it
            if announced < end < each.end + low:
                end = announced
        if end > low:
            return end
        # Values stand so close to each other that there is no such place: behind one of them, where what
        # announces the next begins. In front of *low* nothing is known of what would be cut.
        for end in sorted({each.end + low for each in straddled}, reverse=True):
            if end <= self._block and not any(each.start + low < end < each.end + low for each in straddled):
                return end
        return self._block

    def _redacted(self, text: str, end: int) -> tuple[str, int]:
        """Return what is written of a block, and where it ends, which is not in a value.

        *text* holds besides what stands behind *end*; what stood in front of it is known.
        """
        if self._known > _MOST_KNOWN:
            self._redactor, self._known = self._new(), 0
        header = f"{self._header}\n" if self._header and self._header not in self._context else ""
        above = header + self._context
        written, stop, found = self._redactor.redact_block(above + text, len(above), len(above) + end)
        if any(each.start < len(header) < each.end for each in found):  # goes on from the header: it was none
            above = self._context
            written, stop, found = self._redactor.redact_block(above + text, len(above), len(above) + end)
        self._known += len(found)
        self.counts.update(each.kind for each in found)
        read = (above + text)[:stop]
        self._header = tables.header_of(read) or sql.open_statement(read)
        before = read[max(0, len(read) - self._look) :]
        self._context = before.partition("\n")[2] if len(before) < len(read) and "\n" in before else before
        return written, stop - len(above)


def _start(candidate: Candidate) -> int:
    return candidate.start
