"""Strict CBOR and JSON: the one door through which outside bytes become values, and the digest of bytes.

CBOR is deterministic on write (RFC 8949 §4.2.1) and refused on read unless it is exactly what
:func:`dumps` would have written. Reading takes four steps, and a message must pass all of them:

1. **scan**: a walk over the heads, without building anything, that knows only the major types used
   here; nothing the decoder could act upon (tags, shared references, huge lengths) gets past it
2. **decode**: cbor2 with every strict option
3. **encode** the value again, deterministically
4. **compare** the bytes

JSON has no canonical form that everyone shares; :func:`json_dumps` is deterministic among
mpp-exec's own outputs, and :func:`json_loads` refuses what JSON parsers are known to disagree
about.
"""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mpp_exec.errors import PackageError

MAX_DEPTH: Final = 32
"""Nested containers that :func:`loads` accepts unless told otherwise."""

MAX_ITEMS: Final = 400_000
"""Items of one message, keys and containers among them: a manifest of as many files as there may be has
250,000. Bytes alone are no bound: 16 MiB of small items would take gigabytes to decode."""

_MAX_ENCODE_DEPTH: Final = 128
_MAX_INT_DIGITS: Final = 308  # as many as a double's exponent reaches; CPython's own limit is never below 640
_MAX_NUMBER_LENGTH: Final = 1_024

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
            "the file is no package of this version, or was made to exhaust its reader",
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


def sha256_digest(data: bytes) -> str:
    """Return the digest of *data* as it is written everywhere: ``sha256:`` and 64 hex digits."""
    import hashlib  # noqa: PLC0415 -- loads OpenSSL

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class JsonError(ValueError):
    """Text that is not the JSON it should be. The caller knows whose fault that is and says so.

    ``code`` is ``json.`` and one of ``too_long``, ``invalid_text``, ``syntax``, ``too_deep``,
    ``duplicate_key``, ``number`` or ``surrogate``; ``message`` never quotes the text.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = f"json.{reason}"
        self.message = message


def json_dumps(value: Any) -> str:
    """Return *value* as JSON text that is a function of the value: keys sorted, no spaces, no NaN.

    Raises:
        JsonError: the value has no JSON form that every reader understands (NaN, infinity, lone surrogate).
    """
    try:
        text = _ENCODE(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise JsonError("syntax", f"value has no JSON form: {error}") from None
    if not text.isascii():
        _refuse_surrogates(text)
    return text


def _encoder() -> Callable[[Any], str]:
    """Return what writes JSON: what ``json.dumps`` does, which makes five functions for each value first."""
    encoder = json.JSONEncoder(sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    make = getattr(json.encoder, "c_make_encoder", None)  # what ``encode`` asks for it, too
    if make is None:
        return encoder.encode
    refuse, text = encoder.default, json.encoder.encode_basestring
    sort_keys, skipkeys, allow_nan = True, False, False

    def encode(value: Any) -> str:
        # The first is to find what holds itself, and is of this value alone.
        write = make({}, refuse, text, None, ":", ",", sort_keys, skipkeys, allow_nan)
        return "".join(write(value, 0))

    return encode


_ENCODE: Final = _encoder()


def json_loads(data: bytes | str, *, max_size: int, max_depth: int = 64) -> Any:
    """Parse one JSON text (RFC 8259), refusing what parsers disagree about or break on.

    *max_size* is in bytes of UTF-8. Refused: invalid UTF-8, a byte order mark, lone surrogates also
    as escapes, duplicate keys, NaN and infinities also by overflow, integers of more than 308
    digits, more than *max_depth* nested containers. Time and memory are linear in the size.

    Raises:
        JsonError: with the reason; callers turn it into their own error.
    """
    try:
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > max_size:
            raise JsonError("too_long", f"{len(raw)} bytes of JSON where at most {max_size} are accepted")
        text = data if isinstance(data, str) else raw.decode()
    except UnicodeError:
        raise JsonError("invalid_text", "JSON text is not valid UTF-8") from None
    _refuse_depth(text, max_depth)
    try:
        value = _decoded(text)
    except json.JSONDecodeError as error:
        what = error.msg.lower().removesuffix(" at")
        raise JsonError("syntax", f"{what} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JsonError("too_deep", "JSON text is nested deeper than this process can follow") from None
    if _SURROGATE_ESCAPE.search(text) is not None:
        _refuse_surrogates(json.dumps(value, ensure_ascii=False))
    return value


# A string is skipped as one token, also when it never ends, so that the search never goes back; what
# remains to be counted are brackets. (No possessive quantifiers: CPython before 3.11.5 matches them
# wrongly, gh-106052.)
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def _refuse_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                raise JsonError("too_deep", f"JSON text is nested deeper than {max_depth}")
        elif first in "]}":
            depth -= 1


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JsonError("surrogate", "a string in the JSON text holds half a surrogate pair") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonError("duplicate_key", "an object in the JSON text has the same key twice")
    return result


def _integer(text: str) -> int:
    if len(text) - text.startswith("-") > _MAX_INT_DIGITS:
        raise JsonError("number", f"an integer in the JSON text has more than {_MAX_INT_DIGITS} digits")
    return int(text)


def _float(text: str) -> float:
    if len(text) > _MAX_NUMBER_LENGTH:
        raise JsonError("number", f"a number in the JSON text is longer than {_MAX_NUMBER_LENGTH} characters")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise JsonError("number", "a number in the JSON text is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise JsonError("number", f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _decoded(text: str) -> Any:
    """Decode one JSON text. An object with no space around it needs no search for that."""
    if text.startswith("{"):
        value, end = _DECODER.raw_decode(text)
        if end == len(text) or text[end:] == "\n":
            return value
    return _DECODER.decode(text)
