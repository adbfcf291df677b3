"""Deterministic CBOR: what is written is canonical, and nothing else is read."""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.encoding import MAX_ITEMS, dumps, loads, sha256_digest
from mpp_exec.errors import PackageError
from mpp_exec.package.limits import LIMITS

SIZE = 1 << 20

# RFC 8949 appendix A, as far as the types are used here: encoding and value.
VECTORS: list[tuple[str, Any]] = [
    ("00", 0),
    ("17", 23),
    ("1818", 24),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("3bffffffffffffffff", -18446744073709551616),
    ("20", -1),
    ("3863", -100),
    ("3903e7", -1000),
    ("f90000", 0.0),
    ("f98000", -0.0),
    ("f93c00", 1.0),
    ("fb3ff199999999999a", 1.1),
    ("f93e00", 1.5),
    ("f97bff", 65504.0),
    ("fa47c35000", 100000.0),
    ("fa7f7fffff", 3.4028234663852886e38),
    ("fb7e37e43c8800759c", 1.0e300),
    ("f90001", 5.960464477539063e-8),
    ("f90400", 6.103515625e-5),
    ("f9c400", -4.0),
    ("fbc010666666666666", -4.1),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("40", b""),
    ("4401020304", bytes.fromhex("01020304")),
    ("60", ""),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "ü"),
    ("63e6b0b4", "水"),
    ("64f0908591", "𐅑"),
    ("80", []),
    ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
    ("a0", {}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
]

# Well-formed or not, none of these is what dumps writes: encoding, code and what is wrong.
REFUSED = [
    ("", "cbor.truncated", "nothing at all"),
    ("18", "cbor.truncated", "head cut off"),
    ("1903", "cbor.truncated", "head cut off in its argument"),
    ("61", "cbor.truncated", "text without its byte"),
    ("4401", "cbor.truncated", "bytes cut off"),
    ("8201", "cbor.truncated", "array without its second item"),
    ("a16161", "cbor.truncated", "key without value"),
    ("fb3ff199", "cbor.truncated", "float cut off"),
    ("9bffffffffffffffff", "cbor.truncated", "an array of 2**64-1 items"),
    ("bbffffffffffffffff", "cbor.truncated", "a map of 2**64-1 pairs"),
    ("7bffffffffffffffff", "cbor.truncated", "a text of 2**64-1 bytes"),
    ("0000", "cbor.trailing", "two items"),
    ("a000", "cbor.trailing", "an item after a map"),
    ("1817", "cbor.non_canonical", "23 in two bytes"),
    ("190017", "cbor.non_canonical", "23 in three bytes"),
    ("1900ff", "cbor.non_canonical", "255 in three bytes"),
    ("1a0000ffff", "cbor.non_canonical", "65535 in five bytes"),
    ("1b00000000ffffffff", "cbor.non_canonical", "2**32-1 in nine bytes"),
    ("3817", "cbor.non_canonical", "-24 in two bytes"),
    ("7801 61".replace(" ", ""), "cbor.non_canonical", "text with a long head"),
    ("580101", "cbor.non_canonical", "bytes with a long head"),
    ("980101", "cbor.non_canonical", "array with a long head"),
    ("b801616101", "cbor.non_canonical", "map with a long head"),
    ("fa3fc00000", "cbor.non_canonical", "1.5 as a single"),
    ("fb3ff8000000000000", "cbor.non_canonical", "1.5 as a double"),
    ("fb40f86a0000000000", "cbor.non_canonical", "100000.0 as a double"),
    ("a2616201616101", "cbor.non_canonical", "keys out of order"),
    ("a262616101616201", "cbor.non_canonical", "a longer key first"),
    ("a2616101616102", "cbor.duplicate_key", "the same key twice"),
    ("a3616101616201616203", "cbor.duplicate_key", "the last key twice"),
    ("5f42010243030405ff", "cbor.indefinite", "bytes in chunks"),
    ("7f657374726561646d696e67ff", "cbor.indefinite", "text in chunks"),
    ("9fff", "cbor.indefinite", "an open array"),
    ("bfff", "cbor.indefinite", "an open map"),
    ("ff", "cbor.indefinite", "a break alone"),
    ("8101ff", "cbor.trailing", "a break after the end"),
    ("81ff", "cbor.indefinite", "a break as item"),
    ("a10101", "cbor.forbidden_type", "an integer key"),
    ("a1f501", "cbor.forbidden_type", "a boolean key"),
    ("a1410101", "cbor.forbidden_type", "a byte string key"),
    ("a18001", "cbor.forbidden_type", "an array key"),
    ("c074323031332d30332d32315432303a30343a30305a", "cbor.forbidden_type", "tag 0, a date"),
    ("c249010000000000000000", "cbor.forbidden_type", "tag 2, a bignum"),
    ("c4820103", "cbor.forbidden_type", "tag 4, a decimal fraction"),
    ("d81c8101", "cbor.forbidden_type", "tag 28, shareable"),
    ("d81d00", "cbor.forbidden_type", "tag 29, a shared reference"),
    ("d8236161", "cbor.forbidden_type", "tag 35, a regular expression"),
    ("d9010281 01".replace(" ", ""), "cbor.forbidden_type", "tag 258, a set"),
    ("d9d9f700", "cbor.forbidden_type", "tag 55799, self-described CBOR"),
    ("f7", "cbor.forbidden_type", "undefined"),
    ("f0", "cbor.forbidden_type", "simple value 16"),
    ("f8ff", "cbor.forbidden_type", "simple value 255"),
    ("f818", "cbor.forbidden_type", "simple value 24, not even well-formed"),
    ("1c", "cbor.forbidden_type", "reserved additional information"),
    ("fc", "cbor.forbidden_type", "reserved additional information of major type 7"),
    ("3f", "cbor.forbidden_type", "an indefinite integer"),
    ("df00ff", "cbor.forbidden_type", "an indefinite tag"),
    ("f97c00", "cbor.forbidden_type", "infinity"),
    ("f97e00", "cbor.forbidden_type", "NaN"),
    ("f9fc00", "cbor.forbidden_type", "minus infinity"),
    ("fa7f800000", "cbor.forbidden_type", "infinity as a single"),
    ("fb7ff8000000000001", "cbor.forbidden_type", "NaN with a payload"),
    ("61ff", "cbor.invalid_text", "not UTF-8"),
    ("62c080", "cbor.invalid_text", "an overlong NUL"),
    ("63eda080", "cbor.invalid_text", "half a surrogate pair"),
    ("a161ff00", "cbor.invalid_text", "a key that is not UTF-8"),
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=30), inner, max_size=5),
    max_leaves=20,
)


def refusal(data: bytes, **options: Any) -> str:
    with pytest.raises(PackageError) as caught:
        loads(data, **{"max_size": SIZE} | options)
    assert caught.value.hint
    return caught.value.code


def alike(one: Any, other: Any) -> bool:
    """Equality that tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    return bool(one == other)


@pytest.mark.parametrize(("encoded", "value"), VECTORS)
def test_vectors_of_rfc_8949(encoded: str, value: Any) -> None:
    assert dumps(value).hex() == encoded
    assert alike(loads(bytes.fromhex(encoded), max_size=SIZE), value)


@pytest.mark.parametrize(("encoded", "code", "what"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refused(encoded: str, code: str, what: str) -> None:
    assert refusal(bytes.fromhex(encoded)) == code, what
    if encoded not in ("", "ff") and code not in ("cbor.truncated", "cbor.trailing"):
        inside = bytes.fromhex("82" + encoded + "00")  # the same, inside a container
        assert refusal(inside) == code, what


@given(values)
def test_round_trip(value: Any) -> None:
    data = dumps(value)
    assert alike(loads(data, max_size=SIZE), value)
    assert dumps(loads(data, max_size=SIZE)) == data


@given(st.dictionaries(st.text(max_size=300), st.integers(0, 30), max_size=30))
def test_keys_are_sorted_bytewise_by_their_encodings(value: dict[str, int]) -> None:
    """RFC 8949 section 4.2.1; cbor2 sorts by length first, which for text keys must be the same."""
    keys = sorted(dumps(key) for key in value)
    head = dumps([None] * len(value))
    expected = bytes([head[0] | 0x20]) + head[1 : len(head) - len(value)]
    for key in keys:
        expected += key + dumps(value[loads(key, max_size=SIZE)])
    assert dumps(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_take_the_shortest_form_that_keeps_their_value(value: float) -> None:
    forms = []
    for head, form in ((0xF9, ">e"), (0xFA, ">f"), (0xFB, ">d")):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if math.copysign(1, struct.unpack(form, packed)[0]) == math.copysign(1, value) and (
            struct.unpack(form, packed)[0] == value
        ):
            forms.append(bytes([head]) + packed)
    assert dumps(value) == forms[0]


@given(st.binary(max_size=60))
def test_whatever_is_read_is_what_would_be_written(data: bytes) -> None:
    try:
        value = loads(data, max_size=SIZE)
    except PackageError as error:
        assert error.code.startswith("cbor.")  # noqa: PT017 -- either way out is right
    else:
        assert dumps(value) == data


@given(values, st.data())
def test_no_single_byte_can_be_changed_and_mean_the_same(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(dumps(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        read = loads(bytes(encoded), max_size=SIZE)
    except PackageError:
        return
    assert not alike(read, value)
    assert dumps(read) == encoded


@given(values)
def test_every_prefix_is_refused(value: Any) -> None:
    data = dumps(value)
    for end in range(len(data)):
        assert refusal(data[:end]) in {"cbor.truncated", "cbor.invalid_text"}


@pytest.mark.parametrize(
    "encoded", [row[0] for row in REFUSED if not row[2].endswith(("as a single", "as a double"))]
)
def test_the_decoder_never_sees_what_the_scan_refuses(encoded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """cbor2 would compile a regular expression for tag 35, and takes long heads for short ones."""
    monkeypatch.setattr(cbor2, "loads", lambda *_, **__: pytest.fail("decoded before it was scanned"))
    refusal(bytes.fromhex(encoded))


@pytest.mark.parametrize("opening", ["81", "a16161"])
def test_depth(opening: str) -> None:
    def nested(depth: int) -> bytes:
        return bytes.fromhex(opening) * depth + b"\xf6"

    loads(nested(32), max_size=SIZE)
    assert refusal(nested(33)) == "cbor.too_deep"
    loads(nested(5), max_size=SIZE, max_depth=5)
    assert refusal(nested(6), max_depth=5) == "cbor.too_deep"
    assert refusal(nested(100_000)) == "cbor.too_deep"


def test_items_are_counted_over_all_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built: sixteen bytes of a small item are a hundred of the value."""
    per_map = b"\xa1\x61a\x83\x01\x01\x01"  # a key, its list, three items; and the map itself
    most = MAX_ITEMS // 6

    def maps(count: int) -> bytes:
        return b"\x9a" + count.to_bytes(4, "big") + per_map * count

    loads(maps(most), max_size=SIZE)
    monkeypatch.setattr(cbor2, "loads", lambda *_, **__: pytest.fail("it was built"))
    assert refusal(maps(most + 1)) == "cbor.too_many"
    with pytest.raises(PackageError) as caught:
        dumps([0] * (MAX_ITEMS + 1))
    assert caught.value.code == "cbor.too_many"


def test_a_manifest_of_as_many_files_as_there_may_be_is_read() -> None:
    files = [[f"folder/{number:06}", number, b"\x11" * 32, False] for number in range(LIMITS.members)]
    assert len(loads(dumps({"files": files}), max_size=LIMITS.manifest)["files"]) == LIMITS.members


def test_empty_containers_count_as_depth() -> None:
    assert refusal(b"\x81\x80", max_depth=1) == "cbor.too_deep"
    assert loads(b"\x80", max_size=SIZE, max_depth=1) == []


def test_size() -> None:
    assert loads(b"\x43abc", max_size=4) == b"abc"
    assert refusal(b"\x43abc", max_size=3) == "cbor.too_long"


def test_one_tag_where_it_is_asked_for() -> None:
    assert dumps([1], tag=18) == b"\xd2\x81\x01"
    assert loads(b"\xd2\x81\x01", max_size=SIZE, tag=18) == [1]
    assert refusal(b"\x81\x01", tag=18) == "cbor.forbidden_type"
    assert refusal(b"\xd1\x81\x01", tag=18) == "cbor.forbidden_type"
    assert refusal(b"\xd8\x12\x81\x01", tag=18) == "cbor.forbidden_type"  # a longer head
    assert refusal(b"\xd2\xd2\x81\x01", tag=18) == "cbor.forbidden_type"
    assert refusal(b"\xd2\x81\xd2\x01", tag=18) == "cbor.forbidden_type"
    assert refusal(b"", tag=18) == "cbor.truncated"
    assert refusal(b"\xd2", tag=18) == "cbor.truncated"
    assert refusal(b"\xd2\x81\x01") == "cbor.forbidden_type"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        1 << 64,
        -(1 << 64) - 1,
        {1: 2},
        {b"a": 1},
        {None: 1},
        {1, 2},
        object(),
        "\ud800",
        {"\udfff": 1},
        cbor2.CBORTag(18, 1),
        cbor2.undefined,
        3 + 4j,
    ],
    ids=repr,
)
def test_what_has_no_form_is_not_written(value: Any) -> None:
    for outer in (value, [value], {"a": value}):
        with pytest.raises(PackageError) as caught:
            dumps(outer)
        assert caught.value.code in {"cbor.unencodable", "cbor.forbidden_type"}


def test_what_is_nested_without_end_is_not_written() -> None:
    """cbor2's encoder overflows the stack of the process on these."""
    cyclic: list[Any] = []
    cyclic += [cyclic, cyclic]
    deep: Any = None
    for _ in range(200_000):
        deep = [deep]
    for value in (cyclic, deep):
        with pytest.raises(PackageError) as caught:
            dumps(value)
        assert caught.value.code == "cbor.too_deep"
    shared: Any = []
    for _ in range(60):
        shared = (shared,)
    assert dumps(shared) == b"\x81" * 60 + b"\x80"
    while isinstance(deep, list):  # taken apart by hand: the interpreter would recurse
        deep = deep[0]


def test_tuples_and_subclasses_are_written_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

    assert dumps((1, (2,))) == dumps([1, [2]])
    assert dumps({Text("a"): Text("b")}) == dumps({"a": "b"})


def test_digest() -> None:
    assert sha256_digest(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
