"""``wrap``: a published MCP server into the source of a package."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.opening import folder_of, open_session
from mpp_exec.cli.parser import Verb, VerbParser
from mpp_exec.errors import UsageError

_PLATFORMS: Final = ("linux-x86_64", "linux-aarch64")
_TYPES: Final = ("string", "number", "boolean", "file", "directory")
_SEVERAL: Final = tuple(f"{kind},multiple" for kind in _TYPES if kind != "boolean")


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "Puts everything the server needs into the folder, pinned by hash; none of its code runs outside a",
        "sandbox. SOURCE is pypi:NAME==VERSION, npm:NAME@VERSION, mcpb:FILE or dir:PATH. Words after -- are",
        "added to the server's command; for dir: they are the command. ${storage}, ${app} and",
        "${user_config.KEY} mean what they mean in mpp.toml. Read the mpp.toml that is made before you sign.",
    )
    parser.examples = (
        "mpp-exec wrap pypi:mcp-server-time==2025.9.25 -o time",
        "mpp-exec wrap pypi:mcp-server-git==2025.9.25 -o git --subprocess git --setting repo=directory",
        "mpp-exec wrap npm:@acme/files@1.2.0 -o files --setting folder=directory -- '${user_config.folder}'",
        "mpp-exec wrap dir:./server -o packed -- python server.py",
    )
    parser.positional("SOURCE", "where the server is published")
    parser.positional("ARGUMENT", "after --: words for the command", times="*")
    parser.option(
        "-o",
        "--output",
        value="DIR",
        help_text="the folder to make; must not exist, or be empty",
        complete="folder",
    )
    parser.option(
        "--name", value="NAME", help_text="publisher/name of the package; your own publisher's if left out"
    )
    several: Any = {"action": "append", "default": []}
    parser.option(
        "--constraint",
        value="BOUND",
        help_text="constrain a dependency of the server, as in 'mcp<2'",
        **several,
    )
    parser.option(
        "--as-of",
        value="DATE",
        help_text="resolve dependencies as of this day; by default the day of the upload",
    )
    parser.flag("--latest", help_text="resolve dependencies as of now")
    parser.option(
        "--platform",
        value="NAME",
        help_text="also take compiled wheels for linux-x86_64 or linux-aarch64",
        choices=_PLATFORMS,
        **several,
    )
    parser.option("--script", value="NAME", help_text="which of its console scripts is the server")
    parser.option(
        "--storage", value="SIZE", help_text="ask for a private folder; 16MiB where ${storage} is used"
    )
    parser.option("--network", value="HOST:PORT", help_text="ask for a host it may connect to", **several)
    parser.option("--subprocess", value="NAME", help_text="ask for a program it may start", **several)
    parser.option(
        "--read",
        value="PATH",
        help_text="ask for a path to read; by default the settings that are paths",
        **several,
    )
    parser.option("--write", value="PATH", help_text="ask for a path to read and write", **several)
    parser.option(
        "--setting",
        value="KEY=TYPE",
        help_text=f"a value that the user sets: {', '.join(_TYPES)}; TYPE,multiple for any number of them",
        **several,
    )
    parser.option(
        "--try",
        dest="tries",
        value="KEY=VALUE",
        help_text="the value of a setting while the server is asked for its tools",
        **several,
    )
    parser.option("--env", value="NAME=VALUE", help_text="a constant variable", **several)
    parser.option(
        "--operation",
        value="[TOOL=]OP",
        help_text="read, write or destructive: for one tool, or for all whose server does not say",
        **several,
    )
    parser.option(
        "--timeout",
        value="S",
        type=_seconds,
        help_text="seconds that one run of pip or npm may take; 900 if left out",
    )
    parser.common()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _wrap(given: argparse.Namespace, console: Console) -> int:
    from mpp_exec.wrap.heard import PATIENCE, Watch  # noqa: PLC0415 -- not for --help
    from mpp_exec.wrap.origin import parse_origin  # noqa: PLC0415
    from mpp_exec.wrap.wrapping import Wishes, check_operation, wrap  # noqa: PLC0415

    origin = parse_origin(given.source)
    if given.output is None:
        raise UsageError("usage.missing", "-o DIR is missing", f"mpp-exec wrap {given.source} -o DIR")
    wishes = Wishes(
        name=given.name or _publisher(given),
        arguments=tuple(given.argument),
        constraints=tuple(given.constraint),
        as_of=_day(given.as_of),
        latest=given.latest,
        script=given.script or "",
        platforms=tuple(given.platform),
        storage=given.storage or "",
        network=tuple(given.network),
        subprocess=tuple(given.subprocess),
        read=tuple(given.read),
        write=tuple(given.write),
        settings=dict(_pair(word, "--setting KEY=TYPE", (*_TYPES, *_SEVERAL)) for word in given.setting),
        tries=dict(_pair(word, "--try KEY=VALUE") for word in given.tries),
        env=dict(_pair(word, "--env NAME=VALUE") for word in given.env),
        operations=dict(check_operation(word) for word in given.operation),
    )
    target = folder_of(given.output)
    with console.status() as tell:
        done = wrap(origin, target, wishes, Watch(tell, console.note, given.timeout or PATIENCE))
    if given.json:
        console.json(
            {
                "folder": str(target),
                "name": done.name,
                "version": done.version,
                "protocol": done.protocol,
                "tools": list(done.tools),
                "undecided": list(done.undecided),
                "cautions": {name: list(lines) for name, lines in done.cautions.items()},
                "notes": list(done.notes),
            }
        )
        return 0
    console.result([str(target)])
    count = len(done.tools)
    console.note(f"{done.name} {done.version}: {count} tool{'s' * (count != 1)}: {', '.join(done.tools)}")
    for note in done.notes:
        console.note(f"note: {note}")
    for line, names in _by_line(done.cautions).items():
        console.warning(f"tool{'s' * (len(names) > 1)} {', '.join(names)}: {line}")
    if done.undecided:
        console.warning(
            f"the server does not say what these do, so they can change nothing: {', '.join(done.undecided)}"
        )
        console.note(
            'decide in mpp.toml: operation = "read", "write" or "destructive"; '
            "or wrap it with --operation [TOOL=]OP"
        )
    console.note(f"next: read {given.output}/mpp.toml, then mpp-exec build {given.output}")
    return 0


def _by_line(cautions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return each caution with the tools that it is about: what is said of many is read once."""
    found: dict[str, list[str]] = {}
    for name, lines in cautions.items():
        for line in lines:
            found.setdefault(line, []).append(name)
    return found


def _publisher(given: argparse.Namespace) -> str:
    with open_session(given) as session:
        own = session.keys.publishers()
    return f"{own[0] if len(own) == 1 else 'example'}/"


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise UsageError("wrap.day", f"{text!r} is not a date", "write it as in 2026-07-01") from None


def _pair(word: str, form: str, choices: tuple[str, ...] = ()) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or not equals or (choices and value not in choices):
        raise UsageError("usage.arguments", f"{word!r} is not of the form {form}", ", ".join(choices))
    return name, value


VERBS: Final = {"wrap": Verb(_arguments, _wrap)}
