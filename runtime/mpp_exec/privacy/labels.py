"""The words by which people announce a value: as a JSON key, a column header, or in front of it in text.

One table, from a label to its kind. A label is matched by its words, whatever joins them: ``phoneNumber``,
``phone_number`` and ``Phone Number`` are the same. Labels of JSON keys and columns name the whole value
below them; what may follow a label in running text is said by the detector of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from mpp_exec.privacy import places, tongues
from mpp_exec.privacy.finding import listed
from mpp_exec.privacy.secret_names import strength
from mpp_exec.privacy.words import words_of

DECLARED: Final = "declared"
"""What announces a secret whatever its own name is (``declared``)."""

# kind -> labels, their words joined. ``name`` alone names products as often as people: it is settled by
# what stands beside it.
_LABELS: Final = {
    "phone": (
        "phone phones phoneno phonenum phonenumber phonenumbers telephone telephoneno telephonenumber tel"
        " telno telnumber telefon telefono mobile mobileno mobilenumber mobilephone cell cellno cellnumber"
        " cellphone cellular fax faxno faxnumber msisdn whatsapp landline callerid callbacknumber"
        " contactnumber contactno handynummer telefonnummer"
    ),
    "ssn": (
        "ssn ssns ssnumber ssno socialsecurity socialsecurityno socialsecuritynumber socialsecuritynum itin"
        " taxpayerid taxpayeridentificationnumber individualtaxpayeridentificationnumber ssnlast4 ssnitin"
    ),
    "date_of_birth": (
        "dob dateofbirth birthdate birthday birthdays birth born borndate bday birthdt dtofbirth dobdate"
        " geburtsdatum geboren fechadenacimiento datedenaissance"
    ),
    "passport": (
        "passport passportno passportnum passportnumber passportid traveldocument traveldocumentnumber"
        " traveldocumentno reisepassnummer"
    ),
    "drivers_license": (
        "driverslicense driverslicence driverlicense driverlicence drivinglicense drivinglicence"
        " driverslicensenumber driverslicencenumber driverlicensenumber driverlicencenumber driverlicenseno"
        " drivinglicensenumber drivinglicencenumber driverslicenseno driverslicenceno dl dlno dln dlnumber"
        " driversid licensenumber licenseno licencenumber licenceno fuehrerschein"
    ),
    "bank_account": (
        "accountnumber accountno accountnum acctnumber acctno acctnum bankaccount bankaccountnumber"
        " bankaccountno checkingaccount savingsaccount routingnumber abarouting routingno routing"
        " wirerouting aba sortcode"
    ),
    "national_id": (
        "nationalid nationalidno nationalidnumber nationalidentitynumber nationalidentificationnumber"
        " identitynumber"
        " identitycardnumber idcardnumber citizenid citizenshipnumber nino nationalinsurancenumber"
        " nationalinsuranceno socialinsurancenumber aadhaar aadhaarnumber aadhaarno aadhar aadharnumber"
        " pesel"
        " bsn burgerservicenummer personnummer curp dni dninumber nric nricno snils tckn cnp"
        " fodselsnummer hetu"
        " rijksregisternummer numerosecu sozialversicherungsnummer svnummer rentenversicherungsnummer"
        " ahvnummer ahvnumber residentregistrationnumber mynumber personalidentitycode personalid"
    ),
    "tax_id": (
        "taxid taxno taxnumber taxidnumber taxidentificationnumber taxreference taxfilenumber steuerid"
        " steuernummer steueridentifikationsnummer codicefiscale cpf cpfnumber cnpj cuit cuil nif nifnumber"
        " employeridentificationnumber panno pannumber pancard fiscalcode numerofiscal utr"
    ),
    "health_id": (
        "nhsnumber nhsno medicarenumber medicareid medicareno medicaidid medicaidnumber mbi healthcardnumber"
        " healthinsurancenumber healthinsuranceid medicalrecordnumber mrn npi npinumber deanumber"
        " versichertennummer krankenversichertennummer"
    ),
    "credit_card": (
        "creditcard creditcardno creditcardnumber creditcardnum debitcard debitcardnumber paymentcard"
        " paymentcardnumber cardnumber cardno cardnum ccnumber ccnum ccno pan primaryaccountnumber"
        " kreditkarte kartennummer kreditkartennummer numerotarjeta tarjeta numerocarte"
    ),
    "vin": "vin vinno vinnumber vehicleid vehicleidentification vehicleidentificationnumber",
    "mac_address": "mac macaddr macaddress hwaddr hwaddress hardwareaddress physicaladdress bssid",
    "person": (
        "fullname firstname lastname middlename givenname familyname surname forename maidenname fname lname"
        " mothersmaidenname customername clientname patientname employeename contactname personname"
        " cardholder cardholdername accountholder accountholdername holdername nameoncard policyholder"
        " recipientname sendername membername guestname passengername ownername studentname applicantname"
        " beneficiaryname emergencycontact emergencycontactname nextofkin legalname preferredname birthname"
        " spousename fathername mothername doctorname physicianname drivername realname realnamenormalized"
        " vorname nachname familienname geburtsname rufname kundenname patientenname mitarbeitername"
        " vollstandigername vollstaendigername kontoinhaber karteninhaber ansprechpartner"
        " apellido apellidos primerapellido segundoapellido apellidopaterno apellidomaterno nombrecompleto"
        " primernombre segundonombre nombrecliente nombrepaciente prenom prenoms nomcomplet nomfamille"
        " nomdefamille nomclient nompatient cognome nomecompleto nomecognome nomecliente sobrenome"
        " primeironome ultimonome voornaam achternaam volledigenaam klantnaam imie nazwisko fornamn"
        " efternamn fornavn etternavn efternavn fuldenavn etunimi sukunimi jmeno prijmeni keresztnev"
        " vezeteknev prenume"
    ),
    "address": (
        "address addresses addressline addressline1 addressline2 address1 address2 streetaddress street"
        " streetname"
        " homeaddress residentialaddress residence shippingaddress billingaddress mailingaddress"
        " postaladdress deliveryaddress permanentaddress currentaddress workaddress officeaddress"
        " addressonfile homeaddr streetaddr billingaddr shippingaddr mailingaddr postaladdr workaddr"
        " addrline addrline1 addrline2 street1 street2 streetline streetline1 streetline2"
        " streetandnumber adresse anschrift strasse strassenname strassehausnummer strasseundhausnummer"
        " hausanschrift lieferanschrift rechnungsanschrift postanschrift wohnanschrift wohnadresse"
        " lieferadresse rechnungsadresse postadresse privatadresse heimadresse meldeadresse versandadresse"
        " adressepostale adressedomicile adresselivraison adressedelivraison adressefacturation"
        " adressedefacturation adresseclient adresseligne1 adresseligne2 adressecomplete domicile rue"
        " nomrue nomvoie nomdevoie direccion domicilio direccionpostal direccionenvio direcciondeenvio"
        " direccionfacturacion direccionlinea1 direccionlinea2 direccioncompleta direccioncliente calle"
        " nombrecalle calleynumero indirizzo indirizzoresidenza indirizzospedizione indirizzofatturazione"
        " residenza endereco enderecoentrega enderecoresidencial morada logradouro rua adres woonadres"
        " postadres thuisadres factuuradres afleveradres straat straatnaam adreszamieszkania adress"
        " gatuadress bostadsadress gateadresse osoite katuosoite kotiosoite adresa lakcim"
    ),
    "username": (
        "username userlogin loginname loginid login screenname nickname userhandle handle accountname"
        " samaccountname upn"
    ),
}  # fmt: skip
# Labels that end in one of those above and mean something else.
_OTHERS: Final = (
    "emailaddress ipaddress ipaddr webaddress urladdress siteaddress bindaddress listenaddress serveraddress"
    " baseaddress memoryaddress walletaddress contractaddress returnaddress peeraddress remoteaddress"
    " localaddress hostaddress sourceaddress destinationaddress bitcoinaddress btcaddress ethaddress"
    " networkaddress startaddress targetaddress gatewayaddress linkaddress mailaddress"
    " softwarelicensenumber onlogin lastlogin firstlogin"
)
KINDS: Final = {
    **{label: kind for label, kind in tongues.LATIN.items() if not kind.endswith("?")},
    **{label: kind for kind, labels in _LABELS.items() for label in labels.split()},
    **dict.fromkeys(_OTHERS.split(), ""),
}
# Somebody in this role, where the label has nothing else to say: ``"patient": "Jane Doe"``.
ROLES: Final = listed(
    """
    applicant assignee attendee beneficiary borrower cardholder client customer defendant driver
    employee guardian guest holder insured landlord member nurse owner parent passenger patient
    payee payer person physician plaintiff recipient reporter requester resident sender signatory
    spouse student subscriber tenant traveler traveller user undersigned victim witness
    author creator commenter reviewer approver manager supervisor
    debtor creditor originator remitter
    absender beneficiaire beneficiario cliente destinataire destinatario empfaenger empfanger inhaber
    klant kunde mieter paciente patiente titulaire titular
    """
)
# Those who are listed below such a key are somebody each: ``"users": [{"name": "Jane Doe"}]``.
_PEOPLE: Final = listed(
    """
    users customers clients patients employees members students contacts people persons guests attendees
    passengers drivers teachers doctors nurses subscribers tenants residents participants kunden patienten
    mitarbeiter benutzer mitglieder utilisateurs membres employes usuarios clientes pacientes empleados
    miembros clienti utenti pazienti dipendenti utilizadores funcionarios klanten gebruikers medewerkers
    """
)
# What ``name`` is in other languages.
_NAMES: Final = listed("nom nome nombre naam navn namn nimi") | {
    label for label, kind in tongues.LATIN.items() if kind == "name?"
}
# The last part of a word that is made of several, as Germanic languages have it: ``Kundentelefonnummer``.
_LONG: Final = 8
_ENDINGS: Final[dict[str, list[str]]] = {}
for _label in sorted(
    (each for each, kind in KINDS.items() if kind and len(each) >= _LONG), key=len, reverse=True
):
    _ENDINGS.setdefault(_label[-2:], []).append(_label)
# A name that is shown, of whatever has it.
_SHOWN: Final = listed("displayname formattedname")
# What a key may end in that says nothing: ``Address_Data``, ``contactPhoneInfo``.
_FILLERS: Final = listed("data info details detail")
_LONGEST: Final = 64  # a key beyond this is no label
_MOST_WORDS: Final = 4
_BESIDE: Final = listed(
    "email mail correo courriel age edad gender sex sexo sexe nationality salary marital"
    " job occupation profession beruf metier profesion professione profissao employee geschlecht sesso"
    " geslacht"
)


def of_key(key: str) -> str:
    """Return the kind of the values that a JSON key or column header announces, "" if of none.

    ``name?`` is the answer for ``name``, which needs somebody beside it, ``person?`` for a role, and
    that of ``places`` for a part of an address, which needs others beside it. ``people`` says only that
    the names below it are somebody's.
    """
    words = words_of(key) if 1 < len(key) <= _LONGEST else []
    if len(words) > 1 and words[-1] in _FILLERS:
        words.pop()
    if not words:
        return ""
    if not key.isascii() and (other := _of_other_script(words)):
        return other
    for count in range(min(_MOST_WORDS, len(words)), 0, -1):
        kind = KINDS.get("".join(words[-count:]))
        if kind is not None:
            return kind
    return (
        places.of_words(words)
        or (len(words) == 1 and _compound(words[0]))
        or _of_somebody(words)
        or _of_head(words, tongues.LATIN)
    )


# What is said of them behind, in languages that have it there: ``Telefono del cliente``, ``Adres klienta``.
# Their values are told by their form.
_HEADS: Final = frozenset(("phone", "date_of_birth", "address"))
_SHORTEST_HEAD: Final = 4


def _of_head(words: list[str], known: Mapping[str, str]) -> str:
    """Return what the first words of a label announce, where the last ones say whose it is."""
    for count in range(min(_MOST_WORDS, len(words) - 1), 0, -1):
        head = "".join(words[:count])
        if len(head) >= _SHORTEST_HEAD and (kind := known.get(head, "")) in _HEADS:
            return kind
    return ""


def _of_other_script(words: list[str]) -> str:
    """Return what a label announces that is not all ASCII, by its last words or its first."""
    known = tongues.other_scripts()
    for count in range(min(_MOST_WORDS, len(words)), 0, -1):
        if kind := known.get("".join(words[-count:])):
            return kind if count == len(words) or kind in _HEADS else ""
    return _of_head(words, known)


def _of_somebody(words: list[str]) -> str:
    """Return what a label announces that is no kind's, but a name's, a role's or a list of people's."""
    if "".join(words) in _SHOWN:
        return "name?"
    if words[-1] == "name" or (len(words) == 1 and words[0] in _NAMES):
        return "name?" if len(words) == 1 else "person" if words[-2] in ROLES - {"user"} else ""
    kind = "person?" if words[-1] in ROLES else "people" if words[-1] in _PEOPLE else ""
    return kind if len(words) <= 2 else ""


def _compound(word: str) -> str:
    """Return what a word announces for ending in one that does, "" if it is made of no others."""
    if not word.isascii():
        return next((kind for ending, kind in tongues.endings() if word.endswith(ending)), "")
    return next((KINDS[end] for end in _ENDINGS.get(word[-2:], ()) if word.endswith(end)), "")


def announced(key: str) -> str:
    """Return the kind that a key or header announces, secrets included, "" if none."""
    return _announced(key) if key.isidentifier() else of_key(key) or _secret(key)


@lru_cache(maxsize=512)
def _announced(identifier: str) -> str:
    # Identifiers only: a key that is a value itself is not kept.
    return of_key(identifier) or _secret(identifier)


# Members of an object of which the one says what the other is: ``{"name": "DB_PASSWORD", "value": "…"}``. As
# Kubernetes, Docker, ECS, CloudFormation, Windows and forms have it.
_NAMING: Final = listed(
    """
    name key variable variablename var envname env field fieldname label parameter parametername parameterkey
    param option optionname setting property propertyname attribute attributename header question
    """
)
_NAMED: Final = listed("value val content values parametervalue stringvalue defaultvalue answer fieldvalue")
# What a value is of, where nothing is its name: ``{"system": "phone", "value": "…"}``.
_TYPING: Final = frozenset(("type", "system", "kind"))
_JOINTS: Final = str.maketrans("", "", "_- ")
_LONGEST_NAMING: Final = 24


def part_of_pair(key: str) -> str:
    """Return whether a key is of a ``name``, a ``type`` or of a ``value``, where an object has both; else "".

    A type names the value only where nothing else does.
    """
    if len(key) > _LONGEST_NAMING:
        return ""
    plain = key.translate(_JOINTS).lower()
    if plain in _TYPING:
        return "type"
    return "value" if plain in _NAMED else "name" if plain in _NAMING else ""


def named_by(name: str) -> str:
    """Return the kind that a name announces which is a value itself. Unlike that of a key it is not kept."""
    return of_key(name) or _secret(name) if len(name) <= _LONGEST else ""


def _secret(key: str) -> str:
    return "secret" if strength(key) else ""


def is_personal(key: str) -> bool:
    """Tell whether a key that stands beside ``name`` says that somebody is described."""
    return _is_personal(key) if key.isidentifier() else _says_personal(key)


@lru_cache(maxsize=512)
def _is_personal(identifier: str) -> bool:
    return _says_personal(identifier)


def _says_personal(key: str) -> bool:
    kind = of_key(key)
    if kind:
        return kind in ("phone", "ssn", "date_of_birth", "passport", "drivers_license", "person", "address")
    return not _BESIDE.isdisjoint(words_of(key))
