"""A grant: what a person agreed to, pinned to one package digest, and how much of it remains at a call.

A grant is never wider than what the manifest asks for. At a call, the policy of that moment narrows it
again. It stores everything that was shown when it was given (``shown``), so that a later version can be
compared with what the person saw, not with what the publisher claims was shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from mpp_exec.consent.config import Value, all_of
from mpp_exec.consent.homes import THOROUGH, is_home
from mpp_exec.consent.mounts import MountTable
from mpp_exec.consent.paths import Protected, is_exposed, is_text, pins
from mpp_exec.consent.policy import ACTIONS, BINARY, Action, Policy, Withheld
from mpp_exec.encoding import dumps, loads, sha256_digest
from mpp_exec.errors import ConsentError, PackageError
from mpp_exec.owners import Identity, identity
from mpp_exec.package.fields import FieldError, Fields
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.manifest import (
    CONFIRMS,
    MANIFEST_DEPTH,
    OPERATIONS,
    Confirm,
    Operation,
)
from mpp_exec.package.maps import (
    limits_from,
    limits_value,
    permissions_from,
    permissions_value,
    privacy_from,
    privacy_value,
)
from mpp_exec.permissions import IMPORTED_ONCE, Limits, Permissions, Privacy

GRANT_VERSION: Final = 1
WITHHELD_BY_USER: Final = "withheld by you"
MAX_GRANT_SIZE: Final = 2 * LIMITS.manifest
"""Bytes of an encoded grant: what was shown of a manifest, and as much again for everything else."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a tool may do from now on. Every path is final, absolute and without links.

    Attributes:
        package, version, digest, key_id: the one package this is for.
        permissions, limits, privacy: what is granted.
        redaction: what the person chose for kinds of sensitive data in its results; the rest is masked,
            unless ``privacy`` allows it.
        confirm: per tool, when a person is asked.
        covers: paths inside granted ones that the sandbox covers with empty mounts, at approval;
            :func:`effective` finds them anew.
        identities: the files, at approval, behind those granted paths that another user could replace. Any
            other file in their place was not approved and is not mounted.
        config: the plain values of user_config; ``secrets`` names the sensitive ones that have a value.
        withheld: permissions that were requested and are not granted, with reasons.
        degradations: protections that the user agreed to do without, by name.
        import_once: the user agreed that the tool is imported once, and that its calls are served by copies.
        approved_at: when a person agreed, UTC, whole milliseconds.
        shown: everything shown then, as a CBOR map (``difference.shown``).
    """

    package: str
    version: str
    digest: str
    key_id: str
    permissions: Permissions
    limits: Limits
    privacy: Privacy
    confirm: Mapping[str, Confirm]
    redaction: Mapping[str, Action] = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    identities: Mapping[str, Identity] = field(default_factory=dict)
    config: Mapping[str, Value] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    degradations: tuple[str, ...] = ()
    import_once: bool = False
    approved_at: datetime
    shown: Mapping[str, Any] = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of everything that was shown when this was approved."""
        return sha256_digest(dumps(self.shown))

    @property
    def publisher(self) -> str:
        """The part of ``package`` before the slash."""
        return self.package.partition("/")[0]

    @property
    def operations(self) -> dict[str, Operation]:
        """Each tool's operation, as shown."""
        return {tool["name"]: tool["operation"] for tool in self.shown["tools"]}

    def pins(self) -> tuple[str, ...]:
        """Return the folders that must be mounted on themselves so that nothing inside can be moved away.

        Inside a write grant, this concerns covered paths and paths that are granted for reading only.
        """
        inner = (*self.covers, *self.permissions.read)
        found = {pin for path in self.permissions.write for pin in pins(path, inner)}
        return tuple(sorted(found))

    def describe(self) -> list[str]:
        """Return one line for a person per thing granted; each completes "it may …"."""
        return [
            *self.permissions.describe(),
            *self.limits.describe(),
            *self.privacy.describe(),
            *self.describe_redaction(),
            *([IMPORTED_ONCE] if self.import_once else []),
        ]

    def describe_redaction(self) -> list[str]:
        """Return one line for a person per choice of redaction; each completes "it may …"."""
        return [line for kind, action in self.redaction.items() if (line := _redacted(kind, action))]

    def to_value(self) -> dict[str, Any]:
        """Return the CBOR map that is stored."""
        return {
            "grant_version": GRANT_VERSION,
            "package": self.package,
            "version": self.version,
            "digest": self.digest,
            "key_id": self.key_id,
            "permissions": permissions_value(self.permissions),
            "limits": limits_value(self.limits),
            "privacy": privacy_value(self.privacy),
            **({"redaction": dict(self.redaction)} if self.redaction else {}),
            "confirm": dict(self.confirm),
            "covers": list(self.covers),
            "identities": {path: list(identity) for path, identity in self.identities.items()},
            "config": {
                key: list(value) if isinstance(value, tuple) else value for key, value in self.config.items()
            },
            "secrets": list(self.secrets),
            "withheld": [[each.permission, each.reason] for each in self.withheld],
            "degradations": list(self.degradations),
            **({"import_once": True} if self.import_once else {}),
            "approved_at": round(self.approved_at.timestamp() * 1000),
            "shown": dict(self.shown),
        }

    def encode(self) -> bytes:
        """Return the grant as deterministic CBOR."""
        return dumps(self.to_value())

    @classmethod
    def from_value(cls, value: Any) -> Grant:
        """Read the map back.

        Raises:
            ConsentError: ``grant.unreadable``.
        """
        try:
            return _grant(value)
        except (ValueError, KeyError, TypeError, OverflowError) as error:  # FieldError is a ValueError
            raise _unreadable(error) from error

    @classmethod
    def decode(cls, data: bytes) -> Grant:
        """Read what :meth:`encode` wrote.

        Raises:
            ConsentError: ``grant.unreadable``.
        """
        try:
            value = loads(data, max_size=MAX_GRANT_SIZE, max_depth=MANIFEST_DEPTH + 4)
        except PackageError as error:
            raise _unreadable(error) from error
        return cls.from_value(value)


def withheld_by_user(withheld: Iterable[Withheld]) -> list[str]:
    """Return the words with which a person withheld permissions, as typed."""
    return [each.permission for each in withheld if each.reason == WITHHELD_BY_USER]


def effective(grant: Grant, policy: Policy, protected: Protected) -> Grant:
    """Return what remains of *grant* at this moment: under *policy*, with the current mounts.

    The result is never wider. Paths that have vanished stay in: the sandbox resolves paths, and refuses a
    missing one.

    Raises:
        ConsentError: ``policy.publisher``, or ``grant.*`` for a path that is protected by now.
        HostError: ``host.mountinfo``.
    """
    policy.require_publisher(grant.publisher, grant.key_id)
    permissions, less_permissions = policy.ceiling(grant.permissions)
    # As at approval: a read entry kept inside a writable folder goes together with that folder.
    permissions = permissions.less(withheld_by_user(grant.withheld))
    _require_unexposed(grant, permissions)
    limits, less_limits = policy.bound(grant.limits)
    privacy, less_privacy = policy.disclose(grant.privacy)
    redaction, less_redaction = policy.redact(grant.redaction)
    operations = grant.operations
    refused = {name: policy.degradation_refusal(name) for name in grant.degradations}
    import_once, not_once = policy.once(asked=grant.import_once)
    return replace(
        grant,
        permissions=permissions,
        limits=limits,
        privacy=privacy,
        redaction=redaction,
        confirm={tool: policy.confirmation(operations[tool], asks) for tool, asks in grant.confirm.items()},
        covers=covers_of(permissions, protected.with_homes(filter(is_home, grant.covers))),
        degradations=tuple(name for name, reason in refused.items() if not reason),
        import_once=import_once,
        withheld=(
            *grant.withheld,
            *less_permissions,
            *less_limits,
            *less_privacy,
            *less_redaction,
            *(Withheld(f"degradation={name}", reason) for name, reason in refused.items() if reason),
            *not_once,
        ),
    )


def _redacted(kind: str, action: Action) -> str:
    """Say what choosing *action* for *kind* means, "" if it is the default action."""
    if kind == BINARY:
        return "return no images, sounds, files or links" if action == "drop" else ""
    return {
        "token": f"return {kind} values as tokens; the real ones only a tool that may receive them is given",
        "partial": f"return {kind} values in part",
        "hash": f"return {kind} values as keyed hashes",
        "drop": f"return {kind} values as nothing",
    }.get(action, "")


def _require_unexposed(grant: Grant, permissions: Permissions) -> None:
    for path in (*permissions.read, *permissions.write):
        try:
            exposed = path not in grant.identities and is_exposed(path)
        except FileNotFoundError:
            continue  # the sandbox refuses a missing one
        except OSError:
            exposed = True
        if exposed:
            raise ConsentError(
                "grant.exposed",
                f"since {path} was approved, it became possible for another user to put something else there",
                f"look at it, and agree again: mpp-exec approve {grant.package}",
            )


def identities_of(permissions: Permissions) -> dict[str, Identity]:
    """Return the identities of the files behind those *permissions* paths that another user could replace.

    Raises:
        ConsentError: ``grant.unreachable``.
    """
    found = {}
    for path in (*permissions.read, *permissions.write):
        try:
            if is_exposed(path):
                found[path] = identity(path)
        except OSError as error:
            raise ConsentError(
                "grant.unreachable",
                f"the granted path {path} cannot be looked up: {error.strerror}",
                "check its permissions, or approve the package without it",
            ) from error
    return dict(sorted(found.items()))


def found_covers(permissions: Permissions, protected: Protected) -> tuple[str, ...]:
    """Return the paths of :func:`covers_of` and the homes that nothing names; used at approval.

    Raises:
        ConsentError, HostError: as :func:`covers_of`, and ``grant.uncoverable`` for a path that is not text.
    """
    homes = protected.homes_within((*permissions.read, *permissions.write), THOROUGH)
    covers = covers_of(permissions, protected.with_homes(homes))
    for path in covers:
        if not is_text(path):
            raise ConsentError(
                "grant.uncoverable",
                f"{path!a} would have to be covered, and is not UTF-8 text",
                "rename what is not, or grant a folder further in",
            )
    return covers


def covers_of(permissions: Permissions, protected: Protected) -> tuple[str, ...]:
    """Check every path of *permissions* against *protected*; return the paths to be covered, sorted.

    Raises:
        ConsentError: ``grant.*``, see :meth:`.paths.Protected.check`.
        HostError: ``host.mountinfo``.
    """
    if not (permissions.read or permissions.write):
        return ()
    table = MountTable.read()
    covers: set[str] = set()
    for write, paths in ((False, permissions.read), (True, permissions.write)):
        for path in paths:
            try:
                covers.update(protected.check(path, write=write, table=table))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ConsentError(
                    "grant.unreachable",
                    f"the granted path {path} cannot be looked up: {error.strerror}",
                    "check its permissions, or approve the package again without it",
                ) from error
    return tuple(sorted(covers))


_KEYS: Final = (
    "grant_version",
    "package",
    "version",
    "digest",
    "key_id",
    "permissions",
    "limits",
    "privacy",
    "redaction",
    "confirm",
    "covers",
    "identities",
    "config",
    "secrets",
    "withheld",
    "degradations",
    "import_once",
    "approved_at",
    "shown",
)


def _grant(value: Any) -> Grant:
    table = Fields(value, "", _KEYS)
    if table.integer("grant_version") != GRANT_VERSION:
        raise FieldError("unknown_version", "grant_version", f"is not {GRANT_VERSION}")
    shown = table.take("shown", dict)
    tools = {tool["name"]: tool["operation"] for tool in shown["tools"]}
    confirm = table.take("confirm", dict)
    Fields(confirm, "confirm", tuple(tools))
    if set(confirm) != set(tools) or not set(tools.values()) <= set(OPERATIONS):
        raise FieldError("wrong_type", "confirm", "does not name every tool once")
    for tool, asks in confirm.items():
        if asks not in CONFIRMS:
            raise FieldError("unknown_word", f"confirm.{tool}", "is not a confirmation")
    config = table.take("config", dict)
    config = {key: tuple(value) if type(value) is list else value for key, value in config.items()}
    if any(type(each) not in (str, int, float, bool) for value in config.values() for each in all_of(value)):
        raise FieldError("wrong_type", "config", "holds a value of an unknown type")
    return Grant(
        package=table.text("package"),
        version=table.text("version"),
        digest=table.text("digest"),
        key_id=table.text("key_id"),
        permissions=permissions_from(table.take("permissions", dict)),
        limits=limits_from(table.take("limits", dict)),
        privacy=privacy_from(table.take("privacy", dict)),
        redaction=_redaction(table.take("redaction", dict, {})),
        confirm=confirm,
        covers=table.texts("covers"),
        identities={path: _identity(row) for path, row in table.take("identities", dict).items()},
        config=config,
        secrets=table.texts("secrets"),
        withheld=tuple(Withheld(*_pair(row)) for row in table.take("withheld", list)),
        degradations=table.texts("degradations"),
        import_once=table.take("import_once", bool, False),
        approved_at=datetime.fromtimestamp(table.integer("approved_at") / 1000, UTC),
        shown=shown,
    )


def _redaction(value: dict[str, Any]) -> dict[str, Action]:
    if not set(value.values()) <= set(ACTIONS):
        raise FieldError("unknown_word", "redaction", "holds an unknown action")
    return value


def _identity(row: Any) -> Identity:
    if type(row) is not list or [type(cell) for cell in row] != [int, int, int]:
        raise FieldError("wrong_type", "identities", "must be three numbers each")
    return row[0], row[1], row[2]


def _pair(row: Any) -> tuple[str, str]:
    if type(row) is not list or [type(cell) for cell in row] != [str, str]:
        raise FieldError("wrong_type", "withheld", "must be pairs of texts")
    return row[0], row[1]


def _unreadable(error: Exception) -> ConsentError:
    return ConsentError(
        "grant.unreadable",
        f"the stored grant cannot be understood: {error}",
        "approve the package again: mpp-exec approve NAME",
    )
