"""``mpp-exec``: from the words of a command line to an exit code.

Exit codes: 0 done, 1 the tool said isError, 2 usage, 3 verification failed, 4 not trusted, approved,
confirmed or allowed, 5 this host cannot enforce it, 6 stopped by a limit or a violation, 7 a fault of
mpp-exec or of the machine; 128 and the number of the signal where one ended it (130 for Ctrl-C).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import NamedTuple, NoReturn

from mpp_exec.cli.console import Console
from mpp_exec.cli.parser import PROGRAM, table
from mpp_exec.cli.verbs import FAMILIES, GROUPS, VERBS, load
from mpp_exec.errors import InternalError, MppError, UsageError

Run = Callable[[Namespace, Console], int]
"""Does the verb ``run``, as parsed, and returns the exit code."""

_PIPE_CLOSED = 128 + signal.SIGPIPE
_NEW_OBJECTS = 100_000
"""How many objects may be new before the collector looks for those that refer to one another."""
_LONG_LIVED = ("mcp", "serve")
"""Verbs whose processes make many calls: each leaves such objects, 20 MiB of them where nobody looks."""


class Interrupted(KeyboardInterrupt):
    """A signal that asks this process to end; whatever is open is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def command() -> int:
    """Do all that a process is for, and return its exit code.

    The objects of modules and classes refer to one another and live as long as the process. So the collector
    seldom looks for more of that kind where the process ends soon, and at the end leaves what is there to the
    kernel: of ``run`` to take it apart was a seventh.
    """
    if verb_of(sys.argv[1:]) not in _LONG_LIVED:
        gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    code = main()
    gc.freeze()
    return code


def main(words: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if words is None else words
    _fill_descriptors()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup stays nohup
            signal.signal(number, _interrupt)
    console = Console()
    try:
        code = perform(words, console)
        console.flush()
    except KeyboardInterrupt as stopped:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        console.note("interrupted")
        code = 128 + getattr(stopped, "number", signal.SIGINT)
    except BrokenPipeError:
        code = _PIPE_CLOSED
    except MppError as error:  # flushing failed
        console.error(error)
        code = error.exit_code
    _silence_stdout()
    return code


def perform(words: list[str], console: Console, instead: Mapping[str, Run] = MappingProxyType({})) -> int:
    """Do what *words* say and return the exit code; a failure is told, not raised.

    *instead* has what stands in for verbs that are done for another process.
    """
    try:
        return _dispatch(words, console, instead)
    except MppError as error:
        return _fail(error, words, console)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 -- nobody sees a traceback who did not ask for it
        if os.environ.get("MPP_DEBUG"):
            import traceback  # noqa: PLC0415 -- only for a fault

            console.note(*traceback.format_exc().splitlines())
        return _fail(_unexpected(error), words, console)


def _fail(error: MppError, words: list[str], console: Console) -> int:
    options = words[: words.index("--")] if "--" in words else words
    if "--json" in options:
        console.json(error.to_json())
    console.error(error)
    return error.exit_code


def _unexpected(error: Exception) -> InternalError:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    file = place.tb_frame.f_code.co_filename.rpartition("/")[2] if place is not None else ""
    where = f" at {file}:{place.tb_lineno}" if place is not None else ""
    return InternalError(
        "internal.unexpected",
        f"{type(error).__name__}{where}: {error}",
        "this is a fault of mpp-exec: run it again with MPP_DEBUG=1 and report what it prints",
    )


def verb_of(words: list[str]) -> str:
    """Return the verb that *words* ask for, "" where they ask for none that there is."""
    try:
        return _split(words).verb
    except UsageError:
        return ""


def _dispatch(words: list[str], console: Console, instead: Mapping[str, Run]) -> int:
    asked = _split(words)
    if asked.version:
        from mpp_exec import __version__  # noqa: PLC0415 -- only when asked

        console.result([f"{PROGRAM} {__version__}"])
        return 0
    if not asked.verb:
        if asked.help:
            console.result(_overview(), whole=True)
            return 0
        raise UsageError("usage.no_verb", "nothing to do", f"{PROGRAM} --help lists the verbs")
    if asked.verb in FAMILIES:
        if asked.help:
            console.result(_overview(asked.verb), whole=True)
            return 0
        members = ", ".join(verb.partition(" ")[2] for verb in VERBS if verb.startswith(f"{asked.verb} "))
        raise UsageError("usage.no_verb", f"{asked.verb} needs one more word", f"one of: {members}")
    parser, verb = load(asked.verb)
    if asked.help:
        console.result(parser.help(), whole=True)
        return 0
    given = parser.read(asked.rest)
    if given.help:
        console.result(parser.help(), whole=True)
        return 0
    given.home = given.home or asked.home
    return instead.get(asked.verb, verb.run)(given, console)


class _Asked(NamedTuple):
    verb: str
    rest: list[str]
    home: str | None = None
    help: bool = False
    version: bool = False


def _split(words: list[str]) -> _Asked:
    """Find the verb, and what stands before it."""
    rest = list(words)
    home: str | None = None
    json: list[str] = []
    wants_help = False
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in ("-h", "--help"):
            wants_help = True
        elif word == "--version":
            return _Asked("", [], version=True)
        elif word == "--json":
            json = ["--json"]
        elif word == "--home" and rest:
            home = rest.pop(0)
        elif word.startswith("--home="):
            home = word.partition("=")[2]
        else:
            raise UsageError(
                "usage.unknown_option",
                f"there is no option {word} before a verb" if word != "--home" else "--home needs a folder",
                f"{PROGRAM} --help lists what there is",
            )
    if not rest:
        return _Asked("", [], home, wants_help)
    verb = rest.pop(0)
    if verb in FAMILIES:
        while rest and rest[0] in ("-h", "--help"):
            rest.pop(0)
            wants_help = True
        if rest and not rest[0].startswith("-"):
            verb = f"{verb} {rest.pop(0)}"
    if verb not in VERBS and verb not in FAMILIES:
        raise _unknown_verb(verb)
    return _Asked(verb, [*json, *rest], home, wants_help)


def _unknown_verb(verb: str) -> UsageError:
    import difflib  # noqa: PLC0415 -- only for a mistake

    close = difflib.get_close_matches(verb, [*VERBS, *FAMILIES], n=1)
    hint = f"did you mean {PROGRAM} {close[0]}?" if close else f"{PROGRAM} --help lists the verbs"
    return UsageError("usage.unknown_verb", f"there is no verb {verb!r}", hint)


def _overview(family: str = "") -> list[str]:
    lines = [f"usage: {PROGRAM} [--home DIR] {f'{family} ' if family else ''}VERB …", ""]
    if not family:
        lines += [
            "Runs signed tool packages, each call in a sandbox of its own, redacted and on the record.",
            "",
        ]
    for title, verbs in GROUPS:
        rows = [(VERBS[verb].shown, VERBS[verb].summary) for verb in verbs if verb.startswith(family)]
        if rows:
            lines += [f"{title}:", *table(rows, width=34), ""]
    lines += [f"{PROGRAM} {f'{family} ' if family else ''}VERB --help shows options and examples."]
    if not family:
        lines += [
            "",
            "Exit codes: 0 done; 1 the tool failed; 2 usage; 3 verification failed; 4 not trusted, not",
            "approved, not confirmed or against policy; 5 this host cannot enforce it; 6 stopped by a limit;",
            "7 a fault of mpp-exec.",
        ]
    return lines


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _fill_descriptors() -> None:
    """Open what the caller closed of 0, 1 and 2: else the next file opened would take its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _silence_stdout() -> None:
    """Keep the interpreter from complaining at exit about what could not be written."""
    try:
        sys.stdout.flush()
    except (OSError, AttributeError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.close(null)


if __name__ == "__main__":
    sys.exit(command())
