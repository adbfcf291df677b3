"""Records in text: lines of ``label: value``, and fields of one line, ``label=value, label=value``.

Forms, settings in YAML, answers of directories (LDIF, RFC 2849), objects that a program prints. What one
label says depends on those beside it, as in a table. Words of ASCII that a label may end in are searched for
with all others; labels that end in another script are looked for where a text has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, headers, labels, meter, names, national, repeats
from mpp_exec.privacy.anchors import Needle
from mpp_exec.privacy.finding import Candidate, is_in_mask, moved
from mpp_exec.privacy.headers import Pair

# The last words of labels; those of English names and addresses, and of what a word announces without a
# colon, are known to ``names`` and ``labelled``.
_WORDS: Final = """
    vorname nachname familienname apellido apellidos nombre nombres nom prenom noms cognome nome completo naam
    voornaam achternaam nazwisko imie navn fornavn etternavn efternavn namn fornamn efternamn nimi etunimi
    sukunimi nama lengkap soyad soyadi adi isim ime prezime nume prenume cn sn givenname gn firstname lastname
    first_name last_name surname displayname realname fullname
    anschrift adresse adress adres adresa osoite alamat indirizzo direccion domicilio endereco morada strasse
    straat ulica calle rue via street address address1 address2 line1 line2 homepostaladdress postaladdress
    city town suburb locality ort stadt wohnort ville ciudad citta cidade stad woonplaats plaats miasto mesto
    kota zip zipcode postcode postalcode postal_code zip_code plz postleitzahl postal cap cep postnummer
    postinumero
    geburtstag geburtsdatum nacimiento nascita nascimento naissance geboortedatum urodzenia fodselsdato
    syntymaaika narozeni lahir rodenja tarihi birthdate date_of_birth dob
    telefono telefone telefoon telepon puhelin gsm celular cellulare handy mobil mobile rufnummer
    telefonnummer handynummer mobilnummer telefonszam numarasi portable movil homephone telephonenumber
    mrn oib pesel steuernummer steuernr versichertennummer versicherungsnummer kontonummer kontonr
    personnummer fodselsnummer henkilotunnus hetu nss afm egn jmbg nik cnp curp dni nie nif
    passnummer reisepassnummer
    rekeningnummer cuenta conto conta konta numer_konta patient_id patientid number no nr
    geb geboren nato nascido narozen syntynyt nominativo kundenname kunde klant cliente bydliste pobyt
    domicilio
    wohnanschrift residenza logradouro lakcim cim hemadress kotiosoite woonadres mobiel mobilnummer
    mobilnr telnr
    matkapuhelin cellulare komorka nr_telefonu domiciliu nha personal_phone le il op am dato datum data
    birth_date
    account_no konto rib paspoort pasaporte reisepass paszport passeport identita
    username user_name screen_name benutzername usuario utente gebruikersnaam brukernavn
"""
NEEDLES: Final = tuple(Needle(word, anchors.COLON | anchors.WORD) for word in sorted(set(_WORDS.split())))
_LONGEST_LABEL: Final = 48
# Where a label begins, seen from its end: a line, a field, a list's mark.
_BEGINS: Final = lazily(
    r"[\n\r,;&?|{}<>\"\[\]=:\u3001\u3002\uff0c\uff1b]|(?<!\w)'|'(?!\w)|\((?![^\W\d_]{1,2}\))"
)
_COLON: Final = lazily(
    r"(?P<tail>[\w.)\u00b0]{0,12})[*_]{0,2}['\"]?[ \t]{0,2}(?:::?|=>?|\uff1a|\uff1d)[ \t\u3000]{0,8}[*_]{0,2}"
    r"[ \t]{0,2}(?:\s{0,8}<[^<>\n]{1,128}>){0,4}\s{0,4}?(?P<quote>['\"]?)"
)
_VALUE: Final = lazily(r"[^\n\r|;<>{}\[\]\"]{1,200}")
# The next field of the same line.
_FIELD: Final = lazily(
    r"[,\u3001\uff0c]?[ \t]{1,4}[\w.-]{2,24}(?: [\w.-]{2,24})?[=:\uff1a][^/]|[,&][\w.-]{2,24}="
)
_FAR: Final = 160  # code points between a value and the next label of a record
_OTHER_COLON: Final = lazily(r"[:=\uff1a\uff1d]")
_CHECKED: Final = ("national_id", "tax_id", "health_id")
_MARKS: Final = " \t*_#>+-\u2022\u00b7"


def lines(text: str, _key: str, places: Sequence[tuple[int, str]]) -> list[Candidate]:
    """Return what in *text* stands behind labels that end in a word; *places* are where such words are."""
    ends = [at + len(word) for at, word in places if not is_in_mask(text, at)]
    return _read(_labelled(text, ends))


def other_scripts(text: str) -> list[Candidate]:
    """Return what in *text*, which is not all ASCII, stands behind labels that are not, either."""
    return _read(_labelled(text, _colons(text), foreign=True))


def places_of_others(text: str) -> Iterator[int]:
    """Yield where in *text*, which is not all ASCII, labels end that are not, and that announce a value."""
    for pair, _ in _labelled(text, _colons(text), foreign=True):
        yield pair.at


def _colons(text: str) -> Iterator[int]:
    """Yield where something may be labelled by what is not ASCII: at a colon."""
    for colon in _OTHER_COLON.finditer(text):
        at = colon.start()
        label = text[max(0, at - _LONGEST_LABEL) : at]
        if not label.isascii():
            yield at - (len(label) - len(label.rstrip(" \t\u3000\"'*_")))


def _labelled(
    text: str, ends: Iterator[int] | Sequence[int], *, foreign: bool = False
) -> Iterator[tuple[Pair, int]]:
    """Yield labels with their values, and where these end."""
    last = -1
    kinds: dict[str, str] = {}  # labels come again in every record
    label = repeats.Repeats(text).once(lambda end: _label(text, end, kinds, foreign=foreign))
    for end in ends:
        meter.step()
        labelled, by = label(end)
        if labelled and labelled[0].at + by > last:
            (name, value, at), stop = labelled
            last = at + by
            yield Pair(name, value, last), stop + by


def _label(text: str, end: int, kinds: dict[str, str], *, foreign: bool) -> tuple[Pair, int] | None:
    """Return the label that ends about *end* with its value, and where that ends, None if it announces none.

    *kinds* are what labels are known to announce.
    """
    colon = _COLON.match(text, end)
    begin = _BEGINS.split(text[max(0, end - _LONGEST_LABEL) : end])[-1].lstrip(") ") if colon else ""
    if not colon or not begin:
        return None
    name = (begin + colon["tail"]).strip(_MARKS)
    if foreign and name.isascii():
        return None
    if (kind := kinds.get(name)) is None:
        kind = kinds[name] = labels.of_key(name)
    at = colon.end()
    if not kind or ("=" in colon[0] and names.is_code(text, at)):
        return None
    if kind in _CHECKED and any(word in name.lower() for word in national.ANNOUNCED):
        return None  # it has a check digit, which is looked at there
    stop = _end_of_value(text, at, colon["quote"])
    return Pair(name, text[at:stop].rstrip(" \t,.*"), at), stop


def _end_of_value(text: str, at: int, quote: str) -> int:
    value = _VALUE.match(text, at)
    if not value:
        return at
    stop = value.end()
    if quote == "'":
        closing = text.find(quote, at, stop)
        return closing if closing >= 0 else stop
    field = None if quote else _FIELD.search(text, at, stop)
    return field.start() if field else stop


def _read(labelled: Iterator[tuple[Pair, int]]) -> list[Candidate]:
    """Return what the values of labels are, record by record: what is beside one is not far from it."""
    found: list[Candidate] = []
    record: list[Pair] = []
    last = 0
    for pair, stop in labelled:
        meter.step(len(found))
        if record and pair.at - last > _FAR:
            found += _of_record(record)
            record = []
        record.append(pair)
        last = stop
    return found + _of_record(record)


def _of_record(record: Sequence[Pair]) -> list[Candidate]:
    columns = headers.announced([pair.name for pair in record])
    found: list[Candidate] = []
    read: dict[tuple[str, str, str], list[Candidate]] = {}  # records come again, too
    for column, pair in zip(columns, record, strict=True):
        if not pair.text or column.kind == "secret":
            continue
        asked = (*column, pair.text)
        if (answer := read.get(asked)) is None:
            says = not _is_caption(column.kind, pair.text)
            answer = read[asked] = headers.below(column, pair.text, 0) if says else []
        found += moved(answer, pair.at)
    return found


def _is_caption(kind: str, value: str) -> bool:
    """Tell whether a value is a label itself, as in a table of translations: ``nachname: Familienname``."""
    return kind in ("person", "person?", "username") and bool(labels.of_key(value))
