"""Asking a person: at the terminal that controls this session, whatever the standard streams are.

An answer that decides what may run must come from whoever sits at the keyboard, so it is read from
``/dev/tty`` (tty(4)) and from nowhere else: not from standard input, which a pipe, an agent or a
script may supply, and not from arguments. What the question is about is written to the same
terminal, so that redirecting stderr cannot part the two. Without a controlling terminal there is
nobody to ask.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
from collections.abc import Iterable, Iterator
from typing import Final

from mpp_exec.cli.console import escape
from mpp_exec.errors import UsageError
from mpp_exec.rows import rows, width_of

_MAX_LINE: Final = 64 * 1024
_HEARING: Final = 0.2  # seconds between two looks at whether a signal has come


class Terminal:
    """The controlling terminal, open. Close it, or use :meth:`opened`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator[Terminal | None]:
        """Yield the controlling terminal, or None where there is none."""
        try:
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def show(self, lines: Iterable[str]) -> None:
        """Write *lines*, escaped, in rows that the terminal does not wrap."""
        width = width_of(self._descriptor)
        for line in lines:
            for row in rows(escape(line, keep=chr(9)), width):
                self._write(f"{row}\n")

    def choose(self, question: str, answers: str) -> str:
        """Ask for one of the letters *answers*; anything else, and no answer, is the last of them.

        What was typed before the question appeared does not count.
        """
        termios.tcflush(self._descriptor, termios.TCIFLUSH)
        self._write(f"{escape(question)} ")
        said = self._read_line().decode("utf-8", "replace").strip().lower()
        return next((letter for letter in answers if said in _spellings(letter)), answers[-1])

    def confirm(self, question: str) -> bool:
        """Ask for yes or no; only ``y`` or ``yes`` is a yes."""
        return self.choose(f"{question} [y/N]", "yn") == "y"

    def line(self, prompt: str) -> str:
        """Ask for one line of text, "" for none."""
        self._write(f"{escape(prompt)} ")
        return _text(self._read_line())

    def secret(self, prompt: str) -> str:
        """Ask for one line that does not appear while it is typed."""
        before = termios.tcgetattr(self._descriptor)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        try:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)
            self._write(f"{escape(prompt)} ")
            return _text(self._read_line())
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
            self._write("\n")

    def _read_line(self) -> bytes:
        """Return one line without its end; what ends without one, as at Ctrl-D, is none."""
        data = b""
        while not data.endswith(b"\n") and len(data) < _MAX_LINE:
            try:
                # Ctrl-C that comes just before read(2) would be heard behind it only.
                while not select.select([self._descriptor], [], [], _HEARING)[0]:
                    pass
                part = os.read(self._descriptor, 4096)
            except OSError:  # the terminal is gone, or this is a background job that may not read
                part = b""
            if not part:
                self._write("\n")
                return b""
            data += part
        return data.removesuffix(b"\n")

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]


def _spellings(letter: str) -> tuple[str, ...]:
    return {"y": ("y", "yes"), "n": ("n", "no"), "l": ("l", "later")}.get(letter, (letter,))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError("terminal.not_text", "what was typed is not UTF-8 text", "type it again") from None
