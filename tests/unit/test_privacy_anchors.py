"""The one pass over a text: it finds every word and form where it stands, however the text is cut or long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.privacy import anchors, detect
from mpp_exec.privacy._anchors import ffi, lib
from mpp_exec.privacy.anchors import FORMS, Needle, Scanner

WORDS = ("he", "she", "his", "hers", "e", "password", "pass", "word", "ss")


def found(scanner: Scanner, text: str) -> list[tuple[int, int]]:
    return sorted(pair for flat in scanner.chunks(text) for pair in zip(flat[::2], flat[1::2], strict=True))


@given(
    st.lists(st.sampled_from([*WORDS, "h", "s", " ", "\u00e9", "\u4e2d", "PASS", "\0"]), max_size=20).map(
        "".join
    )
)
def test_every_word_is_found_everywhere_also_inside_others(text: str) -> None:
    words = found(Scanner([Needle(word) for word in WORDS]), text)
    lowered = text.lower()
    expected = [
        (at, FORMS + number)
        for number, word in enumerate(WORDS)
        for at in range(len(text))
        if lowered.startswith(word, at)
    ]
    assert [each for each in words if each[1] >= FORMS] == sorted(expected)


@given(st.text(max_size=60), st.integers(1, 7))
def test_a_scan_in_small_steps_finds_what_one_in_a_single_step_finds(text: str, step: int) -> None:
    scanner = detect._words().scanner
    data = text.encode("latin-1", "replace")
    scan, room = ffi.new("struct mpp_scan *"), 600
    places = ffi.new("struct mpp_anchor[]", room)
    pieces = []
    while scan.at < len(data):
        end = min(len(data), scan.at + step)
        count = lib.mpp_scan_text(
            scanner._automaton, ffi.from_buffer(data), len(data), end, scan, places, room
        )
        pieces += [(places[i].at, places[i].what) for i in range(count)]
    assert sorted(pieces) == found(scanner, text)


def test_a_full_room_loses_nothing() -> None:
    """There are more anchors than one call has room for."""
    text = "a@b " * 50_000
    assert len(found(Scanner(()), text)) == 50_000


MARKS = (anchors.form("LOOKALIKE"), anchors.form("CONTROL"))


@given(st.text("0123lIOo -./\r\n\0\x01\x1bab", max_size=80))
def test_marks_alone_are_those_of_the_whole_pass(text: str) -> None:
    marks = [pair for flat in anchors.marks(text) for pair in zip(flat[::2], flat[1::2], strict=True)]
    assert marks == [pair for pair in found(Scanner(()), text) if pair[1] in MARKS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[KEY] key", [6]),
        ("[A_KEY_B] [key] [KEY", [11, 17]),
        ("[KEY_] [_KEY] KEY] [K1KEY]", [1, 9, 14, 22]),
        (f"[{'K' * 15}KEY] [{'K' * 16}KEY]", [38]),
    ],
)
def test_a_word_of_a_mask_announces_nothing(text: str, expected: list[int]) -> None:
    assert [at for at, what in found(Scanner([Needle("key")]), text) if what == FORMS] == expected


@pytest.mark.parametrize(
    ("checks", "text", "expected"),
    [
        (anchors.CASE, "Key key", [4]),
        (anchors.WORD, "monkey aKey key akey \\nkey", [8, 12, 23]),
        (anchors.WHOLE, "keys key key2", [5, 9]),
        (anchors.START, "akey key 1key %3Dkey \\tkey", [5, 17, 23]),
        (anchors.DIGIT, "key1 key to success. " + "x" * 130 + "key 1", [151]),
        (anchors.DIGIT, "key [KEY] 1 key [no] 1", [12]),
        (anchors.COLON, 'key: key of= key name"= key! =', [0, 13]),
        (anchors.ASSIGN, "key=1 key_name: x 'key' => key is key abcdefgh", [0, 6, 19, 34]),
        (anchors.ROLE, 'key: a b\n"key": "ab", b\nkey=ab\nmy key: ab\nkey name: ab', [0, 34, 42]),
        (anchors.AT_SIGN, "key a@b key", [0]),
    ],
)
def test_what_has_to_stand_around_a_word(checks: int, text: str, expected: list[int]) -> None:
    assert [at for at, what in found(Scanner([Needle("key", checks)]), text) if what == FORMS] == expected


def test_words_that_end_alike_are_all_told_apart() -> None:
    needles = [Needle("key", anchors.CASE), Needle("KEY", anchors.CASE), Needle("key")]
    words = found(Scanner(needles), "key KEY Key")
    assert words == [(0, FORMS), (0, FORMS + 2), (4, FORMS + 1), (4, FORMS + 2), (8, FORMS + 2)]


@pytest.mark.parametrize("word", ["", "x" * (lib.MPP_NEEDLE_MAX + 1)])
def test_a_word_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="no words"):
        Scanner([Needle(word)])


@pytest.mark.parametrize("field", ["offset", "length", "twin"])
def test_words_that_lie_outside_of_their_memory_are_refused(field: str) -> None:
    scanner = Scanner([Needle("one"), Needle("two")])
    needles = ffi.new("struct mpp_needle[2]", [(0, 3, 0, 0, 0), (3, 3, 0, 0, 0)])
    setattr(needles[1], field, {"offset": 4, "length": 4, "twin": 2}[field])
    scanner._automaton.needles = needles
    assert lib.mpp_automaton_build(scanner._automaton, 6) == -1


@pytest.mark.parametrize("field", ["state_room", "next_room"])
def test_too_little_room_is_refused(field: str) -> None:
    scanner = Scanner([Needle("one"), Needle("two")])
    setattr(scanner._automaton, field, 6)
    assert lib.mpp_automaton_build(scanner._automaton, 6) == -1
