"""Secrets by their names: what is one, where it ends, and what only stands where one could."""

from __future__ import annotations

import json

import pytest

from mpp_exec.privacy.redact import redact
from mpp_exec.privacy.secret_names import strength
from mpp_exec.privacy.values import is_random

TOKEN = "q7Rk2Zp9Lw4Xv8Tn3Bc6"
PASSWORD = "kettle-91!x"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"DB_PASSWORD={PASSWORD}", PASSWORD),
        (f"export DB_PASSWORD='{PASSWORD}'", PASSWORD),
        (f"password: {PASSWORD}\nuser: x", PASSWORD),
        (f'"password": "{PASSWORD}",', PASSWORD),
        (rf"{{\"password\": \"{PASSWORD}\"}}", PASSWORD),
        (f"setPassword('x'); passwd => '{PASSWORD}'", PASSWORD),
        (f'let apiKey: string = "{TOKEN}";', TOKEN),
        (f"api-key: {TOKEN}", TOKEN),
        (f"X-Auth-Token: {TOKEN}\r\n", TOKEN),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        (f"Authorization: Basic {TOKEN}==", f"{TOKEN}=="),
        (f"https://x.example/?token={TOKEN}&a=b", TOKEN),
        (f"Host=db;Username=u;Password={PASSWORD};Pooling=true", PASSWORD),
        (f"<client_secret>{TOKEN}</client_secret>", TOKEN),
        (f"mysql --password={PASSWORD} app", PASSWORD),
        (f"IDENTIFIED BY '{PASSWORD}'", PASSWORD),
        (f"curl -u deploy:{PASSWORD} https://x.example", f"deploy:{PASSWORD}"),
    ],
)
def test_a_named_secret_is_found_to_its_edges(text: str, secret: str) -> None:
    assert [text[f.start : f.end] for f in redact(text).findings if f.kind == "secret"] == [secret]


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password()",
        "password = os.environ['DB_PASSWORD']",
        "password = user.password",
        "password: ${DB_PASSWORD}",
        "password={{ vault_password }}",
        "password: <your password>",
        "password = None",
        'password = "changeme"',
        'password = "********"',
        "Password must contain a digit",
        "token_path = /etc/service/token",
        "max_tokens=4096",
        "public_key = " + TOKEN,
        'tokenizer = "bert-base-uncased-v2"',
        'api_key = "YOUR_API_KEY"',
        "key = value",
        'sortKey = "customer-name-2"',
        "author: jane-doe-1234567",
        "keyboard: qwerty-2024-edition",
        "secret santa is on friday",
        "[SECRET]: abcdef123456",
        "const alphabetKey = '0123456789abcdefghijklmnopqrstuvwxyz'",
    ],
)
def test_a_placeholder_code_and_plain_words_are_left_alone(text: str) -> None:
    assert redact(text).findings == ()


@pytest.mark.parametrize(
    ("key", "value", "is_secret"),
    [
        ("password", PASSWORD, True),
        ("dbPassword", PASSWORD, True),
        ("client_secret", TOKEN, True),
        ("headers", TOKEN, False),
        ("password_hint", PASSWORD, False),
        ("token_type", "bearer-token-1", False),
        ("next_page_token_url", TOKEN, False),
        ("id", TOKEN, False),
    ],
)
def test_a_json_key_names_what_is_below_it(key: str, value: str, is_secret: bool) -> None:
    assert (redact({key: value}).value == {key: "[SECRET]"}) is is_secret


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("SPRING_DATASOURCE_PASSWORD", "password"),
        ("stripeSecretKey", "secret"),
        ("x-api-key", "secret"),
        ("license_key", "secret"),
        ("map_key", "key"),
        ("primaryKey", ""),
        ("secret_name", ""),
        ("description", ""),
    ],
)
def test_the_strength_of_a_name(label: str, found: str) -> None:
    assert strength(label) == found


def test_random_tokens_are_told_from_words() -> None:
    assert all(
        map(is_random, (TOKEN, "9f86d081884c7d65", "wJalrXUtnFEMIK", "123e4567-e89b-12d3-a456-426614174000"))
    )
    assert not any(
        map(is_random, ("user-access-token-2", "aaaaaaaa1111", "DOC_Vector_5_32", "2024-05-01", "password"))
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("postgres://svc:pl4tform@db.example/x", "postgres://[URL_CREDENTIAL]@db.example/x"),
        ("https://user:p%40ss@host.example", "https://[URL_CREDENTIAL]@host.example"),
        ("https://user:${PASSWORD}@host.example", "https://user:${PASSWORD}@host.example"),
        ("https://host.example:8080/a@b", "https://host.example:8080/a@b"),
        ("ssh://git@host.example/x", "ssh://git@host.example/x"),
    ],
)
def test_credentials_in_a_url(text: str, written: str) -> None:
    assert redact(text).value == written


def test_a_password_that_a_label_gave_away_is_hidden_everywhere() -> None:
    assert redact({"password": PASSWORD, "log": f"tried {PASSWORD} twice"}).value == {
        "password": "[SECRET]",
        "log": "tried [SECRET] twice",
    }


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('client = NetworkCredential("jane", "vzihlaquknriqlht");', "vzihlaquknriqlht"),
        ("Server=db;Port=5432;User Id=app;Password=secret;Database=shop;", "secret"),
        ("machine raw.example.com\n  login visionmedia\n  password pass123\n", "pass123"),
        ("user = aladdin\npassword = open_sesame\n", "open_sesame"),
        ("PSEXEC.EXE \\\\host -u DOMAIN\\jane -p mypass12 CMD", "mypass12"),
        ("mysql -u root -pTopSecret1 shop", "TopSecret1"),
        ('curl -u ":d2LkV78zLx!t" https://localhost:9200', "d2LkV78zLx!t"),
        ('The default password for the user "jane" is "tiger7".', "tiger7"),
        ('<add key="FromEmailPassword" value="Prestigitariu$"/>', "Prestigitariu$"),
        ("acme-SECRET-1234567890abcdef1234567890abcdef", "1234567890abcdef1234567890abcdef"),
        ("wandb: 123e4567abcd4567abcd4567abcd4567abcd4567", "123e4567abcd4567abcd4567abcd4567abcd4567"),
        ("kennwort = 'Rosengarten#7'", "Rosengarten#7"),
        ("vault operator unseal 98m+o2ylRhVbOi+3o5ub6PbP343ocFUVORgSYeypMDjh", "98m+o2yl"),
        ("Authorization: SSWS 00QCjAl4MlV-WPXM-ABCDEFGHIJKL-0HmjFx-vbGua", "00QCjAl4MlV"),
    ],
)
def test_a_secret_is_found_in_each_way_to_give_one(text: str, secret: str) -> None:
    assert secret not in redact(text).value


@pytest.mark.parametrize(
    "text",
    [
        '{"nextPageToken": "CAUQAA7kZ9b2xvbmdpc2g0Mg"}',
        "continuation_token=a1B2c3D4e5F6g7H8i9J0",
        'connect("localhost", port)',
        "ssh -u -p 2222 host",
        "mysql -u root -p3306 shop",
        "the password for this site is what you chose",
        '{"auth0_client_id": "dBpXUZS34Rhg6WUKTLLj3E9yWGY6IJgV"}',
        "secret = config.get('secret')",
        "stripe is a company; github hosts code",
    ],
)
def test_what_opens_nothing_is_left_alone(text: str) -> None:
    assert redact(text).findings == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # files of settings, in which a bare word is a string
        ("spring.datasource.password=udMOyfTNS", "udMOyfTNS"),
        ("db:\n  password: tsgcl_qfotiy\n", "tsgcl_qfotiy"),
        ("export ADMIN_PASSWORD=blue_harbour", "blue_harbour"),
        ("userPassword: whQnPHHesFwb", "whQnPHHesFwb"),
        ("password: |\n  kettle-91!x\n", "kettle-91!x"),
        ("password: >-\r\n  kettle-91!x\r\n", "kettle-91!x"),
        ("password:\r\n  kettle-91!x\r\n", "kettle-91!x"),
        ('password = """kettle-91!x"""', "kettle-91!x"),
        # strings that look like the name of a variable
        ('password = "ayqju_cwiqlf"', "ayqju_cwiqlf"),
        # elements and attributes
        ("<password>ztnol_loyxnm</password>", "ztnol_loyxnm"),
        ('<property name="password" value="YHslxB"/>', "YHslxB"),
        # calls
        ('user.setPassword("zWdNd*r0l")', "zWdNd*r0l"),
        ("assert user.check_password('odvbvr6m')", "odvbvr6m"),
        ('client = Client(auth=("admin", "gNunILfCT"))', "gNunILfCT"),
        ('app.setApiKey("Qe4X54inLlCUb8r2FWkp")', "Qe4X54inLlCUb8r2FWkp"),
        ('new DirectoryEntry("LDAP://corp.example",\n  "svc_web",\n  "Rrhh1234");', "Rrhh1234"),
        ("sshpass -p hghfnltnjj ssh root@host", "hghfnltnjj"),
        # a table of two columns, without a header that says so
        ("| password | hx8uivhvk0bx |", "hx8uivhvk0bx"),
        # words that are one below the name of a user
        ("username 'deploy'\npassword 'password'\n", "'password'\n"),
        ("user = 'Aladdin'\npassword = 'open sesame'", "open sesame"),
        ("  username: admin\n  password: admin\n", "password: admin"),
        # a line that says what the next one is
        ("Use the following password to proceed:\n\nbd9627decc6346d780b3b6ab6ea8fe1f\n", "bd9627decc6346d7"),
        ("role_id=1\nsecret_id=6a174c20-f6de-a53c-74d2-6018fcceff64", "6a174c20-f6de"),
        # a word of a placeholder that stands in a random string by chance
        ('client_secret = "yJ-xZ1qycWHUzTUBKr20pUt6zWFmcHSBHus9769LsdOPp2ob8iESrG6MKAMGRkfX"', "yJ-xZ1qyc"),
        ("api_key: 6d2FabeB6ADd229Bc199FabA28fD3efb57dF0bD3", "6d2FabeB6"),
    ],
)
def test_a_password_is_found_wherever_programs_and_files_have_it(text: str, value: str) -> None:
    assert value in text
    assert value not in redact(text).value


@pytest.mark.parametrize(
    "text",
    [
        "password_hash = hashlib.sha256(password).hexdigest()",
        'PASSWORD = env("PASSWORD", default="")',
        'password = password.encode("latin1")',
        '    PASSWORD_FIELD = "password_field"',
        '{"name": "password", "type": "string", "required": true}',
        "'pwd', 're_syntax', 'read', 'refchan'",
        '"password": "Passwort",',
        '"jsonwebtoken": "^8.5.1",',
        "pass_rate=0.93",
        "password: newPassword",
        "  password: user_password\n",
        "password = tsgcl_qfotiy.value",
        "self.password = confirm_password",
        '<label for="password">Password</label>',
        '<a href="/reset-password">Reset</a>',
        "| password | string |",
        "| password | required |",
        'getToken("admin-console")',
        'hasKey("config", "debug")',
        "Your API token:\nsee the page of your account",
        "database: shop\npassword: ${DB_PASSWORD}\n",
    ],
)
def test_code_and_captions_that_speak_of_passwords_are_left_alone(text: str) -> None:
    assert redact(text).value == text


@pytest.mark.parametrize("name", ["password", "passphrase"])
@pytest.mark.parametrize("phrase", ["correct horse battery", "correct horse battery staple", "my dog Rex 1"])
def test_a_pass_phrase_under_that_very_key_is_masked_whole(name: str, phrase: str) -> None:
    assert redact({name: phrase}).value == {name: "[SECRET]"}
    assert json.loads(redact(json.dumps({name: phrase})).value) == {name: "[SECRET]"}


@pytest.mark.parametrize(
    "words",
    [
        "Mot de passe", "mot de passe", "Enter your password", "This field is required", "can't be blank",
        "is too short (minimum is 8 characters)", "must be at least 8 characters", "do not match",
        "Kata sandi", "at least 1 digit", "not set", "same as before", "forgot password", "8 more to go",
    ],
)  # fmt: skip
def test_what_is_said_of_a_password_under_its_key_stays(words: str) -> None:
    assert redact({"password": words}).value == {"password": words}
