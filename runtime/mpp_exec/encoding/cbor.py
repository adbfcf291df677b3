"""Deterministic CBOR (RFC 8949 §4.2.1), refused on read unless it is what :func:`dumps` would have written.

Reading takes four steps, and a message must pass all of them:

1. **scan**: a walk over the heads, without building anything, that knows only the major types used
   here; nothing the decoder could act upon (tags, shared references, huge lengths) gets past it
2. **decode**: cbor2 with every strict option
3. **encode** the value again, deterministically
4. **compare** the bytes
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from mpp_exec.errors import PackageError

MAX_DEPTH: Final = 32
"""Nested containers that :func:`loads` accepts unless told otherwise."""

MAX_ITEMS: Final = 400_000
"""Items of one message, keys and containers among them: a manifest of as many files as there may be has
250,000. Bytes alone are no bound: 16 MiB of small items would take gigabytes to decode."""

_MAX_ENCODE_DEPTH: Final = 128

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)  # RFC 8949 §3.1, major types
_FALSE, _TRUE, _NULL = 20, 21, 22  # §3.3
_HALF, _SINGLE, _DOUBLE = 25, 26, 27
_INDEFINITE = 31
# The smallest argument for which a head of this additional information is the shortest one (§4.2.1).
_SHORTEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}


def dumps(value: Any, *, tag: int | None = None) -> bytes:
    """Encode *value* as deterministic CBOR (RFC 8949 §4.2.1): shortest heads and floats, sorted keys.

    Takes None, bool, int in -2**64 … 2**64-1, finite float, str, bytes, list or tuple, and dict with
    text keys; *tag* puts one tag number (below 24) in front. Map keys sort bytewise: cbor2 sorts
    them by length first (RFC 7049 §3.9), which for text keys is the same order, since a shorter key
    also has the smaller head. The result is scanned like any input, so what this writes,
    :func:`loads` reads.

    Raises:
        PackageError: ``cbor.unencodable`` for any other type, or what :func:`loads` would raise.
    """
    data = _encode(value)
    if tag is not None:
        data = bytes([_TAG << 5 | tag]) + data
    _scan(data, max_depth=_MAX_ENCODE_DEPTH, tag=tag)
    return data


def dumps_ordered(value: Any) -> bytes:
    """Encode *value* as :func:`dumps` does, in a tenth of the time, where the caller has looked at it.

    It has seen to it that there is nothing in it but what :func:`dumps` takes, and no float, and that
    every map is in the order of :func:`key_order`.

    Raises:
        PackageError: ``cbor.unencodable``.
    """
    return _encoded(value, canonical=False)


def key_order(key: str) -> tuple[int, bytes]:
    """Return what map keys are sorted by: the bytes of their encoding, of which the first is the length's."""
    raw = key.encode()
    return len(raw), raw


def loads(data: bytes, *, max_size: int, max_depth: int = MAX_DEPTH, tag: int | None = None) -> Any:
    """Decode one deterministic CBOR item, refusing every byte string that :func:`dumps` would not write.

    *max_size* is in bytes, *max_depth* counts nested containers. With *tag*, the item must stand
    behind exactly this tag and the value inside is returned; no other tag is ever accepted.

    Raises:
        PackageError: ``cbor.too_long``, ``cbor.too_many``, ``cbor.truncated``, ``cbor.trailing``,
            ``cbor.non_canonical``, ``cbor.indefinite``, ``cbor.duplicate_key``, ``cbor.too_deep``,
            ``cbor.forbidden_type`` or ``cbor.invalid_text``.
    """
    import cbor2  # noqa: PLC0415 -- whoever only speaks JSON does without

    if len(data) > max_size:
        raise PackageError(
            "cbor.too_long",
            f"{len(data)} bytes of CBOR where at most {max_size} are accepted",
            "the file is not a package of this version, or was made to exhaust its reader",
        )
    _scan(data, max_depth=max_depth, tag=tag)
    body = data if tag is None else data[1:]
    try:
        value = cbor2.loads(
            body,
            max_depth=max_depth + 1,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORError, ValueError, OverflowError) as error:  # the scan is stricter: not expected
        raise PackageError("cbor.malformed", f"CBOR cannot be decoded: {error}", _HINT) from None
    if _encode(value) != body:
        _refuse("non_canonical", 0, "encodes differently when written again")
    return value


_HINT = "the file was not written by a conforming builder, or was changed on the way"


def _refuse(reason: str, offset: int, what: str) -> NoReturn:
    raise PackageError(f"cbor.{reason}", f"CBOR item at byte {offset} {what}", _HINT)


def _encode(value: Any) -> bytes:
    _refuse_unbounded(value)
    return _encoded(value, canonical=True)


def _encoded(value: Any, *, canonical: bool) -> bytes:
    import cbor2  # noqa: PLC0415 -- whoever only speaks JSON does without

    try:
        return cbor2.dumps(value, canonical=canonical)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PackageError(
            "cbor.unencodable",
            f"value has no deterministic CBOR form: {error}",
            "this is a fault of the caller",
        ) from None


def _refuse_unbounded(value: Any) -> None:
    """Refuse what is nested beyond any use: cbor2's encoder recurses on the C stack and would crash.

    Level by level and each container once a level, so that shared and cyclic values cost no more.
    """
    containers = (dict, list, tuple)
    level = [value] if isinstance(value, containers) else []
    for _ in range(_MAX_ENCODE_DEPTH + 1):
        if not level:
            return
        inner = {
            id(child): child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, containers)
        }
        level = list(inner.values())
    raise PackageError(
        "cbor.too_deep", f"value is nested deeper than {_MAX_ENCODE_DEPTH}", "this is a fault of the caller"
    )


def _scan(data: bytes, *, max_depth: int, tag: int | None) -> None:  # noqa: PLR0912, PLR0915 -- one loop over one grammar; split, it takes twice as long
    """Walk over the heads of *data* and refuse what is not in the subset, without building values."""
    size = len(data)
    position = 0
    if tag is not None:
        if size == 0:
            _refuse("truncated", 0, "is missing")
        if data[0] != (_TAG << 5 | tag):
            _refuse("forbidden_type", 0, f"does not begin with tag {tag}")
        position = 1
    # The open container: how many items it still waits for (a pair of a map counts as two), whether
    # it is a map, and the last key seen in it. Outer containers wait on the stack.
    waiting, in_map, last_key = 1, False, b""
    left = MAX_ITEMS
    stack: list[tuple[int, bool, bytes]] = []
    shortest = _SHORTEST
    while True:
        while waiting == 0:
            if not stack:
                if position != size:
                    _refuse("trailing", position, "follows the only item there may be")
                return
            waiting, in_map, last_key = stack.pop()
        if position >= size:
            _refuse("truncated", position, "is missing")
        start = position
        initial = data[position]
        position += 1
        major = initial >> 5
        argument = initial & 31
        if major == _OTHER:
            if in_map and not waiting & 1:
                _refuse("forbidden_type", start, "is a map key but not text")
            position = _scan_other(data, start, argument)
            waiting -= 1
            continue
        if argument > 23:
            if argument > 27:
                if argument == _INDEFINITE and _BYTES <= major <= _MAP:
                    _refuse("indefinite", start, "has no definite length")
                _refuse("forbidden_type", start, "has a reserved head")
            end = position + (1 << (argument - 24))
            if end > size:
                _refuse("truncated", start, "is cut off in its head")
            least = shortest[argument]
            argument = int.from_bytes(data[position:end], "big")
            if argument < least:
                _refuse("non_canonical", start, "has a longer head than it needs")
            position = end
        is_key = in_map and not waiting & 1
        waiting -= 1
        if is_key and major != _TEXT:
            _refuse("forbidden_type", start, "is a map key but not text")
        if major <= _NINT:
            continue
        if major == _TAG:
            _refuse("forbidden_type", start, f"is tag {argument}, and no tag may stand here")
        if major <= _TEXT:
            end = position + argument
            if end > size:
                _refuse("truncated", start, "is longer than the data")
            if major == _TEXT:
                try:
                    data[position:end].decode()
                except UnicodeDecodeError:
                    _refuse("invalid_text", start, "is text but not UTF-8")
                if is_key:
                    key = data[start:end]
                    if key <= last_key:
                        if key == last_key:
                            _refuse("duplicate_key", start, "is a key that the map already has")
                        _refuse("non_canonical", start, "is a key out of order")
                    last_key = key
            position = end
            continue
        if major == _MAP:
            argument *= 2
        if argument > size - position:  # every item takes at least one byte: no need to look for them
            _refuse("truncated", start, "announces more items than there are bytes")
        left -= argument
        if left < 0:
            _refuse("too_many", start, f"makes more than {MAX_ITEMS} items")
        if len(stack) >= max_depth:
            _refuse("too_deep", start, f"is nested deeper than {max_depth}")
        stack.append((waiting, in_map, last_key))
        waiting, in_map, last_key = argument, major == _MAP, b""


def _scan_other(data: bytes, start: int, info: int) -> int:
    """Check a false, true, null or float at *start*; return where the next item begins."""
    if info in (_FALSE, _TRUE, _NULL):
        return start + 1
    if info not in (_HALF, _SINGLE, _DOUBLE):
        if info == _INDEFINITE:
            _refuse("indefinite", start, "is a break without a beginning")
        _refuse("forbidden_type", start, f"is simple value or reserved head {info}")
    width = 1 << (info - 24)
    end = start + 1 + width
    if end > len(data):
        _refuse("truncated", start, "is cut off in its head")
    # Infinities and NaN have every bit of the exponent set; JSON has neither.
    exponent = {_HALF: 0x7C00, _SINGLE: 0x7F80_0000, _DOUBLE: 0x7FF0_0000_0000_0000}[info]
    if int.from_bytes(data[start + 1 : end], "big") & exponent == exponent:
        _refuse("forbidden_type", start, "is a float without a finite value")
    return end
