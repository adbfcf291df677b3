"""Plain ways to write a card number with something other than a space around it or in it."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact

CARDS = ["4111111111111111", "5555555555554444", "378282246310005", "6011000990139424"]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    "form", ["%B{}^DOE/JANE^2512101", ";{}=2512101", "PAN{}", "x{}", "{}x", "n{}n", "card{}visa", '"pan{}"']
)
def test_letters_glued_to_a_card_number(form: str, card: str) -> None:
    assert redact(form.format(card)).value == form.format("[CREDIT_CARD]")


@pytest.mark.parametrize("between", ["  ", "   ", " - "])
def test_wide_gaps_between_the_groups_of_a_card_number(between: str) -> None:
    groups = between.join(CARDS[0][index : index + 4] for index in range(0, 16, 4))
    assert redact(f"pay with {groups} now").value == "pay with [CREDIT_CARD] now"


@pytest.mark.parametrize(
    "text",
    [
        "ab124111111111111111",
        "0x4111111111111111",
        "f4111111111111111e",
        "DEADBEEF411111111111111100ff",
        "1.4111111111111111e+16",
        "v1.4111111111111111x",
        "a41111111111111112",
        "averyveryverylongword4111111111111111",
        "PAN4111111111111112",
        "1234  5678  9012  3456",
    ],
)
def test_digits_in_other_things_stay(text: str) -> None:
    assert redact(text).findings == ()
