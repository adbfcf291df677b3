"""Evaluates a call that has run: measures what it left, reads its output, and builds the report of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpp_exec.audit.entry import Outcome
from mpp_exec.audit.record import Ending
from mpp_exec.calls import reaching
from mpp_exec.calls.prepared import Prepared
from mpp_exec.calls.result import ToolResult, read_result
from mpp_exec.calls.said import Violations
from mpp_exec.calls.withdraw import RunningCall, folder_size
from mpp_exec.dialogue.session import Session
from mpp_exec.errors import ConsentError
from mpp_exec.package.schema import Validator
from mpp_exec.privacy.received import Received
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.denial import denials, explain_denial
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.spawn import Completed

if TYPE_CHECKING:
    from mpp_exec.egress.traffic import Traffic

FULL: Final = "its storage is full"


class Agreed(NamedTuple):
    """A call that may be made: its number, its input, and who confirmed it ("" if nobody had to).

    ``arguments`` are as the caller wrote them; ``request`` and ``received`` hold values in place of tokens.
    """

    invocation: str
    prepared: Prepared
    arguments: dict[str, Any]
    request: bytes
    received: Received
    confirmed: str


def ending(result: ToolResult, timing: dict[str, int], network: Mapping[str, Any] | None = None) -> Ending:
    """Return the record of a call that ended with *result* and used *network* (``reaching.on_record``)."""
    body = {"content": result.content, "structuredContent": result.structured, "isError": result.is_error}
    return Ending(
        Outcome(result.outcome),
        result=body,
        code=result.withheld,
        redactions=result.redactions,
        timing=timing,
        network=network or {},
    )


def read(
    agreed: Agreed,
    plan: SandboxPlan,
    completed: Completed,
    running: RunningCall,
    *,
    session: Session | None,
    redactor: Redactor,
    traffic: Traffic | None = None,
) -> ToolResult:
    """Return the redacted result of a call that ran as *plan*, ended as *completed*, and made *traffic*."""
    prepared, cancelled = agreed.prepared, running.cancellation.is_set
    max_size = prepared.plan.limits.output
    return read_result(
        prepared.plan.kind,
        prepared.tool,
        completed,
        redactor,
        violations=_violations(prepared.result),
        explain=functools.partial(explain_denial, plan),
        denials=functools.partial(
            denials, plan, granted=prepared.grant.permissions, asked=prepared.manifest.permissions
        ),
        max_size=max_size,
        invocation=agreed.invocation,
        reason=lambda: running.reason,
        cancelled=cancelled,
        end=None if session is None else session.end,
        aside="" if session is None else session.aside,
        drops_binary=prepared.redaction.drops_binary,
        refused=reaching.refused(traffic),
    )


def meta(
    agreed: Agreed, result: ToolResult, timing: dict[str, int], traffic: Traffic | None = None
) -> dict[str, Any]:
    """Return the ``_meta`` of the contract."""
    prepared = agreed.prepared
    sometimes = {
        "mpp-exec/degraded": list(prepared.plan.degraded),
        "mpp-exec/reason": result.reason,
        "mpp-exec/withheld": result.withheld,
        "mpp-exec/denied": result.denied,
        "mpp-exec/denials": list(result.denials),
        "mpp-exec/appeared": list(result.appeared),
        "mpp-exec/received": agreed.received.counts(),
        "mpp-exec/network": reaching.counts(traffic) if traffic is not None else {},
    }
    return {
        "mpp-exec/invocation": result.invocation,
        "mpp-exec/package": {
            "name": prepared.manifest.name,
            "version": prepared.manifest.version,
            "digest": prepared.grant.digest,
        },
        "mpp-exec/outcome": result.outcome,
        "mpp-exec/redactions": dict(result.redactions),
        "mpp-exec/timing": timing,
        **{name: value for name, value in sometimes.items() if value},
    }


def measured(prepared: Prepared, completed: Completed) -> Completed:
    """Return *completed*, changed to killed if the files that the call left exceed its bound.

    The watchdog looks only at intervals; files that were written between two looks are the same offence.
    """
    if not is_full(prepared):
        return completed
    if completed.outcome in ("ok", "tool_error"):
        return completed._replace(outcome="killed", reason=FULL)
    reason = "; ".join(filter(None, (completed.reason, FULL)))
    return completed._replace(reason=reason)


def is_full(prepared: Prepared) -> bool:
    """Return whether the storage of the call exceeds its bound or cannot be measured."""
    limit = prepared.grant.permissions.storage
    return prepared.storage is not None and folder_size(prepared.storage, limit) > limit


def require_room(prepared: Prepared) -> None:
    """Refuse a call whose storage is already full.

    Raises:
        ConsentError: ``storage.full``.
    """
    limit = prepared.grant.permissions.storage
    if is_full(prepared):
        raise ConsentError(
            "storage.full",
            f"the storage of {prepared.manifest.name} is over its {limit} bytes, or cannot be measured",
            f"clear {prepared.storage}, or install a version that asks for more",
        )


def _violations(validator: Validator | None) -> Violations | None:
    if validator is None:
        return None
    return lambda value: [(found.path, found.keyword) for found in validator.validate(value, limit=1)]
