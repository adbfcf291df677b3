"""Detectors for the identifiers that states, tax offices and health services give to people.

Two ways to be sure. Some are certain by themselves: a form that nothing else has, and a date or a check digit
in it. All others need the word that announces them, and their check digit besides: nine digits with a Luhn
digit are nothing in particular, until somebody calls them a SIN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mpp_exec.patterns import lazily
from mpp_exec.privacy import checksums, meter
from mpp_exec.privacy.finding import Candidate

_Check = Callable[[str], bool]


class Number(NamedTuple):
    """One identifier: its kind, how it is written, and what tells whether it holds."""

    kind: str
    form: str
    check: _Check


def _grouped(*groups: int) -> str:
    """Return the form of digits in groups, between which there may be one separator."""
    return r"[ .-]?".join(rf"[0-9]{{{count}}}" for count in groups)


# --- certain by themselves: searched for where digits, or letters and digits, could be one

_ALONE: Final[tuple[tuple[str, Number], ...]] = (
    ("cpf", Number("tax_id", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checksums.cpf)),
    ("cnpj", Number("tax_id", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", checksums.cnpj)),
    ("rrn", Number("national_id", r"[0-9]{6}-[1-8][0-9]{6}", checksums.rrn)),
    ("cuit", Number("tax_id", r"[0-9]{2}-[0-9]{8}-[0-9]", checksums.cuit)),
    ("rut", Number("tax_id", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", checksums.rut)),
    ("nn", Number("national_id", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checksums.be_national)),
    ("pn", Number("national_id", r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", checksums.personnummer)),
    ("hetu", Number("national_id", r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", checksums.hetu)),
    ("ahv", Number("national_id", r"756([.]?)[0-9]{4}\10?[0-9]{4}[.]?[0-9]{2}", checksums.ahv)),
    ("snils", Number("national_id", r"[0-9]{3}-[0-9]{3}-[0-9]{3} [0-9]{2}", checksums.snils)),
    ("th", Number("national_id", r"[0-9]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]", checksums.id_th)),
    (
        "nir",
        Number(
            "national_id",
            r"[12][0-9]{2}(?:0[1-9]|1[0-2])(?:[0-9]{2}|2[AB])[0-9]{8}"
            r"|[12] [0-9]{2} (?:0[1-9]|1[0-2]) (?:[0-9]{2}|2[AB]) [0-9]{3} [0-9]{3} [0-9]{2}",
            checksums.nir,
        ),
    ),
    ("cn", Number("national_id", r"[1-8][0-9]{16}[0-9Xx]", checksums.resident_cn)),
    ("curp", Number("national_id", r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", checksums.curp)),
    (
        "cf",
        Number(
            "tax_id", r"[A-Z]{6}[0-9]{2}[ABCDEHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", checksums.codice_fiscale
        ),
    ),
    ("nric", Number("national_id", r"[STFGM][0-9]{7}[A-Z]", checksums.nric_sg)),
)  # fmt: skip
_BY_NAME: Final = dict(_ALONE)
_FORM: Final = lazily(
    r"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-./])(?:"
    + "|".join(
        # The back reference of one form stands for the group that it has inside the whole.
        f"(?P<{name}>{number.form.replace('([.]?)', '(?P<stop>[.]?)').replace(chr(92) + '10?', '(?P=stop)')})"
        for name, number in _ALONE
    )
    + r")(?![0-9A-Za-z]|[-./][0-9A-Za-z])"
)
_SEPARATORS: Final = lazily(r"[ .\-/+]")
_CENTURY: Final = 12


def identifiers(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the identifiers in *text* that are certain by themselves, at *starts*."""
    found: list[Candidate] = []
    for at in starts:
        meter.step(len(found))
        match = _FORM.match(text, at)
        if not match or match.lastgroup is None:
            continue
        name = next(name for name, value in match.groupdict().items() if value and name != "stop")
        number = _BY_NAME[name]
        value = _compact(match[0]) if name != "hetu" else match[0].upper()
        if len(set(value)) > 2 and number.check(value):
            found.append(Candidate(number.kind, at, match.end(), 0.85, value))
    return found


def _compact(written: str) -> str:
    return _SEPARATORS.sub("", written).upper()


# --- the machine readable zone of a passport: ICAO 9303-4, two lines of 44 characters, with check digits

MRZ_WORD: Final = "P<"
_MRZ: Final = lazily(
    r"P<[A-Z<]{42}(?:\r?\n|\\n|[ ])(?P<number>[0-9A-Z<]{9})(?P<check>[0-9])[A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}"
    r"[0-9A-Z<]{15}[0-9]"
)


def travel_documents(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return the machine readable zones in *text*; *places* are the offsets of what they start with."""
    found: list[Candidate] = []
    for at, _ in places:
        meter.step(len(found))
        if (match := _MRZ.match(text, at)) and checksums.mrz(match["number"]) == int(match["check"]):
            found.append(Candidate("passport", at, match.end(), 0.95, match["number"].rstrip("<")))
    return found


# --- what a word announces

_NINE: Final = _grouped(3, 3, 3)
_TEN: Final = _grouped(3, 3, 4)
_ELEVEN: Final = r"[0-9](?:[ .-]?[0-9]){10}"
_NUMBERS: Final = {
    "nhs": Number("health_id", _TEN, checksums.nhs),
    "nino": Number(
        "national_id",
        r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z]"
        r" ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
        checksums.nino,
    ),
    "sin": Number("national_id", _NINE, checksums.luhn),
    "aadhaar": Number("national_id", r"[2-9][0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}", checksums.aadhaar),
    "pan": Number("tax_id", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", checksums.anything),
    "tfn": Number("tax_id", _NINE, checksums.tfn),
    "abn": Number("tax_id", _grouped(2, 3, 3, 3), checksums.abn),
    "au_medicare": Number("health_id", r"[2-6][0-9]{3} ?[0-9]{5} ?[0-9]", checksums.au_medicare),
    "mbi": Number(
        "health_id",
        r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?"
        r"[AC-HJKMNP-RT-Y]{2}[0-9]{2}",
        checksums.anything,
    ),
    "npi": Number("health_id", "[12][0-9]{9}", checksums.npi),
    "dea": Number("health_id", "[A-Z][A-Z9][0-9]{7}", checksums.dea),
    "ein": Number("tax_id", "[0-9]{2}-[0-9]{7}", checksums.anything),
    "steuer_id": Number("tax_id", _grouped(2, 3, 3, 3), checksums.steuer_id),
    "rvnr": Number("national_id", r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}", checksums.rvnr),
    "nir": _BY_NAME["nir"],
    "nif_es": Number("tax_id", r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z]", checksums.nif_es),
    "nif_pt": Number("tax_id", _NINE, checksums.nif_pt),
    "codice_fiscale": Number("tax_id", "[A-Za-z0-9]{16}", checksums.anything),
    "bsn": Number("national_id", r"[0-9]{4}[ .]?[0-9]{2}[ .]?[0-9]{3}", checksums.bsn),
    "be": Number("national_id", _ELEVEN, checksums.be_national),
    "pesel": Number("national_id", "[0-9]{11}", checksums.pesel),
    "cpf": Number("tax_id", r"[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}", checksums.cpf),
    "cnpj": Number("tax_id", r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}/?[0-9]{4}-?[0-9]{2}", checksums.cnpj),
    "curp": _BY_NAME["curp"],
    "rfc": Number("tax_id", r"[A-Z&]{3,4}[0-9]{6}[0-9A-Z]{3}", checksums.anything),
    "cuit": Number("tax_id", r"[0-9]{2}-?[0-9]{8}-?[0-9]", checksums.cuit),
    "rut": Number("tax_id", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]", checksums.rut),
    "cn": _BY_NAME["cn"],
    "my_number": Number("national_id", r"[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}", checksums.my_number),
    "rrn": _BY_NAME["rrn"],
    "personnummer": Number("national_id", r"(?:19|20)?[0-9]{6}[-+]?[0-9]{4}", checksums.personnummer),
    "cpr": Number(
        "national_id", r"(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}-?[0-9]{4}", checksums.anything
    ),
    "fodselsnummer": Number("national_id", "[0-9]{6} ?[0-9]{5}", checksums.fodselsnummer),
    "snils": Number("national_id", r"[0-9]{3}-?[0-9]{3}-?[0-9]{3}[ -]?[0-9]{2}", checksums.snils),
    "inn": Number("tax_id", "[0-9]{12}|[0-9]{10}", checksums.inn),
    "tckn": Number("national_id", "[1-9][0-9]{10}", checksums.tckn),
    "za": Number("national_id", r"[0-9]{6} ?[0-9]{4} ?[0-9]{2} ?[0-9]", checksums.id_za),
    "cnp": Number("national_id", "[1-9][0-9]{12}", checksums.cnp),
    "th": Number("national_id", r"[0-9](?:-?[0-9]{4})(?:-?[0-9]{5})(?:-?[0-9]{2})-?[0-9]", checksums.id_th),
    "nric": _BY_NAME["nric"],
    "il": Number("national_id", "[0-9]{9}", checksums.luhn),
    "clabe": Number("bank_account", "[0-9]{18}", checksums.clabe),
    "sort_code": Number("bank_account", r"[0-9]{2}([- ])[0-9]{2}\1[0-9]{2}", checksums.anything),
    "ifsc": Number("bank_account", "[A-Z]{4}0[0-9A-Z]{6}", checksums.anything),
}  # fmt: skip
# The words that announce each: as they stand in text, in lower case.
_WORDS: Final = (
    ("nhs", "nhs"),
    ("nino", "nino|national insurance|ni number"),
    ("sin", "sin|social insurance"),
    ("aadhaar", "aadhaar|aadhar|uidai"),
    ("pan", "pan|permanent account"),
    ("tfn", "tfn|tax file"),
    ("abn", "abn"),
    ("au_medicare mbi", "medicare"),
    ("mbi", "mbi"),
    ("npi", "npi|national provider"),
    ("dea", "dea"),
    ("ein", "ein|employer identification"),
    (
        "steuer_id",
        "steuer-id|steuerid|steuer id|idnr|steueridentifikationsnummer|steuer-identifikationsnummer",
    ),
    ("rvnr", "rvnr|rentenversicherungsnummer|sozialversicherungsnummer|versicherungsnummer|sv-nummer"),
    ("nir", "nir|secu|insee"),
    ("nif_es", "dni|nie"),
    ("nif_es nif_pt", "nif"),
    ("nif_pt", "contribuinte"),
    ("codice_fiscale", "codice fiscale"),
    ("bsn", "bsn|burgerservicenummer|sofinummer"),
    ("be", "rijksregisternummer|registre national|niss|insz"),
    ("pesel", "pesel"),
    ("cpf", "cpf"),
    ("cnpj", "cnpj"),
    ("curp", "curp"),
    ("rfc", "rfc"),
    ("cuit", "cuit|cuil"),
    ("rut", "rut"),
    ("cn", "resident identity|shenfenzheng"),
    ("my_number", "my number|mynumber|individual number"),
    ("rrn", "rrn|resident registration"),
    ("personnummer", "personnummer|personal identity"),
    ("cpr", "cpr"),
    ("fodselsnummer", "fodselsnummer|fnr"),
    ("snils", "snils"),
    ("inn", "inn"),
    ("tckn", "tckn|tc kimlik|tc no"),
    ("nric", "nric|fin"),
    ("il", "teudat zehut"),
    ("cnp", "cnp"),
    (
        "za cnp th nric rrn cn pesel fodselsnummer tckn",
        "id number|identity number|identification number|national id|citizen id|id card",
    ),
    ("nino pesel cpf tckn inn bsn nir nif_es", "ssn|social security|tax id|tax number|tin|taxpayer"),
    ("clabe", "clabe"),
    ("sort_code", "sort code|sort-code"),
    ("ifsc", "ifsc"),
)  # fmt: skip
ANNOUNCED: Final[dict[str, tuple[Number, ...]]] = {
    word: tuple(_NUMBERS[name] for name in names.split())
    for names, words in _WORDS
    for word in words.split("|")
}
"""By a word that announces them: the identifiers that it may be of."""
_AFTER: Final = r"(?![0-9A-Za-z]|[-./][0-9])"


def announced(word: str, text: str, start: int) -> tuple[str, int]:
    """Return kind and end of the identifier at *start* that *word* announces, "" and 0 if there is none."""
    for number in ANNOUNCED[word]:
        if match := _compiled(number.form).match(text, start):
            value = _compact(match[0])
            if len(set(value)) > 1 and _holds(number, value):
                return number.kind, match.end()
    return "", 0


def _holds(number: Number, value: str) -> bool:
    check = number.check
    if number is _NUMBERS["personnummer"] and len(value) not in (10, _CENTURY):
        return False
    return check(value)


def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(f"(?:{form}){_AFTER}")  # kept by the cache of ``re``


# --- under a JSON key or a column's header that can mean nothing else: the form is enough

_WHOLE: Final = lazily(r"[0-9A-Za-z](?:[ ./-]{0,2}[0-9A-Za-z]){4,21}")


def whole(text: str, start: int) -> int:
    """Return where the identifier at *start* ends, 0 if none starts there: four digits at least."""
    match = _WHOLE.match(text, start)
    if not match or text[match.end() :].strip():
        return 0
    return match.end() if sum(map(str.isdigit, match[0])) >= 4 else 0
