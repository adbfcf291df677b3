"""JSON: what leaves is a function of the value, what comes in has nothing that parsers disagree about.

JSON has no canonical form that everyone shares: :func:`json_dumps` is deterministic among its own outputs.
"""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mpp_exec.patterns import lazily

_MAX_INT_DIGITS: Final = 308  # as many as a double's exponent reaches; CPython's own limit is never below 640
_MAX_NUMBER_LENGTH: Final = 1_024


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
_STRING_OR_BRACKET: Final = lazily(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE_ESCAPE: Final = lazily(r"\\u[dD][89a-fA-F]")


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
    raise JsonError("number", f"{name} is not a JSON number")


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
