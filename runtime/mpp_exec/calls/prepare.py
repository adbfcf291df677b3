"""Checks everything that must be true before a call may run, and collects what the call needs.

The order is that of the promises: verified (1), approved (2), enforceable (7). If a check fails, nothing
runs. Results that follow from unchanged inputs are kept. Each call checks whether the inputs are unchanged.
"""

from __future__ import annotations

import functools
import operator
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

from mpp_exec.audit.entry import PackageRef, Terms
from mpp_exec.calls.prepared import Prepared, Temporary, command_line
from mpp_exec.calls.verifier import Verifier
from mpp_exec.consent.config import fill
from mpp_exec.consent.grant import Grant, effective
from mpp_exec.consent.homes import QUICK, is_home
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import Policy
from mpp_exec.consent.policy_file import PolicyFiles
from mpp_exec.consent.standing import lost
from mpp_exec.errors import ConsentError, PackageError, UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.package.manifest import Manifest, Tool
from mpp_exec.package.schema import compile_schema
from mpp_exec.privacy.policy import RedactionPolicy, effective_actions
from mpp_exec.registry.grants import StoredGrant
from mpp_exec.registry.records import Installed
from mpp_exec.registry.store import Approved, Store
from mpp_exec.sandbox import explain, kernel, spaces
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.look import Look
from mpp_exec.sandbox.parked import can_start_early
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.planning import compile_plan
from mpp_exec.sandbox.shelf import Recipe
from mpp_exec.trust.installed import InstalledPackage, check_trusted
from mpp_exec.trust.verify import SignedManifest

TRACED: Final = "traced: seccomp user notification, which notes and allows nothing"
"""Stands among the mechanisms of a traced call on the ledger."""

_SEARCHED: Final = 60.0
"""Seconds after which the folders of a grant are searched for homes again."""


class _Found(NamedTuple):
    """The inputs from which a call is prepared, as they are at this moment.

    Attributes:
        approved: what the home has approved: which package, under which grant, with which secrets.
        verified: the installed package.
        tool: the tool that is called.
        granted: the part of the grant that policy leaves.
        policy: the policy that was applied.
    """

    approved: Approved
    verified: InstalledPackage
    tool: Tool
    granted: Grant
    policy: Policy


class Preparer:
    """Prepares calls against one home. Thread-safe."""

    def __init__(
        self,
        store: Store,
        policies: PolicyFiles,
        protected: Callable[[], Protected],
        cache: SandboxCache,
        verifier: Verifier,
    ) -> None:
        self._store = store
        self._policies = policies
        self._protected = protected
        self._cache = cache
        self._verifier = verifier
        self._lock = threading.Lock()
        self._approved: dict[str, Approved] = {}
        self._found: dict[str, tuple[Grant, float, tuple[str, ...]]] = {}
        self._granted: dict[str, tuple[Grant, Policy, Grant]] = {}
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._making: dict[tuple[str, str], threading.Lock] = {}

    @contextmanager
    def prepared(
        self, package: str, tool_name: str, temporary: Temporary | None = None
    ) -> Iterator[Prepared]:
        """Yield the call of *tool_name* ("" for the only one) of *package*, ready to run.

        A traced call may have a *temporary* grant instead of the stored one. Policy and protected paths
        bound it like any other grant.

        During the block the installed files stay where they are, even if another process installs another
        version or removes the package.

        Raises:
            UsageError: no such package or tool.
            PackageError: the installed files are not the signed ones.
            ConsentError: not trusted, not approved, or against policy.
            HostError: this host cannot enforce the plan.
        """
        policy = self._policies.load()
        approved = self._approval(package) if temporary is None else self._temporary(package, temporary)
        held: list[int] = []
        try:
            folder = self._store.lease(approved.installed, held)
            image = None
            relied = self._verifier.relied_on(approved) if temporary is None else None
            if relied is not None:
                verified, image = relied  # nothing is claimed about the installed files
            else:
                verified = self._verifier.verified(approved.installed, folder, approved.view)
            tool = _choose(verified.manifest, tool_name)
            found = _Found(approved, verified, tool, self._effective(approved.grant, policy), policy)
            if temporary is not None:
                yield self._assemble(found, traced=True)
                return
            look = _nothing if image is None else functools.partial(self._verifier.look, approved)
            made = self._kept_or_made(found, look)
            yield made if image is None else replace(made, image=image, look=look)
        finally:
            for folder in held:
                os.close(folder)

    def _kept_or_made(self, found: _Found, look: Callable[[], object]) -> Prepared:
        approved, verified = found.approved, found.verified
        inputs = (
            approved.installed.digest,
            verified.fingerprint,
            found.granted,
            approved.secrets,
            found.policy,
        )
        key = (approved.installed.name, found.tool.name)
        kept = self._still_kept(key, inputs)
        if kept is None:
            with self._lock:
                making = self._making.setdefault(key, threading.Lock())
            with making:  # of simultaneous calls, one makes the plan and the others share it
                kept = self._still_kept(key, inputs)
                if kept is None:
                    look()  # a plan is made from the installed files
                    kept = _Kept(inputs, self._assemble(found))
                    self._kept[key] = kept
        if kept.prepared.approved is not approved:
            # The home changed, but nothing that this call depends on. Sandboxes for the next call are
            # prepared under the current state.
            recipe = replace(kept.prepared.recipe, **self._basis(found))
            kept = _Kept(inputs, replace(kept.prepared, approved=approved, recipe=recipe))
            self._kept[key] = kept
        return kept.prepared

    def _still_kept(self, key: tuple[str, str], inputs: tuple[object, ...]) -> _Kept | None:
        """Return the call that was prepared from the same *inputs* and host programs, None without one."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        # Identical objects need no comparison; values that were read again are compared by content.
        if not all(map(operator.is_, kept.inputs, inputs)) and kept.inputs != inputs:
            return None
        return kept if kept.is_current() else None

    def _basis(self, found: _Found) -> dict[str, Any]:
        """Return the state under which a recipe is valid: the home's state, and unchanged files."""
        approved, verified = found.approved, found.verified
        return {
            "basis": (approved.generation, found.policy),
            "unchanged": functools.partial(self._verifier.is_unchanged, approved, verified),
            "image": functools.partial(self._verifier.image, approved, verified),
            "image_failed": functools.partial(self._verifier.images.failed, approved.installed.digest),
        }

    def lost(self, prepared: Prepared, temporary: Temporary | None = None) -> str:
        """Return why the *prepared* call may no longer run; "" if everything that was true still is.

        Raises:
            ConsentError: ``policy.*``: policy cannot be read.
            InternalError: the store cannot be read.
        """
        return self._lost(prepared, temporary, looks=True)

    def withdrawn(self, prepared: Prepared, temporary: Temporary | None = None) -> str:
        """Return what :meth:`lost` returns, without looking at the installed files.

        Raises:
            as :meth:`lost`.
        """
        return self._lost(prepared, temporary, looks=False)

    def _lost(self, prepared: Prepared, temporary: Temporary | None, *, looks: bool) -> str:
        manifest, policy = prepared.manifest, self._policies.load()
        name = manifest.name
        try:
            approved = self._approval(name) if temporary is None else self._temporary(name, temporary)
            grant = approved.grant
            if not looks:
                claim = SignedManifest(manifest, grant.digest, grant.key_id, first_use=False)
                check_trusted(claim, approved.view)
            else:
                with self._store.leased(approved.installed) as folder:
                    manifest = self._verifier.verified(approved.installed, folder, approved.view).manifest
            granted = self._effective(grant, policy)
        except (ConsentError, PackageError, UsageError) as error:
            return "its grant was withdrawn" if error.code == "grant.none" else error.message
        if approved.secrets != prepared.secrets:
            return "its secrets are others"
        if self._redaction(manifest, granted, policy) != prepared.redaction:
            return "its results are redacted otherwise"
        return lost(prepared.grant, granted, prepared.tool.name)

    def offered(self, package: str) -> tuple[Manifest, Grant]:
        """Return the manifest of *package*, verified now, and its grant as far as current policy leaves it.

        Raises:
            UsageError, PackageError, ConsentError: as :meth:`prepared`.
        """
        policy = self._policies.load()
        approved = self._approval(package)
        with self._store.leased(approved.installed) as folder:
            manifest = self._verifier.verified(approved.installed, folder, approved.view).manifest
        return manifest, self._effective(approved.grant, policy)

    def manifest(self, package: str) -> tuple[Installed, Manifest]:
        """Return an installed package and its manifest, verified now.

        Raises:
            UsageError, PackageError, ConsentError: as :meth:`prepared`.
        """
        installed = self._store.package(package)
        with self._store.leased(installed) as folder:
            return installed, self._verifier.verified(installed, folder, self._store.trust_view()).manifest

    def _effective(self, grant: Grant, policy: Policy) -> Grant:
        # Protected paths matter only to granted paths, and finding them costs a walk over the host's folders.
        if grant.permissions.read or grant.permissions.write:
            protected = self._protected()
            return effective(grant, policy, protected.with_homes(self._homes(grant, protected)))
        known = self._granted.get(grant.package)
        if known is None or known[0] is not grant or known[1] is not policy:
            known = grant, policy, effective(grant, policy, Protected((), ()))
            self._granted[grant.package] = known
        return known[2]

    def _homes(self, grant: Grant, protected: Protected) -> list[str]:
        """Return the homes inside granted paths that nothing names, also those made after the approval."""
        known = self._found.get(grant.package)
        now = time.monotonic()
        if known is None or known[0] is not grant or now > known[1] + _SEARCHED:
            paths = (*grant.permissions.read, *grant.permissions.write)
            known = grant, now, protected.homes_within(paths, QUICK)
            self._found[grant.package] = known
        return [path for path in known[2] if is_home(path)]

    def _approval(self, package: str) -> Approved:
        with self._lock:
            known = self._approved.get(package)
        if known is None or known.generation != self._store.generation():
            known = self._store.approved(package)
            with self._lock:
                self._approved[package] = known
        return known

    def _temporary(self, package: str, temporary: Temporary) -> Approved:
        generation = self._store.generation()  # first: a change in between makes this look old, never new
        installed = self._store.package(package)
        if (installed.digest, installed.key_id) != (temporary.grant.digest, temporary.grant.key_id):
            raise ConsentError(
                "grant.outdated",
                f"{package} was replaced by another version meanwhile",
                "trace it again",
            )
        return Approved(
            installed=installed,
            grant=temporary.grant,
            secrets=temporary.secrets,
            view=self._store.trust_view(),
            generation=generation,
            stored=StoredGrant(temporary.grant, b""),
        )

    def _assemble(self, found: _Found, *, traced: bool = False) -> Prepared:
        approved, tool, grant, manifest = found.approved, found.tool, found.granted, found.verified.manifest
        home = self._store.home
        storage = None
        if grant.permissions.storage:
            storage = home.storage_folder(manifest.name)
            storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = replace(kernel.probe(), namespaces=spaces.missing() is None)
        plan = compile_plan(
            manifest,
            tool,
            grant,
            facts,
            app=str(home.package_folder(grant.digest) / "files"),
            storage=str(storage) if storage is not None else None,
            find_program=self._cache.program,
            compile_launcher=self._cache.launcher,
            find_modules=functools.partial(self._cache.modules, grant.digest),
        )
        secrets = approved.secrets
        filled = fill(
            manifest,
            grant.config,
            secrets,
            storage=plan.storage if storage is not None else "",
            app=plan.app,
        )
        early = _may_start_early(manifest, grant, plan)
        constants = tuple(filled.env.items()) if early else ()
        return Prepared(
            manifest=manifest,
            tool=tool,
            grant=grant,
            plan=plan,
            arguments=compile_schema(tool.input_schema),
            result=compile_schema(tool.output_schema) if tool.output_schema is not None else None,
            filled=filled,
            secrets=secrets,
            redaction=self._redaction(manifest, grant, found.policy),
            terms=_terms(manifest, tool, grant, plan, facts, traced=traced),
            storage=storage,
            recipe=Recipe(
                plan,
                found.verified.fingerprint,
                constants,
                early_start=early,
                command=command_line(plan, filled) if early else None,
                **self._basis(found),
            ),
            approved=approved,
        )

    def _redaction(self, manifest: Manifest, grant: Grant, policy: Policy) -> RedactionPolicy:
        actions = effective_actions(
            organisation=policy.redaction,
            granted={**dict.fromkeys(grant.privacy.allow, "allow"), **grant.redaction},
            requested=manifest.privacy.allow,
            rules=policy.redaction_rules,
        )
        key = self._store.key.derive("redaction-hash")
        return RedactionPolicy(
            actions, hash_key=key, rules=policy.redaction_rules, second_opinion=policy.second_opinion
        )


def _nothing() -> None:
    pass


def _may_start_early(manifest: Manifest, grant: Grant, plan: SandboxPlan) -> bool:
    """Return whether a tool may be started ahead of its call.

    All its calls must have the same variables, and these must stand in the package, which everybody can read:
    code that runs early could read other variables unseen (getenv in a library). So it is not started
    without the variables that its call will have, and no user's variables wait in a sandbox. An MCP server
    may look for what it is granted when it starts, and nothing would report that; for a Python tool the
    launcher does. Other programs touch the outside: only a recorded call starts them.
    """
    if grant.permissions.subprocess or not can_start_early(plan):
        return False
    if manifest.runtime.kind == "exec" or (manifest.runtime.kind == "mcp" and plan.late < len(plan.entries)):
        return False
    filled_in = any("${user_config." in value for _, value in manifest.runtime.env)
    handed = any(each.env for each in manifest.user_config)
    return not (filled_in or handed or grant.permissions.environment)


class _Kept:
    """A prepared call, its inputs, and a check whether the host's programs are unchanged."""

    __slots__ = ("_look", "inputs", "prepared")

    def __init__(self, inputs: tuple[Any, ...], prepared: Prepared) -> None:
        self.inputs = inputs
        self.prepared = prepared
        self._look: Look | None = None

    def is_current(self) -> bool:
        """Return whether the programs that the plan mounts and allows to start are unchanged.

        Each call asks this for all of their files at once, after they were compared one by one.
        """
        if self._look is not None:
            return self._look.is_same()
        plan = self.prepared.plan
        look = Look(plan.found_at)  # before the comparison
        if not plan.still_true():
            return False
        self._look = look
        return True


def _choose(manifest: Manifest, name: str) -> Tool:
    if not name:
        if len(manifest.tools) == 1:
            return manifest.tools[0]
        names = ", ".join(tool.name for tool in manifest.tools)
        raise UsageError("tool.ambiguous", f"{manifest.name} has several tools", f"name one of: {names}")
    tool = manifest.tool(name)
    if tool is None:
        raise UsageError(
            "tool.unknown",
            f"{manifest.name} has no tool {name}",
            nearest(name, [each.name for each in manifest.tools]),
        )
    return tool


def _terms(
    manifest: Manifest,
    tool: Tool,
    grant: Grant,
    plan: SandboxPlan,
    facts: kernel.KernelFacts,
    *,
    traced: bool,
) -> Terms:
    means = explain.mechanisms(plan, facts)
    return Terms(
        package=PackageRef(manifest.name, manifest.version, manifest.publisher, grant.key_id, grant.digest),
        tool=tool.name,
        granted=grant.permissions,
        withheld=tuple(each.permission for each in grant.withheld),
        limits=plan.limits,
        mechanisms=(
            *sorted({name for names in means.values() for name in names}),
            *((TRACED,) if traced else ()),
        ),
        degradations=plan.degraded,
    )
