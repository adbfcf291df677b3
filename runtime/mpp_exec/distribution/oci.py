"""Packages in a registry, by the OCI distribution specification 1.1.

A package is an artifact: an image manifest (OCI image specification 1.1) of ``artifactType``
:data:`ARTIFACT` with the empty config and one layer of media type :data:`LAYER`, which is the package
file as it is. The same file makes the same manifest everywhere. Nothing that a registry says is believed:
what is asked for by digest is compared with it, and a package that comes from one is verified like any
other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, Self
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from mpp_exec.distribution.credentials import credentials_for
from mpp_exec.distribution.reference import Reference
from mpp_exec.distribution.transport import Transport
from mpp_exec.distribution.wire import Answer, Body
from mpp_exec.errors import ConsentError, InternalError, PackageError, UsageError
from mpp_exec.package.limits import LIMITS
from mpp_exec.patterns import lazily

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT: Final = "application/vnd.mpp.package"
LAYER: Final = "application/vnd.mpp.package.archive"
EMPTY: Final = b"{}"
EMPTY_KIND: Final = "application/vnd.oci.empty.v1+json"
TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "org.opencontainers.image.version"

Progress = Callable[[int, int], None]
"""``progress(done, total)`` in bytes."""

_DIGEST: Final = lazily(r"sha256:[0-9a-f]{64}", re.ASCII)
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of a push.

    Attributes:
        reference: by digest: what was pushed, whatever the tag will mean later.
        again: it was there already, under that tag.
    """

    reference: Reference
    again: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A package that a registry has.

    Attributes:
        reference: by digest, also where a tag was asked for.
        blob: the digest of the package file.
        size: of the package file, in bytes.
    """

    reference: Reference
    blob: str
    size: int


class Registry:
    """The registry of a reference, as whoever the user is there. Use it in a ``with`` statement."""

    def __init__(self, host: str, environ: Mapping[str, str]) -> None:
        """Find out who we are at *host*; it is not asked anything yet.

        Raises:
            UsageError: ``registry.credentials``.
        """
        self._transport = Transport(host, credentials_for(host, environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    # -- to a registry ------------------------------------------------------------------------------

    def push(
        self,
        file: BinaryIO,
        reference: Reference,
        *,
        title: str,
        version: str,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Pushed:
        """Store the package in *file* under the tag of *reference*.

        *title* is the name that the file is given by tools that know no packages. A tag that means another
        package is moved with *replace* only.

        Raises:
            ConsentError: ``registry.tag_taken``.
            UsageError, InternalError: as :class:`.transport.Transport`, and ``registry.refused``.
        """
        blob, size = _digest_of(file)
        manifest = _manifest(blob, size, title, version)
        digest = _sha256(manifest)
        scope = f"repository:{reference.repository}:pull,push"
        if reference.digest and reference.digest != digest:
            raise UsageError(
                "registry.digest_differs",
                f"this package is {digest} in a registry, and not what {reference} says",
                "push it under a tag",
            )
        standing = self._standing(reference, scope)
        if standing is not None and standing != digest and not replace:
            raise ConsentError(
                "registry.tag_taken",
                f"{reference} is another package already ({standing})",
                "push it under a tag of its own; --replace moves the tag",
            )
        self._store(reference, scope, _sha256(EMPTY), Body(len(EMPTY), lambda: [EMPTY]))
        self._store(reference, scope, blob, Body(size, lambda: _read(file, size, progress)))
        if standing != digest:
            answer = self._transport.ask(
                "PUT",
                f"{reference.repository}/manifests/{reference.named}",
                body=Body(len(manifest), lambda: [manifest], MANIFEST),
                scope=scope,
            )
            if answer.status != 201:
                raise _refused(reference, answer)
        return Pushed(reference.pinned(digest), again=standing == digest)

    def _standing(self, reference: Reference, scope: str) -> str | None:
        """Return the digest of what *reference* means now, None for nothing."""
        answer = self._asked_for(reference, scope)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _refused(reference, answer)
        return _sha256(answer.body)

    def _store(self, reference: Reference, scope: str, digest: str, body: Body) -> None:
        """Store a blob, in one piece, if it is not there."""
        place = f"{reference.repository}/blobs/"
        if self._transport.ask("HEAD", place + digest, scope=scope).status == 200:
            return
        begun = self._transport.ask("POST", f"{place}uploads/", body=Body(0, list), scope=scope)
        if begun.status != 202 or not begun.headers.get("location"):
            raise _refused(reference, begun)
        target = self._upload(begun.headers["location"], f"{place}uploads/", digest)
        done = self._transport.ask("PUT", target, body=body, scope=scope)
        if done.status != 201:
            raise _refused(reference, done)

    def _upload(self, location: str, asked: str, digest: str) -> str:
        """Return where the bytes go: at the same registry, whatever else *location* says."""
        base = urlsplit(self._transport.base)
        try:
            led = urlsplit(urljoin(urljoin(self._transport.base, asked), location))
        except ValueError:
            led = urlsplit("")
        if led.netloc.lower() != base.netloc:
            raise InternalError(
                "registry.answer",
                f"{base.netloc} wants the package to be sent elsewhere: to {led.netloc or 'no host'}",
                "push to the registry that is meant",
            )
        query = f"{led.query}&" if led.query else ""
        return urlunsplit((base.scheme, led.netloc, led.path, query + urlencode({"digest": digest}), ""))

    # -- from a registry ----------------------------------------------------------------------------

    def find(self, reference: Reference) -> Found:
        """Ask what *reference* means.

        Raises:
            UsageError: ``registry.not_found``, ``registry.not_a_package``.
            PackageError: ``registry.digest``: the registry has something else under this digest.
            UsageError, InternalError: as :class:`.transport.Transport`, and ``registry.refused``.
        """
        answer = self._asked_for(reference, _pulling(reference))
        if answer.status == 404:
            raise UsageError("registry.not_found", f"there is no {reference}", "check the name and the tag")
        if answer.status != 200:
            raise _refused(reference, answer)
        digest = _sha256(answer.body)
        if reference.digest and reference.digest != digest:
            raise _altered(reference)
        blob, size = _layer(reference, answer.body)
        return Found(reference.pinned(digest), blob, size)

    def fetch(self, found: Found, into: BinaryIO, *, progress: Progress | None = None) -> None:
        """Write the package file of *found*. Whoever gets an exception has to throw *into* away.

        Raises:
            PackageError: ``registry.digest``: it is not what the manifest says.
            UsageError, InternalError: as :meth:`find`.
        """
        reference = found.reference
        hashed, got = hashlib.sha256(), 0
        place = f"{reference.repository}/blobs/{found.blob}"
        with self._transport.download(place, size=found.size, scope=_pulling(reference)) as (failed, pieces):
            if failed is not None:
                raise _refused(reference, failed)
            for piece in pieces:
                hashed.update(piece)
                into.write(piece)
                got += len(piece)
                if progress is not None:
                    progress(got, found.size)
        if got != found.size or f"sha256:{hashed.hexdigest()}" != found.blob:
            raise _altered(reference)

    def _asked_for(self, reference: Reference, scope: str) -> Answer:
        place = f"{reference.repository}/manifests/{reference.named}"
        return self._transport.ask("GET", place, headers={"Accept": MANIFEST}, scope=scope)


def _manifest(blob: str, size: int, title: str, version: str) -> bytes:
    config = {"mediaType": EMPTY_KIND, "digest": _sha256(EMPTY), "size": len(EMPTY)}
    layer = {"mediaType": LAYER, "digest": blob, "size": size, "annotations": {TITLE: title}}
    whole = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": config,
        "layers": [layer],
        "annotations": {VERSION: version},
    }
    return json.dumps(whole, separators=(",", ":"), sort_keys=True).encode()


def _layer(reference: Reference, manifest: bytes) -> tuple[str, int]:
    """Return digest and size of the package file that *manifest* names."""
    try:
        said = json.loads(manifest)
        (layer,) = said["layers"]
        kinds, blob, size = (said["artifactType"], layer["mediaType"]), layer["digest"], layer["size"]
    except (ValueError, KeyError, TypeError, RecursionError):
        kinds, blob, size = ("", ""), "", 0
    is_sound = isinstance(blob, str) and _DIGEST.fullmatch(blob) is not None and type(size) is int
    if kinds != (ARTIFACT, LAYER) or not is_sound:
        raise UsageError(
            "registry.not_a_package",
            f"{reference} is not a package",
            "a package gets there by: mpp-exec push",
        )
    if not 0 < size <= LIMITS.archive:
        raise PackageError(
            "package.too_large",
            f"{reference} has {size} bytes, and a package at most {LIMITS.archive}",
            "ask its publisher for another one",
        )
    return blob, size


def _digest_of(file: BinaryIO) -> tuple[str, int]:
    file.seek(0)
    hashed = hashlib.sha256()
    while piece := file.read(_CHUNK):
        hashed.update(piece)
    return f"sha256:{hashed.hexdigest()}", file.tell()


def _read(file: BinaryIO, size: int, progress: Progress | None) -> Iterator[bytes]:
    """Yield *size* bytes; fewer, where the file has shrunk, which the registry then refuses."""
    file.seek(0)
    done = 0
    while done < size and (piece := file.read(min(_CHUNK, size - done))):
        yield piece
        done += len(piece)
        if progress is not None:
            progress(done, size)


def _pulling(reference: Reference) -> str:
    return f"repository:{reference.repository}:pull"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _altered(reference: Reference) -> PackageError:
    return PackageError(
        "registry.digest",
        f"{reference.host} has sent something else than {reference}",
        "it was changed in the registry or on the way: tell whoever runs it",
    )


def _refused(reference: Reference, answer: Answer) -> UsageError | InternalError:
    said = f": {answer.said}" if answer.said else ""
    text = f"{reference.host} refuses {reference} (status {answer.status}){said}"
    if answer.status >= 500 or answer.status == 429:
        return InternalError("registry.refused", text, "try again later")
    return UsageError("registry.refused", text, "check the name, and what you may do there")
