"""JSON-RPC 2.0 messages, and which era of MCP a request belongs to. Pure: values in, values out.

Two eras are served side by side (MCP 2026-07-28, basic/versioning). Up to 2025-11-25 a connection begins
with ``initialize``. Since 2026-07-28 there is no handshake, and every request says in its ``_meta`` which
version and capabilities its client has.

A server answers its first message before it has loaded more than this needs.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mpp_exec import encoding
from mpp_exec.dialogue.protocol import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LEGACY,
    MODERN,
    VERSION_KEY,
    RequestId,
    is_id,
)
from mpp_exec.errors import MppError
from mpp_exec.mcp.wire import MAX_MESSAGE, MAX_NESTING

BATCHING: Final = "2025-03-26"
"""The one version in which several messages may come as one array."""

SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"

ERROR_KEY: Final = "mpp-exec/error"
"""Where an answer carries the code and the hint of an error of this project."""

MAX_ID: Final = 1024
"""Characters of a request's id, which is kept and told to whoever may have to go on with the connection."""

_MARK: Final = b"\xef\xbb\xbf"  # which writers of UTF-8 begin with; RFC 8259, 8.1 lets a reader pass over it

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022


class RpcError(Exception):
    """What a request is answered with that cannot be served."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.data = data

    @classmethod
    def of(cls, error: MppError) -> RpcError:
        """Return the answer for what went wrong on this side, not on the client's."""
        return cls(INTERNAL_ERROR, error.message, {ERROR_KEY: {"code": error.code, "hint": error.hint}})

    def answer(self, request: RequestId | None) -> dict[str, Any]:
        """Return the response to *request*; None where it could not be told which one it was."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": request, "error": error}


class Request(NamedTuple):
    """A request; a notification has no ``id`` (None)."""

    id: RequestId | None
    method: str
    params: dict[str, Any]

    @property
    def meta(self) -> dict[str, Any]:
        """Its ``_meta``, {} without one."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


class Response(NamedTuple):
    """The peer's answer to a request of ours; *result* is None where it is an error.

    One without an ``id`` (None) says that the peer could not read what we sent.
    """

    id: RequestId | None
    result: Any


class InvalidMessageError(RpcError):
    """A message that is none; ``id`` is that of the request it was meant to be, if that can be told."""

    def __init__(self, code: int, message: str, request: RequestId | None = None) -> None:
        super().__init__(code, message)
        self.id = request


def refused(code: str, message: str, hint: str) -> dict[str, Any]:
    """Return a call that did not run as a result that the model can read (SEP-1303)."""
    text = f"{message}\n{hint}" if hint else message
    return {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {ERROR_KEY: {"code": code, "message": message, "hint": hint}},
    }


def parse(line: bytes) -> Any:
    """Return the JSON value of one line.

    Raises:
        InvalidMessageError: it is no JSON, or too deep.
    """
    try:
        return encoding.json_loads(line.removeprefix(_MARK), max_size=MAX_MESSAGE, max_depth=MAX_NESTING)
    except encoding.JsonError as error:
        raise InvalidMessageError(PARSE_ERROR, f"this line is not JSON to be read: {error.message}") from None


def classify(value: Any) -> Request | Response:
    """Return what *value* is.

    Raises:
        InvalidMessageError: it is no message of JSON-RPC 2.0 as MCP has it.
    """
    if not isinstance(value, dict):
        raise InvalidMessageError(INVALID_REQUEST, "a message is a JSON object")
    name = value.get("id")
    known = name if is_id(name) else None
    if value.get("jsonrpc") != "2.0":
        raise InvalidMessageError(INVALID_REQUEST, "jsonrpc must be 2.0", known)
    if "method" not in value:
        if "result" in value or "error" in value:  # an answer has none itself, or two peers never stop
            # Both at once is no answer (JSON-RPC 2.0, 5); some write null for the one that they leave out.
            return Response(known, value.get("result") if value.get("error") is None else None)
        raise InvalidMessageError(INVALID_REQUEST, "a message has a method, a result or an error", known)
    method = value["method"]
    # Some clients write null for what they leave out.
    params = {} if value.get("params") is None else value["params"]
    if "id" in value and known is None:
        raise InvalidMessageError(INVALID_REQUEST, "an id is a string or an integer")
    if isinstance(known, str) and len(known) > MAX_ID:
        raise InvalidMessageError(INVALID_REQUEST, f"an id is longer than {MAX_ID} characters")
    if not isinstance(method, str):
        raise InvalidMessageError(INVALID_REQUEST, "a method is a string", known)
    if not isinstance(params, dict):
        raise InvalidMessageError(INVALID_PARAMS, "params must be an object", known)
    if not isinstance(params.get("_meta"), dict | None):
        raise InvalidMessageError(INVALID_PARAMS, "_meta must be an object", known)
    return Request(known, method, params)


class Era(NamedTuple):
    """How the peer of one request speaks: *modern* ones say it anew with each."""

    modern: bool
    version: str
    capabilities: dict[str, Any]
    client: str

    def can_ask(self) -> bool:
        """Whether the client says that it can put a form before its user."""
        elicitation = self.capabilities.get("elicitation")
        return isinstance(elicitation, dict) and (not elicitation or "form" in elicitation)


def modern_era(request: Request) -> Era:
    """Read what a request of 2026-07-28 says of its client.

    Raises:
        RpcError: it says nothing, or a version that is not served.
    """
    version = request.meta.get(VERSION_KEY)
    if version is None:
        raise RpcError(
            INVALID_PARAMS, f"_meta has no {VERSION_KEY}; clients of earlier versions begin with initialize"
        )
    if version not in MODERN:
        raise RpcError(
            UNSUPPORTED_VERSION,
            "this protocol version is not served",
            {"supported": list(MODERN), "requested": version if isinstance(version, str) else str(version)},
        )
    capabilities = request.meta.get(CAPABILITIES_KEY)
    if not isinstance(capabilities, dict):
        raise RpcError(INVALID_PARAMS, f"_meta has no {CAPABILITIES_KEY}")
    return Era(True, version, capabilities, client_name(request.meta.get(CLIENT_KEY)))


def legacy_era(params: dict[str, Any]) -> Era:
    """Read an ``initialize``; its version is the one to answer with.

    Raises:
        RpcError: it names no version.
    """
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    capabilities = params.get("capabilities")
    return Era(
        False,
        asked if asked in LEGACY else LEGACY[0],
        capabilities if isinstance(capabilities, dict) else {},
        client_name(params.get("clientInfo")),
    )


def client_name(info: Any) -> str:
    """Return what a client calls itself, for the ledger: nothing depends on it."""
    if not isinstance(info, dict):
        return ""
    words = [info.get("name"), info.get("version")]
    return " ".join(word for word in words if isinstance(word, str))[:200]
