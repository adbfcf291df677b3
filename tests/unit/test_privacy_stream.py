"""Text that arrives in pieces is redacted the same however it was cut, with a bounded part of it held."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_exec.privacy.redact import Redactor, redact
from mpp_exec.privacy.stream import StreamRedactor

KEY_LINES = [base64.b64encode(bytes(range(start, start + 48))).decode() for start in range(0, 192, 24)]
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *KEY_LINES, "-----END PRIVATE KEY-----"])
PIECES = [
    "mail jane@example.com", "4111 1111 1111 1111", "password:\n  kettle-91!x", "name,ssn,phone", "\n",
    "\n\n", " ",
    "Ada Lovelace,241558820,2125550123", "plain words that say nothing at all", KEY, "AKIAIOSFODNN7EXAMPLE",
    "x" * 40, "203.0.113.9", "DOB: 1991-11-30", "\u4e2d\u6587", "caf\u00e9", "\U0001f600",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=120).map("".join)


def streamed(text: str, cuts: list[int], block: int) -> str:
    stream = StreamRedactor(Redactor, block=block)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return "".join([*(stream.feed(text[low:high]) for low, high in pairwise(edges)), stream.finish()])


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.integers(0, 10_000), max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_how_a_text_is_cut_does_not_matter(text: str, one: list[int], other: list[int]) -> None:
    assert streamed(text, one, 512) == streamed(text, other, 512) == streamed(text, [], 512)


@given(texts, st.lists(st.integers(0, 10_000), max_size=6))
def test_a_text_of_one_block_is_redacted_as_a_whole(text: str, cuts: list[int]) -> None:
    assert streamed(text, cuts, 1 << 20) == redact(text).value


def test_a_value_is_not_cut_in_two_wherever_the_block_ends() -> None:
    for value in ("jane@example.com", "4111 1111 1111 1111", "password: kettle-91!x", KEY):
        for before in range(3500, 4200, 7):
            text = "-" * 60 + "\n" * (before % 2) + " " * before + value + "\n" + "words " * 700
            clean = streamed(text, [], 4096)
            assert "[" in clean
            assert value.split()[-1] not in clean
            assert not any(line in clean for line in KEY_LINES)


def test_rows_of_a_long_table_know_its_header() -> None:
    text = "id,full_name,ssn\n" + "".join(f"{n},Ada Lovelace,24155{n:04}\n" for n in range(2000))
    clean = streamed(text, [5, 700], 4096)
    assert clean.count("[PERSON],[SSN]") == 2000
    assert clean.startswith("id,full_name,ssn\n0,")


def test_a_value_that_was_announced_is_known_in_later_blocks() -> None:
    text = "username: kettledrum91\n" + "words and words\n" * 1000 + "by kettledrum91\n"
    assert "kettledrum91" not in streamed(text, [], 4096)


def test_no_more_is_held_than_a_block_and_a_look_behind_it() -> None:
    stream = StreamRedactor(Redactor, block=4096)
    for _ in range(200):
        stream.feed("words and words and words\n" * 40)
        assert stream._length <= 4096 + 1024 + 1040


def test_counts_are_those_of_the_whole_text() -> None:
    stream = StreamRedactor(Redactor, block=4096)
    text = "".join(f"{n} jane{n}@example.com and words\n" for n in range(1000))
    stream.feed(text)
    stream.finish()
    assert stream.counts == {"email": 1000}


@pytest.mark.parametrize("first", range(0, 60, 7))
def test_values_that_stand_close_to_each_other_in_one_line_are_not_cut(first: int) -> None:
    """The end of a block was looked for in front of where values are known, and cut one in two."""
    text = "x" * first + " " + ", ".join(f'"mail{n}": "jane{n}@example.com"' for n in range(600))
    stream = StreamRedactor(Redactor, block=2048)
    assert "@" not in stream.feed(text) + stream.finish()
