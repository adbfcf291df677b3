"""A publisher's statement that a new key speaks for them from now on: signed by the old key, and by the new.

::

    COSE_Sign1 of the new key, "application/mpp-rotation+cose", over
        COSE_Sign1 of the old key, "application/mpp-rotation+cbor", over
            {"rotation_version": 1, "publisher": …, "old_key": …, "new_key": …, "issued": "YYYY-MM-DD"}

The old key says who follows it; the new key, that its holder agrees: so nobody can have a key of
somebody else's speak for them. There is one statement for two keys, a name and a day: the same bytes
again (``docs/rotation.cddl``). It does not expire. The day is for people, and no check looks at a
clock. What bounds a statement is the key that it replaces: it counts where that is the key of its
publisher, and nowhere a second time.

A key has one successor, and is no successor of its own successors: the keys of a publisher are a line.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import ConsentError, PackageError
from mpp_exec.trust import cose
from mpp_exec.trust.keys import SigningKey, is_valid_public_key, key_id
from mpp_exec.trust.publishers import PUBLISHER_NAME, Rotation, TrustView

MAX_STATEMENT: Final = 1024
"""Bytes of a statement; the longest has 611."""

STATEMENT_TYPE: Final = "application/mpp-rotation+cbor"
AGREED_TYPE: Final = "application/mpp-rotation+cose"

_VERSION: Final = 1


def sign(publisher: str, old: SigningKey, new: SigningKey, issued: date) -> bytes:
    """Return the statement that *new* follows *old* for *publisher*, signed by both."""
    value = {
        "rotation_version": _VERSION,
        "publisher": publisher,
        "old_key": old.public_key,
        "new_key": new.public_key,
        "issued": issued.isoformat(),
    }
    return cose.sign(cose.sign(dumps(value), old, STATEMENT_TYPE), new, AGREED_TYPE)


def read(data: bytes) -> Rotation:
    """Read a statement, and check that both keys in it have signed it.

    Anybody can sign that a key of theirs follows another of theirs: the caller MUST :func:`check` it.

    Raises:
        PackageError: ``rotation.malformed``, ``rotation.bad_signature``.
    """
    try:
        agreed = cose.decode(data, AGREED_TYPE, max_size=MAX_STATEMENT)
        stated = cose.decode(agreed.payload, STATEMENT_TYPE, max_size=MAX_STATEMENT)
        value = loads(stated.payload, max_size=MAX_STATEMENT, max_depth=1)
    except PackageError as error:
        raise _malformed(error.message) from None
    rotation = _from_value(value)
    for envelope, key, which in ((stated, rotation.old_key, "old"), (agreed, rotation.new_key, "new")):
        if not envelope.is_signed_by(key):
            raise PackageError(
                "rotation.bad_signature",
                f"the rotation statement is not signed with the {which} key that it names, {key_id(key)}",
                "it was changed after it was signed, or never signed by that publisher; do not use it",
            )
    return rotation


def check(rotation: Rotation, view: TrustView) -> bool:
    """Check whether *rotation*, which was :func:`read`, counts in a home; False where it was taken already.

    Raises:
        ConsentError: ``rotation.unknown_publisher``.
        PackageError: ``rotation.revoked_key``, ``rotation.fork``, ``rotation.former_key``,
            ``rotation.key_mismatch``, ``rotation.key_in_use``.
    """
    name = rotation.publisher
    for key in (rotation.old_id, rotation.new_id):
        if key in view.revoked_keys:
            raise PackageError(
                "rotation.revoked_key",
                f"the key {key} of publisher {name} was revoked here, and counts for nothing",
                f"ask {name} for their key another way; if the revocation was a mistake: "
                f"mpp-exec publisher revoke --lift {key}",
            )
    known = view.publishers.get(name)
    if known is None:
        raise ConsentError(
            "rotation.unknown_publisher",
            f"publisher {name} is not known here, so there is no key to replace",
            "ask the publisher for their key, and add that: mpp-exec publisher add NAME KEY",
        )
    taken = [each for each in view.rotations if each.publisher == name]
    following = next((each for each in taken if each.old_key == rotation.old_key), None)
    if following is not None and following.new_key != rotation.new_key:
        raise PackageError(
            "rotation.fork",
            f"the key {rotation.old_id} of {name} was replaced by {following.new_id} here, "
            f"and this statement replaces it by {rotation.new_id}",
            f"one of the two is not {name}'s: ask them which; if it is not the one that is trusted here: "
            f"mpp-exec publisher revoke {name}",
        )
    if following is not None:
        return False
    there = any(rotation.new_key in (each.old_key, each.new_key) for each in taken)
    if known.key == rotation.new_key and not there:
        return True  # it was added, and nothing said so far that the old one is a former key
    if there and known.key != rotation.new_key:
        raise PackageError(
            "rotation.former_key",
            f"the statement goes back to {rotation.new_id}, a former key of {name}",
            f"a key that was replaced does not return; ask {name} for another one",
        )
    if known.key != rotation.old_key:
        raise PackageError(
            "rotation.key_mismatch",
            f"publisher {name} is known here with key {known.key_id}, "
            f"and the statement replaces {rotation.old_id}",
            "statements are taken one after the other: ask the publisher for the one that replaces the key "
            "that is known here",
        )
    owner = next((each.name for each in view.publishers.values() if each.key == rotation.new_key), "")
    if owner:
        raise PackageError(
            "rotation.key_in_use",
            f"the new key {rotation.new_id} is the key of publisher {owner} here",
            f"a new key is nobody's yet; ask {name} for another one",
        )
    return True


def _from_value(value: Any) -> Rotation:
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise _malformed("its fields are not those of a statement")
    if type(value["rotation_version"]) is not int or value["rotation_version"] != _VERSION:
        raise _malformed("it is of another version of mpp-exec")
    name, issued, old, new = (value[key] for key in ("publisher", "issued", "old_key", "new_key"))
    if not isinstance(name, str) or PUBLISHER_NAME.fullmatch(name) is None:
        raise _malformed("it names no publisher")
    if not isinstance(issued, str) or not _is_day(issued):
        raise _malformed("it is of no day")
    if not all(isinstance(key, bytes) and is_valid_public_key(key) for key in (old, new)) or old == new:
        raise _malformed("it does not name two keys")
    return Rotation(name, old, new, issued)


_FIELDS: Final = {"rotation_version", "publisher", "old_key", "new_key", "issued"}


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _malformed(what: str) -> PackageError:
    return PackageError(
        "rotation.malformed",
        f"this is not a rotation statement: {what}",
        "mpp-exec publisher rotate NAME, where the publisher's private key is, writes one",
    )
