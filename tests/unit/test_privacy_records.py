"""Records in text: lines and fields with labels, cards, mail, hospitals' segments, forms of HTML."""

from __future__ import annotations

import time

import pytest

from mpp_exec.privacy.redact import redact


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Imię i nazwisko: Halina Wrona\nData urodzenia: 4.11.1971\n", "Imię i nazwisko: [PERSON]\nData urodzenia: [DATE_OF_BIRTH]\n"),  # noqa: E501
        ("氏名: 高木 理沙\n電話番号: 03-5512-9876", "氏名: [PERSON]\n電話番号: [PHONE]"),
        ("ФИО: Иван Петров\nАдрес: ул. Лесная, д. 4", "ФИО: [PERSON]\nАдрес: [ADDRESS]"),  # noqa: RUF001
        ("Geburtsdatum: 4.11.1971, Telefon: 0431 5521", "Geburtsdatum: [DATE_OF_BIRTH], Telefon: [PHONE]"),
        ("save User(id=7, firstName=Timothy, lastName=Bell)", "save User(id=7, firstName=[PERSON], lastName=[PERSON])"),  # noqa: E501
        ("address:\n  street: Am Wald 4\n  city: Uelzen\n  zip: '29525'\n", "address:\n  street: [ADDRESS]\n  city: [ADDRESS]\n  zip: '[ADDRESS]'\n"),  # noqa: E501
        ("cn: Mia Stone\nsn: Stone\ntelephoneNumber: +49 431 5521987", "cn: [PERSON]\nsn: [PERSON]\ntelephoneNumber: [PHONE]"),  # noqa: E501
        ("Versichertennummer: M412345674", "Versichertennummer: [HEALTH_ID]"),
        ("<i>Nachname:</i> <b class='v'>Stone</b>", "<i>Nachname:</i> <b class='v'>[PERSON]</b>"),
        ("first_name=Mia&last_name=Stone&utm=1", "first_name=[PERSON]&last_name=[PERSON]&utm=1"),
        ('- "Дата рождения": "4.11.1971"', '- "Дата рождения": "[DATE_OF_BIRTH]"'),
        ("Né(e) le : 4.11.1971", "Né(e) le : [DATE_OF_BIRTH]"),
        ("- **Steuernummer**: 181/815/08155", "- **Steuernummer**: [TAX_ID]"),
    ],
)  # fmt: skip
def test_labels_announce_in_lines_and_fields(text: str, clean: str) -> None:
    assert redact(text).value == clean
    assert redact(clean).value == clean


@pytest.mark.parametrize(
    "text",
    [
        "city: Paris\ncountry: FR\n",
        "nachname: Familienname\nvorname: Rufname\n",
        "cn: DigiCert Global Root\nsn: 0FA4\n",
        "login: true\nzip: true\n",
        "const adresse = props.adresse || standort;\nadresse = build(nachname)\n",
        "Название: Столовая лампа\nЦена: 1200",  # noqa: RUF001  # as it is written
    ],
)
def test_what_labels_of_things_and_captions_say_is_left(text: str) -> None:
    assert redact(text).value == text


def test_a_vcard_is_somebodys_in_every_part() -> None:
    card = (
        "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Stone;Mia;;Dr.;\r\nFN:Mia Stone\r\n"
        "ADR;TYPE=HOME:;;Am Wald 4;Uelzen;;29525;Germany\r\nBDAY:1971-11-04\r\nEND:VCARD"
    )
    clean = redact(card).value
    for part in ("Stone", "Mia", "Wald", "Uelzen", "29525", "1971"):
        assert part not in clean, part
    assert "Germany" in clean


def test_attendees_and_senders_are_somebody() -> None:
    line = 'ATTENDEE;CN="Mia Stone";ROLE=CHAIR:mailto:mia@example.com'
    assert redact(line).value == 'ATTENDEE;CN="[PERSON]";ROLE=CHAIR:mailto:[EMAIL]'
    assert redact("Author: Mia Stone <mia@example.com>").value == "Author: [PERSON] <[EMAIL]>"
    assert redact('"Stone, Mia" <mia@example.com>').value == '"[PERSON]" <[EMAIL]>'
    header = {"name": "From", "value": "Mia Stone <mia@example.com>"}
    assert redact(header).value == {"name": "From", "value": "[PERSON] <[EMAIL]>"}
    assert redact("subscribe <list@example.com>").value == "subscribe <[EMAIL]>"


def test_segments_of_hl7_are_a_patients() -> None:
    segment = (
        "MSH|^~\\&|ADT\rPID|1||48210077^^^MCM^MR||STONE^MIA^A||19711104|F||C|4 WOOD RD^^SALEM^NC^27401"
        "||(336)555-0134|||M|||241-55-8820\rPV1|1|I|2000"
    )
    clean = redact(segment).value
    for part in ("48210077", "STONE", "MIA", "19711104", "WOOD", "SALEM", "27401", "555-0134", "241-55"):
        assert part not in clean, part
    assert clean.startswith("MSH|^~\\&|ADT\rPID|1||[HEALTH_ID]")
    assert clean.endswith("\rPV1|1|I|2000")


def test_fields_of_html_forms_are_named() -> None:
    form = '<input name="full_name" value="Mia Stone"><textarea name="address">4 Wood Rd, Salem</textarea>'
    assert redact(form).value == (
        '<input name="full_name" value="[PERSON]"><textarea name="address">[ADDRESS]</textarea>'
    )
    assert redact('<input name="first_name" placeholder="First name">').findings == ()


def test_parts_of_an_address_are_one_in_xml() -> None:
    xml = "<Address><Street>4 Wood Rd</Street><City>Salem</City><PostalCode>27401</PostalCode></Address>"
    assert redact(xml).value == (
        "<Address><Street>[ADDRESS]</Street><City>[ADDRESS]</City><PostalCode>[ADDRESS]</PostalCode></Address>"
    )
    assert redact("<Offer><City>Paris</City></Offer>").findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "mysql_root_password: ENC[AES256_GCM,data:7TDU8ddB2jJx,iv:rKB35dHj5j==,tag:iP7NhllE==,type:str]",
        'REDIS_PASSWORD = os.environ["REDIS_PASSWORD"]',
        "s3_key: uploads/2026/10/a81f4c20de.png",
        'secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-x7Kq2P"',
        '{"keyid": "SHA256:jl3bwswu80P", "sig": "MEUCIQDk3Rr8Xv7Qp2Lw9Zt4Bn6Hd1KsYc5Vg0JmTa"}',
    ],
)
def test_what_opens_nothing_is_no_secret(text: str) -> None:
    assert not [each for each in redact(text).findings if each.kind == "secret"]


@pytest.mark.parametrize(
    "text",
    [
        "define( 'AUTH_KEY',         'ms4H%ZWP-rXn5k+[{Gmj>pD>sdGR:S,Czq69m(&qOtQQs' );",
        "Cookie: JSESSIONID=AB3412CDEF8812AB3412CDEF8812ABCD; theme=dark",
    ],
)
def test_what_a_site_signs_with_is_a_secret(text: str) -> None:
    assert [each.kind for each in redact(text).findings] == ["secret"]


@pytest.mark.parametrize("piece", ["BEGIN:VCARD\n", "Aa Bb <a@b.example.com> "])
def test_many_beginnings_of_cards_and_names_cost_no_more_than_their_length(piece: str) -> None:
    def seconds(count: int) -> float:
        start = time.process_time()
        redact(piece * count)
        return time.process_time() - start

    assert seconds(4000) < 1.5
