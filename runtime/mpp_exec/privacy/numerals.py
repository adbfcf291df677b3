"""What of a JSON value is no string: numbers, as the digits that a value could be; and what is no JSON."""

from __future__ import annotations

import math
from typing import Any, Final

from mpp_exec.errors import UsageError

MAX_DEPTH: Final = 128
SMALL: Final = 10**5
"""Numbers below this have fewer digits than any value that is looked for."""
# No number with a fraction holds a value before its point but a card's, from here on.
_AS_LONG_AS_A_CARD: Final = 10**11


def check_depth(depth: int) -> None:
    """Refuse a value that is nested so deep.

    Raises:
        UsageError: ``privacy.too_deep``.
    """
    if depth >= MAX_DEPTH:
        raise UsageError(
            "privacy.too_deep",
            f"the value is nested more than {MAX_DEPTH} levels deep",
            "flatten it, or redact its parts one by one",
        )


def digits(value: Any, *, every_number: bool) -> str | None:
    """Return the digits of a number that could be or hold a value, None for what cannot."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        if -SMALL < value < SMALL and not every_number:
            return None
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than the interpreter converts, and so than JSON can carry
            raise not_json(value, "a number of that length") from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise not_json(value, "a number that is not finite")
        if value.is_integer() and abs(value) >= SMALL:
            return f"{value:.0f}"
        return float.__repr__(value) if every_number or abs(value) >= _AS_LONG_AS_A_CARD else None
    raise not_json(value, "a value")


def not_json(value: Any, what: str) -> UsageError:
    """Return the error of what cannot be in JSON."""
    return UsageError(
        "privacy.not_json",
        f"{what} of type {type(value).__name__} cannot be in JSON",
        "pass null, a boolean, a finite number, a string, a list, or a dict with strings as keys",
    )
