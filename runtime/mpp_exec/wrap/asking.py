"""Starts a server in a closed sandbox, as no call will start it, and asks it for its tools.

Nothing is granted but an empty scratch, an empty storage where the package asks for one, and the programs it
asks for. A setting has a value that stands for none.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mpp_exec import encoding
from mpp_exec.consent.config import Value, all_of, check_settings, fill
from mpp_exec.consent.grant import Grant
from mpp_exec.dialogue.session import Asked, Reading, Session
from mpp_exec.errors import HostError, UsageError
from mpp_exec.package.manifest import ConfigField, Draft
from mpp_exec.permissions import Limits, Permissions, Privacy
from mpp_exec.sandbox import kernel, spaces, spawn
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.call import Call
from mpp_exec.sandbox.planning import compile_plan
from mpp_exec.sandbox.spawn import Completed

MAX_TOOLS: Final = 256
_LIMITS: Final = Limits(
    wall_ms=120_000,
    cpu_ms=60_000,
    memory=2 << 30,
    processes=64,
    open_files=256,
    output=16 << 20,
    scratch=256 << 20,
)
READING: Final = Reading(max_size=16 << 20, max_depth=64, max_values=1_000_000)
_INVOCATION: Final = "00000000-0000-0000-0000-000000000000"
_LINES: Final = 12

# What a server says that does not start, and what its author can do about it; the first that fits is told.
_REMEDIES: Final = (
    (
        r"(?<![\w/.-])/(?:proc|sys)/",
        (
            "it reads /proc or /sys, which are not there in a sandbox: look for a version or a setting of it "
            "that does without"
        ),
    ),
    (
        r"bindings file|\.node['\"\s]|ERR_DLOPEN_FAILED",
        (
            "what is compiled of it comes from an install script, and none is run here: install it into a "
            "folder of your own, and wrap that: dir:FOLDER"
        ),
    ),
    (
        (
            r"\b(?:ImportError|ModuleNotFoundError|AttributeError|SyntaxError)\b|ERR_MODULE_NOT_FOUND|"
            r"Cannot find module"
        ),
        (
            "it does not go with what was fetched for it: --constraint 'NAME<VERSION', --as-of DATE, and "
            "without --latest"
        ),
    ),
    (
        (
            r"getaddrinfo|ENOTFOUND|EAI_AGAIN|ENETUNREACH|name resolution|Name or service not known|"
            r"Network is unreachable"
        ),
        "it wants the network as it starts, and has none: look for a setting of it that does without",
    ),
    (
        r"(?i)\blisten\b|StreamableHTTP|\buvicorn\b|EADDRINUSE",
        (
            "it serves HTTP, and here it is spoken to over standard input and output: give it the argument "
            "that makes it do so, as in -- --stdio"
        ),
    ),
    (
        r"(?i)\busage:|missing (?:required )?argument|arguments? (?:is|are) required",
        "give it the arguments that it names behind --, as in -- --db-path '${storage}/data.db'",
    ),
)
_ANY_REMEDY: Final = (
    "what it needs to start: --storage, --subprocess, --try KEY=VALUE, --env, or arguments after --"
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server said of itself: *tools* as in ``tools/list``, its protocol version, and what it used.

    ``wall_ms`` until the list was complete; ``cpu_ms`` of processor time; ``memory`` in bytes.
    """

    tools: tuple[dict[str, Any], ...]
    version: str
    wall_ms: int
    cpu_ms: int
    memory: int
    processes: int


def ask(draft: Draft, folder: Path, tries: Mapping[str, str]) -> Answered:
    """Start the server of *draft* from *folder* and return what it answered.

    *tries* are values of settings to start it with; one that is a path can be read by it.

    Raises:
        UsageError: ``wrap.server``: it gave no list; the message says how it ended, and what it wrote.
        HostError: this host cannot confine it, or lacks its interpreter.
    """
    if spaces.missing() is not None:
        raise HostError(
            "host.wrap_without_namespaces",
            "a server is started to be asked for its tools, and this host has no namespaces to confine it in",
            "wrap it on a host that has: mpp-exec doctor tells",
        )
    with closed(draft, folder, tries) as server:
        return _asked(server)


class ClosedServer:
    """A server in its folder, to be started in a closed sandbox any number of times; its storage stays."""

    def __init__(self, draft: Draft, folder: Path, tries: Mapping[str, str], storage: Path | None) -> None:
        (tool,) = draft.tools[:1]
        tried = check_settings([each for each in draft.user_config if each.key in tries], tries).values
        paths = {
            str(value)
            for each in draft.user_config
            if each.key in tried and _is_path(each)
            for value in all_of(tried[each.key])
        }
        self._plan = compile_plan(
            draft.seal(bytes(32), ()),
            replace(tool, operation="write"),
            _grant(draft, tuple(sorted(paths))),
            replace(kernel.probe(), namespaces=True),
            app=os.path.realpath(folder),
            storage=None if storage is None else os.path.realpath(storage),
        )
        plain: dict[str, Value] = {
            each.key: tried.get(each.key, _value(each, self._plan.scratch)) for each in draft.user_config
        }
        secrets = {each.key: str(plain.pop(each.key)) for each in draft.user_config if each.sensitive}
        place = self._plan.storage if storage is not None else ""
        self._filled = fill(draft, plain, secrets, storage=place, app=self._plan.app)

    def talk(self, session: Session, *, wall_ms: int | None = None) -> Completed:
        """Start it, have *session* with it, for up to *wall_ms*, and end it.

        Raises:
            HostError: this host cannot confine it, or lacks its interpreter.
        """
        call = Call(
            session.opening(),
            _INVOCATION,
            variables=tuple(self._filled.env.items()),
            arguments=(self._plan.argv[0], *self._filled.command[1:]),
            wall_ms=wall_ms,
            dialogue=session,
        )
        return spawn.run(self._plan, call, cache=SandboxCache(None))


@contextmanager
def closed(draft: Draft, folder: Path, tries: Mapping[str, str]) -> Iterator[ClosedServer]:
    """Yield the server of *draft* with a storage that is empty, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mpp-exec-") as place:
        Path(place).chmod(0o755)
        storage = Path(place, "storage")
        storage.mkdir(mode=0o700)
        yield ClosedServer(draft, folder, tries, storage if draft.permissions.storage else None)


def _asked(server: ClosedServer) -> Answered:
    tools: list[dict[str, Any]] = []

    def following(result: Any) -> Asked | None:
        listed = result.get("tools") if isinstance(result, dict) else None
        if isinstance(listed, list):
            tools.extend(each for each in listed if isinstance(each, dict))
        cursor = result.get("nextCursor") if isinstance(result, dict) else None
        if not isinstance(cursor, str) or len(tools) > MAX_TOOLS:
            return None
        return Asked("tools/list", encoding.json_dumps({"cursor": cursor}))

    session = Session(Asked("tools/list", "{}"), READING, following=following)
    done = server.talk(session)
    end = session.end
    if done.outcome != "ok" or end.kind != "result" or not tools:
        how = {"fault": end.message, "error": f"it answered: {end.message}", "result": "it has no tools"}
        reason = how.get(end.kind) or done.reason or "it ended before it answered"
        said = (done.errors.decode("utf-8", "replace") + session.aside).strip().splitlines()[-_LINES:]
        wrote = f"; it wrote: {' | '.join(said)}" if said else ""
        raise UsageError(
            "wrap.server",
            f"the server gave no list of its tools: {reason}{wrote}",
            _remedy(" ".join(said)),
        )
    return Answered(
        tools=tuple(tools),
        version=session.version,
        wall_ms=sum(done.timing.values()) // 1000,
        cpu_ms=done.cpu_us // 1000,
        memory=done.memory_peak,
        processes=done.processes_peak,
    )


def _remedy(said: str) -> str:
    """Return what to do about a server that ended with *said*, the last that it wrote."""
    return next((hint for wants, hint in _REMEDIES if re.search(wants, said)), _ANY_REMEDY)


def _is_path(setting: ConfigField) -> bool:
    return setting.type in ("file", "directory")


def _grant(draft: Draft, read: tuple[str, ...]) -> Grant:
    asked = draft.permissions
    return Grant(
        package=draft.name,
        version=draft.version,
        digest="",
        key_id="",
        permissions=Permissions(subprocess=asked.subprocess, storage=asked.storage, read=read),
        limits=_LIMITS,
        privacy=Privacy(),
        confirm={},
        approved_at=datetime.now(UTC),
        shown={},
    )


def _value(setting: ConfigField, scratch: str) -> Value:
    """Return a value with which the server may start and finds nothing."""
    if setting.default is not None:
        return setting.default
    values: dict[str, Value] = {"number": 1, "boolean": False, "directory": scratch, "file": "/dev/null"}
    return values.get(setting.type, "none")
