"""How a value is stored on the ledger: texts bounded, maps in order, nothing without a form in CBOR."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from mpp_exec.encoding import MAX_DEPTH, key_order

MAX_TEXT: Final = 256
"""Code points kept of a text that a caller, a client or a publisher chose freely."""

_KEPT_NAMES: Final = 24  # keys of a map whose order is remembered


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Return *text* as it can be stored: bounded, and with escapes for bytes that are no UTF-8."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")  # how Python holds the bytes of a file name
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")


def storable(value: Any, floats: list[float], depth: int = MAX_DEPTH) -> Any:
    """Make every text in *value* storable and put every map in order; refuse what has no form in CBOR here.

    Paths may hold any byte, so they keep their length. *floats* gets the floats: they have several forms.

    Raises:
        TypeError, ValueError: a value of another type, out of range or nested too deeply.
    """
    if isinstance(value, str):
        return clip(value, 8192 if value.startswith("/") else MAX_TEXT)
    if value is None or isinstance(value, bytes | bool):
        return value
    if isinstance(value, int):
        if not -(1 << 64) <= value < 1 << 64:
            raise ValueError("an integer of more than 64 bits")
        return value
    if isinstance(value, float):
        floats.append(value)
        return value
    if depth == 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict | Mapping):  # the abstract one is slow to ask
        names = _in_order(*value) if len(value) <= _KEPT_NAMES else _in_order.__wrapped__(*value)
        return _map(value, names, floats, depth - 1)
    if isinstance(value, list | tuple):
        return [storable(item, floats, depth - 1) for item in value]
    raise TypeError(f"a {type(value).__name__}")


def _map(
    value: Mapping[str, Any], names: tuple[tuple[str, str], ...], floats: list[float], depth: int
) -> dict[str, Any]:
    """Make a map storable; what most of its items are is looked at here, as :func:`storable` would."""
    made: dict[str, Any] = {}
    for name, key in names:
        item = value[key]
        kind = type(item)
        if kind is int:
            if not -(1 << 64) <= item < 1 << 64:
                raise ValueError("an integer of more than 64 bits")
        elif kind is str:
            if len(item) > MAX_TEXT or not item.isascii():
                item = storable(item, floats, depth)
        elif kind is not bytes:
            item = storable(item, floats, depth)
        made[name] = item
    return made


@functools.lru_cache(maxsize=64, typed=True)  # the same few sets of names stand in all entries
def _in_order(*keys: object) -> tuple[tuple[str, str], ...]:
    """Return the keys of a map as they are stored, in the order of CBOR, each with what it was."""
    stored: dict[str, str] = {}
    for key in keys:
        if not isinstance(key, str):
            raise TypeError("a map with a key that is not text")
        stored[clip(key)] = key
    return tuple((name, stored[name]) for name in sorted(stored, key=key_order))
