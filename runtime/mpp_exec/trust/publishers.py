"""Publishers: names bound to keys, and what a home believes about them, as values.

A public key is written ``ed25519:`` and 43 characters of unpadded base64url (RFC 4648 §5). When it
is typed, the prefix may be missing and the key may also be 64 hex digits; it is shown only in the
one form.

State is kept elsewhere (``registry.store``). Verification receives a :class:`TrustView`, so that it is a
function of its arguments. A publisher has one key at a time. A :class:`Rotation` that was accepted replaces
the key for good. The former key still speaks for packages that it had signed and that had been seen here by
then, and for nothing else. A rotation of a key that is older than the keys known here only takes rights away:
that key speaks for nothing, and the versions seen of it count.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Final, Literal

from mpp_exec.errors import UsageError
from mpp_exec.patterns import lazily
from mpp_exec.trust.keys import is_valid_public_key, key_id

Origin = Literal["added", "first-use", "own"]
"""How a key came to be trusted: typed in, accepted with a first package, or made here."""

_PREFIX: Final = "ed25519:"
_HEX: Final = lazily(r"[0-9a-fA-F]{64}")
_BASE64URL: Final = lazily(r"[A-Za-z0-9_-]{43}=?")
_KEY_ID: Final = lazily(r"sha256:[0-9a-f]{64}")

PUBLISHER_NAME: Final = lazily(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""What a publisher may be called."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """A name and the one key that speaks for it. ``key`` is raw, 32 bytes; ``added_at`` is UTC."""

    name: str
    key: bytes
    added_at: datetime
    origin: Origin

    @property
    def key_id(self) -> str:
        """The digest of the key."""
        return key_id(self.key)


@dataclass(frozen=True, slots=True)
class Rotation:
    """States that *new_key* follows *old_key* as the key of *publisher*; raw keys, *issued* is YYYY-MM-DD."""

    publisher: str
    old_key: bytes
    new_key: bytes
    issued: str

    @property
    def old_id(self) -> str:
        """The id of the key that is replaced."""
        return key_id(self.old_key)

    @property
    def new_id(self) -> str:
        """The id of the key that takes its place."""
        return key_id(self.new_key)


@dataclass(frozen=True, slots=True)
class Succession(Rotation):
    """A rotation that a home accepted. *taken_at* is UTC, *statement* the signed bytes (:mod:`.rotation`).

    *speaks* says whether packages that the old key had signed, and that had been seen here by then, still
    run.
    """

    taken_at: datetime
    statement: bytes = field(repr=False)
    speaks: bool = True


@dataclass(frozen=True, slots=True)
class TrustView:
    """Everything verification needs to know about a home.

    Attributes:
        publishers: the publishers that the home trusts, by name.
        rotations: every rotation that was accepted here. They outlive the removal of the publisher.
        revoked_keys: ids of keys that no longer count for anything.
        revoked_digests: package digests that are refused, whoever signed them.
        seen: for each key id and package name, every version that was ever installed and its package
            digest. It outlives uninstalling and the removal of the publisher.
        allow_downgrade: accept a version below the highest one seen.
        trust_first_use: accept a publisher that is not in ``publishers``: any (True), or only with
            the key of this id. It never replaces an existing key.
        installed: the package to verify is installed: a former key counts for packages seen of it.
    """

    publishers: Mapping[str, Publisher] = field(default_factory=dict)
    rotations: tuple[Succession, ...] = ()
    revoked_keys: frozenset[str] = frozenset()
    revoked_digests: frozenset[str] = frozenset()
    seen: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    allow_downgrade: bool = False
    trust_first_use: str | bool = False
    installed: bool = False

    def key_of(self, kid: str) -> bytes | None:
        """Return the trusted key with the id *kid*, or None; for installed packages also a former key."""
        for known in self.publishers.values():
            if known.key_id == kid:
                return known.key
            for former in self._speaking(known.name, known.key) if self.installed else ():
                if former.old_id == kid:
                    return former.old_key
        return None

    def former_keys(self, publisher: str) -> list[Succession]:
        """Return the rotations that led *publisher* to the trusted key, the last rotation first."""
        known = self.publishers.get(publisher)
        return [] if known is None else self._line(publisher, known.key)

    def last_key(self, publisher: str, key: bytes) -> bytes:
        """Return the last key of *publisher* in the line that follows *key* here, *key* if none follows."""
        by_old = {each.old_key: each for each in self.rotations if each.publisher == publisher}
        while (step := by_old.pop(key, None)) is not None:  # taken out: no ring is walked for ever
            key = step.new_key
        return key

    def successor(self, publisher: str, kid: str) -> Succession | None:
        """Return the rotation that replaced the key *kid* of *publisher* here, None if there is none."""
        return next(
            (each for each in self.rotations if each.publisher == publisher and each.old_id == kid), None
        )

    def is_succeeded(self, package: str, old: str, key: bytes) -> bool:
        """Return whether *key* followed the key with the id *old* as key of the publisher of *package*."""
        return any(each.old_id == old for each in self._speaking(package.partition("/")[0], key))

    def speaks_for(self, kid: str, package: str, digest: str) -> bool:
        """Return whether *kid* is its publisher's key, or a former key with which this package was seen."""
        publisher = package.partition("/")[0]
        known = self.publishers.get(publisher)
        if known is None or known.key_id == kid:
            return known is not None
        former = any(each.old_id == kid for each in self._speaking(publisher, known.key))
        return former and digest in self.seen.get((kid, package), {}).values()

    def versions_seen(self, key: bytes, package: str) -> list[tuple[str, str]]:
        """Return each version of *package* seen of *key* and of the keys that it followed, with digests."""
        ids = [key_id(key), *(each.old_id for each in self._line(package.partition("/")[0], key))]
        return [found for kid in ids for found in self.seen.get((kid, package), {}).items()]

    def has_other_versions(self, publisher: Publisher) -> bool:
        """Return whether versions were seen under the name of *publisher* that its key does not continue."""
        ids = {publisher.key_id, *(each.old_id for each in self._line(publisher.name, publisher.key))}
        return any(kid not in ids and package.startswith(f"{publisher.name}/") for kid, package in self.seen)

    def distrust(self, kid: str, package: str, digest: str) -> str:
        """Return why the installed *package* must not run, in words, "" if it is trusted."""
        if digest in self.revoked_digests:
            return "it was revoked"
        if kid in self.revoked_keys:
            return "its key was revoked"
        return "" if self.speaks_for(kid, package, digest) else "its publisher is not trusted"

    def _speaking(self, publisher: str, key: bytes) -> list[Succession]:
        """Return those rotations that led to *key* by which former keys speak for packages seen of them."""
        return list(takewhile(lambda each: each.speaks, self._line(publisher, key)))

    def _line(self, publisher: str, key: bytes) -> list[Succession]:
        """Return the rotations that led to *key* as the key of *publisher*, the last first."""
        by_new = {each.new_key: each for each in self.rotations if each.publisher == publisher}
        line: list[Succession] = []
        while (step := by_new.pop(key, None)) is not None:  # taken out: no ring is walked for ever
            line.append(step)
            key = step.old_key
        return line


def format_public_key(key: bytes) -> str:
    """Return the canonical text of a raw public key."""
    return _PREFIX + base64.urlsafe_b64encode(key).decode().rstrip("=")


def parse_public_key(text: str) -> bytes:
    """Return the raw public key that was typed.

    Raises:
        UsageError: ``trust.bad_key``, also for a key that no honest key pair can have.
    """
    bare = text.strip().removeprefix(_PREFIX)
    if _HEX.fullmatch(bare):
        key = bytes.fromhex(bare)
    elif _BASE64URL.fullmatch(bare):
        key = base64.urlsafe_b64decode(bare[:43] + "=")
        if format_public_key(key) != _PREFIX + bare[:43]:
            raise _bad_key(text, "its last character is wrong")
    else:
        raise _bad_key(text, "it is neither 43 characters of base64url nor 64 hex digits")
    if not is_valid_public_key(key):
        raise _bad_key(text, "it is not a valid Ed25519 point")
    return key


def parse_key_id(text: str) -> str:
    """Return the key id that was typed, ``sha256:`` and 64 hex digits, in lower case.

    Raises:
        UsageError: ``trust.bad_key_id``.
    """
    lowered = text.strip().lower()
    if _KEY_ID.fullmatch(lowered):
        return lowered
    raise UsageError(
        "trust.bad_key_id",
        f"{text!r} is not a key id",
        "a key id is sha256: and 64 hex digits; the publisher can tell you theirs",
    )


def _bad_key(text: str, what: str) -> UsageError:
    return UsageError(
        "trust.bad_key",
        f"{text!r} is not a public key: {what}",
        f"a public key looks like {_PREFIX}4xTlS9kBFr…; `mpp-exec publisher show NAME` prints it",
    )


__all__ = [
    "PUBLISHER_NAME",
    "Origin",
    "Publisher",
    "Rotation",
    "Succession",
    "TrustView",
    "format_public_key",
    "parse_key_id",
    "parse_public_key",
]
