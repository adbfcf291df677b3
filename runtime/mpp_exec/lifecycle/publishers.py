"""Whom a home trusts: keys made here, keys typed in, and how either goes."""

from __future__ import annotations

from dataclasses import dataclass

from mpp_exec.audit.entry import Kind
from mpp_exec.errors import ConsentError, MppError, UsageError
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.fields import nearest
from mpp_exec.registry.records import Installed, Revocation, Revoked
from mpp_exec.trust.publishers import PUBLISHER_NAME, Publisher, parse_key_id, parse_public_key


def keygen(session: Session, publisher: str, passphrase: str | None) -> Publisher:
    """Make a key pair for *publisher*, keep it, and trust it here.

    Raises:
        UsageError: ``key.bad_publisher``, ``key.exists``, ``key.empty_passphrase``.
        ConsentError: ``publisher.key_changed``: the name is somebody's here.
        InternalError: ``key.io``, ``store.*``, ``ledger.*``.
    """
    check_name(publisher)
    known = find(session, publisher)
    if known is not None and publisher not in session.keys.publishers():
        raise ConsentError(
            "publisher.key_changed",
            f"publisher {publisher} is known here with key {known.key_id}, whose private part is elsewhere",
            "choose another name; a new key would not sign for that publisher",
        )
    key = session.keys.create(publisher, passphrase)
    made = Publisher(publisher, key.public_key, session.clock(), "own")
    detail = {"publisher": publisher, "key": made.key_id, "encrypted": passphrase is not None}
    try:
        session.store.add_publisher(made, record=lambda: session.record(Kind.KEYGEN, detail=detail))
    except MppError:  # a key that is not trusted here would only be in the way of the next attempt
        session.keys.discard(publisher, key)
        raise
    return made


def add(session: Session, name: str, key: str) -> tuple[Publisher, bool]:
    """Trust the *key* that was typed for publisher *name*; False beside it if that was so already.

    Raises:
        UsageError: ``key.bad_publisher``, ``trust.bad_key``.
        ConsentError: ``publisher.key_changed``.
    """
    check_name(name)
    publisher = Publisher(name, parse_public_key(key), session.clock(), "added")
    detail = {"publisher": name, "key": publisher.key_id, "origin": "added"}
    added = session.store.add_publisher(
        publisher, record=lambda: session.record(Kind.PUBLISHER_ADD, detail=detail)
    )
    return find(session, name) or publisher, added


def remove(session: Session, name: str) -> tuple[Publisher, list[Installed]]:
    """Trust publisher *name* no longer; return it, and its packages, which stop running.

    Raises:
        UsageError: ``publisher.unknown``.
    """
    known = required(session, name)
    detail = {"publisher": name, "key": known.key_id}
    session.store.remove_publisher(name, record=lambda: session.record(Kind.PUBLISHER_REMOVE, detail=detail))
    stopped = [each for each in session.store.installed() if each.name.partition("/")[0] == name]
    return known, stopped


@dataclass(frozen=True, slots=True)
class Revoking:
    """What is to count for nothing any more, or again.

    Attributes:
        kind: whether *id* is the id of a key, or the digest of a package.
        publisher: whose key it is, as far as this home knows; "" else.
        former: whether another key has replaced it.
    """

    kind: Revoked
    id: str
    publisher: str = ""
    former: bool = False

    @classmethod
    def of(cls, session: Session, word: str, *, package: bool) -> Revoking:
        """Read what was typed: a publisher or the id of a key; or a *package*, by its digest or its name.

        Raises:
            UsageError: ``publisher.unknown``, ``trust.bad_key_id``, ``store.not_installed``.
        """
        if package:
            return cls("digest", parse_key_id(word) if ":" in word else session.store.package(word).digest)
        if ":" not in word:
            known = required(session, word)
            return cls("key", known.key_id, known.name)
        id_ = parse_key_id(word)
        view = session.store.trust_view()
        names = [each.name for each in view.publishers.values() if each.key_id == id_]
        former = [name for name in view.publishers for each in view.former_keys(name) if each.old_id == id_]
        return cls("key", id_, next(iter([*names, *former]), ""), former=bool(former and not names))

    def detail(self) -> dict[str, str]:
        """Return what the ledger is told."""
        return {self.kind: self.id, **({"publisher": self.publisher} if self.publisher else {})}


def revoke(session: Session, what: Revoking) -> tuple[bool, list[Installed]]:
    """Have *what* count for nothing any more. Return whether that is new, and the packages it stops."""
    stood = {each.installed.name for each in session.standings() if not each.distrusted}
    revocation = Revocation(what.kind, what.id, session.clock())
    new = session.store.add_revocation(
        revocation, record=lambda: session.record(Kind.PUBLISHER_REVOKE, detail=what.detail())
    )
    standings = [each for each in session.standings() if each.distrusted]
    named = {each.installed.name for each in standings if what.id in _ids(each.installed)}
    return new, [each.installed for each in standings if each.installed.name in stood | named]


def _ids(installed: Installed) -> tuple[str, str]:
    return installed.key_id, installed.digest


def lift(session: Session, what: Revoking) -> None:
    """Take the revocation of *what* back. A publisher has to be added again.

    Raises:
        UsageError: ``publisher.not_revoked``.
    """
    if not session.store.remove_revocation(
        what.kind, what.id, record=lambda: session.record(Kind.PUBLISHER_LIFT, detail=what.detail())
    ):
        raise UsageError(
            "publisher.not_revoked",
            f"{what.id} was not revoked",
            "mpp-exec publisher list --revoked shows what was",
        )


def find(session: Session, name: str) -> Publisher | None:
    """Return the publisher *name* of this home, None if it knows none."""
    return next((each for each in session.store.publishers() if each.name == name), None)


def required(session: Session, name: str) -> Publisher:
    """Return the publisher *name* of this home.

    Raises:
        UsageError: ``publisher.unknown``.
    """
    known = find(session, name)
    if known is None:
        names = [each.name for each in session.store.publishers()]
        hint = nearest(name, names) if names else "there is no publisher here yet"
        raise UsageError("publisher.unknown", f"there is no publisher {name!r}", hint)
    return known


def check_name(name: str) -> None:
    """Refuse what cannot be a publisher's name.

    Raises:
        UsageError: ``key.bad_publisher``.
    """
    if PUBLISHER_NAME.fullmatch(name) is None:
        raise UsageError(
            "key.bad_publisher",
            f"{name!r} is not a publisher name",
            "a publisher is up to 63 of a-z, 0-9 and '-', beginning with a letter or digit",
        )
