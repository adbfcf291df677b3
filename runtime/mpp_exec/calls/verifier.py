"""Checks that installed packages are what was signed, and decides when a call does not need the full check.

Every call depends on this check. Verifying reads every file. It is not repeated while a look finds that no
file was touched. This also holds if the home has come to trust other keys: trust is asked first, with every
change of the home. That takes no longer for a large package, so a withdrawal waits for no package (promise
2).

Calls that run a package's image (``images``) do not need the look. The image was verified after the point at
which nobody could change it any more. The installed files are then looked at while the next sandbox is
prepared, in parallel to the calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from mpp_exec.calls.images import Images, size_of
from mpp_exec.errors import MppError
from mpp_exec.package.unpacked import fingerprint, identified
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Approved, Store
from mpp_exec.sandbox import kernel
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.look import Look
from mpp_exec.trust.installed import InstalledPackage, check_trusted, verify_installed
from mpp_exec.trust.publishers import TrustView


class Verifier:
    """Verifies the packages of one home. Thread-safe.

    Attributes:
        images: the images of verified packages.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self.images = Images()
        self._store = store
        self._clock = clock
        # By name of the package: only the version that was verified last, however many there have been.
        self._checked: dict[str, _Checked] = {}
        self._trusted: dict[str, tuple[InstalledPackage, TrustView]] = {}

    def verified(self, installed: Installed, folder: int, view: TrustView) -> InstalledPackage:
        """Return the package of *installed* in the open *folder*, verified: its files are checked now.

        Raises:
            PackageError, UnknownPublisherError, InternalError: as ``verify_installed``.
        """
        known = self._known(installed)
        try:
            if known is not None:
                self._require_trusted(known.package, view)
                # Same day, same platform: the verification is valid as long as no file changed.
                if known.look.is_same(folder):
                    return known.package
            return self._verify(installed, folder, view)
        except MppError:
            self.images.drop(installed.digest)  # the next call checks the installed files, and reports it
            raise

    def relied_on(self, approved: Approved) -> tuple[InstalledPackage, Image] | None:
        """Return a package that needs no look, and its image; None if there is none or it is not trusted.

        A caller that runs anything but the image MUST :meth:`look` first.
        """
        image = self.images.of(approved.installed.digest)
        known = self._known(approved.installed) if image is not None else None
        if image is None or known is None:
            return None
        try:
            self._require_trusted(known.package, approved.view)
        except MppError:
            return None  # a caller that asks for verification is told why
        return known.package, image

    def look(self, approved: Approved) -> InstalledPackage:
        """Look at the installed files, and verify them if they were touched.

        Raises:
            PackageError: they are not the signed files; other errors as :meth:`verified`.
            ConsentError: the package was just uninstalled or replaced.
        """
        with self._store.leased(approved.installed) as folder:
            return self.verified(approved.installed, folder, approved.view)

    def is_unchanged(self, approved: Approved, verified: InstalledPackage) -> bool:
        """Return whether the installed files are still those that were *verified*."""
        try:
            # Simultaneous calls have each verified the files, and none of them is wrong.
            return self.look(approved).fingerprint == verified.fingerprint
        except MppError:
            return False

    def image(self, approved: Approved, verified: InstalledPackage) -> Image | None:
        """Return the image of a package; if there is none, it may be made, in another thread."""
        make = functools.partial(self._make_image, approved, verified)
        return self.images.wanted(approved.installed.digest, verified.manifest.files, make)

    def _make_image(self, approved: Approved, verified: InstalledPackage) -> Image:
        installed, files = approved.installed, verified.manifest.files
        with self._store.leased(installed) as folder:
            image = Image(folder, [name for name in identified(files) if name != "."], size_of(files))
        # Verify the image itself, after it was sealed: what was copied or changed meanwhile does not matter.
        verify_installed(
            image.folder,
            installed.digest,
            approved.view,
            now=self._clock(),
            platform=kernel.probe().platform,
        )
        return image

    def _require_trusted(self, package: InstalledPackage, view: TrustView) -> None:
        """Do what ``check_trusted`` does, once for each view: every change of the home makes a new view.

        Raises:
            PackageError, UnknownPublisherError: as ``check_trusted``.
        """
        name = package.manifest.name
        known = self._trusted.get(name)
        if known is None or known[0] is not package or known[1] is not view:
            check_trusted(package, view)
            self._trusted[name] = package, view

    def _known(self, installed: Installed) -> _Checked | None:
        """Return what was verified on the same day for the same platform; trust may have changed since."""
        known = self._checked.get(installed.name)
        basis = self._clock().date(), kernel.probe().platform
        is_it = known is not None and known.package.digest == installed.digest
        return known if known is not None and is_it and known.basis == basis else None

    def _verify(self, installed: Installed, folder: int, view: TrustView) -> InstalledPackage:
        now = self._clock()
        basis = now.date(), kernel.probe().platform
        known = self._checked.get(installed.name)
        is_it = known is not None and known.package.digest == installed.digest
        checked = verify_installed(
            folder,
            installed.digest,
            view,
            now=now,
            platform=basis[1],
            known_fingerprint=known.package.fingerprint
            if known is not None and is_it
            else installed.fingerprint,
        )
        look = Look(identified(checked.manifest.files), folder)
        # The look describes the verified files only if nothing changed in between.
        if fingerprint(folder, checked.manifest.files) == checked.fingerprint:
            self._checked[installed.name] = _Checked(basis, checked, look)
        if checked.fingerprint != installed.fingerprint:
            self._store.note_fingerprint(installed, checked.fingerprint)
        return checked


@dataclass(frozen=True, slots=True)
class _Checked:
    """A package whose files were compared with its manifest, and the identity of those files then."""

    basis: tuple[date, str]
    package: InstalledPackage
    look: Look
