"""``doctor``: what this host can enforce."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.errors import MppError

if TYPE_CHECKING:
    from mpp_exec.permissions import HostPort
    from mpp_exec.registry.home import Home
    from mpp_exec.sandbox.attempts import Check

_CANNOT_ENFORCE: Final = 5


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Builds sandboxes and tries to break out of them, one mechanism at a time. Exit code 5: a mechanism",
        "is missing or does not hold, as the report says; tools that need it will not run.",
    )
    parser.examples = ("mpp-exec doctor", "mpp-exec doctor --json")
    parser.common()


def _doctor(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.egress.broker import Broker, Outlet, Sockets  # noqa: PLC0415 -- not for --help
    from mpp_exec.sandbox.cache import SandboxCache  # noqa: PLC0415
    from mpp_exec.sandbox.selftest import examine  # noqa: PLC0415

    opened, home = _home(given)
    cache = SandboxCache(home.cache if home is not None else None)
    with Broker() as broker:

        def connect(destinations: tuple[HostPort, ...], streams: tuple[int, ...], names: int) -> Outlet:
            return broker.open("doctor", destinations, Sockets(streams, names))

        found = examine(cache, functools.partial(_place, home), connect)
    checks = [opened, *found.checks]
    ok = all(check.state == "ok" for check in checks)
    if given.json:
        console.json(
            {
                "ok": ok,
                "checks": [
                    {"name": each.name, "state": each.state, "detail": each.detail, "hint": each.hint}
                    for each in checks
                ],
                "degradations": _listed(found.degradations),
                "degradations_with_programs": _listed(found.with_programs),
                "apparmor_profile": found.profile or None,
            }
        )
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            style = "good" if check.state == "ok" else "bad"
            console.result([f"{check.state:<8}{check.name:<{width}}  {check.detail}"], style=style)
            if check.hint:
                console.result([f"{'':8}{'':{width}}  {check.hint}"], whole=True)
        if found.profile:
            console.result(["", "/etc/apparmor.d/mpp-exec, then apparmor_parser -r it:"])
            console.result([f"  {line}" for line in found.profile.splitlines()], whole=True)
    if not ok:
        bad = [check.name for check in checks if check.state != "ok"]
        console.failed(
            "host.incomplete", f"not everything works here: {', '.join(bad)}", "see above for each of them"
        )
    return 0 if ok else _CANNOT_ENFORCE


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


@contextlib.contextmanager
def _place(home: Home | None) -> Iterator[Path]:
    from mpp_exec.registry.places import call_folder  # noqa: PLC0415 -- only where there are no namespaces

    if home is None:
        with tempfile.TemporaryDirectory(prefix="mpp-doctor-") as folder:
            yield Path(folder).resolve()
        return
    with call_folder(home, root=os.geteuid() == 0) as place:
        yield place


def _home(given: argparse.Namespace) -> tuple[Check, Home | None]:
    """Open the home; without one the rest is tried all the same."""
    from mpp_exec.lifecycle.session import resolve_path  # noqa: PLC0415 -- not for --help
    from mpp_exec.registry.home import Home  # noqa: PLC0415
    from mpp_exec.sandbox.attempts import Check  # noqa: PLC0415

    try:
        home = Home.open(resolve_path(given.home))
    except MppError as error:
        return Check("home", "failed", error.message, error.hint), None
    return Check("home", "ok", f"{home.path}, yours alone"), home


VERBS: Final = {"doctor": Verb(_arguments, _doctor)}
