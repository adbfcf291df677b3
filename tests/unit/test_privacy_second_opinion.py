"""Presidio as a second opinion: what becomes of what a model says, and that it is off unless asked for."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpp_exec.consent.policy import Policy
from mpp_exec.consent.policy_file import parse_layer
from mpp_exec.errors import ConsentError, UsageError
from mpp_exec.privacy import meter, second_opinion
from mpp_exec.privacy.policy import RedactionPolicy
from mpp_exec.privacy.redact import Redactor, redact
from mpp_exec.privacy.second_opinion import SecondOpinion

ASKED = RedactionPolicy(second_opinion="presidio")
HAS_MODEL = importlib.util.find_spec("presidio_analyzer") is not None


def seen(*words: str) -> second_opinion.Analyze:
    """Return a model that takes each of *words* for somebody."""
    return lambda text: [
        ("PERSON", match.start(), match.end())
        for word in words
        for match in re.finditer(re.escape(word), text)
    ]


def _redacted(value: object, monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(second_opinion, "_presidio", lambda: seen(*words))
    return redact(value, ASKED).value


def test_what_the_model_sees_is_redacted_in_prose(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Yesterday Ann Lee wrote to jane@example.com about it."
    assert _redacted(text, monkeypatch, "Ann Lee") == "Yesterday [PERSON] wrote to [EMAIL] about it."


def test_what_it_sees_in_one_string_is_redacted_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"note": "Yesterday Ann Lee wrote to us.", "who": "Ann Lee"}
    written = {"note": "Yesterday [PERSON] wrote to us.", "who": "[PERSON]"}
    assert _redacted(value, monkeypatch, "Ann Lee") == written


def test_it_is_not_asked_about_single_words_keys_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _redacted({"Widget": "Widget", "kind": "blue Widget"}, monkeypatch, "Widget") == {
        "Widget": "Widget",
        "kind": "blue Widget",
    }
    assert _redacted("this is [EMAIL] of somebody", monkeypatch, "EMAIL") == "this is [EMAIL] of somebody"


def test_it_is_off_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "_presidio", lambda: pytest.fail("asked"))
    assert redact("Yesterday Ann Lee wrote to us.").findings == ()


def test_what_it_says_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "_presidio", lambda: seen("Ann Lee"))
    (finding,) = Redactor(ASKED, explain=True).redact("Yesterday Ann Lee wrote to us.").findings
    assert finding.rule == "second_opinion"
    assert "Presidio" in finding.reason.check


def test_it_is_asked_about_so_much_and_no_more() -> None:
    asked: list[int] = []

    def analyze(text: str) -> list[tuple[str, int, int]]:
        asked.append(len(text))
        return []

    SecondOpinion(analyze).find("some words and more " * 50_000)
    assert sum(asked) <= second_opinion.MOST + max(asked)
    assert max(asked) <= 4096


def test_it_ends_when_the_redaction_is_cancelled() -> None:
    with (
        pytest.raises(meter.StoppedError),
        meter.bounded(meter.Bounds(9, 9, lambda: 0.0, lambda: True)),
    ):
        SecondOpinion(seen()).find("some words and more")


def test_any_layer_of_policy_can_ask_for_it_and_none_can_take_it_back() -> None:
    asks = parse_layer('second_opinion = "presidio"\n', "one", narrowing=False)
    silent = parse_layer("", "two", narrowing=True)
    assert Policy((asks, silent)).second_opinion == Policy((silent, asks)).second_opinion == "presidio"
    assert Policy((silent,)).second_opinion == ""
    assert Policy((asks,)).to_json()["effective"]["second_opinion"] == "presidio"
    with pytest.raises(ConsentError):
        parse_layer('second_opinion = "none"\n', "one", narrowing=False)


@pytest.mark.skipif(HAS_MODEL, reason="the extra is installed")
def test_without_the_extra_nothing_is_redacted_by_halves() -> None:
    with pytest.raises(UsageError) as caught:
        redact("Yesterday Ann Lee wrote to us.", ASKED)
    assert caught.value.code == "privacy.no_model"
    assert "mpp-exec[presidio]" in caught.value.hint


def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    command = [sys.executable, "-m", "mpp_exec", "redact", "--second-opinion", "--home", home]
    done = subprocess.run(command, input=b"Yesterday Barack Obama spoke.", capture_output=True, check=False)
    if HAS_MODEL:
        assert b"[PERSON]" in done.stdout
    else:
        assert done.returncode == 2
        assert b"presidio" in done.stderr


@pytest.mark.skipif(not HAS_MODEL, reason="the extra is not installed")
def test_presidio_itself_sees_somebody_in_a_sentence() -> None:
    assert redact("Yesterday Barack Obama spoke in Berlin about it.", ASKED).counts()["person"] == 1
