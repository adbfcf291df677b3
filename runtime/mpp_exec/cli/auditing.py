"""``audit list|show|verify|export|erase|restart``: the ledger."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_session, read_input
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.patterns import lazily

if TYPE_CHECKING:
    from mpp_exec.audit.entry import Entry
    from mpp_exec.audit.ledger import Ledger

_MAX_VALUE: Final = 16 << 20
_AGO: Final = lazily(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NOT_PROVEN: Final = 3


def _list_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec audit list", "mpp-exec audit list --package acme/csv --since 2h --json")
    parser.option(
        "-n", "--limit", value="N", type=_count, default=50, help_text="at most N entries (50); 0 for all"
    )
    parser.option("--package", value="NAME", help_text="only this package", complete="package")
    parser.option("--tool", value="TOOL", help_text="only this tool")
    parser.option(
        "--outcome", value="WORD", help_text="only calls that ended so: ok, tool_error, timeout, unknown, …"
    )
    parser.option(
        "--kind",
        value="KIND",
        action="append",
        default=[],
        help_text="only entries of this kind: start, refused, install, approve, …",
    )
    parser.option(
        "--since", value="WHEN", help_text="not before: 2026-01-31, 2026-01-31T12:00Z, or 30m, 2h, 7d ago"
    )
    parser.common()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a count")
    return int(text)


def _list(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.audit.entry import Kind, Outcome  # noqa: PLC0415 -- not for --help

    for kind in given.kind:
        _known(kind, [each.value for each in Kind], "kind of entry")
    if given.outcome is not None:
        _known(given.outcome, [*(each.value for each in Outcome), "running", "unknown"], "outcome")
    since = None if given.since is None else parse_when(given.since, datetime.now(UTC))
    with open_session(given) as session:
        entries = list(
            session.ledger.list(
                limit=given.limit or None,
                kinds=tuple(given.kind),
                package=given.package,
                tool=given.tool,
                outcome=given.outcome,
                since=since,
            )
        )
    if given.json:
        console.json([each.to_json() for each in entries])
        return 0
    if not entries:
        console.note("nothing on record")
    console.result(_row(each) for each in entries)
    if given.limit and len(entries) == given.limit:
        console.note(f"these are the last {given.limit}; --limit 0 shows all")
    return 0


def _known(word: str, words: list[str], what: str) -> None:
    from mpp_exec.package.fields import nearest  # noqa: PLC0415 -- not for --help

    if word not in words:
        raise UsageError("audit.unknown_word", f"there is no {what} {word!r}", nearest(word, words))


def parse_when(text: str, now: datetime) -> datetime:
    """Return the time that was typed: a date, a date and time (UTC unless it says otherwise), or ``2h`` ago.

    Raises:
        UsageError: ``audit.bad_time``.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(
            "audit.bad_time", f"{text!r} is not a time", "write 2026-01-31, 2026-01-31T12:00Z, or 30m, 2h, 7d"
        ) from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _row(entry: Entry) -> str:
    from mpp_exec.audit.entry import iso  # noqa: PLC0415 -- not for --help

    at = iso(entry.at) if entry.at is not None else "?"
    what = " ".join(part for part in (entry.package, entry.tool) if part)
    if not what:
        what = str(entry.content.get("detail", {}).get("publisher", ""))
    kind = "call" if entry.kind == "start" else entry.kind or "unreadable"
    code = str(
        entry.content.get("code", "") or (entry.ending.content.get("code", "") if entry.ending else "")
    )
    state = entry.outcome or code
    damaged = "" if entry.intact else "  CHANGED"
    return (
        f"{entry.sequence:>6}  {at}  {kind:<16} {what:<40} {state:<12} {entry.invocation}{damaged}".rstrip()
    )


def _show_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "The ledger holds no arguments and no results, only commitments to them. With --args or --result, it",
        "tells whether a value that you have matches: exit code 0 if it does, 3 if not.",
    )
    parser.examples = ("mpp-exec audit show 12", "mpp-exec audit show 0f3a9b --args @arguments.json")
    parser.positional("ID", "a number, an invocation, or the beginning of one (4 characters or more)")
    parser.option(
        "--args", value="JSON", help_text="prove the arguments: JSON, @FILE, or - for standard input"
    )
    parser.option("--result", value="JSON", help_text="prove the result, as run --json printed it")
    parser.common()


def _show(given: argparse.Namespace, console: Console) -> int:
    if given.args is not None and given.result is not None:
        raise UsageError("usage.arguments", "--args and --result exclude each other", "prove one at a time")
    with open_session(given) as session:
        entry = session.ledger.show(given.id)
        if given.args is not None or given.result is not None:
            return _prove(given, console, session.ledger)
    if given.json:
        console.json(entry.to_json())
        return 0
    console.result(_flat(entry.to_json()))
    return 0


def _prove(given: argparse.Namespace, console: Console, ledger: Ledger) -> int:
    what: Any = "arguments" if given.args is not None else "result"
    word = given.args if given.args is not None else given.result
    value = _json(word, what)
    if what == "result" and isinstance(value, dict):
        # What was committed to is the result as handed over, less the runtime's own remarks on it.
        value = {name: value.get(name) for name in ("content", "structuredContent", "isError")}
    match = ledger.prove(given.id, what, value)
    if given.json:
        console.json({"id": given.id, "what": what, "match": str(match)})
    else:
        words = {
            "matches": f"these are the {what} of the call"
            if what == "arguments"
            else "this is the result of the call",
            "differs": f"the {what} of the call: something else",
            "erased": f"the commitment to the {what} was erased: nobody can tell any more",
            "absent": f"the entry holds no commitment to {what}",
        }
        console.result([words[str(match)]])
    return 0 if str(match) == "matches" else _NOT_PROVEN


def _json(word: str, what: str) -> Any:
    from mpp_exec import encoding  # noqa: PLC0415 -- not for --help

    if word == "-" or word.startswith("@"):
        data = read_input(word.removeprefix("@"), _MAX_VALUE, f"the {what}")
    else:
        data = word.encode("utf-8", "surrogateescape")
    try:
        return encoding.json_loads(data, max_size=_MAX_VALUE)
    except encoding.JsonError as error:
        raise UsageError(
            "arguments.not_json", f"the {what} are not JSON: {error.message}", "give one JSON value"
        ) from None


def _flat(document: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the members of *document* as ``name  value`` lines, those inside others with dotted names."""
    import json  # noqa: PLC0415 -- not for --help

    lines = []
    for name, value in document.items():
        if isinstance(value, dict) and value:
            lines += _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append(f"{prefix + name:<32}{text}")
    return lines


def _verify_arguments(parser: VerbParser) -> None:
    parser.notes = ("Exit code 3: an entry was changed, removed, moved or cut off.",)
    parser.examples = ("mpp-exec audit verify",)
    parser.common()


def _verify(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.audit.entry import iso  # noqa: PLC0415 -- not for --help

    with open_session(given) as session, console.progress("checking") as progress:
        report = session.ledger.verify(progress)
    if given.json:
        console.json(report.to_json())
        return 0 if report.ok else _NOT_PROVEN
    sealed = "nothing sealed yet"
    if report.sealed_sequence is not None and report.sealed_at is not None:
        sealed = f"sealed up to entry {report.sealed_sequence} at {iso(report.sealed_at)}"
    console.result(
        [
            f"{report.entries} entries, {sealed}",
            *([f"{report.unsealed} after it are not sealed yet"] if report.unsealed else []),
            *([f"{report.running} calls are running"] if report.running else []),
            *([f"{report.erased} commitments were erased"] if report.erased else []),
        ]
    )
    if report.ok:
        console.result(["nothing was changed"])
        return 0
    console.result((f"{each.code}: {each.message}" for each in report.problems), style="bad")
    more = f", and {report.more_problems} more" if report.more_problems else ""
    console.failed(
        "ledger.tampered",
        f"the ledger is not what this home wrote: {len(report.problems)} problems{more}",
        "keep a copy of ledger.db and ledger.head as they are, and find out who changed them",
    )
    return _NOT_PROVEN


def _export_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "One JSON object per line: the format, every entry with its hash and body, the signed head. Whoever",
        "receives it can check it without this program, but cannot open its commitments.",
    )
    parser.examples = ("mpp-exec audit export > ledger.jsonl",)
    parser.common(json=False)


def _export(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        for line in session.ledger.export():
            console.json_text(line)
    return 0


def _erase_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Erases the keys of a call's commitments, so that nobody can prove its arguments or its result any",
        "more. That the call happened and how it ended stays, and so does every hash. Cannot be undone.",
    )
    parser.examples = ("mpp-exec audit erase 0f3a9b",)
    parser.positional("ID", "a number, an invocation, or the beginning of one (4 characters or more)")
    parser.common()


def _erase(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.audit.entry import Caller  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        erased = session.ledger.erase(given.id, Caller.current(client="mpp-exec"))
    if given.json:
        console.json({"id": given.id, "erased": erased})
    else:
        console.result([f"{erased} commitments erased" if erased else "there was nothing left to erase"])
    return 0


def _restart_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "For a ledger that was changed from outside and cannot be restored; until this is done, every call",
        "is refused. Its files stay in the home under other names. The new ledger records that it is not",
        "the first.",
    )
    parser.examples = ("mpp-exec audit restart",)
    parser.flag("-y", "--yes", help_text="do not ask")
    parser.common()


def _restart(given: argparse.Namespace, console: Console) -> int:
    with open_session(given) as session:
        if not given.yes:
            _agree(session.ledger)
        moved = session.ledger.restart(session.caller())
    if given.json:
        console.json({"aside": moved})
    else:
        console.result(["a new ledger was begun", *(f"moved aside: {name}" for name in moved)])
    return 0


def _agree(ledger: Ledger) -> None:
    """Make sure that a person wants the ledger moved aside."""
    from mpp_exec.cli.terminal import Terminal  # noqa: PLC0415 -- not for --help

    with Terminal.opened() as terminal:
        if terminal is None:
            raise ConsentError(
                "audit.not_agreed",
                "the ledger was not moved aside: there is no terminal to ask at",
                "to agree to it: mpp-exec audit restart --yes",
            )
        report = ledger.verify(None)
        terminal.show([f"{report.entries} entries", *(each.message for each in report.problems)])
        if not terminal.confirm("Move this ledger aside and begin another?"):
            raise ConsentError("audit.not_agreed", "the ledger was not moved aside", "nothing was changed")


VERBS: Final = {
    "audit list": Verb(_list_arguments, _list),
    "audit show": Verb(_show_arguments, _show),
    "audit verify": Verb(_verify_arguments, _verify),
    "audit export": Verb(_export_arguments, _export),
    "audit erase": Verb(_erase_arguments, _erase),
    "audit restart": Verb(_restart_arguments, _restart),
}
