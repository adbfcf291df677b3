"""One call as a sandbox gets it, whether that was prepared before or is made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mpp_exec.dialogue.session import Session
from mpp_exec.sandbox import message, network, supervise
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan


@dataclass(frozen=True, slots=True)
class Call:
    """What a plan is run with.

    Attributes:
        request: for descriptor 0 of the tool; in a dialogue its opening.
        invocation: the call's number, which the tool sees.
        variables: what was granted of the environment.
        arguments: the command line in the place of the plan's, where values were put into it.
        wall_ms: shortens the limit of time.
        told_ms: the limit that *wall_ms* is the rest of, for what is said of it.
        cancel_fd: ends the call when it becomes readable; -1 for none.
        dialogue: answers what the tool says while it runs, and ends it.
        meanwhile: told when the tool has begun, once or twice.
        serve: given the sockets of a plan with hosts before the tool is, once for each sandbox that is made:
            what it raises ends the call there.
    """

    request: bytes
    invocation: str
    variables: message.Variables = ()
    arguments: tuple[str, ...] | None = None
    wall_ms: int | None = None
    told_ms: int | None = None
    cancel_fd: int = -1
    dialogue: Session | None = None
    meanwhile: supervise.Meanwhile | None = None
    serve: network.Serve | None = None


class Brought(NamedTuple):
    """A call, and what else this host brings into its sandbox.

    Attributes:
        call: the call.
        request: what is written to descriptor 0: the call's, or the opening of a dialogue that begins anew.
        special: mounts that lie over those of the plan.
        wall_ns: how long it may take.
        cache: compiled programs.
    """

    call: Call
    request: bytes
    special: tuple[Entry, ...]
    wall_ns: int
    cache: SandboxCache

    def message(self, plan: SandboxPlan, *, traced: bool, early_start: bool = False) -> bytes:
        """Return what init reads of a call of *plan*; *early_start* is for a sandbox that was parked so.

        Raises:
            InternalError: it does not fit.
        """
        return message.for_call(
            plan,
            self.special,
            arguments=self.call.arguments,
            variables=self.call.variables,
            cache=self.cache,
            invocation=self.call.invocation,
            traced=traced,
            early_start=early_start,
        )
