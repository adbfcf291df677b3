"""A sandbox that is prepared ahead of its one call.

It has everything that needs no call: namespaces, mounts, confinement, the interpreter of a Python tool with
the tool imported, or an MCP server with its handshake done. All of it is confined as in the call. It does
not have what the call was granted: paths, storage and the request come with the call. It serves that call
and ends; it never holds anybody's data before the call or after it.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from mpp_exec.dialogue.session import Asked, Reading, Session
from mpp_exec.errors import InternalError
from mpp_exec.sandbox import cgroup, mappings, message, native, network, supervise
from mpp_exec.sandbox.access import watched_rows
from mpp_exec.sandbox.bounds import bounds_of
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.call import Brought
from mpp_exec.sandbox.ground import FindGround
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.supervise import Made
from mpp_exec.sandbox.template import Template
from mpp_exec.sandbox.waiting import ParkedSandbox

if TYPE_CHECKING:
    from mpp_exec.sandbox.snapshot import Snapshot

LATE_MAX: Final = native.TREES_MAX // 2
"""Grants that one can be prepared for; the rest of what can be mounted is for what lies in them."""


_UNSEEN: Final = frozenset({"source", "tree", "idmap_mount", "send", "release"})
"""Steps of a release at which nothing that was granted is there yet."""

HANDSHAKE_SIZE: Final = 1 << 20
HANDSHAKE_DEPTH: Final = 64
HANDSHAKE_VALUES: Final = 20_000
REHEARSAL_S: Final = 1.0
"""Seconds after which a server that does not answer its rehearsal is taken as it is."""


def _rehearsal(plan: SandboxPlan) -> Asked | None:
    """Return what a server of *plan* is asked ahead of its call, so that this is not the first thing it does.

    Every client lists the tools before it calls one, and servers on the official Python SDK do it for
    themselves at their first call. One that is to be granted anything may answer otherwise without it, and
    keep that for good: it is not asked. Nor is one whose answer could be too long to be heard.
    """
    if plan.touches or plan.late < len(plan.entries) or plan.limits.output < HANDSHAKE_SIZE:
        return None
    return Asked("tools/list", "{}")


def can_be_parked(plan: SandboxPlan) -> bool:
    """Return whether sandboxes of *plan* can be prepared: without namespaces nothing is there to prepare."""
    return plan.bare is None and len(plan.entries) - plan.late <= LATE_MAX


def can_start_early(plan: SandboxPlan) -> bool:
    """Return whether the tool of *plan* may run before its grants are mounted.

    Not where one of them lies in scratch, which is the tool's own: it could move the mount point away, and
    so have its release fail when other grants are there already.
    """
    late = plan.entries[plan.late :]
    return not any(f"{entry.target}/".startswith(f"{plan.scratch}/") for entry in late)


class Parked:
    """One prepared sandbox of *plan*; not for two threads at once. To be called once or closed.

    Attributes:
        plan: what it was made from; it serves calls of this plan and no other.
        early_start: whether the tool is started; if not, command and variables come with the call.
        image: the image that it has the package's files from; None for the installed ones.
        began: when it was begun (``time.monotonic``).
        restored_us: what it took to restore it until it was seen to be ready; 0 for any other one.
        is_leaving: it was called and is killed; :meth:`has_left` tells when it is dead.
    """

    def __init__(
        self,
        plan: SandboxPlan,
        *,
        constants: message.Variables,
        cache: SandboxCache,
        early_start: bool,
        command: tuple[str, ...] | None = None,
        mounted: int | None = None,
        template: Template | None = None,
        image: Image | None = None,
        traced: bool = False,
        snapshot: Snapshot | None = None,
        saves_to: int = -1,
        ground: FindGround = lambda _: None,
    ) -> None:
        """Begin to prepare one, within the wall limit of its call: a copy of *template*, where that serves.

        Or it is restored from a *snapshot*, which has to serve. One that *saves_to* a descriptor is to become
        a snapshot: it gets no call, and ends when it is told to :meth:`save` itself.
        With an *image* of the package its files come from there.
        *mounted* tells the host's mounts of this moment from others, None where nobody can.
        *constants* and *command* are what a tool that is started early gets: ``message.for_parking``. A
        *traced* one is started with its call, and watched. One that is no copy is built on the *ground* of
        its message, where there is one.

        Raises:
            HostError, InternalError: as ``spawn.run``; nothing is left.
        """
        self.plan = plan
        self.early_start = early_start
        self.image = image
        self._mounted = mounted
        self._has_grants = plan.late < len(plan.entries)
        self.began = time.monotonic()
        first = message.for_parking(
            plan,
            constants=constants,
            cache=cache,
            early_start=early_start,
            command=command,
            of_image=image is not None,
            traced=traced,
            snapshot=native.SNAPSHOT_SAVED
            if saves_to >= 0
            else native.SNAPSHOT_RESTORED
            if snapshot is not None
            else 0,
        )
        is_plain = template is None and image is None and snapshot is None and saves_to < 0 and not traced
        found = ground(first) if is_plain else None
        self._traced = traced
        self._source = snapshot
        self.restored_us = 0
        self.is_saving = False
        self._greeted = None
        self._rehearsed_by = 0.0
        if early_start and plan.kind == "mcp":
            reading = Reading(min(plan.limits.output, HANDSHAKE_SIZE), HANDSHAKE_DEPTH, HANDSHAKE_VALUES)
            self._greeted = Session(None, reading, rehearsal=_rehearsal(plan))
        self.is_leaving = False
        self._stack = contextlib.ExitStack()
        with self._stack:
            group = self._stack.enter_context(cgroup.entered(plan.cgroup))
            lent = template.lent() if template is not None else contextlib.nullcontext(native.ffi.NULL)
            of_snapshot = contextlib.nullcontext(saves_to) if snapshot is None else snapshot.lent()
            with lent as source, of_snapshot as snapshot_fd:
                self._sandbox = ParkedSandbox(
                    first,
                    bounds=bounds_of(plan),
                    wall_ns=plan.limits.wall_ms * 1_000_000,
                    made=Made(
                        cgroup_fd=group,
                        watched=watched_rows(plan.tool_profile) if traced else (),
                        alone=not plan.started,
                        template=source,
                        image=native.ffi.NULL if image is None else image.handle,
                        ground=native.ffi.NULL if found is None else found.handle,
                        snapshot_fd=snapshot_fd,
                    ),
                    greeting=self._greeted,
                    answers=early_start and plan.kind == "python",
                )
            if found is not None and not self._sandbox.is_grounded:
                found.fits = False
            self._stack.callback(self._sandbox.close)
            self._stack = self._stack.pop_all()

    @property
    def state(self) -> str:
        """``preparing``, ``ready`` or ``ended``, as last seen."""
        return self._sandbox.state

    @property
    def lacks_image(self) -> bool:
        """Whether it could not be made since its image gave nothing; another one may do without."""
        return self._sandbox.lacks_image

    @property
    def is_copied(self) -> bool:
        """Whether it was copied from a template, or restored."""
        return self._source is not None or self._sandbox.is_copied

    def save(self) -> None:
        """Have one that is ready write itself down, and end. It is looked after meanwhile like any other.

        Raises:
            UnsavableError, OSError: as ``mappings.told``.
        """
        self._sandbox.tell(mappings.told(self._sandbox.folder))
        self.is_saving = True

    @property
    def is_saved(self) -> bool:
        """Whether it has ended, and says that it has written itself down."""
        return self.is_saving and self._sandbox.status == 0

    def spoil_source(self) -> bool:
        """Have nothing more restored from what this was; return whether it was restored."""
        if self._source is not None:
            self._source.spoil()
        return self._source is not None

    @property
    def is_grounded(self) -> bool:
        """Whether it was built on the ground of its plan."""
        return self._sandbox.is_grounded

    @property
    def resident(self) -> int:
        """The most bytes that it was seen to have."""
        return self._sandbox.resident

    def look(self, wait_ms: int = 0) -> str:
        """Look after it and return its state; wait up to *wait_ms* for it while it is being prepared."""
        state = self._sandbox.look(wait_ms)
        if state == "ready" and self._source is not None and not self.restored_us:
            self.restored_us = max(1, round((time.monotonic() - self.began) * 1_000_000))
        if state != "preparing" or self._greeted is None or not self._greeted.is_rehearsing:
            return state
        now = time.monotonic()
        self._rehearsed_by = self._rehearsed_by or now + REHEARSAL_S
        if now < self._rehearsed_by:
            return state
        self._greeted.cut_rehearsal()
        return self._sandbox.greeted()

    def call(self, brought: Brought) -> supervise.RawOutcome:
        """Make the call in it. Everything of it is gone on return.

        Or it :attr:`is_leaving`. One that can reach outside has left on return, as what it did there is
        looked at next.
        Where the outcome's ``step`` is not ``none``, nothing of the call has reached the tool.
        """
        with contextlib.ExitStack() as stack:
            stack.push(self._stack)
            call = brought.call
            said = b""  # one that was started and gets no grant is told nothing but its request
            if not self.early_start or brought.special or self._has_grants:
                said = brought.message(self.plan, traced=self._traced, early_start=self.early_start)
            request = brought.request
            if self._greeted is not None and call.dialogue is not None:
                # Many servers still say something behind their handshake. Heard after the request is sent it
                # could be taken for an answer, so one that speaks then is not used.
                if self._sandbox.look() != "ready":
                    self._sandbox.kill()  # and is refused, like any that ended while it waited
                request = call.dialogue.resume(self._greeted)
            elif self.early_start:
                request = f'{{"invocation":"{call.invocation}",'.encode("ascii") + request.lstrip()[1:]
            self._serve(call.serve)
            outcome = self._sandbox.call(
                said,
                request,
                wall_ns=brought.wall_ns,
                cancel_fd=call.cancel_fd,
                dialogue=call.dialogue,
                meanwhile=call.meanwhile,
            )
            if outcome.leaving and self.plan.touches and not self._sandbox.left():
                outcome = outcome._replace(leaving=False)
            if outcome.leaving:
                stack.pop_all()
            self.is_leaving = outcome.leaving
            return outcome

    def has_left(self) -> bool:
        """Return whether none of its code runs any more, and :meth:`close` only waits for what it had."""
        return self.is_leaving and self._sandbox.left()

    def failure(self) -> supervise.RawOutcome:
        """Return what is known of one that ended before it was called."""
        return self._sandbox.failure()

    def sockets(self) -> tuple[int, ...]:
        """Return the sockets of its network, for names first, which are its own; () once it has its call."""
        return self._sandbox.sockets()

    def _serve(self, serve: network.Serve | None) -> None:
        """Have its network served from now on, if it is to have one."""
        if not self.plan.streams:
            return
        if serve is None:
            raise InternalError(
                "sandbox.unserved", "a plan with hosts was run with nobody to connect to them"
            )
        sockets = self.sockets()
        if sockets:  # one that died meanwhile has none, and takes no call
            names, *streams = sockets
            serve(tuple(streams), names)

    def holds_mounts(self, mounted: int | None) -> bool:
        """Return whether what it is to be given is still what is mounted there on the host."""
        return not self._has_grants or (mounted is not None and mounted == self._mounted)

    def is_unaware(self, step: str) -> bool:
        """Return whether a release that failed at *step* has shown nothing that was granted to the tool.

        One that runs already may have seen and used what was mounted before the step that failed: then
        that was the call, and it is not made a second time.
        """
        return not self.early_start or step in _UNSEEN

    def kill(self) -> bool:
        """Kill it without waiting for that; return whether it is dead. It is to be closed all the same."""
        return self._sandbox.kill()

    def close(self) -> None:
        """End it, and wait until all of it is gone. May be repeated."""
        self._stack.close()
