"""Rows about consent: grants that only this home can have written, secrets that only it can read.

A grant row carries a MAC under a key derived from the home's key. A row that somebody edited, or copied from
another home or name, is refused. A confirmation is bound to the MAC of its grant, so it ends with the grant.
A secret is sealed together with its context. secretbox has no associated data, so the context is inside the
plaintext and is compared when the secret is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mpp_exec.consent.grant import Grant
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import ConsentError, PackageError
from mpp_exec.registry.database import Transaction
from mpp_exec.registry.pending import forget
from mpp_exec.registry.records import Installed
from mpp_exec.trust.keys import HomeKey, SealError, equal, keyed_hash, open_sealed, seal

_MAX_SECRET: Final = 128 * 1024  # bytes of the sealed map: twice the longest value


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A grant as it is stored, with the MAC that confirmations are bound to."""

    grant: Grant
    mac: bytes


class Grants:
    """The consent tables of one database, under the sub-keys of the home's *key*."""

    def __init__(self, key: HomeKey) -> None:
        self._grant_key = key.derive("grants")
        self._confirmation_key = key.derive("confirmations")
        self._secret_key = key.derive("secrets")

    def find(self, rows: Transaction, name: str) -> StoredGrant | None:
        """Return the last grant of package *name*, whichever version it is for.

        Raises:
            ConsentError: ``grant.tampered`` or ``grant.unreadable``.
        """
        row = rows.row("SELECT body, mac FROM grants WHERE name = ?", name)
        if row is None:
            return None
        body, mac = row
        if not (isinstance(body, bytes) and isinstance(mac, bytes) and equal(mac, self._mac(name, body))):
            raise ConsentError(
                "grant.tampered",
                f"the stored grant of {name} was not written by this home",
                f"if you did not copy or edit the home, find out who did; then: mpp-exec approve {name}",
            )
        return StoredGrant(Grant.decode(body), mac)

    def active(self, rows: Transaction, installed: Installed) -> StoredGrant:
        """Return the grant under which *installed* may run.

        Raises:
            ConsentError: ``grant.none``, ``grant.outdated``, ``grant.tampered``, ``grant.unreadable``.
        """
        stored = self.find(rows, installed.name)
        if stored is None:
            raise ConsentError(
                "grant.none",
                f"{installed.name} is installed and not approved",
                f"see what it asks for, and agree: mpp-exec approve {installed.name}",
            )
        grant = stored.grant
        pinned = (grant.package, grant.digest, grant.key_id)
        if pinned != (installed.name, installed.digest, installed.key_id):
            raise ConsentError(
                "grant.outdated",
                f"{installed.name} {installed.version} is not approved, only {grant.version} was",
                f"see what has changed, and agree: mpp-exec approve {installed.name}",
            )
        return stored

    def put(self, rows: Transaction, grant: Grant, secrets: Mapping[str, str]) -> None:
        """Store *grant* and new values of its *secrets*; other secrets that it names keep their values.

        Raises:
            ConsentError: ``grant.secret_missing``: a secret that the grant names has no value.
        """
        name = grant.package
        for key in secrets:
            if key not in grant.secrets:
                raise ValueError(f"the grant of {name} names no secret {key}")
            sealed = seal(self._secret_key, dumps(_context(grant, key) | {"value": secrets[key]}))
            rows.run("INSERT OR REPLACE INTO secrets (name, key, sealed) VALUES (?, ?, ?)", name, key, sealed)
        for (key,) in rows.rows("SELECT key FROM secrets WHERE name = ?", name):
            if key not in grant.secrets:
                rows.run("DELETE FROM secrets WHERE name = ? AND key = ?", name, key)
        self.secrets(rows, grant)
        body = grant.encode()
        rows.run(
            "INSERT OR REPLACE INTO grants (name, digest, body, mac) VALUES (?, ?, ?, ?)",
            name,
            grant.digest,
            body,
            self._mac(name, body),
        )
        rows.run("DELETE FROM confirmations WHERE name = ?", name)
        forget(rows, name)
        rows.changed()

    def withdraw(self, rows: Transaction, name: str) -> bool:
        """Remove the grant of *name* with its secrets and confirmations; return whether there was one."""
        found = rows.run("DELETE FROM grants WHERE name = ?", name)
        rows.run("DELETE FROM secrets WHERE name = ?", name)
        rows.run("DELETE FROM confirmations WHERE name = ?", name)
        forget(rows, name)
        rows.changed()
        return found > 0

    def secrets(self, rows: Transaction, grant: Grant) -> dict[str, str]:
        """Return the values of all secrets that *grant* names.

        Raises:
            ConsentError: ``grant.secret_missing`` or ``grant.secret_tampered``.
        """
        stored = dict(rows.rows("SELECT key, sealed FROM secrets WHERE name = ?", grant.package))
        values = {}
        for key in grant.secrets:
            if key not in stored:
                raise ConsentError(
                    "grant.secret_missing",
                    f"the secret {key} of {grant.package} has no stored value",
                    f"give it again: mpp-exec approve {grant.package} --set {key}=@FILE",
                )
            values[key] = self._opened(grant, key, stored[key])
        return values

    def _opened(self, grant: Grant, key: str, sealed: object) -> str:
        with suppress(SealError, PackageError):
            data = open_sealed(self._secret_key, sealed if isinstance(sealed, bytes) else b"")
            content = loads(data, max_size=_MAX_SECRET)
            value = content.pop("value", None) if isinstance(content, dict) else None
            if isinstance(value, str) and content == _context(grant, key):
                return value
        raise ConsentError(
            "grant.secret_tampered",
            f"the stored value of the secret {key} of {grant.package} is not what this home stored there",
            f"give it again: mpp-exec approve {grant.package} --set {key}=@FILE",
        )

    def remember_confirmation(self, rows: Transaction, stored: StoredGrant, tool: str) -> None:
        """Remember that a person confirmed *tool* under this grant."""
        rows.run(
            "INSERT OR REPLACE INTO confirmations (name, tool, mac) VALUES (?, ?, ?)",
            stored.grant.package,
            tool,
            self._confirmation_mac(stored, tool),
        )

    def is_confirmed(self, rows: Transaction, stored: StoredGrant, tool: str) -> bool:
        """Return whether a person confirmed *tool* under this very grant."""
        name = stored.grant.package
        row = rows.row("SELECT mac FROM confirmations WHERE name = ? AND tool = ?", name, tool)
        mac = row[0] if row else None
        return isinstance(mac, bytes) and equal(mac, self._confirmation_mac(stored, tool))

    def _mac(self, name: str, body: bytes) -> bytes:
        return keyed_hash(self._grant_key, dumps([name, body]))

    def _confirmation_mac(self, stored: StoredGrant, tool: str) -> bytes:
        return keyed_hash(self._confirmation_key, dumps([stored.mac, tool]))


def _context(grant: Grant, key: str) -> dict[str, str]:
    return {"package": grant.package, "key_id": grant.key_id, "key": key}
