"""How much is found and how much is alarmed about: a floor on our own sample, and on the development data.

The development data is no part of the project. Where MPP_PRIVACY_DATA names its folder it is measured, and
these tests fail below the floor; elsewhere they are skipped.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import redaction_scores
from bench.redaction_scores import STRUCTURED

import privacy_samples

DATA = redaction_scores.folder()
needs_data = pytest.mark.skipif(
    DATA is None, reason=f"{redaction_scores.VARIABLE} names no folder with development data"
)


def _data() -> Path:
    assert DATA is not None
    assert (DATA / "pii.jsonl.gz").is_file(), f"{redaction_scores.VARIABLE} is set, and no data is there"
    return DATA


def test_everything_in_our_own_sample_is_found_and_rightly_named() -> None:
    scores = redaction_scores.score(privacy_samples.labelled())
    assert scores.missed == []
    assert {kind: each.named for kind, each in scores.kinds.items()} == {
        kind: each.labels for kind, each in scores.kinds.items()
    }
    assert scores.excess == 0


def test_nothing_is_found_in_our_own_harmless_sample() -> None:
    assert redaction_scores.score(privacy_samples.harmless()).alarmed == []


def test_every_secret_of_our_own_sample_is_found_and_no_harmless_line_is() -> None:
    scores = redaction_scores.score_lines(privacy_samples.lines())
    assert scores.missed == []
    assert scores.alarmed == []


@needs_data
def test_structured_kinds_of_the_development_data() -> None:
    plain = redaction_scores.score(row for row in redaction_scores.documents(_data()) if not row.adversarial)
    assert plain.recall(STRUCTURED) >= 0.97
    for kind in STRUCTURED:
        assert plain.kinds[kind].share >= 0.93, kind
    assert plain.excess <= 0.01


@needs_data
def test_adversarial_rows_of_the_development_data() -> None:
    rows = list(redaction_scores.documents(_data()))
    plain = redaction_scores.score(row for row in rows if not row.adversarial).recall(STRUCTURED)
    for how in ("unicode", "case", "delimiter", "homoglyph", "whitespace"):
        changed = redaction_scores.score(row for row in rows if row.adversarial == how)
        assert changed.recall(STRUCTURED) >= plain - 0.05, how


@needs_data
def test_harmless_documents_of_the_development_data() -> None:
    assert redaction_scores.score(redaction_scores.harmless(_data())).alarm_rate <= 0.03


@needs_data
def test_secrets_of_the_development_data() -> None:
    scores = redaction_scores.score_lines(redaction_scores.lines(_data()))
    assert scores.recall >= 0.90
    assert scores.recall_of_all >= 0.90
    assert scores.precision >= 0.90


def test_a_label_that_no_format_allows_is_declined_with_its_reason() -> None:
    assert "never issued" in redaction_scores.declined("666-12-3456", "ssn")
    assert "never issued" in redaction_scores.declined("123-00-3456", "ssn")
    assert "nobody" in redaction_scores.declined("127.0.0.1", "ip_address")
    assert redaction_scores.declined("241-55-8820", "ssn") == ""


def test_four_fifths_of_a_value_have_to_be_covered() -> None:
    text = "mail jane@example.com now"
    rows = [redaction_scores.Row(text, ((5, end, "email"),), "") for end in (21, 25)]
    scores = redaction_scores.score(rows)
    assert (scores.kinds["email"].labels, scores.kinds["email"].found) == (2, 2)
    short = redaction_scores.score([redaction_scores.Row(text, ((0, 25, "email"),), "")])
    assert short.kinds["email"].found == 0
