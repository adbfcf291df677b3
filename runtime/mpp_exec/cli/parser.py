"""The parser of one verb: argparse for the options, with messages, help and completion of our own.

argparse's help differs between versions of Python and cannot name an example; its failures exit; and
its positional arguments may not stand between options. Here a failure is a :class:`UsageError`,
options and positional arguments come in any order, and help is a text that tests can compare.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

from mpp_exec.cli.console import Console
from mpp_exec.errors import UsageError

PROGRAM = "mpp-exec"

Offer = Literal["", "file", "folder", "package", "publisher"]
"""What a shell may offer as a value; "" for nothing."""


class Verb(NamedTuple):
    """What a module says of its verb: *configure* adds arguments, *run* does it and returns the exit code."""

    configure: Callable[[VerbParser], None]
    run: Callable[[argparse.Namespace, Console], int]


class Positional(NamedTuple):
    """One positional argument: *times* is ``1``, ``?`` (may be left out) or ``*`` (all that is left)."""

    name: str
    help: str
    times: str
    choices: tuple[str, ...]
    complete: Offer

    @property
    def attribute(self) -> str:
        """Its name in the namespace: of FILE|NAME the first."""
        return self.name.lower().partition("|")[0]


class Option(NamedTuple):
    """One option: *value* is the word for its value, "" if it takes none; it may be *bare* all the same."""

    names: tuple[str, ...]
    value: str
    help: str
    bare: bool
    choices: tuple[str, ...]
    complete: Offer

    @property
    def usage(self) -> str:
        """The words that stand for it in a help text."""
        names = ", ".join(self.names)
        value = f"[={self.value}]" if self.bare else f" {self.value}"
        return names + (value if self.value else "")


class VerbParser:
    """The parser of one verb.

    Attributes:
        verb, shown, summary: its name, how it stands in a usage line, and what it does.
        notes: further lines of its help; *examples* whole command lines.
    """

    def __init__(self, verb: str, shown: str, summary: str) -> None:
        self.verb = verb
        self.shown = shown
        self.summary = summary
        self.notes: tuple[str, ...] = ()
        self.examples: tuple[str, ...] = ()
        self.options: list[Option] = []
        self.positionals: list[Positional] = []
        self._options = _OptionParser(self)

    def positional(
        self,
        name: str,
        help_text: str,
        *,
        times: str = "1",
        choices: Iterable[str] = (),
        complete: Offer = "",
    ) -> None:
        """Add a positional argument; *name* is in capitals."""
        self.positionals.append(Positional(name, help_text, times, tuple(choices), complete))

    def flag(self, *names: str, help_text: str) -> None:
        """Add an option without a value."""
        self._options.add_argument(*names, action="store_true")
        self.options.append(Option(names, "", help_text, bare=False, choices=(), complete=""))

    def option(
        self,
        *names: str,
        value: str,
        help_text: str,
        bare: bool = False,
        choices: Iterable[str] = (),
        suggested: Iterable[str] = (),
        complete: Offer = "",
        **settings: Any,
    ) -> None:
        """Add an option with a value, called *value* in the help; a *bare* one may come without, which is "".

        It must be one of *choices*; *suggested* ones are only offered for completion. *settings* (type,
        action, default) go to argparse.
        """
        if choices:
            settings["choices"] = list(choices)
        self._options.add_argument(*names, metavar=value, **settings)
        self.options.append(Option(names, value, help_text, bare, (*choices, *suggested), complete))

    def hidden(self, *names: str, value: str) -> None:
        """Add an option that one part of this program says to another, and that no help tells of."""
        self._options.add_argument(*names, metavar=value)

    def common(self, *, json: bool = True) -> None:
        """Add the options that every verb has; to be called last."""
        if json:
            self.flag("--json", help_text="print one JSON document instead of text")
        self.option(
            "--home",
            value="DIR",
            help_text="the home to use, instead of $MPP_HOME or ~/.local/share/mpp-exec",
            complete="folder",
        )
        self.flag("-h", "--help", help_text="print this")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse *words*: options and positional arguments in any order; what follows ``--`` is no option.

        Raises:
            UsageError: ``usage.*``.
        """
        end = words.index("--") if "--" in words else len(words)
        bare = {name for option in self.options if option.bare for name in option.names}
        plain = [f"{word}=" if word in bare else word for word in words[:end]]
        given, rest = self._options.parse_known_args(plain)
        if given.help:
            return given
        for word in rest:
            if word.startswith("-") and word != "-":
                raise self._unknown(word)
        self._take([*rest, *words[end + 1 :]], given)
        return given

    def _take(self, words: list[str], given: argparse.Namespace) -> None:
        for positional in self.positionals:
            if positional.times == "*":
                setattr(given, positional.attribute, words)
                return
            if not words and positional.times == "1":
                raise self.mistake("usage.missing", f"{positional.name} is missing")
            word, words = (words[0], words[1:]) if words else (None, [])
            if word is not None and positional.choices and word not in positional.choices:
                known = ", ".join(positional.choices)
                raise self.mistake("usage.arguments", f"{positional.name} cannot be {word!r}: one of {known}")
            setattr(given, positional.attribute, word)
        if words:
            raise self.mistake("usage.unexpected", f"{words[0]!r} is one argument too many")

    def mistake(self, code: str, message: str, names: Sequence[str] = ()) -> UsageError:
        """Return the error for a command line that cannot be read, for the option called *names*."""
        hint = f"see {PROGRAM} {self.verb} --help"
        if self.examples:
            fitting = (each for each in self.examples if not set(names).isdisjoint(each.split()))
            hint = f"as in: {next(fitting, self.examples[0])}"
        return UsageError(code, message, hint)

    def _unknown(self, word: str) -> UsageError:
        import difflib  # noqa: PLC0415 -- only for a mistake

        name = word.partition("=")[0]
        known = [each for option in self.options for each in option.names if each.startswith("--")]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{PROGRAM} {self.verb} --help lists its options"
        return UsageError("usage.unknown_option", f"{self.verb} has no option {name}", hint)

    def help(self) -> list[str]:
        """Return the lines of its help: usage, what it does, arguments, options, examples."""
        lines = [f"usage: {PROGRAM} {self.shown} [options]", "", self.summary]
        if self.notes:
            lines += ["", *_wrapped(" ".join(self.notes), 100)]
        if self.positionals:
            lines += ["", "arguments:", *table([(each.name, each.help) for each in self.positionals])]
        lines += ["", "options:", *table([(each.usage, each.help) for each in self.options])]
        return [
            *lines,
            "",
            "example:" if len(self.examples) == 1 else "examples:",
            *map("  {}".format, self.examples),
        ]


class _OptionParser(argparse.ArgumentParser):
    def __init__(self, owner: VerbParser) -> None:
        # Its help is never printed; told a width, its formatter does not load shutil to ask for one.
        formatter = functools.partial(argparse.HelpFormatter, width=100)
        super().__init__(prog=owner.verb, add_help=False, allow_abbrev=False, formatter_class=formatter)
        self._owner = owner

    def error(self, message: str) -> NoReturn:
        said = message.removeprefix("argument ")
        raise self._owner.mistake("usage.arguments", said, said.partition(":")[0].split("/"))


def table(rows: Sequence[tuple[str, str]], *, width: int = 28) -> list[str]:
    """Return *rows* of two columns as lines, the second beginning at *width*."""
    lines = []
    for left, right in rows:
        first, *rest = _wrapped(right, 100 - width)
        if len(left) + 4 > width:
            lines += [f"  {left}", f"{'':{width}}{first}"]
        else:
            lines.append(f"  {left:<{width - 2}}{first}")
        lines += [f"{'':{width}}{line}" for line in rest]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
