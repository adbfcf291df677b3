"""``run`` and ``explain``: using tools.

What ``run`` prints on stdout is what the tool answered, and nothing else. On a terminal it is escaped;
into a pipe it goes as it is, for the program that reads it (redacted it is in both).
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import CLIENT, read_input
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError, UsageError

if TYPE_CHECKING:
    from mpp_exec.calls.result import ToolResult
    from mpp_exec.consent.confirm import ConfirmationRequest
    from mpp_exec.pipeline import Runtime
    from mpp_exec.serving.visit import Visit

_Result = TypeVar("_Result")
Run = Callable[[argparse.Namespace, Console], int]
_TOOL_FAILED: Final = 1
_STOPPED: Final = 6


def _run_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "A VALUE is read as the type that the tool's schema gives its KEY: strings as they stand; numbers,",
        "true, false, null, lists and objects as JSON. Exit code 1: the tool failed; 6: it was stopped.",
    )
    parser.examples = (
        "mpp-exec run acme/csv query path=/srv/csv/a.csv",
        'mpp-exec run acme/csv --args \'{"path": "/srv/csv/a.csv"}\' --json',
    )
    parser.positional("NAME", "an approved package", complete="package")
    parser.positional("TOOL", "the tool, where there are several; then KEY=VALUE, its arguments", times="*")
    add_call_options(parser)
    parser.flag("--confirm", help_text="be asked at the terminal, if the tool has to be confirmed")
    parser.common()


def add_call_options(parser: VerbParser) -> None:
    """Add what every verb has that calls a tool."""
    parser.option(
        "--args", value="JSON", help_text="all arguments: a JSON object, @FILE, or - for standard input"
    )
    parser.option(
        "--timeout", value="S", type=_seconds, help_text="seconds; can only shorten the package's limit"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _run(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.cli.arguments import read_arguments, split_words  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.pipeline import Runtime  # noqa: PLC0415

    tool, pairs = split_words(given.tool)
    text = given_arguments(given.args)
    with Runtime(
        resolve_path(given.home),
        confirm=lambda request: _confirm(given, runtime, request),
        client=CLIENT,
        session=False,
    ) as runtime:
        schema = input_schema(runtime, given.name, tool) if pairs else {}
        arguments = read_arguments(text, pairs, schema)
        result = in_thread(runtime, lambda: runtime.call(given.name, tool, arguments, timeout=given.timeout))
    return _show(result, given, console)


def run_for(visit: Visit, runtime: Runtime) -> Run:
    """Return what does ``run`` for the client that *visit* is, with a *runtime* that stays.

    All that it prints is what :func:`_run` would in the client's own process. What has to be confirmed by
    a person is left to that process, which has a terminal, or none.
    """
    from mpp_exec.audit.entry import Caller  # noqa: PLC0415 -- not for a call of one's own
    from mpp_exec.calls.invocation import Asking  # noqa: PLC0415
    from mpp_exec.cli.arguments import read_arguments, split_words  # noqa: PLC0415
    from mpp_exec.serving.visit import ElsewhereError  # noqa: PLC0415

    def confirm(_: ConfirmationRequest) -> bool:
        raise ElsewhereError("a person has to confirm the call")

    def run(given: argparse.Namespace, console: Console) -> int:
        tool, pairs = split_words(given.tool)
        text = given_arguments(given.args, visit.given_input)
        visit.require_home(given.home, runtime.home)
        schema = input_schema(runtime, given.name, tool) if pairs else {}
        arguments = read_arguments(text, pairs, schema)
        asking = Asking(Caller.current(client=CLIENT, pid=visit.peer.pid), confirm, visit.environ)
        visit.begin()
        try:
            result = runtime.call_for(
                asking, given.name, tool, arguments, timeout=given.timeout, cancellation=visit.cancellation
            )
        except UsageError as error:
            if error.code != "runtime.closed":
                raise
            raise ElsewhereError("the runtime ends") from None
        return _show(result, given, console)

    return run


def given_arguments(word: str | None, read: Callable[[str], bytes] | None = None) -> bytes | None:
    """Return the text of ``--args``, None without it. *read* returns what ``-`` and ``@FILE`` stand for."""
    if word is None:
        return None
    if word == "-" or word.startswith("@"):
        return (read or _read_arguments)(word)
    return word.encode("utf-8", "surrogateescape")


def _read_arguments(word: str) -> bytes:
    from mpp_exec.calls.prepared import MAX_ARGUMENTS  # noqa: PLC0415 -- not for --help

    return read_input(word.removeprefix("@"), MAX_ARGUMENTS, "the arguments")


def input_schema(runtime: Runtime, package: str, tool: str) -> dict[str, Any]:
    """Return the inputSchema that KEY=VALUE words are read by; {} leaves a mistake to the call."""
    _, manifest = runtime.preparer.manifest(package)
    if not tool and len(manifest.tools) == 1:
        return manifest.tools[0].input_schema
    found = manifest.tool(tool)
    return found.input_schema if found is not None else {}


def in_thread(runtime: Runtime, call: Callable[[], _Result]) -> _Result:
    """Make a *call* of *runtime* in a thread of its own, so that a signal is heard while it runs.

    The thread of a call waits in the kernel, where Python cannot act on Ctrl-C. This one waits for
    that thread instead; interrupted, it closes the runtime, which ends the call and its sandbox.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 -- it is raised where somebody waits for it
            errors.append(error)

    thread = threading.Thread(target=work, name="mpp-exec-run", daemon=True)
    try:
        thread.start()
        thread.join()
    except BaseException:
        runtime.close()
        raise
    if errors:
        raise errors[0]
    return results[0]


def _confirm(given: argparse.Namespace, runtime: Runtime, request: ConfirmationRequest) -> bool:
    """Ask at the terminal; without one, leave the call for a person who has one."""
    with Terminal.opened() as terminal:
        there = terminal is not None
    if there and not given.confirm:
        raise ConsentError(
            "confirm.required",
            f"tool {request.tool} of {request.package} runs only after a person has confirmed the call",
            "run it with --confirm to be asked here",
        )
    if there:
        what = (
            "Run this call, and every later one of this tool?" if request.is_remembered else "Run this call?"
        )
        return confirmed(request, what, "run it at a terminal; nothing else can confirm it")
    from mpp_exec.lifecycle.confirming import OutOfBand  # noqa: PLC0415 -- only without a terminal
    from mpp_exec.registry.pending import Asker  # noqa: PLC0415

    # Each run is a process of its own: what a person granted is for this user's next one.
    return OutOfBand(runtime, Asker(f"uid {os.getuid()}", "run", CLIENT)).ask(request)


def confirmed(request: ConfirmationRequest, question: str, hint: str) -> bool:
    """Show all of a call at the terminal and ask; *hint* is for whoever has none.

    Raises:
        ConsentError: ``confirm.no_terminal``; ``confirm.too_large``: nobody would read all of it.
    """
    lines = request.lines()
    with Terminal.opened() as terminal:
        if terminal is None:
            raise ConsentError(
                "confirm.no_terminal",
                f"tool {request.tool} of {request.package} must be confirmed, and there is no terminal",
                hint,
            )
        terminal.show(lines)
        return terminal.confirm(question)


def _show(result: ToolResult, given: argparse.Namespace, console: Console) -> int:
    console.tool_stderr(result.stderr)
    if appeared := result.meta.get("mpp-exec/appeared"):
        from mpp_exec.sandbox.appeared import in_words  # noqa: PLC0415 -- not for --help

        console.warning(in_words(appeared))
    if given.json:
        console.json(result.to_call_tool_result())
    elif result.outcome in ("ok", "tool_error"):
        _show_content(result, console)
    if result.redactions and not given.json:
        counts = ", ".join(f"{kind} {count}" for kind, count in result.redactions.items())
        console.note(f"redacted: {counts}")
    if degraded := result.meta.get("mpp-exec/degraded"):
        console.note(f"degraded, as you agreed: {', '.join(degraded)}")
    console.note(*(f"denied: {line}" for line in result.denied.splitlines()))
    if result.outcome == "ok":
        return 0
    # A Python tool's launcher tells what was denied; another program may say anything of it, or nothing.
    hint = ""
    if not result.denied and result.kind != "python":
        command = shlex.join(["mpp-exec", "trace", given.name, *given.tool[:1]])
        hint = f"to see what it tried to reach: {command} …"
    if result.outcome == "tool_error":
        console.failed("call.tool_error", result.reason or f"the tool of {given.name} failed", hint)
        return _TOOL_FAILED
    console.failed(f"call.{result.outcome}", result.reason or "the tool was stopped")
    return _STOPPED


def _show_content(result: ToolResult, console: Console) -> None:
    hidden = []
    for block in result.content:
        if block["type"] == "text":
            text = str(block["text"])
            console.data(text if text.endswith("\n") else f"{text}\n")
        else:
            hidden.append(str(block["type"]))
    if hidden:
        console.note(f"not shown: {', '.join(hidden)}; --json has everything")


def _explain_arguments(parser: VerbParser) -> None:
    parser.examples = ("mpp-exec explain acme/csv", "mpp-exec explain acme/csv query --json")
    parser.positional("NAME", "an approved package", complete="package")
    parser.positional("TOOL", "one of its tools; all of them if left out", times="?")
    parser.common()


def _explain(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- not for --help
    from mpp_exec.pipeline import Runtime  # noqa: PLC0415
    from mpp_exec.sandbox import explain, kernel  # noqa: PLC0415

    facts = kernel.probe()
    documents = []
    with Runtime(resolve_path(given.home), client=CLIENT) as runtime:
        _, manifest = runtime.preparer.manifest(given.name)
        names = [given.tool] if given.tool else [tool.name for tool in manifest.tools]
        for name in names:
            with runtime.preparer.prepared(given.name, name) as prepared:
                told = explain.granted(prepared.plan, prepared.grant)
                documents.append({**explain.explain(prepared.plan, facts), **told})
    if given.json:
        console.json({"package": manifest.name, "version": manifest.version, "tools": documents})
        return 0
    for number, document in enumerate(documents):
        lines = [*explain.explain_lines(document), *explain.granted_lines(document)]
        console.result([*([""] if number else []), *lines])
    return 0


VERBS: Final = {
    "run": Verb(_run_arguments, _run),
    "explain": Verb(_explain_arguments, _explain),
}
