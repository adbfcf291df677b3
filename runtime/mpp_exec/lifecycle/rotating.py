"""How a publisher's key is replaced by another: made and stated where the old one is, taken everywhere else.

In the publisher's own home the new key is made as one that waits, the home takes the statement like any
other, the statement is written, and only then the new private key is put in the place of the old. A crash in
between leaves the key that waits, and the next attempt goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpp_exec.audit.entry import Kind
from mpp_exec.errors import UsageError
from mpp_exec.lifecycle.publishers import required
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.output import place_of, replacing
from mpp_exec.registry.records import Installed
from mpp_exec.trust import rotation
from mpp_exec.trust.keys import SigningKey, key_id
from mpp_exec.trust.publishers import Rotation
from mpp_exec.trust.rotation import Effect

Unlock = Callable[[str, Callable[[str, str | None], SigningKey]], SigningKey]
"""Loads a private key of a publisher by the given function, asking for its passphrase where it has one."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of a publisher's own key: *statement* is for others, *former* the old private key.

    *encrypted* says of the new private key whether it needs a passphrase.
    """

    rotation: Rotation
    statement: Path
    former: Path
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A statement that may be taken here.

    Attributes:
        rotation, statement: what it says, and its bytes.
        effect: what taking it does.
        key: the publisher's key once it is taken, raw.
        packages: installed ones that are signed with the key that it replaces.
    """

    rotation: Rotation
    statement: bytes
    effect: Effect
    key: bytes
    packages: list[Installed]


def rotate_own(
    session: Session,
    publisher: str,
    output: str | None,
    *,
    unlock: Unlock,
    new_passphrase: Callable[[], str | None],
) -> Rotated:
    """Replace the key of *publisher*, whose private part is here, and write the statement for others.

    *new_passphrase* returns that of the new key, None for a plain one; it is not asked where a new key
    waits already. *output* is a file or a folder, None for here.

    Raises:
        UsageError: ``publisher.unknown``, ``key.not_found``, ``key.replaced``, ``build.bad_output``.
        ConsentError, PackageError, InternalError: ``key.*``, ``rotation.*``, ``store.*``, ``ledger.*``.
    """
    known = required(session, publisher)
    if publisher not in session.keys.publishers():
        raise UsageError(
            "key.not_found",
            f"there is no private key of publisher {publisher} in {session.keys.path}",
            "whoever has it makes the new one; here it takes their rotation statement: "
            "mpp-exec publisher rotate FILE",
        )
    waiting = session.keys.next_id(publisher)
    if waiting == known.key_id and session.store.trust_view().former_keys(publisher):  # taken already
        return _finished(session, publisher, output)
    old = unlock(publisher, session.keys.load)
    if known.key_id not in {old.key_id, waiting}:
        raise UsageError(
            "key.replaced",
            f"publisher {publisher} is known here with key {known.key_id}, "
            f"and the private key is {old.key_id}",
            "put the private key that is in use into the home; a former one signs nothing that others accept",
        )
    if waiting is None:
        new = session.keys.create_next(publisher, new_passphrase())
    else:
        new = unlock(publisher, session.keys.load_next)
    statement = rotation.sign(publisher, old, new, session.clock().date())
    written = rotation.read(statement)
    path = _write(written, statement, output, lambda: _take(session, written, statement, "own"))
    former = session.keys.promote_next(publisher, old.key_id)
    return Rotated(written, path, former, encrypted=session.keys.is_encrypted(publisher))


def _finished(session: Session, publisher: str, output: str | None) -> Rotated:
    last = session.store.trust_view().former_keys(publisher)[0]
    path = _write(last, last.statement, output)
    former = session.keys.promote_next(publisher, last.old_id)
    return Rotated(last, path, former, encrypted=session.keys.is_encrypted(publisher))


def _write(
    what: Rotation, statement: bytes, output: str | None, agreed: Callable[[], object] = lambda: None
) -> Path:
    """Write *statement* for others, once *agreed* returns: one that this home refuses is given to nobody."""
    path = place_of(output, f"{what.publisher}-{what.new_id.removeprefix('sha256:')[:8]}.rotation")
    with replacing(path) as descriptor:
        with open(descriptor, "wb", closefd=False) as file:  # os.write may write a part of it
            file.write(statement)
        agreed()
    return path


def offered(session: Session, statement: bytes) -> Offer:
    """Read *statement*, and check whether it counts here. Nothing is changed.

    Raises:
        PackageError, ConsentError: ``rotation.*``, or ``policy.publisher``: the new key would be of no use.
    """
    what = rotation.read(statement)
    view = session.store.trust_view()
    effect = rotation.check(what, view)
    if effect in ("follows", "leads"):
        session.policies.load().require_publisher(what.publisher, what.new_id)
    key = what.new_key if effect == "follows" else view.publishers[what.publisher].key
    packages = [
        each
        for each in session.store.installed()
        if (each.name.partition("/")[0], each.key_id) == (what.publisher, what.old_id)
    ]
    return Offer(what, statement, effect, key, packages)


def take(session: Session, offer: Offer) -> bool:
    """Have the statement do what a person agreed to; False if that was so already.

    Raises:
        PackageError, ConsentError: what has changed since it was shown.
    """
    return _take(session, offer.rotation, offer.statement, "statement", offer)


def _take(
    session: Session, what: Rotation, statement: bytes, origin: str, agreed: Offer | None = None
) -> bool:
    detail = {
        "publisher": what.publisher,
        "key": what.new_id,
        "former": what.old_id,
        "issued": what.issued,
        "origin": origin,
    }
    if agreed is not None and agreed.effect == "bars":  # the key stays what it was
        detail |= {"key": key_id(agreed.key), "successor": what.new_id, "effect": agreed.effect}
    return session.store.rotate_publisher(
        what,
        statement,
        session.clock(),
        record=lambda: session.record(Kind.PUBLISHER_ROTATE, detail=detail),
        agreed=agreed.effect if agreed is not None else None,
    )


def require_current(session: Session, publisher: str, key: SigningKey) -> None:
    """Refuse to sign with a private key that another has replaced: nobody takes what it signs.

    Raises:
        UsageError: ``key.replaced``.
    """
    following = session.store.trust_view().successor(publisher, key.key_id)
    if following is not None:
        raise UsageError(
            "key.replaced",
            f"the private key of {publisher} in {session.keys.path} is a former one: "
            f"{following.new_id} replaced it",
            "put the private key that is in use there",
        )
