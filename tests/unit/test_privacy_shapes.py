"""Numbers by how they are written: telephone, SSN, MAC, VIN, wallets; and the checks that keep others out."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact
from mpp_exec.privacy.shapes import is_ssn, is_vin

BECH32 = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("at (212) 555-0123 now", "phone", "(212) 555-0123"),
        ("212-555-0123 x44", "phone", "212-555-0123 x44"),
        ("212.555.0123, 12 Elm", "phone", "212.555.0123"),
        ("Doe 1-212-555-0123", "phone", "1-212-555-0123"),
        ("Doe - +1 212 555 0123", "phone", "+1 212 555 0123"),
        ("001-212-555-0123x9", "phone", "001-212-555-0123x9"),
        ("+49 30 901820", "phone", "+49 30 901820"),
        ("Doe / 1/402/588/3586", "phone", "1/402/588/3586"),
        ("937-864-2550X786", "phone", "937-864-2550X786"),
        ("lee@gmail.c om", "email", "lee@gmail.c om"),
        ("mac addr 04_c1_78_63_93_88", "mac_address", "04_c1_78_63_93_88"),
        ("user ip 89 168 192 181", "ip_address", "89 168 192 181"),
        ("my number is 8769208283", "phone", "8769208283"),
        ("(+33 1 42 68 53 00)", "phone", "+33 1 42 68 53 00"),
        ("241-55-8820.", "ssn", "241-55-8820"),
        (r"\n241-55-8820\n", "ssn", "241-55-8820"),
        ("3c:22:fb:91:0a:c4,", "mac_address", "3c:22:fb:91:0a:c4"),
        ("3C-22-FB-91-0A-C4", "mac_address", "3C-22-FB-91-0A-C4"),
        ("3c22.fb91.0ac4", "mac_address", "3c22.fb91.0ac4"),
        ("sold 1M8GDM9AXKP042788 today", "vin", "1M8GDM9AXKP042788"),
        ("to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "crypto_address", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        (
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "crypto_address",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        ),
    ],
)
def test_a_number_is_found_to_its_edges(text: str, kind: str, value: str) -> None:
    assert [(f.kind, text[f.start : f.end]) for f in redact(text).findings] == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "555-418-2290-A",
        "Part number: 555-418-2290",
        "#212-555-0123",
        "img_120_456_7890",
        "/120/456/7890",
        "3.212-555-0123",
        "120 555 0123",
        "2024-0418-2290",
        "+1 day",
        "x = a +12125550123456789",
        "+0 212 555 0123",
        "666-55-8820",
        "000-55-8820",
        "241-00-8820",
        "241-55-0000",
        "934-49-8820",
        "078-05-1120",
        "Order 241-55-8820",
        "241-55-8820-7",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "3c:22:fb-91:0a:c4",
        "3c:22:fb:91:0a",
        "1234.5678.9012",
        "1M8GDM9A1KP042788",
        "11111111111111111",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdr",
        "0x" + "0" * 40,
    ],
)
def test_what_a_check_refuses_is_left_alone(text: str) -> None:
    assert redact(text).findings == ()


def test_a_published_service_line_counts_only_where_it_also_stands_as_somebodys() -> None:
    text = "Support line: 212-555-0123 (press 2)"
    assert redact(text).value == text
    assert redact([text, "call Ann, 212-555-0123"]).value[0] == "Support line: [PHONE] (press 2)"


def test_an_example_address_of_a_reserved_domain_is_nobodys() -> None:
    assert redact("Example: someone@example.com").findings == ()
    assert len(redact("Example: someone@acme-mail.com").findings) == 1
    assert len(redact("write to someone@example.com").findings) == 1


def test_a_bare_number_is_a_telephone_only_in_a_line_with_an_address() -> None:
    assert redact("Kramer, Lee / lee@example.org / 6537932219").value == "Kramer, Lee / [EMAIL] / [PHONE]"
    assert redact("Kramer, Lee / 6537932219").findings == ()
    assert redact("order 6537932219 by lee@example.org").counts() == {"email": 1}


def test_a_single_wrong_character_breaks_the_check_digit_of_a_vehicle() -> None:
    good = "1M8GDM9AXKP042788"
    assert is_vin(good)
    for index in range(17):
        if index != 8 and good[index].isdigit():
            wrong = str((int(good[index]) + 1) % 10)
            assert not is_vin(good[:index] + wrong + good[index + 1 :])


def test_the_ranges_that_are_never_issued() -> None:
    assert is_ssn("241558820")
    assert is_ssn("912784410")
    assert not any(
        map(is_ssn, ("000558820", "666558820", "241008820", "241550000", "912494410", "999934410"))
    )
