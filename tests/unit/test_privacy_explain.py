"""A finding says which rule, check and context made it one, and never what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import Shell
from mpp_exec.privacy.document import keys_in_text
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.redact import Redactor
from privacy_samples import labelled
from work import calls


@pytest.mark.parametrize(
    ("value", "rule", "check", "context"),
    [
        ("jane@example.com", "email", "RFC 5321", "its form is enough"),
        ("jane%40example.com", "email", "RFC 5321", "read as it looks"),
        ("SSN: 241558820", "ssn", "nine digits", "'SSN' at 0 announces it"),
        ({"phoneNumber": "2125550123"}, "phone", "E.164", "the key 'phoneNumber' announces it"),
        ("name,dob\nAda,1991-11-30", "date_of_birth", "a date", "header of its column"),
        ("password=kettle-91!x", "assigned_password", "no placeholder", "'pass' at 0"),
        ("4111111111111111", "credit_card", "Luhn", "its form is enough"),
        ("glpat-q7Rk2Zp9Lw4Xv8Tn3Bc6", "gitlab_token", "docs.gitlab.com", "its form is enough"),
        (["username: kettle91", "by kettle91"], "username", "one word", "elsewhere in the same result"),
    ],
)
def test_a_finding_says_why_it_counts(value: object, rule: str, check: str, context: str) -> None:
    reason = Redactor(explain=True).redact(value).findings[-1].reason
    assert reason.rule == rule
    assert check in reason.check
    assert context in reason.context
    assert "allow" in reason.switch_off


def test_a_setting_is_switched_off_by_nothing() -> None:
    reason = Redactor(secrets=["horse battery"], explain=True).redact("a horse battery").findings[0].reason
    assert (reason.context, reason.switch_off) == ("it is a sensitive setting of the tool", "")


def test_a_key_that_is_a_value_itself_is_not_shown() -> None:
    clean = Redactor(explain=True).redact({"password of jane@example.com pwd": "kettle-91!x"})
    assert "jane" not in json.dumps(clean.to_json())


@pytest.mark.parametrize(
    "value",
    [
        {"password": "kettle-91!x", "env": {"name": "PASSWORD_kettle-91!x", "value": "zzTop991!!"}},
        {"password": "kettle-91!x", "env": {"key": "token of kettle-91!x", "value": "zzTop991!!"}},
        {"password": "kettle-91!x", "columns": ["id", "pwd kettle-91!x"], "rows": [[1, "zzTop991!!"]]},
        'log {"password": "kettle-91!x", "env": {"name": "PASSWORD_kettle-91!x", "value": "zzTop991!!"}}',
        "password: kettle-91!x token@kettle.example: Kj38fj8x92Qw7Lm2",
    ],
)
def test_a_reason_shows_nothing_of_a_value_that_names_another(value: object) -> None:
    """What names a value is a value itself, and was shown where it is no key of the object."""
    clean = Redactor(explain=True).redact(value).to_json()
    shown = json.dumps([each["reason"] for each in clean["findings"]])
    assert len(clean["findings"]) > 1
    assert "kettle" not in shown
    assert "'token'" not in shown


def test_no_reason_holds_a_value() -> None:
    for row in labelled():
        findings = Redactor(explain=True).redact(row.text).findings
        shown = json.dumps([each.reason.to_json() for each in findings], ensure_ascii=False)
        for start, end, _ in row.spans:
            assert end - start < 5 or row.text[start:end] not in shown


def test_nobody_pays_for_what_nobody_asked() -> None:
    assert Redactor().redact("jane@example.com").findings[0].reason is None


def test_the_command_says_why(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell.run("redact", "--explain", stdin="ssn 241558820")
    assert done.out == "ssn [SSN]"
    assert done.err.splitlines()[:3] == [
        "ssn at 4 to 13: rule ssn, score 0.95",
        "  check: nine digits in a range that is issued (SSA POMS RM 10201.035)",
        "  context: 'ssn' at 0 announces it",
    ]
    found = shell.run("redact", "--explain", "--json", stdin='{"a": "jane@example.com"}').json["findings"]
    assert found[0]["pointer"] == "/a"
    assert set(found[0]["reason"]) == {"rule", "check", "context", "switch_off"}


LINES = {
    "a word": "mail jane{0}@example.com; password=Xk3!vq{0}Lm\n",
    "a key": '{{"email": "jane{0}@example.com", "name": "Jane Doe"}}\n',
    "a header": "name,dob\nAda Lovelace,1981-10-2{0}\n\n",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_each_finding_of_a_text_costs_the_same_to_explain(line: str) -> None:
    """Each was looked for anew in all of the text."""

    def work(count: int) -> int:
        text = "".join(line.format(number % 10) for number in range(count))
        return calls(lambda: Redactor(explain=True).redact(text))

    work(1)
    assert work(200) < 2.5 * work(100)


def test_the_keys_of_json_are_told_in_any_order() -> None:
    text = 'a {"phone": "2125550123"} b {"id": 1, "ssn": "219099998"} c ["x"] d {"dob": "1"}'
    keys = keys_in_text(text)
    where = {at: Candidate("phone", at, at + 1, 1.0, "") for at in range(len(text))}
    forwards = [keys.of(where[at]) for at in where]
    assert [(text[at], key) for at, key in enumerate(forwards) if key] == [
        *((digit, "phone") for digit in "2125550123"),
        *((digit, "ssn") for digit in "219099998"),
    ]
    assert [keys.of(where[at]) for at in reversed(where)] == forwards[::-1]
