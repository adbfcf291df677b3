"""A publisher's statement that a new key speaks for them from now on: signed by the old key, and by the new.

::

    COSE_Sign1 of the new key, "application/mpp-rotation+cose", over
        COSE_Sign1 of the old key, "application/mpp-rotation+cbor", over
            {"rotation_version": 1, "publisher": …, "old_key": …, "new_key": …, "issued": "YYYY-MM-DD"}

The old key says which key follows it. The new key says that its holder agrees. So nobody can have somebody
else's key speak for them. There is one statement for two keys, a name and a day: the same inputs give the
same bytes (``docs/rotation.cddl``). A statement does not expire. The day is for people, and no check
compares it with a clock. A statement is bounded by the key that it replaces: it counts where this key is the
key of its publisher, and it does not count there a second time.

A key has one successor, and is not a successor of its own successors: the keys of a publisher form a line.
If the known key was typed in, the line is read backwards: the statement that leads to that key, then the one
that leads to the key before it, and so on. Of these statements, only the first is signed by the known key.
The others are signed by keys that no longer count, and that anybody may have by now. So they only take rights
away. The key that such a statement names is a former one, and the versions seen of it count. Nothing that it
signed runs.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

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

Effect = Literal["", "follows", "leads", "bars"]
"""What taking a statement does: nothing, it was taken already; the new key follows the known one; it leads to
the known key, so that the old one is known as a former key; or that, and nothing is given to the old key."""


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

    Anybody can sign that one of their keys follows another of their keys: the caller MUST :func:`check` it.

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


def check(rotation: Rotation, view: TrustView) -> Effect:
    """Return the effect in a home of *rotation*, which :func:`read` returned; "" if it was already accepted.

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
    following = view.successor(name, rotation.old_id)
    if following is not None and following.new_key == rotation.new_key:
        return ""
    last = key_id(view.last_key(name, rotation.old_key))
    if following is not None and last not in view.revoked_keys:
        raise PackageError(
            "rotation.fork",
            f"the key {rotation.old_id} of {name} was replaced by {following.new_id} here, "
            f"and this statement replaces it by {rotation.new_id}",
            f"one of the two is not {name}'s: ask them which; if it is not the one that was taken here: "
            f"mpp-exec publisher revoke {name if last == known.key_id else last}",
        )
    if known.key == rotation.old_key:
        _check_new(rotation, view)
        return "follows"
    line = view.former_keys(name)
    if rotation.new_key == (line[-1].old_key if line else known.key):
        return "bars" if line or following is not None else "leads"
    before = next((each for each in line if each.new_key == rotation.new_key), None)
    if before is not None:
        raise PackageError(
            "rotation.fork",
            f"the key {rotation.new_id} of {name} followed {before.old_id} here, "
            f"and in this statement it follows {rotation.old_id}",
            f"a key follows one other, and this statement changes nothing; tell {name} of it",
        )
    raise PackageError(
        "rotation.key_mismatch",
        f"publisher {name} is known here with key {known.key_id}, "
        f"and the statement replaces {rotation.old_id}",
        "statements are taken one after the other: the one that replaces the key that is known here; or, "
        "where that key was added by hand, the one that leads to it, and then the one before",
    )


def _check_new(rotation: Rotation, view: TrustView) -> None:
    """Refuse a key that cannot follow the known key: it was used before, or belongs to somebody else."""
    name, new = rotation.publisher, rotation.new_key
    if any(new in (each.old_key, each.new_key) for each in view.rotations if each.publisher == name):
        raise PackageError(
            "rotation.former_key",
            f"the statement goes back to {rotation.new_id}, a former key of {name}",
            f"a key that was replaced does not return; ask {name} for another one",
        )
    owner = next((each.name for each in view.publishers.values() if each.key == new), "")
    if owner:
        raise PackageError(
            "rotation.key_in_use",
            f"the new key {rotation.new_id} is the key of publisher {owner} here",
            f"a new key is nobody's yet; ask {name} for another one",
        )


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
