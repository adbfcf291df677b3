"""``run`` and ``explain``: using tools.

What ``run`` prints on stdout is what the tool answered, and nothing else. On a terminal it is escaped;
into a pipe it goes as it is, for the program that reads it (redacted it is in both).
"""

from __future__ import annotations

import argparse
import math
import threading
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import CLIENT, read_input
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.cli.terminal import Terminal
from mpp_exec.errors import ConsentError

if TYPE_CHECKING:
    from mpp_exec.consent.confirm import ConfirmationRequest
    from mpp_exec.pipeline import Runtime
    from mpp_exec.result import ToolResult

_TOOL_FAILED: Final = 1
_STOPPED: Final = 6


def _run_arguments(parser: VerbParser) -> None:
    parser.notes = (
        "A value is read by the type that the tool's schema gives its key: text stays text; numbers, true,",
        "false and null, lists and objects are written as in JSON. Exit code 1: the tool failed; 6: stopped.",
    )
    parser.examples = (
        "mpp-exec run acme/csv query path=/srv/csv/a.csv",
        'mpp-exec run acme/csv --args \'{"path": "/srv/csv/a.csv"}\' --json',
    )
    parser.positional("NAME", "an approved package", complete="package")
    parser.positional("TOOL", "the tool, where there are several; then KEY=VALUE, its arguments", times="*")
    parser.option(
        "--args", value="JSON", help_text="all arguments: a JSON object, @FILE, or - for standard input"
    )
    parser.flag("--confirm", help_text="be asked at the terminal, if the tool has to be confirmed")
    parser.option(
        "--timeout", value="S", type=_seconds, help_text="seconds; can only shorten the package's limit"
    )
    parser.common()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _run(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.cli.arguments import read_arguments, split_words  # noqa: PLC0415 -- not for --help
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415
    from mpp_exec.pipeline import MAX_ARGUMENTS, Runtime  # noqa: PLC0415

    tool, pairs = split_words(given.tool)
    text = _given_arguments(given.args, MAX_ARGUMENTS)
    confirm = _confirm if given.confirm else None
    with Runtime(resolve_path(given.home), confirm=confirm, client=CLIENT) as runtime:
        schema = _schema(runtime, given.name, tool) if pairs else {}
        arguments = read_arguments(text, pairs, schema)
        result = _Call(runtime, given.name, tool, arguments, given.timeout).wait()
    return _show(result, given, console)


def _given_arguments(word: str | None, limit: int) -> bytes | None:
    if word is None:
        return None
    if word == "-":
        return read_input("-", limit, "the arguments")
    if word.startswith("@"):
        return read_input(word[1:], limit, "the arguments")
    return word.encode("utf-8", "surrogateescape")


def _schema(runtime: Runtime, package: str, tool: str) -> dict[str, Any]:
    """Return the inputSchema that KEY=VALUE words are read by; {} leaves a mistake to the call."""
    _, manifest = runtime.preparer.manifest(package)
    if not tool and len(manifest.tools) == 1:
        return manifest.tools[0].input_schema
    found = manifest.tool(tool)
    return found.input_schema if found is not None else {}


class _Call:
    """One call in a thread of its own, so that a signal is heard while it runs.

    The thread of a call waits in the kernel, where Python cannot act on Ctrl-C. This one waits for
    that thread instead; interrupted, it closes the runtime, which ends the call and its sandbox.
    """

    def __init__(
        self, runtime: Runtime, package: str, tool: str, arguments: dict[str, Any], timeout: float | None
    ) -> None:
        self._runtime = runtime
        self._what = (package, tool, arguments, timeout)
        self._result: ToolResult | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="mpp-exec-run", daemon=True)

    def wait(self) -> ToolResult:
        """Make the call and return its result, or raise what it raises."""
        self._thread.start()
        try:
            self._thread.join()
        except BaseException:
            self._runtime.close()
            raise
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _work(self) -> None:
        package, tool, arguments, timeout = self._what
        try:
            self._result = self._runtime.call(package, tool, arguments, timeout=timeout)
        except BaseException as error:  # noqa: BLE001 -- it is raised where somebody waits for it
            self._error = error


def _confirm(request: ConfirmationRequest) -> bool:
    """Show all of a call at the terminal and ask."""
    with Terminal.opened() as terminal:
        if terminal is None:
            raise ConsentError(
                "confirm.no_terminal",
                f"tool {request.tool} of {request.package} must be confirmed, and there is no terminal",
                "run it at a terminal; nothing else can confirm it",
            )
        terminal.show(request.lines())
        return terminal.confirm("Run this call?")


def _show(result: ToolResult, given: argparse.Namespace, console: Console) -> int:
    console.tool_stderr(result.stderr)
    if given.json:
        console.json(result.to_call_tool_result())
    elif result.outcome in ("ok", "tool_error"):
        _show_content(result, console)
    if result.redactions and not given.json:
        counts = ", ".join(f"{kind} {count}" for kind, count in result.redactions.items())
        console.note(f"redacted: {counts}")
    if degraded := result.meta.get("mpp-exec/degraded"):
        console.note(f"degraded, as you agreed: {', '.join(degraded)}")
    if result.outcome == "ok":
        return 0
    if result.outcome == "tool_error":
        console.failed("call.tool_error", result.reason or f"the tool of {given.name} failed")
        return _TOOL_FAILED
    console.failed(f"call.{result.outcome}", result.reason or "the tool was stopped", result.denied)
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
                documents.append(explain.explain(prepared.plan, facts))
    if given.json:
        console.json({"package": manifest.name, "version": manifest.version, "tools": documents})
        return 0
    for number, document in enumerate(documents):
        console.result([*([""] if number else []), *explain.explain_lines(document)])
    return 0


VERBS: Final = {
    "run": Verb(_run_arguments, _run),
    "explain": Verb(_explain_arguments, _explain),
}
