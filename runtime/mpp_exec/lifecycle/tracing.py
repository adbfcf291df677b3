"""Runs a tool watched, under the grant it has or one that a person confirms for this one run."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from mpp_exec.calls.prepared import Prepared, Temporary
from mpp_exec.calls.result import ToolResult
from mpp_exec.calls.said import tried_by
from mpp_exec.characters import visible
from mpp_exec.consent.config import expand_path
from mpp_exec.consent.grant import Grant, found_covers, identities_of
from mpp_exec.consent.present import stays_read_only
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.lifecycle.proposing import AskSetting, ReadSecret, Wishes, propose
from mpp_exec.lifecycle.session import Session
from mpp_exec.lifecycle.suggesting import Host, Suggestion, suggest
from mpp_exec.permissions import HostPort, Permissions
from mpp_exec.pipeline import Runtime
from mpp_exec.privacy.redact import Redactor
from mpp_exec.vocabulary import (
    VocabularyError,
    parse_env_name,
    parse_host_port,
    parse_program,
    path_placeholder,
)

_Entry = TypeVar("_Entry", str, HostPort)
_SHOWN: Final = 20
"""Refusals that are told one by one."""


@dataclass(frozen=True, slots=True)
class Wider:
    """What was typed to be granted for one run, beside the grant."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    subprocess: tuple[str, ...] = ()
    network: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.read or self.write or self.environment or self.subprocess or self.network)


@dataclass(frozen=True, slots=True)
class Tracing:
    """A traced call that nobody has made yet.

    Attributes:
        grant: what it would be made under; ``added`` what of that goes beyond the grant there is.
        approved: whether the package is approved as it is.
    """

    name: str
    version: str
    grant: Grant
    secrets: Mapping[str, str] = field(repr=False)
    added: Permissions
    approved: bool

    def lines(self) -> list[str]:
        """Return what a person must see before agreeing."""
        base = "beside what it was granted" if self.approved else "of what it asks for nothing else"
        return [
            f"package {self.name} {self.version}, watched, for this one run:",
            *(() if self.approved else ("  it is not approved: nobody has agreed that it runs here",)),
            f"  digest {self.grant.digest}",
            f"  {base}, it may",
            *(f"  - {line}" for line in self.added.describe()),
            *(f"  {line}" for line in (stays_read_only(self.grant.permissions) if self.added.write else ())),
            "  nothing of this is remembered; the run is on the ledger",
        ]


@dataclass(frozen=True, slots=True)
class Traced:
    """What became of it. Nothing in it is unredacted."""

    result: ToolResult
    tool: str
    suggestion: Suggestion
    toml: str
    denied: tuple[str, ...]
    remarks: tuple[str, ...]


def begin(
    session: Session,
    name: str,
    settings: tuple[str, ...],
    wider: Wider,
    *,
    read_secret: ReadSecret,
    ask: AskSetting | None,
) -> Tracing:
    """Return the traced call of *name* that a person is to agree to.

    The grant is that of the package, or an empty one where it is not approved; *settings* are words of
    ``--set``, for a package that is not approved. *wider* is added: its paths are resolved, checked
    against what is protected, and bounded by policy, as at an approval.

    Raises:
        UsageError: no such package; a setting or a path that is wrong.
        ConsentError: trust, policy, or a protected path.
    """
    installed, package = session.verified(name)
    standing = session.standing(installed)
    approved = standing.state == "approved" and standing.grant is not None
    if approved and settings:
        raise UsageError(
            "trace.settings",
            f"{name} is approved, with the settings that it has",
            f"change them with mpp-exec approve {name} --set …, or trace it as it is",
        )
    if approved and standing.grant is not None:
        grant, secrets = standing.grant, session.store.approved(name).secrets
    else:
        everything = tuple(word for word in package.manifest.permissions.words() if "=" not in word)
        proposal = propose(
            session, package, Wishes(settings, everything), None, read_secret=read_secret, ask=ask
        )
        grant, secrets = proposal.grant, proposal.secrets
    widened = _widened(session, grant, wider)
    return Tracing(name, installed.version, widened, secrets, _added(grant, widened), approved)


def _widened(session: Session, grant: Grant, wider: Wider) -> Grant:
    if not wider:
        return grant
    try:
        added = Permissions(
            network=tuple(map(parse_host_port, wider.network)),
            environment=tuple(map(parse_env_name, wider.environment)),
            subprocess=tuple(map(parse_program, wider.subprocess)),
            read=tuple(final for path in wider.read for final in _resolved(path, grant)),
            write=tuple(final for path in wider.write for final in _resolved(path, grant)),
        )
    except VocabularyError as error:
        raise UsageError("trace.word", error.message, error.hint) from None
    allowed, withheld = session.policies.load().ceiling(added)
    if withheld:
        refused = "; ".join(f"{each.permission}: {each.reason}" for each in withheld)
        raise ConsentError(
            "policy.permission",
            f"policy bounds a traced run, too: {refused}",
            "mpp-exec trace it without that",
        )
    before = grant.permissions
    permissions = Permissions(
        network=(*before.network, *allowed.network),
        environment=(*before.environment, *allowed.environment),
        subprocess=(*before.subprocess, *allowed.subprocess),
        storage=before.storage,
        read=(*before.read, *allowed.read),
        write=(*before.write, *allowed.write),
    ).reduced()
    return replace(
        grant,
        permissions=permissions,
        covers=found_covers(permissions, session.protected()),
        identities=identities_of(permissions) | dict(grant.identities),
    )


def _resolved(path: str, grant: Grant) -> tuple[str, ...]:
    # A relative path is the person's own, who sees the final one before agreeing.
    typed = path if path_placeholder(path) else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    final = expand_path(typed, grant.config)
    if not final:
        raise UsageError("trace.setting", f"the setting of {path} has no value", "give the path itself")
    return final


def _added(before: Grant, after: Grant) -> Permissions:
    old, new = before.permissions, after.permissions
    return Permissions(
        network=tuple(each for each in new.network if each not in old.network),
        environment=tuple(each for each in new.environment if each not in old.environment),
        subprocess=tuple(each for each in new.subprocess if each not in old.subprocess),
        read=tuple(each for each in new.read if each not in old.read),
        write=tuple(each for each in new.write if each not in old.write),
    )


def trace(
    runtime: Runtime, tracing: Tracing, tool: str, arguments: Mapping[str, Any], timeout: float | None
) -> Traced:
    """Make the call and return its result with what would have sufficed.

    Raises:
        as :meth:`.pipeline.Runtime.call`.
    """
    result, seen = runtime.trace(
        tracing.name, tool, arguments, Temporary(tracing.grant, tracing.secrets), timeout=timeout
    )
    prepared, completed = seen.prepared, seen.completed
    assert prepared is not None
    assert completed is not None
    python = prepared.plan.kind == "python"
    suggestion = suggest(
        prepared,
        completed.accesses,
        tried_by(completed, prepared.plan.limits.output) if python else {},
        Host(os.path.lexists, lambda name: _has_program(runtime, name), os.environ.__contains__),
        seen.asked,
        ok=result.outcome == "ok",
    )
    if completed.accesses_lost:
        suggestion.remarks.append(
            f"{completed.accesses_lost} accesses were too many to be kept: the proposal may lack something"
        )
    if python and completed.outcome != "ok":
        suggestion.remarks.append(
            "it was stopped: what it named of variables, programs and hosts is not known"
        )
    return _redacted(result, prepared, suggestion)


def _has_program(runtime: Runtime, name: str) -> bool:
    if shutil.which(name) is None:
        return False
    try:
        runtime.cache.started(name)
    except MppError:  # what could not be granted is not proposed
        return False
    return True


def _spellings(secret: str) -> Iterator[str]:
    """Yield *secret* as it is, as the name of a host spells it, and as a path does."""
    yield secret
    yield from filter(None, (secret.lower(), posixpath.normpath(f"/{secret}").lstrip("/")))


def _redacted(result: ToolResult, prepared: Prepared, suggestion: Suggestion) -> Traced:
    """Take sensitive data out of what the tool's own words became. An entry with any is no permission."""
    secrets = {spelling for secret in prepared.secrets.values() for spelling in _spellings(secret)}
    redactor = Redactor(prepared.redaction, secrets=sorted(secrets))
    granted = prepared.grant.permissions
    typed = (*granted.read, *granted.write)
    removed = 0

    def clean(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
        nonlocal removed
        own = {str(index): _beyond(str(entry), typed) for index, entry in enumerate(entries)}
        seen = redactor.redact_many(own)
        kept = tuple(
            entry for index, entry in enumerate(entries) if seen[str(index)].value == own[str(index)]
        )
        removed += len(entries) - len(kept)
        return kept

    def cleaned(given: Permissions) -> Permissions:
        return Permissions(
            network=clean(given.network),
            environment=clean(given.environment),
            subprocess=clean(given.subprocess),
            storage=given.storage,
            read=clean(given.read),
            write=clean(given.write),
        )

    suggestion.permissions, suggestion.spared = cleaned(suggestion.permissions), cleaned(suggestion.spared)
    if removed:
        suggestion.remarks.append(
            f"{removed} entries hold sensitive data and are left out; see what was denied"
        )
    shown = suggestion.denied[:_SHOWN]
    if len(suggestion.denied) > _SHOWN:
        shown.append(f"… and {len(suggestion.denied) - _SHOWN} more")
    told = redactor.redact_many({"denied": shown, "remarks": suggestion.remarks})
    return Traced(
        result=result,
        tool=prepared.tool.name,
        suggestion=suggestion,
        toml=suggestion.toml(),
        denied=tuple(map(visible, told["denied"].value)),
        remarks=tuple(map(visible, told["remarks"].value)),
    )


def _beyond(entry: str, typed: tuple[str, ...]) -> str:
    """Return what of a path the tool chose: the part behind a setting or a granted path."""
    known = [root for root in typed if entry == root or entry.startswith(f"{root}/")]
    if entry.startswith("${"):
        return entry.partition("}")[2]
    return entry[len(max(known, key=len, default="")) :]
