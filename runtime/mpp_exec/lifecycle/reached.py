"""Which hosts a traced tool used, and which it asked for and did not have: a suggestion's part for networks.

What connects for a tool knows both exactly. Without any granted host there is none; then what is known is
what a Python tool said to its resolver, and of other tools nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mpp_exec.calls.prepared import HostAsked
from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.access import Access
from mpp_exec.vocabulary import HostPort, VocabularyError, parse_host_port

MANY: Final = 8
"""So many hosts below one wildcard are named singly; of more, the wildcard is kept."""

_GRANTED_ALL_THE_SAME: Final = ("hello", "resolve", "connect", "limit")
_ASSUMED_PORT: Final = 443


@dataclass(slots=True)
class Hosts:
    """What is suggested: used of what was granted, refused, and what to say beside it."""

    used: set[HostPort] = field(default_factory=set)
    refused: list[HostPort] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def hosts_of(
    granted: Permissions,
    said: Iterable[str],
    asked: HostAsked,
    accesses: Iterable[Access],
) -> Hosts:
    """Return what became of the hosts of a call under *granted*.

    *said* is what a Python tool said to its resolver, ``HOST:PORT`` or ``HOST:``; *asked* what is known by
    what connects. Either may hold anything.
    """
    found = Hosts()
    wanted = {each for each in map(_parsed, said) if each is not None}
    private, unported = set[str](), set[str]()
    for host, port, why in asked.refused:
        destination = _parsed(f"{_bracketed(host)}:{port}") if port else None
        if why in _GRANTED_ALL_THE_SAME and destination is not None:
            found.used |= _smallest(granted, {destination})
        elif why == "address" and destination is not None and granted.gives(_only(destination)):
            private.add(host)
            found.used |= _smallest(granted, {destination})
        elif destination is not None:
            wanted.add(destination)
        elif why == "name" and host:
            unported.add(host)
    for host in sorted(unported - {each.host for each in wanted}):
        assumed = _parsed(f"{host}:{_ASSUMED_PORT}")
        if assumed is not None:
            wanted.add(assumed)
            found.remarks.append(f"it asked for the name {host}, and never for a port: 443 is assumed")
    found.remarks += [
        f"{host} leads to an address of a private network: grant that address itself, if it is meant"
        for host in sorted(private)
    ]
    found.refused = sorted(each for each in wanted if not granted.gives(_only(each)))
    if asked.reached is None:
        found.used |= set(granted.network)  # which of them were used is not known
    else:
        reached = {_parsed(f"{_bracketed(host)}:{port}") for host, port in asked.reached}
        found.used |= _smallest(granted, {each for each in reached if each is not None})
    families = {each.family for each in accesses if each.does == "socket"}
    if families & {socket.AF_INET, socket.AF_INET6} and not wanted and not granted.network:
        found.remarks.append(
            'it tried to open a network socket, to which host is not known: add network = ["HOST:PORT"]'
        )
    return found


def _smallest(granted: Permissions, used: set[HostPort]) -> set[HostPort]:
    """Return *used*, or the wildcards that cover many of them."""
    kept = set[HostPort]()
    for each in granted.network:
        below = {one for one in used if each.covers(one)}
        kept |= {each} if len(below) > MANY else below
    return kept


def _only(destination: HostPort) -> Permissions:
    return Permissions(network=(destination,))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _parsed(text: str) -> HostPort | None:
    host, _, port = text.rpartition(":")
    try:
        return parse_host_port(f"{host}:{port or _ASSUMED_PORT}")
    except VocabularyError:
        return None
