"""Checks what must be true before a call begins, and that it is still true later.

The package is verified and approved, and the arguments of the call are checked and confirmed.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import replace
from typing import Any

from mpp_exec.audit.entry import Caller
from mpp_exec.audit.record import new_invocation
from mpp_exec.calls.clockwork import Clockwork
from mpp_exec.calls.conversation import Conversation
from mpp_exec.calls.ended import Agreed, require_room
from mpp_exec.calls.opened import Opened
from mpp_exec.calls.prepared import MAX_ARGUMENTS, Prepared, Receive, Temporary
from mpp_exec.consent.confirm import Confirm, ConfirmationRequest, require_confirmation
from mpp_exec.errors import ConsentError
from mpp_exec.privacy.received import Received


class Agreement:
    """What was agreed for one call, and whether the agreement still holds.

    Args:
        parts: what the runtime holds open.
        conversation: the conversation that the call belongs to.
        caller: the caller that is recorded as having confirmed the call.
        confirm: asks a person; None if nobody can be asked.
        temporary: the grant of a watched call, which holds for this call alone; None for an ordinary call.
    """

    def __init__(
        self,
        parts: Opened,
        conversation: Conversation,
        caller: Caller,
        confirm: Confirm | None,
        temporary: Temporary | None,
    ) -> None:
        self._parts = parts
        self._conversation = conversation
        self._caller = caller
        self._confirm = confirm
        self._temporary = temporary

    def reached(
        self,
        stack: contextlib.ExitStack,
        clock: Clockwork,
        package: str,
        tool: str,
        arguments: dict[str, Any],
    ) -> Agreed:
        """Check everything that must be true before a call begins.

        Whatever is held for the call is held until *stack* ends.

        Raises:
            as ``Runtime.call``.
        """
        prepared = stack.enter_context(self._parts.preparer.prepared(package, tool, self._temporary))
        clock.stage("verify")
        request, received = prepared.request(arguments, self._receive(prepared))
        clock.stage("validate")
        confirmed = self._confirmed(prepared, arguments, received)
        require_room(prepared)
        return Agreed(new_invocation(), prepared, arguments, request, received, confirmed)

    def _receive(self, prepared: Prepared) -> Receive | None:
        """Return the object that replaces tokens by their values, None if this tool may receive no values."""
        kinds = prepared.grant.privacy.receive
        vault = self._conversation.vault if self._conversation.has_tokens else None
        if not kinds or vault is None:
            return None
        return functools.partial(vault.receive, kinds=kinds, max_size=MAX_ARGUMENTS)

    def _confirmed(self, prepared: Prepared, arguments: dict[str, Any], received: Received) -> str:
        """Ask a person if one must agree; return who agreed, "" if nobody had to."""
        tool = prepared.tool.name
        if prepared.grant.confirm[tool] == "never":
            return ""
        store = self._parts.store
        remember = self._temporary is None
        request = ConfirmationRequest.of_call(prepared.grant, tool, arguments, received.tokens)
        if not remember:  # and it is not said that it is
            request = replace(request, confirmation="always")
        remembered = remember and store.is_confirmed(prepared.approved, tool)
        confirm = self._confirm
        if confirm is not None:
            confirm = functools.partial(self._conversation.questions.ask, confirm)
        if not require_confirmation(request, confirm, remembered=remembered):
            return ""
        # While the person was asked, another may have taken a permission away or closed the runtime.
        self._parts.admission.refuse_closed()
        self.require_kept(prepared, "what was asked about")
        if request.confirmation == "once" and remember:
            store.remember_confirmation(prepared.approved, tool)
        return self._caller.principal or f"uid {os.getuid()}"

    def require_kept(self, prepared: Prepared, what: str) -> None:
        """Refuse a call that lost something while a person was asked, or while it waited for its turn."""
        if why := self.lost(prepared):
            raise ConsentError(
                "grant.lost",
                f"{prepared.manifest.name} may no longer do {what}: {why}",
                "call it again; you are then asked about what it may do by that time",
            )

    def about(self, prepared: Prepared) -> object:
        """Return a key that is equal only for calls that can lose the same things."""
        if self._temporary is not None:
            return None
        return prepared.grant, prepared.secrets, prepared.redaction, prepared.tool.name

    def lost(self, prepared: Prepared) -> str:
        """Return why the call may no longer run, "" if it may."""
        return self._parts.preparer.lost(prepared, self._temporary)

    def withdrawn(self, prepared: Prepared) -> str:
        """Return the part of :meth:`lost` that can be decided without looking at files."""
        return self._parts.preparer.withdrawn(prepared, self._temporary)
