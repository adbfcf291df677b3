"""Turns a tool's output into its result: redacted on all channels together, in MCP's form.

All output of a tool is hostile until it has passed through here.

Source: Model Context Protocol 2025-11-25, server/tools (``CallToolResult``, content blocks).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mpp_exec import encoding
from mpp_exec.calls.denied import Deny, Explain, Tried, redacted_denials
from mpp_exec.calls.said import Said, Violations, read_said
from mpp_exec.dialogue.blocks import text_parts, with_binary, without_binary
from mpp_exec.dialogue.session import End
from mpp_exec.package.manifest import Tool
from mpp_exec.package.schema import json_pointer
from mpp_exec.privacy.meter import Bounds, StoppedError
from mpp_exec.privacy.policy import BINARY
from mpp_exec.privacy.redact import Redactor
from mpp_exec.sandbox.complaints import complaints
from mpp_exec.sandbox.outcome import Outcome
from mpp_exec.sandbox.spawn import Completed

MAX_FINDINGS: Final = 50_000
"""Values that are redacted in a result. Beyond it nothing of the result is handed over."""

_SECONDS: Final = 5.0
_SECONDS_PER_MIB: Final = 1.0
# Why redaction ended without a result: outcome, error code and sentence.
_WITHHELD: Final[Mapping[str, tuple[Outcome, str, str]]] = {
    "timeout": ("timeout", "", "its time passed while it waited for its turn: nothing of it ran"),
    "cancelled": ("killed", "", "cancelled by its caller"),
    "findings": (
        "output",
        "privacy.too_many_findings",
        f"its output is withheld: more than {MAX_FINDINGS} values in it would have to be redacted",
    ),
    "seconds": (
        "output",
        "privacy.too_slow",
        "its output is withheld: redacting it took longer than output of its limit may take",
    ),
}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one invocation for its caller. Nothing in it is unredacted.

    Attributes:
        content: MCP content blocks.
        structured: MCP structuredContent, None if the tool returned blocks without it.
        is_error: MCP isError: the tool failed, or was stopped.
        outcome: one of the contract's words.
        reason: a sentence that explains the outcome, "" for ``ok``.
        stderr: what the tool wrote to stderr, as text.
        redactions: how many values of each kind were found, and how many blocks of ``binary`` were withheld.
        invocation: the number of the call on the ledger.
        denied: the permissions that would have allowed what failed, a line for each; "" if none was missing.
        kind: the kind of the package. For a tool that is not Python, denials are unknown unless it is traced.
        denials: the same as JSON, with denied attempts of a Python tool that did not make it fail.
        appeared: files that other programs obey and that did not exist before.
        withheld: the error code if redaction exceeded its bounds; nothing of the tool's result is here then.
        meta: ``_meta`` of the contract.
    """

    content: list[dict[str, Any]]
    structured: dict[str, Any] | None
    is_error: bool
    outcome: Outcome
    reason: str
    stderr: str
    redactions: Mapping[str, int]
    invocation: str
    kind: str = ""
    denied: str = ""
    denials: tuple[Mapping[str, str], ...] = ()
    appeared: tuple[str, ...] = ()
    withheld: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def with_meta(self, meta: Mapping[str, Any]) -> ToolResult:
        """Set ``_meta`` and return this result. Only its maker may call this: nobody else has it yet."""
        object.__setattr__(self, "meta", meta)
        return self

    def told(self) -> list[dict[str, Any]]:
        """Return the content, followed by what a reader of the content alone would miss about a failure.

        That is what the tool was denied, unless the content has the same words. If there is no content, it
        is also why the tool failed.
        """
        if not self.is_error:
            return self.content
        said = " ".join(str(block.get("text", "")) for block in self.content)
        missed = [line for line in self.denied.splitlines() if line not in said]
        if not self.content:
            missed.insert(0, self.reason or "the tool failed")
        return [*self.content, {"type": "text", "text": "\n".join(missed)}] if missed else self.content

    def to_call_tool_result(self) -> dict[str, Any]:
        """Return the MCP ``CallToolResult`` with ``_meta``."""
        result: dict[str, Any] = {"content": self.content, "isError": self.is_error}
        if self.structured is not None:
            result["structuredContent"] = self.structured
        result["_meta"] = dict(self.meta)
        return result


def redaction_bounds(max_size: int, cancelled: Callable[[], bool]) -> Bounds:
    """Return the bounds for redacting the result of a call whose output is at most *max_size* bytes.

    The clock counts the thread's own time: many results at once take longer, but none is withheld for that.
    """
    seconds = _SECONDS + _SECONDS_PER_MIB * max_size / (1 << 20)
    return Bounds(MAX_FINDINGS, seconds, time.thread_time, cancelled)


def read_result(
    kind: str,
    tool: Tool,
    completed: Completed,
    redactor: Redactor,
    *,
    violations: Violations | None,
    explain: Explain,
    max_size: int,
    invocation: str,
    reason: Callable[[], str] = str,
    denials: Deny = lambda *_: (),
    cancelled: Callable[[], bool] = lambda: False,
    end: End | None = None,
    aside: str = "",
    drops_binary: bool = False,
    refused: Sequence[tuple[str, int, str]] = (),
) -> ToolResult:
    """Return the redacted result of *completed*.

    The cost is bounded by *max_size*, by MAX_VALUES and by the bounds of *redactor*, whatever the tool
    prints. A result that exceeds the bounds of *redactor* is withheld. The result of a *cancelled* call is
    not read.

    *violations* checks the structured content against the tool's outputSchema, None without one.
    *explain* says for a path and an errno which permission would have allowed it, "" if none would.
    *denials* says which of the attempts were denied that a launcher noted or another program complained of.
    *reason* says why the call was cancelled, if it was; that can happen while its result is read.
    *end* is how the session with a server ended, *aside* what the server wrote beside its messages.
    *drops_binary* replaces what is not text by a line of text. *refused* is what the broker did not connect
    to (``reaching.refused``); nothing that the tool says replaces it.
    """
    if cancelled():
        return _withheld("cancelled", kind, invocation, reason())
    said = read_said(kind, tool, completed, violations=violations, max_size=max_size, end=end)
    if said.outcome == "killed":
        said.reason = reason() or said.reason
    dropped = 0
    if drops_binary:
        said.blocks, dropped = without_binary(said.blocks)
    is_error = said.outcome != "ok" or said.tool_error
    errors = completed.errors.decode("utf-8", "replace")
    if completed.cut:
        errors = redactor.without_cut_end(errors)
    try:
        redacted = redactor.redact_many(_channels(said, errors + aside, completed.appeared))
        counts: Counter[str] = Counter()
        if dropped:
            counts[BINARY] = dropped
        for channel in redacted.values():
            if channel.findings:
                counts.update(channel.counts())
        clean = {name: channel.value for name, channel in redacted.items()}
        said.reason = clean.get("reason", "")
        if said.broken is not None:
            said.reason = redactor.redact(_breaks(clean["place"], said.broken[1])).value
        tried = said.tried
        if is_error and kind != "python":
            tried = _complained(said, errors + aside, clean, redactor)
        if refused or "refused" in tried:  # the broker's claim, not the tool's
            tried = {**tried, "refused": refused}
        denied = redacted_denials(
            Tried(said.denied_path, said.denied_errno, tried), explain, denials, redactor, counts
        )
    except StoppedError as error:
        return _withheld(error.why, kind, invocation, reason())
    content, structured = _content(said, clean, denied.hint, is_error=is_error)
    return ToolResult(
        content=content,
        structured=structured,
        is_error=is_error,
        outcome="tool_error" if said.outcome == "ok" and said.tool_error else said.outcome,
        reason=said.reason,
        stderr=clean.get("stderr", ""),
        redactions=dict(sorted(counts.items())),
        invocation=invocation,
        kind=kind,
        denied=denied.sentences,
        denials=denied.denials,
        appeared=tuple(clean.get("appeared", ())),
    )


def _complained(said: Said, errors: str, clean: Mapping[str, Any], redactor: Redactor) -> Mapping[str, Any]:
    """Return the denials that the tool's words report, without those that may contain half of a value.

    A path ends at a blank, and a name at a sign. A value may continue after that, and no detector recognises
    half of a value. If the same denial is read from the words with their values masked, it contains only
    whole values.
    """
    told = complaints(errors, said.message, *(block.get("text") for block in said.blocks))
    if not told:
        return told
    blocks = clean.get("blocks", ())
    shown = complaints(clean.get("stderr"), clean.get("message"), *(block.get("text") for block in blocks))
    whole = {
        kind: [each for each in words if redactor.redact(each).value in shown.get(kind, ())]
        for kind, words in told.items()
    }
    if "" in shown.get("host", ()) and not whole.get("host"):
        whole["host"] = [""]  # some host, whose name is masked
    return whole


def _channels(said: Said, errors: str, appeared: tuple[str, ...]) -> dict[str, Any]:
    """Return everything that leaves, by channel. Empty channels, which are most, are left out."""
    channels: dict[str, Any] = {}
    if said.has_value:
        channels["value"] = said.value
    if said.blocks:
        channels["blocks"] = [text_parts(block) for block in said.blocks]
    if said.form == "mcp":  # else the content is made from the value
        channels["structured"] = said.structured
    if said.message:
        channels["message"] = said.message
    if said.reason:
        channels["reason"] = said.reason  # may contain the words of a server
    if said.broken is not None:
        channels["place"] = list(said.broken[0])  # names that the tool chose
    if appeared:
        channels["appeared"] = list(appeared)  # names that the tool chose
    if errors:
        channels["stderr"] = errors
    return channels


def not_run(why: Literal["timeout", "cancelled"], kind: str, invocation: str) -> ToolResult:
    """Return the result of a call whose time passed, or that was cancelled, before its turn came."""
    return _withheld(why, kind, invocation, "")


def _breaks(place: Sequence[str | int], keyword: str) -> str:
    return f"the tool's result breaks its outputSchema at {json_pointer(place) or '/'}: {keyword}"


def _withheld(why: str, kind: str, invocation: str, reason: str) -> ToolResult:
    """Return the result of a call from which nothing is handed over; *reason* is who cancelled it, or ""."""
    outcome, code, sentence = _WITHHELD[why]
    sentence = reason if reason and outcome == "killed" else sentence
    return ToolResult(
        content=[{"type": "text", "text": sentence}],
        structured=None,
        is_error=True,
        outcome=outcome,
        reason=sentence,
        stderr="",
        redactions={},
        invocation=invocation,
        kind=kind,
        withheld=code,
    )


def _content(
    said: Said, clean: Mapping[str, Any], hint: str, *, is_error: bool
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    if said.form == "mcp" and said.outcome == "ok":
        blocks = [
            with_binary(part, block) for part, block in zip(clean.get("blocks", ()), said.blocks, strict=True)
        ]
        return blocks, clean["structured"]
    if said.has_value and said.outcome == "ok":
        value = clean["value"]
        text = value if isinstance(value, str) else encoding.json_dumps(value)
        structured = value if isinstance(value, dict) else {"result": value}
        # The value of a failed program is passed on as it is, and does not claim to fit the outputSchema.
        return [{"type": "text", "text": text}], None if is_error else structured
    lines = [line for line in (clean.get("message", ""), said.reason, hint) if line]
    return [{"type": "text", "text": "\n".join(lines) or "the tool failed"}], None
