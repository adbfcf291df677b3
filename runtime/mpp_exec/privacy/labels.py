"""The words by which people announce a value: as a JSON key, a column header, or in front of it in text.

One table, from a label to its kind. A label is matched by its words, whatever joins them: ``phoneNumber``,
``phone_number`` and ``Phone Number`` are the same. Labels of JSON keys and columns name the whole value
below them; what may follow a label in running text is said by the detector of its kind.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mpp_exec.privacy import places
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
        "dob dateofbirth birthdate birthday birth born borndate bday birthdt dtofbirth dobdate geburtsdatum"
        " geboren fechadenacimiento datedenaissance"
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
        " bankaccountno checkingaccount savingsaccount routingnumber abarouting routingno aba sortcode"
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
        " spousename fathername mothername doctorname physicianname drivername realname"
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
        "address addressline addressline1 addressline2 address1 address2 streetaddress street streetname"
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
    label: kind for kind, labels in _LABELS.items() for label in labels.split()
} | dict.fromkeys(_OTHERS.split(), "")  # fmt: skip
# Somebody in this role, where the label has nothing else to say: ``"patient": "Jane Doe"``.
ROLES: Final = listed(
    """
    applicant assignee attendee beneficiary borrower cardholder client customer defendant driver
    employee guardian guest holder insured landlord member nurse owner parent passenger patient
    payee payer person physician plaintiff recipient reporter requester resident sender signatory
    spouse student subscriber tenant traveler traveller user undersigned victim witness
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
_NAMES: Final = listed("nom nome nombre naam navn namn nimi")
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
    if not 1 < len(key) <= _LONGEST:
        return ""
    words = words_of(key)
    if not words:
        return ""
    for count in range(min(_MOST_WORDS, len(words)), 0, -1):
        kind = KINDS.get("".join(words[-count:]))
        if kind is not None:
            return kind
    if part := places.of_words(words):
        return part
    if words[-1] == "name" or (len(words) == 1 and words[0] in _NAMES):
        return "name?" if len(words) == 1 else "person" if words[-2] in ROLES - {"user"} else ""
    kind = "person?" if words[-1] in ROLES else "people" if words[-1] in _PEOPLE else ""
    return kind if len(words) <= 2 else ""


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
_JOINTS: Final = str.maketrans("", "", "_- ")
_LONGEST_NAMING: Final = 24


def part_of_pair(key: str) -> str:
    """Return whether a key is of a ``name`` or of a ``value``, where an object has both; "" for neither."""
    if len(key) > _LONGEST_NAMING:
        return ""
    plain = key.translate(_JOINTS).lower()
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
