"""What an entry says, and the hash that ties it to the one before."""

from __future__ import annotations

import hashlib
import os
import pwd
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_samples import CALLER, INSIDE, OUTSIDE
from mpp_exec.audit.entry import (
    MAX_BODY,
    NO_ENTRY,
    Caller,
    Entry,
    Kind,
    decode,
    encode,
    iso,
    link,
    milliseconds,
    moment,
)
from mpp_exec.audit.storable import clip
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import InternalError
from mpp_exec.permissions import HostPort, Permissions


def test_the_hash_is_the_documented_one() -> None:
    # printf 'mpp-exec ledger entry v1\\0' …, piped through sha256sum
    expected = "21e6f73bc80654af73164b3d6a3f1492559f573578d265174870204f2dd0b17b"
    data = b"mpp-exec ledger entry v1\0" + b"\0\0\0\0\0\0\0\2" + b"\1" * 32 + b"\xa0"
    assert link(2, b"\1" * 32, b"\xa0") == hashlib.sha256(data).digest()
    assert link(2, b"\1" * 32, b"\xa0").hex() == expected


def test_the_hash_depends_on_number_predecessor_and_body() -> None:
    hashes = {
        link(1, NO_ENTRY, b"\xa0"),
        link(2, NO_ENTRY, b"\xa0"),
        link(1, b"\1" * 32, b"\xa0"),
        link(1, NO_ENTRY, b"\xa1"),
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("granted", "outside"),
    [
        (Permissions(), False),
        (Permissions(read=("/data",), environment=("TZ",)), False),
        (Permissions(write=("/data",)), True),
        (Permissions(network=(HostPort("example.com", 443),)), True),
        (Permissions(subprocess=("git",)), True),
        (Permissions(storage=1), True),
    ],
)
def test_what_reaches_outside(granted: Permissions, *, outside: bool) -> None:
    assert replace(INSIDE, granted=granted).reaches_outside is outside


def test_a_degraded_plan_counts_as_reaching_outside() -> None:
    assert replace(INSIDE, degradations=("no-network-namespace",)).reaches_outside


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("naïve", "naïve"),
        ("/data/\udcff.csv", "/data/\\xff.csv"),
        ("half \ud83d", "half \\xed\\xa0\\xbd"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 255 + "…"),
    ],
)
def test_any_text_can_be_stored(text: str, stored: str) -> None:
    assert clip(text) == stored
    assert decode(encode(Kind.POLICY, 0, {"detail": {text: text}}))["detail"] == {stored: stored}


def test_a_path_is_not_cut_short() -> None:
    path = "/" + "x" * 4095
    assert decode(encode(Kind.APPROVE, 0, {"detail": [path]}))["detail"] == [path]


@pytest.mark.parametrize("value", [float("nan"), object(), {1: 2}, {b"x": 2}, 1 << 70, {1, 2}])
def test_what_has_no_cbor_form_is_refused(value: object) -> None:
    with pytest.raises(InternalError) as caught:
        encode(Kind.POLICY, 0, {"detail": value})
    assert caught.value.code == "ledger.unencodable"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 65), 1 << 65)
    | st.floats()
    | st.text()
    | st.binary(max_size=40)
    | st.just(object()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_written_can_be_read(value: object) -> None:
    """Entries are encoded without the scan: what it would refuse must have been refused before."""
    try:
        body = encode(Kind.POLICY, 0, {"detail": value})
    except InternalError:
        return  # refused, which is tested above
    assert decode(body)["kind"] == "policy"
    assert body == dumps(loads(body, max_size=MAX_BODY))


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(InternalError) as caught:
        encode(Kind.POLICY, 0, {"detail": value})
    assert caught.value.code == "ledger.unencodable"


def test_an_entry_has_a_largest_size() -> None:
    with pytest.raises(InternalError) as caught:
        encode(Kind.POLICY, 0, {"detail": ["/" + "x" * 8000] * (MAX_BODY // 8000 + 1)})
    assert caught.value.code == "ledger.unencodable"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xa0",
        dumps({"kind": "start"}),
        dumps({"at": 1}),
        dumps({"at": 1, "kind": "nonsense"}),
        dumps({"at": "1", "kind": "start"}),
        dumps({"at": 1, "kind": "start", "terms": {}}),
        dumps({"at": 1, "kind": "start", "caller": b"\xff"}),
        dumps([1]),
        encode(Kind.POLICY, 1, {}) + b"\0",
    ],
)
def test_a_body_that_is_no_entry_is_empty_and_not_intact(body: bytes) -> None:
    entry = Entry(1, NO_ENTRY, link(1, NO_ENTRY, body), body)
    assert entry.content == {}
    assert not entry.intact
    assert entry.to_json()["intact"] is False
    assert (entry.kind, entry.package, entry.tool, entry.outcome, entry.at) == ("", "", "", "", None)


def test_an_entry_shows_all_that_was_recorded() -> None:
    body = encode(
        Kind.START, milliseconds(datetime(2026, 6, 1, 12, 0, 0, 5000, tzinfo=UTC)), {"terms": INSIDE.encoded}
    )
    entry = Entry(1, NO_ENTRY, link(1, NO_ENTRY, body), body)
    assert entry.intact
    shown = entry.to_json()
    assert shown["at"] == "2026-06-01T12:00:00.005Z"
    assert shown["terms"] == {
        "package": {
            "name": "acme/csv",
            "version": "1.4.0",
            "publisher": "acme",
            "key": "sha256:" + "11" * 32,
            "digest": "sha256:" + "22" * 32,
        },
        "tool": "query",
        "granted": {
            "network": [],
            "environment": ["TZ"],
            "subprocess": [],
            "storage": 0,
            "read": ["/data"],
            "write": [],
        },
        "withheld": ["network=api.example.com:443"],
        "limits": {
            "wall_ms": 10_000,
            "cpu_ms": 5_000,
            "memory": 268_435_456,
            "processes": 16,
            "open_files": 64,
            "output": 1_048_576,
            "scratch": 67_108_864,
        },
        "mechanisms": ["landlock", "seccomp"],
        "degradations": [],
    }
    assert (entry.package, entry.tool, entry.outcome) == ("acme/csv", "query", "unknown")


def test_terms_and_caller_are_encoded_once() -> None:
    assert OUTSIDE.encoded is OUTSIDE.encoded
    assert CALLER.encoded is CALLER.encoded


def test_the_current_caller_is_made_once() -> None:
    assert Caller.current(client="a") is Caller.current(client="a")
    assert Caller.current(client="a") != Caller.current(client="b")


def test_the_current_caller_is_this_process() -> None:
    caller = Caller.current(principal="agent", client="x" * 1000)
    assert (caller.uid, caller.pid) == (os.getuid(), os.getpid())
    assert caller.user == pwd.getpwuid(os.getuid()).pw_name
    assert len(decode(encode(Kind.POLICY, 0, {"caller": caller.encoded}))["caller"]["client"]) == 256


def test_times_are_utc_with_milliseconds() -> None:
    east = datetime(2026, 6, 1, 14, 0, 0, 1500, tzinfo=timezone(timedelta(hours=2)))
    assert moment(milliseconds(east)) == datetime(2026, 6, 1, 12, 0, 0, 2000, tzinfo=UTC)
    assert iso(east) == "2026-06-01T12:00:00.001Z"
