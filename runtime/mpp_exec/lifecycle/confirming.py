"""Confirmation out of band: a caller that cannot ask leaves its call, a person answers at a terminal.

The caller is refused with an id; ``mpp-exec confirm ID`` shows the whole call to a person; whoever made the
call then makes the very same one again, and it runs, once. The id is no secret and proves nothing: what runs
is decided by what was shown and by who asks again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mpp_exec.audit.entry import Caller, Kind, PackageRef
from mpp_exec.audit.ledger import Ledger
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.errors import ConsentError
from mpp_exec.lifecycle.session import Session
from mpp_exec.pipeline import Host
from mpp_exec.registry.home import is_usual
from mpp_exec.registry.pending import LIFETIME, Asker, PendingCall, answered


class OutOfBand:
    """What a runtime is given to ask with on behalf of *asker*, who cannot ask."""

    def __init__(
        self, runtime: Host, asker: Asker, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._runtime = runtime
        self._asker = asker
        self._clock = clock

    def ask(self, request: ConfirmationRequest) -> bool:
        """Return a person's answer to this very call, which is used up with that.

        Raises:
            ConsentError: ``confirm.pending``: nobody has answered yet; ``confirm.too_large``,
                ``confirm.too_many``.
            InternalError: it cannot be stored, or its use not be put on record.
        """
        request.text()  # what is too large to be read there is not left for anybody
        found = self._runtime.store.pending.ask(request, self._asker, self._clock(), self._used)
        if found.state == "waiting":
            minutes = int(LIFETIME.total_seconds() // 60)
            raise ConsentError(
                "confirm.pending",
                f"tool {request.tool} of {request.package} runs only after a person has confirmed the call, "
                "and there is no way to ask one from here",
                f"a person sees it and answers at a terminal: mpp-exec confirm {found.id}{self._home()}; "
                f"the very same call, made again within {minutes} minutes of that, then runs once",
            )
        return found.state == "granted"

    def _home(self) -> str:
        """Return how the home is named to who did not start this process, and may have another one."""
        home = self._runtime.store.home.path
        return "" if is_usual(home) else f" --home {shlex.quote(str(home))}"

    def _used(self, call: PendingCall) -> None:
        caller = Caller.current(
            principal=self._asker.principal, client=self._asker.client, pid=self._runtime.pid
        )
        _record(self._runtime.ledger, Kind.CONFIRM_USED, caller, call, {})


def decide(session: Session, shown: PendingCall, *, granted: bool) -> PendingCall:
    """Store, and put on record, what a person said to the call that was *shown* in full.

    MUST be called for an answer from a terminal and for nothing else.

    Raises:
        UsageError: ``confirm.unknown``: the call has ended meanwhile.
        ConsentError: ``confirm.answered``.
    """
    caller = session.caller()

    def record(call: PendingCall) -> None:
        _record(session.ledger, Kind.CONFIRM, caller, call, {"answer": call.state})

    return session.store.pending.decide(shown, granted=granted, now=session.clock(), record=record)


def require_waiting(call: PendingCall) -> None:
    """Refuse to put a call before a person that was answered already.

    Raises:
        ConsentError: ``confirm.answered``.
    """
    if call.state != "waiting":
        raise answered(call)


def _record(ledger: Ledger, kind: Kind, caller: Caller, call: PendingCall, detail: dict[str, Any]) -> None:
    request = call.request
    publisher = request.package.partition("/")[0]
    package = PackageRef(request.package, request.version, publisher, request.key_id, request.digest)
    detail = {"confirmation": call.id, "asked_by": call.asker.client, **detail}
    ledger.event(kind, caller, package=package, tool=request.tool, detail=detail)
