"""Text that arrives in pieces is redacted the same however it was cut, with a bounded part of it held."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.redact import Redactor, redact
from mpp_exec.privacy.rewriting import Rewriting
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


STRADDLING = {
    "a secret of Kubernetes": ('\nkind: Secret\ndata:\n  a: "zq1{n}Top!"\n  b: "zq2{n}Top!"\n', 2),
    "a name beside its value": ("\n- name: DB_PASSWORD\n  value: zq1{n}Top!\n", 1),
    "rows of a statement": (
        "INSERT INTO t (id, password) VALUES\n(1, 'zq1{n}Top!'),\n(2, 'zq2{n}Top!')\n",
        2,
    ),
}


@pytest.mark.parametrize("what", STRADDLING)
def test_what_announces_a_value_may_stand_on_the_other_side_of_the_end_of_a_block(what: str) -> None:
    """A block was read by itself: of each of these the values behind its end were handed over."""
    form, values = STRADDLING[what]
    for before in range(0, len(form) + 20, 3):
        start = ("words that say nothing\n" * 60)[: 1024 - before]
        text = start + form.format(n=before) + "words of it\n" * 120
        clean = streamed(text, [], 1024)
        assert "Top!" not in clean, before
        assert clean.count("[SECRET]") == redact(text).value.count("[SECRET]") >= values


@given(st.integers(0, 60), st.integers(0, 60), st.lists(st.integers(1, 9), max_size=6))
def test_a_part_of_what_is_written_is_that_part(start: int, length: int, gaps: list[int]) -> None:
    text = "".join(chr(0x100 + number) for number in range(60))
    spans, at = [], 0
    for gap in gaps:
        spans.append(Candidate("ssn", at + gap, at + gap + 3, 1.0, "x"))
        at += gap + 3
    rewriting = Rewriting(text, spans, ["[SSN]" if span.start % 2 else "" for span in spans])
    end = min(60, start + length)
    pieces = [each for each in spans if each.end > start and each.start < end]
    low = min([start, *(each.start for each in pieces)])
    high = max([end, *(each.end for each in pieces)])
    wanted = "".join(
        next(("[SSN]" if s.start % 2 else "" for s in pieces if s.start == at), "")
        + ("" if any(s.start <= at < s.end for s in pieces) else text[at])
        for at in range(low, high)
    )
    assert rewriting.part(start, end) == wanted
