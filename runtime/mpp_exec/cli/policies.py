"""``policy show|check``: what the policy allows at most, and what here goes beyond it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import open_session
from mpp_exec.cli.parser import Verb, VerbParser

if TYPE_CHECKING:
    from mpp_exec.lifecycle.complying import Compliance

_BROKEN: Final = 4


def _show_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Each file is a layer that can only narrow what the others allow; what no file mentions is yours to",
        "grant. A file that cannot be read, trusted or understood stops every call: exit code 4.",
    )
    parser.examples = ("mpp-exec policy show", "mpp-exec policy show --json")
    parser.common()


def _show(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.consent.policy_file import PolicyFiles  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle.complying import load_policy  # noqa: PLC0415
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.registry.home import resolve_home  # noqa: PLC0415

    files = PolicyFiles(resolve_path(given.home) or resolve_home())
    policy = load_policy(files)
    document = policy.to_json()
    places = [str(path) for path in files.places()]
    if given.json:
        console.json({**document, "places": places})
        return 0
    if not policy.layers:
        console.result(["there is no policy: everything is allowed that you agree to"])
    for layer in document["layers"]:
        console.result([str(layer.pop("source")), *_lines(layer)])
    if len(policy.layers) > 1:
        console.result(["together", *_lines(document["effective"])])
    console.note(f"looked for at: {', '.join(places)}")
    return 0


def _lines(table: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each entry of a table of tables, under its dotted key."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from (f"  {key}.{line.lstrip()}" for line in _lines(value))
        elif isinstance(value, list):
            yield f"  {key} = {', '.join(map(str, value)) or 'nothing'}"
        elif isinstance(value, bool):
            yield f"  {key} = {'yes' if value else 'no'}"
        elif value is not None:
            yield f"  {key} = {value}"


def _check_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Lists every package that was granted more than the policy allows. It runs with what is left, or not",
        "at all if its publisher is denied. Exit code 4: at least one package exceeds the policy.",
    )
    parser.examples = ("mpp-exec policy check", "mpp-exec policy check --json")
    parser.common()


def _check(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.complying import complying, load_policy  # noqa: PLC0415 -- not for --help

    with open_session(given) as session:
        policy = load_policy(session.policies)
        found = complying(session, policy)
    broken = [each.installed.name for each in found if each.breaks]
    if given.json:
        console.json(
            {
                "ok": not broken,
                "layers": [layer.source for layer in policy.layers],
                "packages": [each.to_json() for each in found],
            }
        )
    else:
        for each in found:
            style = "bad" if each.breaks else "good" if each.state == "approved" else ""
            console.result([f"{each.installed.name} {each.installed.version}  {_word(each)}"], style=style)
            console.result(_reasons(each))
        if not found:
            console.note("nothing is installed")
    if broken:
        console.failed(
            "policy.broken",
            f"more was granted than the policy allows: {', '.join(broken)}",
            "at each call it is taken away; to agree to what is left: mpp-exec approve NAME",
        )
    return _BROKEN if broken else 0


def _word(each: Compliance) -> str:
    if each.state != "approved":
        return each.state
    return "breaks the policy" if each.breaks else "within the policy"


def _reasons(each: Compliance) -> Iterator[str]:
    if each.refused:
        yield f"  nothing of it runs: {each.refused}"
    if each.unknown:
        yield f"  what it asks for cannot be read: {each.unknown}"
    yield from (f"  {withheld.permission} ({withheld.reason})" for withheld in each.withheld)
    for tool, asks in (each.confirm or {}).items():
        yield f"  tool {tool} asks {asks}, which is more often than was agreed"


VERBS: Final = {
    "policy show": Verb(_show_arguments, _show),
    "policy check": Verb(_check_arguments, _check),
}
