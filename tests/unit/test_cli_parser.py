"""The command line: every verb's parser, its help, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mpp_exec.cli.auditing import parse_when
from mpp_exec.cli.parser import VerbParser
from mpp_exec.cli.verbs import FAMILIES, GROUPS, VERBS, load
from mpp_exec.errors import UsageError

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def parser() -> VerbParser:
    made = VerbParser("verb", "verb FIRST", "do something")
    made.examples = ("mpp-exec verb x",)
    made.positional("FIRST", "what comes first")
    made.positional("REST", "all that is left", times="*")
    made.flag("-q", "--quiet", help_text="say less")
    made.option("--trust", value="KEY", bare=True, help_text="trust it")
    made.option("--set", value="K=V", action="append", default=[], help_text="set it")
    made.common()
    return made


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_that_fits_and_names_an_example(verb: str) -> None:
    lines = load(verb)[0].help()
    assert lines[0].startswith(f"usage: mpp-exec {verb}")
    assert any(line.startswith(f"  mpp-exec {verb}") or f"mpp-exec {verb}" in line for line in lines[-3:])
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_home_and_help(verb: str) -> None:
    made = load(verb)[0]
    assert made.read(["--help"]).help
    assert {"--home", "--help"} <= {name for option in made.options for name in option.names}


def test_the_overview_lists_every_verb_once() -> None:
    listed = [verb for _, verbs in GROUPS for verb in verbs]
    assert sorted(listed) == sorted(VERBS)
    assert {verb.partition(" ")[0] for verb in VERBS if " " in verb} == set(FAMILIES)


@pytest.mark.parametrize(
    "words",
    [
        ["a", "b", "c", "-q", "--set", "x=1", "--set", "y=2", "--trust=k"],
        ["-q", "--set", "x=1", "a", "--trust=k", "b", "--set=y=2", "c"],
        ["--set", "x=1", "--set", "y=2", "--trust=k", "-q", "--", "a", "b", "c"],
    ],
)
def test_options_and_arguments_come_in_any_order(words: list[str]) -> None:
    given = parser().read(words)
    assert (given.first, given.rest, given.quiet, given.set, given.trust) == (
        "a",
        ["b", "c"],
        True,
        ["x=1", "y=2"],
        "k",
    )


def test_a_bare_option_does_not_take_the_next_word() -> None:
    given = parser().read(["--trust", "file"])
    assert (given.trust, given.first) == ("", "file")


def test_behind_two_dashes_nothing_is_an_option() -> None:
    given = parser().read(["--", "-q", "--set", "--"])
    assert (given.first, given.rest, given.quiet) == ("-q", ["--set", "--"], False)


def test_a_single_dash_is_an_argument() -> None:
    assert parser().read(["-"]).first == "-"


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ([], "usage.missing", "as in: mpp-exec verb x"),
        (["a", "--quite"], "usage.unknown_option", "--quiet"),
        (["a", "-z"], "usage.unknown_option", "--help"),
        (["a", "--set"], "usage.arguments", "as in"),
        (["a", "--quiet=yes"], "usage.arguments", "as in"),
        (["a", "--qui"], "usage.unknown_option", "--quiet"),
    ],
)
def test_what_cannot_be_read_is_refused(words: list[str], code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().read(words)
    assert caught.value.code == code
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2h", datetime(2026, 6, 1, 10, tzinfo=UTC)),
        ("7d", datetime(2026, 5, 25, 12, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text: str, when: datetime) -> None:
    assert parse_when(text, NOW) == when


@pytest.mark.parametrize("text", ["", "yesterday", "2h ago", "-1h", "2026-13-01", "999999d", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW)
    assert caught.value.code == "audit.bad_time"
