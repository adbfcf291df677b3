"""The names of secrets, in three strengths (``values`` says what each asks of a value)."""

from __future__ import annotations

from typing import Final

from mpp_exec.privacy.finding import listed
from mpp_exec.privacy.words import words_of

_PASSWORDS: Final = listed(
    """
    password passwd passwords pwd pass passphrase passcode passwort passwrd pw psw passwordhash pswd
    userpass dbpass rootpass adminpass sshpass kennwort contrasena clave senha wachtwoord parola haslo
    psk wpapsk losenord adgangskode salasana mdp motdepasse sifre heslo jelszo
    requirepass masterauth masterpass storepass keypass sshpass
    """
)
_SECRETS: Final = listed(
    """
    secret secrets token apikey apitoken apisecret authtoken accesstoken credential credentials cred
    creds auth authorization bearer authkey accesskey secretkey privatekey clientsecret appsecret
    masterkey signingkey encryptionkey sharedkey accountkey refreshtoken sessiontoken secrettoken
    xauthtoken xapikey pat webhook geheimnis jeton jsessionid phpsessid
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
