"""Decides by the form of an address alone whether it belongs to the public internet.

``ipaddress.is_global`` is not sufficient. It knows no metadata service, it judges an address that embeds
another one by the outer form, and its answers differ between versions of Python. So the ranges are listed
here.

Sources: IANA, IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and what updates it); RFC 6598
(shared addresses), RFC 2544 and 5180 (benchmarks), RFC 5737, 3849 and 9637 (documentation), RFC 6052 and
8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 4291 (what else embeds IPv4).
"""

from __future__ import annotations

import ipaddress
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
