"""Finds tools that remember in memory: here every call has a server of its own, and forgets.

Each tool is called twice in a row in one process, in the closed sandbox, with arguments made from its
schema. Where the second answer is another one, it is asked whether a fresh server says the same each time:
if so, what the first one remembered made the difference. What differs each time (a clock, a random number),
or remembers in its storage, says nothing. What the calls take of this host is noted on the way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.dialogue.session import Asked, Session
from mpp_exec.errors import MppError
from mpp_exec.package.manifest import Draft
from mpp_exec.package.schema import compile_schema
from mpp_exec.wrap.asking import READING, ClosedServer, closed

PATIENCE: Final = 40.0
"""Seconds for all of it; tools that were not reached by then are not judged."""

MAX_STARTS: Final = 12
_MAX_DEPTH: Final = 8
_WORD: Final = "a"


@dataclass(frozen=True, slots=True)
class Repeated:
    """What calls showed: *forgetful* tools, and the most *memory* (bytes) and *processes* of one server."""

    forgetful: tuple[str, ...]
    memory: int
    processes: int


def repeat(draft: Draft, folder: Path, tries: Mapping[str, str]) -> Repeated:
    """Call the tools of *draft*: which forget, as far as that can be seen, and what their calls take."""
    requests = {
        tool.name: Asked("tools/call", encoding.json_dumps({"name": tool.name, "arguments": arguments}))
        for tool in draft.tools
        if (arguments := sample_arguments(tool.input_schema)) is not None
    }
    trial = _Trial(draft, folder, tries)
    found: list[str] = []
    try:
        differ = trial.differing(list(requests.values()))
        for name, request in requests.items():
            if request in differ and trial.forgets(request):
                found.append(name)
    except (_OverError, MppError):
        pass  # what was found until then still holds
    return Repeated(tuple(found), trial.memory, trial.processes)


class _OverError(Exception):
    """Time or starts are used up."""


class _Trial:
    """The calls of one server, within bounds."""

    def __init__(self, draft: Draft, folder: Path, tries: Mapping[str, str]) -> None:
        self._of = draft, folder, tries
        self._until = time.monotonic() + PATIENCE
        self._starts = 0
        self.memory = 0
        self.processes = 0

    def differing(self, requests: Sequence[Asked]) -> list[Asked]:
        """Return those of *requests* that one process, asked twice in a row, answers in two ways."""
        waiting = list(requests)
        differ: list[Asked] = []
        while waiting:
            with closed(*self._of) as server:
                said = self._said(server, [each for each in waiting for _ in range(2)])
            pairs = zip(waiting, said[::2], said[1::2], strict=False)
            differ += [request for request, first, second in pairs if first != second]
            waiting = waiting[len(said) // 2 + 1 :]  # without the one that was answered with an error
        return differ

    def forgets(self, request: Asked) -> bool:
        """Tell whether fresh servers on the same storage give one answer, and one process again does not."""
        with closed(*self._of) as server:
            fresh = [self._said(server, [request]) for _ in range(2)]
        return bool(fresh[0]) and fresh[0] == fresh[1] and bool(self.differing([request]))

    def _said(self, server: ClosedServer, requests: Sequence[Asked]) -> list[Any]:
        """Return the results of *requests* in turn, up to the first that has none."""
        left = self._until - time.monotonic()
        self._starts += 1
        if left <= 0 or self._starts > MAX_STARTS:
            raise _OverError
        said: list[Any] = []

        def following(result: Any) -> Asked | None:
            said.append(result)
            return requests[len(said)] if len(said) < len(requests) else None

        done = server.talk(
            Session(requests[0], READING, following=following), wall_ms=max(1, int(left * 1000))
        )
        self.memory = max(self.memory, done.memory_peak)
        self.processes = max(self.processes, done.processes_peak)
        return said


def sample_arguments(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return arguments that *schema* accepts, the required ones alone; None where none were found."""
    try:
        made = _sample(schema, _MAX_DEPTH, schema)
        valid = isinstance(made, dict) and not compile_schema(dict(schema)).validate(made, limit=1)
    except (MppError, LookupError, TypeError, ValueError):
        return None
    return made if valid else None


def _sample(schema: Any, depth: int, root: Mapping[str, Any]) -> Any:
    if depth == 0 or not isinstance(schema, Mapping):
        return _WORD
    if "$ref" in schema:
        return _sample(_referred(schema["$ref"], root), depth - 1, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _sample(schema[key][0], depth - 1, root)
    kind = schema.get("type")
    return _of_type(kind[0] if isinstance(kind, list) and kind else kind, schema, depth, root)


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what *reference*, a JSON pointer as a fragment (RFC 6901), names in *root*."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def _of_type(kind: Any, schema: Mapping[str, Any], depth: int, root: Mapping[str, Any]) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _sample(properties.get(name), depth - 1, root) for name in schema.get("required", ())}
    if kind == "array":
        return [_sample(schema.get("items"), depth - 1, root)] * max(1, schema.get("minItems", 1))
    if kind == "string":
        return _WORD * max(1, schema.get("minLength", 1))
    return {"boolean": False, "null": None}.get(kind, max(1, schema.get("minimum", 1)))
