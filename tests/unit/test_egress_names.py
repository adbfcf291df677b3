"""What a sandbox's questions are answered, and what its connections mean."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_room import address_of, code_of, query
from mpp_exec.egress import queries
from mpp_exec.egress.granted import NAMES_MAX, Granted
from mpp_exec.permissions import HostPort
from mpp_exec.vocabulary import parse_host_port

OPTIONS = b"\0" + struct.pack("!2HIH", 41, 1232, 0, 0)


def asked(message: bytes) -> queries.Question:
    found = queries.read(message)
    assert found is not None
    return found


class TestQuestions:
    @pytest.mark.parametrize("rest", [b"", OPTIONS])
    def test_a_name_is_canonical_and_its_spelling_echoed(self, rest: bytes) -> None:
        question = asked(query("aPi.EXAMPLE.com", rest=rest))
        assert (question.error, question.name, question.kind) == (0, "api.example.com", queries.A)
        answer = queries.answer(question, queries.OK, b"\x7f\x40\0\1")
        assert b"\x03aPi\x07EXAMPLE\x03com\0" in answer
        assert (answer[:2], code_of(answer), address_of(answer)) == (b"\0\7", 0, "127.64.0.1")

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x03a\0b\x07example\x03com\0",
            b"\x03a.b\x07example\x03com\0",  # a dot in a label
            b"\x01*\x07example\x03com\0",
            b"\x03a_b\x07example\x03com\0",
            b"\x04\xc3\xa4bc\x07example\x03com\0",
            b"\x0210\x010\x010\x011\0",  # an address
            b"\x09127\x2e0\x2e0\x2e1\0",
            b"\0",
        ],
    )
    def test_what_no_host_can_have_is_no_name(self, raw: bytes) -> None:
        assert asked(query(raw)).name == ""

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            (query(b"\xc0\x0c"), queries.MALFORMED),  # a name that points
            (query(b"\x3f" + b"a" * 20 + b"\0"), queries.MALFORMED),
            (query(b"\x40" + b"a" * 64 + b"\0"), queries.MALFORMED),
            (query((b"\x3f" + b"a" * 63) * 4 + b"\0"), queries.MALFORMED),
            (query("a.example")[:-1], queries.MALFORMED),
            (query("a.example") + b"x", queries.MALFORMED),
            (query("a.example", rest=OPTIONS + b"x"), queries.MALFORMED),
            (query("a.example", rest=b"\x01a" + OPTIONS), queries.MALFORMED),
            (query("a.example", rest=b"\0" + struct.pack("!2HIH", 1, 1, 0, 0)), queries.MALFORMED),
            (query("a.example", flags=0x2800), queries.NOT_IMPLEMENTED),
            (struct.pack("!6H", 1, 0, 2, 0, 0, 0) + query("a.example")[12:] * 2, queries.MALFORMED),
            (struct.pack("!6H", 1, 0, 0, 0, 0, 0), queries.MALFORMED),
            (struct.pack("!6H", 1, 0, 1, 1, 0, 0) + query("a.example")[12:], queries.MALFORMED),
        ],
    )
    def test_what_is_malformed_is_answered_so(self, message: bytes, error: int) -> None:
        question = asked(message)
        assert question.error == error
        assert code_of(queries.answer(question, question.error)) == error

    @pytest.mark.parametrize("message", [b"", b"x" * 11, query("a.example", flags=0x8000)])
    def test_what_is_no_question_has_no_answer(self, message: bytes) -> None:
        assert queries.read(message) is None

    @given(st.binary(max_size=600))
    def test_any_bytes_are_read(self, data: bytes) -> None:
        question = queries.read(data)
        if question is not None:
            assert len(queries.answer(question, question.error)) <= len(data)


class TestGranted:
    def test_a_wildcard_is_for_what_is_below_it(self) -> None:
        granted = Granted((parse_host_port("*.example.com:443"),))
        assert granted.has_name("a.example.com")
        assert granted.has_name("a.b.example.com")
        for name in (
            "example.com",
            "evilexample.com",
            "example.com.attacker.example",
            "com",
            "*.example.com.x",
        ):
            assert not granted.has_name(name)
        assert granted.covers("a.example.com", 443)
        assert not granted.covers("a.example.com", 80)

    def test_an_internationalised_name_is_its_a_label(self) -> None:
        granted = Granted((parse_host_port("bücher.example:443"),))
        assert granted.has_name(asked(query("xn--BCHER-kva.example")).name)

    def test_an_address_is_no_name(self) -> None:
        granted = Granted((HostPort("10.0.0.5", 443),))
        assert not granted.has_name("10.0.0.5")
        assert granted.meant("10.0.0.5", 443) == ("10.0.0.5", True)
        assert granted.meant("10.0.0.5", 80) == ("10.0.0.5", False)
        assert granted.meant("10.0.0.6", 443) == ("10.0.0.6", False)

    def test_names_have_addresses_in_order_and_no_granted_one(self) -> None:
        granted = Granted((HostPort("*.example.com", 443), HostPort("127.64.0.2", 443)))
        addresses = [granted.address_of(f"{i}.example.com") for i in range(3)]
        assert addresses == ["127.64.0.1", "127.64.0.3", "127.64.0.4"]
        assert granted.address_of("0.example.com") == "127.64.0.1"
        assert granted.meant("127.64.0.3", 443) == ("1.example.com", True)
        assert granted.meant("127.64.0.2", 443) == ("127.64.0.2", True)
        assert granted.meant("127.64.0.5", 443) == ("127.64.0.5", False)

    def test_names_are_bounded(self) -> None:
        granted = Granted((HostPort("*.example.com", 443),))
        addresses = [granted.address_of(f"{i}.example.com") for i in range(NAMES_MAX + 1)]
        assert addresses[-1] is None
        assert len(set(addresses)) == NAMES_MAX + 1

    def test_localhost_is_where_it_always_is(self) -> None:
        granted = Granted((HostPort("localhost", 8_000), HostPort("127.0.0.1", 5_432)))
        assert granted.address_of("localhost") == "127.0.0.1"
        assert granted.meant("127.0.0.1", 8_000) == ("localhost", True)
        assert granted.meant("::1", 8_000) == ("localhost", True)
        assert granted.meant("127.0.0.1", 5_432) == ("127.0.0.1", True)
        assert granted.meant("::1", 5_432) == ("::1", False)
        assert granted.meant("127.0.0.1", 22) == ("127.0.0.1", False)
