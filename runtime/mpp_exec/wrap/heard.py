"""What pip and npm say while they work, in a few words; and what they try over and over.

Their lines hold names that strangers chose. Only what has the form of a name is taken from them, and whoever
shows it escapes it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from mpp_exec.patterns import lazily

PATIENCE: Final = 900.0
"""Seconds of one run of an installer, where nobody says otherwise."""

MANY: Final = 12
"""Versions of one project that are tried before somebody is told: pip itself speaks up about there."""

_MAX_LINE: Final = 2000
_PIP: Final = lazily(r" *(Collecting|Downloading|Processing|Using cached|Installing)\b ?(\S*)")
_PROGRESS: Final = lazily(r"Progress (\d{1,15}) of (\d{1,15})")
_NPM: Final = lazily(r"npm http (?:fetch GET (\d{3})|cache) (\S+)")
_RETRYING: Final = lazily(r"WARNING: Retrying\b|npm http fetch GET \S+ attempt \d+ failed")
_NAME: Final = lazily(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE: Final = lazily(r"@?[A-Za-z0-9][A-Za-z0-9@/._+~!-]{0,150}")


def _nobody(_: str) -> None:
    """Take a line that nobody reads."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who follows long work.

    Attributes:
        tell: takes what is being done, in a few words, whenever that changes; called often, in any thread.
        say: takes a line that is worth keeping.
        patience: seconds that one installer may take.
    """

    tell: Callable[[str], None] = _nobody
    say: Callable[[str], None] = _nobody
    patience: float = PATIENCE


class Heard:
    """Listens to one run of an installer. *step* is what it was started for."""

    def __init__(self, step: str, watch: Watch) -> None:
        self._step = step
        self._watch = watch
        self._versions: dict[str, set[str]] = defaultdict(set)
        self._warned = False
        self._at = ""
        watch.tell(step)

    def take(self, line: str) -> None:
        """Hear one line."""
        if match := _PROGRESS.fullmatch(line):
            done, whole = int(match[1]), int(match[2])
            if self._at and 0 < done <= whole:
                self._watch.tell(f"{self._at}, {done * 100 // whole} %")
            return
        words = _doing(line[:_MAX_LINE])
        if not words:
            return
        verb, what = words
        name, tried = self._counted(what) if verb == "downloading" else ("", 0)
        again = f"{tried} versions of {name} tried, " if tried > 2 else ""
        self._at = f"{self._step}: {again}{verb} {what}".rstrip()
        self._watch.tell(self._at)
        if tried >= MANY and not self._warned:
            self._warned = True
            self._watch.say(
                f"no version of {name} fits so far, and each is fetched to find out: "
                f"--constraint '{name}==VERSION' would leave one"
            )

    def most_tried(self) -> tuple[str, int]:
        """Return the project of which most versions were looked at, and how many."""
        return max(((name, len(each)) for name, each in self._versions.items()), key=_second, default=("", 0))

    def _counted(self, file: str) -> tuple[str, int]:
        """Count the version that *file* is of (PEP 427, PEP 625)."""
        name, _, rest = file.removesuffix(".metadata").partition("-")
        name = re.sub(r"[-_.]+", "-", name).lower()
        if not rest.endswith((".whl", ".tar.gz", ".zip")) or _NAME.fullmatch(name) is None:
            return "", 0
        self._versions[name].add(rest.partition("-")[0])
        return name, len(self._versions[name])


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _doing(line: str) -> tuple[str, str] | None:
    """Return what *line* says is done, and to what; None where it says nothing of the kind."""
    if _RETRYING.match(line):
        return "the registry does not answer, trying again", ""
    if match := _PIP.match(line):
        if match[1] == "Installing":
            return "unpacking", ""
        return ("looking at" if match[1] == "Collecting" else "downloading"), _last(match[2])
    if match := _NPM.match(line):
        if match[1] is not None and not match[1].startswith(("2", "3")):
            return f"the registry answers {match[1]} for", _of_registry(match[2])
        return "fetched", _of_registry(match[2])
    return None


def _last(word: str) -> str:
    """Return the file, or the project, that *word* of pip's ends with: an address may hold a password."""
    match = _FILE.match(re.split(r"[?#]", word)[0].rpartition("/")[2])
    return match[0] if match else ""


def _of_registry(address: str) -> str:
    """Return what npm fetched from *address*: a project, or a file of one."""
    path = unquote(re.split(r"[?#]", address)[0].rpartition("://")[2].partition("/")[2])
    scope, _, file = path.rpartition("/")
    scope = scope.rpartition("/")[2]
    if scope.startswith("@"):
        file = f"{scope}/{file}"
    match = _FILE.fullmatch(file)
    return match[0] if match else ""
