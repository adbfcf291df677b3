"""The server: what each method does, for clients of both eras at once.

One thread reads and answers everything that is quick; each ``tools/call`` has a thread of its own. The end of
the input, or the death of whoever started this process, ends every call and the server.

Source: MCP 2026-07-28 and 2025-11-25. What this server is not (prompts, resources, sampling) it does not say
it is, and answers with -32601.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpp_exec import __version__
from mpp_exec.dialogue.protocol import METHOD_NOT_FOUND, MODERN, VERSION_KEY, RequestId
from mpp_exec.errors import InternalError, MppError
from mpp_exec.mcp.messages import (
    BATCHING,
    INVALID_PARAMS,
    INVALID_REQUEST,
    SERVER_KEY,
    SUBSCRIPTION_KEY,
    Era,
    InvalidMessageError,
    Request,
    Response,
    RpcError,
    classify,
    legacy_era,
    modern_era,
    parse,
    refused,
)
from mpp_exec.mcp.wire import TooLong, Wire, WireClosedError

if TYPE_CHECKING:
    from mpp_exec.mcp.relayed import State
    from mpp_exec.mcp.tools import Ends, Tools

TICK: Final = 0.25
"""Seconds between two looks at whether packages came or went, and whether the parent is alive."""

LIST_TTL_MS: Final = 5000
"""Milliseconds for which a list of tools may be kept by a client that does not listen for changes."""

MAX_BATCH: Final = 64
MAX_SUBSCRIPTIONS: Final = 16

INSTRUCTIONS: Final = (
    "A name in capitals and brackets in a result, such as [EMAIL], stands where a sensitive value was. One "
    "with thirty letters behind a colon is a token: where a tool needs the value, pass the whole token on, "
    "unchanged. A tool that may receive such values is given the real one."
)
"""What a model is told of results, whatever tools there are."""

_SERVER: Final = {"name": "mpp-exec", "title": "mpp-exec", "version": __version__}
_CAPABILITIES: Final = {"tools": {"listChanged": True}}

_LOST: Final = (
    "serve.lost",
    "the resident runtime ended: whether the tool ran is not known",
    "mpp-exec audit list tells what is on record; the call was not made again",
)

Reply = Callable[[dict[str, Any]], None]
MakeTools = Callable[[str, Callable[[Any], None]], "Tools"]


class Server:
    """One connection.

    Args:
        wire: where the client is.
        make_tools: opens the home, given the name of the client and what sends it messages; called when
            the first tool is asked for.
        warn: takes a line for people.
        is_orphaned: tells whether whoever started the server has gone.
        state: what ``wire.remember`` and its like were told of this connection in another process.
    """

    def __init__(
        self,
        wire: Wire,
        make_tools: MakeTools,
        warn: Callable[[str], None],
        is_orphaned: Callable[[], bool],
        state: State | None = None,
    ) -> None:
        self._wire = wire
        self._make_tools = make_tools
        self._warn = warn
        self._tools: Tools | None = None
        self._legacy: Era | None = None
        self._ready = False
        self._subscriptions: set[RequestId] = set()
        self._is_orphaned = is_orphaned
        self._state = state
        self._known: set[RequestId] = set()  # requests that another process has dealt with
        self._next_look = 0.0
        self._warned = ""

    def run(self) -> None:
        """Serve until the input ends."""
        try:
            if self._state is not None:
                self._go_on(self._state)
            for line in self._wire.messages(TICK):
                if line is not None:
                    try:
                        self._take(line)
                    finally:
                        self._wire.taken()
                if time.monotonic() >= self._next_look:
                    if self._is_orphaned():
                        return
                    self._look()
                    self._next_look = time.monotonic() + TICK
        except WireClosedError:
            return
        finally:
            if self._tools is not None:
                self._tools.close()

    # -- messages ----------------------------------------------------------------------------------

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            long = InvalidMessageError(INVALID_REQUEST, "a message is longer than this server reads")
            self._wire.send(long.answer(None))
            return
        try:
            value = parse(line)
        except InvalidMessageError as error:
            self._wire.send(error.answer(None))
            return
        if isinstance(value, list) and self._legacy is not None and self._legacy.version == BATCHING:
            self._take_batch(value)
        else:
            self._take_one(value, self._wire.send)

    def _take_batch(self, values: list[Any]) -> None:
        if not values or len(values) > MAX_BATCH:
            error = InvalidMessageError(INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} messages")
            self._wire.send(error.answer(None))
            return
        batch = _Batch(self._wire.send)
        for value in values:
            self._take_one(value, batch.reply(value))
        batch.complete()

    def _take_one(self, value: Any, reply: Reply) -> None:
        try:
            message = classify(value)
        except InvalidMessageError as error:
            reply(error.answer(error.id))
            return
        if isinstance(message, Response):
            if self._tools is not None:
                self._tools.answered(message)
            return
        if message.id is None:
            self._notified(message)
            return
        if message.id in self._known:  # its line should not have come once more
            return
        if message.id in self._subscriptions or (self._tools is not None and message.id in self._tools):
            # No answer to that id: it is the other one's, which is still to come.
            used = RpcError(INVALID_REQUEST, "a request with this id is still being worked on")
            reply(used.answer(None))
            return
        self._wire.took(message.id)
        try:
            self._requested(message, message.id, reply)
        except RpcError as error:
            reply(error.answer(message.id))
        except MppError as error:  # the home cannot be opened or read
            if self._wire.goes_on and isinstance(error, InternalError):
                raise  # what this process lacks, the client's own may have
            if (line := f"{error.message} ({error.hint})") != self._warned:
                self._warned = line  # clients show people the message at best, and stderr in their log
                self._warn(line)
            reply(RpcError.of(error).answer(message.id))

    def _notified(self, message: Request) -> None:
        if message.method == "notifications/initialized":
            self._ready = self._legacy is not None
            self._wire.remember(ready=self._ready)
        elif message.method == "notifications/cancelled":
            name = message.params.get("requestId")
            if isinstance(name, str | int) and not isinstance(name, bool):
                if name in self._subscriptions:
                    self._subscriptions.discard(name)
                    self._wire.remember(subscriptions=list(self._subscriptions))
                if self._tools is not None and name in self._tools:
                    self._tools.cancel(name)
                    self._wire.forgets(name)

    def _requested(self, message: Request, name: RequestId, reply: Reply) -> None:
        if message.method == "initialize" and VERSION_KEY not in message.meta:
            reply(_result(name, self._initialize(message.params)))
            return
        era = self._era(message)
        match message.method:
            case "ping" if not era.modern:
                reply(_answer(name, era, {}))
            case "server/discover" if era.modern:
                reply(_answer(name, era, _discovered()))
            case "tools/list":
                reply(_answer(name, era, self._list(era, message.params)))
            case "tools/call":
                ends = self._ends(name, era, reply)
                self._opened(era).call(era, message, ends)
            case "subscriptions/listen" if era.modern:
                self._listen(name, era, message.params, reply)
            case "logging/setLevel" if not era.modern:
                reply(_answer(name, era, {}))  # some clients send it unasked; nothing is logged to them
            case _:
                raise RpcError(METHOD_NOT_FOUND, "this server has no such method")

    def _ends(self, name: RequestId, era: Era, reply: Reply) -> Ends:
        from mpp_exec.mcp.tools import Ends  # noqa: PLC0415 -- not before a tool is asked for

        return Ends(
            begins=lambda: self._wire.begins(name, modern=era.modern),
            finish=lambda result: reply(_answer(name, era, result)),
            fail=lambda error: reply(error.answer(name)),
            silent=lambda: self._wire.forgets(name),
        )

    def _era(self, message: Request) -> Era:
        if VERSION_KEY in message.meta or (self._legacy is None and message.method != "ping"):
            return modern_era(message)
        return self._legacy or Era(modern=False, version="", capabilities={}, client="")

    # -- methods -----------------------------------------------------------------------------------

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        self._legacy = legacy_era(params)
        self._wire.remember(legacy=[self._legacy.version, self._legacy.can_ask(), self._legacy.client])
        return {
            "protocolVersion": self._legacy.version,
            "capabilities": _CAPABILITIES,
            "serverInfo": _SERVER,
            "instructions": INSTRUCTIONS,
        }

    def _list(self, era: Era, params: dict[str, Any]) -> dict[str, Any]:
        cursor = params.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            raise RpcError(INVALID_PARAMS, "a cursor is a string")
        shown, following = self._opened(era).page(cursor)
        result: dict[str, Any] = {"tools": shown}
        if following is not None:
            result["nextCursor"] = following
        if era.modern:
            result |= {"ttlMs": LIST_TTL_MS, "cacheScope": "private"}
        return result

    def _listen(self, name: RequestId, era: Era, params: dict[str, Any], reply: Reply) -> None:
        wanted = params.get("notifications")
        if not isinstance(wanted, dict):
            raise RpcError(INVALID_PARAMS, "subscriptions/listen needs notifications")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RpcError(INVALID_PARAMS, f"there are {MAX_SUBSCRIPTIONS} subscriptions already")
        honoured = {"toolsListChanged": True} if wanted.get("toolsListChanged") is True else {}
        meta = {SUBSCRIPTION_KEY: name}
        if honoured:
            self._opened(era)  # what it holds at this moment is what changes are told against
            self._subscriptions.add(name)
            self._wire.remember(subscriptions=list(self._subscriptions))
            self._wire.forgets(name)  # it is remembered as what it has become
        self._wire.send(
            _notification(
                "notifications/subscriptions/acknowledged", {"notifications": honoured, "_meta": meta}
            )
        )
        if not honoured:
            reply(_answer(name, era, {"_meta": meta}))

    def _opened(self, era: Era) -> Tools:
        if self._tools is None:
            self._tools = self._make_tools(era.client, self._wire.send)
            self._wire.remember(opened=era.client)
            for line in self._tools.left_out():
                self._warn(line)
        return self._tools

    def _go_on(self, state: State) -> None:
        """Take over what another process began: its calls are answered, and never made a second time."""
        if state.legacy is not None:
            version, can_ask, client = state.legacy
            self._legacy = Era(False, version, {"elicitation": {}} if can_ask else {}, client)
        self._ready = state.ready and self._legacy is not None
        self._subscriptions.update(state.subscriptions)
        self._known.update(state.subscriptions, state.over, (name for name, _ in state.owed))
        for name, modern in state.owed:
            era = Era(modern, "", {}, "")
            self._wire.send(_answer(name, era, refused(*_LOST)))
        if state.opened is not None:
            try:
                self._opened(Era(False, "", {}, state.opened))
            except MppError as error:
                self._warn(f"the packages cannot be looked at: {error}")
            self._tell_change()  # nobody looked in between

    # -- changes -----------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._tools is None:
            return
        self._tools.review()
        if not (self._ready or self._subscriptions):
            return
        try:
            changed = self._tools.changed()
        except MppError as error:
            self._warn(f"the packages cannot be looked at: {error}")
            return
        if not changed:
            return
        for line in self._tools.left_out():
            self._warn(line)
        self._tell_change()

    def _tell_change(self) -> None:
        if self._ready:
            self._wire.send(_notification("notifications/tools/list_changed", {}))
        for name in self._subscriptions:
            meta = {"_meta": {SUBSCRIPTION_KEY: name}}
            self._wire.send(_notification("notifications/tools/list_changed", meta))


class _Batch:
    """Several messages that came as one array; their answers go back as one. Safe for threads.

    A call that is cancelled has no answer, and the others of its batch then none either: whoever sends a
    batch and cancels a part of it has to ask for the rest again.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._open = 1
        self._answers: list[dict[str, Any]] = []

    def reply(self, value: Any) -> Reply:
        """Return what takes the answer to *value*; a notification has none, and a response neither."""
        try:
            message = classify(value)
        except InvalidMessageError:
            message = None
        if message is None or (isinstance(message, Request) and message.id is not None):
            with self._lock:
                self._open += 1

        def take(answer: dict[str, Any]) -> None:
            self._answers.append(answer)
            self.complete()

        return take

    def complete(self) -> None:
        """Count one as done, and send everything with the last."""
        with self._lock:
            self._open -= 1
            over = self._open == 0 and self._answers
        if over:
            self._send(self._answers)


def _result(name: RequestId, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": name, "result": result}


def _answer(name: RequestId, era: Era, result: dict[str, Any]) -> dict[str, Any]:
    """Return the response with *result*, as the era of the request has it."""
    if not era.modern:
        return _result(name, result)
    meta = {**result.get("_meta", {}), SERVER_KEY: _SERVER}
    return _result(name, {"resultType": "complete", **result, "_meta": meta})


def _discovered() -> dict[str, Any]:
    return {
        "supportedVersions": list(MODERN),
        "capabilities": _CAPABILITIES,
        "instructions": INSTRUCTIONS,
        "ttlMs": LIST_TTL_MS,
        "cacheScope": "private",
    }


def _notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params:
        message["params"] = params
    return message
