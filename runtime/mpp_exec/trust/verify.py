"""Verifies an untrusted file as a package of its publisher: one function, no state.

:func:`verify` makes every check below, in this order. The code marks each check with its number.
It reads only the open package: trust and the time are passed in as values.

1.  The package digest is not revoked.
2.  The signature stands in the one acceptable envelope: algorithm and content type are fixed.
3.  The key that is claimed to have signed is not revoked.
4.  That key is pinned and made the signature. The embedded key is only compared with it. If no pinned
    key has that id, the embedded key is used instead, and check 6 decides whether that is allowed.
5.  The signed payload is a manifest: strict CBOR, a known version, every field, path and schema valid.
6.  The manifest carries the key that verified, and the publisher's name is bound to that key: by the
    home, or, if the name has no key yet, because the user asked to trust on first use. A key that was
    replaced (:mod:`.rotation`) counts for installed packages only, not for packages that arrive.
7.  It has not expired.
8.  It is for this platform.
9.  Its version was not seen with another digest, and is not below the highest version seen under this
    key or a key that it followed.
10. Every byte of the archive is what the manifest says: records, names, modes, contents.

The caller MUST pin the key of a result with ``first_use`` and record its version as seen, in the
same transaction that makes use of it; and MUST unpack with :meth:`VerifiedPackage.extract`, which
hashes again what it writes.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from mpp_exec.confined import run_confined
from mpp_exec.encoding import loads
from mpp_exec.errors import ConsentError, PackageError
from mpp_exec.package import canonical
from mpp_exec.package.archive import Progress, UnverifiedPackage
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.manifest import MANIFEST_DEPTH, Manifest
from mpp_exec.package.semver import Version
from mpp_exec.trust.cose import Envelope, decode
from mpp_exec.trust.keys import is_valid_public_key, key_id
from mpp_exec.trust.publishers import TrustView, format_public_key

_HINT_TAMPERED: Final = "the file was changed after it was signed, or was never signed; do not use it"


class UnknownPublisherError(ConsentError):
    """A correct package of a publisher that this home does not know: the user may decide to trust it.

    Attributes:
        publisher: the publisher's name.
        public_key: raw, 32 bytes; the package is signed with it.
    """

    def __init__(self, publisher: str, public_key: bytes) -> None:
        self.publisher = publisher
        self.public_key = public_key
        super().__init__(
            "trust.unknown_publisher",
            f"publisher {publisher} with key {key_id(public_key)} is not known here",
            f"ask the publisher for the key id; if it is the same, add --trust={key_id(public_key)}, "
            f"or run: mpp-exec publisher add {publisher} {format_public_key(public_key)}",
        )


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest that passed checks 1 to 8: its publisher is known, and it is valid here and now.

    Attributes:
        manifest: the signed manifest.
        digest: the package digest.
        key_id: the id of the key that verified.
        first_use: the publisher had no key here; the caller MUST pin ``manifest.publisher_key``.
    """

    manifest: Manifest
    digest: str
    key_id: str
    first_use: bool


@dataclass(frozen=True, slots=True)
class VerifiedPackage(SignedManifest):
    """A package that passed every check. Only :func:`verify` makes one."""

    package: UnverifiedPackage = field(repr=False)

    def extract(
        self, folder: int, progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> None:
        """Unpack into the empty, open *folder*: ``manifest.cose``, and the files under ``files/``.

        This happens in a thread that Landlock confines to that folder. On failure nothing is left in it.
        *progress* is called in that thread. The package must still be open.

        Raises:
            PackageError, InternalError: see :func:`mpp_exec.package.extract.extract`.
        """
        from mpp_exec.package.extract import extract  # noqa: PLC0415 -- only to install; and not in there

        stop = cancel if cancel is not None else threading.Event()
        run_confined(
            lambda: extract(self.package, self.manifest.files, folder, progress, stop),
            write=[f"/proc/self/fd/{folder}"],
            cancel=stop,
            required=False,  # a user may have agreed to do without Landlock; calls are refused elsewhere
        )


def verify(
    package: UnverifiedPackage,
    view: TrustView,
    *,
    now: datetime,
    platform: str | None,
    progress: Progress | None = None,
) -> VerifiedPackage:
    """Make every check on *package* and return it verified. *now* must know its time zone.

    *platform* is the platform on which it is to run, None if it is only passed on.

    Raises:
        PackageError: a check failed; see each check for its code.
        UnknownPublisherError: check 6 failed, and all checks before it passed.
        InternalError: ``package.io``.
    """
    claim = verify_signed(package.signed, package.digest, view, now=now, platform=platform)
    _check_version(claim, view)  # 9
    package.check_contents(claim.manifest.files, progress)  # 10
    return VerifiedPackage(
        manifest=claim.manifest,
        digest=claim.digest,
        key_id=claim.key_id,
        first_use=claim.first_use,
        package=package,
    )


def verify_signed(
    signed: bytes, digest: str, view: TrustView, *, now: datetime, platform: str | None
) -> SignedManifest:
    """Make checks 1 to 8 on the bytes of ``manifest.cose``, whose SHA-256 is *digest*.

    The caller MUST make the remaining two checks: the version against seen versions, and the contents.

    Raises:
        PackageError: ``trust.revoked_digest``, ``package.bad_envelope``, ``cbor.*``,
            ``trust.revoked_key``, ``package.bad_signature``, ``manifest.*``, ``package.*`` for the
            file table, ``schema.*``, ``trust.key_mismatch``, ``trust.former_key``, ``package.expired``,
            ``package.wrong_platform``.
        UnknownPublisherError: ``trust.unknown_publisher``.
    """
    _check_digest(digest, view)  # 1
    envelope = decode(signed)  # 2
    _check_key(envelope.key_id, view)  # 3
    key = view.key_of(envelope.key_id) or _embedded_key(envelope)  # 4
    if not envelope.is_signed_by(key):
        raise PackageError("package.bad_signature", "the signature does not verify", _HINT_TAMPERED)
    manifest = canonical.from_value(_decoded(envelope))  # 5
    first_use = _check_binding(manifest, key, digest, view)  # 6
    _check_expiry(manifest, now)  # 7
    _check_platform(manifest, platform)  # 8
    return SignedManifest(manifest, digest, envelope.key_id, first_use)


def check_trust(claim: SignedManifest, view: TrustView) -> None:
    """Make checks 1, 3 and 6 again: the home still trusts the signer of *claim*, and has not revoked it.

    Raises:
        PackageError: ``trust.*``.
        UnknownPublisherError: the publisher was removed, and is not trusted on first use.
    """
    _check_digest(claim.digest, view)  # 1
    _check_key(claim.key_id, view)  # 3
    _check_binding(claim.manifest, claim.manifest.publisher_key, claim.digest, view)  # 6


def check_state(claim: SignedManifest, view: TrustView) -> None:
    """Make checks 1, 3, 6 and 9 again, which depend on the state of the home.

    The transaction that uses *claim* calls this: since verification, another process may have removed the
    publisher, revoked the key or installed a later version.

    Raises:
        PackageError: ``trust.*``.
        UnknownPublisherError: the publisher was removed, and is not trusted on first use.
    """
    check_trust(claim, view)
    _check_version(claim, view)  # 9


def current_platform() -> str:
    """Return the name of this platform as manifests write it, such as ``linux-x86_64``."""
    system = os.uname()
    return f"{system.sysname.lower()}-{system.machine}"


def _decoded(envelope: Envelope) -> Any:
    return loads(envelope.payload, max_size=LIMITS.manifest, max_depth=MANIFEST_DEPTH)


def _embedded_key(envelope: Envelope) -> bytes:
    """Return the key that the manifest claims, if no key is pinned. It proves nothing (check 6)."""
    value = _decoded(envelope)
    key = value.get("publisher_key") if isinstance(value, dict) else None
    if not isinstance(key, bytes) or not is_valid_public_key(key):
        raise PackageError(
            "package.bad_signature", "the package names no key to verify it with", _HINT_TAMPERED
        )
    return key


def _check_digest(digest: str, view: TrustView) -> None:
    if digest in view.revoked_digests:
        raise PackageError(
            "trust.revoked_digest", f"package {digest} was revoked", "ask its publisher for a newer version"
        )


def _check_key(kid: str, view: TrustView) -> None:
    if kid in view.revoked_keys:
        raise PackageError(
            "trust.revoked_key",
            f"the key {kid} that signed the package was revoked",
            "ask its publisher for a package signed with their new key",
        )


def _check_binding(manifest: Manifest, key: bytes, digest: str, view: TrustView) -> bool:
    """Make check 6; return True if the binding was made on first use."""
    name, kid = manifest.publisher, key_id(key)
    known = view.publishers.get(name)
    if known is None or (known.key != key and not _speaks_as_former(kid, manifest, digest, view)):
        _check_not_replaced(name, kid, view)
        if known is not None:
            raise PackageError(
                "trust.key_mismatch",
                f"publisher {name} is known here with key {known.key_id}, "
                f"and the package is signed with {kid}",
                f"if {name} has a new key, ask them for their rotation statement, and take that: "
                f"mpp-exec publisher rotate FILE; where there can be none, remove and add {name}",
            )
    if manifest.publisher_key != key:
        raise PackageError(
            "trust.key_mismatch", f"the package is signed with {kid} but names another key", _HINT_TAMPERED
        )
    if known is not None:
        return False
    if view.trust_first_use is False:
        raise UnknownPublisherError(name, key)
    if view.trust_first_use is not True and view.trust_first_use != kid:
        raise PackageError(
            "trust.key_mismatch",
            f"the package is signed with {kid}, and {view.trust_first_use} was to be trusted",
            "the file is not from that publisher, or the key id was mistyped",
        )
    return True


def _speaks_as_former(kid: str, manifest: Manifest, digest: str, view: TrustView) -> bool:
    return view.installed and view.speaks_for(kid, manifest.name, digest)


def _check_not_replaced(name: str, kid: str, view: TrustView) -> None:
    """Refuse a key that another key replaced, even if the publisher was removed since."""
    following = view.successor(name, kid)
    if following is not None:
        raise PackageError(
            "trust.former_key",
            f"the package is signed with {kid}, a former key of {name}, which {following.new_id} replaced",
            f"ask {name} for a version signed with their new key",
        )


def _check_expiry(manifest: Manifest, now: datetime) -> None:
    if now.tzinfo is None:
        raise ValueError("a time without its zone cannot be compared")
    if manifest.expires is not None and now.astimezone(UTC).date() > date.fromisoformat(manifest.expires):
        raise PackageError(
            "package.expired",
            f"{manifest.name} {manifest.version} expired on {manifest.expires}",
            "ask its publisher for a newer version; if the date is wrong, set this machine's clock",
        )


def _check_platform(manifest: Manifest, platform: str | None) -> None:
    platforms = manifest.runtime.platforms
    if platforms and platform is not None and platform not in platforms:
        raise PackageError(
            "package.wrong_platform",
            f"{manifest.name} is for {', '.join(platforms)}, and this is {platform}",
            "ask its publisher for a package for this platform",
        )


def _check_version(claim: SignedManifest, view: TrustView) -> None:
    manifest = claim.manifest
    seen = view.versions_seen(manifest.publisher_key, manifest.name)
    version = Version(manifest.version)
    for text, digest in seen:
        if Version(text) == version and digest != claim.digest:
            raise PackageError(
                "trust.version_conflict",
                f"{manifest.name} {text} was seen here with digest {digest}, and this one has {claim.digest}",
                "a version is never published twice; ask its publisher which of the two is real",
            )
    highest = max((text for text, _ in seen), key=Version, default=None)
    if highest is not None and version < Version(highest) and not view.allow_downgrade:
        raise PackageError(
            "trust.rollback",
            f"{manifest.name} {manifest.version} is older than {highest}, which was seen here",
            "an old version may have known holes; to go back on purpose: mpp-exec install --downgrade FILE",
        )
