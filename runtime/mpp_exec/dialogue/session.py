"""The client's side of one MCP session over stdio: handshake by the server's era, requests in turn, done.

Everything the server says is hostile. No message of it makes this side wait for another one, answer twice or
keep more than it was sent; what it says in excess ends the session as a fault.

``initialize`` comes first: servers of every version up to 2025-11-25 expect it and some end on anything else,
one of both eras answers it, and one of 2026-07-28 alone answers it with an error, after which it is asked
what it is (``server/discover``).

Source: MCP 2024-11-05 to 2025-11-25, basic/lifecycle; MCP 2026-07-28, basic/versioning and
basic/transports/stdio; JSON-RPC 2.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard

from mpp_exec import __version__, encoding
from mpp_exec.dialogue.long import MAX_UNASKED, is_answer, long_request
from mpp_exec.dialogue.protocol import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LEGACY,
    METHOD_NOT_FOUND,
    MODERN,
    VERSION_KEY,
    is_id,
)

MAX_LINES: Final = 10_000
"""Lines that a server may write in one session: messages, and what is none."""

_CLIENT: Final = {"name": "mpp-exec", "version": __version__}
_UNREADABLE: Final = (-32700, -32600)  # parse error, invalid request (JSON-RPC 2.0 §5.1)


@dataclass(frozen=True, slots=True)
class Reading:
    """Bounds of one message: bytes, containers inside one another, and values."""

    max_size: int
    max_depth: int
    max_values: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is, as its server says: *progress* grows; *total* may be unknown, *message* ""."""

    progress: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: *params* is the text of a JSON object."""

    method: str
    params: str


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended.

    Attributes:
        kind: ``result``: *value* is the last result; ``error``: the server answered with an error, whose
            *message* is its own words and *code* its number; ``fault``: it broke the protocol, and *message*
            says how (words of the server's may be in it); ``open``: nothing has ended it.
    """

    kind: Literal["result", "error", "fault", "open"]
    value: Any = None
    message: str = ""
    code: int = 0


class _FaultError(Exception):
    pass


class Session:
    """One session; to be had once.

    Args:
        first: the request to make; None for one that ends with the handshake, to be taken over.
        reading: bounds of what is read.
        rehearsal: a request to make behind the handshake of one that is to be taken over. What is answered
            does not matter, an error included: only that the server has done it once.
        following: given the result of a request, the next one to make; None for no more.
        progress: told of the progress of the request; None where nobody wants to know. *finished* is
            called before the session ends with a result or an error: no progress comes after it.
        meta: goes into the ``_meta`` of a ``tools/call``.
    """

    def __init__(
        self,
        first: Asked | None,
        reading: Reading,
        *,
        rehearsal: Asked | None = None,
        following: Callable[[Any], Asked | None] = lambda _: None,
        progress: Callable[[Progress], None] | None = None,
        finished: Callable[[], None] = lambda: None,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        self._asked = first
        self._reading = reading
        self._rehearsal = rehearsal
        self._following = following
        self._progress = progress
        self._finished = finished
        self._meta = dict(meta or {})
        self._furthest = -math.inf
        self._version = ""
        self._refused = ""  # what initialize was refused with
        self._noticed = False  # a notification was sent that a server may take for a request, until it has
        self._stage: Literal["initialize", "server/discover", "rehearsal", "greeted", "request"] = (
            "initialize"
        )
        self._number = 0
        self._held = bytearray()
        self._lines = 0
        self._aside: list[str] = []
        self.end = End("open")

    @property
    def aside(self) -> str:
        """What the server wrote or logged beside its messages, line by line. Its own words."""
        return "".join(f"{line}\n" for line in self._aside)

    @property
    def version(self) -> str:
        """The version that both speak, "" before that is known."""
        return self._version

    @property
    def is_done(self) -> bool:
        """Whether the handshake is done, and its rehearsal, and no request was made yet."""
        return self._stage == "greeted"

    @property
    def is_rehearsing(self) -> bool:
        """Whether the handshake is done, and the answer of the rehearsal is still owed."""
        return self._stage == "rehearsal"

    def cut_rehearsal(self) -> None:
        """Wait no longer for the answer of the rehearsal; what comes of it later is passed over."""
        if self._stage == "rehearsal":
            self._stage = "greeted"

    def resume(self, greeted: Session) -> bytes:
        """Go on with a session whose handshake is done; return the request to make in it."""
        self._version, self._number = greeted._version, greeted._number
        self._lines, self._held = greeted._lines, greeted._held
        self._noticed = greeted._noticed
        self._aside = [*greeted._aside]
        return self._ask()

    def opening(self) -> bytes:
        """Return what is said first. What was resumed is forgotten."""
        self._stage, self._version, self._number = "initialize", "", 0
        self._lines, self._held, self._aside = 0, bytearray(), []
        self.end = End("open")
        return self._request(
            "initialize",
            encoding.json_dumps(
                {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": _CLIENT},
            ),
        )

    def hear(self, said: bytes) -> bytes | None:
        """Take what the server wrote; return what to answer, None when the session is over."""
        if self.end.kind != "open":
            return None
        *lines, rest = said.split(b"\n")
        answers = bytearray()
        try:
            for line in lines:
                self._held += line
                whole = bytes(self._held)
                self._held.clear()
                answers += self._line(whole)
                if self.end.kind != "open":
                    return None
        except _FaultError as fault:
            self.end = End("fault", message=str(fault))
            return None
        self._held += rest
        return bytes(answers)

    # -- reading -----------------------------------------------------------------------------------

    def _line(self, line: bytes) -> bytes:
        self._lines += 1
        if self._lines > MAX_LINES:
            raise _FaultError(f"it wrote more than {MAX_LINES} lines")
        answers = bytearray()
        for message in self._messages(line.strip()):
            answers += self._take(message)
            if self.end.kind != "open":
                break
        return bytes(answers)

    def _messages(self, line: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages of one line: one, those of a batch, or none where it is something else.

        Servers print to standard output what belongs to stderr, and every client lets them.
        """
        if line[:1] not in (b"{", b"[") or b'"jsonrpc"' not in line:
            if line:
                self._aside.append(line.decode("utf-8", "replace"))
            return
        if len(line) > MAX_UNASKED and not is_answer(line):
            request = long_request(line)
            if request is not None:
                yield request
            else:
                self._aside.append(line.decode("utf-8", "replace"))
            return
        if line.count(b",") + line.count(b"[") + line.count(b"{") > self._reading.max_values:
            raise _FaultError(f"a message has more than {self._reading.max_values} values")
        try:
            value = encoding.json_loads(
                line, max_size=self._reading.max_size, max_depth=self._reading.max_depth
            )
        except encoding.JsonError as error:
            raise _FaultError(f"a message cannot be read: {error.message}") from None
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict) or each.get("jsonrpc") != "2.0":
                raise _FaultError("a message is none of JSON-RPC 2.0")
            yield each

    def _take(self, message: dict[str, Any]) -> bytes:
        method = message.get("method")
        if isinstance(method, str):
            params = message.get("params")
            params = params if isinstance(params, dict) else {}
            if "id" not in message:
                self._notified(method, params)
                return b""
            return _refusal(method, message["id"])
        if "result" not in message and "error" not in message:
            raise _FaultError("a message has neither a method nor a result")
        return self._answered(message)

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/message":
            data = params.get("data")
            text = data if isinstance(data, str) else encoding.json_dumps(data)
            self._aside.append(f"[{params.get('level', '')}] {text}")
        elif method == "notifications/progress" and self._progress is not None and self._stage == "request":
            told = _progress(params, self._number)
            if told is not None and told.progress > self._furthest:
                self._furthest = told.progress
                self._progress(told)

    def _answered(self, message: dict[str, Any]) -> bytes:
        if not self._is_owed(message):
            return b""
        if "error" in message and "result" in message:
            raise _FaultError("an answer is both a result and an error")
        failed = _told(message["error"]) if "error" in message else None
        match self._stage:
            case "initialize":
                return self._initialized(message.get("result"), failed)
            case "server/discover":
                return self._discovered(message.get("result"), failed)
            case "rehearsal":
                self._stage = "greeted"
                return b""
            case "greeted":
                raise _FaultError("it answered a request that nobody made")
        return self._done(message.get("result"), failed)

    def _is_owed(self, message: dict[str, Any]) -> bool:
        """Return whether an answer is to the request that was made last; False for one to be passed over."""
        name = message.get("id")
        if name is None and "error" in message:
            error = _told(message["error"])
            if self._noticed and error.code not in _UNREADABLE:
                # Nobody answers a notification (JSON-RPC 2.0 §4.1), and some servers do.
                self._noticed = False
                return False
            raise _FaultError(f"it could not read what it was sent: {error.message}")
        is_last = str(name) == str(self._number) and not isinstance(name, bool | float)
        if is_last and not (self._stage == "greeted" and self._rehearsal is not None):
            return True
        # A second answer to what was answered, where the first one stands, or to what is not waited for.
        if is_last or (isinstance(name, int) and not isinstance(name, bool) and 0 < name < self._number):
            return False
        raise _FaultError("it answered a request that nobody made")

    def _done(self, result: Any, failed: End | None) -> bytes:
        following = self._following(result) if failed is None else None
        if following is not None:
            self._asked = following
            return self._ask()
        self._finished()
        self.end = failed or End("result", result)
        return b""

    # -- speaking ----------------------------------------------------------------------------------

    def _initialized(self, result: Any, failed: End | None) -> bytes:
        if failed is not None:
            self._refused = failed.message
            self._version = MODERN[0]
            self._stage = "server/discover"
            return self._request("server/discover", "{}")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if version not in LEGACY:
            raise _FaultError("it answered initialize with a version that is not spoken here")
        self._version = version
        self._noticed = True
        return b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n' + self._ask()

    def _discovered(self, result: Any, failed: End | None) -> bytes:
        supported = result.get("supportedVersions") if isinstance(result, dict) else None
        if failed is not None or not isinstance(supported, list):
            raise _FaultError(f"it refused the handshake: {self._refused}")
        version = next((each for each in MODERN if each in supported), None)
        if version is None:
            raise _FaultError("it speaks no version that is spoken here")
        self._version = version
        return self._ask()

    def _ask(self) -> bytes:
        if self._asked is None and self._rehearsal is not None:
            self._stage = "rehearsal"
            return self._request(self._rehearsal.method, self._rehearsal.params)
        if self._asked is None:
            self._stage = "greeted"
            return b""
        self._stage = "request"
        return self._request(self._asked.method, self._asked.params)

    def _request(self, method: str, params: str) -> bytes:
        self._number += 1
        meta: dict[str, Any] = {}
        if self._version in MODERN:
            meta = {VERSION_KEY: self._version, CAPABILITIES_KEY: {}, CLIENT_KEY: _CLIENT}
        if method == "tools/call":
            meta |= self._meta
            if self._progress is not None:
                meta["progressToken"] = self._number
        if meta:
            rest = params[1:] if params == "{}" else f",{params[1:]}"
            params = f'{{"_meta":{encoding.json_dumps(meta)}{rest}'
        return f'{{"id":{self._number},"jsonrpc":"2.0","method":"{method}","params":{params}}}\n'.encode()


def _refusal(method: str, name: Any) -> bytes:
    """Return the answer to a request of the server's: this client offers nothing but ``ping``."""
    if not is_id(name):
        raise _FaultError("a request has an id that is none")
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": name}
    if method == "ping":
        answer["result"] = {}
    else:
        answer["error"] = {"code": METHOD_NOT_FOUND, "message": "this client offers no such method"}
    return encoding.json_dumps(answer).encode() + b"\n"


def _told(error: Any) -> End:
    """Return an error object as the end it is, whatever is in it."""
    error = error if isinstance(error, dict) else {}
    code, message = error.get("code"), error.get("message")
    return End(
        "error",
        message=message if isinstance(message, str) else "",
        code=code if isinstance(code, int) and not isinstance(code, bool) else 0,
    )


def _progress(params: dict[str, Any], token: int) -> Progress | None:
    done, total, message = params.get("progress"), params.get("total"), params.get("message", "")
    if str(params.get("progressToken")) != str(token) or not _is_number(done):
        return None
    return Progress(done, total if _is_number(total) else None, message if isinstance(message, str) else "")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
