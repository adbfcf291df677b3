"""The check digits of national identifiers. Each function tells whether a number, without separators, holds.

Sources: each country's own publication, as it is named beside the function; for all of them
https://arthurdejong.org/python-stdnum/, against which these were compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mpp_exec.privacy.numbers import is_luhn


def weighed(digits: str, weights: Sequence[int]) -> int:
    """Return the sum of digits times weights, as far as there are weights."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def is_date(year: str, month: str, day: str) -> bool:
    """Tell whether two or four digits of a year, two of a month and two of a day can be a date."""
    longest = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= int(month) <= 12 or (len(year) == 4 and not 1850 <= int(year) <= 2100):
        return False
    return 1 <= int(day) <= longest[int(month) - 1]


def _mod_11_10(digits: str) -> bool:
    """ISO/IEC 7064, MOD 11,10."""
    check = 5
    for digit in digits[:-1]:
        check = ((check or 10) * 2 % 11 + int(digit)) % 10
    return ((check or 10) * 2 % 11 + int(digits[-1])) % 10 == 1


def nhs(number: str) -> bool:
    """NHS number (NHS Data Dictionary)."""
    return weighed(number, range(10, 1, -1)) % 11 == (11 - int(number[9])) % 11


def nino(number: str) -> bool:
    """National Insurance number (HMRC, NIM39110): prefixes that are never issued."""
    return number[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def luhn(number: str) -> bool:
    """Canada's SIN, Israel's identity number, Sweden's personal number: the Luhn digit."""
    return len(set(number)) > 1 and is_luhn(number)


_VERHOEFF_D: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def aadhaar(number: str) -> bool:
    """Aadhaar (UIDAI): Verhoeff's check digit."""
    check = 0
    for at, digit in enumerate(reversed(number)):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[at % 8][int(digit)])])
    return check == 0 and number != number[::-1]


def tfn(number: str) -> bool:
    """Tax file number (Australian Taxation Office)."""
    return weighed(number, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def abn(number: str) -> bool:
    """Australian Business Number (Australian Business Register)."""
    first = str(int(number[0]) - 1) if number[0] != "0" else "9"
    return number[0] != "0" and weighed(first + number[1:], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0


def au_medicare(number: str) -> bool:
    """Australia's Medicare number (Services Australia)."""
    return weighed(number, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(number[8])


def steuer_id(number: str) -> bool:
    """Steuerliche Identifikationsnummer (Bundeszentralamt für Steuern)."""
    counts = sorted(map(number[:10].count, set(number[:10])))
    return number[0] != "0" and counts[-1] in (2, 3) and counts[-2] == 1 and _mod_11_10(number)


def rvnr(number: str) -> bool:
    """Rentenversicherungsnummer (Deutsche Rentenversicherung, VKVV section 4)."""
    spelled = number[:8] + f"{ord(number[8]) - 64:02}" + number[9:11]
    products = (
        int(digit) * weight
        for digit, weight in zip(spelled, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)
    )
    return sum(sum(map(int, str(product))) for product in products) % 10 == int(number[11])


def nir(number: str) -> bool:
    """Numéro d'inscription au répertoire (INSEE): mod 97."""
    spelled = number.replace("2A", "19").replace("2B", "18") if number[5:7] in ("2A", "2B") else number
    return int(spelled[:13]) % 97 == (97 - int(spelled[13:])) % 97


def nif_es(number: str) -> bool:
    """DNI and NIE (Ministerio del Interior): the letter."""
    digits = str("XYZ".find(number[0])) + number[1:8] if number[0] in "XYZ" else number[:8]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[-1]


def nif_pt(number: str) -> bool:
    """NIF of Portugal (Autoridade Tributária)."""
    return (11 - weighed(number, range(9, 1, -1)) % 11) % 11 % 10 == int(number[8])


_ODD: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def codice_fiscale(number: str) -> bool:
    """Codice fiscale (Agenzia delle Entrate, decree of 23 December 1976): the last letter."""
    values = [int(character) if character.isdigit() else ord(character) - 65 for character in number[:15]]
    total = sum(_ODD[value] if at % 2 == 0 else value for at, value in enumerate(values))
    return chr(65 + total % 26) == number[15]


def bsn(number: str) -> bool:
    """Burgerservicenummer (Wet algemene bepalingen burgerservicenummer): the eleven-test."""
    return int(number) > 9_999_999 and weighed(number, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def be_national(number: str) -> bool:
    """Belgium's national register number (royal decree of 3 April 1984): mod 97."""
    check = int(number[9:])
    return is_date(number[:2], number[2:4], number[4:6]) and check in (
        97 - int(number[:9]) % 97,
        97 - int("2" + number[:9]) % 97,
    )


def pesel(number: str) -> bool:
    """PESEL (Poland's act on the register of the population): date and check digit."""
    month = int(number[2:4]) % 20
    total = weighed(number, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3))
    return is_date(number[:2], f"{month:02}", number[4:6]) and (10 - total % 10) % 10 == int(number[10])


def _brazilian(number: str, first: Sequence[int], second: Sequence[int]) -> bool:
    if len(set(number)) == 1:
        return False
    checks = [-weighed(number, weights) % 11 for weights in (first, second)]
    return [check % 11 % 10 if check < 10 else 0 for check in checks] == list(map(int, number[-2:]))


def cpf(number: str) -> bool:
    """CPF (Receita Federal): two check digits."""
    return _brazilian(number, range(10, 1, -1), range(11, 1, -1))


def cnpj(number: str) -> bool:
    """CNPJ (Receita Federal): two check digits."""
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return _brazilian(number, weights[1:], weights)


_CURP: Final = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"


def curp(number: str) -> bool:
    """CURP (RENAPO): date and check digit."""
    total = sum(_CURP.index(character) * (18 - at) for at, character in enumerate(number[:17]))
    return is_date(number[4:6], number[6:8], number[8:10]) and (10 - total % 10) % 10 == int(number[17])


def cuit(number: str) -> bool:
    """CUIT and CUIL (AFIP): mod 11."""
    check = (11 - weighed(number, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    prefix = ("20", "23", "24", "27", "30", "33", "34", "50", "51", "55")
    return check == int(number[10]) and number[:2] in prefix


def rut(number: str) -> bool:
    """RUT (Chile's Servicio de Impuestos Internos): mod 11."""
    total = sum(int(digit) * (at % 6 + 2) for at, digit in enumerate(reversed(number[:-1])))
    return "0123456789K0"[11 - total % 11] == number[-1]


def resident_cn(number: str) -> bool:
    """China's resident identity number (GB 11643): date, and ISO/IEC 7064 MOD 11-2."""
    total = sum(int(digit) * 2 ** (17 - at) for at, digit in enumerate(number[:17]))
    return is_date(number[6:10], number[10:12], number[12:14]) and "10X98765432"[total % 11] == number[17]


def my_number(number: str) -> bool:
    """Japan's individual number (ministerial ordinance 85 of 2014)."""
    rest = weighed(number, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(number[11]) == (0 if rest <= 1 else 11 - rest)


def rrn(number: str) -> bool:
    """South Korea's resident registration number: date and, until October 2020, a check digit."""
    check = (11 - weighed(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return is_date(number[:2], number[2:4], number[4:6]) and check == int(number[12])


def personnummer(number: str) -> bool:
    """Sweden's personal number (Skatteverket, SKV 704): date, also of a co-ordination number, and Luhn."""
    ten = number[-10:]
    return is_date(ten[:2], ten[2:4], f"{int(ten[4:6]) % 60:02}") and is_luhn(ten)


def fodselsnummer(number: str) -> bool:
    """Norway's national identity number (Skatteetaten): date and two check digits."""
    day, month = int(number[:2]) % 40, int(number[2:4]) % 40
    first = (11 - weighed(number, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - weighed(number, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return is_date(number[4:6], f"{month:02}", f"{day:02}") and (first, second) == (
        int(number[9]),
        int(number[10]),
    )


def hetu(number: str) -> bool:
    """Finland's personal identity code (Digital and Population Data Services Agency): date and mod 31."""
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number[:6] + number[7:10]) % 31]
    return is_date(number[4:6], number[2:4], number[:2]) and check == number[10]


def ahv(number: str) -> bool:
    """Switzerland's AHV number: the check digit of EAN-13."""
    return number.startswith("756") and weighed(number, (1, 3) * 6 + (1,)) % 10 == 0


def snils(number: str) -> bool:
    """SNILS (Pension Fund of Russia)."""
    return weighed(number, range(9, 0, -1)) % 101 % 100 == int(number[9:])


def inn(number: str) -> bool:
    """INN of a person or an organisation (Federal Tax Service of Russia)."""
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    if len(number) == 10:
        return weighed(number, weights[2:]) % 11 % 10 == int(number[9])
    return (weighed(number, weights[1:]) % 11 % 10, weighed(number, weights) % 11 % 10) == (
        int(number[10]),
        int(number[11]),
    )


def tckn(number: str) -> bool:
    """Turkey's identity number (law 5490): two check digits."""
    odd, even = sum(map(int, number[:9:2])), sum(map(int, number[1:8:2]))
    tenth = (odd * 7 - even) % 10
    return number[0] != "0" and (tenth, (odd + even + tenth) % 10) == (int(number[9]), int(number[10]))


def id_za(number: str) -> bool:
    """South Africa's identity number: date, citizenship and Luhn."""
    return is_date(number[:2], number[2:4], number[4:6]) and number[10] in "012" and is_luhn(number)


def cnp(number: str) -> bool:
    """Romania's CNP (order 1190 of 2001): date, county and check digit."""
    rest = weighed(number, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return is_date(number[1:3], number[3:5], number[5:7]) and int(number[12]) == (1 if rest == 10 else rest)


def id_th(number: str) -> bool:
    """Thailand's identity number (Department of Provincial Administration): mod 11."""
    return (11 - weighed(number, range(13, 1, -1)) % 11) % 10 == int(number[12])


def nric_sg(number: str) -> bool:
    """Singapore's NRIC and FIN: the last letter."""
    total = weighed(number[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK"}
    if number[0] == "M":
        return "KLJNPQRTUWX"[10 - total % 11] == number[8]
    return letters[number[0]][total % 11] == number[8]


def npi(number: str) -> bool:
    """National Provider Identifier (45 CFR 162.406): Luhn behind 80840."""
    return is_luhn("80840" + number)


def dea(number: str) -> bool:
    """DEA registration number (21 CFR 1301): the last digit."""
    return (weighed(number[2:], (1, 2) * 3)) % 10 == int(number[8])


def clabe(number: str) -> bool:
    """CLABE (Asociación de Bancos de México)."""
    total = sum(int(digit) * weight % 10 for digit, weight in zip(number[:17], (3, 7, 1) * 6, strict=False))
    return (10 - total % 10) % 10 == int(number[17])


def mrz(field: str) -> int:
    """Return the check digit of a field of a machine readable zone (ICAO 9303-3, section 4.9)."""
    values = (0 if character == "<" else int(character, 36) for character in field)
    return sum(value * (7, 3, 1)[at % 3] for at, value in enumerate(values)) % 10


def anything(_number: str) -> bool:
    """No check digit: the form and what announces it have to do."""
    return True
