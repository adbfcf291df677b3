"""One connection that shares a runtime, and nothing else, with other connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from mpp_exec.audit.entry import Caller
from mpp_exec.audit.ledger import Ledger
from mpp_exec.calls.conversation import Conversation
from mpp_exec.calls.invocation import Asking
from mpp_exec.calls.opened import CLOSING
from mpp_exec.calls.prepare import Preparer
from mpp_exec.calls.relay import ShowProgress
from mpp_exec.calls.result import ToolResult
from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.consent.confirm import Confirm
from mpp_exec.errors import UsageError
from mpp_exec.pipeline import Runtime
from mpp_exec.registry.store import Store


class Guest:
    """A ``Host`` that makes its calls with *runtime*, which it does not close. Thread-safe.

    Tokens, open questions and turns are its own.

    Args:
        runtime: whose sandboxes, store, ledger and caches it uses.
        client: the program that asks, for the ledger; *pid* its process.
        confirm: asked for calls that a person must confirm.
        environ: the variables that its tools may see.
    """

    def __init__(
        self, runtime: Runtime, client: str, pid: int, confirm: Confirm, environ: Mapping[str, str]
    ) -> None:
        self.pid = pid
        self._runtime = runtime
        self._conversation = Conversation(tokens=True, name=os.urandom(8).hex())
        caller = Caller.current(client=client, pid=pid)
        self._asking = Asking(caller, confirm, environ, self._conversation)
        self._over = threading.Condition()  # guards what follows
        self._running = 0
        self._closed = False

    @property
    def store(self) -> Store:
        """The home's store."""
        return self._runtime.store

    @property
    def ledger(self) -> Ledger:
        """The home's ledger."""
        return self._runtime.ledger

    @property
    def preparer(self) -> Preparer:
        """What makes calls ready."""
        return self._runtime.preparer

    def call(
        self,
        package: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        cancellation: Cancellation,
        progress: ShowProgress | None = None,
        trace_context: Mapping[str, str] | None = None,
        begins: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Make a call. The caller closes *cancellation*.

        Raises:
            as ``Runtime.call``; UsageError ``runtime.closed`` after :meth:`close` too.
        """
        with self._over:
            if self._closed:
                raise UsageError("runtime.closed", "the connection is closed", "open another one")
            self._running += 1
        try:
            return self._runtime.call_for(
                self._asking,
                package,
                tool,
                arguments,
                timeout=None,
                cancellation=cancellation,
                progress=progress,
                trace_context=trace_context,
                begins=begins,
            )
        finally:
            with self._over:
                self._running -= 1
                self._over.notify_all()

    def close(self) -> None:
        """Wait for the end of its calls, which MUST have been cancelled, and forget every token.

        Not without a bound: one that does not end by then hands nobody anything any more.
        """
        with self._over:
            self._closed = True
            self._over.wait_for(lambda: self._running == 0, CLOSING)
        self._conversation.close()
