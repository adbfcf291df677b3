"""What the policy of this moment takes away from what is installed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mpp_exec.consent.grant import Grant
from mpp_exec.consent.policy import Policy, Withheld
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.lifecycle.session import GrantState, Session
from mpp_exec.package.manifest import Confirm, Manifest
from mpp_exec.privacy.policy import effective_actions
from mpp_exec.registry.records import Installed
from mpp_exec.vocabulary import path_placeholder


@dataclass(frozen=True, slots=True)
class Compliance:
    """One installed package under the policy.

    Attributes:
        installed, state: the package, and what became of its approval.
        refused: why nothing of it runs, "" where the policy says nothing of the kind.
        withheld: what was granted and is taken away at each call. Where nothing is granted that counts, it is
            what an approval would not get of what the package asks for.
        confirm: per tool, where the policy has people asked more often than was agreed.
        unknown: why it cannot be said what a package without approval asks for, "" where it can.
    """

    installed: Installed
    state: GrantState
    refused: str
    withheld: tuple[Withheld, ...] = ()
    confirm: Mapping[str, Confirm] | None = None
    unknown: str = ""

    @property
    def breaks(self) -> bool:
        """Whether more was granted than the policy allows."""
        return self.state == "approved" and bool(self.refused or self.withheld)

    def to_json(self) -> dict[str, Any]:
        """Return what ``policy check --json`` prints of it."""
        return {
            "name": self.installed.name,
            "version": self.installed.version,
            "state": self.state,
            "ok": not self.breaks,
            "refused": self.refused or None,
            "withheld": [{"permission": each.permission, "reason": each.reason} for each in self.withheld],
            "confirm": dict(self.confirm or {}),
            "unknown": self.unknown or None,
        }


def load_policy(files: PolicyFiles) -> Policy:
    """Read the policy, and look at what only a call would find wrong with it.

    Raises:
        ConsentError: ``policy.*``. Nothing may run then.
    """
    policy = files.load()
    try:
        effective_actions(organisation=policy.redaction)
    except UsageError as error:
        sources = ", ".join(layer.source for layer in policy.layers if layer.redaction)
        raise ConsentError(
            "policy.unknown_word",
            f"policy {sources}: {error.message}",
            f"{error.hint}; until it is corrected nothing runs",
        ) from error
    return policy


def complying(session: Session, policy: Policy) -> list[Compliance]:
    """Hold every installed package against *policy*, sorted by name."""
    installed = sorted(session.store.installed(), key=lambda each: each.name)
    return [_complying(session, each, policy) for each in installed]


def _complying(session: Session, installed: Installed, policy: Policy) -> Compliance:
    standing = session.standing(installed)
    try:
        policy.require_publisher(installed.name.partition("/")[0], installed.key_id)
        refused = ""
    except ConsentError as error:
        refused = error.message
    if standing.state == "approved" and standing.grant is not None:
        grant = standing.grant
        return Compliance(
            installed, standing.state, refused, _beyond(grant, policy), _asked_more_often(grant, policy)
        )
    try:
        _, package = session.verified(installed.name)
    except MppError as error:
        return Compliance(installed, standing.state, refused, unknown=error.message)
    return Compliance(installed, standing.state, refused, _beyond_manifest(package.manifest, policy))


def _beyond(grant: Grant, policy: Policy) -> tuple[Withheld, ...]:
    refusals = ((name, policy.degradation_refusal(name)) for name in grant.degradations)
    return (
        *policy.ceiling(grant.permissions)[1],
        *policy.bound(grant.limits)[1],
        *policy.disclose(grant.privacy)[1],
        *policy.redact(grant.redaction)[1],
        *(Withheld(f"degradation={name}", reason) for name, reason in refusals if reason),
        *policy.once(asked=grant.import_once)[1],
    )


def _beyond_manifest(manifest: Manifest, policy: Policy) -> tuple[Withheld, ...]:
    # Where a path is one of the user's settings, nobody knows yet what it will be.
    asks = manifest.permissions
    asked = replace(asks, read=_fixed(asks.read), write=_fixed(asks.write))
    return (
        *policy.ceiling(asked)[1],
        *policy.bound(manifest.limits)[1],
        *policy.disclose(manifest.privacy)[1],
        *policy.once(asked=manifest.runtime.import_once)[1],
    )


def _fixed(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if not path_placeholder(path))


def _asked_more_often(grant: Grant, policy: Policy) -> dict[str, Confirm]:
    operations = grant.operations
    least = {tool: policy.confirmation(operations[tool], asks) for tool, asks in grant.confirm.items()}
    return {tool: asks for tool, asks in least.items() if asks != grant.confirm[tool]}
