"""``trace``: a tool run watched, and the permissions that would have sufficed.

The permissions go to stdout as TOML, to be pasted into ``mpp.toml``; what the tool tried and what became
of it go to stderr.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.calls import add_call_options, confirmed, given_arguments, in_thread, input_schema
from mpp_exec.cli.consenting import read_secret
from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import CLIENT, open_session
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError

if TYPE_CHECKING:
    from mpp_exec.consent.confirm import ConfirmationRequest
    from mpp_exec.lifecycle.tracing import Traced, Tracing

_TOOL_FAILED: Final = 1
_STOPPED: Final = 6
_WIDER: Final = (
    ("--read", "PATH", "let it read this file or folder for this one run"),
    ("--write", "PATH", "let it read and change this file or folder"),
    ("--env", "NAME", "let it see this variable"),
    ("--subprocess", "PROGRAM", "let it start this program"),
    ("--network", "HOST:PORT", "let it connect to this host"),
)


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Runs under the package's grant, or an empty one before approval, and reports what was denied.",
        "Permissions added by options are shown, asked about, and hold for this run only.",
        "Prints the smallest [permissions] that would have sufficed; exit codes are those of run.",
    )
    parser.examples = (
        "mpp-exec trace acme/csv query path=/srv/csv/a.csv",
        "mpp-exec trace acme/csv query path=/srv/csv/a.csv --read /srv/csv --yes >> permissions.toml",
    )
    parser.positional("NAME", "an installed package", complete="package")
    parser.positional("TOOL", "the tool, where there are several; then KEY=VALUE, its arguments", times="*")
    add_call_options(parser)
    for name, value, help_text in _WIDER:
        parser.option(name, value=value, action="append", default=[], help_text=help_text)
    parser.option(
        "--set",
        value="K=V",
        action="append",
        default=[],
        help_text="a setting, for a package that is not approved; a secret is K=@FILE or K=-",
    )
    parser.flag("-y", "--yes", help_text="agree to what the options add without being asked")
    parser.common()


def _trace(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.cli.arguments import read_arguments, split_words  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle import tracing  # noqa: PLC0415
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.pipeline import Runtime  # noqa: PLC0415

    tool, pairs = split_words(given.tool)
    text = given_arguments(given.args)
    wider = tracing.Wider(*(tuple(getattr(given, name[2:])) for name, _, _ in _WIDER))
    with open_session(given) as session:
        begun = tracing.begin(session, given.name, tuple(given.set), wider, read_secret=read_secret, ask=None)
    if wider or not begun.approved:
        _agreed(begun, given, console)
    home, client = resolve_path(given.home), f"{CLIENT} trace"
    with Runtime(home, confirm=_confirm, client=client, session=False) as runtime:
        schema = input_schema(runtime, given.name, tool) if pairs else {}
        arguments = read_arguments(text, pairs, schema)
        traced = in_thread(runtime, lambda: tracing.trace(runtime, begun, tool, arguments, given.timeout))
    return _show(traced, begun, given, console)


def _agreed(begun: Tracing, given: argparse.Namespace, console: Console) -> None:
    """Show what goes beyond the grant, where there is one, and make sure that somebody agrees to it."""
    lines = begun.lines()
    if given.yes:
        console.note(*lines)
        return
    with Terminal.opened() as terminal:
        if terminal is None:
            console.note(*lines)
            raise ConsentError(
                "consent.approval_needed",
                f"{given.name} was not given more for this run, and there is no terminal to ask at",
                "to agree to what is shown, repeat the command with --yes",
            )
        terminal.show(lines)
        if not terminal.confirm("Run it so, once?"):
            raise ConsentError("consent.refused", "it was not agreed to", "nothing ran")


def _confirm(request: ConfirmationRequest) -> bool:
    """Ask about a call that must be confirmed: tracing it is a call as any other."""
    return confirmed(
        request, "Run this call, watched?", "trace it at a terminal; nothing else can confirm it"
    )


def _show(traced: Traced, begun: Tracing, given: argparse.Namespace, console: Console) -> int:
    result = traced.result
    console.tool_stderr(result.stderr)
    if given.json:
        console.json(_document(traced, begun))
    else:
        said = f": {result.reason}" if result.reason else ""
        console.note(
            f"traced {begun.name} {begun.version}, tool {traced.tool}: {result.outcome}{said}",
            *(f"denied: {word}" for word in traced.denied),
            *(f"note: {remark}" for remark in traced.remarks),
            "what sufficed, for mpp.toml:"
            if result.outcome == "ok"
            else "what it asked for before it ended, for mpp.toml:",
        )
        console.data(traced.toml)
    if result.outcome == "ok":
        return 0
    again = _options(traced)
    hint = f"what it would ask for next is not known: trace it again with {again}" if again else ""
    console.failed(f"call.{result.outcome}", "the tool did not come to a good end", hint)
    return _TOOL_FAILED if result.outcome == "tool_error" else _STOPPED


def _options(traced: Traced) -> str:
    """Return the options that would give the tool what it was denied, to be typed."""
    names = {
        "filesystem.read": "--read",
        "filesystem.write": "--write",
        "environment": "--env",
        "subprocess": "--subprocess",
        "network": "--network",
    }
    words = []
    for word in traced.denied:
        name, _, entry = word.partition("=")
        option = names.get(name, "")
        words += [option, shlex.quote(entry)] if option and entry else []
    return " ".join(words)


def _document(traced: Traced, begun: Tracing) -> dict[str, Any]:
    from mpp_exec.audit.entry import permissions_value  # noqa: PLC0415 -- only for JSON

    return {
        "package": begun.name,
        "version": begun.version,
        "tool": traced.tool,
        "outcome": traced.result.outcome,
        "granted": permissions_value(begun.grant.permissions),
        "permissions": permissions_value(traced.suggestion.permissions),
        "toml": traced.toml,
        "denied": list(traced.denied),
        "remarks": list(traced.remarks),
        "result": traced.result.to_call_tool_result(),
    }


VERBS: Final = {"trace": Verb(_arguments, _trace)}
