"""``confirm``: answer for a call that was asked for by somebody who has no way to ask a person.

The answer is read from the controlling terminal, with all of the call shown there, and from nowhere else.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_session
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError

if TYPE_CHECKING:
    from mpp_exec.lifecycle.session import Session
    from mpp_exec.registry.pending import PendingCall


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "A client that cannot ask a person is refused, and told an ID. This shows that call in full and",
        "asks; after a yes, the very same call runs once, if the same client repeats it on its connection.",
        "Without an ID, lists the calls that wait. Answering needs a terminal; --json only shows.",
    )
    parser.examples = ("mpp-exec confirm", "mpp-exec confirm 3f09ab52c1")
    parser.positional("ID", "the ID that the client was told", times="?")
    parser.common()


def _confirm(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        if given.id is None:
            return _list(session, given, console)
        call = session.store.pending.find(given.id, session.clock())
        if given.json:
            console.json(_document(call, session.clock()))
            return 0
        return _answer(session, call, console)


def _list(session: Session, given: argparse.Namespace, console: Console) -> int:
    now = session.clock()
    calls = session.store.pending.all(now)
    if given.json:
        console.json([_document(call, now) for call in calls])
        return 0
    console.result(
        f"{call.id}  {call.state:8}  {call.request.package} {call.request.tool}, "
        f"asked for by {call.asker.client}, {_left(call, now)}"
        for call in calls
    )
    if not calls:
        console.note("no call waits for a person")
    return 0


def _answer(session: Session, call: PendingCall, console: Console) -> int:
    from mpp_exec.lifecycle import confirming  # noqa: PLC0415 -- not for --help

    confirming.require_waiting(call)
    with Terminal.opened() as terminal:
        if terminal is None:
            raise ConsentError(
                "confirm.no_terminal",
                f"the call {call.id} can be answered by a person only, and there is no terminal",
                f"run it at one; mpp-exec confirm {call.id} --json shows the call",
            )
        terminal.show(
            [f"asked for by {call.asker.client}, for {call.asker.principal}", *call.request.lines()]
        )
        every = call.request.is_remembered
        what = "Let it run, and every later call of this tool?" if every else "Let it run, once?"
        answer = terminal.choose(f"{what} [y]es, [n]o, [L]ater", "ynl")
    if answer == "l":
        console.note(f"not answered: {_left(call, session.clock())}")
        return 0
    confirming.decide(session, call, granted=answer == "y")
    if answer == "y":
        then = "runs, and later ones of this tool are not asked about" if every else "runs once"
        same = "the same call, made again by the same client within ten minutes"
        console.result([f"granted: {same}, {then} ({call.id})"])
    else:
        console.result([f"refused: this call does not run ({call.id})"])
    return 0


def _left(call: PendingCall, now: datetime) -> str:
    minutes = max(1, round((call.until - now).total_seconds() / 60))
    return f"ends in {minutes} min"


def _document(call: PendingCall, now: datetime) -> dict[str, Any]:
    request = call.request
    return {
        "id": call.id,
        "state": call.state,
        "seconds_left": max(0, int((call.until - now).total_seconds())),
        "asked_by": {"principal": call.asker.principal, "client": call.asker.client},
        "package": {
            "name": request.package,
            "version": request.version,
            "digest": request.digest,
            "key": request.key_id,
        },
        "tool": {
            "name": request.tool,
            "title": request.title,
            "description": request.description,
            "operation": request.operation,
            "confirm": request.confirmation,
        },
        "arguments": request.arguments,
        "reach": list(request.reach),
    }


VERBS: Final = {"confirm": Verb(_arguments, _confirm)}
