"""The whole: one call, from the name of a tool to its redacted result.

Verified, approved, checked, confirmed, on record, run, read, redacted, on record again: in this
order, and what fails ends the call there.
"""

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
from typing import Any, Final, Self

from mpp_exec.audit.entry import Caller, Outcome
from mpp_exec.audit.ledger import Ledger, Token
from mpp_exec.audit.record import Ending, new_invocation
from mpp_exec.consent.confirm import Confirm, ConfirmationRequest, require_confirmation
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.opened import Opened
from mpp_exec.package.schema import Validator
from mpp_exec.prepare import Prepared, Preparer, Temporary, Trace
from mpp_exec.privacy.redact import Redactor
from mpp_exec.registry.home import Home
from mpp_exec.registry.places import call_folder
from mpp_exec.registry.store import Store
from mpp_exec.result import ToolResult, read_result
from mpp_exec.sandbox import spawn
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.denial import denials, explain_denial
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.settle import settle
from mpp_exec.withdraw import Cancellation, RunningCall, folder_size

_LONGEST: Final = 24 * 3600.0  # seconds; no limit of a package is longer


class _Clockwork:
    """Times the stages of one call, in µs."""

    def __init__(self) -> None:
        self.stages: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def stage(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.stages[name] = (now - self._last) // 1000
        self._last = now


class Runtime:
    """Calls installed tools. One serves any number of threads and tasks.

    A context manager; :meth:`close` ends running calls and leaves no process, thread, descriptor or
    file. Safe across ``os.fork``: the child's first call opens everything anew.

    Args:
        home: the folder of a home; default ``$MPP_HOME`` or the user's own.
        confirm: asked for calls that a person must confirm; it gets everything to be seen and
            answers True or False. Without it, such calls are refused.
        principal: on whose behalf calls are made, for the ledger; ``client`` the program that asks.
        policies: where policy comes from; default the system's, ``$MPP_POLICY`` and the home's.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        confirm: Confirm | None = None,
        principal: str = "",
        client: str = "",
        policies: PolicyFiles | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.home = Home.open(Path(home) if home is not None else None)
        self._confirm = confirm
        self._principal = principal
        self._client = client
        self._clock = clock
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
        """End running calls, write what is left on the ledger, and let everything go. May be repeated."""
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
                self._parts = Opened(self.home, self._policies, self._clock)
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
    ) -> ToolResult:
        """Call *tool* of *package* with *arguments* and wait for its result.

        The name of the tool may be left out where there is one. *timeout*, in seconds, shortens the
        package's limit of time. Another thread ends the call by setting *cancellation*, which is for
        this call alone and closed with it. That the tool failed or was stopped is a result, not an
        exception.

        Raises:
            UsageError: no such package or tool; arguments that are no JSON or against the schema.
            PackageError: what is installed is not what was signed.
            ConsentError: not trusted, not approved, not confirmed, or against policy.
            HostError: this host cannot enforce the plan. Nothing ran.
            InternalError: the home or the machine failed; what ran, if anything, is on the ledger.
        """
        cancel = cancellation or Cancellation()
        try:
            return self._call(package, tool, dict(arguments or {}), timeout, cancel)
        finally:
            cancel.close()

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

        pool = self._open().pool
        cancel = Cancellation()
        work = functools.partial(self._call, package, tool, dict(arguments or {}), timeout, cancel)
        try:
            future = asyncio.get_running_loop().run_in_executor(pool, work)
        except BaseException:
            cancel.close()
            raise
        # Closed when the thread is through with it, however often this task is cancelled meanwhile.
        future.add_done_callback(lambda _: cancel.close())
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.set()
            with contextlib.suppress(MppError):
                await asyncio.shield(future)
            raise

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
            return self._call(package, tool, dict(arguments), timeout, cancel, trace=trace), trace
        finally:
            cancel.close()

    def _call(
        self,
        package: str,
        tool: str,
        arguments: dict[str, Any],
        timeout: float | None,
        cancel: Cancellation,
        *,
        trace: Trace | None = None,
    ) -> ToolResult:
        parts = self._open()
        caller = Caller.current(principal=self._principal, client=self._client)
        clock = _Clockwork()
        with contextlib.ExitStack() as stack:
            try:
                if timeout is not None and not timeout > 0:
                    raise UsageError(
                        "call.timeout", f"a timeout of {timeout} s leaves no time", "give seconds above zero"
                    )
                temporary = trace.temporary if trace is not None else None
                prepared = stack.enter_context(parts.preparer.prepared(package, tool, temporary))
                clock.stage("verify")
                request = prepared.request(arguments)
                clock.stage("validate")
                confirmed = self._confirmed(parts.store, prepared, arguments, remember=trace is None)
                _require_room(prepared)
                clock.stage("confirm")
            except MppError as error:
                parts.refused(package, tool, caller, error)
                raise
            running = RunningCall(prepared.manifest.name, prepared.grant.digest, cancel)
            if prepared.storage is not None:
                running.bound(prepared.storage, prepared.grant.permissions.storage, "its storage is full")
            invocation = new_invocation()
            try:
                token = parts.ledger.begin(
                    prepared.terms, caller, arguments, confirmed_by=confirmed, invocation=invocation
                )
                clock.stage("record")
                try:
                    # Watched until its end is on the ledger: who closes the runtime waits for that, too.
                    stack.enter_context(parts.watchdog.watch(running, prepared.approved.generation))
                except Exception as error:
                    parts.ledger.finish(token, _failed(error, clock))
                    raise
                return self._run(
                    parts,
                    prepared,
                    running,
                    request,
                    stack=stack,
                    timeout=timeout,
                    token=token,
                    clock=clock,
                    trace=trace,
                )
            except BaseException as error:
                if not isinstance(error, Exception):  # Ctrl-C: nobody knows between which two steps it came
                    with contextlib.suppress(MppError):
                        parts.ledger.abandon(invocation, _failed(error, clock))
                raise

    def _placed(
        self, parts: Opened, plan: SandboxPlan, running: RunningCall, stack: contextlib.ExitStack
    ) -> SandboxPlan:
        """Return *plan*; one that mounts nothing gets a folder of the call's own, until *stack* ends."""
        if plan.bare is None:
            return plan
        place = stack.enter_context(call_folder(self.home, root=plan.root))
        placed = settle(plan, place, parts.cache)
        running.bound(Path(placed.scratch), placed.limits.scratch, "its scratch is full")
        return placed

    def _run(
        self,
        parts: Opened,
        prepared: Prepared,
        running: RunningCall,
        request: bytes,
        *,
        stack: contextlib.ExitStack,
        timeout: float | None,
        token: Token,
        clock: _Clockwork,
        trace: Trace | None,
    ) -> ToolResult:
        try:
            plan = self._placed(parts, prepared.plan, running, stack)
            completed = spawn.run(
                plan,
                request,
                cache=parts.cache,
                invocation=token.invocation,
                variables=prepared.variables(os.environ),
                arguments=prepared.command(),
                wall_ms=None if timeout is None else max(1, int(min(timeout, _LONGEST) * 1000)),
                cancel_fd=running.cancellation.fd,
                traced=trace is not None,
            )
            clock.stage("sandbox")
            result = read_result(
                prepared.plan.kind,
                prepared.tool,
                completed,
                Redactor(prepared.redaction, secrets=prepared.secrets.values()),
                violations=_violations(prepared.result),
                explain=functools.partial(explain_denial, plan),
                denials=functools.partial(
                    denials,
                    plan,
                    granted=prepared.grant.permissions,
                    asked=prepared.manifest.permissions,
                ),
                max_size=prepared.plan.limits.output,
                invocation=token.invocation,
                reason=running.reason,
            )
            clock.stage("redact")
            if trace is not None:
                trace.prepared, trace.completed = prepared, completed
        except Exception as error:
            parts.ledger.finish(token, _failed(error, clock))
            raise
        body = {"content": result.content, "structuredContent": result.structured, "isError": result.is_error}
        timing = {**clock.stages, **{f"sandbox.{name}": value for name, value in completed.timing.items()}}
        parts.ledger.finish(
            token, Ending(Outcome(result.outcome), result=body, redactions=result.redactions, timing=timing)
        )
        clock.stage("commit")
        return result.with_meta(
            {
                "mpp-exec/invocation": token.invocation,
                "mpp-exec/package": {
                    "name": prepared.manifest.name,
                    "version": prepared.manifest.version,
                    "digest": prepared.grant.digest,
                },
                "mpp-exec/outcome": result.outcome,
                "mpp-exec/redactions": dict(result.redactions),
                "mpp-exec/timing": {**timing, "commit": clock.stages["commit"]},
                **({"mpp-exec/degraded": list(prepared.plan.degraded)} if prepared.plan.degraded else {}),
                **({"mpp-exec/reason": result.reason} if result.reason else {}),
                **({"mpp-exec/denied": result.denied} if result.denied else {}),
                **({"mpp-exec/denials": list(result.denials)} if result.denials else {}),
                **({"mpp-exec/appeared": list(completed.appeared)} if completed.appeared else {}),
            }
        )

    def _confirmed(
        self, store: Store, prepared: Prepared, arguments: dict[str, Any], *, remember: bool
    ) -> str:
        """Ask where a person must agree; return who did, "" where nobody had to."""
        tool = prepared.tool.name
        if prepared.grant.confirm[tool] == "never":
            return ""
        request = ConfirmationRequest.of_call(prepared.grant, tool, arguments)
        remembered = remember and store.is_confirmed(prepared.approved, tool)
        if not require_confirmation(request, self._confirm, remembered=remembered):
            return ""
        if request.confirmation == "once" and remember:
            store.remember_confirmation(prepared.approved, tool)
        return self._principal or f"uid {os.getuid()}"


def _failed(error: BaseException, clock: _Clockwork) -> Ending:
    """Return the end of a call that *error* ended, Ctrl-C included: what began has an end on the ledger."""
    code = error.code if isinstance(error, MppError) else f"python.{type(error).__name__}"
    return Ending(Outcome.FAILED, code=code, timing=clock.stages)


def _require_room(prepared: Prepared) -> None:
    limit = prepared.grant.permissions.storage
    if prepared.storage is not None and folder_size(prepared.storage, limit) > limit:
        raise ConsentError(
            "storage.full",
            f"the storage of {prepared.manifest.name} is over its {limit} bytes, or cannot be measured",
            f"clear {prepared.storage}, or install a version that asks for more",
        )


def _violations(validator: Validator | None) -> Callable[[Any], list[tuple[str, str]]] | None:
    if validator is None:
        return None
    return lambda value: [(found.pointer, found.keyword) for found in validator.validate(value, limit=1)]
