"""Ways in which a tool writes a value so that it is not recognised, one per test."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact

EMAIL, CARD, IP = "jane@example.com", "4111111111111111", "203.0.113.9"
IBAN, AWS_ID = "DE89370400440532013000", "AKIAIOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY_LINES = [base64.b64encode(bytes(range(start, start + 48))).decode() for start in range(0, 96, 24)]
KEY_FILE = ["-----BEGIN PRIVATE KEY-----", *KEY_LINES, "c2hvcnQ=", "-----END PRIVATE KEY-----"]


@pytest.mark.parametrize("value", [EMAIL, CARD, IP, IBAN, AWS_ID])
@pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u202e", "\ufe0f", "\u0336"])
def test_invisible_characters_inside_a_value(value: str, hidden: str) -> None:
    for text in (value[:3] + hidden + value[3:], hidden.join(value)):
        clean = redact(f"a {text} b")
        assert clean.value.startswith("a [")
        assert clean.value.endswith("] b")


def test_an_invisible_character_that_glues_a_letter_to_a_value() -> None:
    """Taken out, it leaves x4111…, which is no card; left in, it is the separator that it is."""
    assert redact(f"x\u200b{CARD}").value == "x\u200b[CREDIT_CARD]"


@pytest.mark.parametrize("value", [EMAIL, CARD, IP, IBAN, AWS_ID])
def test_full_width_forms(value: str) -> None:
    wide = "".join(chr(ord(character) + 0xFEE0) for character in value)
    assert "[" in redact(f"a {wide} b").value


@pytest.mark.parametrize("zero", [0x0660, 0x06F0, 0x0966, 0x1D7CE, 0x1D7F6])
def test_digits_of_other_scripts(zero: int) -> None:
    written = "".join(chr(zero + int(digit)) for digit in CARD)
    assert redact(written).value == "[CREDIT_CARD]"


@pytest.mark.parametrize("separator", ["\u00a0", "\u2009", "\u2011", "\u2013", "\u2212", "\u3000"])
def test_separators_that_only_look_like_spaces_and_hyphens(separator: str) -> None:
    written = separator.join(CARD[index : index + 4] for index in range(0, 16, 4))
    assert redact(written).value == "[CREDIT_CARD]"


def test_a_value_as_the_key_of_an_object() -> None:
    clean = redact({EMAIL: {IP: CARD}})
    assert clean.value == {"[EMAIL]": {"[IP_ADDRESS]": "[CREDIT_CARD]"}}


def test_a_card_number_as_a_number() -> None:
    assert redact([int(CARD), float(CARD), [-int(CARD)]]).value == [
        "[CREDIT_CARD]",
        "[CREDIT_CARD]",
        ["-[CREDIT_CARD]"],
    ]


def test_a_copy_in_a_channel_where_it_is_not_recognised() -> None:
    channels = {
        "stderr": f"version {IP}; x={AWS_SECRET}",
        "structuredContent": {"ip": IP, "aws_key": AWS_SECRET},
    }
    clean = Redactor().redact_many(channels)
    assert clean["stderr"].value == "version [IP_ADDRESS]; x=[SECRET]"


def test_a_copy_glued_into_other_text() -> None:
    text = f"{AWS_ID} {AWS_SECRET} and xxx{AWS_SECRET}yyy"
    assert AWS_SECRET not in redact(text).value


def test_a_key_file_cut_off_before_its_end() -> None:
    for keep in range(2, len(KEY_FILE)):
        clean = redact("\n".join(KEY_FILE[:keep])).value
        assert clean == "[SECRET]"


def test_a_key_file_with_another_prefix_on_each_line() -> None:
    """As a search tool prints it."""
    text = "\n".join(f"home/.ssh/id_rsa:{number}:{line}" for number, line in enumerate(KEY_FILE, 1))
    assert not any(line in redact(text).value for line in KEY_LINES)


@pytest.mark.parametrize(
    "spread",
    [
        lambda lines: lines,
        lambda lines: {"lines": lines},
        lambda lines: [{"path": "id_rsa", "line": n, "text": line} for n, line in enumerate(lines)],
        lambda lines: ["\n".join(lines[:2]), "\n".join(lines[2:])],
        lambda lines: [lines[0], "Proc-Type: 4,ENCRYPTED", "", *lines[1:]],
    ],
)
def test_a_key_file_spread_over_the_strings_of_an_array(spread: Any) -> None:
    clean = json.dumps(redact(spread(KEY_FILE)).value)
    assert not any(line in clean for line in [*KEY_LINES, "c2hvcnQ="])


def test_what_follows_a_key_file_in_an_array_is_left_alone() -> None:
    clean = redact([*KEY_FILE, "c29tZXRoaW5nIGVsc2U=", "text"])
    assert clean.value[-2:] == ["c29tZXRoaW5nIGVsc2U=", "text"]


def test_lines_of_a_key_file_repeated_without_their_markers() -> None:
    text = "\n".join(KEY_FILE)
    clean = Redactor().redact_many({"content": text, "stderr": f"debug: {KEY_LINES[1]} {KEY_LINES[2]}"})
    assert clean["stderr"].value == "debug: [SECRET] [SECRET]"


def test_a_secret_smuggled_out_inside_a_kind_that_is_allowed() -> None:
    policy = RedactionPolicy({"email": "allow"})
    clean = redact(f"{AWS_ID}@example.com {EMAIL}", policy)
    assert clean.value == f"[SECRET]@example.com {EMAIL}"
    assert clean.counts() == {"email": 1, "secret": 1}


def test_a_configured_secret_when_secrets_are_allowed() -> None:
    policy = RedactionPolicy({"secret": "allow"})
    assert redact("pass hunter2hunter2", policy, secrets=["hunter2hunter2"]).value == "pass [SECRET]"


def test_a_configured_secret_with_an_invisible_character_inside() -> None:
    assert redact("pass hunter2\u200bhunter2", secrets=["hunter2hunter2"]).value == "pass [SECRET]"


def test_a_part_of_a_partial_value_that_is_a_value_itself() -> None:
    policy = RedactionPolicy({"email": "partial"})
    assert IP not in redact(f"root@[{IP}]", policy).value


def test_values_with_escapes_in_front() -> None:
    for before in (r"\n", r"\r", r"\t", "%3D", "%20"):
        for value in (CARD, IP, IBAN, AWS_ID):
            assert value not in redact(before + value).value


@pytest.mark.parametrize("value", [EMAIL, CARD, IP, IBAN, AWS_ID])
def test_one_level_of_encoding(value: str) -> None:
    """Percent escapes, JSON's own, and base64 of the value or of a text that it stands in."""
    percent = "".join(f"%{ord(character):02X}" for character in value)
    unicode = "".join(f"\\u{ord(character):04x}" for character in value)
    for written in (percent, unicode):
        assert redact(f"x={written}&y").value.count("[") == 1
        assert written not in redact(f"x={written}&y").value
    for text in (f"see {value} here", f'{{"to": "{value}"}}'):
        encoded = base64.b64encode(text.encode()).decode()
        for written in (encoded, encoded.rstrip("="), base64.urlsafe_b64encode(text.encode()).decode()):
            assert written not in redact(f"data:{written};").value


def test_base64_of_plain_text_stays() -> None:
    encoded = base64.b64encode(b"nothing of anybody's is in this sentence").decode()
    assert redact(encoded).value == encoded


def test_letters_of_other_scripts_that_look_latin() -> None:
    assert redact("j\u0430ne@ex\u0430mple.c\u043em").value == "[EMAIL]"
    assert redact("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440").findings == ()


def test_letters_that_stand_for_digits() -> None:
    assert redact("SSN: 24l-55-882O").value == "SSN: [SSN]"
    assert redact("card 4lll llll 1111 1111").value == "card [CREDIT_CARD]"
    assert redact("call 2I2-555-OI23 now").value == "call [PHONE] now"


def test_a_value_under_a_header_of_a_table() -> None:
    for delimiter in (",", ";", "\t", " | "):
        table = "\n".join(
            delimiter.join(row) for row in (("id", "ssn"), ("7", "241558820"), ("8", "241558821"))
        )
        assert "24155" not in redact(table).value
    assert redact("id,total\n7,241558820").findings == ()


def test_a_space_that_has_slipped_into_an_announced_value() -> None:
    for text in ("SSN: 24 1558820", "Phone: (4 83) 966-0734", "DOB: 0 6/21/1951", "Email: jan e@hotmail.com"):
        assert not any(map(str.isdigit, redact(text).value))
        assert "@" not in redact(text).value


def test_a_letter_that_grows_in_lower_case() -> None:
    """\u0130 becomes two code points; what is announced behind it is still found where it stands."""
    assert redact("\u0130\u0130\u0130 ssn 241558820 end").value == "\u0130\u0130\u0130 ssn [SSN] end"
    grown = [chr(point) for point in range(0x110000) if len(chr(point).lower()) != 1]
    assert grown == ["\u0130"]


def test_a_word_in_another_script_beside_a_value() -> None:
    for text in ("\u4e2d212-555-0123\u4e2d", "\u4e2dssn 241558820\u4e2d", "\u4e2ddob: 1991-11-30\u4e2d"):
        assert not any(map(str.isdigit, redact(text).value))


def test_a_surrogate_beside_and_inside_a_value() -> None:
    clean = redact([f"\ud800{EMAIL}\udfff", f"jane\ud800{EMAIL}", f"{CARD}\ud800", "\ud800"])
    assert EMAIL not in "".join(clean.value)
    assert CARD not in "".join(clean.value)
    hashed = redact(f"\ud800é{EMAIL}", RedactionPolicy({"email": "hash"}, bytes(32)))
    assert hashed.counts() == {"email": 1}


@pytest.mark.parametrize("value", ["4111111111111111.5", 4111111111111111.5, "pay 4111111111111111.25 now"])
def test_a_card_with_a_fraction_behind_it_is_one(value: object) -> None:
    assert "4111" not in str(redact(value).value)


def test_an_address_in_url_escapes_inside_other_text_is_one() -> None:
    assert redact("see jane%40example.com here").value == "see [EMAIL] here"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane&#64;example.com", "write to [EMAIL]"),
        ("write to jane&#x40;example&period;com", "write to [EMAIL]"),
        ("card&colon; 4111&#32;1111&#32;1111&#32;1111", "card&colon; [CREDIT_CARD]"),
        ("call ( 448) 869-4611", "call [PHONE]"),
        ("call (642) 569 -0877", "call [PHONE]"),
        ("ring 1-376-184-787 0 now", "ring [PHONE] now"),
        ("From: jonescar la@example.com", "From: [EMAIL]"),
        ("mail brittanybauer@exa mple.org", "mail [EMAIL]"),
        ("reach Rhonda Stokes at 2405166545", "reach Rhonda Stokes at [PHONE]"),
        ("To: wlloyd109@example.0rg", "To: [EMAIL]"),
    ],
)
def test_a_value_that_was_taken_apart_is_found(text: str, left: str) -> None:
    assert redact(text).value == left


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01 12:30 was a Wednesday",
        "AT&T &amp; others &lt;ok&gt;",
        "from 10 to 2024-05-01 1",
        "1 234 567 890 1",
    ],
)
def test_what_only_looks_taken_apart_is_left_alone(text: str) -> None:
    assert redact(text).findings == ()
