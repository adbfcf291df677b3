"""The store of a home: trusted publishers, installed packages, grants. Every change is one transaction.

To install, the store unpacks to ``tmp/`` and syncs. Then, in one transaction, it checks again what may have
changed meanwhile, moves the folder to its place, writes the rows, and commits. A crash at any instruction
leaves the state before or the state after; :meth:`Store.repair` finds other remains when the store is
opened. A row never names a missing folder, because a folder is removed only when no row names it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mpp_exec.consent.grant import Grant
from mpp_exec.errors import ConsentError, InternalError
from mpp_exec.package.archive import Progress
from mpp_exec.package.unpacked import fingerprint
from mpp_exec.registry.database import Database, Transaction
from mpp_exec.registry.faults import io_error
from mpp_exec.registry.folders import Workspace, lease, retire, sweep
from mpp_exec.registry.grants import Grants, StoredGrant
from mpp_exec.registry.home import Home
from mpp_exec.registry.pending import PendingCalls
from mpp_exec.registry.records import Installed, Records, Revocation, Revoked
from mpp_exec.trust.keyfiles import KeyFolder
from mpp_exec.trust.publishers import Publisher, Rotation, TrustView
from mpp_exec.trust.rotation import Effect
from mpp_exec.trust.verify import VerifiedPackage, check_state

CarryOver = Callable[[Grant], Grant | None]
"""Returns the grant of the new version that follows from the old one, None if a person must agree."""

Record = Callable[[], None]
"""Puts a change on record: called last in the change's transaction, and what it raises undoes the change."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An installed package with the grant under which it may run, as of one moment.

    Attributes:
        installed: the package.
        grant: pinned to its digest, and not yet narrowed by policy (``consent.grant.effective``).
        secrets: the values of the sensitive settings; never to be shown or logged.
        view: what verification needs to know.
        generation: the change counter of the store; if the store's has grown, this may be out of date.
    """

    installed: Installed
    grant: Grant
    secrets: Mapping[str, str] = field(repr=False)
    view: TrustView = field(repr=False)
    generation: int
    stored: StoredGrant = field(repr=False)


class Store:
    """All state of one home. Thread-safe; usable after a fork; any number of processes share a home.

    Every method raises InternalError ``store.*`` if the disk, the database or a limit fails; nothing has
    changed then.
    """

    def __init__(self, home: Home) -> None:
        """Open the store, create missing parts, and repair the remains of a crash.

        Raises:
            UsageError: ``store.newer``, ``store.foreign``, ``key.malformed``.
            ConsentError: ``key.exposed``.
            InternalError: ``store.*``, ``key.io``.
        """
        self.home = home
        self.key = KeyFolder(home.keys).home_key()
        self._records = Records(home.state, self.key)
        self._grants = Grants(self.key)
        self._database = Database(home.state)
        self.pending = PendingCalls(self._database, self.key)
        try:
            self._database.open()
            self.repair()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database. Harmless when it is closed already."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generation(self) -> int:
        """Return a number that grows with every change of trust, packages and grants; costs microseconds."""
        return self._database.generation()

    def has_records(self) -> bool:
        """Return whether any publisher was ever trusted or package installed; both are recorded first."""
        with self._database.reading() as rows:
            return self._records.any(rows)

    # Trust

    def trust_view(self, *, allow_downgrade: bool = False, trust_first_use: str | bool = False) -> TrustView:
        """Return what verification needs to know about this home."""
        with self._database.reading() as rows:
            return self._records.view(rows, allow_downgrade=allow_downgrade, first_use=trust_first_use)

    def publishers(self) -> list[Publisher]:
        """Return the publishers that this home trusts, by name."""
        with self._database.reading() as rows:
            return self._records.publishers(rows)

    def add_publisher(self, publisher: Publisher, record: Record | None = None) -> bool:
        """Trust *publisher*; return False, and record nothing, if it is already trusted.

        Raises:
            ConsentError: ``publisher.key_changed``.
        """
        with self._database.writing() as rows:
            added = self._records.add_publisher(rows, publisher)
            if added and record is not None:
                record()
            return added

    def rotate_publisher(
        self,
        rotation: Rotation,
        statement: bytes,
        now: datetime,
        record: Record | None = None,
        *,
        agreed: Effect | None = None,
    ) -> bool:
        """Let a new key speak for a publisher; return False, and record nothing, if it already does.

        Installed packages that the former key signed keep running; that key does not count for packages that
        arrive. *agreed* is the effect of the statement that a person was told, None if nobody was asked.

        Raises:
            PackageError, ConsentError: as :func:`mpp_exec.trust.rotation.check`, and ``rotation.changed``.
        """
        with self._database.writing() as rows:
            rotated = self._records.rotate(rows, rotation, statement, now, agreed)
            if rotated and record is not None:
                record()
            return rotated

    def remove_publisher(self, name: str, record: Record | None = None) -> None:
        """Stop trusting *name*. Its packages stop running; the record of seen versions stays.

        Raises:
            UsageError: ``publisher.unknown``.
        """
        with self._database.writing() as rows:
            self._records.remove_publisher(rows, name)
            if record is not None:
                record()

    def revocations(self) -> list[Revocation]:
        """Return all revocations, the oldest first."""
        with self._database.reading() as rows:
            return self._records.revocations(rows)

    def add_revocation(self, what: Revocation, record: Record | None = None) -> bool:
        """Revoke a key or a package; return False if it is already revoked.

        The packages that the key signed, or the package itself, stop running in every process. The publisher
        of a revoked key is removed; the record of seen versions stays.
        """
        with self._database.writing() as rows:
            revoked = self._records.add_revocation(rows, what)
            if revoked and record is not None:
                record()
            return revoked

    def remove_revocation(self, kind: Revoked, id_: str, record: Record | None = None) -> bool:
        """Take a revocation back; return False if there is none. This makes no publisher trusted."""
        with self._database.writing() as rows:
            lifted = self._records.remove_revocation(rows, kind, id_)
            if lifted and record is not None:
                record()
            return lifted

    # Packages

    def installed(self) -> list[Installed]:
        """Return all installed packages, by name."""
        with self._database.reading() as rows:
            return self._records.packages(rows)

    def package(self, name: str) -> Installed:
        """Return the installed package called *name*.

        Raises:
            UsageError: ``store.not_installed``.
        """
        with self._database.reading() as rows:
            return self._records.package(rows, name)

    def install(
        self,
        package: VerifiedPackage,
        *,
        now: datetime,
        allow_downgrade: bool = False,
        grant: Grant | None = None,
        secrets: Mapping[str, str] | None = None,
        carry_over: CarryOver | None = None,
        record: Record | None = None,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Installed:
        """Unpack *package* and make it the active version of its name.

        The same transaction pins a publisher that was verified on first use, and stores a *grant* that a
        person gave for this package, with its *secrets*. Without *grant*, the grant of an earlier version is
        passed to *carry_over*. Unless that returns a grant for this package, nothing of it runs until it is
        approved. *progress* is called in another thread.

        Raises:
            PackageError: the file changed since it was verified, or ``trust.*``.
            ConsentError: ``trust.unknown_publisher``, ``publisher.key_changed``, ``store.other_key``,
                and those of :meth:`approve`.
        """
        name = package.manifest.name
        target = self.home.package_folder(package.digest)
        try:
            with Workspace(self.home.tmp) as work:
                package.extract(work.descriptor, progress, cancel)
                with self._database.writing() as rows:
                    self._require_current(rows, package, allow_downgrade=allow_downgrade)
                    if package.first_use:
                        publisher = Publisher(
                            package.manifest.publisher, package.manifest.publisher_key, now, "first-use"
                        )
                        self._records.add_publisher(rows, publisher)
                    if self._records.find_package(rows, name) is None:
                        self._retire_storage(name)  # left behind by a package of that name
                    if not work.publish(target):
                        rows.on_rollback(lambda: work.unpublish(target))
                    self._records.put_package(rows, package, now)
                    # Its files were hashed as they were written, where nobody else can write.
                    seen = fingerprint(work.descriptor, package.manifest.files)
                    self._records.note_fingerprint(rows, package.digest, seen)
                    found = self._records.package(rows, name)
                    if grant is not None:
                        self._put_grant(rows, found, grant, secrets)
                    else:
                        self._carry_over(rows, package, carry_over)
                    if record is not None:
                        record()
        except OSError as error:
            raise io_error(error, self.home.path) from error
        self._tidy()
        return found

    def _require_current(self, rows: Transaction, package: VerifiedPackage, *, allow_downgrade: bool) -> None:
        first_use = package.key_id if package.first_use else False
        view = self._records.view(rows, allow_downgrade=allow_downgrade, first_use=first_use)
        check_state(package, view)
        name, key = package.manifest.name, package.manifest.publisher_key
        old = self._records.find_package(rows, name)
        if old is not None and old.key_id != package.key_id and not view.is_succeeded(name, old.key_id, key):
            raise ConsentError(
                "store.other_key",
                f"{old.name} {old.version} is installed and signed with another key, {old.key_id}",
                f"this is another publisher's package of that name: first mpp-exec uninstall {old.name}",
            )

    def _carry_over(self, rows: Transaction, package: VerifiedPackage, carry_over: CarryOver | None) -> None:
        try:
            stored = self._grants.find(rows, package.manifest.name)
        except ConsentError:
            return  # there is nothing to carry over; calls stay refused until it is approved anew
        if stored is None or carry_over is None or stored.grant.digest == package.digest:
            return
        grant = carry_over(stored.grant)
        if grant is None:
            return
        if (grant.package, grant.digest) != (package.manifest.name, package.digest):
            raise ValueError("the grant that was carried over is for another package")
        self._grants.put(rows, grant, {})

    def uninstall(self, name: str, record: Record | None = None) -> Installed:
        """Withdraw the grant of *name* and remove the package, its private folder and its secrets.

        Raises:
            UsageError: ``store.not_installed``.
        """
        with self._database.writing() as rows:
            found = self._records.package(rows, name)
            self._grants.withdraw(rows, name)
            self._records.remove_package(rows, name)
            if record is not None:
                record()
        self._tidy()
        return found

    @contextmanager
    def leased(self, installed: Installed) -> Iterator[int]:
        """Yield the open folder of *installed*; the folder stays until the end of the ``with`` statement.

        Raises:
            ConsentError: ``store.package_gone``: it was just uninstalled or replaced.
        """
        held: list[int] = []
        try:
            yield self.lease(installed, held)
        finally:
            for folder in held:
                os.close(folder)

    def lease(self, installed: Installed, held: list[int]) -> int:
        """Return a descriptor of the folder of *installed*; the folder stays until the caller closes it.

        The descriptor is also in *held*, an empty list of the caller, who must close it even if this raises.

        Raises:
            ConsentError: ``store.package_gone``: it was just uninstalled or replaced.
        """
        try:
            return lease(self.home.package_folder(installed.digest), held)
        except FileNotFoundError as error:
            raise ConsentError(
                "store.package_gone",
                f"{installed.name} {installed.version} was uninstalled or replaced just now",
                "run it again",
            ) from error
        except OSError as error:
            raise io_error(error, self.home.packages) from error

    def note_fingerprint(self, installed: Installed, fingerprint: str) -> None:
        """Store the fingerprint from ``verify_installed`` of *installed*, for the next process."""
        if installed.fingerprint != fingerprint:
            with self._database.writing() as rows:
                self._records.note_fingerprint(rows, installed.digest, fingerprint)

    # Consent

    def grant(self, name: str) -> Grant | None:
        """Return the last grant of *name*, whichever version it is for; None if there is none.

        Raises:
            ConsentError: ``grant.tampered`` or ``grant.unreadable``.
        """
        with self._database.reading() as rows:
            stored = self._grants.find(rows, name)
            return stored.grant if stored is not None else None

    def approve(
        self, grant: Grant, secrets: Mapping[str, str] | None = None, record: Record | None = None
    ) -> None:
        """Store *grant* with values for its secrets; secrets without a new value keep the old one.

        Raises:
            UsageError: ``store.not_installed``.
            ConsentError: ``grant.superseded``: another version was installed while a person looked
                at this one; ``grant.secret_missing``, ``grant.secret_tampered``.
        """
        with self._database.writing() as rows:
            self._put_grant(rows, self._records.package(rows, grant.package), grant, secrets)
            if record is not None:
                record()

    def _put_grant(
        self, rows: Transaction, installed: Installed, grant: Grant, secrets: Mapping[str, str] | None
    ) -> None:
        pinned = (grant.package, grant.digest, grant.key_id)
        if pinned != (installed.name, installed.digest, installed.key_id):
            raise ConsentError(
                "grant.superseded",
                f"{grant.package} is now at {installed.version}, and {grant.version} was approved",
                f"see what has changed, and agree: mpp-exec approve {grant.package}",
            )
        self._grants.put(rows, grant, secrets or {})

    def revoke(self, name: str, record: Record | None = None) -> bool:
        """Withdraw the grant of *name*; return False, and record nothing, if there was none.

        Raises:
            UsageError: ``store.not_installed``.
        """
        with self._database.writing() as rows:
            self._records.package(rows, name)
            withdrawn = self._grants.withdraw(rows, name)
            if withdrawn and record is not None:
                record()
            return withdrawn

    def approved(self, name: str) -> Approved:
        """Return package *name*, its grant and its secrets, all as of one moment.

        Raises:
            UsageError: ``store.not_installed``.
            ConsentError: ``grant.none``, ``grant.outdated``, ``grant.tampered``, ``grant.unreadable``,
                ``grant.secret_missing``, ``grant.secret_tampered``.
        """
        # Read before the transaction begins: a change in between makes this look old, never new.
        generation = self.generation()
        with self._database.reading() as rows:
            installed = self._records.package(rows, name)
            stored = self._grants.active(rows, installed)
            return Approved(
                installed=installed,
                grant=stored.grant,
                secrets=self._grants.secrets(rows, stored.grant),
                view=self._records.view(rows),
                generation=generation,
                stored=stored,
            )

    def is_confirmed(self, approved: Approved, tool: str) -> bool:
        """Return whether a person has confirmed *tool* under this very grant."""
        with self._database.reading() as rows:
            return self._grants.is_confirmed(rows, approved.stored, tool)

    def remember_confirmation(self, approved: Approved, tool: str) -> None:
        """Remember, as long as this grant stands, that a person confirmed *tool*."""
        with self._database.writing() as rows:
            self._grants.remember_confirmation(rows, approved.stored, tool)

    # Repair

    def repair(self) -> None:
        """Remove folders that no row names and nobody holds: the remains of a crash or an uninstall.

        This is safe beside any other process. Folders are moved only inside a write transaction, so a folder
        without a row under that lock is an orphan. A folder that is being made is locked by its maker.
        """
        with self._database.reading() as rows:
            orphans = self._orphans(rows)
        if orphans:
            with self._database.writing() as rows:
                for folder in self._orphans(rows):
                    with suppress(OSError):  # what cannot be moved is in nobody's way: no row names it
                        retire(folder, self.home.tmp)
        try:
            sweep(self.home.tmp)
        except OSError as error:
            raise io_error(error, self.home.tmp) from error

    def _tidy(self) -> None:
        """Repair after a change. The change is done: remains that cannot be removed now are removed later."""
        with suppress(InternalError):
            self.repair()

    def _orphans(self, rows: Transaction) -> list[Path]:
        """Return the folders of packages and of storage that belong to no installed package."""
        packages = self._records.packages(rows)
        known = {self.home.package_folder(each.digest) for each in packages}
        known.update(self.home.storage_folder(each.name) for each in packages)
        found = list(self.home.packages.iterdir())
        for publisher in self.home.storage.iterdir():
            found += publisher.iterdir() if publisher.is_dir() else [publisher]
        return [folder for folder in found if folder not in known]

    def _retire_storage(self, name: str) -> None:
        folder = self.home.storage_folder(name)
        if os.path.lexists(folder):
            retire(folder, self.home.tmp)
