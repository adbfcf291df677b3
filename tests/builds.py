"""Building packages in tests: one signer, and a refused build, which must change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import forge
from mpp_exec.errors import MppError
from mpp_exec.package.archive import open_package
from mpp_exec.package.build import Built, build
from mpp_exec.trust.cose import ManifestSigner
from mpp_exec.trust.verify import VerifiedPackage, verify

SIGNER = ManifestSigner("acme", forge.KEY)


def built(tree: forge.Tree, output: Path | None = None) -> Built:
    return build(tree.write(), SIGNER, output or tree.root.parent / "out.mpp")


def verified(path: Path) -> VerifiedPackage:
    with open_package(path) as package:
        return verify(package, forge.view(), now=forge.NOW, platform=forge.PLATFORM)


def refusal(tree: forge.Tree, output: Path | None = None) -> MppError:
    """Build; the build must fail and must change nothing."""
    if not tree.root.exists():
        tree.write()
    before = sorted(tree.root.parent.rglob("*"))
    with pytest.raises(MppError) as error:
        build(tree.root, SIGNER, output or tree.root.parent / "out.mpp")
    assert error.value.message
    assert error.value.hint
    assert sorted(tree.root.parent.rglob("*")) == before
    return error.value


def paths(package: Built) -> list[str]:
    return [entry.path for entry in package.manifest.files]
