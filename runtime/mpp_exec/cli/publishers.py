"""``publisher list|add|show|revoke|remove``: whom this home trusts."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import load_key, open_session
from mpp_exec.cli.parser import Verb, VerbParser

if TYPE_CHECKING:
    from mpp_exec.registry.records import Installed, Revocation
    from mpp_exec.trust.publishers import Publisher, Succession

_ORIGINS: Final = {
    "added": "added by you",
    "first-use": "trusted on first use",
    "own": "your own key",
}


def _document(publisher: Publisher, former: Iterable[Succession] = ()) -> dict[str, Any]:
    from mpp_exec.audit.entry import iso  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415

    return {
        "publisher": publisher.name,
        "public_key": format_public_key(publisher.key),
        "key_id": publisher.key_id,
        "origin": publisher.origin,
        "added_at": iso(publisher.added_at),
        "former": [
            {
                "public_key": format_public_key(each.old_key),
                "key_id": each.old_id,
                "issued": each.issued,
                "until": iso(each.taken_at),
                "statement": base64.b64encode(each.statement).decode(),
            }
            for each in former
        ],
    }


def _list_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec publisher list",)
    parser.flag("-q", "--quiet", help_text="names only")
    parser.flag("--revoked", help_text="list revoked keys and packages instead")
    parser.common()


def _list(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        if given.revoked:
            return _list_revoked(given, console, session.store.revocations())
        view = session.store.trust_view()
    publishers = list(view.publishers.values())
    former = {each.name: view.former_keys(each.name) for each in publishers}
    if given.json:
        console.json([_document(each, former[each.name]) for each in publishers])
    elif given.quiet:
        console.result(each.name for each in publishers)
    else:
        if not publishers:
            console.note("this home trusts nobody yet: mpp-exec publisher add NAME KEY")
        width = max((len(each.name) for each in publishers), default=0)
        for each in publishers:
            console.result([f"{each.name:<{width}}  {each.key_id}  {_ORIGINS[each.origin]}"])
            console.result(f"{'':<{width}}  {line}" for line in _former_lines(former[each.name]))
    return 0


def _former_lines(former: Iterable[Succession]) -> list[str]:
    return [f"{each.old_id}  former, until {each.taken_at:%Y-%m-%d}" for each in former]


def _list_revoked(given: argparse.Namespace, console: Console, revocations: list[Revocation]) -> int:
    from mpp_exec.audit.entry import iso  # noqa: PLC0415 -- not for --help

    if given.json:
        console.json([{"kind": each.kind, "id": each.id, "at": iso(each.at)} for each in revocations])
    elif given.quiet:
        console.result(each.id for each in revocations)
    else:
        words = {"key": "key    ", "digest": "package"}
        console.result(f"{words[each.kind]}  {each.id}  since {iso(each.at)}" for each in revocations)
    return 0


def _add_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Whoever holds that key can sign packages in that name. A name has one key; a second is refused.",
    )
    parser.examples = ("mpp-exec publisher add acme ed25519:4xTlS9kBFr…",)
    parser.positional("NAME", "the publisher's name")
    parser.positional("KEY", "the public key, as the publisher's mpp-exec publisher show prints it")
    parser.common()


def _add(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        publisher, added = publishers.add(session, given.name, given.key)
        others = session.store.trust_view().has_other_versions(publisher)
    if given.json:
        console.json({**_document(publisher), "added": added})
        return 0
    console.result([f"{'added' if added else 'known already'}: {publisher.name} {publisher.key_id}"])
    if others:
        console.note(
            f"versions of {publisher.name} were seen here under another key; they do not count for this one "
            f"until you take the statement that leads to it: mpp-exec publisher rotate FILE"
        )
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
        former: list[Succession] = []
        found = publishers.find(session, given.name)
        if found is None and given.name in session.keys.publishers():
            key = load_key(session.keys, given.name)
            document = {
                "publisher": given.name,
                "public_key": format_public_key(key.public_key),
                "key_id": key.key_id,
                "origin": None,
                "added_at": None,
                "former": [],
            }
        else:
            former = session.store.trust_view().former_keys(given.name)
            known = found if found is not None else publishers.required(session, given.name)
            document = _document(known, former)
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
            *(f"former      {line.replace('former, ', '')}" for line in _former_lines(former)),
        ]
    )
    return 0


def _revoke_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "For a key that somebody other than its publisher may have. Whatever it signed stops at once,",
        "running calls included, and cannot be installed again. The publisher is removed, and can be added",
        "with another key. With --package, only that one package is revoked, whoever signed it.",
    )
    parser.examples = (
        "mpp-exec publisher revoke acme",
        "mpp-exec publisher revoke --package sha256:876a8e28…",
    )
    parser.positional(
        "NAME|ID",
        "a publisher of this home, or the id of any key; with --package, a package",
        complete="publisher",
    )
    parser.flag("--package", help_text="one package only: its digest, or its name where it is installed")
    parser.flag("--lift", help_text="undo an earlier revocation")
    parser.common()


def _revoke(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import publishers  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        what = publishers.Revoking.of(session, given.name, package=given.package)
        new = False
        stopped: list[Installed] = []
        if given.lift:
            publishers.lift(session, what)
        else:
            new, stopped = publishers.revoke(session, what)
    names = [each.name for each in stopped]
    if given.json:
        document = {"kind": what.kind, "id": what.id, "publisher": what.publisher or None}
        console.json({**document, "revoked": not given.lift, "new": new, "stopped": names})
        return 0
    thing = "key" if what.kind == "key" else "package"
    done = "lifted" if given.lift else "revoked" if new else "revoked already:"
    console.result([f"{done} {thing} {what.id}"])
    if names:
        console.note(f"these do not run any more: {', '.join(names)}")
    if not given.lift and what.former:
        console.note(
            f"it is a former key of {what.publisher}; if others had it before it was replaced, the key that "
            f"followed it is theirs, too: mpp-exec publisher revoke {what.publisher}"
        )
    if given.lift and what.kind == "key" and not what.former:
        console.note("whose key it is, has to be added again: mpp-exec publisher add NAME KEY")
    return 0


def _remove_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Its packages stay installed, and stop running at once. The highest versions seen are remembered.",
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
    "publisher revoke": Verb(_revoke_arguments, _revoke),
    "publisher remove": Verb(_remove_arguments, _remove),
}
