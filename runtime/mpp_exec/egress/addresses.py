"""Which addresses a name may lead to: those of the public internet, and none of this host.

``ipaddress.is_global`` is no help alone: it knows no metadata service, takes an address that embeds another
for what it is outside, and says another thing in each version of Python. So the ranges stand here.

Sources: IANA, IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and what updates it); RFC 6598
(shared addresses), RFC 2544 and 5180 (benchmarks), RFC 5737, 3849 and 9637 (documentation), RFC 6052 and 8215
(NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 4291 (what else embeds IPv4).
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import Final

_IPV4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and "any"
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a carrier's customers; a metadata service at .100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host and metadata service, at a public address
        "169.254.0.0/16",  # link-local; metadata services at .169.254, .170.2 and others
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; a metadata service at .192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL: Final = ipaddress.IPv6Network(
    "2000::/3"
)  # all that is allotted; what lies beside it embeds or is local
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # the other, 64:ff9b:1::/48, is for local use
_IPV6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the upper half of an interface id that embeds IPv4
_MTU: Final = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}  # IP_MTU
_LOOPBACK_MTU: Final = 65_535  # as IPv4 counts at most; no network has as much


def is_public(address: str) -> bool:
    """Return whether *address* is one that a name may lead to, by its form alone. Scoped ones are not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _IPV4)
    if parsed.scope_id is not None:
        return False
    if parsed in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    if parsed not in _GLOBAL or any(parsed in network for network in _IPV6):
        return False
    return int(parsed) >> 32 & 0xFFFFFFFF not in _ISATAP


def is_own(address: str) -> bool:
    """Return whether *address* is this host's own. Nothing is sent: the kernel is only asked.

    Connecting a datagram socket asks which way it would go: from that very address, or over the loopback,
    which alone carries so much at once. An address that shares its network with an older one of this host
    has that one's way; but a socket can be bound to it, which says nothing where any address can be bound.

    Raises:
        OSError: it cannot be asked.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if not _any_can_be_bound(family) and _can_be_bound(family, address):
        return True
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.connect((address, 9))
        except OSError:  # no way leads there
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
    """Return whether addresses can be bound that nobody has (``ip_nonlocal_bind``)."""
    return _can_be_bound(family, "2001:db8::7:1" if family == socket.AF_INET6 else "192.0.2.71")


def may_be_dialled(address: str) -> bool:
    """Return whether a name may lead to *address*: public, and not this host's own."""
    try:
        return is_public(address) and not is_own(address)
    except OSError:
        return False
