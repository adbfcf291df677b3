"""Verifies an installed package again before anything in it runs.

The state may have changed since installation: the files on disk, the revoked keys and digests, the day. So
checks 1 to 8 of :mod:`.verify` are made again on the files in the home. The package must be the approved
one, and its contents are compared with the signed table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from mpp_exec.encoding import sha256_digest
from mpp_exec.errors import PackageError
from mpp_exec.package.unpacked import check_unpacked, fingerprint, read_signed
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import SignedManifest, check_trust, verify_signed


@dataclass(frozen=True, slots=True)
class InstalledPackage(SignedManifest):
    """A verified installed package. Only :func:`verify_installed` makes one.

    Attributes:
        fingerprint: of the files as they were found; to be passed to the next verification.
    """

    fingerprint: str


def verify_installed(
    folder: int,
    digest: str,
    view: TrustView,
    *,
    now: datetime,
    platform: str,
    known_fingerprint: str | None = None,
) -> InstalledPackage:
    """Verify the unpacked package in the open *folder*, which must be the one with *digest*.

    Every file is hashed, unless the files' metadata still matches *known_fingerprint*, which an earlier call
    returned for this folder. Then only signature, trust, day and platform are checked again, which takes a
    few hundred microseconds instead of the time to read everything. A fingerprint MUST be kept where only the
    owner of the home can write, and MUST never be taken from the package.

    *view* is that of the home. Trust on first use does not apply here: the publisher must be known. A key
    that was replaced since still counts for packages that had been seen of it.

    Raises:
        PackageError: ``package.digest_mismatch``, ``package.missing_member``,
            ``package.extra_member``, ``package.changed_member``, and those of :func:`.verify_signed`.
        UnknownPublisherError: ``trust.unknown_publisher``, the publisher was removed.
        InternalError: ``package.io``.
    """
    signed = read_signed(folder)
    if sha256_digest(signed) != digest:
        raise PackageError(
            "package.digest_mismatch",
            f"the installed package is {sha256_digest(signed)} and should be {digest}",
            "install the package again; if nobody touched the home on purpose, find out who did",
        )
    claim = verify_signed(signed, digest, _known_only(view), now=now, platform=platform)
    files = claim.manifest.files
    found = fingerprint(folder, files)
    if found != known_fingerprint:
        check_unpacked(folder, files)
        if fingerprint(folder, files) != found:
            raise PackageError(
                "package.changed_member", "the installed package changed while it was checked", "run it again"
            )
    return InstalledPackage(claim.manifest, digest, claim.key_id, first_use=False, fingerprint=found)


def check_trusted(package: SignedManifest, view: TrustView) -> None:
    """Check that a verified *package* is trusted under *view* too; the time does not depend on its size.

    This does not check the files, the day and the platform: they MUST be what they were at verification.

    Raises:
        PackageError, UnknownPublisherError: ``trust.*``, as :func:`verify_installed`.
    """
    check_trust(package, _known_only(view))


def _known_only(view: TrustView) -> TrustView:
    return replace(view, trust_first_use=False, installed=True)
