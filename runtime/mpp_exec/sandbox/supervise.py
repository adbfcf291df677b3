"""One sandbox from its message to its end: ``mpp_spawn`` and ``mpp_supervise``, two C calls without the GIL.

What they take and give is here as Python values. The message that init reads is laid out in ``encoded``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from mpp_exec.errors import InternalError
from mpp_exec.sandbox import native
from mpp_exec.sandbox.native import ALL_NAMESPACES, OUTER_ID_BASE, ffi, lib

SPAWN_STEPS: dict[int, str] = {
    value: name.removeprefix("MPP_STEP_").lower()
    for value, name in ffi.typeof("enum mpp_step").elements.items()
    if name != "MPP_STEP_COUNT"
}
"""Where a spawn can fail; the names of ``enum mpp_step`` in contract.h."""

STOPS: dict[int, str] = {
    value: name.removeprefix("MPP_STOP_").lower()
    for value, name in ffi.typeof("enum mpp_stop").elements.items()
}
"""Why a sandbox was stopped; the names of ``enum mpp_stop`` in contract.h."""

LASTING_MS: Final = 4
"""Milliseconds by which most calls have ended. What only longer ones need is done then, beside the tool."""

_BACK_MS: Final = 100  # between two looks at signals that came in the moment before it waited


class RawOutcome(NamedTuple):
    """``struct mpp_outcome`` as Python values: bytes, µs, and CLOCK_MONOTONIC ns stamps by stage.

    ``memory_peak``, ``memory_kills`` and ``processes_denied`` are what a cgroup counted, 0 without one.
    ``leaving``: its call is over and it is killed, and nobody has waited for that. ``copied``: the
    sandbox was a copy of a template. ``grounded``: it was built on a ground. ``undead``: it was killed, and
    did not die in all the time for that.
    """

    step: str
    error: int
    detail: int
    stop: str
    status: int
    processes_peak: int
    user_us: int
    system_us: int
    resident_peak: int
    stamps: dict[str, int]
    output: bytes
    errors: bytes
    notes: tuple[RawNote, ...] = ()
    notes_lost: int = 0
    memory_peak: int = 0
    memory_kills: int = 0
    processes_denied: int = 0
    leaving: bool = False
    copied: bool = False
    grounded: bool = False
    undead: bool = False


@dataclass(frozen=True, slots=True)
class WatchedRow:
    """``struct mpp_watched``: which arguments of a traced call to note; -1 for none."""

    number: int
    path: int
    folder: int
    word: int
    refuse: bool


@dataclass(frozen=True, slots=True)
class RawNote:
    """``struct mpp_note``: *row* is an index; *folder* is where a relative *path* starts, None if unknown."""

    row: int
    word: int
    path: bytes
    folder: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a sandbox may use, and how far from its host it is: the same from its making to its end.

    Attributes:
        cpu_us, memory, output: µs, bytes, and bytes of output and errors together.
        processes: processes and threads.
        as_root: the host is root, so that the tool is somebody else outside, too.
        namespaces: those that it is cloned into; 0 for none.
    """

    cpu_us: int
    memory: int
    output: int
    processes: int
    as_root: bool
    namespaces: int = ALL_NAMESPACES


class Made(NamedTuple):
    """What a sandbox is made of and in, beside its message.

    Attributes:
        cgroup_fd: the folder of the cgroup in which everything is born; -1 for none.
        watched: what to note of a traced call, whose message holds a watching program.
        alone: its tool can start no process.
        template: what it is copied from, where that serves (``struct mpp_template *``).
        image: where entries of an image come from (``struct mpp_image *``).
        ground: what it is built on, where that fits (``struct mpp_ground *``).
        snapshot_fd: goes with a message that has a use for it; else -1.
    """

    cgroup_fd: int = -1
    watched: Sequence[WatchedRow] = ()
    alone: bool = False
    template: Any = ffi.NULL
    image: Any = ffi.NULL
    ground: Any = ffi.NULL
    snapshot_fd: int = -1


PLAIN: Final = Made()
"""A program of its own, on nothing, in no cgroup, unwatched."""


class Dialogue(Protocol):
    """What answers a tool while it runs."""

    def hear(self, said: bytes) -> bytes | None:
        """Take what the tool has written to descriptor 1 since the last time; return what to write to it.

        None ends the sandbox. However long it works, with the GIL or without, the limits are kept meanwhile.
        """


class Meanwhile(Protocol):
    """What is done beside a tool that works. What it raises kills the sandbox first and then passes on."""

    def begun(self) -> None:
        """Do what can be done while it works: it has its request, or will have. Perhaps a second time."""

    def lasts(self) -> None:
        """Do what is to be done when it works for longer than ``LASTING_MS``."""


def invoke(
    message: bytes,
    request: bytes,
    *,
    bounds: Bounds,
    wall_ns: int,
    made: Made = PLAIN,
    cancel_fd: int = -1,
    dialogue: Dialogue | None = None,
    meanwhile: Meanwhile | None = None,
    until: contextlib.ExitStack | None = None,
) -> RawOutcome:
    """Run one sandbox from *message* to its end; every process of it is dead and reaped on return.

    The calling thread waits without the GIL. A signal lets Python's handlers run; what they raise
    kills the sandbox first and then passes on. *cancel_fd* kills it when it becomes readable. A *dialogue*
    goes on after the request, until it or the tool ends it; without one the tool sees the end of its input
    after the request. *meanwhile* is told that it is on its way. Of a tool that is alone, what the kernel is
    still freeing once it is dead is waited for when *until* ends, and the outcome says ``leaving``.
    A spawn that failed is an outcome as well: ``step`` and ``error`` say where and why.
    """
    launch, _kept = launched(
        message,
        request,
        bounds=bounds,
        wall_ns=wall_ns,
        made=made if until is not None else made._replace(alone=False),
        cancel_fd=cancel_fd,
        dialogue=dialogue is not None,
        init_fd=native.init_program(),
    )
    outcome = ffi.new("struct mpp_outcome *")
    slot = ffi.new("struct mpp_sandbox **")
    put_off = False
    # Whatever a signal handler raises, and wherever: no process stays, and the buffers are freed.
    try:
        if lib.mpp_spawn(launch, outcome, slot) == 0:
            to_the_end(slot[0], outcome, dialogue, meanwhile)
        ended = collected(outcome)
        if ended.leaving and until is not None:
            until.callback(lib.mpp_release, slot)
            put_off = True
        return ended
    finally:
        if not put_off:
            lib.mpp_release(slot)


def to_the_end(sandbox: Any, outcome: Any, dialogue: Dialogue | None, meanwhile: Meanwhile | None) -> None:
    """Supervise it until all of it is dead, with what is said meanwhile."""
    lasts_from = time.monotonic() + LASTING_MS / 1000
    if meanwhile is not None:
        meanwhile.begun()
    while (state := lib.mpp_supervise(sandbox, outcome, _BACK_MS if meanwhile is None else LASTING_MS)) != 0:
        if meanwhile is not None and time.monotonic() >= lasts_from:
            meanwhile.lasts()
            meanwhile = None
        if state == lib.MPP_HEARD and dialogue is not None:
            _converse(sandbox, outcome, dialogue)
    if dialogue is not None:  # the last words of one that has ended by itself; of others, the next ones
        while said := _heard(sandbox):
            dialogue.hear(said)
            if outcome.stop != 0:
                break


def launched(
    message: bytes,
    request: bytes,
    *,
    bounds: Bounds,
    wall_ns: int,
    made: Made = PLAIN,
    cancel_fd: int = -1,
    dialogue: bool = False,
    parked: bool = False,
    answers: bool = False,
    init_fd: int = -1,
) -> tuple[Any, tuple[object, ...]]:
    """Return ``struct mpp_launch``, and what has to live as long as it is used."""
    launch = ffi.new("struct mpp_launch *")
    plan_buffer = ffi.from_buffer("uint8_t[]", message)
    request_buffer = ffi.from_buffer("uint8_t[]", request)
    launch.plan = plan_buffer
    launch.plan_size = len(message)
    launch.request = request_buffer
    launch.request_size = len(request)
    launch.init_fd = init_fd
    launch.cancel_fd = cancel_fd
    launch.cgroup_fd = made.cgroup_fd
    launch.outer_uid_base = OUTER_ID_BASE if bounds.as_root else 0
    launch.namespaces = bounds.namespaces
    launch.dialogue = dialogue
    launch.wall_ns = wall_ns
    launch.cpu_us = bounds.cpu_us
    launch.memory = bounds.memory
    launch.output = bounds.output
    launch.processes = bounds.processes
    launch.parked = parked
    launch.answers, launch.alone = answers, made.alone
    launch.template, launch.image, launch.ground = made.template, made.image, made.ground
    launch.snapshot_fd = made.snapshot_fd
    rows = None
    if made.watched:
        rows = ffi.new("struct mpp_watched[]", len(made.watched))
        for row, each in zip(rows, made.watched, strict=True):
            row.number, row.path, row.folder = each.number, each.path, each.folder
            row.word, row.refuse = each.word, each.refuse
        launch.watched = rows
        launch.watched_count = len(made.watched)
    return launch, (plan_buffer, request_buffer, rows)


def worked_on(sandbox: Any, outcome: Any, dialogue: Dialogue) -> bytes | None:
    """Let *dialogue* hear what was said, while the limits are kept beside it."""
    said = _heard(sandbox)
    if lib.mpp_guard(sandbox, outcome) != 0:
        raise InternalError("host.exhausted", "no thread is left to look after the tool", "try again later")
    try:
        return dialogue.hear(said)
    finally:
        lib.mpp_unguard(sandbox)


def _converse(sandbox: Any, outcome: Any, dialogue: Dialogue) -> None:
    answer = worked_on(sandbox, outcome, dialogue)
    if answer is None:
        lib.mpp_answered(sandbox)
    elif lib.mpp_say(sandbox, answer, len(answer)) != 0:
        raise InternalError("host.exhausted", "no memory is left to answer the tool", "try again later")


def _heard(sandbox: Any) -> bytes:
    data = ffi.new("const uint8_t **")
    size = lib.mpp_heard(sandbox, data)
    return bytes(ffi.buffer(data[0], size)) if size else b""


def collected(outcome: Any) -> RawOutcome:
    """Return ``struct mpp_outcome`` as it is now, with copies of what was read."""
    return RawOutcome(
        step=SPAWN_STEPS[outcome.step],
        error=outcome.error,
        detail=outcome.detail,
        stop=STOPS[outcome.stop],
        status=outcome.status,
        processes_peak=outcome.processes_peak,
        user_us=outcome.user_us,
        system_us=outcome.system_us,
        resident_peak=outcome.resident_peak,
        memory_peak=outcome.memory_peak,
        memory_kills=outcome.memory_kills,
        processes_denied=outcome.processes_denied,
        stamps={
            "started": outcome.started_ns,
            "cloned": outcome.cloned_ns,
            "sent": outcome.sent_ns,
            "ready": outcome.ready_ns,
            "exited": outcome.exited_ns,
            "stopped": outcome.stopped_ns,
            "reaped": outcome.reaped_ns,
        },
        output=bytes(ffi.buffer(outcome.output, outcome.output_size)) if outcome.output_size else b"",
        errors=bytes(ffi.buffer(outcome.errors, outcome.errors_size)) if outcome.errors_size else b"",
        notes=tuple(_notes(outcome)) if outcome.notes_size else (),
        notes_lost=outcome.notes_lost,
        leaving=bool(outcome.leaving),
        copied=bool(outcome.copied),
        grounded=bool(outcome.grounded),
        undead=bool(outcome.undead),
    )


def _notes(outcome: Any) -> Iterator[RawNote]:
    at, size = 0, outcome.notes_size
    head = ffi.sizeof("struct mpp_note")
    while at < size:
        note = ffi.cast("struct mpp_note *", outcome.notes + at)
        text = bytes(ffi.buffer(outcome.notes + at + head, note.folder_size + note.path_size))
        folder = None if note.flags & lib.MPP_NOTE_NO_FOLDER else text[: note.folder_size]
        yield RawNote(note.row, note.word, text[note.folder_size :], folder)
        at += head + (len(text) + 7) // 8 * 8
