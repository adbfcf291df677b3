"""Rows about publishers, versions and packages: read with suspicion, written inside a transaction.

``versions`` remembers every version that was ever installed, by key. Neither uninstalling the package nor
removing the publisher deletes a version: otherwise that detour would allow a downgrade to an old version.
The same holds for ``rotations`` and a return to an old key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.package.fields import nearest
from mpp_exec.patterns import lazily
from mpp_exec.registry.database import Transaction
from mpp_exec.registry.faults import corrupt
from mpp_exec.trust import rotation
from mpp_exec.trust.keys import HomeKey, equal, keyed_hash
from mpp_exec.trust.publishers import Origin, Publisher, Rotation, Succession, TrustView
from mpp_exec.trust.rotation import Effect
from mpp_exec.trust.verify import SignedManifest

_DIGEST: Final = lazily(r"sha256:[0-9a-f]{64}", re.ASCII)
_NAME: Final = lazily(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed package.

    Attributes:
        name, version, digest, key_id: as verified when it was installed.
        installed_at: UTC.
        fingerprint: the last one that :func:`mpp_exec.trust.installed.verify_installed` returned.
    """

    name: str
    version: str
    digest: str
    key_id: str
    installed_at: datetime
    fingerprint: str | None = None


Revoked = Literal["key", "digest"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked key, by its id, or a revoked package, by its digest. *at* is UTC."""

    kind: Revoked
    id: str
    at: datetime


class Records:
    """The tables of one database. *path* is for messages, *key* keeps fingerprints from being forged."""

    def __init__(self, path: Path, key: HomeKey) -> None:
        self._path = path
        self._fingerprint_key = key.derive("fingerprints")

    def view(
        self, rows: Transaction, *, allow_downgrade: bool = False, first_use: str | bool = False
    ) -> TrustView:
        """Return what verification needs to know, as of this transaction."""
        seen: dict[tuple[str, str], dict[str, str]] = {}
        for key_id, name, version, digest in rows.rows("SELECT key_id, name, version, digest FROM versions"):
            seen.setdefault((key_id, name), {})[version] = digest
        revoked = self.revocations(rows)
        return TrustView(
            publishers={each.name: each for each in self.publishers(rows)},
            rotations=tuple(self.rotations(rows)),
            revoked_keys=frozenset(each.id for each in revoked if each.kind == "key"),
            revoked_digests=frozenset(each.id for each in revoked if each.kind == "digest"),
            seen=seen,
            allow_downgrade=allow_downgrade,
            trust_first_use=first_use,
        )

    def any(self, rows: Transaction) -> bool:
        """Return whether any publisher was ever trusted, or any version seen."""
        found = rows.rows(
            "SELECT EXISTS (SELECT 1 FROM publishers) OR EXISTS (SELECT 1 FROM versions) "
            "OR EXISTS (SELECT 1 FROM rotations)"
        )
        return bool(found[0][0])

    def publishers(self, rows: Transaction) -> list[Publisher]:
        """Return all publishers, by name."""
        found = rows.rows("SELECT name, key, added_at, origin FROM publishers ORDER BY name")
        return [self._publisher(*row) for row in found]

    def _publisher(self, name: Any, key: Any, added_at: Any, origin: Any) -> Publisher:
        if not (isinstance(key, bytes) and len(key) == 32 and isinstance(added_at, int)):
            raise corrupt(self._path, f"the key of publisher {name} is none")
        if origin not in get_args(Origin):
            raise corrupt(self._path, f"the origin of publisher {name} is none")
        return Publisher(str(name), key, _time(added_at), origin)

    def add_publisher(self, rows: Transaction, publisher: Publisher) -> bool:
        """Trust *publisher*; return False if it is already trusted.

        Raises:
            ConsentError: ``publisher.key_changed``, ``publisher.key_revoked``, ``publisher.key_former``.
        """
        if any((each.kind, each.id) == ("key", publisher.key_id) for each in self.revocations(rows)):
            raise ConsentError(
                "publisher.key_revoked",
                f"the key {publisher.key_id} was revoked here",
                f"ask {publisher.name} for their new key; if that was a mistake: "
                f"mpp-exec publisher revoke --lift {publisher.key_id}",
            )
        for each in self.rotations(rows):
            if (each.publisher, each.old_key) == (publisher.name, publisher.key):
                raise ConsentError(
                    "publisher.key_former",
                    f"{publisher.key_id} is a former key of {publisher.name}, which {each.new_id} replaced",
                    f"ask {publisher.name} for their new key",
                )
        for known in self.publishers(rows):
            if known.name == publisher.name and known.key == publisher.key:
                return False
            if known.name == publisher.name:
                raise ConsentError(
                    "publisher.key_changed",
                    f"publisher {known.name} is known with key {known.key_id}, not {publisher.key_id}",
                    "ask for the rotation statement of the new key (mpp-exec publisher rotate FILE); "
                    f"where there can be none: mpp-exec publisher remove {known.name}",
                )
        rows.run(
            "INSERT INTO publishers (name, key, added_at, origin) VALUES (?, ?, ?, ?)",
            publisher.name,
            publisher.key,
            _stamp(publisher.added_at),
            publisher.origin,
        )
        rows.changed()
        return True

    def rotations(self, rows: Transaction) -> list[Succession]:
        """Return all rotations that were accepted, the oldest first."""
        found = rows.rows(
            "SELECT publisher, old_key, new_key, issued, taken_at, statement, speaks "
            "FROM rotations ORDER BY taken_at"
        )
        for name, old, new, issued, at, statement, speaks in found:
            keys = all(isinstance(key, bytes) and len(key) == 32 for key in (old, new))
            texts = isinstance(issued, str) and isinstance(statement, bytes)
            if not (keys and texts and isinstance(at, int) and speaks in (0, 1)):
                raise corrupt(self._path, f"a rotation of publisher {name} is none")
        return [
            Succession(str(name), old, new, issued, _time(at), statement, bool(speaks))
            for name, old, new, issued, at, statement, speaks in found
        ]

    def rotate(
        self, rows: Transaction, what: Rotation, statement: bytes, now: datetime, agreed: Effect | None
    ) -> bool:
        """Apply the rotation *what*, whose effect must be the *agreed* one; return False if already applied.

        Raises:
            PackageError, ConsentError: as :func:`mpp_exec.trust.rotation.check`, and ``rotation.changed``.
        """
        effect = rotation.check(what, self.view(rows))
        if effect == "":
            return False
        if agreed not in (None, effect):
            raise ConsentError(
                "rotation.changed",
                f"what is known of {what.publisher} has changed since the statement was shown",
                "run it again, and look at what it says now",
            )
        if effect == "follows":
            rows.run("UPDATE publishers SET key = ? WHERE name = ?", what.new_key, what.publisher)
        # Of a key that followed the old one, and was revoked.
        rows.run("DELETE FROM rotations WHERE publisher = ? AND old_key = ?", what.publisher, what.old_key)
        rows.run(
            "INSERT INTO rotations (publisher, old_key, new_key, issued, taken_at, statement, speaks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            what.publisher,
            what.old_key,
            what.new_key,
            what.issued,
            _stamp(now),
            statement,
            int(effect != "bars"),
        )
        rows.changed()
        return True

    def remove_publisher(self, rows: Transaction, name: str) -> None:
        """Stop trusting *name*; the record of its seen versions stays.

        Raises:
            UsageError: ``publisher.unknown``.
        """
        if not rows.run("DELETE FROM publishers WHERE name = ?", name):
            known = [publisher.name for publisher in self.publishers(rows)]
            raise UsageError(
                "publisher.unknown", f"there is no publisher {name!r}", _hint(name, known, "publisher")
            )
        rows.changed()

    def revocations(self, rows: Transaction) -> list[Revocation]:
        """Return all revocations, the oldest first."""
        found = rows.rows("SELECT kind, id, at FROM revoked ORDER BY at, kind, id")
        if any(kind not in get_args(Revoked) or not isinstance(at, int) for kind, _, at in found):
            raise corrupt(self._path, "a revocation is none")
        return [Revocation(kind, str(id_), _time(at)) for kind, id_, at in found]

    def add_revocation(self, rows: Transaction, what: Revocation) -> bool:
        """Revoke *what*, and forget the publisher of a revoked key; return False if already revoked."""
        if any((each.kind, each.id) == (what.kind, what.id) for each in self.revocations(rows)):
            return False
        rows.run("INSERT INTO revoked (kind, id, at) VALUES (?, ?, ?)", what.kind, what.id, _stamp(what.at))
        for publisher in self.publishers(rows) if what.kind == "key" else ():
            if publisher.key_id == what.id:
                rows.run("DELETE FROM publishers WHERE name = ?", publisher.name)
        rows.changed()
        return True

    def remove_revocation(self, rows: Transaction, kind: Revoked, id_: str) -> bool:
        """Take a revocation back; return False if there is none."""
        if not rows.run("DELETE FROM revoked WHERE kind = ? AND id = ?", kind, id_):
            return False
        rows.changed()
        return True

    def packages(self, rows: Transaction) -> list[Installed]:
        """Return all installed packages, by name."""
        return [self._installed(*row) for row in rows.rows(f"{_PACKAGES} ORDER BY name")]

    def find_package(self, rows: Transaction, name: str) -> Installed | None:
        """Return the installed package called *name*, if there is one."""
        if _NAME.fullmatch(name) is None:
            return None  # and no text for SQLite, perhaps: words of a command line may be no UTF-8
        row = rows.row(f"{_PACKAGES} WHERE name = ?", name)
        return self._installed(*row) if row else None

    def package(self, rows: Transaction, name: str) -> Installed:
        """Return the installed package called *name*.

        Raises:
            UsageError: ``store.not_installed``.
        """
        found = self.find_package(rows, name)
        if found is None:
            known = [each.name for each in self.packages(rows)]
            raise UsageError("store.not_installed", f"{name} is not installed", _hint(name, known, "package"))
        return found

    def _installed(  # noqa: PLR0917 -- a row
        self, name: Any, version: Any, digest: Any, key_id: Any, at: Any, fingerprint: Any, mac: Any
    ) -> Installed:
        # A digest and a name become paths: only verified ones may.
        texts = all(isinstance(each, str) for each in (name, version, digest, key_id))
        if not (texts and isinstance(at, int) and _NAME.fullmatch(name) and _DIGEST.fullmatch(digest)):
            raise corrupt(self._path, f"the row of package {name!r} is none")
        genuine = (
            isinstance(fingerprint, str)
            and isinstance(mac, bytes)
            and equal(mac, self._fingerprint_mac(digest, fingerprint))
        )
        return Installed(name, version, digest, key_id, _time(at), fingerprint if genuine else None)

    def put_package(self, rows: Transaction, package: SignedManifest, now: datetime) -> None:
        """Make *package* the active version of its name, and remember that it was seen."""
        manifest = package.manifest
        rows.run(
            "INSERT OR REPLACE INTO packages (name, version, digest, key_id, installed_at) "
            "VALUES (?, ?, ?, ?, ?)",
            manifest.name,
            manifest.version,
            package.digest,
            package.key_id,
            _stamp(now),
        )
        rows.run(
            "INSERT OR IGNORE INTO versions (key_id, name, version, digest, seen_at) VALUES (?, ?, ?, ?, ?)",
            package.key_id,
            manifest.name,
            manifest.version,
            package.digest,
            _stamp(now),
        )
        rows.changed()

    def remove_package(self, rows: Transaction, name: str) -> None:
        """Delete the row of the installed package *name*; the record of its seen version stays."""
        rows.run("DELETE FROM packages WHERE name = ?", name)
        rows.changed()

    def note_fingerprint(self, rows: Transaction, digest: str, fingerprint: str) -> None:
        """Store the fingerprint that the files of an installed package had when all were last hashed."""
        rows.run(
            "UPDATE packages SET fingerprint = ?, fingerprint_mac = ? WHERE digest = ?",
            fingerprint,
            self._fingerprint_mac(digest, fingerprint),
            digest,
        )

    def _fingerprint_mac(self, digest: str, fingerprint: str) -> bytes:
        return keyed_hash(self._fingerprint_key, f"{digest}\n{fingerprint}".encode())


_PACKAGES: Final = (
    "SELECT name, version, digest, key_id, installed_at, fingerprint, fingerprint_mac FROM packages"
)


def _hint(name: str, known: Iterable[str], what: str) -> str:
    found = list(known)
    return nearest(name, found) if found else f"there is no {what} here yet"


def _stamp(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("a time without its zone cannot be stored")
    return int(moment.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
