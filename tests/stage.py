"""A home with packages in it. The project's own store makes it from the forge's packages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import forge
from mpp_exec import Runtime
from mpp_exec.audit.entry import Caller, Kind
from mpp_exec.consent.approve import make_grant
from mpp_exec.consent.config import Settings
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import Action
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.package.archive import open_package
from mpp_exec.package.manifest import Requirement, RuntimeSpec, Tool
from mpp_exec.permissions import DEGRADATIONS, Limits, Permissions
from mpp_exec.registry.records import Installed
from mpp_exec.trust.verify import SignedManifest, verify
from sandbox_lab import AGREED, UNHURRIED

NAME = "acme/echo"
OPEN = {"type": "object"}


class Stage:
    """One home, and a runtime on it. A context manager.

    The policy of the machine does not apply to it: the policy of this home's organisation is in
    ``folder/policy``.
    """

    def __init__(self, folder: Path, **runtime: Any) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.system_policy = folder / "policy" / "policy.toml"
        self.system_policy.parent.mkdir(mode=0o755)
        self.policies = PolicyFiles(
            self.home, system=self.system_policy, system_owner=folder.stat().st_uid, environ={}
        )
        self.runtime = Runtime(self.home, policies=self.policies, **runtime)
        # Like every change of a home, this one is recorded before it is made.
        ledger = self.runtime.ledger
        self.runtime.store.add_publisher(
            forge.publisher(), record=lambda: ledger.event(Kind.PUBLISHER_ADD, Caller.current())
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.close()

    def install(self, package: bytes, *, downgrade: bool = False) -> tuple[Installed, SignedManifest]:
        """Install *package* without approving it."""
        path = self.folder / "package.mpp"
        path.write_bytes(package)
        store = self.runtime.store
        with open_package(path) as opened:
            verified = verify(
                opened,
                store.trust_view(allow_downgrade=downgrade),
                now=datetime.now(UTC),
                platform=forge.PLATFORM,
            )
            return store.install(verified, now=datetime.now(UTC), allow_downgrade=downgrade), verified

    def approve(
        self,
        signed: SignedManifest,
        *,
        settings: Settings | None = None,
        without: Iterable[str] = (),
        degrade: Iterable[str] = (),
        redaction: Mapping[str, Action] | None = None,
    ) -> None:
        """Approve the installed package."""
        settings = settings or Settings()
        grant = make_grant(
            signed,
            settings,
            policy=self.policies.load(),
            protected=Protected.of_host(self.home, policies=self.policies.protected()),
            now=datetime.now(UTC),
            without=without,
            degrade=(*degrade, *AGREED),
            degradable=DEGRADATIONS,
            redaction=redaction,
        )
        self.runtime.store.approve(grant, settings.secrets)

    def call_in_a_fork(self) -> int:
        """Call the tool in a forked child, and close the runtime there; return the child's exit code."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if self.runtime.call(NAME).outcome == "ok" else 1
                self.runtime.close()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def python(
        self,
        source: str,
        *,
        function: str = "run",
        permissions: Permissions | None = None,
        limits: Limits | None = None,
        settings: Settings | None = None,
        degrade: Iterable[str] = (),
        tool: Mapping[str, Any] | None = None,
        redaction: Mapping[str, Action] | None = None,
        without: Iterable[str] = (),
        files: Mapping[str, bytes] | None = None,
        **changes: Any,
    ) -> None:
        """Install and approve ``acme/echo`` (or *name*) with one Python tool ``run`` of any arguments."""
        made = Tool(
            **{
                "name": "run",
                "description": "",
                "input_schema": OPEN,
                "entry": f"code:{function}",
                **(tool or {}),
            }
        )
        package = forge.package_of(
            {"code.py": source.encode(), **(files or {})},
            tools=(made,),
            permissions=permissions or Permissions(),
            limits=limits or UNHURRIED,
            **changes,
        )
        _, signed = self.install(package)
        self.approve(signed, settings=settings, without=without, degrade=degrade, redaction=redaction)

    def server(
        self,
        source: str,
        *,
        tools: Iterable[str] = ("run",),
        permissions: Permissions | None = None,
        limits: Limits | None = None,
        settings: Settings | None = None,
        tool: Mapping[str, Any] | None = None,
        command: tuple[str, ...] = ("python", "${app}/server.py"),
        files: Mapping[str, bytes] | None = None,
        requires: tuple[Requirement, ...] = (Requirement("python", ">=3.11"),),
        degrade: Iterable[str] = (),
        redaction: Mapping[str, Action] | None = None,
        **changes: Any,
    ) -> None:
        """Install and approve ``acme/echo`` (or *name*) with *tools* of the Python MCP server *source*."""
        package = forge.package_of(
            {"server.py": source.encode(), **(files or {})},
            runtime=RuntimeSpec(kind="mcp", command=command, requires=requires),
            tools=tuple(
                Tool(
                    **{"name": name, "description": "", "input_schema": OPEN, "result": "mcp", **(tool or {})}
                )
                for name in tools
            ),
            permissions=permissions or Permissions(),
            limits=limits or UNHURRIED,
            **changes,
        )
        _, signed = self.install(package)
        self.approve(signed, settings=settings, degrade=degrade, redaction=redaction)
