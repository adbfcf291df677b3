"""What benchmarks find is written down as it was found, and a comparison fails where a ratio has doubled."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from bench import against, harness, page
from bench.harness import Contestant, Goal


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(harness, "documents", [])
    one = Contestant("ours & <theirs>", lambda: None, [3000, 3000, 4000])
    other = Contestant("bare C", lambda: None, [1000, 1000, 2000])
    goals = [
        Goal(one.name, other.name, 1.5),
        Goal(one.name, other.name, 4.0, p99=True),
        Goal("absent", "bare C", 1),
    ]
    assert not harness.report("a question", [one, other], goals)
    assert "NOT MET" in capsys.readouterr().out
    (found,) = harness.documents
    return found


def test_a_missed_goal_says_by_how_much(document: dict[str, object]) -> None:
    text = page.tables([document])
    assert "| ours & <theirs> | 3 | 3 |" in text
    assert "missed, 2.0 times the goal" in text
    assert text.count("| met |") == 1


def test_the_plot_is_svg_whatever_contestants_are_called(document: dict[str, object]) -> None:
    root = ET.fromstring(page.plot([document]))
    assert root.tag.endswith("svg")
    assert len([each for each in root if each.tag.endswith("rect")]) == 2


def test_only_what_has_doubled_is_worse() -> None:
    before = {"a": 1.0, "b": 2.0, "gone": 1.0}
    assert against.worse(before, {"a": 1.99, "b": 4.0, "new": 9.0}) == ["b"]
