"""The words by which people announce a value: as a JSON key, a column header, or in front of it in text.

One table, from a label to its kind. A label is matched by its words, whatever joins them: ``phoneNumber``,
``phone_number`` and ``Phone Number`` are the same. Labels of JSON keys and columns name the whole value
below them; what may follow a label in running text is said by the detector of its kind.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from mpp_exec.privacy import places
from mpp_exec.privacy.finding import MASK, listed

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
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^0-9A-Za-z]+")
_BESIDE: Final = listed(
    "email mail correo courriel age edad gender sex sexo sexe nationality salary marital"
    " job occupation profession beruf metier profesion professione profissao employee geschlecht sesso"
    " geslacht"
)


def words_of(label: str) -> list[str]:
    """Return the words of a label, in lower case: ``phoneNumber`` is ``phone``, ``number``."""
    if "[" in label:
        label = MASK.sub(" ", label)
    if not label.isascii():
        label = _in_ascii(label)
    return [word.lower() for word in _HUMP.split(label.replace("'", "")) if word]


def _in_ascii(label: str) -> str:
    """Return a label less the marks of its letters: ``direcci\u00f3n`` is ``direccion``."""
    import unicodedata  # noqa: PLC0415  # plain ASCII never needs it

    plain = unicodedata.normalize("NFKD", label.translate(_LETTERS))
    return "".join(each for each in plain if not unicodedata.combining(each))


# Letters that are no other letter with a mark.
_LETTERS: Final = str.maketrans(
    {"\u00df": "ss", "\u00e6": "ae", "\u0131": "i"}
    | dict.fromkeys("\u00f8\u00d8", "o")
    | dict.fromkeys("\u0142\u0141", "l")
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
    kind = of_key(key)
    if kind:
        return kind in ("phone", "ssn", "date_of_birth", "passport", "drivers_license", "person", "address")
    return not _BESIDE.isdisjoint(words_of(key))


# --- names of secrets, in three strengths (``values`` says what each asks of a value)

_PASSWORDS: Final = listed(
    """
    password passwd passwords pwd pass passphrase passcode passwort passwrd pw psw passwordhash pswd
    userpass dbpass rootpass adminpass sshpass kennwort contrasena clave senha wachtwoord parola haslo
    losenord adgangskode salasana mdp motdepasse sifre heslo jelszo
    requirepass masterauth masterpass storepass keypass sshpass
    """
)
_SECRETS: Final = listed(
    """
    secret secrets token apikey apitoken apisecret authtoken accesstoken credential credentials cred
    creds auth authorization bearer authkey accesskey secretkey privatekey clientsecret appsecret
    masterkey signingkey encryptionkey sharedkey accountkey refreshtoken sessiontoken secrettoken
    xauthtoken xapikey pat webhook geheimnis jeton
    """
)
# The same in other scripts, or with letters that ASCII does not have.
FOREIGN_PASSWORDS: Final = listed(
    """
    \u043f\u0430\u0440\u043e\u043b\u044c \u5bc6\u7801 \u5bc6\u78bc \u53e3\u4ee4
    \u30d1\u30b9\u30ef\u30fc\u30c9 \ube44\ubc00\ubc88\ud638 \ube44\ubc88 \ud328\uc2a4\uc6cc\ub4dc
    contrase\u00f1a has\u0142o l\u00f6senord \u015fifre jelsz\u00f3
    \u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2 \u05e1\u05d9\u05e1\u05de\u05d4
    \u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19
    """
)
_ENDINGS: Final = (
    (("password", "passwd", "pwd", "passphrase", "passcode"), "password"),
    (
        (
            *("secret", "token", "apikey", "secretkey", "accesskey", "authkey", "privatekey"),
            *("accountkey", "signingkey"),
        ),
        "secret",
    ),
    (
        (
            *("key", "salt", "access", "private", "license", "api", "login"),
            *("nonce", "seed", "authentication"),
        ),
        "key",
    ),
)  # fmt: skip
_QUALIFIERS: Final = listed(
    """
    api access secret private auth encryption signing account shared storage master service ssh aes
    hmac sas subscription webhook app application client server deploy session bot write admin
    license consumer integration functions host user project rest cipher crypto decrypt encrypt jwt
    developer dev prod live sandbox security
    """
)
# As the last word of a label they say that the value is about a secret rather than one.
_ABOUT: Final = listed(
    """
    path file filename dir directory folder url uri endpoint length len size min max count type
    types name names field fields label placeholder hint prompt policy policies expires expiry
    expiration expired ttl timeout reset change changed forgot manager required enable enabled
    disabled valid validator validation version algorithm alg format prefix suffix header headers
    param params class error errors message msg help desc description title status state column
    index regex pattern provider store storage source handler service factory generator util utils
    helper mode method scope scopes usage limit limits budget tokens keys keyword keywords id ids
    arn ref reference alias host hostname issuer audience group role user username email code codes
    response request form input button page view screen strength check checker rule rules attempts
    history age date time at on in updated created rotation vault server domain dialog text callback
    rate ratio percent pct
    listener event kind level flow page
    """
)
_NEVER: Final = listed(
    """
    public pub publishable primary foreign partition sort cache keyboard keycode keypress tokenizer
    tokenize author authority authors monkey idempotency hotkey shortcut translation i18n locale
    storagekey unique composite compound lookup dictionary registry csrf
    """
)


# Services whose own name announces the key that opens them (``WANDB: …``), if it looks like one.
SERVICES: Final = listed(
    """
    abstractapi activecampaign adafruit adobe airbrake airtable aiven algolia alibaba amplitude
    anthropic apify apollo appcenter artifactory asana assemblyai atlassian auth0 aviationstack axiom
    azure bamboohr bitbucket bitly blynk braintree branch brevo browserstack bugsnag buildkite
    calendly chargebee chatgpt circleci clarifai clearbit clerk clickhouse clickup clockify
    cloudflare cloudinary cloudsmith codacy codeclimate codecov cohere coinapi coinbase coinlayer
    confluent consul contentful convertkit coveralls crowdin currencylayer databricks datadog
    datarobot deepgram deepl deepseek digitalocean discord docker dockerhub doppler dropbox dynatrace
    elastic elasticsearch elevenlabs etherscan etsy eventbrite exchangerate facebook fastly figma
    finnhub firebase fireworks fixer flickr flutterwave foursquare freshdesk geocodio getresponse
    ghost github gitlab gitter gocardless grafana groq guardian gumroad harvest hashicorp heap
    heroku honeycomb hubspot huggingface hunter infura instagram intercom ionic ipdata ipinfo ipstack
    jenkins jfrog jira jumpcloud kaggle kagi keycloak klaviyo kraken kucoin langfuse langsmith
    launchdarkly linear linkedin linode locationiq logdna loggly looker mailchimp mailerlite mailgun
    mailjet mandrill mapbox mapquest marketstack mattermost mediastack meraki messagebird mistral
    mixpanel moralis netlify newrelic newsapi ngrok nightfall notion npm nuget nvidia nylas okta
    onesignal openai opencage openrouter openweather openweathermap opsgenie optimizely pagerduty
    paypal paystack pendo percy perplexity pexels pinecone pingdom pipedrive planetscale plaid
    polygon postgres posthog postman postmark prefect pulumi pushbullet pushover pusher qualtrics
    quandl quip rabbitmq rapidapi razorpay recaptcha redis replicate resend rollbar runscope
    rubygems salesforce saucelabs scaleway scrapingbee segment sendbird sendgrid sendinblue sentry
    serpapi shippo shodan shopify sinch slack snyk sonar sonarcloud sonarqube sourcegraph sparkpost
    splunk spotify square squarespace statuspage storyblok strava stripe sumologic supabase
    surveymonkey tailscale tavily telegram telnyx terraform tiingo todoist toggl trello twilio
    twitch twitter typeform ubidots unsplash upstash urlscan vault vercel virustotal vonage wandb
    weatherbit weatherstack webflow wistia workato wrike xero yelp youtube zapier zendesk zenrows zoho
    zoom
    """
)
# What tells where to go on: whoever is to ask for the next page needs it.
_PLACES: Final = frozenset(
    ("page", "next", "continuation", "cursor", "pagination", "sync", "resume", "previous")
)
_DOMAINS: Final = frozenset(("com", "io", "net", "org", "dev", "app", "ai"))  # ``git@github.com:owner``
_MOST_OF_SERVICE: Final = 4  # words of a label that is a service's, ``HUBSPOT_PROD``


# Called identifiers, and each opens something: of an application at Vault, of a reporter at Code Climate.
_IDS: Final = (["secret", "id"], ["reporter", "id"])


def strength(label: str) -> str:
    """Return what a name announces: ``password``, ``secret``, ``key``, or "" for nothing secret."""
    if not label.isascii() and label.strip().casefold() in FOREIGN_PASSWORDS:
        return "password"
    words = words_of(label)
    is_id = words[-2:] in _IDS
    if is_id or not words or words[-1] in _ABOUT or not _NEVER.isdisjoint(words) or _is_place(words):
        return "key" if is_id else ""
    for word in reversed(words):
        if word in _PASSWORDS:
            return "password"
        if word in _SECRETS:
            return "secret"
        if word == "key":
            return "secret" if not _QUALIFIERS.isdisjoint(words) else "key"
    found = next((found for endings, found in _ENDINGS if words[-1].endswith(endings)), "")
    is_short = len(words) <= _MOST_OF_SERVICE and words[-1] not in _DOMAINS
    is_service = is_short and not SERVICES.isdisjoint(words)
    return found or ("key" if is_service else "")


def is_word_for_secret(value: str) -> bool:
    """Tell whether a value is itself a word for a password or a token, as a translation or a caption is."""
    word = value.rstrip(":").lower()
    return word in _PASSWORDS or word in _SECRETS or word in FOREIGN_PASSWORDS


def _is_place(words: list[str]) -> bool:
    """Tell whether a token says where to go on, rather than who may."""
    return len(words) > 1 and words[-1] == "token" and words[-2] in _PLACES
