"""The network of a sandbox with granted hosts: the ports of its sockets, and addresses of its own.

No packet leaves: the network namespace has loopback and nothing else. For each granted port it has a socket
on which the broker, outside, will listen. The broker gives each name an address of 127.0.0.0/8. An address
that was granted as such is put on loopback, so that a connection to it reaches the same sockets.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from mpp_exec.errors import HostError
from mpp_exec.sandbox import native
from mpp_exec.sandbox.building import HOST_NAME
from mpp_exec.vocabulary import HostPort

RESOLVER: Final = "127.0.0.53"
"""Where names are asked for inside."""

Serve = Callable[[tuple[int, ...], int], object]
"""Has the streams, and the socket for names, served from now on: called before a sandbox gets its call."""

Stream = tuple[int, int]
"""Family and port of one socket."""

_Each = TypeVar("_Each", Stream, str)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def streams(destinations: Iterable[HostPort]) -> tuple[Stream, ...]:
    """Return the sockets that *destinations* need, each once and in order: of IPv6 for addresses of it only.

    Raises:
        HostError: they are more than a sandbox can have.
    """
    found = set()
    for each in destinations:
        address = _literal(each.host)
        is_6 = address is not None and address.version == 6
        found.add((int(socket.AF_INET6 if is_6 else socket.AF_INET), each.port))
    return _bounded(sorted(found), native.STREAMS_MAX, "ports")


def addresses(destinations: Iterable[HostPort]) -> tuple[str, ...]:
    """Return what *destinations* name by address and is to be the sandbox's own, each once and in order.

    Raises:
        HostError: they are more than a sandbox can have.
    """
    literals = {address for each in destinations if (address := _literal(each.host)) is not None}
    own = {each for each in literals if not (each.is_loopback or each.is_multicast or each.is_unspecified)}
    ordered = sorted(own, key=lambda each: (each.version, int(each)))
    return _bounded([str(each) for each in ordered], native.ADDRESSES_MAX, "addresses")


def etc(destinations: Iterable[HostPort]) -> dict[str, str]:
    """Return the files of /etc by which programs find out where to ask for names; {} without destinations."""
    granted = tuple(destinations)
    if not granted:
        return {}
    over_6 = "::1 localhost\n" if any(each.host == "::1" for each in granted) else ""
    return {
        # Many programs ask for the name of the machine they are on, and it is no granted host.
        "hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME}\n{over_6}",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        # One question at a time: the C library has no call for two of them here.
        "resolv.conf": f"nameserver {RESOLVER}\noptions single-request timeout:5 attempts:2\n",
    }


def _bounded(found: list[_Each], most: int, what: str) -> tuple[_Each, ...]:
    if len(found) > most:
        raise HostError(
            "host.network_too_wide",
            f"the grant names {len(found)} {what}, and a sandbox can have {most}",
            "approve fewer of them: mpp-exec approve NAME --without network=HOST:PORT",
        )
    return tuple(found)
