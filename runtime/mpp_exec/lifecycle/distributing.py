"""Packages on their way: to a registry, from one to a file, and from one to whoever installs them.

Both ways a package is verified whole before it goes on: what its publisher did not sign is neither pushed
nor kept. Whether its publisher is trusted, whether it is the newest, and where it runs is for whoever
installs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from mpp_exec.distribution.oci import Progress, Pushed, Registry
from mpp_exec.distribution.reference import Reference
from mpp_exec.errors import InternalError
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.archive import UnverifiedPackage, open_package
from mpp_exec.package.output import file_name, place_of, replacing
from mpp_exec.registry.folders import Workspace
from mpp_exec.trust.verify import VerifiedPackage, verify

_ARRIVING: Final = "arriving.mpp"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pulled:
    """A package file that came from a registry.

    Attributes:
        path: where it is.
        package: what is in it; the file that this has open is closed.
        reference: by digest: what it was.
    """

    path: Path
    package: VerifiedPackage
    reference: Reference


def push(
    session: Session,
    path: str,
    reference: Reference,
    *,
    environ: Mapping[str, str],
    move: bool = False,
    progress: Progress | None = None,
) -> tuple[VerifiedPackage, Pushed]:
    """Store the package file *path* as *reference*; *move* a tag that is another package.

    Raises:
        PackageError: it is not what its publisher signed.
        ConsentError, UsageError, InternalError: as ``Registry.push``.
    """
    with open_package(path) as package, Registry(reference.host, environ) as registry:
        verified = _verified(session, package)
        manifest = verified.manifest
        # The file that was verified, by its descriptor: what another would put in its place is not sent.
        with _file_of(package) as file:
            pushed = registry.push(
                file,
                reference,
                title=file_name(manifest.name, manifest.version),
                version=manifest.version,
                replace=move,
                progress=progress,
            )
    return verified, pushed


@contextmanager
def arriving(
    session: Session, reference: Reference, *, environ: Mapping[str, str], progress: Progress | None = None
) -> Iterator[tuple[UnverifiedPackage, Reference]]:
    """Have the package that *reference* means in a file of this home's, until the end of the block.

    Yields it open, and the reference by digest.

    Raises:
        PackageError, UsageError, InternalError: as ``Registry.find``, ``Registry.fetch``, ``open_package``.
    """
    with Workspace(session.home.tmp, 0o700) as work:
        path = work.path / _ARRIVING
        # Whoever gets the package may ask a person about it: no connection is kept for as long.
        with Registry(reference.host, environ) as registry:
            found = registry.find(reference)
            try:
                with path.open("xb") as file:
                    registry.fetch(found, file, progress=progress)
            except OSError as error:
                raise InternalError(
                    "registry.io",
                    f"{reference} cannot be kept in {session.home.path}: {error.strerror}",
                    "make room there; nothing was changed",
                ) from None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with UnverifiedPackage(descriptor, str(found.reference)) as package:
            yield package, found.reference


def pull(
    session: Session,
    reference: Reference,
    output: str | None,
    *,
    environ: Mapping[str, str],
    progress: Progress | None = None,
) -> Pulled:
    """Write what *reference* means to the file or folder *output*, None for here and its usual name.

    Raises:
        PackageError: it is no package as its publisher signed it; nothing is left of it.
        UsageError, InternalError: as :func:`arriving`, and ``build.bad_output``, ``build.io``.
    """
    with arriving(session, reference, environ=environ, progress=progress) as (package, pinned):
        verified = _verified(session, package)
        place = place_of(output, file_name(verified.manifest.name, verified.manifest.version))
        with _file_of(package) as file, replacing(place) as written, open(written, "wb", closefd=False) as to:
            shutil.copyfileobj(file, to, _CHUNK)
    return Pulled(place, verified, pinned)


def _file_of(package: UnverifiedPackage) -> BinaryIO:
    """Return the open file of *package*, from its beginning."""
    file = os.fdopen(os.dup(package.fileno()), "rb")
    file.seek(0)
    return file


def _verified(session: Session, package: UnverifiedPackage) -> VerifiedPackage:
    view = replace(session.store.trust_view(), allow_downgrade=True, trust_first_use=True)
    return verify(package, view, now=session.clock(), platform=None)
