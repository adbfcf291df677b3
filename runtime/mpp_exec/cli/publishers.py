"""``publisher list|add|show|remove``: whom this home trusts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import load_key, open_session
from mpp_exec.cli.parser import Verb, VerbParser

if TYPE_CHECKING:
    from mpp_exec.trust.publishers import Publisher

_ORIGINS: Final = {
    "added": "added by you",
    "first-use": "trusted on first use",
    "own": "your own key",
}


def _document(publisher: Publisher) -> dict[str, Any]:
    from mpp_exec.audit.entry import iso  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415

    return {
        "publisher": publisher.name,
        "public_key": format_public_key(publisher.key),
        "key_id": publisher.key_id,
        "origin": publisher.origin,
        "added_at": iso(publisher.added_at),
    }


def _list_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec publisher list",)
    parser.flag("-q", "--quiet", help_text="names only")
    parser.common()


def _list(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        publishers = session.store.publishers()
    if given.json:
        console.json([_document(each) for each in publishers])
    elif given.quiet:
        console.result(each.name for each in publishers)
    else:
        if not publishers:
            console.note("this home trusts nobody yet: mpp-exec publisher add NAME KEY")
        width = max((len(each.name) for each in publishers), default=0)
        console.result(f"{each.name:<{width}}  {each.key_id}  {_ORIGINS[each.origin]}" for each in publishers)
    return 0


def _add_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Whoever has that key can sign packages in that name. A name has one key: another one is refused.",
    )
    parser.examples = ("mpp-exec publisher add acme ed25519:4xTlS9kBFr…",)
    parser.positional("NAME", "the publisher's name")
    parser.positional("KEY", "the public key, as the publisher's mpp-exec publisher show prints it")
    parser.common()


def _add(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        publisher, added = publishers.add(session, given.name, given.key)
    if given.json:
        console.json({**_document(publisher), "added": added})
        return 0
    console.result([f"{'added' if added else 'known already'}: {publisher.name} {publisher.key_id}"])
    return 0


def _show_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec publisher show acme",)
    parser.positional(
        "NAME", "a publisher of this home, or one whose private key is here", complete="publisher"
    )
    parser.common()


def _show(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415

    with open_session(given) as session:
        found = publishers.find(session, given.name)
        if found is None and given.name in session.keys.publishers():
            key = load_key(session.keys, given.name)
            document = {
                "publisher": given.name,
                "public_key": format_public_key(key.public_key),
                "key_id": key.key_id,
                "origin": None,
                "added_at": None,
            }
        else:
            document = _document(found if found is not None else publishers.required(session, given.name))
    if given.json:
        console.json(document)
        return 0
    origin = _ORIGINS.get(str(document["origin"]), "not trusted here, though its private key is here")
    console.result(
        [
            f"publisher   {document['publisher']}",
            f"public key  {document['public_key']}",
            f"key id      {document['key_id']}",
            f"trust       {origin}",
        ]
    )
    return 0


def _remove_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Its packages stop running at once and stay installed. Which versions were seen is not forgotten.",
    )
    parser.examples = ("mpp-exec publisher remove acme",)
    parser.positional("NAME", "a publisher of this home", complete="publisher")
    parser.common()


def _remove(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        publisher, stopped = publishers.remove(session, given.name)
    names = [each.name for each in stopped]
    if given.json:
        console.json({**_document(publisher), "stopped": names})
        return 0
    console.result([f"removed {publisher.name} {publisher.key_id}"])
    if names:
        console.note(f"these do not run any more: {', '.join(names)}")
    return 0


VERBS: Final = {
    "publisher list": Verb(_list_arguments, _list),
    "publisher add": Verb(_add_arguments, _add),
    "publisher show": Verb(_show_arguments, _show),
    "publisher remove": Verb(_remove_arguments, _remove),
}
