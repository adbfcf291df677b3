"""A server from npm: resolved as of its upload, its lock file with it, none of its install scripts run."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.errors import InternalError, UsageError
from mpp_exec.patterns import lazily
from mpp_exec.wrap.heard import Watch
from mpp_exec.wrap.installers import npm, run_installer
from mpp_exec.wrap.origin import LIBRARY, Fetched, Origin

_MAX: Final = 64 << 20
_UNREAD: Final = lazily(r"(.*\.)(?:d\.([cm]?)ts|d\.([cm]?)ts\.map|([cm]?)js\.map)")
_COMPILERS: Final = ("typescript", "@typescript/*", "@ts-morph/*")  # which read declarations


def fetch(
    origin: Origin,
    folder: Path,
    *,
    constraints: Sequence[str],
    as_of: datetime | None,
    latest: bool,
    script: str,
    watch: Watch = Watch(),  # noqa: B008 -- frozen
) -> Fetched:
    """Put the server of *origin* and all it needs into *folder*. All else as in ``pypi.fetch``."""
    notes: list[str] = []
    work = folder / ".wrap"
    work.mkdir()
    if as_of is None and not latest:
        as_of = _uploaded(origin, work, watch)
        if as_of is None:
            notes.append("the registry does not say when this was uploaded: resolved as of now")
    overrides = dict(_override(each) for each in constraints)
    (work / "package.json").write_text(
        json.dumps({"name": "wrapped", "version": "0.0.0", "private": True, "overrides": overrides}, indent=1)
    )
    before = [] if as_of is None else [f"--before={as_of.strftime('%Y-%m-%dT%H:%M:%S.000Z')}"]
    run_installer(
        [
            *npm(),
            *(
                "install",
                "--no-bin-links",
                "--omit=dev",
                "--save-exact",
                "--install-strategy=hoisted",
                *before,
            ),
            f"{origin.name}@{origin.version}",
        ],
        work,
        step="choosing versions and fetching them",
        watch=watch,
    )
    for name in ("node_modules", "package.json", "package-lock.json"):
        (work / name).rename(folder / name)
    shutil.rmtree(work)
    if unread := leave_out_unread(folder / "node_modules"):
        notes.append(f"{unread} type declarations and source maps, which no server reads, were left out")
    place = folder / "node_modules" / origin.name
    about = _read(place / "package.json")
    name, entry = _entry(about, origin, script)
    native = any(path.suffix == ".node" for path in (folder / "node_modules").rglob("*.node"))
    if any(_has_scripts(path) for path in (folder / "node_modules").rglob("package.json")):
        notes.append("something in it has install scripts, which were not run: it may lack what they make")
    return Fetched(
        command=("node", f"${{app}}/node_modules/{origin.name}/{entry}"),
        requires=(_requirement(about.get("engines")),),
        platforms=(f"linux-{os.uname().machine}",) if native else (),
        name=name,
        version=origin.version,
        description=_text(about.get("description")),
        license=_text(about.get("license")),
        homepage=_text(about.get("homepage")),
        notes=tuple(notes),
    )


def leave_out_unread(modules: Path) -> int:
    """Remove from *modules* type declarations and source maps, and return how many that were.

    Only those beside the very file that they are of: no server reads these, they are a third of many, and
    every file is looked at before every call. Others may be what a server works with.
    """
    if any(next(modules.glob(f"**/{name}/package.json"), None) for name in _COMPILERS):
        return 0
    unread = [path for path in modules.rglob("*") if _is_unread(path)]
    for path in unread:
        path.unlink()
    return len(unread)


def _is_unread(path: Path) -> bool:
    match = _UNREAD.fullmatch(path.name)
    if match is None or not path.is_file():
        return False
    kind = next(each for each in match.groups()[1:] if each is not None)
    return path.with_name(f"{match[1]}{kind}js").is_file()


def _uploaded(origin: Origin, work: Path, watch: Watch) -> datetime | None:
    """Return the end of the day on which *origin* was uploaded, None where the registry does not say."""
    command = [*npm(), "view", f"{origin.name}@{origin.version}", "time", "--json"]
    printed = run_installer(command, work, step="looking up when it was uploaded", watch=watch)
    try:
        times = encoding.json_loads(printed, max_size=_MAX)
        last = datetime.fromisoformat(times[origin.version])
    except (LookupError, TypeError, ValueError, encoding.JsonError):
        return None
    return last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _override(constraint: str) -> tuple[str, str]:
    match = re.fullmatch(r"((?:@[^/\s]+/)?[^@<>=~^!\s]+)@?([<>=~^].*|\d.*)", constraint)
    if match is None:
        raise UsageError(
            "wrap.constraint", f"{constraint!r} bounds no project", "as in zod<4 or @scope/name@^1.2"
        )
    return match[1], match[2]


def _entry(about: Mapping[str, Any], origin: Origin, script: str) -> tuple[str, str]:
    """Return the name of the program and its file, relative to the project."""
    programs = about.get("bin")
    short = origin.name.rpartition("/")[2]
    if isinstance(programs, str):
        programs = {short: programs}
    if not isinstance(programs, dict):
        programs = {}
    name = script or (short if short in programs else next(iter(programs), "") if len(programs) == 1 else "")
    entry = programs.get(name)
    if not isinstance(entry, str):
        raise UsageError(
            "wrap.no_script",
            f"{origin.name} does not say how it is started"
            if not script
            else f"{origin.name} has no {script}",
            f"--script NAME names one of: {', '.join(sorted(programs))}" if programs else LIBRARY,
        )
    parts = [part for part in entry.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError("wrap.no_script", f"{entry!r} lies outside of {origin.name}", "it cannot be wrapped")
    return name, "/".join(parts)


def _requirement(engines: Any) -> str:
    wanted = engines.get("node") if isinstance(engines, dict) else None
    match = re.search(r">=?\s*v?(\d+(?:\.\d+){0,2})", wanted) if isinstance(wanted, str) else None
    return f"node>={match[1]}" if match else "node>=18"


def _has_scripts(path: Path) -> bool:
    try:
        scripts = _read(path).get("scripts")
    except InternalError:
        return False
    return isinstance(scripts, dict) and not scripts.keys().isdisjoint(
        ("preinstall", "install", "postinstall")
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = encoding.json_loads(path.read_bytes(), max_size=_MAX)
    except (OSError, encoding.JsonError) as error:
        raise InternalError("wrap.report", f"{path.name} cannot be read: {error}", "try again") from None
    if not isinstance(value, dict):
        raise InternalError("wrap.report", f"{path.name} is not an object", "try again")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
