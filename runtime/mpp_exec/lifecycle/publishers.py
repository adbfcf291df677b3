"""Whom a home trusts: keys made here, keys typed in, and how either goes."""

from __future__ import annotations

import re
from typing import Final

from mpp_exec.audit.entry import Kind
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.lifecycle.session import Session
from mpp_exec.package.fields import nearest
from mpp_exec.registry.records import Installed
from mpp_exec.trust.publishers import Publisher, parse_public_key

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


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
    session.store.add_publisher(made, record=lambda: session.record(Kind.KEYGEN, detail=detail))
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
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            "key.bad_publisher",
            f"{name!r} is no publisher name",
            "a publisher is up to 63 of a-z, 0-9 and '-', beginning with a letter or digit",
        )
