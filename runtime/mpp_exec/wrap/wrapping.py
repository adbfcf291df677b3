"""The whole of ``wrap``: fetched, started once in a closed sandbox, asked for its tools, written down."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mpp_exec.errors import InternalError, UsageError
from mpp_exec.package.authoring import parse_toml
from mpp_exec.package.manifest import OPERATIONS
from mpp_exec.package.spdx import check_license
from mpp_exec.trust.verify import current_platform
from mpp_exec.vocabulary import VocabularyError, format_size
from mpp_exec.wrap import bundle, npm, pypi
from mpp_exec.wrap.asking import Answered, ask
from mpp_exec.wrap.cautions import ICONS, cautions, changes_nothing
from mpp_exec.wrap.heard import Watch
from mpp_exec.wrap.origin import Fetched, Origin, semantic, short_name
from mpp_exec.wrap.repeating import Repeated, repeat
from mpp_exec.wrap.schemas import fit, plain_text
from mpp_exec.wrap.starter import with_preload
from mpp_exec.wrap.writing import WrappedTool, mpp_toml

DEFAULT_STORAGE: Final = "16MiB"
FORGETS: Final = (
    "it answered a second call otherwise than a server that was just started does: it keeps state in memory, "
    "and here every call has a server of its own; only what it writes to ${storage} is there for the next"
)
READS_STORAGE: Final = (
    "a tool that is said to read finds ${storage} read-only; where the server writes there all the same, "
    "wrap it with --operation TOOL=write"
)
_MAX_DESCRIPTION: Final = 10_000
_MAX_TITLE: Final = 200
_MIB: Final = 1 << 20
_ANY_TOOL: Final = WrappedTool("tool", "", "", "", {"type": "object"}, None)
_STAND_IN: Final = Fetched(command=("python",), requires=("python>=3.11",), name="", version="")
# In steps: the same server wrapped twice, on a machine that is busy once, makes the same package.
_SECONDS: Final = (30, 60, 120, 300)
_MEMORY: Final = (256, 512, 1024, 2048)  # MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the author asked for beside the source.

    Attributes:
        name: ``publisher/name``, or ``publisher/`` to call it as the server calls itself.
        arguments: words after the server's command, or for a folder the command.
        constraints: bounds on what the server needs; *as_of*, *latest*, *script* and *platforms* as in
            ``pypi.fetch``.
        storage, network, subprocess, read, write: permissions, as in ``mpp.toml``.
        settings: key to type of ``[user_config]``, or to ``type,multiple``; *env* constant variables.
        tries: values of settings with which the server is started to be asked for its tools.
        operations: tool to operation; "" stands for every tool whose server does not say.
    """

    name: str
    arguments: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    as_of: datetime | None = None
    latest: bool = False
    script: str = ""
    platforms: tuple[str, ...] = ()
    storage: str = ""
    network: tuple[str, ...] = ()
    subprocess: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    tries: Mapping[str, str] = field(default_factory=dict)
    operations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What came of it.

    Attributes:
        name, version, tools: of the package; *protocol* the version of MCP that the server speaks.
        undecided: tools whose operation its author has to decide.
        cautions: tool to what should be read in its descriptions, and that its server forgets.
        notes: what could not be carried over, and what else there is to know.
    """

    name: str
    version: str
    protocol: str
    tools: tuple[str, ...]
    undecided: tuple[str, ...]
    cautions: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def wrap(origin: Origin, target: Path, wishes: Wishes, watch: Watch = Watch()) -> Wrapped:  # noqa: B008 -- frozen
    """Make *target*, which must not exist or be empty, the source of a package of the server *origin*.

    *watch* is told what is being done. Nothing is left behind where it fails, or is interrupted.

    Raises:
        UsageError: ``wrap.*``, ``toml.*``.
        HostError, InternalError: a registry, an installer or this host failed.
    """
    _require_room(target)
    if origin.kind == "dir" and target.resolve().is_relative_to(Path(origin.name).resolve()):
        raise UsageError(
            "wrap.target", f"{target} lies in the folder of the server", "name one beside it with -o"
        )
    if origin.kind in ("pypi", "npm"):  # these take a while to fetch, and bring no setting of their own
        parse_toml(mpp_toml(**_parts(origin, _STAND_IN, wishes), tools=[_ANY_TOOL], limits={}))
    made = [each for each in target.parents if not each.exists()]
    work: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        watch.say(f"fetching {origin}")
        fetched = _fetch(origin, work, wishes, watch)
        fetched = replace(fetched, command=with_preload(fetched.command, work))
        _tidy(work)
        watch.say("asking the server for its tools, in a closed sandbox")
        watch.tell("starting it")
        wrapped, text = _describe(origin, fetched, work, wishes, watch)
        (work / "mpp.toml").write_text(text)
        work.chmod(0o755)
        if target.exists():
            target.rmdir()
        work.rename(target)
    except OSError as error:
        raise InternalError(
            "wrap.io", f"{target} cannot be written: {error.strerror}", "is there room?"
        ) from None
    finally:
        _remove(work, made)
    return wrapped


def _remove(work: Path | None, made: Sequence[Path]) -> None:
    """Remove *work*, and what is empty of *made*; whoever interrupts that too is heard when it is done."""
    interruption: BaseException | None = None
    while True:
        try:
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
            for folder in made:
                with suppress(OSError):  # what was asked for is in it
                    folder.rmdir()
            break
        except KeyboardInterrupt as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _require_room(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            "wrap.target", f"{target} exists and is not an empty folder", "name another one with -o"
        )


def _fetch(origin: Origin, folder: Path, wishes: Wishes, watch: Watch) -> Fetched:
    if wishes.platforms and origin.kind != "pypi":
        raise UsageError(
            "wrap.platform",
            f"compiled parts are fetched for other platforms from pypi: alone, not for {origin.kind}:",
            "wrap it on each platform",
        )
    if origin.kind == "dir":
        return bundle.fetch_folder(origin, folder, wishes.arguments)
    if origin.kind == "mcpb":
        return bundle.fetch_bundle(origin, folder)
    if origin.kind == "npm":
        return npm.fetch(
            origin,
            folder,
            constraints=wishes.constraints,
            as_of=wishes.as_of,
            latest=wishes.latest,
            script=wishes.script,
            watch=watch,
        )
    return pypi.fetch(
        origin,
        folder,
        constraints=wishes.constraints,
        as_of=wishes.as_of,
        latest=wishes.latest,
        script=wishes.script,
        platforms=tuple(dict.fromkeys(each for each in wishes.platforms if each != current_platform())),
        watch=watch,
    )


def _tidy(folder: Path) -> None:
    """Leave regular files and folders that every id may read; links, devices and caches go."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                if name == "__pycache__":
                    shutil.rmtree(path)
                else:
                    path.chmod(0o755)
            elif stat.S_ISREG(mode):
                path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
            else:
                path.unlink()
    folder.chmod(0o755)


def _describe(
    origin: Origin, fetched: Fetched, folder: Path, wishes: Wishes, watch: Watch
) -> tuple[Wrapped, str]:
    parts = _parts(origin, fetched, wishes)
    try:
        answered = ask(parse_toml(mpp_toml(**parts, tools=[_ANY_TOOL], limits={})), folder, wishes.tries)
    except UsageError as error:
        if error.code != "wrap.server" or not fetched.notes:
            raise
        raise UsageError(error.code, f"{error.message}; {'; '.join(fetched.notes)}", error.hint) from None
    names = [str(each.get("name", "")) for each in answered.tools]
    notes = list(fetched.notes)
    tools = [_tool(each, wishes.operations, notes) for each in answered.tools]
    if any(each.get("icons") for each in answered.tools):
        notes.append(ICONS)
    unknown = [name for name in wishes.operations if name and name not in names]
    if unknown:
        raise UsageError("wrap.operation", f"there is no tool {unknown[0]}", f"tools: {', '.join(names)}")
    draft = parse_toml(mpp_toml(**parts, tools=tools, limits={}))
    found = {str(each.get("name", "")): cautions(each, names) for each in answered.tools}
    watch.tell("calling each twice")
    repeated = repeat(draft, folder, wishes.tries)
    for name in repeated.forgetful:
        found[name].append(FORGETS)
    text = mpp_toml(**parts, tools=tools, limits=_limits(answered, repeated))
    draft = parse_toml(text)
    if draft.permissions.storage and any(tool.operation == "read" for tool in draft.tools):
        notes.append(READS_STORAGE)
    notes += changes_nothing(draft)
    return (
        Wrapped(
            name=draft.name,
            version=draft.version,
            protocol=answered.version,
            tools=tuple(tool.name for tool in draft.tools),
            undecided=tuple(tool.name for tool in tools if not tool.operation),
            cautions={name: lines for name, lines in found.items() if lines},
            notes=tuple(dict.fromkeys(notes)),
        ),
        text,
    )


def _parts(origin: Origin, fetched: Fetched, wishes: Wishes) -> dict[str, Any]:
    """Return what stands in ``mpp.toml`` before the server was asked for its tools."""
    arguments = () if origin.kind == "dir" else wishes.arguments
    command = (*fetched.command, *arguments)
    env = {**fetched.env, **wishes.env}
    settings = {**fetched.settings, **{key: _setting(kind) for key, kind in wishes.settings.items()}}
    uses = " ".join((*command, *env.values()))
    storage = wishes.storage or (DEFAULT_STORAGE if "${storage}" in uses else "")
    read = wishes.read or tuple(
        f"${{user_config.{key}}}"
        for key, setting in settings.items()
        if setting["type"] in ("file", "directory") and f"${{user_config.{key}}}" not in wishes.write
    )
    return {
        "source": str(origin),
        "package": {
            "name": wishes.name
            if wishes.name.rpartition("/")[2]
            else f"{wishes.name}{_called(origin, fetched)}",
            "version": semantic(fetched.version),
            "description": plain_text(fetched.description)[:_MAX_DESCRIPTION],
            "license": _license(fetched.license),
            "homepage": fetched.homepage if fetched.homepage.startswith(("https://", "http://")) else "",
        },
        "runtime": {
            "kind": "mcp",
            "command": list(command),
            "env": env,
            "requires": list(fetched.requires),
            "platforms": list(fetched.platforms),
        },
        "permissions": {
            "network": list(wishes.network),
            "storage": storage,
            "subprocess": list(wishes.subprocess),
        },
        "filesystem": {"read": list(read), "write": list(wishes.write)},
        "settings": settings,
    }


def _called(origin: Origin, fetched: Fetched) -> str:
    return short_name(origin.name if origin.kind in ("pypi", "npm") else fetched.name)


def _setting(kind: str) -> dict[str, Any]:
    name, comma, _ = kind.partition(",")
    return {"type": name, "required": True, **({"multiple": True} if comma else {})}


def _license(text: str) -> str:
    try:
        return check_license(text.strip())
    except VocabularyError:
        return ""


def _tool(tool: dict[str, Any], operations: Mapping[str, str], notes: list[str]) -> WrappedTool:
    name = str(tool.get("name", ""))
    title = tool.get("title") or _hint(tool, "title")
    description = tool.get("description")
    schema, lost = fit(tool.get("inputSchema"), where=f"{name}.inputSchema")
    notes += lost
    output = tool.get("outputSchema")
    fitted: dict[str, Any] | None = None
    if output is not None:
        fitted, lost = fit(output, where=f"{name}.outputSchema")
        notes += lost
    return WrappedTool(
        name=name,
        title=plain_text(title)[:_MAX_TITLE] if isinstance(title, str) else "",
        description=plain_text(description)[:_MAX_DESCRIPTION] if isinstance(description, str) else "",
        operation=operations.get(name) or operation_of(tool) or operations.get("", ""),
        input_schema=schema,
        output_schema=fitted,
    )


def operation_of(tool: dict[str, Any]) -> str:
    """Return the operation that the annotations of *tool* say, "" where they do not say it.

    A default of MCP is no statement: half of all servers leave them out.
    """
    reads, destroys = _hint(tool, "readOnlyHint"), _hint(tool, "destructiveHint")
    if reads is True:
        return "read"
    if destroys is True:
        return "destructive"
    return "write" if destroys is False and reads is False else ""


def _hint(tool: dict[str, Any], name: str) -> Any:
    annotations = tool.get("annotations")
    return annotations.get(name) if isinstance(annotations, dict) else None


def _limits(answered: Answered, repeated: Repeated) -> dict[str, Any]:
    """Return limits that leave room above what starting and calls with little in them took."""
    peak = 2 * max(answered.memory, repeated.memory)
    memory = next((each for each in _MEMORY if each * _MIB >= peak), _MEMORY[-1])
    processes = max(answered.processes, repeated.processes)
    return {
        "wall": f"{_at_least(5 * answered.wall_ms)}s",
        "cpu": f"{_at_least(5 * answered.cpu_ms)}s",
        "memory": format_size(memory * _MIB),
        "processes": 16 if processes <= 8 else 64,
        "open_files": 256,
    }


def _at_least(milliseconds: int) -> int:
    return next((each for each in _SECONDS if each * 1000 >= milliseconds), _SECONDS[-1])


def check_operation(word: str) -> tuple[str, str]:
    """Take ``TOOL=OPERATION`` or ``OPERATION`` apart.

    Raises:
        UsageError: ``wrap.operation``.
    """
    tool, _, operation = word.rpartition("=")
    if operation not in OPERATIONS:
        raise UsageError(
            "wrap.operation", f"{operation!r} is not an operation", f"one of {', '.join(OPERATIONS)}"
        )
    return tool, operation
