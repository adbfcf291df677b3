"""An organisation's own rules: what they find, what their tests say, and that none of them can hang."""

from __future__ import annotations

import builtins
import time
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from mpp_exec.consent.policy_file import parse_layer
from mpp_exec.consent.redaction_rules import RedactionRule, parse_rules
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.package.fields import FieldError
from mpp_exec.privacy.patterns import broken
from mpp_exec.privacy.policy import RedactionPolicy, effective_actions
from mpp_exec.privacy.redact import Redactor

EMPLOYEE = RedactionRule("employee_id", r"EMP-[0-9]{6}\b", ("EMP-123456",), ("EMP-12",))
CASE = RedactionRule("case_no", r"case (?P<value>[0-9]+)", ("case 12",))
POLICY = r"""
[[redaction_rule]]
name = "employee_id"
pattern = 'EMP-[0-9]{6}\b'
match = ["EMP-123456"]
no_match = ["EMP-12"]
"""


def redacted(value: Any, *rules: RedactionRule, **actions: Any) -> Any:
    return Redactor(RedactionPolicy(actions, bytes(32), rules)).redact(value)


def test_what_a_rule_finds_is_redacted_everywhere() -> None:
    clean = redacted({"a": "é EMP-123456, case 77", "EMP-654321": ["EMP-123456"]}, EMPLOYEE, CASE)
    assert clean.value == {"a": "é [EMPLOYEE_ID], case [CASE_NO]", "[EMPLOYEE_ID]": ["[EMPLOYEE_ID]"]}
    assert clean.counts() == {"case_no": 1, "employee_id": 3}


def test_a_rule_sees_through_what_hides_a_value() -> None:
    assert (
        redacted("EMP-12\u200b3456 \uff25\uff2d\uff30-123456", EMPLOYEE).value
        == "[EMPLOYEE_ID] [EMPLOYEE_ID]"
    )


@pytest.mark.parametrize(
    ("action", "left"), [("drop", "no ."), ("allow", "no EMP-123456."), ("mask", "no [EMPLOYEE_ID].")]
)
def test_a_kind_of_a_rule_has_an_action_like_any_other(action: str, left: str) -> None:
    assert redacted("no EMP-123456.", EMPLOYEE, employee_id=action).value == left


def test_a_rule_that_matches_masks_changes_nothing_twice() -> None:
    capitals = RedactionRule("shouting", "[A-Z_]{4,}", ("LOUD",))
    once = redacted("LOUD jane@example.com", capitals).value
    assert once == "[SHOUTING] [EMAIL]"
    assert redacted(once, capitals).value == once


def test_a_rule_that_matches_everywhere_takes_linear_time() -> None:
    """Each match was compared with each mask, and 4 KiB took ten seconds."""
    letter = RedactionRule("letter", ".", ("a",))

    def seconds(size: int) -> float:
        started = time.thread_time()
        assert redacted("a" * size, letter).value == "[LETTER]" * size
        return time.thread_time() - started

    small = min(seconds(512) for _ in range(3))
    assert any(seconds(4096) < 24 * small for _ in range(3))  # 8 times as much text; it was 60


def test_a_kind_without_a_rule_is_unknown() -> None:
    with pytest.raises(UsageError) as caught:
        effective_actions(organisation={"employee_id": "hash"})
    assert caught.value.code == "privacy.unknown_kind"
    assert effective_actions(organisation={"employee_id": "hash"}, rules=[EMPLOYEE]) == {
        "employee_id": "hash"
    }


def test_a_catastrophic_pattern_does_not_hang() -> None:
    """On a backtracking engine each of these takes longer than the universe is old."""
    text = "a" * 50_000 + "!"
    for pattern in (r"^(a+)+$", r"(a|aa)+b", r"(a*)*c", r"(.*)(.*)(.*)(.*)x$"):
        started = time.process_time()
        assert redacted(text, RedactionRule("slow", pattern, ("a",))).value == text
        assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "(", "(?:a{1000}){1000}", "[z-a]"])
def test_what_the_engine_cannot_do_in_linear_time_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        redacted("text", RedactionRule("bad", pattern, ("a",)))
    assert caught.value.code == "privacy.bad_pattern"


def test_the_tests_of_a_rule_are_run() -> None:
    assert broken([EMPLOYEE, CASE]) == []
    wrong = RedactionRule("wrong", "[0-9]{4}", ("12", "1234"), ("12345",))
    assert [each.message for each in broken([wrong])] == [
        "finds nothing in match[0]",
        "finds something in no_match[0]",
    ]


def test_rules_without_an_engine_redact_nothing_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "re2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        redacted("EMP-123456", RedactionRule("other", "EMP-[0-9]+", ("EMP-1",)))
    assert caught.value.code == "privacy.no_engine"


def test_every_layer_of_policy_may_add_rules() -> None:
    layer = parse_layer(POLICY, "policy.toml", narrowing=True)
    assert layer.redaction_rules == (
        RedactionRule("employee_id", r"EMP-[0-9]{6}\b", ("EMP-123456",), ("EMP-12",)),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("employee_id", "Employee"),
        ("employee_id", "x"),
        ('match = ["EMP-123456"]', ""),
        ('match = ["EMP-123456"]', "match = []"),
        ("no_match", "nomatch"),
        ("'EMP-[0-9]{6}\\b'", "''"),
        ("'EMP-[0-9]{6}\\b'", f"'{'a' * 1025}'"),
        ("[[redaction_rule]]", "[redaction_rule]"),
    ],
)
def test_a_rule_that_is_none_stops_every_call(old: str, new: str) -> None:
    with pytest.raises(ConsentError):
        parse_layer(POLICY.replace(old, new), "policy.toml", narrowing=False)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_the_rules_of_a_file_are_checked_on_the_command_line(shell: Shell) -> None:
    file = shell.cwd / "rules.toml"
    file.write_text(POLICY)
    assert shell.run("redact", "--check-rules", str(file)).out == "employee_id: ok, 2 tests\n"
    file.write_text(POLICY.replace('"EMP-12"', '"EMP-123456"'))
    failed = shell.run("redact", "--check-rules", str(file), "--json")
    assert failed.code == 2
    assert failed.json == {
        "rules": ["employee_id"],
        "failed": [{"name": "employee_id", "message": "finds something in no_match[0]"}],
    }


def test_the_rules_of_the_policy_hold_on_the_command_line(shell: Shell) -> None:
    assert shell.run("list").code == 0
    (shell.home / "policy.toml").write_text(POLICY)
    assert shell.run("redact", stdin="to EMP-123456\n").out == "to [EMPLOYEE_ID]\n"


@pytest.mark.parametrize("strict", ["mask", "drop", ""])
def test_a_rule_over_a_line_hands_over_nothing_that_is_masked(strict: str) -> None:
    """A layer of policy that may only narrow made tokens of what another had dropped, by a wider rule."""
    made: list[tuple[str, str]] = []

    def token(kind: str, value: str) -> str:
        made.append((kind, value))
        return f"[{kind.upper()}:{'b' * 30}]"

    rule = RedactionRule("whole_line", "(?m)^.{4,}$", ("abcd",))
    actions: dict[str, Any] = {"whole_line": "token"} | ({"ssn": strict} if strict else {})
    policy = RedactionPolicy(actions, None, (rule,))
    clean = Redactor(policy, tokens=token).redact({"one": "ssn 241-55-8820", "two": "a line"})
    assert clean.value == {"one": "" if strict == "drop" else "[SSN]", "two": f"[WHOLE_LINE:{'b' * 30}]"}
    assert made == [("whole_line", "a line")]


def test_what_holds_a_value_of_which_less_is_left_is_not_shown_in_part() -> None:
    policy = RedactionPolicy({"email": "partial", "ssn": "drop"})
    assert Redactor(policy).redact("mail 241-55-8820@example.com").value == "mail "
    assert (
        Redactor(RedactionPolicy({"email": "partial"})).redact("jane@example.com").value == "j***@example.com"
    )


def test_a_branch_without_the_group_is_redacted_as_a_whole() -> None:
    """Nothing of it was: the group had matched nowhere."""
    rule = RedactionRule("case_no", r"case (?P<value>[0-9]+)|ref-[0-9]+", ("case 12", "ref-7"))
    assert redacted("case 12 and ref-7", rule).value == "case [CASE_NO] and [CASE_NO]"


def test_no_rule_is_called_like_content_without_text() -> None:
    with pytest.raises(FieldError):
        parse_rules([{"name": "binary", "pattern": "x", "match": ["x"]}])
