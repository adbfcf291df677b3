"""``serve``: the resident runtime of a home, and what is asked of it."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, TextIO, cast

from mpp_exec.cli.console import Console
from mpp_exec.cli.main import perform, verb_of
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.errors import UsageError

if TYPE_CHECKING:
    from mpp_exec.mcp.shares import Shares
    from mpp_exec.pipeline import Runtime
    from mpp_exec.registry.home import Home
    from mpp_exec.serving.place import Place
    from mpp_exec.serving.service import Service
    from mpp_exec.serving.visit import Visit

_ON_DEMAND_IDLE: Final = 900
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "While it is up, it makes the calls of mpp-exec run and serves mpp-exec mcp: the same results and",
        "ledger entries, in a few milliseconds. It serves its own user only, and only processes with the",
        "same rights, namespaces, PATH and version; all others, and calls of run that a person has to",
        "confirm, go on without it. Ctrl-C, SIGTERM or --stop ends it.",
    )
    parser.examples = (
        "mpp-exec serve --idle 600",
        "mpp-exec serve --status",
        "mpp-exec serve --on-demand on",
    )
    parser.option("--idle", value="S", type=_seconds, help_text="end after this many seconds without a call")
    parser.option(
        "--on-demand",
        value="on|off",
        choices=("on", "off"),
        help_text=f"whether run and mcp start one; it ends when idle (--idle, or {_ON_DEMAND_IDLE} s)",
    )
    parser.flag("--status", help_text="show the state of the resident runtime")
    parser.flag("--stop", help_text="end the resident runtime and its calls")
    parser.common()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and 0 < seconds <= 1e6):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above zero")
    return seconds


def _serve(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- not for --help
    from mpp_exec.registry.home import Home  # noqa: PLC0415
    from mpp_exec.serving.place import Place  # noqa: PLC0415

    if given.status + given.stop + (given.on_demand is not None) > 1:
        raise UsageError(
            "serve.several", "--status, --stop and --on-demand are three things", "give one of them"
        )
    home = Home.open(resolve_path(given.home))
    if given.on_demand is not None:
        return _set_on_demand(home, given, console)
    if given.status or given.stop:
        place = Place.open(home)
        if place is None:
            return _absent(given, console)
        with place:
            return _stop(place, given, console) if given.stop else _status(place, given, console)
    return _listen(home, given, console)


def _set_on_demand(home: Home, given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.serving.place import Place  # noqa: PLC0415 -- not for --help

    idle = math.ceil(given.idle or _ON_DEMAND_IDLE) if given.on_demand == "on" else None
    with Place.made(home) as place:
        place.set_on_demand(idle)
    if given.json:
        console.json({"on_demand": idle is not None, "idle": idle})
    elif idle is None:
        console.result(["a resident runtime is started by mpp-exec serve only"])
    else:
        console.result(
            [f"a resident runtime is started by the next run, and ends after {idle} s without one"]
        )
    return 0


def _status(place: Place, given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.serving.asking import ask_status  # noqa: PLC0415 -- not for --help

    answer = ask_status(place)
    if answer is None:
        return _absent(given, console, on_demand=place.on_demand())
    status = json.loads(answer)
    if given.json:
        console.json(status | {"on_demand": place.on_demand() is not None})
        return 0
    lines = [
        f"a resident runtime of {status['home']} is there: process {status['pid']}, {status['version']}",
        f"  since {status['seconds']:.0f} s, {status['calls']} calls, {status['clients']} clients now",
    ]
    if status["sent_away"]:
        lines.append(
            f"  {status['sent_away']} made their call themselves; of the last: {status['last_sent_away']}"
        )
    console.result(lines)
    return 0


def _absent(given: argparse.Namespace, console: Console, *, on_demand: int | None = None) -> int:
    if given.json:
        console.json({"running": False, "on_demand": on_demand is not None})
    else:
        console.result(["there is no resident runtime"])
    return 0


def _stop(place: Place, given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.serving.asking import ask_to_end  # noqa: PLC0415 -- not for --help

    if not ask_to_end(place):
        return _absent(given, console)
    if given.json:
        console.json({"running": False})
    else:
        console.result(["the resident runtime has ended"])
    return 0


def _listen(home: Home, given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.cli.opening import CLIENT  # noqa: PLC0415 -- not for --help
    from mpp_exec.mcp.shares import Shares, room  # noqa: PLC0415
    from mpp_exec.pipeline import Runtime  # noqa: PLC0415
    from mpp_exec.sandbox.pool import SANDBOXES  # noqa: PLC0415
    from mpp_exec.serving.asking import second  # noqa: PLC0415
    from mpp_exec.serving.place import Place  # noqa: PLC0415
    from mpp_exec.serving.service import MAX_CLIENTS, MAX_CONNECTIONS, MAX_LEAVING, Service  # noqa: PLC0415

    if sys.getfilesystemencoding() != "utf-8":
        raise UsageError("serve.encoding", "the locale's encoding is not UTF-8", "set LANG=C.UTF-8")
    with Place.made(home) as place:
        held = place.lock()
        if held is None:
            raise second(str(home.path))
        try:
            runtime = Runtime(home.path, client=CLIENT, session=False, parked=SANDBOXES)
            calls = room(
                sandboxes=runtime.sandboxes, clients=MAX_CLIENTS + MAX_LEAVING, connections=MAX_CONNECTIONS
            )
            shares = Shares(calls, MAX_CONNECTIONS)
            service = Service(runtime, place, lambda visit: serve(visit, runtime, shares), idle=given.idle)
            try:
                _warm(runtime)
                signalled = _ended_by_signals(service)
                console.note(f"serving {home.path}, process {os.getpid()}")
                why = service.run()
                console.note("ended by a signal" if signalled else f"ended: {why}")
            except KeyboardInterrupt:
                console.note("ended by a signal")
            finally:
                for number in _SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                told, is_over = service.close()
                console.note(*told)
        finally:
            place.clear()
            os.close(held)
    if not is_over:  # what hangs would keep the interpreter, which waits for its threads
        console.flush()
        os._exit(0)
    return 0


def _ended_by_signals(service: Service) -> list[int]:
    """Have *service* end by signals from now on; return where those that came are noted.

    An exception can be lost: Python drops one that is raised while an object is taken down.
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        came.append(number)
        service.stop()

    for number in _SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, note)
    return came


def _warm(runtime: Runtime) -> None:
    """Load what the first call would have to, and have the collector leave it alone from then on."""
    import gc  # noqa: PLC0415 -- not for --help

    from mpp_exec import guest  # noqa: F401, PLC0415
    from mpp_exec.cli import arguments, verbs  # noqa: F401, PLC0415
    from mpp_exec.mcp import relayed, server, tools  # noqa: F401, PLC0415
    from mpp_exec.privacy import redact  # noqa: F401, PLC0415

    verbs.load("run")
    verbs.load("mcp")
    runtime.preparer  # noqa: B018 -- opens the home
    gc.collect()
    gc.freeze()


def serve(visit: Visit, runtime: Runtime, shares: Shares) -> int:
    """Do what the client that *visit* is wants, print on its streams, and return its exit code.

    Raises:
        ElsewhereError: the client does it itself.
        GoneError: the client has gone.
    """
    from mpp_exec.cli.agents import mcp_for  # noqa: PLC0415 -- not for --help
    from mpp_exec.cli.calls import run_for  # noqa: PLC0415
    from mpp_exec.serving.visit import ElsewhereError  # noqa: PLC0415
    from mpp_exec.serving.wire import ERR, OUT  # noqa: PLC0415

    if verb_of(visit.words) not in ("run", "mcp"):  # everything else is done where it was typed
        raise ElsewhereError("it is no call")
    out = _Stream(visit, OUT, columns=visit.hello.out_columns)
    err = _Stream(visit, ERR, columns=visit.hello.err_columns)
    console = Console(out=cast("TextIO", out), err=cast("TextIO", err), environ=visit.environ)
    instead = {"run": run_for(visit, runtime), "mcp": mcp_for(visit, runtime, shares)}
    code = perform(visit.words, console, instead)
    console.flush()
    return code


class _Stream:
    """One of a client's standard streams: what is written arrives there when it is flushed.

    *columns* is None where it is no terminal, else how many that says it has.
    """

    def __init__(self, visit: Visit, letter: bytes, *, columns: int | None) -> None:
        self._visit = visit
        self._letter = letter
        self.columns = columns
        self._held: list[str] = []

    def write(self, text: str) -> int:
        """Keep *text* until it is flushed."""
        self._held.append(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        if self._held:
            data = "".join(self._held).encode("utf-8", "backslashreplace")
            self._held.clear()
            self._visit.write(self._letter, data)

    def isatty(self) -> bool:
        """Tell what the client's own stream is."""
        return self.columns is not None


VERBS: Final = {"serve": Verb(_arguments, _serve)}
