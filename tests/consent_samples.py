"""Small manifests, grants and policies for the tests of consent and of the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mpp_exec.consent.approve import make_grant
from mpp_exec.consent.config import Settings
from mpp_exec.consent.confirm import ConfirmationRequest
from mpp_exec.consent.grant import Grant
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import Policy
from mpp_exec.package.manifest import Manifest, RuntimeSpec, Tool
from mpp_exec.trust.verify import SignedManifest

NOW = datetime(2026, 11, 23, 12, 30, 15, 123456, tzinfo=UTC)
UNPROTECTED = Protected((), ())
KEY = b"\x01" * 32
KEY_ID = "sha256:" + "11" * 32

READ = Tool("query", "Runs a filter.", {"type": "object", "properties": {"path": {}}, "required": ["path"]})
WRITE = Tool("save", "Saves.", {"type": "object"}, operation="write")
DESTROY = Tool("wipe", "Wipes.", {"type": "object"}, operation="destructive", confirm="always")

MANIFEST = Manifest(
    name="acme/csv",
    version="1.4.0",
    description="Query CSV files",
    runtime=RuntimeSpec("exec", command=("bin/tool",)),
    tools=(READ, WRITE, DESTROY),
    publisher_key=KEY,
    files=(),
)


def signed(manifest: Manifest = MANIFEST, **changes: Any) -> SignedManifest:
    """Return verification's result for *manifest* with *changes*; each version has its own digest."""
    manifest = replace(manifest, **changes)
    digest = "sha256:" + manifest.version.encode().hex().ljust(64, "0")[:64]
    return SignedManifest(manifest, digest, KEY_ID, first_use=False)


def grant(
    package: SignedManifest | None = None,
    settings: Settings | None = None,
    *,
    policy: Policy | None = None,
    protected: Protected = UNPROTECTED,
    without: Iterable[str] = (),
    **keywords: Any,
) -> Grant:
    """Return a grant of *package* with nothing protected and no policy, unless they are given."""
    return make_grant(
        package or signed(),
        settings or Settings(),
        policy=policy or Policy(),
        protected=protected,
        now=NOW,
        without=without,
        **keywords,
    )


REQUEST = ConfirmationRequest(
    package="acme/echo",
    version="1.0.0",
    digest="sha256:" + "0" * 64,
    key_id="sha256:" + "1" * 64,
    tool="call",
    title="",
    description="Destroys.",
    operation="destructive",
    confirmation="always",
    arguments_json='{"what":"all"}',
    reach=("change /data",),
)
"""A call that somebody has to be asked about."""
