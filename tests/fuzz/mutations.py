"""Mutations that keep the form: a CBOR or JSON value is changed as a value and written again.

Bytes flipped at random are refused by the first check of a strict reader; what stands behind that
check is only reached by values that are well-formed and wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

import cbor2

BytesMutation = Callable[[bytes, int], bytes]
"""``mutate(data, max_size)`` of the fuzzer, which knows no form."""

_ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        23,
        24,
        255,
        256,
        65_536,
        1 << 31,
        1 << 32,
        1 << 53,
        (1 << 63) - 1,
        1 << 63,
    ),
    *((1 << 64) - 1, -(1 << 63), -(1 << 64), 0.5, 1.0, -0.0, 1e300, 5e-324),
    *(
        "",
        "a",
        "A",
        "é",
        "e\u0301",
        "\0",
        "\u202e",
        "\u200b",
        "\ud7ff",
        "\U000e0041",
        "..",
        "/",
        "/a",
        "~",
        "-",
        "*",
    ),
    *(
        "a/b",
        "*.a.b:1",
        "a.b:65536",
        "${user_config.x}",
        "${app}",
        "x" * 300,
        "read",
        "write",
        "always",
        "object",
    ),
    *("$ref", "#", "#/$defs/n", "type", "pattern", "(a|b)*", "jane@example.com", "4111111111111111"),
    *([], {}, [[]], {"": {}}, [None], {"a": 1}),
)
_ODD_BYTES: Final = (b"", b"\0", b"\xff" * 32, b"\1" * 64)


def mutate_value(value: Any, chance: random.Random, *, binary: bool) -> Any:
    """Return *value* with one place of it changed; nothing of the original is altered."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        return _mutate_dict(value, chance, binary=binary)
    if isinstance(value, list) and value and chance.random() < 0.85:
        return _mutate_list(value, chance, binary=binary)
    return _mutate_scalar(value, chance, binary=binary)


def _mutate_scalar(value: Any, chance: random.Random, *, binary: bool) -> Any:
    made = chance.choice(_ODD)
    choice = chance.randrange(6)
    if choice == 0 and binary:
        made = chance.choice(_ODD_BYTES)
    elif choice == 1 and isinstance(value, int):
        made = value + chance.choice((-1, 1))
    elif choice == 2 and isinstance(value, str):
        at = chance.randrange(len(value) + 1)
        made = value[:at] + (made if isinstance(made, str) else chr(chance.randrange(0x250))) + value[at:]
    elif choice == 3 and isinstance(value, str | bytes | list):
        made = value[: len(value) // 2]
    elif choice == 4:
        made = [value] if chance.random() < 0.5 else {"a": value}
    return made


def _mutate_dict(value: dict[Any, Any], chance: random.Random, *, binary: bool) -> dict[Any, Any]:
    changed = dict(value)
    key = chance.choice(list(value))
    roll = chance.random()
    if roll < 0.7:
        changed[key] = mutate_value(value[key], chance, binary=binary)
    elif roll < 0.8:
        del changed[key]
    elif roll < 0.9:
        odd = chance.choice(_ODD)
        changed[odd if isinstance(odd, str) else str(odd)] = chance.choice((value[key], *_ODD))
    else:
        changed[key] = value[chance.choice(list(value))]
    return changed


def _mutate_list(value: list[Any], chance: random.Random, *, binary: bool) -> list[Any]:
    changed = list(value)
    at = chance.randrange(len(value))
    roll = chance.random()
    if roll < 0.7:
        changed[at] = mutate_value(value[at], chance, binary=binary)
    elif roll < 0.8:
        del changed[at]
    elif roll < 0.9:
        changed.insert(at, chance.choice((value[at], *_ODD)))
    else:
        other = chance.randrange(len(value))
        changed[at], changed[other] = changed[other], changed[at]
    return changed


def mutate(data: bytes, max_size: int, seed: int, *, form: str, skip: int, fallback: BytesMutation) -> bytes:
    """Return a mutation of *data* that keeps *form*; every fourth one, or where there is none, does not."""
    chance = random.Random(seed)
    front, body = data[:skip], data[skip:]
    if form not in ("cbor", "json") or chance.random() < 0.25:
        return fallback(data, max_size)
    try:
        value = cbor2.loads(body) if form == "cbor" else json.loads(body)
        for _ in range(chance.choice((1, 1, 2, 4))):
            value = mutate_value(value, chance, binary=form == "cbor")
        if form == "cbor":
            made = cbor2.dumps(value, canonical=True)
        else:
            made = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
    except Exception:  # noqa: BLE001 -- whatever a decoder makes of broken bytes: then they are only bytes
        return fallback(data, max_size)
    whole = front + made
    return whole if len(whole) <= max_size else fallback(data, max_size)
