"""Payment cards and IBANs: checksum, issuer or country, length, and the ways they are written."""

from __future__ import annotations

import pytest

from mpp_exec.privacy import numbers
from mpp_exec.privacy.numbers import is_card
from one_detector import alone

cards, ibans = alone(numbers.cards), alone(numbers.ibans)

# Published test numbers of the networks and their processors.
CARDS = [
    "4111111111111111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3566002020360505",
    "6200000000000005",
    "6759649826438453",
    "5019717010103742",
]
# Examples of the SWIFT IBAN registry.
IBANS = [
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
    "LC55HEMM000100010012001200023015",
    "BR9700360305000010009795493P1",
]


@pytest.mark.parametrize("card", CARDS)
def test_a_published_test_card_is_found(card: str) -> None:
    (found,) = cards(f"card {card}.")
    assert (found.start, found.end, found.value) == (5, 5 + len(card), card)


@pytest.mark.parametrize("separator", [" ", "-", ".", "_", "/"])
def test_a_card_is_found_as_it_is_printed(separator: str) -> None:
    for groups in (("4111", "1111", "1111", "1111"), ("3782", "822463", "10005"), ("3056", "930902", "5904")):
        written = separator.join(groups)
        (found,) = cards(f"on {written} ok")
        assert (found.start, found.end, found.value) == (3, 3 + len(written), "".join(groups))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4111111111111111 12/26 123", "4111111111111111"),
        ("4111 1111 1111 1111 123", "4111 1111 1111 1111"),
        ("1234 4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("2024 4111 1111 1111 1111 2024", "4111 1111 1111 1111"),
        ("41111111 1111 1111", "41111111 1111 1111"),
        ("5018 1842 9331", "5018 1842 9331"),
        (r"\n4111111111111111\n", "4111111111111111"),
        ("card%3D4111111111111111&", "4111111111111111"),
        ("card_4111111111111111", "4111111111111111"),
        ("4111111111111111.0", "4111111111111111.0"),
    ],
)
def test_a_card_is_found_among_other_digits(text: str, found: str) -> None:
    assert [text[card.start : card.end] for card in cards(text)] == [found]


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # check digit
        "9111111111111111",  # no issuer
        "411111111111111",  # length
        "4111111111111111111111",  # too long
        "14111111111111111",
        "0.4111111111111111",
        "4.111111111111111",
        "1700000000000",  # a time in milliseconds
        "1700000000000000000",  # in nanoseconds
        "978-3-16-148410-0",
        "356938035643809",  # an IMEI has a Luhn digit too
        "4444444444444448"[:15],
        "0000000000000000",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "2024-05-01 12-30-45",
        "f4111111111111111e",
    ],
)
def test_what_is_no_card_is_left_alone(text: str) -> None:
    assert cards(text) == []


def test_a_single_wrong_digit_breaks_every_card() -> None:
    """Luhn finds each single-digit error; the issuer table may refuse it first."""
    for card in CARDS:
        for index, digit in enumerate(card):
            wrong = card[:index] + str((int(digit) + 1) % 10) + card[index + 1 :]
            assert not is_card(wrong)


@pytest.mark.parametrize("iban", IBANS)
def test_a_registered_example_is_found_in_each_way_to_write_it(iban: str) -> None:
    printed = " ".join(iban[index : index + 4] for index in range(0, len(iban), 4))
    for written in (iban, printed, printed.replace(" ", "-"), iban.lower()):
        (found,) = ibans(f"to {written} today")
        assert (found.start, found.end, found.value) == (3, 3 + len(written), iban)


@pytest.mark.parametrize(
    "text",
    [
        "DE88370400440532013000",  # check digits
        "DE8937040044053201300",  # length
        "DE893704004405320130001",
        "ZZ89370400440532013000",  # country
        "xDE89370400440532013000",
        "DE89",
        "DE89 3704",
    ],
)
def test_what_is_no_iban_is_left_alone(text: str) -> None:
    assert ibans(text) == []


def test_an_iban_is_found_behind_what_only_starts_like_one() -> None:
    text = "de12 DE89370400440532013000"
    assert [iban.start for iban in ibans(text)] == [5]


def test_an_iban_is_found_in_escaped_text() -> None:
    for text in (r"\nDE89370400440532013000\n", "iban%3DDE89370400440532013000"):
        assert [iban.value for iban in ibans(text)] == ["DE89370400440532013000"]
