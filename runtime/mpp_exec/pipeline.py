"""The public entry point: a runtime on one home, and the ways to call a tool with it."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from mpp_exec.audit.entry import Caller
from mpp_exec.audit.ledger import Ledger
from mpp_exec.calls.admission import default_bound
from mpp_exec.calls.invocation import Asking, Invocation, Options
from mpp_exec.calls.opened import Opened
from mpp_exec.calls.prepare import Preparer
from mpp_exec.calls.prepared import Temporary, Trace
from mpp_exec.calls.relay import ShowProgress
from mpp_exec.calls.result import ToolResult
from mpp_exec.calls.withdraw import Cancellation
from mpp_exec.consent.confirm import Confirm
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import MppError, UsageError
from mpp_exec.registry.home import Home
from mpp_exec.registry.store import Store
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.pool import SANDBOXES


class Host(Protocol):
    """What makes calls on one home for one connection: a :class:`Runtime`, or a guest of one."""

    @property
    def store(self) -> Store:
        """The home's store."""

    @property
    def ledger(self) -> Ledger:
        """The home's ledger."""

    @property
    def preparer(self) -> Preparer:
        """What makes calls ready."""

    @property
    def pid(self) -> int:
        """The process that calls are on record for."""

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
        """Make a call, as :meth:`Runtime.call`."""

    def close(self) -> None:
        """End every call, and let the home go."""


class Runtime:
    """Calls installed tools. One serves any number of threads and tasks.

    A context manager; :meth:`close` ends running calls and leaves no process, thread, descriptor or
    file. Safe across ``os.fork``: the child's first call opens everything anew.

    Args:
        home: the folder of a home; default ``$MPP_HOME`` or the user's own.
        confirm: asked for calls that a person must confirm; it gets everything to be seen and
            answers True or False. Without it, such calls are refused, and so are those that come while 32
            wait for an answer, or 16 of the same package (``confirm.too_many``).
        principal: on whose behalf calls are made, for the ledger; ``client`` the program that asks.
        parked: how many sandboxes may wait for calls to come, over all tools; 0 for none. Those of tools
            that are called repeatedly are prepared ahead of their next call (``sandbox.pool``). Default as
            many as are useful, and none without a *session*.
        policies: where policy comes from; default the system's, ``$MPP_POLICY`` and the home's.
        session: whether there may be later calls, which may use the tokens that a result holds. Without
            it, for calls that have nothing to do with one another, what would be a token is masked.
        sandboxes: how many run at once in this process; default by its processors and the machine's
            memory. Other calls wait for their turn, in the order in which they came.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        confirm: Confirm | None = None,
        principal: str = "",
        client: str = "",
        parked: int | None = None,
        policies: PolicyFiles | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        session: bool = True,
        sandboxes: int | None = None,
    ) -> None:
        if sandboxes is not None and sandboxes < 1:
            raise UsageError(
                "runtime.sandboxes",
                f"with {sandboxes} sandboxes nothing can run",
                "give at least 1",
            )
        self.home = Home.open(Path(home) if home is not None else None)
        self._confirm = confirm
        self._principal = principal
        self._client = client
        if parked is None:
            parked = SANDBOXES if session else 0
        self._parked = parked
        self._clock = clock
        self._session = session
        self.sandboxes = sandboxes or default_bound()
        self._policies = policies or PolicyFiles(self.home.path)
        self._lock = threading.Lock()
        self._parts: Opened | None = None
        self._closed = False

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio  # noqa: PLC0415 -- whoever runs a loop has loaded it

        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End running calls, write what is left on the ledger, and let everything go. May be repeated.

        It takes at most half a minute, and some seconds more for the ledger on a disk that hangs.

        Raises:
            InternalError: ``ledger.*``: something could not be put on record. ``runtime.hangs``: something
                did not end, for example a *confirm* that never returns. The runtime is closed all the same:
                what ends later does nothing, and is told that the runtime is closed.
        """
        with self._lock:
            self._closed = True
            parts, self._parts = self._parts, None
        if parts is not None and parts.process == os.getpid():
            parts.close()

    def _open(self) -> Opened:
        with self._lock:
            if self._closed:
                raise UsageError("runtime.closed", "the runtime is closed", "open another one")
            if self._parts is None or self._parts.process != os.getpid():
                self._parts = Opened(
                    self.home,
                    self._policies,
                    self._clock,
                    session=self._session,
                    parked=self._parked,
                    sandboxes=self.sandboxes,
                )
            return self._parts

    @property
    def store(self) -> Store:
        """The home's store."""
        return self._open().store

    @property
    def ledger(self) -> Ledger:
        """The home's ledger."""
        return self._open().ledger

    @property
    def preparer(self) -> Preparer:
        """What makes calls ready; ``explain`` asks it for plans."""
        return self._open().preparer

    @property
    def pid(self) -> int:
        """The process that calls are on record for."""
        return os.getpid()

    @property
    def cache(self) -> SandboxCache:
        """Compiled programs, and facts about the host's."""
        return self._open().cache

    # -- calls -------------------------------------------------------------------------------------

    def call(
        self,
        package: str,
        tool: str = "",
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        progress: ShowProgress | None = None,
        trace_context: Mapping[str, str] | None = None,
        begins: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Call *tool* of *package* with *arguments* and wait for its result.

        The name of the tool may be left out where there is one. *timeout*, in seconds, shortens the
        package's limit of time, and includes the wait for a turn: a call whose time passes in the queue has
        the outcome ``timeout``, and nothing of it runs. Another thread ends the call by setting
        *cancellation*, which is for this call alone and closed with it. *progress* is told how far it is,
        redacted, where the tool is one of an MCP server that says so; it is called while the call is
        supervised, and must not wait. *trace_context* (``dialogue.tracing``) goes to such a server with the
        call. *begins* is called once nothing but the call itself is left to do, and before anything of it is
        on record. That the tool failed or was stopped is a result, not an exception.

        Raises:
            UsageError: no such package or tool; arguments that are no JSON or against the schema.
            PackageError: what is installed is not what was signed.
            ConsentError: not trusted, not approved, not confirmed, or against policy.
            HostError: this host cannot enforce the plan. Nothing ran.
            InternalError: the home or the machine failed; what ran, if anything, is on the ledger. Or
                ``call.busy``: too many calls wait.
        """
        began = time.perf_counter_ns()
        cancel = cancellation or Cancellation()
        try:
            options = Options(
                cancel,
                began,
                timeout,
                progress=progress,
                trace_context=trace_context,
                begins=begins,
            )
            return self._call(package, tool, dict(arguments or {}), options)
        finally:
            cancel.close()

    def call_for(
        self,
        asking: Asking,
        package: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: float | None,
        cancellation: Cancellation,
        progress: ShowProgress | None = None,
        trace_context: Mapping[str, str] | None = None,
        begins: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Do what :meth:`call` does on behalf of another process of this user, which *asking* describes.

        The caller closes *cancellation*. What ``asking.confirm`` raises ends the call before anything ran.

        Raises:
            as :meth:`call`.
        """
        options = Options(
            cancellation,
            time.perf_counter_ns(),
            timeout,
            progress=progress,
            trace_context=trace_context,
            begins=begins,
        )
        return self._call(package, tool, dict(arguments), options, asking)

    async def acall(
        self,
        package: str,
        tool: str = "",
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the sandbox's limit, which asyncio cannot keep
    ) -> ToolResult:
        """Do what :meth:`call` does without blocking the event loop. Cancelling the task kills the sandbox.

        ``confirm`` is called in another thread.
        """
        import asyncio  # noqa: PLC0415 -- whoever runs a loop has loaded it

        began = time.perf_counter_ns()
        parts = self._open()
        cancel = Cancellation()
        options = Options(cancel, began, timeout)
        work = functools.partial(self._call, package, tool, dict(arguments or {}), options)
        try:
            queued = parts.submit(work)
        except BaseException:
            cancel.close()
            raise
        future = asyncio.wrap_future(queued)
        try:
            if timeout is not None:
                await asyncio.wait({future}, timeout=timeout)
                if queued.cancel():  # no thread has taken it, and its time has passed: this puts it on record
                    return await asyncio.to_thread(work)
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            if not queued.cancel():
                with contextlib.suppress(MppError):
                    await asyncio.shield(future)
            raise
        finally:
            # Closed when the thread is through with it, however often this task is cancelled meanwhile.
            queued.add_done_callback(lambda _: cancel.close())

    def trace(
        self,
        package: str,
        tool: str,
        arguments: Mapping[str, Any],
        temporary: Temporary,
        *,
        timeout: float | None = None,
    ) -> tuple[ToolResult, Trace]:
        """Call a tool once under a *temporary* grant, watched, and return what it tried as well.

        It is confined as any other call, and on the ledger as a traced one. A tool that has to be
        confirmed is asked about each time; no answer is remembered.

        Raises:
            as :meth:`call`.
        """
        cancel = Cancellation()
        trace = Trace(temporary)
        try:
            options = Options(cancel, time.perf_counter_ns(), timeout, trace)
            return self._call(package, tool, dict(arguments), options), trace
        finally:
            cancel.close()

    def _call(
        self,
        package: str,
        tool: str,
        arguments: dict[str, Any],
        options: Options,
        asking: Asking | None = None,
    ) -> ToolResult:
        parts = self._open()
        if asking is None:
            caller = Caller.current(principal=self._principal, client=self._client)
            asking = Asking(caller, self._confirm, os.environ)
        try:
            return Invocation(parts, asking, options).run(package, tool, arguments)
        finally:
            parts.call_is_over()
