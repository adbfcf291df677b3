"""Secrets that nothing but their own look, or a sentence, gives away; and what looks like one and is none."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact

TOKEN = "q7Rk2Zp9Lw4" + "Xv8Tn3Bc6Hd2"
WORD = "Vq" + "3mTz9Ld"


@pytest.mark.parametrize(
    "text", ["zorbly = {}", "zorbly: {}", 'zorbly: "{}",', "let zorbly = '{}';", "{{zorbly:{}}}"]
)
def test_a_random_string_that_an_unknown_name_is_given(text: str) -> None:
    assert redact(text.format(TOKEN)).value == text.format("[SECRET]")


@pytest.mark.parametrize(
    "text",
    [
        "fileId: {}",
        "sha: {}",
        "next_cursor={}",
        "https://h.example/watch?zorbly={}",
        "https://h.example/{}",
        "see {} there",
        "zorbly = {}/x",
    ],
)
def test_a_random_string_that_names_a_thing_stays(text: str) -> None:
    assert redact(text.format(TOKEN)).findings == ()


def test_identifiers_in_json_stay() -> None:
    value = {"spreadsheetId": TOKEN, "etag": TOKEN, "zorbly": TOKEN}
    assert redact(value).value == value


def test_words_hexadecimal_numbers_and_words_with_numbers_stay() -> None:
    hexadecimal = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
    for value in (hexadecimal, "configurationOverride2024", "rev-a1-b2-c3-d4-e5-f6-g7"):
        assert redact(f"zorbly = {value}").findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "the password for root: {}",
        "the pwd of the root is {}",
        "password in staging is {}.",
        "password(default: {})",
        "ID/PW: root/{}",
        "mail jane@example.com Password {}",
    ],
)
def test_a_password_that_a_sentence_tells(text: str) -> None:
    assert WORD not in redact(text.format(WORD)).value


@pytest.mark.parametrize(
    "text",
    [
        "the password for the account is required",
        "password of at least 12 characters",
        "pass TestLoginForm2 (0.3s)",
        "--- PASS: TestHTTP2Server (0.30s)",
        "PASS tests/e2e/Form12.spec.ts (5.1 s)",
        "password in section 4.2 is optional",
        "password: see https://h.example/Help2Go",
    ],
)
def test_what_is_said_about_a_password_stays(text: str) -> None:
    assert redact(text).findings == ()


def test_a_string_whose_quotation_mark_is_cut_off() -> None:
    assert redact(f"api_key = '{TOKEN}").value == "api_key = '[SECRET]"


def test_the_default_of_a_variable_in_hcl() -> None:
    text = 'variable "db_password" {\n  type = string\n  sensitive = true\n  default = "hunter22x"\n}\n'
    assert redact(text).value == text.replace("hunter22x", "[SECRET]")


def test_a_share_of_the_key_of_a_vault() -> None:
    share = "0tZn+7QQCxphpHwTm7/dC3LpP5" + "JGIbYl3PK8Sy81R+P2"
    assert redact(f"Unseal Key 2: {share}").value == "Unseal Key 2: [SECRET]"


@pytest.mark.parametrize(
    "text",
    [
        "\u043f\u0430\u0440\u043e\u043b\u044c: {}",
        "\u5bc6\u7801\uff1a{}",
        "\ube44\ubc00\ubc88\ud638({})",
        "\u30d1\u30b9\u30ef\u30fc\u30c9\u306f{}",
        "contrase\u00f1a = {}",
        "\u015eifre: {}",
    ],
)
def test_a_password_whose_label_is_in_another_language(text: str) -> None:
    assert WORD not in redact(text.format(WORD)).value
    assert WORD not in str(redact({"row": [text.format(WORD), "x"]}).value)


def test_a_password_under_a_key_in_another_language() -> None:
    assert redact({"\u043f\u0430\u0440\u043e\u043b\u044c": "hunter22x"}).counts() == {"secret": 1}
    assert redact({"\u5bc6\u7801": "hunter22x"}).counts() == {"secret": 1}


def test_a_word_that_says_password_and_no_value_stays() -> None:
    assert redact("\u0437\u0430\u0431\u044b\u043b \u043f\u0430\u0440\u043e\u043b\u044c?").findings == ()


@pytest.mark.parametrize("value", ["$4H^esvOO+Ab", "!3&O6gMFkf(H", "(h_*Xj7r#86d"])
def test_a_password_that_starts_like_code(value: str) -> None:
    assert redact(f"DB_PASSWORD={value}").counts() == {"secret": 1}
    assert redact({"password": value}).counts() == {"secret": 1}


@pytest.mark.parametrize("value", ["$DB_PASSWORD", "${PASSWORD}", "$(cat x)", "$env:PASS", "!secret db"])
def test_what_a_shell_or_a_template_fills_in_stays(value: str) -> None:
    assert redact(f"DB_PASSWORD={value}").findings == ()
