"""Which addresses a name may lead to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.addresses import is_public
from mpp_exec.egress.addresses import is_own, may_be_dialled

PUBLIC: tuple[str, ...] = (
    "93.184.216.34",
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
)
PUBLIC += ("169.253.255.255", "192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "11.0.0.1")
PUBLIC += ("2a00:1450::1", "2606:2800::1", "2001:4860::8888", "64:ff9b::8.8.8.8", "2600::")

REFUSED = {
    "any": ("0.0.0.0", "0.1.2.3", "::"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"),
    "loopback": ("127.0.0.1", "127.255.255.254", "::1"),
    "link-local": ("169.254.0.1", "fe80::1", "fe80::1%1"),
    "metadata": (
        *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
    ),
    "shared": ("100.64.0.1", "100.127.255.255"),
    "benchmark": ("198.18.0.1", "198.19.255.255", "2001:2::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1"),
    "reserved": ("240.0.0.1", "255.255.255.255", "192.88.99.1", "4000::1", "5f00::1", "100::1", "e000::1"),
    "mapped": ("::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::ffff:7f00:1"),
    "compatible": ("::10.0.0.1", "::8.8.8.8"),
    "NAT64": ("64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8"),
    "6to4": ("2002:a00:1::", "2002:808:808::"),
    "Teredo": ("2001:0:808:808::", "2001::1"),
    "ORCHID": ("2001:10::1", "2001:20::1"),
    "ISATAP": ("2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:a00:1"),
    "no address": ("", "localhost", "1", "0x7f.1", "127.1", "2130706433", "1.2.3.4.5", "010.0.0.1"),
}


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("kind", "address"), [(kind, each) for kind, all_ in REFUSED.items() for each in all_]
)
def test_everything_else(kind: str, address: str) -> None:
    assert not is_public(address), kind
    assert not may_be_dialled(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """An independent table agrees, but for NAT64, which it does not look into."""
    if is_public(str(address)) and not str(address).startswith("64:ff9b::"):
        special = address.is_private, address.is_multicast, address.is_reserved, address.is_loopback
        assert not any(special)


def test_this_hosts_own_are_known() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.7")
