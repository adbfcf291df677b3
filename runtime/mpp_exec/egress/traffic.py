"""What came of a sandbox's connections: values that the process writes and the host reads, strictly.

The process is confined since what it reads is hostile. So the host believes nothing of its form either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from mpp_exec.patterns import lazily

CONNECTIONS_MAX: Final = 128
DENIED_MAX: Final = 64

Why = Literal["name", "port", "address", "hello", "resolve", "connect", "limit"]

_HOST: Final = lazily(r"[0-9a-z.:-]{0,253}", re.ASCII)
_ADDRESS: Final = lazily(r"[0-9a-f.:]{2,45}", re.ASCII)
_COUNT_MAX: Final = (1 << 63) - 1


@dataclass(slots=True)
class Connected:
    """A connection that was made.

    Attributes:
        host: the granted name in canonical form, or the granted address.
        port: of both sides.
        address: what was dialled.
        at: when the tool connected, in ms since 1970.
        sent: bytes from the tool, received: to the tool.
    """

    host: str
    port: int
    address: str
    at: int
    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class Denied:
    """What was asked for and not had; once, however often it was tried.

    Attributes:
        host: canonical, or an address; "" where it is no name that a host can have.
        port: 0 where a name was asked for, and no connection.
        why: ``name``: not granted. ``port``: the name is granted, with another port. ``address``: not
            granted, or all that the name leads to is private. ``hello``: TLS for another name, or for none.
            ``resolve``: the name leads nowhere. ``connect``: nothing answers there. ``limit``: too many.
    """

    host: str
    port: int
    why: Why


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that one sandbox had.

    Attributes:
        connections: the first ``CONNECTIONS_MAX``; ``more_connections`` counts those beyond.
        denied: the first ``DENIED_MAX``; ``more_denied`` counts attempts at what is not among them.
        sent, received: bytes of all connections.
        lost: the process ended before it could tell, or broke; all connections ended with it.
    """

    connections: tuple[Connected, ...] = ()
    denied: tuple[Denied, ...] = ()
    sent: int = 0
    received: int = 0
    more_connections: int = 0
    more_denied: int = 0
    lost: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {
            "connections": [[c.host, c.port, c.address, c.at, c.sent, c.received] for c in self.connections],
            "denied": [[d.host, d.port, d.why] for d in self.denied],
            "counts": [self.sent, self.received, self.more_connections, self.more_denied],
            "lost": self.lost,
        }

    @classmethod
    def from_json(cls, value: Any) -> Traffic:
        """Read what :meth:`to_json` returned.

        Raises:
            ValueError: it is anything else.
        """
        if not isinstance(value, dict) or value.keys() != {
            "connections",
            "denied",
            "counts",
            "lost",
        }:
            raise ValueError("no traffic")
        connections = [
            Connected(_host(row[0]), _port(row[1]), _address(row[2]), *map(_count, row[3:]))
            for row in _rows(value["connections"], CONNECTIONS_MAX, 6)
        ]
        denied = [
            Denied(_host(row[0]), _port(row[1]), _why(row[2]))
            for row in _rows(value["denied"], DENIED_MAX, 3)
        ]
        (counts,) = _rows([value["counts"]], 1, 4)
        if value["lost"] not in (True, False):
            raise ValueError("no traffic")
        sent, received, more, more_denied = map(_count, counts)
        return cls(
            tuple(connections), tuple(denied), sent, received, more, more_denied, lost=bool(value["lost"])
        )


def _rows(value: Any, most: int, width: int) -> Iterator[list[Any]]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("no list, or too long")
    for row in value:
        if not isinstance(row, list) or len(row) != width:
            raise ValueError("no row")
        yield row


def _host(value: Any) -> str:
    if not isinstance(value, str) or _HOST.fullmatch(value) is None:
        raise ValueError("no host")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or _ADDRESS.fullmatch(value) is None:
        raise ValueError("no address")
    return value


def _port(value: Any) -> int:
    if _count(value) > 65_535:
        raise ValueError("no port")
    return int(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise ValueError("no count")
    return value


def _why(value: Any) -> Why:
    if value not in get_args(Why):
        raise ValueError("no reason")
    known: Why = value
    return known


class Notes:
    """What is noted of one sandbox while it runs: bounded, whatever it does."""

    def __init__(self) -> None:
        self._connections: list[Connected] = []
        self._beyond = Connected("", 0, "", 0)
        self._more = 0
        self._denied: dict[Denied, None] = {}
        self._more_denied = 0

    def connected(self, host: str, port: int, address: str, at: int) -> Connected:
        """Note a connection; its bytes are to be added to what is returned."""
        if len(self._connections) >= CONNECTIONS_MAX:
            self._more += 1
            return self._beyond
        made = Connected(host, port, address, at)
        self._connections.append(made)
        return made

    def denied(self, host: str, port: int, why: Why) -> None:
        """Note what was not had."""
        denied = Denied(host, port, why)
        if denied in self._denied:
            return
        if len(self._denied) >= DENIED_MAX:
            self._more_denied += 1
        else:
            self._denied[denied] = None

    def traffic(self) -> Traffic:
        """Return all of it."""
        every = [*self._connections, self._beyond]
        return Traffic(
            tuple(self._connections),
            tuple(self._denied),
            sum(each.sent for each in every),
            sum(each.received for each in every),
            self._more,
            self._more_denied,
        )
