"""A small labelled sample that we made ourselves: ``⟦kind:value⟧`` marks a value in a text.

The numbers are invented in published formats; none of them belongs to anybody. Secrets are put together from
parts, so that no scanner reports this file as a leak.
"""

from __future__ import annotations

import re

from bench.redaction_scores import Line, Row

_MARK = re.compile("⟦([a-z_]+):([^⟧]+)⟧")

LABELLED = """\
Customer ⟦person:Maria Okafor⟧ is not marked in prose, ssn ⟦ssn:241 55 8820⟧, dob ⟦date_of_birth:03/14/1972⟧
Full Name: ⟦person:Ilse van den Berg⟧
Patient: ⟦person:Tomás Herrera⟧ | DOB: ⟦date_of_birth:2 Feb 1958⟧ | Phone: ⟦phone:(503) 441-9083⟧
SSN: ⟦ssn:418-62-7705⟧
my social security number is ⟦ssn:418627705⟧
ITIN ⟦ssn:912-78-4410⟧ on file
born on ⟦date_of_birth:1991-07-30⟧ in Lyon
Date of birth: ⟦date_of_birth:July 30th, 1991⟧
reach me at ⟦phone:212.418.9937⟧ after six
fax ⟦phone:+49 30 901820⟧
call ⟦phone:+44 20 7946 0958⟧ or ⟦phone:1-646-418-2290 x12⟧
Mobile: ⟦phone:07700 900461⟧
Tel: ⟦phone:090-4418-2277⟧
whatsapp ⟦phone:+5511984565666⟧
Passport: ⟦passport:C01X00T47⟧
passport no. ⟦passport:518220417⟧ expires soon
Driver's license: ⟦drivers_license:D441-8827-6190⟧
DL# ⟦drivers_license:Y7718245⟧
Account number: ⟦bank_account:004418827731⟧
IBAN ⟦iban:DE89 3704 0044 0532 0130 00⟧
card ⟦credit_card:4242 4242 4242 4242⟧ exp 12/29
charge ⟦credit_card:5555555555554444⟧
mail ⟦email:o.nkemelu@example.co.uk⟧ now
from ⟦ip_address:203.0.113.77⟧ and ⟦ip_address:2001:db8:4:1::9⟧
ip: ⟦ip_address:203_0_113_78⟧
eth0 ⟦mac_address:3c:22:fb:91:0a:c4⟧ up
Hardware address ⟦mac_address:3C-22-FB-91-0A-C5⟧
arp entry ⟦mac_address:3c22.fb91.0ac6⟧
VIN ⟦vin:1M8GDM9AXKP042788⟧
chassis 7 towed, ⟦vin:1HGCM82633A004352⟧, no owner
wallet ⟦crypto_address:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq⟧
pay ⟦crypto_address:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa⟧
eth ⟦crypto_address:0x52908400098527886E0F7030069857D2E4169EE7⟧
psql ⟦url_credential:svc:pl4tform-Key⟧@db.internal.example/orders
"""
_URL = "psql postgres://"

HARMLESS = """\
Order 241-55-8820-7 shipped in 3 business days
Part number: 555-418-2290-A
Version 10.0.19045.3803 released
Invoice 2024-0418 due 2024-05-01
Support line: 800-418-2290 (press 2)
ISBN 978-3-16-148410-0
Meeting moved to 14:30 on 03/14/2024
Paris and Jordan are cities, Chase is a bank, Ford builds cars
Release v4.18.2290 fixes 212 bugs
commit 9c56cc51b374c3ba189210d5b6d4bf57790d351c
The quick brown fox jumps over 1234567890 lazy dogs
uuid 123e4567-e89b-12d3-a456-426614174000
Tracking: 1Z999AA10123456784
license: Apache-2.0
License 2.0, January 2004
phone: required
Password must be at least 12 characters
name: build and test
Product name: Northwind Kettle
Delivery: 3 business days
password: ${DB_PASSWORD}
password = os.environ["DB_PASSWORD"]
"token": null
max_tokens = 4096
key: value
primary_key = customer_identifier
const keyName = "user-access-token-2"
api_key: <your api key>
secret = getSecret("db")
x = 4.111111111111111e15
latitude 48.858370, longitude 2.294481
size 100 200 3000 px
Example: someone@example.com
http://localhost:8080/path?x=1
"""


def _row(marked: str) -> Row:
    text, spans, read = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[read : mark.start()]
        spans.append((len(text), len(text) + len(mark[2]), mark[1]))
        text += mark[2]
        read = mark.end()
    return Row(text + marked[read:], tuple(spans), "sample")


def labelled() -> list[Row]:
    """Return the labelled rows. Names in prose are not findings, so the first row's name is left out."""
    rows = LABELLED.replace("⟦person:Maria Okafor⟧", "Maria Okafor").replace("psql ", _URL)
    return [_row(line) for line in rows.splitlines()]


def harmless() -> list[Row]:
    return [Row(line, (), "sample") for line in HARMLESS.splitlines()]


_RANDOM = "q7Rk2Zp9Lw4Xv8Tn3Bc6Hd1Jf5Gs0MyAeUiOqWrTyP"


def lines() -> list[Line]:
    """Return lines of code with and without a secret."""
    token, short, digits = _RANDOM[:32], _RANDOM[:12], "9f86d081884c7d659a2feaa0c55ad015"
    secret = [
        f"DB_PASSWORD={short}",
        f'password = "{short}!"',
        f"'passwd': '{short}'",
        f"api_key: {token}",
        f'"client_secret": "{token}"',
        f"Authorization: Bearer {token}",
        f"curl -H 'X-Api-Key: {digits}' https://api.example",
        f"GET /v1?access_token={token}&x=1",
        f"Server=db;User Id=svc;Password={short};Encrypt=true",
        f"AccountKey={_RANDOM}{_RANDOM}==;EndpointSuffix=core",
        f"export SERVICE_TOKEN={digits}",
        f"<password>{short}</password>",
        f"curl -u deploy:{short} https://ci.example",
        f"redis://:{short}@cache.example:6379/0",
        "CREATE USER app IDENTIFIED BY '" + short + "'",
        "gh" + "p_" + _RANDOM[:36],
        "xox" + "b-2444333222-" + _RANDOM[:24],
        "sk" + "_live_" + _RANDOM[:24],
        "glp" + "at-" + _RANDOM[:20],
        "AI" + "za" + _RANDOM[:35],
        "SG" + "." + _RANDOM[:22] + "." + _RANDOM[:43],
        "npm" + "_" + _RANDOM[:36],
        "hash $2b" + "$12$" + (_RANDOM * 2)[:53],
    ]
    harmless_lines = [line for line in HARMLESS.splitlines() if "=" in line or ":" in line]
    return [Line(line, True, "sample") for line in secret] + [
        Line(line, False, "sample") for line in harmless_lines
    ]
