"""Look-alikes become ASCII at the same offset; invisible characters go, and leave a way back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.privacy import fold


def test_every_decimal_digit_is_spelled_in_ascii() -> None:
    """A newer Unicode in the Python that runs this is how one learns that the table needs a line."""
    unknown = [
        chr(point)
        for point in range(0x80, 0x110000)
        if unicodedata.category(chr(point)) == "Nd"
        and fold.spelled(chr(point)) != str(unicodedata.decimal(chr(point)))
    ]
    assert unknown == []


def test_full_width_forms_are_what_nfkc_makes_of_them() -> None:
    for point in range(0xFF01, 0xFF5F):
        assert fold.spelled(chr(point)) == unicodedata.normalize("NFKC", chr(point))


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        ("\uff11\uff12\uff13", "123"),
        ("jane\uff20example\uff0ecom", "jane@example.com"),
        ("4111\u00a01111\u202f1111\u20101111", "4111 1111 1111-1111"),
        ("\u0664\u0661", "41"),
        ("\U0001d7d2\U0001d7cf", "41"),
        ("\U0001d423\U0001d41a\U0001d427\U0001d41e", "jane"),
        ("Größe é 中文", "Größe é 中文"),
        ("\ud800", "\ud800"),
    ],
)
def test_look_alikes_are_spelled_in_ascii(written: str, spelling: str) -> None:
    assert fold.spelled(written) == spelling


def test_many_different_look_alikes_take_the_other_path_to_the_same_result() -> None:
    upper = "".join(map(chr, range(0xFF21, 0xFF3B)))
    assert fold.spelled(upper) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@given(st.text())
def test_spelling_keeps_the_length(text: str) -> None:
    assert len(fold.spelled(text)) == len(text)


@given(st.lists(st.tuples(st.characters(codec="ascii"), st.sampled_from(["", "\u200b", "\u0301\u2060"]))))
def test_every_code_point_that_stays_is_found_where_it_was(pairs: list[tuple[str, str]]) -> None:
    text = "".join(before + character for character, before in pairs)
    shortened = fold.without_invisible(text)
    if shortened is None:
        assert "\u200b" not in text
        assert "\u0301" not in text
        return
    shorter, offsets = shortened
    assert shorter == "".join(character for character, _ in pairs)
    assert [text[offsets.original(index)] for index in range(len(shorter))] == list(shorter)


def test_plain_text_has_nothing_invisible() -> None:
    assert fold.without_invisible("Größe") is None
