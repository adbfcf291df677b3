"""The host and its broker refuse what is not exactly a message of theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpp_exec.egress import wire
from mpp_exec.egress.traffic import CONNECTIONS_MAX, DENIED_MAX, Notes, Traffic
from mpp_exec.permissions import HostPort

GOOD = ["ended", 3, Traffic().to_json()]


def test_requests_are_read_back() -> None:
    destinations = (HostPort("*.example.com", 443), HostPort("2001:db8::1", 1))
    message = wire.opening(7, "one", destinations, names=True)
    assert wire.read_request(message) == ("open", 7, "one", "one", destinations, True)
    message = wire.opening(7, "one", (), names=False, whose="acme/net")
    assert wire.read_request(message) == ("open", 7, "one", "acme/net", (), False)
    for kind in ("end", "drop"):
        assert wire.read_request(wire.encoded(kind, 8, "one")) == (kind, 8, "one", "", (), False)


def test_the_largest_request_fits() -> None:
    host = ".".join(["a" * 61] * 4) + ".aa"
    many = tuple(HostPort(host, i) for i in range(60_000, 60_512))
    message = wire.opening(1, "i" * 128, many, names=True, whose="w" * 128)
    assert len(message) <= wire.MESSAGE_MAX


def test_the_most_that_can_be_told_fits() -> None:
    notes = Notes()
    host = "a" * 253
    for port in range(CONNECTIONS_MAX + 5):
        made = notes.connected(host, 60_000 + port, "2001:db8:1111:1111:1111:1111:1111:1111", 10**13)
        made.sent, made.received = 1 << 61, 1
    for port in range(DENIED_MAX + 3):
        notes.denied(host, 60_000 + port, "resolve")
        notes.denied(host, 60_000, "resolve")
    traffic = notes.traffic()
    assert (len(traffic.connections), traffic.more_connections) == (CONNECTIONS_MAX, 5)
    assert (len(traffic.denied), traffic.more_denied) == (DENIED_MAX, 3)
    traffic = Traffic(traffic.connections, traffic.denied, 1, 2, 3, 4)
    message = wire.encoded("ended", 1, traffic.to_json())
    assert len(message) <= wire.MESSAGE_MAX
    assert wire.read_answer(message, 1) == ("ended", traffic)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'["opened",4]',
        b'["opened","3"]',
        b'["opened",3,1]',
        b'["ended",3]',
        b'["other",3]',
        b'["ended",3,[]]',
    ],
)
def test_what_is_no_answer_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):
        wire.read_answer(message, 3)


@pytest.mark.parametrize("message", [b'["opened",2]', b'["ended",1,{}]', b'["full",2]'])
def test_an_answer_that_nobody_waited_for_is_passed_over(message: bytes) -> None:
    assert wire.read_answer(message, 3) is None


def _with(**changed: Any) -> bytes:
    return json.dumps(["ended", 3, {**Traffic().to_json(), **changed}]).encode()


@pytest.mark.parametrize(
    "message",
    [
        _with(more=1),
        _with(connections={}),
        _with(connections=[[]]),
        _with(connections=[["a\x1b[2J", 1, "1.2.3.4", 0, 0, 0]]),
        _with(connections=[["a", 1, "evil", 0, 0, 0]]),
        _with(connections=[["a", 65_536, "1.2.3.4", 0, 0, 0]]),
        _with(connections=[["a", -1, "1.2.3.4", 0, 0, 0]]),
        _with(connections=[["a", 1, "1.2.3.4", 0, 1.5, 0]]),
        _with(connections=[["a", 1, "1.2.3.4", 0, True, 0]]),
        _with(connections=[["a", 1, "1.2.3.4", 0, 1 << 63, 0]]),
        _with(connections=[["a", 1, "1.2.3.4", 0, 0, 0]] * (CONNECTIONS_MAX + 1)),
        _with(denied=[["a", 1, "other"]]),
        _with(denied=[["a", 1, ["name"]]]),
        _with(denied=[["a" * 254, 1, "name"]]),
        _with(denied=[["a", 1, "name"]] * (DENIED_MAX + 1)),
        _with(counts=[1, 2, 3]),
        _with(counts=[1, 2, 3, "4"]),
        _with(lost="no"),
        _with(lost=None),
    ],
)
def test_traffic_that_is_none_is_refused(message: bytes) -> None:
    assert wire.read_answer(json.dumps(GOOD).encode(), 3) == ("ended", Traffic())
    with pytest.raises(ValueError):
        wire.read_answer(message, 3)
