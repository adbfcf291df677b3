"""What a call brings into its sandbox, whether the sandbox was prepared before or is made for the call."""

from __future__ import annotations

from typing import NamedTuple

from mpp_exec.dialogue.session import Session
from mpp_exec.sandbox import message, network, supervise
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.layout import Entry


class Brought(NamedTuple):
    """One call.

    Attributes:
        request: for descriptor 0; in a dialogue its opening.
        special: mounts beside the plan's.
        wall_ns: how long it may take.
        cache, invocation, arguments, variables, cancel_fd, dialogue, meanwhile, serve: as of ``spawn.run``.
    """

    request: bytes
    cache: SandboxCache
    invocation: str
    wall_ns: int
    special: tuple[Entry, ...] = ()
    arguments: tuple[str, ...] | None = None
    variables: message.Variables = ()
    cancel_fd: int = -1
    dialogue: Session | None = None
    meanwhile: supervise.Meanwhile | None = None
    serve: network.Serve | None = None
