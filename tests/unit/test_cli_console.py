"""What is printed is escaped, and JSON stays the same JSON."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.characters import forbidden_character
from mpp_exec.cli.console import Console, escape
from mpp_exec.errors import InternalError, UsageError


class Stream(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.columns: int | None = None

    def isatty(self) -> bool:
        return self.terminal


def console(
    *, out: bool = False, err: bool = False, environ: dict[str, str] | None = None
) -> tuple[Console, Stream, Stream]:
    streams = Stream(terminal=out), Stream(terminal=err)
    return Console(out=streams[0], err=streams[1], environ=environ or {}), *streams


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\x1bb", r"a\x1bb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x7f\x80\x9b", r"\x7f\x80\x9b"),
        ("\u202e\u2066\u200b", r"\u202e\u2066\u200b"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\udcff"),
        ("\ufe0f\u3164\u115f", r"\ufe0f\u3164\u115f"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_nothing_unseen_passes(text: str) -> None:
    assert not forbidden_character(escape(text))
    assert not forbidden_character(escape(text, keep="\n\t"), allow_line_breaks=True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_json_says_the_same_and_shows_nothing_unseen(value: object) -> None:
    for terminal in (False, True):
        printer, out, _ = console(out=terminal)
        printer.json(value)
        text = out.getvalue()
        assert json.loads(text) == value
        assert not forbidden_character(text.replace("\n", ""))
        assert terminal or text.count("\n") == 1


def test_an_error_is_two_lines_whatever_is_in_it() -> None:
    printer, out, err = console()
    printer.error(UsageError("a.b", "first\nerror: forged\x1b[2J", "do\nthis"))
    assert err.getvalue() == "error: first\\nerror: forged\\x1b[2J [a.b]\nhint: do\\nthis\n"
    assert not out.getvalue()


def test_colour_is_for_terminals() -> None:
    error = UsageError("a.b", "x", "y")
    for environ, coloured in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": ""}, True),
    ):
        printer, _, err = console(err=True, environ=environ)
        printer.error(error)
        assert ("\x1b[" in err.getvalue()) is coloured
    printer, _, err = console()
    printer.error(error)
    assert "\x1b" not in err.getvalue()


def test_data_is_escaped_on_a_terminal_only() -> None:
    printer, out, _ = console(out=True)
    printer.data("a\x1b[2J\n\tb")
    assert out.getvalue() == "a\\x1b[2J\n\tb"
    printer, out, _ = console()
    printer.data("a\x1b[2J\n\tb")
    assert out.getvalue() == "a\x1b[2J\n\tb"


def test_no_bar_without_a_terminal() -> None:
    printer, _, err = console()
    with printer.progress("work") as progress:
        assert progress is None
    printer, _, err = console(err=True, environ={"NO_COLOR": "1"})
    with printer.progress("work") as progress:
        assert progress is None
    assert not err.getvalue()


def test_short_work_shows_no_bar() -> None:
    printer, _, err = console(err=True)
    with printer.progress("work") as progress:
        assert progress is not None
        for done in range(100):
            progress(done, 100)
    assert not err.getvalue()


class Full(Stream):
    """A stream on a full disk."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_result_that_cannot_be_written_is_an_error() -> None:
    printer = Console(out=Full(), err=Stream(), environ={})
    with pytest.raises(InternalError) as caught:
        printer.flush()
    assert caught.value.code == "output.io"


@pytest.mark.parametrize(("columns", "widest"), [(40, 39), (0, 78), (200, 199)])
def test_note_is_broken_where_a_client_says_that_its_terminal_wraps(columns: int, widest: int) -> None:
    """A runtime that writes for it has no descriptor of that terminal."""
    stream = Stream(terminal=True)
    stream.columns = columns
    Console(out=Stream(), err=stream, environ={}).note("word " * 60)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= widest
