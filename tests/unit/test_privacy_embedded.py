"""JSON in a text is read by its keys, as the same value would be that is no text."""

from __future__ import annotations

import html
import json
import re
import time

import pytest

from mpp_exec.privacy.embedded import _values
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.mask import bare
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact
from work import calls

PERSON = {
    "Id": "0037Q00000abcDE",
    "FirstName": "Jürgen",
    "LastName": 'Weiß "Rex"',
    "MailingStreet": "Am Waldrand 4",
    "MailingCity": "Uelzen",
    "MailingPostalCode": "29525",
    "Birthdate": "1971-11-04",
}  # fmt: skip
PRODUCTS = [
    {"name": "Paris Lamp", "city": "Paris", "vendor": "Mia Stone"},
    {"name": "Jordan Chair", "sku": "7"},
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize(
    "frame", ["{}", "answer:\n```json\n{}\n```\n", "10:00 INFO got {} in 3 ms", "{}\n{}\n"]
)
def test_text_and_value_are_redacted_alike(frame: str, ascii_only: bool, indent: int | None) -> None:
    written = json.dumps(PERSON, ensure_ascii=ascii_only, indent=indent)
    clean = redact(frame.replace("{}", written)).value
    expected = {**dict.fromkeys(PERSON, "[ADDRESS]"), "Id": PERSON["Id"], "Birthdate": "[DATE_OF_BIRTH]"}
    expected |= {"FirstName": "[PERSON]"}
    start = clean.index("{")
    read = json.JSONDecoder().raw_decode(clean, start)[0]
    assert {**read, "LastName": ""} == {**expected, "LastName": ""}
    assert redact(clean).value == clean


def test_the_name_of_a_product_does_not_become_somebodys_for_being_written_down() -> None:
    written = json.dumps(PRODUCTS)
    assert redact(written).value == written
    beside = json.dumps({"user": {"name": "Mia Stone", "email": "mia@example.com"}, "products": PRODUCTS[1:]})
    assert json.loads(redact(beside).value)["products"] == PRODUCTS[1:]


def test_numbers_stay_json() -> None:
    clean = redact('{"ssn": 241558820, "items": [12345678901, 3]}').value
    assert json.loads(clean) == {"ssn": "[SSN]", "items": [12345678901, 3]}


def test_a_string_in_a_value_is_read_too() -> None:
    answer = {"content": [{"type": "text", "text": json.dumps(PERSON)}]}
    text = redact(answer).value["content"][0]["text"]
    assert json.loads(text)["MailingCity"] == "[ADDRESS]"


def test_a_key_that_stands_twice_shifts_no_mask() -> None:
    twice = '{"surname": "Aaaaaa", "note": "keep this", "surname": "Bbbbbb"}'
    assert "keep this" in redact(twice).value


def test_what_only_looks_like_json_is_read_as_text() -> None:
    for text in (
        '{"first_name": "Jo',
        "{" * 3000,
        '{"a": ' * 3000,
        '[{"a":1e999999}]',
        '{"n": ' + "9" * 5000 + "}",
    ):
        assert redact(text).value
    assert redact('{"phone": "0431 55 21 98').value == '{"phone": "[PHONE]'


def test_reading_in_vain_is_bounded() -> None:
    def seconds(count: int) -> float:
        text = '{"a": [1, 2, {"b": "c"}, \n' * count
        start = time.process_time()
        redact(text)
        return time.process_time() - start

    assert seconds(8000) < 16 * max(seconds(1000), 0.001)


def test_a_token_in_a_text_of_json_leads_back_to_the_value() -> None:
    made: list[str] = []

    def token(kind: str, value: str) -> str:
        made.append(value)
        return f"[{kind.upper()}:{'b' * 30}]"

    policy = RedactionPolicy(actions={"person": "token"})
    Redactor(policy, tokens=token).redact('{"first_name": "Jane"}')
    assert made == ["Jane"]


def test_explaining_names_the_key() -> None:
    found = (
        Redactor(explain=True).redact('{"MailingStreet": "Am Waldrand 4", "MailingCity": "Uelzen"}').findings
    )
    assert {each.reason.context for each in found} == {
        "the key 'MailingStreet' announces it",
        "the key 'MailingCity' announces it",
    }


def test_json_in_the_strings_of_json_is_read_too() -> None:
    """What a service logs of a request: a text in a text has keys as well."""
    body = {"customer_name": "Jürgen Weiß", "password": 'pä"ssw\\rd9!', "address": "12 Main Street", "id": 7}
    text = json.dumps({"level": "info", "body": json.dumps({"inner": json.dumps(body)})})
    clean = redact(f"10:00 {text}").value
    inner = json.loads(json.loads(json.loads(clean[6:])["body"])["inner"])
    assert inner == {"customer_name": "[PERSON]", "password": "[SECRET]", "address": "[ADDRESS]", "id": 7}
    assert redact(clean).value == clean


def test_how_deep_strings_are_read_is_bounded() -> None:
    text = '{"first_name":"Jane"}'
    for _ in range(200):
        text = '{"a":"' + text.replace("\\", "\\u005c").replace('"', "\\u0022") + '"}'
    assert json.loads(redact(text).value)


@pytest.mark.parametrize(
    "value",
    [
        {"body": json.dumps({"card": 4111111111111111})},
        {"line": "cards: 4111111111111111, and more", "card": 4111111111111111},
        {"say": 'a "quoted: 4111111111111111, word"', "cards": [4111111111111111.0, -4111111111111111]},
        {"ssn": -241558820, "numbers": [4111111111111111, 1.5]},
    ],
)
def test_a_number_that_is_replaced_leaves_json_what_it_is(value: object) -> None:
    """One in a string gets no quotes, which would end that; one that is bare goes with sign and fraction."""
    for indent in (None, 2):
        clean = redact(json.dumps(value, indent=indent)).value
        assert "4111" not in clean
        assert list(json.loads(clean)) == list(value)  # type: ignore[call-overload]


MEMBERS = [
    '"b\\\\c"',
    '"\\u00e9\\ud83d\\ude00"',
    "-12345.5e-3",
    "-Infinity",
    "[true, null]",
    '{"k": "v"}',
    "17",
]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("part", [4096, 8 * 4096])
def test_a_value_in_which_a_part_of_the_text_ends_is_read_whole(member: str, part: int) -> None:
    for before in range(part - 40, part + 4):
        written = f'["{"a" * (before - 6)}", {member}]'
        text = f'x{written} and ["b", 1]'
        assert [text[low:high] for low, high, _ in _values(text)] == [written, '["b", 1]']
        assert next(_values(text))[2] == json.loads(written, strict=False)


def test_what_is_no_value_is_passed_over_whatever_its_length() -> None:
    for length in (10, 4090, 5000, 40_000):
        text = f'["{"a" * length}" ] ["b" x] ["c", 1] ["{"a" * length}'
        assert [value for *_, value in _values(text)] == [["a" * length], ["c", 1]]


def test_each_value_in_an_escaped_string_of_json_costs_the_same() -> None:
    """The whole string was measured for each of them, without a look at the clock."""

    def work(count: int) -> int:
        rows = [{"name": "Jane Doe", "phone": "2125550123"}] * count
        return calls(lambda: redact(json.dumps({"a": json.dumps({"b": json.dumps(rows)})})))

    work(1)
    assert work(80) < 2.5 * work(40)


SOMEBODY = {
    "customer": {"name": "Jürgen Müller", "email": "jürgen@example.com"},
    "full_name": "Zoë Ångström",
    "password": "pä55wört!9x",
    "phone": "2125550123",
    "address": "Straße 4, 29525 Uelzen",
    "product": {"name": "Blue Widget"},
}
ESCAPED = {
    "Python": repr(SOMEBODY),
    "Python, in ASCII": ascii(SOMEBODY),
    "Python, as bytes": repr(json.dumps(SOMEBODY, ensure_ascii=False).encode()),
    "a log": f"user={SOMEBODY!a} done",
    "HTML": html.escape(json.dumps(SOMEBODY, ensure_ascii=False)),
    "HTML, in ASCII": html.escape(json.dumps(SOMEBODY)),
    "HTML, numbers": json.dumps(SOMEBODY).replace('"', "&#34;"),
    "HTML, hexadecimal": json.dumps(SOMEBODY).replace('"', "&#x22;"),
    "a string": json.dumps(json.dumps(SOMEBODY)),
    "a string of a log": f"level=info msg={json.dumps(json.dumps(SOMEBODY, ensure_ascii=False))} took=3",
}


@pytest.mark.parametrize("text", ESCAPED.values(), ids=ESCAPED)
@pytest.mark.parametrize("below", [False, True])
def test_what_is_escaped_as_a_whole_is_read_as_what_it_is(text: str, below: bool) -> None:
    """Names and addresses in it were left, and of what has a letter that is no ASCII the half of it."""
    redacted = redact({"text": text} if below else text).value
    clean = redacted["text"] if below else redacted
    for left in ("rgen", "ller", "Zo", "ngstr", "55w", "rt!9x", "0123", "Uelzen", "fcr", "xfc"):
        assert left not in clean
    assert redact(clean).value == clean


def test_escaped_json_leaves_the_names_of_things() -> None:
    text = html.escape(json.dumps([{"product": {"name": "Blue Widget"}}] * 3))
    assert redact(text).value == text


def test_escapes_lead_back_to_where_they_stand() -> None:
    text = r"{'full_name': 'J\xfcrgen M\xfcller', 'id': 7}"
    found = redact(text).findings
    assert [text[each.start : each.end] for each in found] == [r"J\xfcrgen M\xfcller"]


@pytest.mark.parametrize(
    "text",
    [
        'log {"card": 4111111111111111, "name": "Jane Doe"} done',
        'x\n{"email": -4111111111111111.0, "username": "pa\\"ss1!x9"}\n',
        '{"address": -4111111111111111.0, "users": {"username": "pa\\"ss1!x9"}}',
        'msg: {"value": "\\\\", "phone": 2125550123, "product": {"name": "Jane Doe"}}',
    ],
)
def test_json_in_a_line_of_a_log_stays_json_and_is_read_the_same_again(text: str) -> None:
    """A number without quotes became a mask without any, so that the rest was no JSON for whoever read on."""
    clean = redact(text).value
    assert redact(clean).value == clean
    assert clean != text
    assert isinstance(json.loads(clean[clean.index("{") : clean.rindex("}") + 1]), dict)


def test_a_number_in_a_text_that_is_no_member_of_an_object_gets_no_quotes() -> None:
    assert redact("dict(card: 4111111111111111, x)").value == "dict(card: [CREDIT_CARD], x)"
    assert redact(r'log "\"card\": 4111111111111111"').value == r'log "\"card\": [CREDIT_CARD]"'


def test_a_member_of_json_that_is_a_string_of_a_log_gets_the_quotes_that_its_key_has() -> None:
    assert redact(r'log "{\"card\": 4111111111111111}"').value == r'log "{\"card\": \"[CREDIT_CARD]\"}"'


class Measured(str):
    """A text that counts how far it is searched."""

    __slots__ = ("searched",)

    searched: int

    def find(self, wanted: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().find(wanted, start, end)
        self.searched += (found if found >= 0 else len(self) if end is None else end) - start
        return found


def test_strings_of_json_in_one_line_are_passed_over_once() -> None:
    """The end of the line was looked for behind each of them."""
    text = Measured(json.dumps([{"a": "x", "card": 4111111111111111}] * 500))
    text.searched = 0
    starts = [match.start() for match in re.finditer("4111111111111111", text)]
    spans = [Candidate("credit_card", at, at + 16, 1.0, "") for at in starts]
    assert [quote for _, quote in bare(text, spans)] == ['"'] * len(spans)
    assert text.searched <= len(text)


def test_json_without_a_string_is_searched_for_one_once() -> None:
    text = Measured(json.dumps([4111111111111111] * 500))
    text.searched = 0
    starts = [match.start() for match in re.finditer("4111111111111111", text)]
    spans = [Candidate("credit_card", at, at + 16, 1.0, "") for at in starts]
    assert [quote for _, quote in bare(text, spans)] == ['"'] * len(spans)
    assert text.searched <= len(text)
