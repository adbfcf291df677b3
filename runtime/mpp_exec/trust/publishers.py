"""Publishers: names bound to keys, and what a home believes about them, as values.

A public key is written ``ed25519:`` and 43 characters of unpadded base64url (RFC 4648 §5). When it
is typed, the prefix may be missing and the key may also be 64 hex digits; it is shown only in the
one form.

State is kept elsewhere (``registry.store``). Verification is given a :class:`TrustView`, so that it
is a function of its arguments. A publisher has one key at a time: rotation will replace
:class:`Publisher` by a newer one, and :attr:`TrustView.revoked_keys` already has room for the old.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from mpp_exec.errors import UsageError
from mpp_exec.trust.keys import is_valid_public_key, key_id

Origin = Literal["added", "first-use", "own"]
"""How a key came to be trusted: typed in, accepted with a first package, or made here."""

_PREFIX: Final = "ed25519:"
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")
_KEY_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")


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
class TrustView:
    """Everything verification needs to know about a home.

    Attributes:
        publishers: whom the home trusts, by name.
        revoked_keys: key ids that count for nothing any more.
        revoked_digests: package digests that are refused whoever signed them.
        seen: for each key id and package name, every version that was ever installed and its package
            digest. It outlives uninstalling and removing the publisher.
        allow_downgrade: accept a version below the highest one seen.
        trust_first_use: accept a publisher that is not in ``publishers``: any (True), or only with
            the key of this id. It never replaces a key that is there.
    """

    publishers: Mapping[str, Publisher] = field(default_factory=dict)
    revoked_keys: frozenset[str] = frozenset()
    revoked_digests: frozenset[str] = frozenset()
    seen: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    allow_downgrade: bool = False
    trust_first_use: str | bool = False

    def key_of(self, kid: str) -> bytes | None:
        """Return the trusted key that has the id *kid*, or None."""
        return next((known.key for known in self.publishers.values() if known.key_id == kid), None)


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
        raise _bad_key(text, "it is no point that Ed25519 keys are made of")
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
        f"{text!r} is no key id",
        "a key id is sha256: and 64 hex digits; the publisher can tell you theirs",
    )


def _bad_key(text: str, what: str) -> UsageError:
    return UsageError(
        "trust.bad_key",
        f"{text!r} is no public key: {what}",
        f"a public key looks like {_PREFIX}4xTlS9kBFr…; `mpp-exec publisher show NAME` prints it",
    )


__all__ = [
    "Origin",
    "Publisher",
    "TrustView",
    "format_public_key",
    "parse_key_id",
    "parse_public_key",
]
