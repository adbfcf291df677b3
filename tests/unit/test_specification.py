"""SPECIFICATION.md names only tests that exist, and every promise names some or says what is pending."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SPECIFICATION.md").read_text(encoding="utf-8")
PROMISES = re.split(r"^## \d+\. ", TEXT, flags=re.MULTILINE)[1:]


def test_there_are_ten_promises() -> None:
    assert len(PROMISES) == 10


def test_every_named_test_exists_and_holds_tests() -> None:
    named = set(re.findall(r"tests/[a-z_/]+\.py", TEXT))
    assert len(named) > 20
    for name in named:
        assert "def test" in (ROOT / name).read_text(encoding="utf-8"), name


def test_every_promise_is_proven_or_pending() -> None:
    for promise in PROMISES:
        assert "tests/" in promise or "*Pending*" in promise, promise.splitlines()[0]
