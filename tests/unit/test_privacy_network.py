"""E-mail and IP addresses: what is one, where it ends, and what only looks like one."""

from __future__ import annotations

import pytest

from mpp_exec.privacy import network
from mpp_exec.privacy.finding import Candidate
from one_detector import alone

emails = alone(network.emails)
ip_addresses, ipv6_addresses = alone(network.ip_addresses), alone(network.ipv6_addresses)


def _texts(text: str, candidates: list[Candidate]) -> list[str]:
    return [text[candidate.start : candidate.end] for candidate in candidates]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("jane@example.com", ["jane@example.com"]),
        ("To: <jane.doe+tag@mail.example.co.uk>,", ["jane.doe+tag@mail.example.co.uk"]),
        ("email=jane@example.com&x=1", ["jane@example.com"]),
        ("'o'brien@example.com'", ["o'brien@example.com"]),
        ("mailto:jane@example.com?subject=x", ["jane@example.com"]),
        ("jane@example.com.", ["jane@example.com"]),
        ("jane@example.com-", ["jane@example.com"]),
        ("jane@example.com1", ["jane@example.com"]),
        ("a@b.cc,c@d.ee;e@f.gg", ["a@b.cc", "c@d.ee", "e@f.gg"]),
        ("JANE@EXAMPLE.COM", ["JANE@EXAMPLE.COM"]),
        ("jane@host.internal", ["jane@host.internal"]),
        ("jane@xn--mnchen-3ya.de", ["jane@xn--mnchen-3ya.de"]),
        ("a@xn--d1acufc.xn--p1ai", ["a@xn--d1acufc.xn--p1ai"]),
        ("jürgen@münchen.de", ["jürgen@münchen.de"]),
        ("用户@例子.中国", ["用户@例子.中国"]),
        ("邮箱jane@example.cn请联系", ["jane@example.cn"]),
        ("root@[10.1.2.3]", ["root@[10.1.2.3]"]),
        (r'"a\njane@example.com\n"', ["jane@example.com"]),
        (r"\u00e9jane@example.com", ["jane@example.com"]),
        ("x" * 200 + "@example.com", ["x" * 128 + "@example.com"]),
    ],
)
def test_an_email_address_is_found_to_its_edges(text: str, found: list[str]) -> None:
    assert _texts(text, emails(text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/repository.git",
        "ssh://git@example.com/owner/repository",
        "lodash@4.17.21",
        "icon@2x.png",
        "@app.route",
        "@media screen",
        "jane@localhost",
        "jane@example.",
        "info@",
        "j***@example.com",
        "a @ b.com",
        "...@example.com",
    ],
)
def test_what_is_no_mailbox_is_left_alone(text: str) -> None:
    assert emails(text) == []


def test_two_spellings_of_an_email_address_are_the_same_value() -> None:
    first, second = emails("Jane@Example.com jane@example.COM")
    assert first.value == second.value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from 203.0.113.9 port 22", ["203.0.113.9"]),
        ("http://10.0.0.1:8080/x", ["10.0.0.1"]),
        ("10.0.0.0/8", ["10.0.0.0"]),
        ("ip_10.0.0.1", ["10.0.0.1"]),
        ("ends with 10.0.0.1.", ["10.0.0.1"]),
        (r"a\n10.0.0.1\n", ["10.0.0.1"]),
        ("ip%3D10.0.0.1", ["10.0.0.1"]),
        ("ping -v 10.0.0.1", ["10.0.0.1"]),
        ("GET /v/10.0.0.1", ["10.0.0.1"]),
        ("user@[10.0.0.1]", ["10.0.0.1"]),
        ("10.0.0.1,10.0.0.2", ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_an_ipv4_address_is_found_to_its_edges(text: str, found: list[str]) -> None:
    candidates = ip_addresses(text)
    assert _texts(text, candidates) == found
    assert not any(candidate.weak for candidate in candidates)


@pytest.mark.parametrize(
    "text",
    ["1.2.3", "1.2.3.4.5", "256.1.1.1", "192.168.1.256", "1.2.3.4a", "a1.2.3.4", "1234.1.1.1", "1..2.3.4"],
)
def test_what_is_no_ipv4_address_is_left_alone(text: str) -> None:
    assert ip_addresses(text) == []


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0", "127.0.0.1", "127.1.2.3", "255.255.255.255", "255.255.255.0", "255.0.0.0", "::", "::1"],
)
def test_an_address_that_identifies_nobody_is_no_finding(text: str) -> None:
    assert ip_addresses(text) + ipv6_addresses(text) == []


@pytest.mark.parametrize("text", ["10.0.0.1", "192.168.1.1", "192.0.2.1", "255.255.0.255", "169.254.1.1"])
def test_private_and_documentation_addresses_are_findings(text: str) -> None:
    assert len(ip_addresses(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4",
        "Version: 1.2.3.4",
        '"version": "1.2.3.4"',
        "v 1.2.3.4",
        "release 1.2.3.4",
        "build #1.2.3.4",
        "version number 1.2.3.4",
        "version is 1.2.3.4",
        "firmware=1.2.3.4",
        "Section 1.2.3.4",
        "OID 2.5.29.17",
        "Chrome/120.0.0.0 Safari",
        "requests>=1.2.3.4",
        "~= 1.2.3.4",
    ],
)
def test_a_version_number_is_only_a_weak_candidate(text: str) -> None:
    assert [candidate.weak for candidate in ip_addresses(text)] == [True]


def test_a_number_under_a_version_key_is_only_a_weak_candidate() -> None:
    assert ip_addresses("1.2.3.4", "appVersion")[0].weak
    assert not ip_addresses("1.2.3.4", "address")[0].weak


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2001:db8::1", ["2001:db8::1"]),
        ("http://[2001:db8::1]:8080/", ["2001:db8::1"]),
        ("2001:db8::1: unreachable", ["2001:db8::1"]),
        ("at 2001:db8::1.", ["2001:db8::1"]),
        ("2001:db8::1.8080", ["2001:db8::1"]),
        ("2001:db8:85a3::8a2e:370", ["2001:db8:85a3::8a2e:370"]),
        ("fe80::1%eth0 up", ["fe80::1%eth0"]),
        ("ssh jane@2001:db8::1", ["2001:db8::1"]),
        ("2001:DB8:0:0:8:800:200C:417A", ["2001:DB8:0:0:8:800:200C:417A"]),
        ("684D:1111:222:3333:4444:5555:6:77", ["684D:1111:222:3333:4444:5555:6:77"]),
        ("A099::09C0:876A:130B", ["A099::09C0:876A:130B"]),
        ("::ffff:192.0.2.1", ["::ffff:192.0.2.1"]),
        ("::ffff:c0a8:101", ["::ffff:c0a8:101"]),
        ("64:ff9b::192.0.2.1", ["64:ff9b::192.0.2.1"]),
        ("0:0:0:0:0:FFFF:129.144.52.38", ["0:0:0:0:0:FFFF:129.144.52.38"]),
        ("ff02::1", ["ff02::1"]),
        ("fd12:3456::1", ["fd12:3456::1"]),
        (r"\n2001:db8::1\n", ["2001:db8::1"]),
        ("2001:db8::1,2001:db8::2", ["2001:db8::1", "2001:db8::2"]),
    ],
)
def test_an_ipv6_address_is_found_to_its_edges(text: str, found: list[str]) -> None:
    assert _texts(text, ipv6_addresses(text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "std::size",
        "a[1::2]",
        "x[::2]",
        "dead::beef",
        "12:34:56",
        "aa:bb:cc:dd:ee:ff",
        "50:06:01:60:3b:20:0a:b5",
        "1:2:3:4",
        "2001::db8::1",
        ":::",
        "12345:db8::1",
        "text2001:db8::1",
        "fe80::1text",
        "2001:db8::256.1.1.1",
        "::ffff:127.0.0.1",
        "1:2:3:4:5:6:7:8:9",
        "2001:db8::" + ":1" * 40,
    ],
)
def test_what_is_no_ipv6_address_is_left_alone(text: str) -> None:
    assert ipv6_addresses(text) == []


def test_two_spellings_of_an_ipv6_address_are_the_same_value() -> None:
    first, second = ipv6_addresses("2001:DB8::1 2001:db8:0:0:0:0:0:1")
    assert first.value == second.value
