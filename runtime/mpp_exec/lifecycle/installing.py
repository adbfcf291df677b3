"""From a verified package file to an installed one: all at once, or nothing.

An update replaces the version that was there only together with an approval: the earlier one, where
nothing that was shown has become wider, or a person's. Whoever does not agree keeps what they have.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from mpp_exec.audit.entry import Kind
from mpp_exec.consent.approve import carry_over
from mpp_exec.consent.grant import Grant
from mpp_exec.lifecycle.compiling import compile_ahead, forget_compiled
from mpp_exec.lifecycle.proposing import Proposal
from mpp_exec.lifecycle.session import Session, Standing
from mpp_exec.package.archive import Progress, UnverifiedPackage
from mpp_exec.package.semver import Version
from mpp_exec.registry.records import Installed
from mpp_exec.trust.verify import UnknownPublisherError, VerifiedPackage, current_platform, verify


def verify_file(
    session: Session,
    package: UnverifiedPackage,
    *,
    trust: str | bool = False,
    downgrade: bool = False,
    progress: Progress | None = None,
) -> VerifiedPackage:
    """Make every check on *package*; *trust* and *downgrade* as in :class:`.publishers.TrustView`.

    Raises:
        PackageError: a check failed.
        UnknownPublisherError: all is in order but that nobody here knows the publisher.
    """
    view = session.store.trust_view(allow_downgrade=downgrade, trust_first_use=trust)
    now, platform = session.clock(), current_platform()
    return verify(package, view, now=now, platform=platform, progress=progress)


def verify_fully(
    session: Session, package: UnverifiedPackage, progress: Progress | None = None
) -> tuple[VerifiedPackage, UnknownPublisherError | None]:
    """Make every check, the contents' too where the publisher is unknown; return that error apart.

    Raises:
        PackageError: a check failed.
    """
    try:
        return verify_file(session, package, progress=progress), None
    except UnknownPublisherError as error:
        return verify_file(session, package, trust=True, progress=progress), error


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified package at the door. *there* is what stands installed under its name, None for nothing."""

    package: VerifiedPackage
    there: Standing | None
    downgrade: bool

    @classmethod
    def of(cls, session: Session, package: VerifiedPackage) -> Arrival:
        """Look what is there."""
        manifest = package.manifest
        seen = session.store.trust_view().versions_seen(manifest.publisher_key, manifest.name)
        older = any(Version(manifest.version) < Version(each) for each, _ in seen)
        return cls(package, session.find(package.manifest.name), older)

    @property
    def again(self) -> bool:
        """Whether the very same package is installed and approved."""
        there = self.there
        return (
            there is not None and there.state == "approved" and there.installed.digest == self.package.digest
        )

    @property
    def old(self) -> Grant | None:
        """The last grant under this name, None without one."""
        return self.there.grant if self.there is not None else None

    def follows(self, session: Session, old: Grant) -> Grant | None:
        """Return the grant that follows from *old* without asking anybody, None if a person must agree."""
        policy = session.policies.load()
        return carry_over(old, self.package, policy=policy, protected=session.protected())

    def keeps_grant(self, session: Session) -> bool:
        """Return whether the earlier approval covers this package."""
        return self.again or (self.old is not None and self.follows(session, self.old) is not None)


def install(
    session: Session,
    arrival: Arrival,
    proposal: Proposal | None,
    *,
    source: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Installed:
    """Install what has arrived, with the grant of *proposal*, which a person agreed to.

    Without one, the earlier grant is kept if it covers the package, and else nothing of it runs. *source* is
    the name that it has in a registry, "" for one that was a file.

    Raises:
        PackageError, ConsentError: what has changed since it was verified and shown.
        InternalError: ``store.*``, ``ledger.*``; nothing has changed.
    """
    package = arrival.package
    manifest = package.manifest
    session.policies.load().require_publisher(manifest.publisher, package.key_id)
    carried: list[Grant] = []

    def follow(old: Grant) -> Grant | None:
        grant = arrival.follows(session, old)
        carried.extend([] if grant is None else [grant])
        return grant

    def record() -> None:
        if package.first_use:
            session.record(Kind.PUBLISHER_ADD, detail=_publisher_detail(package))
        before = arrival.there.installed.version if arrival.there is not None else ""
        kept = bool(carried) or arrival.again
        grant = "approved" if proposal is not None else "kept" if kept else "none"
        kind = Kind.DOWNGRADE if arrival.downgrade else Kind.INSTALL
        origin = {"from": source} if source else {}
        session.record(kind, package, {"replaces": before, "grant": grant, **origin})
        if proposal is not None:
            session.record(Kind.APPROVE, package, proposal.detail())

    installed = session.store.install(
        package,
        now=session.clock(),
        allow_downgrade=arrival.downgrade,
        grant=proposal.grant if proposal is not None else None,
        secrets=proposal.secrets if proposal is not None else None,
        carry_over=follow,
        record=record,
        progress=progress,
        cancel=cancel,
    )
    compile_ahead(session, installed)
    return installed


def _publisher_detail(package: VerifiedPackage) -> dict[str, str]:
    return {"publisher": package.manifest.publisher, "key": package.key_id, "origin": "first-use"}


def approve(session: Session, proposal: Proposal) -> None:
    """Store the grant of *proposal*, which a person agreed to, for an installed package.

    Raises:
        ConsentError: ``grant.superseded``: another version was installed meanwhile.
    """
    session.store.approve(
        proposal.grant,
        proposal.secrets,
        record=lambda: session.record(Kind.APPROVE, proposal.package, proposal.detail()),
    )


def revoke(session: Session, name: str) -> bool:
    """Withdraw the grant of *name*, and end its running calls; False if there was none.

    Raises:
        UsageError: ``store.not_installed``.
    """
    installed = session.store.package(name)
    return session.store.revoke(name, record=lambda: session.record(Kind.REVOKE, installed))


def uninstall(session: Session, name: str) -> Installed:
    """Remove package *name*, its grant, secrets and storage; the versions seen are not forgotten.

    Raises:
        UsageError: ``store.not_installed``.
    """
    installed = session.store.package(name)
    gone = session.store.uninstall(name, record=lambda: session.record(Kind.UNINSTALL, installed))
    forget_compiled(session)
    return gone
