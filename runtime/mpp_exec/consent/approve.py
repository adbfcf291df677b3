"""From a verified manifest and a person's decisions to a grant.

Every step removes something from what the manifest asks for: permissions that the person withholds, settings
without a value, permissions that policy does not admit, and protected paths. No step adds anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mpp_exec.consent.config import Settings, Value, check_uses, expand_path
from mpp_exec.consent.difference import carries_over, shown
from mpp_exec.consent.grant import WITHHELD_BY_USER, Grant, found_covers, identities_of, withheld_by_user
from mpp_exec.consent.paths import Protected
from mpp_exec.consent.policy import ACTIONS, BINARY, BINARY_ACTIONS, Action, Policy, Withheld, stricter
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.package.manifest import CONFIRMS, Confirm, Manifest
from mpp_exec.permissions import IMPORT_ONCE, Permissions, Privacy
from mpp_exec.trust.verify import SignedManifest
from mpp_exec.vocabulary import path_placeholder

"""The reason that stands beside what a person did not grant."""


def make_grant(
    package: SignedManifest,
    settings: Settings,
    *,
    policy: Policy,
    protected: Protected,
    now: datetime,
    without: Iterable[str] = (),
    degrade: Iterable[str] = (),
    degradable: Collection[str] = (),
    confirm: Mapping[str, Confirm] | None = None,
    kept_secrets: Iterable[str] = (),
    redaction: Mapping[str, Action] | None = None,
) -> Grant:
    """Return the grant that a person gives *package* by agreeing to it.

    *without* holds words of ``--without`` (``network=…``, ``filesystem.write``, ``privacy.allow=email``).
    *degrade* names protections to do without, out of *degradable*. *confirm* raises the confirmation of
    single tools. *kept_secrets* names sensitive settings whose stored value stays. *redaction* is the action
    for kinds of sensitive data in results. A kind with any action but ``allow`` is not returned in the clear,
    and ``allow`` is possible only for kinds that the manifest asks to return.

    Raises:
        ConsentError: ``policy.publisher``, ``policy.degradation``, ``grant.*`` for a protected path,
            ``config.*``.
        UsageError: ``permission.unknown``, ``path.*``, ``grant.unknown_degradation``,
            ``grant.unknown_tool``, ``grant.confirm_lowered``, ``privacy.not_asked``.
        PackageError: ``config.*``, a mistake in the package.
        HostError: ``host.mountinfo``.
    """
    manifest = package.manifest
    policy.require_publisher(manifest.publisher, package.key_id)
    without = tuple(without)
    asked, asked_privacy, withheld = _without(manifest, settings.values, list(without))
    permissions, by_policy = policy.ceiling(asked)
    import_once, not_once = policy.once(
        asked=manifest.runtime.import_once and IMPORT_ONCE not in set(without)
    )
    # A read entry that was kept because it lay inside a writable folder goes together with that folder.
    permissions = permissions.less(withheld_by_user(withheld))
    limits, lowered = policy.bound(manifest.limits)
    asked_privacy, chosen, not_returned = _chosen(manifest, asked_privacy, redaction or {})
    privacy, redacted = policy.disclose(asked_privacy)
    actions, less_redaction = policy.redact(chosen)
    secrets = sorted(
        {*settings.secrets, *kept_secrets} & {f.key for f in manifest.user_config if f.sensitive}
    )
    check_uses(manifest, settings, kept=secrets, storage=permissions.storage)
    return Grant(
        package=manifest.name,
        version=manifest.version,
        digest=package.digest,
        key_id=package.key_id,
        permissions=permissions,
        limits=limits,
        privacy=privacy,
        confirm=_confirmations(manifest, policy, confirm or {}),
        redaction=actions,
        covers=found_covers(permissions, protected),
        identities=identities_of(permissions),
        config=dict(sorted(settings.values.items())),
        secrets=tuple(secrets),
        withheld=(*withheld, *not_returned, *by_policy, *lowered, *redacted, *less_redaction, *not_once),
        degradations=_degradations(degrade, degradable, policy),
        import_once=import_once,
        approved_at=_milliseconds(now),
        shown=shown(package),
    )


def carry_over(old: Grant, package: SignedManifest, *, policy: Policy, protected: Protected) -> Grant | None:
    """Return the grant of *package* that follows from *old* without asking, None if a person must agree.

    It holds what both *old* and the new manifest allow: a withheld permission stays withheld.

    Raises:
        ConsentError: ``policy.publisher``.
        HostError: ``host.mountinfo``.
    """
    if not carries_over(old, package, policy):
        return None
    manifest = package.manifest
    policy.require_publisher(manifest.publisher, package.key_id)
    keys = {each.key: each for each in manifest.user_config}
    config = {key: value for key, value in old.config.items() if key in keys}
    secrets = tuple(key for key in old.secrets if key in keys)
    try:
        asked, unset = _expanded(manifest.permissions, config)
        privacy = manifest.privacy.intersect(old.privacy)
        common = _common(asked, old.permissions)
        permissions, by_policy = policy.ceiling(common)
        check_uses(manifest, Settings(config), kept=secrets, storage=permissions.storage)
        covers = found_covers(permissions, protected)
        identities = identities_of(permissions)
    except (UsageError, ConsentError):
        return None  # a folder is gone or is now protected, or the command needs a withheld permission
    if any(old.identities.get(path) != identity for path, identity in identities.items()):
        return None  # another user could have put it there since
    limits, lowered = policy.bound(manifest.limits.intersect(old.limits))
    privacy, redacted = policy.disclose(privacy)
    confirm = _confirmations(manifest, policy, old.confirm, raise_only=True)
    dropped = [
        Withheld(f"{word}={path}", "it was not part of the earlier grant")
        for word, wanted, kept in (
            ("filesystem.read", asked.read, common.read),
            ("filesystem.write", asked.write, common.write),
        )
        for path in wanted
        if path not in kept
    ]
    words = {each.permission for each in old.withheld}
    new = (*unset, *dropped, *by_policy, *lowered, *redacted)
    return replace(
        old,
        version=manifest.version,
        digest=package.digest,
        permissions=permissions,
        limits=limits,
        privacy=privacy,
        confirm=confirm,
        covers=covers,
        identities=identities,
        config=config,
        secrets=secrets,
        withheld=(*old.withheld, *(each for each in new if each.permission not in words)),
        degradations=tuple(name for name in old.degradations if not policy.degradation_refusal(name)),
        import_once=policy.once(asked=old.import_once and manifest.runtime.import_once)[0],
        shown=shown(package),
    )


def _common(asked: Permissions, granted: Permissions) -> Permissions:
    """Return the entries of *asked* that *granted* covers: those that were agreed to and are still wanted.

    Paths that *granted* keeps read-only inside these entries stay read-only: they may come from a setting,
    which a comparison of two manifests does not show.
    """
    common = Permissions(
        network=tuple(e for e in asked.network if granted.gives(Permissions(network=(e,)))),
        environment=tuple(e for e in asked.environment if e in granted.environment),
        subprocess=tuple(e for e in asked.subprocess if e in granted.subprocess),
        storage=min(asked.storage, granted.storage),
        read=tuple(e for e in asked.read if granted.gives(Permissions(read=(e,)))),
        write=tuple(e for e in asked.write if granted.gives(Permissions(write=(e,)))),
    )
    return common.keeping(path for path in granted.read if not granted.mounts_writable(path))


def _without(
    manifest: Manifest, values: Mapping[str, Value], words: list[str]
) -> tuple[Permissions, Privacy, list[Withheld]]:
    """Withhold the *words* from what *manifest* asks for, and resolve the paths of the rest.

    A word may name a path as the manifest writes it, even if the path does not exist here, or as the final
    path that was shown. So words are tried before the paths are resolved, and again after.
    """
    privacy_words = [word for word in words if word.partition("=")[0].partition(".")[0] == "privacy"]
    once = manifest.runtime.import_once  # no permission: it reaches nothing
    others = [word for word in words if word not in privacy_words and not (once and word == IMPORT_ONCE)]
    asked = manifest.permissions
    for word in others:
        asked = _less(asked, word) or asked
    resolved, unset = _expanded(asked, values)
    final = resolved
    for word in others:
        final = _less(final, word) or final
        if _less(manifest.permissions, word) is None:
            resolved.without(word)  # raises when it means nothing here either
    return (
        final,
        _without_privacy(manifest.privacy, privacy_words),
        [Withheld(word, WITHHELD_BY_USER) for word in dict.fromkeys(words)] + unset,
    )


def _less(permissions: Permissions, word: str) -> Permissions | None:
    try:
        return permissions.without(word)
    except UsageError:
        return None


def _without_privacy(privacy: Privacy, words: Iterable[str]) -> Privacy:
    entries = [(name, kind) for name in ("allow", "receive") for kind in getattr(privacy, name)]
    kept = list(entries)
    for word in words:
        meant = {
            each for each in entries if word in ("privacy", f"privacy.{each[0]}", f"privacy.{'='.join(each)}")
        }
        if not meant:
            known = [f"privacy.{'='.join(each)}" for each in entries]
            hint = nearest(word, known) if known else "it asks for no kind of sensitive data"
            raise UsageError("permission.unknown", f"{word!r} is not among the permissions asked for", hint)
        kept = [each for each in kept if each not in meant]
    return Privacy(
        allow=tuple(kind for name, kind in kept if name == "allow"),
        receive=tuple(kind for name, kind in kept if name == "receive"),
    )


def parse_redaction(words: Iterable[str]) -> dict[str, Action]:
    """Parse words of ``--privacy``: ``KIND=ACTION``. The caller checks whether such a kind exists.

    Raises:
        UsageError: ``privacy.malformed``, ``privacy.unknown_action`` or ``privacy.twice``.
    """
    chosen: dict[str, Action] = {}
    for word in words:
        kind, equals, action = word.partition("=")
        if not equals:
            raise UsageError(
                "privacy.malformed", f"{word!r} says nothing of a kind", "write KIND=ACTION: email=token"
            )
        known = BINARY_ACTIONS if kind == BINARY else ACTIONS
        found = next((each for each in known if each == action), None)
        if found is None:
            raise UsageError(
                "privacy.unknown_action", f"{kind} cannot be {action!r} in results", nearest(action, known)
            )
        if kind in chosen:
            raise UsageError("privacy.twice", f"{kind} is given two actions", "leave one of the two out")
        chosen[kind] = found
    return chosen


def _chosen(
    manifest: Manifest, asked: Privacy, redaction: Mapping[str, Action]
) -> tuple[Privacy, dict[str, Action], list[Withheld]]:
    """Return what *redaction* leaves of *asked*, the actions to be kept, and the kinds not returned."""
    for kind, action in redaction.items():
        if action == "allow" and kind != BINARY and kind not in asked.allow:
            raise UsageError(
                "privacy.not_asked",
                f"{manifest.name} does not ask to return {kind} values",
                "what it does not ask for cannot be granted; choose token, partial, hash, mask or drop",
            )
    kept: dict[str, Action] = {kind: action for kind, action in redaction.items() if action != "allow"}
    withheld = [
        Withheld(f"privacy.allow={kind}", f"you chose {kept[kind]}") for kind in asked.allow if kind in kept
    ]
    allow = tuple(kind for kind in asked.allow if kind not in kept)
    return replace(asked, allow=allow), kept, withheld


def _expanded(asked: Permissions, values: Mapping[str, Value]) -> tuple[Permissions, list[Withheld]]:
    """Resolve the paths of *asked* to final ones; withhold those whose setting has no value."""
    unset: list[Withheld] = []

    def resolve(word: str, paths: tuple[str, ...]) -> tuple[str, ...]:
        final: set[str] = set()
        for path in paths:
            try:
                resolved = expand_path(path, values)
            except UsageError as error:
                if error.code != "path.missing":
                    raise
                hint = f"create it, or approve without it: --without {word}='{path}'"
                raise UsageError(error.code, error.message, hint) from error
            if not resolved:
                reason = f"the setting {path_placeholder(path)} has no value"
                unset.append(Withheld(f"{word}={path}", reason))
            else:
                final.update(resolved)
        return tuple(sorted(final))

    read = resolve("filesystem.read", asked.read)
    write = resolve("filesystem.write", asked.write)
    return replace(asked, read=read, write=write), unset


def _confirmations(
    manifest: Manifest, policy: Policy, wanted: Mapping[str, Confirm], *, raise_only: bool = False
) -> dict[str, Confirm]:
    """Return each tool's confirmation: the manifest's, raised by policy and by the person."""
    least = {tool.name: policy.confirmation(tool.operation, tool.confirm) for tool in manifest.tools}
    if not raise_only:
        for name, asks in wanted.items():
            if name not in least:
                hint = nearest(name, least)
                raise UsageError("grant.unknown_tool", f"{manifest.name} has no tool {name!r}", hint)
            if CONFIRMS.index(asks) < CONFIRMS.index(least[name]):
                raise UsageError(
                    "grant.confirm_lowered",
                    f"tool {name} is confirmed {least[name]!r}, which cannot be lowered to {asks!r}",
                    "its publisher or your policy demands it; it can only be raised",
                )
    return {name: stricter(asks, wanted.get(name, "never")) for name, asks in least.items()}


def _degradations(names: Iterable[str], degradable: Collection[str], policy: Policy) -> tuple[str, ...]:
    chosen = sorted(set(names))
    for name in chosen:
        if name not in degradable:
            hint = nearest(name, sorted(degradable)) if degradable else "there is none that can be accepted"
            raise UsageError("grant.unknown_degradation", f"there is no degradation {name!r}", hint)
        if reason := policy.degradation_refusal(name):
            raise ConsentError(
                "policy.degradation", reason, "without it, what this host cannot enforce stays refused"
            )
    return tuple(chosen)


def _milliseconds(now: datetime) -> datetime:
    """Return *now* as it comes back from storage: UTC, whole milliseconds."""
    if now.tzinfo is None:
        raise ValueError("a time without its zone cannot be stored")
    utc = now.astimezone(UTC)
    return utc - timedelta(microseconds=utc.microsecond % 1000)
