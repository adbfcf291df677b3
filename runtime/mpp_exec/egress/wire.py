"""The messages between the host and its broker: one JSON array each, a kind and what belongs to it.

The host asks, the process answers, one at a time; the process's first word says that it is confined, or why
not. Sockets come beside ``open``. Both sides refuse what is not exactly one of these.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mpp_exec.egress.traffic import Traffic
from mpp_exec.vocabulary import HostPort

MESSAGE_MAX: Final = 163_840
"""Bytes of a message, either way: all destinations, or all that is told of one sandbox."""

SOCKETS_MAX: Final = 250  # SCM_MAX_FD is 253
INVOCATION_MAX: Final = 128
DESTINATIONS_MAX: Final = 512

OPEN, END, DROP = "open", "end", "drop"
READY, FAILED, OPENED, FULL, ENDED = "ready", "failed", "opened", "full", "ended"
"""The last are what the process says: it is confined; it cannot be; a sandbox is served; there is no room for
another; one has ended, and this was its traffic."""


def encoded(*parts: Any) -> bytes:
    """Return a message."""
    return json.dumps(parts, separators=(",", ":")).encode("ascii")


def opening(
    number: int, invocation: str, destinations: tuple[HostPort, ...], *, names: bool, whose: str = ""
) -> bytes:
    """Return what asks for a sandbox to be served.

    *names*: the first of its sockets is for names. *whose*: with whose others it shares what it may take;
    with none where that is "".
    """
    rows = [[each.host, each.port] for each in destinations]
    return encoded(OPEN, number, invocation, whose or invocation, rows, names)


def read_request(message: bytes) -> tuple[str, int, str, str, tuple[HostPort, ...], bool]:
    """Return what the host asks for.

    Kind, number and invocation; and whose it is, destinations, whether a socket is for names.

    Raises:
        ValueError: it is no request.
    """
    match _decoded(message):
        case [str(kind), int(number), str(invocation)] if kind in (END, DROP):
            return kind, number, invocation, "", (), False
        case [str(kind), int(number), str(invocation), str(whose), list(rows), bool(names)] if (
            kind == OPEN
            and max(len(invocation), len(whose)) <= INVOCATION_MAX
            and len(rows) <= DESTINATIONS_MAX
        ):
            return OPEN, number, invocation, whose, tuple(map(_destination, rows)), names
    raise ValueError("no request")


def _destination(row: Any) -> HostPort:
    match row:
        case [str(host), int(port)] if 0 < port < 65_536 and 0 < len(host) < 256:
            return HostPort(host, port)
    raise ValueError("no destination")


def read_answer(message: bytes, number: int) -> tuple[str, Traffic | None] | None:
    """Return what the process answers to the request *number*: kind, and the traffic of ``ENDED``.

    None where it answers an earlier one, for whose answer nobody waited.

    Raises:
        ValueError: it is no answer to that.
    """
    match _decoded(message):
        case [str(kind), int(echo), *_] if kind in (OPENED, FULL, ENDED) and 0 < echo < number:
            return None
        case [str(kind), int(echo)] if kind in (OPENED, FULL) and echo == number:
            return kind, None
        case [str(kind), int(echo), dict(value)] if kind == ENDED and echo == number:
            return kind, Traffic.from_json(value)
    raise ValueError("no answer")


def read_first(message: bytes) -> tuple[str, str, str]:
    """Return why the process cannot be confined: code, message and hint; all empty where it is.

    Raises:
        ValueError: it is no first word.
    """
    match _decoded(message):
        case [str(kind)] if kind == READY:
            return "", "", ""
        case [str(kind), str(code), str(said), str(hint)] if kind == FAILED and code:
            return code, said, hint
    raise ValueError("no first word")


def _decoded(message: bytes) -> Any:
    if len(message) > MESSAGE_MAX:
        raise ValueError("too long")
    try:
        return json.loads(message.decode("ascii"))
    except RecursionError:
        raise ValueError("too deep") from None
