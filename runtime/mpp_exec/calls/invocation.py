"""One call, from the name of a tool to its redacted result.

A call is verified, approved, checked, confirmed, recorded, run, read, redacted and recorded again, in this
order. A step that fails ends the call.
"""

from __future__ import annotations

import contextlib
import functools
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mpp_exec.audit.entry import Caller, Outcome
from mpp_exec.audit.ledger import Token
from mpp_exec.audit.record import Ending
from mpp_exec.calls import reaching
from mpp_exec.calls.agreement import Agreement
from mpp_exec.calls.clockwork import Beside, Clockwork
from mpp_exec.calls.conversation import Conversation
from mpp_exec.calls.ended import FULL, Agreed, ending, measured, meta, read
from mpp_exec.calls.opened import Opened
from mpp_exec.calls.prepared import Trace
from mpp_exec.calls.reaching import Reach
from mpp_exec.calls.relay import ProgressRelay, ShowProgress
from mpp_exec.calls.result import ToolResult, not_run, redaction_bounds
from mpp_exec.calls.said import MAX_DEPTH, MAX_VALUES
from mpp_exec.calls.withdraw import Cancellation, RunningCall
from mpp_exec.consent.confirm import Confirm
from mpp_exec.dialogue.session import Asked, Reading, Session
from mpp_exec.errors import InternalError, MppError, UsageError
from mpp_exec.privacy.meter import StoppedError
from mpp_exec.privacy.redact import MakeToken, Redactor
from mpp_exec.registry.places import call_folder
from mpp_exec.sandbox import scarce, spawn
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.settle import settle
from mpp_exec.sandbox.spawn import Completed

if TYPE_CHECKING:
    from mpp_exec.egress.traffic import Traffic

_LONGEST: Final = 24 * 3600.0  # seconds; no limit of a package is longer


@dataclass(frozen=True, slots=True)
class Asking:
    """For whom a call is made: who is recorded, who is asked, and whose variables the tool may see.

    *conversation* is the one that the call belongs to, None for the runtime's own.
    """

    caller: Caller
    confirm: Confirm | None
    environ: Mapping[str, str] = field(repr=False)
    conversation: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How a call is made.

    Attributes:
        cancel: ends the call when it is set; the caller closes it.
        began: when the call began (``time.perf_counter_ns``).
        timeout: seconds that shorten the package's limit, None for the limit itself. They count from the
            start of the call, without the time that a person took to confirm it.
        trace: receives what a watched call tried; None for an ordinary call.
        progress: is told how far the call is, redacted, if its server reports progress.
        trace_context: the client's trace context, for a tool that is an MCP server (``dialogue.tracing``).
        begins: is called before anything of the call is recorded or runs; an exception ends the call.
    """

    cancel: Cancellation
    began: int
    timeout: float | None = None
    trace: Trace | None = None
    progress: ShowProgress | None = None
    trace_context: Mapping[str, str] | None = None
    begins: Callable[[], None] | None = None


class Invocation:
    """One call of one tool; to be run once.

    Args:
        parts: what the runtime holds open.
        asking: on whose behalf the call is made.
        options: how the call is made.
    """

    def __init__(self, parts: Opened, asking: Asking, options: Options) -> None:
        self._parts = parts
        self._conversation = asking.conversation or parts.conversation
        self._caller = asking.caller
        self._environ = asking.environ
        self._options = options
        self._agreement = Agreement(
            parts,
            self._conversation,
            asking.caller,
            asking.confirm,
            None if options.trace is None else options.trace.temporary,
        )
        self._clock = Clockwork(options.began)
        self._clock.stage("queue")
        self._deadline = None if options.timeout is None else options.began / 1e9 + options.timeout
        self._beside: Beside | None = None
        self._traffic: Traffic | None = None

    def run(self, package: str, tool: str, arguments: dict[str, Any]) -> ToolResult:
        """Make the call.

        Raises:
            as ``Runtime.call``.
        """
        with contextlib.ExitStack() as stack:
            try:
                agreed = self._agreed(stack, package, tool, arguments)
                turn = self._parts.admission.admitted(
                    f"{self._conversation.name} {package}",
                    self._options.cancel.fd,
                    self._deadline,
                    client=self._conversation.name,
                )
                entered = stack.enter_context(turn)
                self._clock.stage("queue")
                if entered == "later":
                    self._agreement.require_kept(agreed.prepared, "what it was allowed when it came")
                    self._clock.stage("verify")
            except MppError as error:
                self._parts.refused(package, tool, self._caller, error)
                raise
            try:
                if entered in ("timeout", "cancelled"):
                    result = self._never_run(agreed, entered)
                else:
                    result = self._recorded(stack, agreed)
            except BaseException as error:
                if not isinstance(error, Exception):  # Ctrl-C: nobody knows between which two steps it came
                    with contextlib.suppress(MppError):
                        if self._beside is not None and not self._beside.tried:  # a tool may have begun
                            self._beside.begun()
                    with contextlib.suppress(MppError):
                        self._parts.ledger.abandon(agreed.invocation, self._failed(error))
                raise
        self._clock.stage("release")
        timing = self._clock.stages | self._clock.parts
        return result.with_meta(meta(agreed, result, timing, self._traffic))

    def _agreed(
        self, stack: contextlib.ExitStack, package: str, tool: str, arguments: dict[str, Any]
    ) -> Agreed:
        """Check everything that must be true before a call begins."""
        timeout = self._options.timeout
        if timeout is not None and not timeout > 0:
            raise UsageError(
                "call.timeout", f"a timeout of {timeout} s leaves no time", "give seconds above zero"
            )
        agreed = self._agreement.reached(stack, self._clock, package, tool, arguments)
        took = self._clock.stage("confirm")
        if self._deadline is not None and agreed.confirmed:
            self._deadline += took / 1e6
        return agreed

    def _never_run(self, agreed: Agreed, entered: Literal["timeout", "cancelled"]) -> ToolResult:
        """Record a call that ended before its turn; return its result."""
        ledger, prepared = self._parts.ledger, agreed.prepared
        result = not_run(entered, prepared.plan.kind, agreed.invocation)
        token = ledger.begin(
            prepared.terms,
            self._caller,
            agreed.arguments,
            confirmed_by=agreed.confirmed,
            invocation=agreed.invocation,
        )
        self._clock.stage("record")
        ledger.finish(token, ending(result, self._clock.stages))
        self._clock.stage("commit")
        return result

    def _recorded(self, stack: contextlib.ExitStack, agreed: Agreed) -> ToolResult:
        ledger, prepared = self._parts.ledger, agreed.prepared
        running = RunningCall(
            functools.partial(self._agreement.lost, prepared),
            self._options.cancel,
            self._agreement.about(prepared),
            functools.partial(self._agreement.withdrawn, prepared),
        )
        if prepared.storage is not None:
            running.bound(prepared.storage, prepared.grant.permissions.storage, FULL)
        parked = None
        if self._options.trace is None:
            parked = stack.enter_context(self._parts.sandboxes.lent(prepared.recipe))
            self._clock.parts["sandbox.lend"] = self._clock.stage("sandbox")  # copied for this call, perhaps
        self._looked(agreed, parked)
        if self._options.begins is not None:
            self._options.begins()
        # The start is committed while the tool runs and, if no sandbox was ready, while one is built. That
        # costs one more commit, for the end, which takes time from other calls. A server on the usual
        # libraries takes longer than the commit of its start in any case.
        soon = prepared.plan.kind == "mcp" or self._parts.admission.is_alone
        beside = Beside(functools.partial(self._begun, agreed, at_once=soon), ledger, at_once=soon)
        # A tool that cannot reach the outside may begin before its start is recorded: nobody gets its result
        # until that record is durable. If recording failed before, the record comes first.
        if prepared.terms.reaches_outside or not ledger.works:
            beside.begun()
        self._beside = beside
        self._clock.stage("record")
        redactor: Redactor | None = None
        try:
            redactor = self._redactor(agreed, running)
            # Watch it until its end is on the ledger: closing the runtime waits for that record, too.
            stack.enter_context(self._parts.watchdog.watch(running, prepared.recipe.basis))
            plan = self._placed(prepared.plan, running, stack)
            session = self._session(agreed, redactor)
            completed = measured(prepared, self._completed(stack, agreed, plan, session, parked))
            self._clock.stage("sandbox")
            result = read(
                agreed, plan, completed, running, session=session, redactor=redactor, traffic=self._traffic
            )
            self._clock.stage("redact")
        except Exception as error:
            if not beside.failed:
                failed = self._failed(error)
                if redactor is not None:
                    failed = replace(failed, network=self._on_record(agreed, redactor))
                ledger.finish(beside.token(), failed)
            if isinstance(error, MppError) and redactor is not None:
                _redact(error, redactor)
            raise
        if (trace := self._options.trace) is not None:
            trace.prepared, trace.completed = prepared, completed
            trace.asked = reaching.asked(self._traffic)
        self._clock.parts |= {f"sandbox.{name}": value for name, value in completed.timing.items()}
        network = self._on_record(agreed, redactor)
        ledger.finish(beside.token(), ending(result, self._clock.stages | self._clock.parts, network))
        self._clock.stage("commit")
        return result

    def _looked(self, agreed: Agreed, parked: Parked | None) -> None:
        """Check the installed files if the call runs them instead of the image that it relied on."""
        prepared = agreed.prepared
        if prepared.image is None or (parked is not None and parked.image is prepared.image):
            return
        try:
            prepared.look()
        except MppError as error:
            self._parts.refused(prepared.manifest.name, prepared.tool.name, self._caller, error)
            raise
        finally:
            self._clock.stage("verify")

    def _begun(self, agreed: Agreed, *, at_once: bool) -> Token:
        """Record that the call begins; *at_once* if there is time for that before it ends."""
        try:
            return self._parts.ledger.begin(
                agreed.prepared.terms,
                self._caller,
                agreed.arguments,
                confirmed_by=agreed.confirmed,
                received=agreed.received.counts(),
                invocation=agreed.invocation,
                quietly=True,
                at_once=at_once,
            )
        except InternalError as error:
            if error.code != "ledger.closed":
                raise
            raise UsageError("runtime.closed", "the runtime is closed", "open another one") from error

    def _redactor(self, agreed: Agreed, running: RunningCall) -> Redactor:
        """Return the redactor for everything that this call outputs."""
        prepared, package = agreed.prepared, agreed.prepared.manifest.name
        received = agreed.received.values
        tokens: MakeToken | None = None
        needs = prepared.redaction.makes_tokens or self._conversation.has_tokens
        vault = self._conversation.vault if needs else None
        secrets = list(prepared.secrets.values())
        if prepared.plan.network:  # host names are reported in lower case
            secrets += [each.lower() for each in secrets]
        if vault is not None:
            tokens = functools.partial(vault.token, package)
            received = vault.handed(package, received)
        return Redactor(
            prepared.redaction,
            secrets=secrets,
            bounds=redaction_bounds(prepared.plan.limits.output, running.cancellation.is_set),
            tokens=tokens,
            received=received,
        )

    def _placed(self, plan: SandboxPlan, running: RunningCall, stack: contextlib.ExitStack) -> SandboxPlan:
        """Return *plan*; a plan that mounts nothing gets a folder for this call, until *stack* ends."""
        if plan.bare is None:
            return plan
        place = stack.enter_context(call_folder(self._parts.home, root=plan.root))
        placed = settle(plan, place, self._parts.cache)
        self._parts.watchdog.bound(
            running, Path(placed.scratch), placed.limits.scratch, "its scratch is full"
        )
        return placed

    def _session(self, agreed: Agreed, redactor: Redactor) -> Session | None:
        """Return the session with the MCP server of the package, None if the package is no server."""
        prepared = agreed.prepared
        if prepared.plan.kind != "mcp":
            return None
        relay = None
        if self._options.progress is not None:
            # The same redactor as for the result: values it finds while the call runs are known at the end.
            relay = ProgressRelay(self._options.progress, redactor, time.monotonic)
        return Session(
            Asked("tools/call", agreed.request.decode()),
            Reading(prepared.plan.limits.output, MAX_DEPTH, MAX_VALUES),
            progress=None if relay is None else relay.take,
            finished=(lambda: None) if relay is None else relay.finish,
            meta=self._options.trace_context,
        )

    def _completed(
        self,
        stack: contextlib.ExitStack,
        agreed: Agreed,
        plan: SandboxPlan,
        session: Session | None,
        parked: Parked | None,
    ) -> Completed:
        """Run the call; however it ends, close its network connections."""
        reach = Reach(self._parts.broker, agreed.prepared.manifest.name, agreed.invocation, plan.network)

        def attempt() -> Completed:
            left = None if self._deadline is None else self._deadline - time.perf_counter()
            call = Call(
                agreed.request if session is None else session.opening(),
                agreed.invocation,
                variables=agreed.prepared.variables(self._environ),
                arguments=agreed.prepared.command(),
                wall_ms=None if left is None else _milliseconds(left),
                told_ms=None if self._options.timeout is None else _milliseconds(self._options.timeout),
                cancel_fd=self._options.cancel.fd,
                dialogue=session,
                meanwhile=self._beside,
                serve=reach.serve,
            )
            return spawn.run(
                plan,
                call,
                cache=self._parts.cache,
                traced=self._options.trace is not None,
                parked=parked,
                look=agreed.prepared.look,
                until=stack,
                ground=functools.partial(self._parts.grounds.of, plan, agreed.prepared.recipe.basis),
            )

        try:
            return scarce.patiently(attempt, self._parts.sandboxes.make_room, self._pauses)
        finally:
            self._traffic = reach.end(drop=self._options.cancel.is_set())

    def _on_record(self, agreed: Agreed, redactor: Redactor) -> Mapping[str, Any]:
        """Return the ledger's record of the network use of the call."""
        if self._traffic is None:
            return {}
        return reaching.on_record(self._traffic, agreed.prepared.grant.permissions, redactor)

    def _pauses(self, seconds: float) -> bool:
        """Wait for *seconds*; return whether the call is still wanted."""
        wanted = select.poll()
        wanted.register(self._options.cancel.fd, select.POLLIN)
        return not wanted.poll(seconds * 1000)

    def _failed(self, error: BaseException) -> Ending:
        """Return the end of a call that *error* ended, Ctrl-C included: every recorded start gets an end."""
        code = error.code if isinstance(error, MppError) else f"python.{type(error).__name__}"
        return Ending(Outcome.FAILED, code=code, timing=self._clock.stages)


def _redact(error: MppError, redactor: Redactor) -> None:
    """Redact the text of *error*: it may contain names that tools gave to files."""
    try:
        clean = redactor.redact_many({"message": error.message, "hint": error.hint})
    except StoppedError:
        error.message = "the call could not be made, and what is known of it is withheld"
        error.hint = ""
    else:
        error.message, error.hint = clean["message"].value, clean["hint"].value
    error.args = (error.code, error.message, error.hint)


def _milliseconds(seconds: float) -> int:
    return max(1, int(min(seconds, _LONGEST) * 1000))
