"""One command's hold on a home: its store, its ledger, its policy, and who is asking.

Every change goes on record inside its own transaction, as the last thing before the commit: what
cannot be recorded does not happen. The other way round a crash in the moment between can leave an
entry for a change that was not made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from mpp_exec.audit.entry import Caller, Kind, PackageRef
from mpp_exec.audit.ledger import Ledger
from mpp_exec.consent.grant import Grant
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.errors import ConsentError
from mpp_exec.registry.home import Home, other_homes
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Store
from mpp_exec.trust.installed import InstalledPackage, verify_installed
from mpp_exec.trust.keyfiles import KeyFolder
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import SignedManifest, current_platform

GrantState = Literal["approved", "not approved", "outdated", "unreadable"]


@dataclass(frozen=True, slots=True)
class Standing:
    """An installed package and what became of its approval; *grant* is the last one, None without one.

    *distrusted* is why it does not run whatever was approved, "" where its publisher is trusted.
    """

    installed: Installed
    state: GrantState
    grant: Grant | None
    distrusted: str = ""


class Session:
    """Opens a home for one command. A context manager.

    Args:
        home: its folder; None for the user's own.
        client: the program that asks, for the ledger.
        clock: returns the time, aware.

    Raises:
        UsageError, ConsentError, InternalError: the home is none, somebody else's, or cannot be opened.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        client: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.home = Home.open(home)
        self.clock = clock
        self.policies = PolicyFiles(self.home.path)
        self.store = Store(self.home)
        self.ledger = Ledger(self.home.path, self.store.key, clock=clock, begun=self.store.has_records())
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left on the ledger, and let everything go."""
        try:
            self.ledger.close()
        finally:
            self.store.close()

    @property
    def keys(self) -> KeyFolder:
        """The private keys of this home."""
        return KeyFolder(self.home.keys)

    def protected(self) -> Protected:
        """Return what no grant may reach on this host."""
        others = other_homes(self.home.path)
        return Protected.of_host(self.home.path, others=others, policies=self.policies.protected())

    def record(
        self,
        kind: Kind,
        package: SignedManifest | Installed | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a change on record.

        Raises:
            InternalError: it cannot be recorded, and must not be made.
        """
        self.ledger.event(kind, self.caller(), package=_reference(package), detail=detail)

    def caller(self) -> Caller:
        """Return who asks, as the ledger has it."""
        return Caller.current(client=self._client)

    def verified(self, name: str) -> tuple[Installed, InstalledPackage]:
        """Return the installed package *name*, and what its publisher signed, verified now.

        Raises:
            UsageError: ``store.not_installed``.
            PackageError, ConsentError: it is not what was installed, or is trusted no longer.
        """
        installed = self.store.package(name)
        with self.store.leased(installed) as folder:
            package = verify_installed(
                folder,
                installed.digest,
                self.store.trust_view(),
                now=self.clock(),
                platform=current_platform(),
                known_fingerprint=installed.fingerprint,
            )
        return installed, package

    def standing(self, installed: Installed, view: TrustView | None = None) -> Standing:
        """Return whether *installed* may run, as far as approval and trust (*view*) go."""
        view = view if view is not None else self.store.trust_view()
        distrusted = view.distrust(installed.key_id, installed.name, installed.digest)
        try:
            grant = self.store.grant(installed.name)
        except ConsentError:  # edited, or of another version of this program: it allows nothing
            return Standing(installed, "unreadable", None, distrusted)
        if grant is None:
            return Standing(installed, "not approved", None, distrusted)
        pinned = (grant.digest, grant.key_id) == (installed.digest, installed.key_id)
        return Standing(installed, "approved" if pinned else "outdated", grant, distrusted)

    def standings(self) -> list[Standing]:
        """Return all that is installed, by name."""
        view = self.store.trust_view()
        return [self.standing(each, view) for each in self.store.installed()]

    def find(self, name: str) -> Standing | None:
        """Return what is installed as *name*, None if nothing is."""
        found = next((each for each in self.store.installed() if each.name == name), None)
        return None if found is None else self.standing(found)


def resolve_path(text: str | None) -> Path | None:
    """Return the folder that ``--home`` names, None for the user's own."""
    return None if text is None else Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 -- also where it does not exist


def _reference(package: SignedManifest | Installed | None) -> PackageRef | None:
    if package is None:
        return None
    if isinstance(package, Installed):
        name, version = package.name, package.version
    else:
        name, version = package.manifest.name, package.manifest.version
    return PackageRef(name, version, name.partition("/")[0], package.key_id, package.digest)
