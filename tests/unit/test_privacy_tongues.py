"""Labels in other languages and scripts announce what they announce in English."""

from __future__ import annotations

import pytest

from mpp_exec.privacy import labels, tongues
from mpp_exec.privacy.redact import redact

PHONES = ("Téléphone", "Numero di cellulare", "Số điện thoại", "Телефон", "電話番号", "联系电话", "휴대전화", "फ़ोन", "โทรศัพท์", "טלפון", "رقم الهاتف")  # fmt: skip # noqa: E501
BIRTHS = ("Data urodzenia", "Datum narození", "Doğum tarihi", "Ngày sinh", "Дата рождения", "生年月日", "생년월일", "जन्म तिथि")  # fmt: skip # noqa: E501


@pytest.mark.parametrize("label", PHONES)
def test_a_telephone_number_is_found_below_its_label_in_any_script(label: str) -> None:
    assert redact({label: "0431 55 21 98"}).value == {label: "[PHONE]"}


@pytest.mark.parametrize("label", BIRTHS)
def test_a_date_is_somebodys_birth_date_below_a_label_that_says_so(label: str) -> None:
    assert redact({label: "04.11.1971", "created": "04.11.1971 10:00"}).value[label] == "[DATE_OF_BIRTH]"


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Kundentelefonnummer", "phone"),
        ("客户姓名", "person"),
        ("送付先住所", "address"),
        ("ФИО", "person"),
        ("Ф.И.О.", "person"),  # noqa: RUF001  # as it is written
        ("Ονοματεπώνυμο", "person"),
        ("Họ và tên", "person"),
        ("Numéro de sécurité sociale", "national_id"),
        ("Führerscheinnummer", "drivers_license"),
        ("身份证号码", "national_id"),
        ("Имя", "name?"),
        ("IP 地址", "address"),  # which its value has to look like
        ("Telefono del cliente", "phone"),
        ("Адрес клиента", "address"),  # as it is written
        ("город", ""),
    ],
)  # fmt: skip
def test_a_label_is_known_by_its_words_and_by_what_it_ends_in(label: str, kind: str) -> None:
    assert labels.of_key(label).removesuffix("town?") == kind


def test_a_name_in_another_language_needs_somebody_beside_it() -> None:
    person = redact({"Имя": "Иван Петров", "Телефон": "+7 916 123-45-67"})
    assert person.value == {"Имя": "[PERSON]", "Телефон": "[PHONE]"}
    thing = {"Имя": "Столовая лампа", "Цена": "1200"}
    assert redact(thing).value == thing


def test_addresses_in_no_script_are_those_of_a_network() -> None:
    assert redact({"IP地址": "127.0.0.1", "邮箱地址": "нет"}).findings == ()


def test_no_label_stands_for_two_kinds_and_each_is_as_labels_are_read() -> None:
    every = [each for table in (tongues._LATIN, tongues._OTHER_SCRIPTS) for each in table.values()]
    latin = " ".join(tongues._LATIN.values()).split()
    assert len(latin) == len(set(latin))
    assert all(label.isascii() and label.isalnum() and label == label.lower() for label in latin)
    assert every
    assert all(label and not label.isascii() for label in tongues.other_scripts())
