"""Which addresses a name may lead to: those of the public internet, and none of this host."""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import Final

from mpp_exec.addresses import is_public

_MTU: Final = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}  # IP_MTU
_LOOPBACK_MTU: Final = 65_535  # the most that IPv4 can count; no network has as much


def is_own(address: str) -> bool:
    """Return whether *address* is this host's own. This sends nothing; it only asks the kernel.

    Connecting a datagram socket shows the route: an own address is routed from that very address, or over
    the loopback, which alone has so large an MTU. An address that shares its network with an older address
    of this host has the route of the older one. But a socket can be bound to it, which proves nothing if any
    address can be bound.

    Raises:
        OSError: the kernel cannot be asked.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if not _any_can_be_bound(family) and _can_be_bound(family, address):
        return True
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.connect((address, 9))
        except OSError:  # no route leads there
            return False
        if ipaddress.ip_address(asking.getsockname()[0]) == ipaddress.ip_address(address):
            return True
        level, option = _MTU[family]
        return asking.getsockopt(level, option) >= _LOOPBACK_MTU


def _can_be_bound(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.bind((address, 0))
        except OSError:
            return False
        return True


@functools.cache
def _any_can_be_bound(family: int) -> bool:
    """Return whether addresses that this host does not have can be bound (``ip_nonlocal_bind``)."""
    return _can_be_bound(family, "2001:db8::7:1" if family == socket.AF_INET6 else "192.0.2.71")


def may_be_dialled(address: str) -> bool:
    """Return whether a name may lead to *address*: public, and not this host's own."""
    try:
        return is_public(address) and not is_own(address)
    except OSError:
        return False
