"""The public entry point: a runtime on one home, and the ways to call a tool with it."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
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
    """An object that makes calls on one home for one connection: a :class:`Runtime`, or a guest of one."""

    @property
    def store(self) -> Store:
        """The home's store."""

    @property
    def ledger(self) -> Ledger:
        """The home's ledger."""

    @property
    def preparer(self) -> Preparer:
        """The object that prepares calls."""

    @property
    def pid(self) -> int:
        """The id of the process that calls are recorded for."""

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
        """End every call and release the home."""


class Runtime:
    """Calls installed tools. One runtime serves any number of threads and tasks.

    It is a context manager; :meth:`close` ends running calls and leaves no process, thread, descriptor or
    file. It is safe across ``os.fork``: the child's first call opens everything anew.

    Args:
        home: the folder of a home; by default ``$MPP_HOME`` or the user's own home.
        confirm: a function that is asked about each call that a person must confirm. It gets everything
            that the person must see, and answers True or False. Without it, such calls are refused. Such a
            call is also refused while 32 calls, or 16 of its package, wait for an answer
            (``confirm.too_many``).
        principal: on whose behalf calls are made, for the ledger.
        client: the program that asks, for the ledger.
        parked: how many sandboxes may wait for future calls, over all tools; 0 for none. Sandboxes of tools
            that are called repeatedly are prepared ahead of their next call (``sandbox.pool``). The default
            is as many as are useful, and none without a *session*.
        policies: where policy comes from; by default the system's files, ``$MPP_POLICY`` and the home's.
        session: whether later calls may follow, which may use the tokens in a result. Pass False for
            calls that have nothing to do with one another: values are then masked instead of replaced by
            tokens.
        sandboxes: how many sandboxes run at once in this process; the default follows from its processors
            and the machine's memory. Other calls wait for their turn, in the order in which they arrived.
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
        _runtimes.add(self)

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
        import asyncio  # noqa: PLC0415 -- a caller that runs an event loop has loaded it

        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End running calls, write pending records to the ledger, and release everything. May be repeated.

        This takes at most half a minute, and some seconds more for the ledger if the disk hangs.

        Raises:
            InternalError: ``ledger.*``: a record could not be written. ``runtime.hangs``: something did not
                end, for example a *confirm* that never returns. The runtime is closed all the same:
                whatever ends later does nothing, and is told that the runtime is closed.
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
        """The object that prepares calls; ``explain`` asks it for plans."""
        return self._open().preparer

    @property
    def pid(self) -> int:
        """The id of the process that calls are recorded for."""
        return os.getpid()

    @property
    def cache(self) -> SandboxCache:
        """The cache of compiled programs and of facts about the host's programs."""
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

        A tool that failed or was stopped is a result, not an exception.

        Args:
            package: the name of an installed package.
            tool: the name of the tool; it may be left out if the package has only one.
            arguments: the arguments of the call.
            timeout: seconds that shorten the package's time limit. They include the wait for a turn: a call
                whose time passes in the queue has the outcome ``timeout``, and nothing of it runs.
            cancellation: another thread ends the call by setting it. It is for this call alone, and is
                closed with the call.
            progress: is told how far the call is, redacted, if the tool belongs to an MCP server that
                reports progress. It is called while the call is supervised, and must not block.
            trace_context: is sent to such a server with the call (``dialogue.tracing``).
            begins: is called when only the call itself is left to do, before anything of it is recorded.

        Raises:
            UsageError: no such package or tool; the arguments are not JSON or violate the schema.
            PackageError: the installed files are not the signed ones.
            ConsentError: not trusted, not approved, not confirmed, or against policy.
            HostError: this host cannot enforce the plan. Nothing ran.
            InternalError: the home or the machine failed; whatever ran is on the ledger. Or ``call.busy``:
                too many calls wait.
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

        The caller closes *cancellation*. An exception of ``asking.confirm`` ends the call before anything
        runs.

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
                if queued.cancel():  # its time passed before a thread took it: this call records that
                    return await asyncio.to_thread(work)
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            if not queued.cancel():
                with contextlib.suppress(MppError):
                    await asyncio.shield(future)
            raise
        finally:
            # Close it when the thread has finished with it, however often this task is cancelled meanwhile.
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
        """Call a tool once under a *temporary* grant, watch it, and return the result and what it tried.

        The call is confined like any other, and is on the ledger as a traced call. If the tool needs
        confirmation, a person is asked each time; no answer is remembered.

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


_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child: a thread that held the lock of a runtime is not there to release it."""
    for runtime in list(_runtimes):
        runtime._lock = threading.Lock()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
