"""What repeats itself is read once, and what is found in one piece of it is found in all."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from mpp_exec.privacy import detect, repeats
from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.redact import redact
from work import calls

SIZE = 1 << 15


def tries(text: str) -> int:
    """Return how often redaction tries a pattern: most of its work."""
    redact("warm")
    return calls(lambda: redact(text), of_patterns=True)


@pytest.mark.parametrize(
    "unit",
    [
        "key=", "auth0=", "password=", "api-=", "home: ", "street: 1 A St, ", "guardian=", "last_name=",
        "pass=Ab1defgh ", 'attn="', "address: 1 A St, ", "token: ", "jira=\n",
        "redis-cli>", "l1O0", "zip -a ",
    ],
)  # fmt: skip
def test_a_piece_that_stands_again_and_again_is_not_read_each_time(unit: str) -> None:
    text = unit * (2 * SIZE // len(unit))
    more = tries(text) - tries(text[: len(text) // 2])
    assert more / (len(text) / 2) < 0.5


def test_a_value_in_each_piece_is_found_in_all_and_so_is_what_stands_behind_them() -> None:
    unit = "password=Xk3!vq9Lm; "
    text = unit * 1000 + "pin\ntoken = Zq8vK2mP5wR7tY1u\n" + unit * 1000
    redacted = redact(text)
    assert "Xk3!vq9Lm" not in redacted.value
    assert "Zq8vK2mP5wR7tY1u" not in redacted.value
    assert redacted.counts() == {"secret": 2001}


def test_findings_are_those_of_a_text_that_is_not_known_to_repeat_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = ("password=Xk3!vq9Lm; ", "Name: Jane Doe, ", "ssn 241-55-8820 ", "key=", "address: 1 A St, \n")
    texts = [f"seen first {unit * 600}and last {unit}" for unit in units]
    found = [redact(text) for text in texts]
    monkeypatch.setattr(repeats, "SHORTEST", 1 << 30)
    assert found == [redact(text) for text in texts]


def test_a_place_is_read_in_the_first_piece_unless_an_end_is_in_sight() -> None:
    text = "x" * 1000 + "ab, " * 5000 + "y" * 1000
    stretches = repeats.Repeats(text)
    asked: list[int] = []

    def find(text: str, _key: str, places: list[int]) -> list[Candidate]:
        asked.extend(places)
        return [Candidate("phone", at, at + 2, 1.0, text[at : at + 2]) for at in places]

    places = list(range(1000, 21000, 4))
    found = stretches.found(find, "", places)
    assert sorted((each.start, each.value) for each in found) == [(at, "ab") for at in places]
    last = 21000 - repeats.AFTER
    assert {at for at in places if at >= last} <= set(asked)
    assert len(asked) < len(places) / 2


@pytest.mark.parametrize("size", [0, 1, 500, repeats.SHORTEST - 1])
def test_a_short_text_has_no_stretch(size: int) -> None:
    assert not repeats.Repeats("a" * size)
    assert repeats.Repeats("a" * size).back(0) == 0


def test_two_stretches_are_told_apart() -> None:
    text = "ab" * 8000 + "cde" * 8000
    stretches = repeats.Repeats(text)
    assert 0 < stretches.back(3001) <= 3001
    second = stretches.back(30_000)
    assert second % 3 == 0
    assert text[30_000 - second : 30_100 - second] == text[30_000:30_100]
    assert stretches.back(15_999) == 0
    assert stretches.back(3001) % 2 == 0


def test_findings_are_not_compared_with_every_number_that_has_letters_in_it() -> None:
    unit = "AZDO212-555-0199  a@b.co "
    # One comparison of each finding with all of the numbers was more than all the rest of the work.
    assert lines(unit * 1000) < 3 * lines(unit * 500)


def lines(text: str) -> int:
    """Return how many lines of the comparison of findings with numbers run."""
    count = 0

    def watch(frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != detect.__file__ or frame.f_code.co_name not in _COMPARE:
            return None

        def watch_lines(_frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal count
            count += event == "line"
            return watch_lines

        count += 1
        return watch_lines

    sys.settrace(watch)
    try:
        redact(text)
    finally:
        sys.settrace(None)
    return count


_COMPARE = ("_as_digits", "<genexpr>")
