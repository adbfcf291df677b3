"""Values that somebody has announced, in text and as a JSON key; and what an announcement makes of others."""

from __future__ import annotations

from typing import Any

import pytest

from mpp_exec.privacy.labels import of_key
from mpp_exec.privacy.redact import redact


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("SSN: 241 55 8820", "ssn", "241 55 8820"),
        ("my ss# is 241558820", "ssn", "241558820"),
        ("social security number\t241.55.8820", "ssn", "241.55.8820"),
        ("DOB: 1991-11-30", "date_of_birth", "1991-11-30"),
        ("born on 30 November 1991", "date_of_birth", "30 November 1991"),
        ("d.o.b. 11/30/91", "date_of_birth", "11/30/91"),
        ("birthday is Nov 30, 1991.", "date_of_birth", "Nov 30, 1991"),
        ("passport number: 518220417", "passport", "518220417"),
        ("Driver's License: D441-8827-6190", "drivers_license", "D441-8827-6190"),
        ("acct# 0044188277", "bank_account", "0044188277"),
        ("phone 4776186870", "phone", "4776186870"),
        ("call me at (483) 966-0734", "phone", "(483) 966-0734"),
        ("Tel.: 090-4418-2277", "phone", "090-4418-2277"),
        ("card on file 3502-0502-5497-2393", "credit_card", "3502-0502-5497-2393"),
        ("VIN E78AK047Q3Y719851", "vin", "E78AK047Q3Y719851"),
        ("ip 138_104_38_119", "ip_address", "138_104_38_119"),
        ("Email: wstewar t@hotmail.com", "email", "wstewar t@hotmail.com"),
        ("Patient: EDWARDS, JEFF", "person", "EDWARDS, JEFF"),
        ("Ship to: 12 Elm Street, Springfield", "address", "12 Elm Street, Springfield"),
        ("Address: 0034 Li Garden\nx", "address", "0034 Li Garden"),
        ("username: j.doe_77", "username", "j.doe_77"),
    ],
)
def test_an_announced_value_is_found_to_its_edges(text: str, kind: str, value: str) -> None:
    assert [(f.kind, text[f.start : f.end]) for f in redact(text).findings] == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "Published 1991-11-30",
        "the deadline is 30 November 1991",
        "License: Apache-2.0",
        "license 2004-01-15",
        "Account manager: 3 openings",
        "phone: required",
        "call 911",
        "Contact us for assistance",
        "card games for 4 players",
        "Name: Widget",
        "name: Build And Test pipeline 7",
        "Product Name: Northwind Kettle",
        "File name: Jane Doe",
        "Customer: 4",
        "Delivery: 3 business days",
        "Address: 0x7fff5fbff8c0",
        "Address: https://example.org/a b 1",
        "user: admin",
        "ssn 000000000",
        "[PHONE] 4776186870 is what it was",
    ],
)
def test_what_an_announcement_does_not_make_a_value_is_left_alone(text: str) -> None:
    assert redact(text).findings == ()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"phoneNumber": "4776186870"}, {"phoneNumber": "[PHONE]"}),
        ({"phone": {"home": "477 618 6870", "note": "none"}}, {"phone": {"home": "[PHONE]", "note": "none"}}),
        ({"phones": [4776186870]}, {"phones": ["[PHONE]"]}),
        ({"ssn": 241558820}, {"ssn": "[SSN]"}),
        (
            {"date_of_birth": "1991-11-30", "created": "1991-11-29"},
            {"date_of_birth": "[DATE_OF_BIRTH]", "created": "1991-11-29"},
        ),
        ({"first_name": "Ada", "city": "Paris"}, {"first_name": "[PERSON]", "city": "Paris"}),
        ({"customer": {"name": "Ada Lovelace"}}, {"customer": {"name": "[PERSON]"}}),
        ({"patient": "Ada Lovelace"}, {"patient": "[PERSON]"}),
        ({"name": {"first": "Ada", "last": "Lovelace"}}, {"name": {"first": "[PERSON]", "last": "[PERSON]"}}),
        ({"name": "Ada", "email": ""}, {"name": "[PERSON]", "email": ""}),
        ({"shippingAddress": "12 Elm Street"}, {"shippingAddress": "[ADDRESS]"}),
        ({"username": "ada_l"}, {"username": "[USERNAME]"}),
        ({"Vollständiger Name": "Ada Lovelace"}, {"Vollständiger Name": "[PERSON]"}),
        ({"dirección_envío": "Calle Mayor 12"}, {"dirección_envío": "[ADDRESS]"}),
        ({"prénom": "Ada", "nom": "Lovelace"}, {"prénom": "[PERSON]", "nom": "[PERSON]"}),
        ({"apellido": "สุรินทร์"}, {"apellido": "[PERSON]"}),
    ],
)
def test_a_key_announces_what_is_below_it(value: Any, written: Any) -> None:
    assert redact(value).value == written


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Widget", "price": 19.99},
        {"name": "Northwind Kettle", "city": "Paris", "country": "France"},
        {"product_name": "Jordan", "file_name": "Chase"},
        {"ip_address": "none", "email_address": "none"},
        {"address": "0x7fff5fbff8c0"},
        {"customer": "retail", "user": "root", "owner": "team-a"},
        {"id": 4776186870, "count": 241558820},
        {"birth": True, "phone": None},
    ],
)
def test_products_places_and_plain_numbers_stay(value: Any) -> None:
    assert redact(value).value == value


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("Primary Phone Number", "phone"),
        ("billing_address", "address"),
        ("ipAddress", ""),
        ("wallet_address", ""),
        ("customerName", "person"),
        ("userName", "username"),
        ("hostname", ""),
        ("[PHONE]", ""),
        ("x" * 100, ""),
    ],
)
def test_labels_are_matched_by_their_words(key: str, kind: str) -> None:
    assert of_key(key) == kind


def test_a_value_that_a_key_announces_is_hidden_where_nothing_announces_it() -> None:
    clean = redact(
        {
            "ssn": "241558820",
            "full_name": "Ada Lovelace",
            "log": ["saw 241558820", "hi Ada Lovelace!", "2415588201"],
        }
    )
    assert clean.value["log"] == ["saw [SSN]", "hi [PERSON]!", "2415588201"]


def test_a_bare_number_in_json_text_becomes_a_string() -> None:
    assert redact('{"ssn": 241558820, "a": 1}').value == '{"ssn": "[SSN]", "a": 1}'


@pytest.mark.parametrize(
    "value",
    [
        {"address": "\u57fc\u7389\u770c\u5927\u7530\u533a\u4e2d\u4e09\u4f9d6\u4e01\u76ee23\u756a11\u53f7"},
        {"address": {"street": "Lissi-B\u00e4rer-Stra\u00dfe 51", "country": "Germany"}},
        {"street": "rue Martine Dumas"},
    ],
)
def test_addresses_of_other_countries_under_their_keys(value: object) -> None:
    assert redact(value).counts() == {"address": 1}


def test_a_country_and_a_link_under_an_address_stay() -> None:
    value = {"address": {"country": "Germany", "street": "https://maps.example/x y"}}
    assert redact(value).value == value


@pytest.mark.parametrize(
    "text",
    [
        "def login(user: str, password: str = None) -> bool:\n    return check(password, self.token)\n",
        "f(password, token)\ng(self.first, self.second)\n",
        "const {password, token} = x;\nreturn g(self.first, self.second);\n",
    ],
)
def test_the_parameters_of_a_function_are_no_header(text: str) -> None:
    assert redact(text).value == text


@pytest.mark.parametrize(
    "text",
    [
        "fullname = os.path.join(root, name)\nitem = os.path.join(root, other)\n",
        "const username = await getIdentity(npm)\n",
        "const userId = this.options.proxy.userId || ''\n",
        "HeapHandle& heap_handle = page->heap_handle();\n",
        "const address = new ip_address_1.Address4(ip);\n",
        "SRP_user_pwd *SRP_VBASE_get1_by_user(SRP_VBASE *vb, char *username);\n",
        "Pass *createObjCARCAPElimPass();\n",
        "EVP_PKEY *OSSL_CMP_CTX_get0_newPkey(const OSSL_CMP_CTX *ctx);\n",
        "case PublicKeyDetails.PKIX_RSA_PKCS1V15_2048_SHA256 || token\n",
        "struct ObjCARCOptPass : public PassInfoMixin<ObjCARCOptPass> {\n",
        "git+ssh://git@github.com:npm/cli.git#v1.0.27\n",
        '"package-name": "npm:@scope/forked-package@1.0.0"\n',
        ":param username: User to sign in as\nf(username=username)\n",
        "int f(const char* tmpl_file, const char* key_file) {\n    g(tmpl_file, key_file);\n",
        "SEC_ERROR_BAD_PASSWORD = SEC_ERROR_BASE + 15,\nSEC_ERROR_RETRY = SEC_ERROR_BASE + 16,\n",
        "extern Status SEC_AddPasswordIntegrity(SEC_PKCS12ExportContext *p12ctxt, int n);\n",
        "The refresh token, which is included by the client in the\nrequest.\nother request.\n",
        "#define xmlSecCryptoAppDefaultKeysMngrAdoptKey  xmlSecGCryptAppDefaultKeysMngrAdoptKey\n",
    ],
)
def test_programs_announce_nobody(text: str) -> None:
    assert redact(text).value == text


@pytest.mark.parametrize("text", ["username = frank\n", "username=frank x=1", "username: frank"])
def test_a_user_of_a_file_is_one(text: str) -> None:
    assert "frank" not in redact(text).value


@pytest.mark.parametrize(
    "value",
    [
        {"street": "Elm Lane", "city": "Paris", "zip": "75001"},
        {"streetAddress": "12 Elm Street", "cityName": "Bath", "postalCode": "BA1 1AA"},
        {"rue": "chemin Brandt", "ville": "Lyon", "code_postal": "69001"},
        {"Straße": "Käserstrasse", "Ort": "Bern", "PLZ": "3011"},
        {"nombre_calle": "Gran Vía", "ciudad": "Madrid", "cp": "28013"},
        {"line1": "Flat 61", "town": "Leeds", "postcode": "LS1 4AP"},
        {"billing_line1": "Howard Square", "billing_city": "Leeds", "billing_zip": "LS14"},
    ],
)
def test_parts_of_an_address_are_one_beside_each_other(value: dict[str, str]) -> None:
    assert set(redact(value).value.values()) == {"[ADDRESS]"}
    table = ",".join(value) + "\n" + ",".join(value.values()) + "\n"
    assert redact(table).value.splitlines()[1] == "[ADDRESS],[ADDRESS],[ADDRESS]"


def test_a_part_of_an_address_below_one_or_beside_somebody() -> None:
    below = {"address": {"city": "Bath", "country": "GB"}}
    assert redact(below).value == {"address": {"city": "[ADDRESS]", "country": "GB"}}
    beside = {"first_name": "Ada", "city": "Bath", "zip": "BA1 1AA"}
    assert redact(beside).value == {"first_name": "[PERSON]", "city": "[ADDRESS]", "zip": "[ADDRESS]"}


@pytest.mark.parametrize(
    "value",
    [
        {"city": "Paris", "zip": "75001", "temperature": 12},
        {"location": {"city": "Oslo", "lat": 59.9}},
        {"line1": "first of a poem", "line2": "second of it"},
        {"from_city": "Rome", "to_city": "Oslo", "via": "Munich"},
        {"market_cap": "12B", "via": "SMS"},
        {"zip": "archive.zip", "path": "/srv/a"},
        {"nombre": "Silla Roja", "precio": 10},
        {"nom": "Chaise", "prix": 3, "ville": "Lyon"},
        {"road": "A1", "city": "Leeds", "delay": "10 min"},
        {"address": "0x7fff1234", "line1": "mov eax"},
        "city,country\nParis,FR\n",
    ],
)
def test_a_town_and_what_is_called_like_a_part_are_nobodys_address(value: Any) -> None:
    assert redact(value).findings == ()


def test_who_is_listed_below_people_is_somebody_and_products_are_not() -> None:
    people = {"clientes": [{"id": 1, "nombre": "Ana Vergara"}], "users": [{"name": "Jane Doe"}]}
    assert redact(people).value == {
        "clientes": [{"id": 1, "nombre": "[PERSON]"}],
        "users": [{"name": "[PERSON]"}],
    }
    for left in (
        {"products": [{"name": "Blue Shirt"}], "articles": [{"nom": "Eau Douce"}]},
        {"users": [{"name": "build-bot"}, {"name": "admins"}]},
        {"title": "Manual", "name": "Blue Shirt"},
    ):
        assert redact(left).value == left


@pytest.mark.parametrize("nobody", ["Not Committed Yet", "Unknown Author"])
def test_what_a_program_writes_for_nobody_stays(nobody: str) -> None:
    """Git blames it for lines that are in no commit; a whole name, not the beginning of one."""
    assert redact({"author": nobody, "author_name": nobody}).value == {
        "author": nobody,
        "author_name": nobody,
    }
    line = f"Author: {nobody} <not.committed.yet>\n"
    assert redact(line).value == line
    assert redact({"author": f"{nobody} Lovelace"}).value == {"author": "[PERSON]"}
