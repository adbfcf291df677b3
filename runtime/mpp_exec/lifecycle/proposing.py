"""What a person is asked to agree to: values for the settings, and the grant that follows from them.

Nothing here changes anything. A :class:`Proposal` is shown, and either stored or forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpp_exec.audit.entry import permissions_value
from mpp_exec.consent.approve import make_grant, parse_redaction
from mpp_exec.consent.config import (
    Setting,
    Settings,
    Value,
    all_of,
    check_settings,
    parse_setting,
    secret_text,
)
from mpp_exec.consent.difference import Change, difference
from mpp_exec.consent.grant import Grant, withheld_by_user
from mpp_exec.consent.policy import Action, Policy, stricter
from mpp_exec.consent.present import approval_text, stays_read_only, update_text
from mpp_exec.errors import UsageError
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.manifest import MAX_VALUES, ConfigField, Manifest
from mpp_exec.package.maps import privacy_value
from mpp_exec.permissions import DEGRADATIONS
from mpp_exec.privacy.policy import effective_actions
from mpp_exec.trust.verify import SignedManifest

ReadSecret = Callable[[Setting], bytes]
"""Reads what ``--set K=@FILE`` or ``K=-`` names."""

AskSetting = Callable[[ConfigField], str]
"""Asks a person for the value of a setting; "" for none."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was typed beside the name: words of ``--set``, ``--without``, ``--degrade`` and ``--privacy``."""

    settings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    degrade: tuple[str, ...] = ()
    privacy: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.settings or self.without or self.degrade or self.privacy)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A grant that nobody has agreed to yet.

    Attributes:
        package: what it is for.
        grant: what would be stored; *secrets* the new values of its secrets.
        old: the last grant of an earlier version, None where everything is new.
        changes: how what is shown differs from what was shown for *old*.
    """

    package: SignedManifest
    grant: Grant
    secrets: Mapping[str, str] = field(repr=False)
    old: Grant | None
    changes: tuple[Change, ...]

    def text(self) -> list[str]:
        """Return everything that a person must see before agreeing; for an update, what is different."""
        if self.old is None:
            return approval_text(self.package, self.grant)
        lines = update_text(self.package, self.old, self.changes)
        before, after = self.old.describe(), self.grant.describe()
        lines += [f"  + it may {line}" for line in after if line not in before]
        lines += [f"  - it may no longer {line}" for line in before if line not in after]
        protected = stays_read_only(self.grant.permissions)
        if protected != stays_read_only(self.old.permissions):
            lines += protected
        approved = self.old.approved_at.strftime("%Y-%m-%d")
        return [*lines, f"everything else stays as it was approved on {approved}"]

    def detail(self) -> dict[str, Any]:
        """Return what the ledger keeps of an approval."""
        return {
            "granted": permissions_value(self.grant.permissions),
            "withheld": [each.permission for each in self.grant.withheld],
            "degradations": list(self.grant.degradations),
            **({"import_once": True} if self.grant.import_once else {}),
            "privacy": privacy_value(self.grant.privacy),
            "redaction": dict(self.grant.redaction),
            "shown": self.grant.fingerprint,
        }


def propose(
    session: Session,
    package: SignedManifest,
    wishes: Wishes,
    old: Grant | None,
    *,
    read_secret: ReadSecret,
    ask: AskSetting | None,
) -> Proposal:
    """Return what a person is to agree to for *package*.

    Values, secrets, choices of redaction, and what was withheld before are kept from *old*, the last
    grant; secrets only under the same key. *ask* is None where nobody can be asked.

    Raises:
        UsageError: ``config.*``, ``permission.unknown``, ``path.*``, ``grant.unknown_degradation``,
            ``privacy.*``.
        ConsentError: ``policy.*``, ``grant.*``.
    """
    policy = session.policies.load()
    # What a key was given for what it signed is not its successor's: a person gives it again.
    secrets = old is not None and old.key_id == package.key_id
    settings, kept = collect(
        package.manifest, wishes.settings, old, keep_secrets=secrets, read_secret=read_secret, ask=ask
    )
    update = old if old is not None and old.digest != package.digest else None
    protected, now = session.protected(), session.clock()
    redaction = _redaction(wishes.privacy, old)

    def granted(without: Iterable[str]) -> Grant:
        return make_grant(
            package,
            settings,
            policy=policy,
            protected=protected,
            now=now,
            without=without,
            degrade=(*wishes.degrade, *_still_degraded(update, policy)),
            degradable=DEGRADATIONS,
            confirm=_still_confirmed(package.manifest, old, policy),
            kept_secrets=kept,
            redaction=redaction,
        )

    grant = granted((*wishes.without, *_still_withheld(update, granted)))
    changes = tuple(difference(update, package)) if update is not None else ()
    return Proposal(package, grant, settings.secrets, update, changes)


def collect(
    manifest: Manifest,
    words: Iterable[str],
    old: Grant | None,
    *,
    keep_secrets: bool,
    read_secret: ReadSecret,
    ask: AskSetting | None,
) -> tuple[Settings, tuple[str, ...]]:
    """Return the checked settings, and the names of secrets whose stored value stays.

    Raises:
        UsageError: ``config.*`` or ``path.*``.
    """
    fields = manifest.user_config
    plain: dict[str, Value] = {}
    secrets: dict[str, str] = {}
    stdin = ""
    for word in words:
        setting = parse_setting(word, fields)
        several = any(each.multiple for each in fields if each.key == setting.key)
        if setting.key in secrets or (setting.key in plain and not several):
            raise UsageError("config.twice", f"{setting.key} is set twice", "leave one of the two out")
        if setting.source == "stdin" and stdin:
            hint = f"give one of them from a file: --set {setting.key}=@FILE"
            raise UsageError("config.twice", f"{stdin} and {setting.key} both read standard input", hint)
        if setting.source == "value" and several:
            plain[setting.key] = (*all_of(plain.get(setting.key, ())), setting.text)
        elif setting.source == "value":
            plain[setting.key] = setting.text
        else:
            stdin = setting.key if setting.source == "stdin" else stdin
            secrets[setting.key] = secret_text(read_secret(setting), setting.key)
    known = {each.key: each for each in fields}
    kept = []
    if old is not None:
        before = {
            key: value
            for key, value in old.config.items()
            if key in known
            and not known[key].sensitive
            and (known[key].multiple or not isinstance(value, tuple))
        }
        plain = before | plain
        kept = [
            key
            for key in (old.secrets if keep_secrets else ())
            if key in known and known[key].sensitive and key not in secrets
        ]
    if ask is not None:
        for each in fields:
            if each.required and each.default is None and each.key not in {*plain, *secrets, *kept}:
                if each.sensitive:
                    secrets[each.key] = _asked(ask, each)
                else:
                    plain[each.key] = _all_asked(ask, each) if each.multiple else _asked(ask, each)
    return check_settings(fields, plain, secrets, kept=kept), tuple(kept)


def _asked(ask: AskSetting, each: ConfigField) -> str:
    said = ask(each)
    if not said:
        raise UsageError("config.missing", f"{each.key} has no value", "it is required; nothing was changed")
    return said


def _all_asked(ask: AskSetting, each: ConfigField) -> tuple[str, ...]:
    said = [_asked(ask, each)]
    while len(said) < MAX_VALUES and (more := ask(each)):
        said.append(more)
    return tuple(said)


def _redaction(words: Iterable[str], old: Grant | None) -> dict[str, Action]:
    chosen = parse_redaction(words)
    effective_actions(granted=chosen)  # raises for a kind that there is not
    return {**(old.redaction if old is not None else {}), **chosen}


def _still_withheld(old: Grant | None, granted: Callable[[Iterable[str]], Grant]) -> list[str]:
    """Return the words that a person withheld from *old* and that still mean something.

    Only the difference is shown for an update: what was refused before must not come with it.
    """
    kept = []
    for word in () if old is None else withheld_by_user(old.withheld):
        try:
            granted([word])
        except UsageError as error:
            if error.code != "permission.unknown":
                raise
        else:
            kept.append(word)
    return kept


def _still_degraded(old: Grant | None, policy: Policy) -> list[str]:
    names = old.degradations if old is not None else ()
    return [name for name in names if name in DEGRADATIONS and not policy.degradation_refusal(name)]


def _still_confirmed(manifest: Manifest, old: Grant | None, policy: Policy) -> dict[str, Any]:
    """Return each tool's confirmation as *old* had it, raised to what manifest and *policy* demand by now."""
    if old is None:
        return {}
    return {
        tool.name: policy.confirmation(tool.operation, stricter(tool.confirm, old.confirm[tool.name]))
        for tool in manifest.tools
        if tool.name in old.confirm
    }
