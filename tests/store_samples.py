"""A home in a temporary folder, and packages to put into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forge
from consent_samples import UNPROTECTED
from mpp_exec.consent.approve import make_grant
from mpp_exec.consent.config import Settings
from mpp_exec.consent.grant import Grant
from mpp_exec.consent.policy import Policy
from mpp_exec.package.archive import open_package
from mpp_exec.registry.home import Home
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Store
from mpp_exec.trust.publishers import TrustView
from mpp_exec.trust.verify import SignedManifest, VerifiedPackage, verify

NOW = forge.NOW


def open_store(folder: Path, **options: Any) -> Store:
    """Open the store of a home at *folder*."""
    return Store(Home.open(folder), **options)


@contextmanager
def verified(
    folder: Path, view: TrustView, *, files: Mapping[str, bytes] | None = None, **changes: Any
) -> Iterator[VerifiedPackage]:
    """Write a package with *changes* below *folder*, verify it against *view*, and yield it open."""
    data = forge.package(**changes) if files is None else forge.package_of(files, **changes)
    path = folder / f"{len(list(folder.iterdir()))}.mpp"
    path.write_bytes(data)
    with open_package(path) as package:
        yield verify(package, view, now=NOW, platform=forge.PLATFORM)


def install(store: Store, folder: Path, **changes: Any) -> Installed:
    """Install a package with *changes*, trusting its publisher on first use."""
    carry_over = changes.pop("carry_over", None)
    downgrade = changes.pop("allow_downgrade", False)
    view = store.trust_view(trust_first_use=True, allow_downgrade=downgrade)
    with verified(folder, view, **changes) as package:
        return store.install(package, now=NOW, carry_over=carry_over, allow_downgrade=downgrade)


def signed_of(installed: Installed, **changes: Any) -> SignedManifest:
    """Return the signed manifest of the package that :func:`install` installed with *changes*."""
    changes.pop("files", None)
    return SignedManifest(forge.manifest(**changes), installed.digest, installed.key_id, first_use=False)


def grant_of(installed: Installed, settings: Settings | None = None, **changes: Any) -> Grant:
    """Return a grant of everything that an installed package asks for."""
    return make_grant(
        signed_of(installed, **changes),
        settings or Settings(),
        policy=Policy(),
        protected=UNPROTECTED,
        now=NOW,
    )
