"""The name of a ClientHello: found however it comes, and nothing that could be read otherwise is."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hellos import hello, hello_for, records, server_name, vector
from mpp_exec.egress.hello import PLAIN, Hello, HelloError

NAME = "api.example.com"


def read(data: bytes, size: int = 1 << 20) -> str | None:
    """Return what comes of *data* in pieces of *size*."""
    reading = Hello()
    for at in range(0, len(data), size):
        found = reading.feed(data[at : at + size])
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("record", [1, 2, 3, 7, 100, 16_384])
@pytest.mark.parametrize("piece", [1, 2, 5, 6, 1 << 20])
def test_in_records_and_pieces_of_any_size(record: int, piece: int) -> None:
    assert read(hello_for(NAME, record), piece) == NAME


def test_what_a_real_client_says() -> None:
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(coming, going, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert read(going.read()) == NAME


@pytest.mark.parametrize("spelling", [b"API.example.COM", b"api.example.com.", b"api.Example.com"])
def test_the_name_is_canonical(spelling: bytes) -> None:
    assert read(records(hello(server_name(spelling)))) == NAME


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\xff\xfd\x03",  # telnet
        b"\x16\x10\x01\x00\x05",  # no version of TLS
        b"\x80\x2e\x02\x03\x01",
        b"\x80\x2e\x01\x00\x02",  # SSL 2 itself, which nobody speaks
    ],
)
def test_what_begins_otherwise_is_plain(data: bytes) -> None:
    assert read(data, 1) == PLAIN


@pytest.mark.parametrize("begun", [b"", b"\x16", b"\x16\x03", b"\x16\x03\x01\x02", b"\x80", b"\x80\x2e\x01"])
def test_more_is_needed(begun: bytes) -> None:
    assert read(begun) is None


_RIGHT = server_name(NAME.encode())
WRONG = {
    "no extensions": records(hello()),
    "no name": records(hello((10, b"\0\2\0\x1d"))),
    "an empty name": records(hello(server_name(b""))),
    "no name in the list": records(hello((0, vector(2, b"")))),
    "an empty extension": records(hello((0, b""))),
    "two names": records(hello(server_name(NAME.encode(), b"attacker.example"))),
    "two extensions of names": records(hello(_RIGHT, server_name(b"attacker.example"))),
    "another extension twice": records(hello((10, b""), _RIGHT, (10, b""))),
    "a name of another kind": records(hello(server_name(NAME.encode(), kind=1))),
    "NUL in the name": records(hello(server_name(NAME.encode() + b"\0.attacker.example"))),
    "a space in the name": records(hello(server_name(b"api.example.com "))),
    "a wildcard": records(hello(server_name(b"*.example.com"))),
    "letters beyond ASCII": records(hello(server_name("äpi.example.com".encode()))),
    "something behind the name": records(hello((0, _RIGHT[1] + b"x"))),
    "something in the list": records(hello((0, vector(2, _RIGHT[1][2:] + b"\0")))),
    "something behind the extensions": records(hello(_RIGHT, behind=b"x")),
    "something before the extensions": records(hello(_RIGHT, before=b"x")),
    "another message behind it": records(hello(_RIGHT) + b"\x01\0\0\0"),
    "no hello": records(b"\x02" + hello(_RIGHT)[1:]),
    "an empty record first": b"\x16\x03\x01\x00\x00" + records(hello(_RIGHT)),
    "an alert first": b"\x15\x03\x01\x00\x02\x01\x5a" + records(hello(_RIGHT)),
    "a change of ciphers first": b"\x14\x03\x03\x00\x01\x01" + records(hello(_RIGHT)),
    "a version that nobody has": b"\x16\x01" + records(hello(_RIGHT))[2:],
    "an alert of a version that nobody has": b"\x15\x0f\x01\x00\x02\x01\x5a" + records(hello(_RIGHT)),
    "an alert in between": records(hello(_RIGHT)[:40]) + b"\x15\x03\x01\x00\x02\x01\x00",
    "another version in between": records(hello(_RIGHT)[:40]) + b"\x16\x02\x01\x00\x02\x01\x00",
    "an empty record in between": records(hello(_RIGHT)[:40]) + b"\x16\x03\x01\x00\x00",
    "a record that is too long": b"\x16\x03\x01\x40\x01" + hello(_RIGHT),
    "a hello that is too long": records(hello((21, bytes(17_000)), _RIGHT)),
    "a hello that says it is too long": records(b"\x01\x00\x40\x01"),
    "SSL 2": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
}


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_is_refused(case: str) -> None:
    with pytest.raises(HelloError):
        read(WRONG[case])
    with pytest.raises(HelloError):
        read(WRONG[case], 1)


def test_one_that_comes_in_small_records_ends() -> None:
    """Each byte in a record of its own is six times as much, and bounded."""
    with pytest.raises(HelloError, match="too long"):
        read(records(hello((21, bytes(8_000)), _RIGHT), 1))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_pieces_make_no_difference(data: bytes, piece: int) -> None:
    def outcome(size: int) -> object:
        try:
            return read(b"\x16\x03" + data, size)
        except HelloError:
            return HelloError

    whole, parts = outcome(1 << 20), outcome(piece)
    assert whole == parts or (whole is HelloError and parts is not None)


@given(st.data())
def test_one_changed_byte_gives_no_other_name(data: st.DataObject) -> None:
    """Unless it is a letter of the name: then that is the name."""
    right = bytearray(hello_for(NAME))
    right[data.draw(st.integers(0, len(right) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(right))
    except HelloError:
        return
    assert found is None or found == PLAIN or (len(found) in (len(NAME), len(NAME) - 1))
