"""``mcp``: be the server that an agent starts, or print how it is told to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.parser import PROGRAM, Verb, VerbParser
from mpp_exec.errors import UsageError
from mpp_exec.mcp import clients

if TYPE_CHECKING:
    from mpp_exec.cli.main import Run
    from mpp_exec.consent.confirm import Confirm
    from mpp_exec.mcp.relayed import State
    from mpp_exec.mcp.server import MakeTools
    from mpp_exec.mcp.shares import Shares
    from mpp_exec.mcp.tools import Open, Tools
    from mpp_exec.pipeline import Host, Runtime
    from mpp_exec.serving.visit import Visit


_ALONE: Final = (
    "waiting for an MCP client on standard input, and a client starts this by itself: mpp-exec mcp --config "
    "CLIENT prints how it is told to; Ctrl-C ends it"
)
"""What a person is told who typed ``mpp-exec mcp``."""


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Speaks the Model Context Protocol on standard input and output, up to version 2026-07-28. Every",
        "approved tool is offered as PUBLISHER_PACKAGE_TOOL; with one --package, under its own name. A tool",
        "that needs confirmation asks through the client; a client that cannot ask is refused.",
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
    parser.hidden("--continued", value="N")
    parser.common(json=False)


def _mcp(given: argparse.Namespace, console: Console) -> int:
    if given.config:
        return _print_configuration(given, console)
    from mpp_exec.mcp.server import Server  # noqa: PLC0415 -- not for --help
    from mpp_exec.mcp.wire import Wire  # noqa: PLC0415

    if sys.stdout.isatty():
        console.note(_ALONE)
    state, begun = _continued(given.continued) if given.continued else (None, b"")
    parent = os.getppid()

    def open_host(confirm: Confirm, client: str) -> Host:
        from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- when tools are asked for
        from mpp_exec.pipeline import Runtime  # noqa: PLC0415

        return Runtime(resolve_path(given.home), confirm=confirm, client=client)

    # Whatever else in this process writes to standard output writes to stderr from here on.
    outgoing = os.dup(1)
    os.dup2(2, 1)
    Server(
        Wire(0, outgoing, begun),
        _tools_of(given, open_host),
        console.note,
        lambda: os.getppid() != parent,
        state,
    ).run()
    return 0


def _tools_of(given: argparse.Namespace, open_host: Open, shares: Shares | None = None) -> MakeTools:
    packages = tuple(dict.fromkeys(given.package))

    def make_tools(client: str, send: Callable[[Any], None]) -> Tools:
        from mpp_exec.mcp.shares import Share  # noqa: PLC0415 -- when tools are asked for
        from mpp_exec.mcp.tools import Tools  # noqa: PLC0415

        return Tools(open_host, packages, client, send, Share(shares))

    return make_tools


def mcp_for(visit: Visit, runtime: Runtime, shares: Shares) -> Run:
    """Return what does ``mcp`` for the client that *visit* is, with a *runtime* that stays.

    One connection is one session: it shares the sandboxes of the runtime with others, and nothing else. Of
    *shares* it has its own.
    """
    from mpp_exec.guest import Guest  # noqa: PLC0415 -- not for a server of one's own
    from mpp_exec.mcp.relayed import RelayedWire  # noqa: PLC0415
    from mpp_exec.mcp.server import Server  # noqa: PLC0415
    from mpp_exec.mcp.wire import WireClosedError  # noqa: PLC0415
    from mpp_exec.serving.visit import ElsewhereError, GoneError  # noqa: PLC0415

    def tell(output: bytes, read: int, needed: list[int], state: bytes) -> None:
        try:
            visit.turn(output, read, needed, state)
        except GoneError:
            raise WireClosedError from None

    def mcp(given: argparse.Namespace, console: Console) -> int:
        if given.config or given.continued:
            raise ElsewhereError("it is no new connection")
        visit.require_home(given.home, runtime.home)
        wire = RelayedWire(visit.connection.fileno(), visit.cancellation.fd, tell, visit.leave)
        visit.begin(moves=wire.move)
        if visit.hello.out_columns is not None:
            console.note(_ALONE)
            console.flush()

        def open_host(confirm: Confirm, client: str) -> Host:
            return Guest(runtime, client, visit.peer.pid, confirm, visit.environ)

        def warn(line: str) -> None:
            console.note(line)
            console.flush()

        try:
            Server(wire, _tools_of(given, open_host, shares), warn, lambda: False).run()
        except Exception as error:  # descriptors, memory: what this process lacks, the client's own may have
            raise GoneError from error
        if wire.moved:
            raise GoneError  # it goes on by itself
        return 0

    return mcp


def _continued(number: str) -> tuple[State | None, bytes]:
    """Return what another process knew of this connection, and the lines that it was sent and did not serve.

    Raises:
        UsageError: ``mcp.continued``.
    """
    from mpp_exec.mcp.relayed import State  # noqa: PLC0415 -- seldom

    try:
        with os.fdopen(int(number), "rb") as file:
            line, begun = file.readline(), file.read()
    except (OSError, ValueError):
        raise UsageError("mcp.continued", "--continued is the client's own word", "leave it out") from None
    return State.read(line), begun


def _print_configuration(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- not for --help
    from mpp_exec.registry.home import resolve_home  # noqa: PLC0415

    # Clients start their servers with few variables, or with none of this shell's.
    words = ["mcp"]
    home = resolve_path(given.home or os.environ.get("MPP_HOME"))
    if home is None and os.environ.get("XDG_DATA_HOME", "").startswith("/"):
        home = resolve_home()
    if home is not None:
        words += ["--home", str(home)]
    policy = resolve_path(os.environ.get("MPP_POLICY") or None)
    env = {} if policy is None else {"MPP_POLICY": str(policy)}
    words += [word for name in dict.fromkeys(given.package) for word in ("--package", name)]
    console.result(clients.configuration(given.config, _program(), words, env).splitlines(), whole=True)
    if given.package:
        from mpp_exec.cli.opening import open_session  # noqa: PLC0415 -- only where there is something to look for
        from mpp_exec.mcp import catalog  # noqa: PLC0415

        with open_session(given) as session:
            for name in catalog.missing(session.store, given.package):
                console.warning(f"{name} is not installed ({catalog.HOW})")
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
