"""Confirmation: a person agrees to one call, having seen all of it.

The answer comes from a function that the embedding program or the command line supplies. Neither
the model, which wrote the arguments, nor the tool can call it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

from mpp_exec.characters import exact
from mpp_exec.consent.grant import Grant
from mpp_exec.encoding import json_dumps
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.package.manifest import Confirm as Confirmation
from mpp_exec.package.manifest import Operation
from mpp_exec.rows import WIDTH, rows

MAX_SHOWN: Final = 64 << 10
"""Characters of a call that a person can be asked about."""

MAX_LINES: Final = 1000
"""Lines of it, as wide as a screen: what scrolls past unread was not seen."""

_CODE: Final = " " * 4
_HEAD: Final = "This call runs if you agree to all of it:"
_SCREEN: Final = 23  # lines of the smallest screen that is usual, less one for the question

MOST_ASKED: Final = 32
"""Calls that may wait for a person at once: each keeps a thread, and what it holds open, for as long."""

MOST_OF_PACKAGE: Final = 16
"""Of them, those of one package: a tool that is called again and again leaves questions to the others."""

_EFFECTS: Final[dict[Operation, str]] = {
    "read": "reads only",
    "write": "may change things",
    "destructive": "may destroy things",
}


@dataclass(frozen=True, slots=True)
class ConfirmationRequest:
    """Everything about one call that a person must see.

    Attributes:
        package, version, digest, key_id: which package.
        tool, title, description, operation: which tool, and what its publisher says it does.
        confirmation: ``once`` (the answer is remembered with the grant) or ``always``.
        arguments_json: all arguments, as the JSON text that the tool will be given.
        reach: one line for each thing that the tool can reach.
        receives: the kind of each token in the arguments whose value this tool is given.
        approved: when the grant of the call was approved: an answer ends with that grant.
    """

    package: str
    version: str
    digest: str
    key_id: str
    tool: str
    title: str
    description: str
    operation: Operation
    confirmation: Confirmation
    arguments_json: str
    reach: tuple[str, ...]
    receives: Mapping[str, str] = field(default_factory=dict)
    approved: str = ""

    @property
    def is_remembered(self) -> bool:
        """Whether a yes also applies to every later call of the tool."""
        return self.confirmation == "once"

    @property
    def arguments(self) -> Any:
        """A fresh copy of the arguments as a value, so that nobody changes them after they were shown."""
        return json.loads(self.arguments_json)

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the whole request as lines for a person, without invisible characters, in rows (``rows``).

        Raises:
            ConsentError: ``confirm.too_large``: nobody could read all of it.
        """
        lines = [row for line in self._lines() for row in rows(exact(line), width)]
        if len(lines) >= _SCREEN:
            lines.append(f"all of this is {len(lines) + 1} lines: what has scrolled away belongs to it")
        size = sum(len(line) + 1 for line in lines)
        if len(lines) > MAX_LINES or size > MAX_SHOWN:
            raise ConsentError(
                "confirm.too_large",
                f"the call of {self.tool} takes {len(lines)} lines and {size} characters to show: "
                "nobody would read them all",
                f"give it less at once: a person is shown up to {MAX_LINES} lines and {MAX_SHOWN} characters",
            )
        return lines

    def _lines(self) -> list[str]:
        arguments = json.dumps(self.arguments, ensure_ascii=False, indent=2)
        return [
            f"package {self.package} {self.version}",
            f"  digest {self.digest}",
            f"  key {self.key_id}",
            f"tool {self.tool}: {_EFFECTS[self.operation]}, says its publisher",
            *(f"  | {line}" for text in (self.title, self.description) for line in text.splitlines()),
            "its arguments:",
            *(f"  | {line}" for line in arguments.split("\n")),  # other line ends are escaped
            *(
                f"  for {token} it is given the real {kind} value, which the caller has not seen"
                for token, kind in self.receives.items()
            ),
            "it can:",
            *(f"  - {line}" for line in self.reach),
            *(
                [
                    "a yes is one to every later call of this tool, too, whatever its arguments,",
                    "until the approval changes",
                ]
                if self.is_remembered
                else []
            ),
        ]

    def text(self) -> str:
        """Return the whole request as one text, for a window of another program.

        That window may render it as Markdown. So the text is indented by four columns, which makes it code
        without markup (CommonMark 4.4). Otherwise an argument could hide text after it in an HTML comment.
        The line in front is for programs that strip a text: without its indent, the first line would turn
        everything into a paragraph.

        Raises:
            ConsentError: as :meth:`lines`.
        """
        return "\n".join([_HEAD, "", *(_CODE + line for line in self.lines(WIDTH - len(_CODE)))])

    def to_map(self) -> dict[str, Any]:
        """Return the request as a map of strings, with one list of strings and one map of strings."""
        return asdict(self) | {"reach": list(self.reach)}

    @classmethod
    def of_map(cls, value: Mapping[str, Any]) -> ConfirmationRequest:
        """Return the request from a map of :meth:`to_map`; *value* must be such a map."""
        return cls(**{**value, "reach": tuple(value["reach"])})

    @classmethod
    def of_call(
        cls,
        grant: Grant,
        tool: str,
        arguments: Mapping[str, Any],
        receives: Mapping[str, str] | None = None,
    ) -> ConfirmationRequest:
        """Return the request for one call under *grant*, which must be the effective one.

        *arguments* are as the caller wrote them; *receives* holds the kind of each token in them whose value
        the tool will be given.
        """
        shown = next(each for each in grant.shown["tools"] if each["name"] == tool)
        return cls(
            package=grant.package,
            version=grant.version,
            digest=grant.digest,
            key_id=grant.key_id,
            tool=tool,
            title=shown["title"],
            description=shown["description"],
            operation=shown["operation"],
            confirmation=grant.confirm[tool],
            arguments_json=json_dumps(arguments),
            reach=tuple(grant.permissions.describe()),
            receives=dict(sorted((receives or {}).items())),
            approved=grant.approved_at.isoformat(timespec="milliseconds"),
        )


Confirm: TypeAlias = Callable[[ConfirmationRequest], bool]
"""Asks a person and returns True for yes, False for no; what it raises goes to the caller."""


class OpenQuestions:
    """Counts the calls that wait for a person, so that questions cannot take every thread. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def ask(self, confirm: Confirm, request: ConfirmationRequest) -> bool:
        """Return the answer of *confirm* to *request*.

        Raises:
            ConsentError: ``confirm.too_many``: too many calls wait already; nobody was asked.
        """
        with self._one_more(request.package):
            return confirm(request)

    @contextmanager
    def _one_more(self, package: str) -> Iterator[None]:
        with self._lock:
            for waiting, most in (
                (self._open.total(), MOST_ASKED),
                (self._open[package], MOST_OF_PACKAGE),
            ):
                if waiting >= most:
                    raise ConsentError(
                        "confirm.too_many",
                        f"{waiting} calls wait for a person already",
                        "call it again once some of them are answered",
                    )
            self._open[package] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[package] -= 1
                if not self._open[package]:
                    del self._open[package]


def require_confirmation(
    request: ConfirmationRequest, confirm: Confirm | None, *, remembered: bool = False
) -> bool:
    """Ask a person if *request* needs it; return True if one agreed just now, False if nobody had to.

    *remembered* says that this tool was confirmed before under the same grant. That counts for ``once`` and
    never for ``always``. After True, the caller MUST remember a ``once``.

    Raises:
        ConsentError: ``confirm.required`` (there is nobody to ask) or ``confirm.refused``.
        UsageError: ``confirm.no_answer``: the function did not return a bool.
    """
    if request.confirmation == "never" or (request.confirmation == "once" and remembered):
        return False
    if confirm is None:
        raise ConsentError(
            "confirm.required",
            f"tool {request.tool} of {request.package} runs only after a person has confirmed the call",
            "run it with --confirm at a terminal, or give Runtime a confirm function",
        )
    answer = confirm(request)
    if answer is True:
        return True
    if answer is False:
        raise ConsentError(
            "confirm.refused",
            f"the call of tool {request.tool} of {request.package} was refused",
            "nothing ran",
        )
    _close(answer)
    raise UsageError(
        "confirm.no_answer",
        f"the confirm function returned {type(answer).__name__}, not True or False",
        "make it a plain function that returns a bool; a coroutine is not an answer",
    )


def _close(answer: object) -> None:
    """End a coroutine that nobody will await, so that it does not complain when it is collected."""
    close = getattr(answer, "close", None)
    if callable(close) and hasattr(answer, "cr_frame"):
        close()
