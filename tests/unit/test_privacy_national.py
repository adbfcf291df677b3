"""Identifiers of states, tax offices and health services: examples, and one digit that is wrong."""

from __future__ import annotations

import pytest

from mpp_exec.privacy import checksums
from mpp_exec.privacy.redact import redact

# Certain by themselves.
ALONE = [
    ("529.982.247-25", "tax_id"),
    ("11.222.333/0001-81", "tax_id"),
    ("RSSMRA85T10A562S", "tax_id"),
    ("20-26756539-3", "tax_id"),
    ("12.531.909-2", "tax_id"),
    ("131052-308T", "national_id"),
    ("131052A308T", "national_id"),
    ("811218-9876", "national_id"),
    ("19811218-9876", "national_id"),
    ("756.9217.0769.85", "national_id"),
    ("7569217076985", "national_id"),
    ("1 85 05 78 006 084 91", "national_id"),
    ("185057800608491", "national_id"),
    ("110101199003074477", "national_id"),
    ("BOXW310820HNERXN09", "national_id"),
    ("S1234567D", "national_id"),
    ("112-233-445 95", "national_id"),
    ("850730-1000103", "national_id"),
]
# Announced, and with a check digit.
ANNOUNCED = [
    ("NHS number: {}", "943 476 5919", "health_id"),
    ("Steuer-ID: {}", "36 574 261 809", "tax_id"),
    ("DNI {}", "12345678Z", "tax_id"),
    ("NIE: {}", "X-1234567-L", "tax_id"),
    ("BSN {}", "111222333", "national_id"),
    ("pesel: {}", "44051401359", "national_id"),
    ("Aadhaar no. {}", "2341 2341 2346", "national_id"),
    ("SIN {}", "046 454 286", "national_id"),
    ("TFN: {}", "123 456 782", "tax_id"),
    ("my number {}", "123456789018", "national_id"),
    ("TCKN {}", "10000000146", "national_id"),
    ("ID number {}", "8001015009087", "national_id"),
    ("INN {}", "7707083893", "tax_id"),
    ("NPI {}", "1234567893", "health_id"),
    ("CLABE {}", "032180000118359719", "bank_account"),
    ("CPF {}", "52998224725", "tax_id"),
    ("ABN {}", "51 824 753 556", "tax_id"),
    ("DEA number {}", "AP5836727", "health_id"),
]
# Announced, and without one.
FORMS = [
    ("PAN: {}", "ABCPE1234F", "tax_id"),
    ("Medicare number: {}", "1EG4-TE5-MK73", "health_id"),
    ("EIN {}", "12-3456789", "tax_id"),
    ("sort code: {}", "20-00-00", "bank_account"),
    ("National Insurance number {}", "AB 12 34 56 C", "national_id"),
    ("IFSC: {}", "SBIN0001234", "bank_account"),
]


@pytest.mark.parametrize(("value", "kind"), ALONE)
def test_an_identifier_that_nobody_announces(value: str, kind: str) -> None:
    clean = redact(f"seen {value}, today")
    assert clean.value == f"seen [{kind.upper()}], today"


@pytest.mark.parametrize(("text", "value", "kind"), [*ANNOUNCED, *FORMS])
def test_an_identifier_that_a_word_announces(text: str, value: str, kind: str) -> None:
    assert redact(f"{text.format(value)} ok").value == f"{text.format(f'[{kind.upper()}]')} ok"


def wrong(value: str) -> str:
    """Return *value* with its last digit one higher."""
    at = max(at for at, character in enumerate(value) if character.isdigit())
    return value[:at] + str((int(value[at]) + 1) % 10) + value[at + 1 :]


@pytest.mark.parametrize(("value", "kind"), ALONE)
def test_one_wrong_digit_makes_it_none(value: str, kind: str) -> None:
    assert kind not in redact(f"seen {wrong(value)}, today").counts()


@pytest.mark.parametrize(("text", "value", "kind"), ANNOUNCED)
def test_one_wrong_digit_makes_an_announced_one_none(text: str, value: str, kind: str) -> None:
    assert kind not in redact(text.format(wrong(value))).counts()


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-04 05:06 and 2026-03-04 05.06.07",
        "ISBN 978-3-16-148410-0",
        "1712010000123",
        "build 12.345.678-rc5",
        "sin 0.8414709848078965",
        "PAN of the camera is 120 degrees",
        "see RFC 9052, section 4.2",
        "id number of the row is 48213",
        "uuid 3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "4006381333931",
    ],
)
def test_numbers_of_another_order_stay(text: str) -> None:
    assert redact(text).findings == ()


def test_under_a_key_or_a_header_that_can_mean_nothing_else_the_form_is_enough() -> None:
    record = {"nationalId": "AB-12345 C", "taxId": 123456789, "mrn": "MRN-0048213", "nhs_number": 9434765919}
    assert redact(record).counts() == {"health_id": 2, "national_id": 1, "tax_id": 1}
    table = "name,tax_id\nWidget,12/345/67890\n"
    assert redact(table).value == "name,tax_id\nWidget,[TAX_ID]\n"
    assert redact({"taxId": None, "nationalId": "unknown", "mrn": "n/a"}).findings == ()


def test_a_number_found_by_its_label_is_found_without_it_too() -> None:
    value = {"note": "Steuer-ID: 36 574 261 809", "row": ["36 574 261 809"]}
    assert redact(value).value == {"note": "Steuer-ID: [TAX_ID]", "row": ["[TAX_ID]"]}


def test_a_date_that_is_none_makes_no_identifier() -> None:
    assert checksums.is_date("85", "02", "29")
    assert not checksums.is_date("85", "13", "01")
    assert not checksums.is_date("1700", "01", "01")
    assert not checksums.is_date("85", "06", "31")


MRZ = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"


def test_the_machine_readable_zone_of_a_passport() -> None:
    assert redact(f"scan: {MRZ} ok").value == "scan: [PASSPORT] ok"
    assert redact(MRZ.replace("C36", "C37")).findings == ()
