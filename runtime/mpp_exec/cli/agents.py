"""``mcp``: be the server that an agent starts, or print how it is told to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.parser import PROGRAM, Verb, VerbParser
from mpp_exec.mcp import clients

if TYPE_CHECKING:
    from mpp_exec.mcp.tools import Tools


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Speaks the Model Context Protocol on standard input and output, up to version 2026-07-28. Every",
        "approved tool is offered as PUBLISHER_PACKAGE_TOOL; with one --package, under its own name. A tool",
        "that has to be confirmed asks through the client; one that cannot ask is refused.",
    )
    parser.examples = ("mpp-exec mcp", "mpp-exec mcp --package acme/csv", "mpp-exec mcp --config claude")
    parser.option(
        "--package",
        value="NAME",
        action="append",
        default=[],
        help_text="offer this package only; may be repeated",
        complete="package",
    )
    parser.option(
        "--config",
        value="CLIENT",
        choices=clients.CLIENTS,
        help_text="print what goes into the client's configuration instead",
    )
    parser.common(json=False)


def _mcp(given: argparse.Namespace, console: Console) -> int:
    if given.config:
        return _print_configuration(given, console)
    from mpp_exec.mcp.server import Server  # noqa: PLC0415 -- not for --help
    from mpp_exec.mcp.wire import Wire  # noqa: PLC0415

    packages = tuple(dict.fromkeys(given.package))

    def make_tools(client: str, send: Callable[[Any], None]) -> Tools:
        from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- when tools are asked for
        from mpp_exec.mcp.tools import Tools  # noqa: PLC0415

        return Tools(resolve_path(given.home), packages, client, send)

    # Whatever else in this process writes to standard output writes to stderr from here on.
    outgoing = os.dup(1)
    os.dup2(2, 1)
    Server(Wire(0, outgoing), make_tools, console.note).run()
    return 0


def _print_configuration(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- not for --help

    words = ["mcp"]
    home = resolve_path(given.home or os.environ.get("MPP_HOME"))
    if home is not None:
        words += ["--home", str(home)]
    words += [word for name in dict.fromkeys(given.package) for word in ("--package", name)]
    console.result(clients.configuration(given.config, _program(), words).splitlines())
    console.note(f"goes into {clients.CLIENTS[given.config][0]}")
    return 0


def _program() -> str:
    """Return the absolute path of this command, as whoever starts it later will need it."""
    import shutil  # noqa: PLC0415 -- only to print a configuration
    from pathlib import Path  # noqa: PLC0415

    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(sys.argv[0])
    return os.path.abspath(found or sys.argv[0])  # noqa: PTH100 -- a link stays one


VERBS: Final = {"mcp": Verb(_arguments, _mcp)}
