r"""What is printed, and how: the only module that writes to the standard streams.

The rules, for everything in this package:

- stdout holds results and nothing else: programs read it. Everything that is said about the work
  (progress, notes, warnings, errors, hints) goes to stderr: people read that.
- A failure is one line ``error: … [code]`` and, where there is something to do about it, one line
  ``hint: …``, for the person who typed the command. With ``--json`` stdout has the same as a document.
- Text that this program did not write itself (of a package, a tool, a file name, a caller) is
  escaped: control, bidirectional, zero-width and tag characters appear as ``\x1b``, so that no text
  can move the cursor, hide, reorder or pass for a line of ours; and a terminal gets long lines in rows that
  are marked (``rows``), since it would wrap them into lines that are not. There are two exceptions, and both
  hold for a pipe only: a tool's own result, and what ``redact`` made of its input, are passed as they
  are, since a program wants the bytes. On a terminal they are escaped too.
- JSON is escaped as well, as ``\u001b``, which changes nothing for whoever parses it.
- Colour, progress bars and a line that is drawn anew appear on a terminal, and not if ``NO_COLOR`` is set or
  ``TERM`` is ``dumb``. Elsewhere a bar is nothing, and such a line a plain one once in a while.
- Questions are asked at the terminal itself (``terminal``), never over the standard streams.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TextIO

from mpp_exec.errors import InternalError, MppError

_STYLES: Final = {"error": "1;31", "warning": "1;33", "hint": "36", "good": "32", "bad": "31", "strong": "1"}
_BAR: Final = 24
_CLEAR: Final = "\r\x1b[K"
_PATIENCE: Final = 0.4
"""Seconds of work before a progress bar appears, and between two drawings a quarter of it."""
_SECOND: Final = 1.0
_SELDOM: Final = 30.0
"""Seconds between two lines about long work, where they stay."""
_LEAVING: Final = 5.0
"""Seconds in which a thread has to end; it is never there where a Ctrl-C came just before its start."""

Progress = Callable[[int, int], None]
Tell = Callable[[str], None]


def escape(text: str, *, keep: str = "") -> str:
    """Return *text* as it may be shown: what a person would not see is written out, but for *keep*."""
    if text.isascii() and text.isprintable():
        return text
    from mpp_exec.characters import visible  # noqa: PLC0415 -- not for plain text

    return visible(text, keep=keep)


def _escaped_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


class Console:
    """The standard streams of one command."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._out = out if out is not None else _stream(sys.stdout)
        self._err = err if err is not None else _stream(sys.stderr)
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.out_is_terminal = _is_terminal(self._out)
        self._out_is_fancy = self.out_is_terminal and not plain
        self._err_is_fancy = _is_terminal(self._err) and not plain
        self._status: _Status | None = None

    # -- results -----------------------------------------------------------------------------------

    def result(self, lines: Iterable[str], *, style: str = "", whole: bool = False) -> None:
        """Print lines for people on stdout, escaped. *style* applies to all of them.

        They stay *whole* where they are to be copied, and nobody but this program wrote them.
        """
        for line in lines:
            shown = escape(line, keep="\t")
            for row in [shown] if whole else _rows_on(self._out, shown):
                self._write_out(f"{_styled(row, style) if self._out_is_fancy else row}\n")

    def json(self, document: Any) -> None:
        """Print one JSON document on stdout: on one line, or indented for a person at a terminal."""
        import json  # noqa: PLC0415 -- not for plain text

        indent, separators = (2, (",", ": ")) if self.out_is_terminal else (None, (",", ":"))
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
        self.json_text(text)

    def json_text(self, text: str) -> None:
        """Print JSON that is text already, and a line end."""
        from mpp_exec.characters import replace_forbidden  # noqa: PLC0415 -- not for plain text

        self._write_out(replace_forbidden(text, _escaped_json, keep="\n") + "\n")

    def data(self, text: str) -> None:
        """Print what a program wants as it is: escaped on a terminal, untouched in a pipe."""
        self._write_out(escape(text, keep="\n\t") if self.out_is_terminal else text)

    # -- what is said about the work -----------------------------------------------------------------

    def note(self, *lines: str) -> None:
        """Say something on stderr."""
        for line in lines:
            for row in _rows_on(self._err, escape(line, keep="\t")):
                self._write_err(f"{row}\n")

    def warning(self, text: str) -> None:
        """Say on stderr that something deserves attention."""
        self._labelled("warning", text)

    def error(self, error: MppError) -> None:
        """Report a failure on stderr: what, and what to do."""
        self.failed(error.code, error.message, error.hint)

    def failed(self, code: str, message: str, hint: str = "") -> None:
        """Report what is no error of this program: a tool that failed or was stopped."""
        self._labelled("error", f"{message} [{code}]")
        if hint:
            self._labelled("hint", hint)

    def tool_stderr(self, text: str) -> None:
        """Print on stderr what a tool wrote to its own, redacted by now."""
        if text:
            shown = escape(text, keep="\n\t")
            self._write_err(shown if shown.endswith("\n") else f"{shown}\n")

    @contextlib.contextmanager
    def progress(self, label: str) -> Iterator[Progress | None]:
        """Yield a function that draws a bar for long work, or None where nobody would see it."""
        if not self._err_is_fancy:
            yield None
            return
        bar = _Bar(self._err, escape(label))
        try:
            yield bar.draw
        finally:
            bar.clear()

    @contextlib.contextmanager
    def status(self) -> Iterator[Tell]:
        """Yield a function that takes what long work is at, in a few words, and can be called in any thread.

        At a terminal that is the last line, with the seconds that the work has taken, until the work ends.
        """
        status = _Status(self._err, fancy=self._err_is_fancy)
        self._status = status
        try:
            status.start()
            yield status.tell
        finally:
            status.end()
            self._status = None

    def flush(self) -> None:
        """Hand over everything that was printed.

        Raises:
            InternalError: ``output.io``, the stream cannot take it (a full disk).
            BrokenPipeError: whoever read it has gone.
        """
        try:
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from None

    def _labelled(self, label: str, text: str) -> None:
        shown = _styled(f"{label}:", label) if self._err_is_fancy else f"{label}:"
        self._write_err(f"{shown} {escape(text)}\n")

    def _write_out(self, text: str) -> None:
        try:
            self._out.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from None

    def _write_err(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody is there to be told
            self._out.flush()
        with self._status.aside() if self._status is not None else contextlib.nullcontext():
            _say(self._err, text)


class _Bar:
    """A progress bar. ``draw`` may be called from any thread, often."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._next = time.monotonic() + _PATIENCE
        self._drawn = False

    def draw(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next or total <= 0:
            return
        self._next = now + _PATIENCE / 4
        self._drawn = True
        share = min(done / total, 1.0)
        filled = round(share * _BAR)
        bar = "#" * filled + "." * (_BAR - filled)
        self._write(f"\r{self._label} [{bar}] {share:4.0%}")

    def clear(self) -> None:
        if self._drawn:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        _say(self._stream, text)


class _Status:
    """What long work is at: a line that a thread draws each second, or says once in a while.

    Bare locks, and no join: an interruption inside of ``threading``'s own leaves them held for ever. The
    thread is waited for all the same: one that begins while the interpreter ends crashes it (Python 3.11).
    """

    def __init__(self, stream: TextIO, *, fancy: bool) -> None:
        self._stream = stream
        self._fancy = fancy
        self._at = ""
        self._begun = time.monotonic()
        self._drawing = _thread.allocate_lock()
        self._running = _thread.allocate_lock()  # held while the work goes on
        self._there = _thread.allocate_lock()  # held while there is a thread
        self._drawn = False
        self._over = False

    def start(self) -> None:
        # A thread that tells something may be one that cannot read these files.
        import mpp_exec.characters  # noqa: PLC0415
        import mpp_exec.rows  # noqa: F401, PLC0415

        self._running.acquire()
        self._there.acquire()
        try:
            _thread.start_new_thread(self._draw_on, ())
        except RuntimeError:  # no thread can be had: then nothing is told
            self._there.release()

    def tell(self, text: str) -> None:
        self._at = text

    def end(self) -> None:
        self._over = True
        if self._running.locked():
            self._running.release()
        self._there.acquire(timeout=_LEAVING)
        with self.aside():
            pass

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Have the line be gone, and not come back meanwhile."""
        with self._drawing:
            if self._drawn:
                self._drawn = False
                _say(self._stream, _CLEAR)
            yield

    def _draw_on(self) -> None:
        period = _SECOND if self._fancy else _SELDOM
        try:
            while not self._running.acquire(timeout=period):
                with self._drawing:
                    if not self._over:
                        self._draw()
        finally:
            self._there.release()

    def _draw(self) -> None:
        taken = f"{time.monotonic() - self._begun:.0f} s"
        if not self._fancy:
            _say(self._stream, f"{escape(self._at or 'still at it')}, {taken}\n")
            return
        self._drawn = True
        at = _cut(escape(self._at), _columns(self._stream) - len(taken) - len("  , "))
        _say(self._stream, f"\r  {at}, {taken}\x1b[K" if at else f"\r  {taken}\x1b[K")


def _cut(text: str, room: int) -> str:
    """Return as much of *text* as surely fits into so many columns, where others count as in ``rows``."""
    used = 0
    for at, character in enumerate(text):
        used += 1 if character.isascii() else 2
        if used > room - 2:
            return f"{text[:at]}…"
    return text


def _say(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _stream(stream: TextIO | None) -> TextIO:
    """Make *stream* write UTF-8, whatever the locale: that is what JSON is, and what terminals show."""
    if stream is None:  # the descriptor was closed when this program started
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 -- lives as long as the program
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it was closed
        return False


def _rows_on(stream: TextIO, line: str) -> list[str]:
    """Return *line* as rows that *stream* does not wrap, where it is a terminal."""
    if not _is_terminal(stream):
        return [line]
    from mpp_exec.rows import rows  # noqa: PLC0415 -- not for a pipe

    return rows(line, _columns(stream))


def _columns(terminal: TextIO) -> int:
    from mpp_exec.rows import width_for, width_of  # noqa: PLC0415 -- not for a pipe

    columns = getattr(terminal, "columns", None)  # of one that is elsewhere, and says so itself
    return width_of(terminal.fileno()) if columns is None else width_for(columns)


def _styled(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style else text


def _unwritable(error: OSError) -> InternalError:
    return InternalError(
        "output.io", f"the result cannot be written: {error.strerror}", "check where stdout goes"
    )
