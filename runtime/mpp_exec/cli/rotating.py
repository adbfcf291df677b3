"""``publisher rotate``: a publisher's new key, made by the publisher, and taken by everybody else."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import new_passphrase, open_session, read_input, unlocked
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError, UsageError

if TYPE_CHECKING:
    from mpp_exec.lifecycle.rotating import Offer


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "With NAME, whose private key is in this home: makes a new key pair, and a statement, signed with",
        "both keys, that the new one replaces the old; publish it with your packages. From then on build",
        "signs with the new key. The old private key is kept beside it and may be deleted.",
        "With FILE, such a statement: shows both keys and asks. After a yes, what is installed keeps",
        "running, updates must be signed with the new key and approved, and nothing new that the old key",
        "signed is accepted, ever. Do not rotate a key that others may have: revoke it.",
    )
    parser.examples = (
        "mpp-exec publisher rotate acme",
        "mpp-exec publisher rotate acme-1f3a5c7e.rotation",
    )
    parser.positional("NAME|FILE", "a publisher whose private key is here, or a statement", complete="file")
    parser.flag(
        "--passphrase", help_text="with NAME: encrypt the new private key; asks at the terminal, twice"
    )
    parser.option(
        "-o",
        "--output",
        value="FILE",
        help_text="with NAME: the statement to write, or a folder for it; the working folder if left out",
        complete="file",
    )
    parser.flag("-y", "--yes", help_text="with FILE: agree to what is shown without being asked")
    parser.common()


def _rotate(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.trust.publishers import PUBLISHER_NAME  # noqa: PLC0415 -- not for --help

    if PUBLISHER_NAME.fullmatch(given.name) is None:
        if given.passphrase or given.output:
            raise UsageError(
                "usage.arguments",
                f"--passphrase and --output are for a new key, and {given.name} is not a publisher's name",
                "mpp-exec publisher rotate NAME makes one",
            )
        return _take(given, console)
    if given.yes:
        raise UsageError(
            "usage.arguments",
            f"--yes is for a statement, and {given.name} is a publisher's name",
            f"for a file of that name: mpp-exec publisher rotate ./{given.name} --yes",
        )
    return _make(given, console)


def _make(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import rotating  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415

    with open_session(given) as session:
        made = rotating.rotate_own(
            session,
            given.name,
            given.output,
            unlock=unlocked,
            new_passphrase=lambda: new_passphrase() if given.passphrase else None,
        )
        path = session.keys.path / f"{given.name}.key"
    what = made.rotation
    public_key = format_public_key(what.new_key)
    if given.passphrase and not made.encrypted:
        console.note(
            "the new private key is not encrypted: it was made by an earlier run, which was interrupted, "
            "without --passphrase"
        )
    if given.json:
        console.json(
            {
                "publisher": what.publisher,
                "public_key": public_key,
                "key_id": what.new_id,
                "former_key_id": what.old_id,
                "issued": what.issued,
                "statement": str(made.statement),
                "private_key": str(path),
                "encrypted": made.encrypted,
                "former_private_key": str(made.former),
            }
        )
        return 0
    console.result(
        [
            f"publisher   {what.publisher}",
            f"public key  {public_key}",
            f"key id      {what.new_id}",
            f"replaces    {what.old_id}",
            f"statement   {made.statement}",
        ]
    )
    console.note(
        f"the private key is in {path}, the former one in {made.former}",
        f"for whoever trusts the former key: mpp-exec publisher rotate {made.statement.name}",
    )
    return 0


def _take(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle import rotating  # noqa: PLC0415 -- not for --help
    from mpp_exec.trust.keys import key_id  # noqa: PLC0415
    from mpp_exec.trust.publishers import format_public_key  # noqa: PLC0415
    from mpp_exec.trust.rotation import MAX_STATEMENT  # noqa: PLC0415

    if given.name != "-" and not os.path.exists(given.name):  # noqa: PTH110 -- Path.exists raises for some
        raise UsageError(
            "rotation.not_found",
            f"{given.name} is neither a publisher's name nor a file",
            "a rotation statement is a small file that the publisher gives out; it ends in .rotation",
        )
    statement = read_input(given.name, MAX_STATEMENT, "the rotation statement")
    with open_session(given) as session:
        offer = rotating.offered(session, statement)
        if offer.effect:
            _agreed(given, console, offer)
        rotated = rotating.take(session, offer) if offer.effect else False
    what = offer.rotation
    if given.json:
        console.json(
            {
                "publisher": what.publisher,
                "public_key": format_public_key(offer.key),
                "key_id": key_id(offer.key),
                "former_key_id": what.old_id,
                "successor_key_id": what.new_id,
                "issued": what.issued,
                "rotated": rotated,
            }
        )
        return 0
    if offer.effect == "bars":
        console.result([f"former key of {what.publisher}: {what.old_id}"])
        return 0
    done = "rotated" if rotated else "taken already:"
    console.result([f"{done} {what.publisher} {key_id(offer.key)}"])
    return 0


def _agreed(given: argparse.Namespace, console: Console, offer: Offer) -> None:
    """Show what a statement means, and make sure that somebody agrees."""
    name = offer.rotation.publisher
    if offer.effect == "bars":
        lines, what, question = _shown_former(offer), f"a former key of {name}", "Count it as a former key"
    else:
        lines, what, question = _shown(offer), f"the new key of {name}", f"Trust the new key for {name}"
    command = shlex.join(["mpp-exec", "publisher", "rotate", given.name, "--yes"])
    with Terminal.opened() as terminal:
        if given.yes or terminal is None:
            console.note(*lines)
        if given.yes:
            return
        if terminal is None:
            raise ConsentError(
                "rotation.not_agreed",
                f"{what} was not agreed to, and there is no terminal to ask at",
                f"to agree to what is shown: {command}",
            )
        terminal.show(lines)
        if not terminal.confirm(f"{question}?"):
            raise ConsentError("rotation.refused", f"{what} was not agreed to", "nothing was changed")


def _shown(offer: Offer) -> list[str]:
    what = offer.rotation
    names = _names(offer)
    return [
        f"publisher {what.publisher} has a new key, says a statement of {what.issued} signed with both",
        f"  from  {what.old_id}",
        f"  to    {what.new_id}",
        "  the new key signs packages in that name; the former key no longer, for good",
        *([f"  runs on as it is, until an update is approved: {names}"] if names else []),
    ]


def _shown_former(offer: Offer) -> list[str]:
    """Show a statement that leaves the publisher's key what it is."""
    from mpp_exec.trust.keys import key_id  # noqa: PLC0415 -- not for --help

    what, names = offer.rotation, _names(offer)
    between = [f"  then  {what.new_id}"] if what.new_key != offer.key else []
    return [
        f"publisher {what.publisher} had another key, says a statement of {what.issued} signed with both",
        f"  was   {what.old_id}",
        *between,
        f"  now   {key_id(offer.key)}",
        "  the last stays trusted; the first signs nothing in that name, for good",
        "  versions that were seen of the first count for the last",
        *([f"  does not run by this, and is to be installed anew: {names}"] if names else []),
    ]


def _names(offer: Offer) -> str:
    return ", ".join(each.name for each in offer.packages)


VERBS: Final = {"publisher rotate": Verb(_arguments, _rotate)}
