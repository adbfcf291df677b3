"""Control characters and the sequences of terminals between the characters of a value."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact

SECRET = "p@ss/word+1&x=Zq9"
VALUES = ["jane@example.com", "4111111111111111", "DE89370400440532013000", "AKIAIOSFODNN7EXAMPLE", SECRET]
CONTROLS = [*map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))), "\u2028", "\u2029"]
SEQUENCES = [
    "\x1b[0m",
    "\x1b[01;31m\x1b[K",
    "\x9b1m",
    "\x1b]8;;https://h.example\x07",
    "\x1b]0;title\x1b\\",
    "\x1b(B\x1b[m",
    "\x00\u200b",
]


@pytest.mark.parametrize("hidden", [*CONTROLS, *SEQUENCES], ids=ascii)
def test_control_characters_inside_a_value(hidden: str) -> None:
    for value in VALUES:
        for text in (hidden.join(value), value[:3] + hidden + value[3:]):
            for around in ("{}", "a {} b", "ж {} ж"):
                clean = redact({"x": [around.format(text)]}, secrets=[SECRET])
                assert clean.value["x"][0] in {around.format(f"[{kind}]") for kind in _kinds(value)}


# Punctuation that a value may have itself, and a control character behind it.
BEHIND = [
    ("jane@{}example.com", "[EMAIL]"),
    ("jane{}@{}example.{}com", "[EMAIL]"),
    ("203.{}0.113.9", "[IP_ADDRESS]"),
    ("4111-{}1111-1111-1111", "[CREDIT_CARD]"),
    ("+{}14155550123", "[PHONE]"),
    ("00:{}1b:44:11:3a:b7", "[MAC_ADDRESS]"),
]


@pytest.mark.parametrize("hidden", ["\x01", "\0", "\x1b[31m", "\x7f"], ids=ascii)
@pytest.mark.parametrize(("written", "mask"), BEHIND)
def test_a_control_character_behind_the_punctuation_of_a_value(written: str, mask: str, hidden: str) -> None:
    text = written.replace("{}", hidden)
    assert redact(f"a {text} b").value == f"a {mask} b"
    assert redact({"x": [text]}).value == {"x": [mask]}


def _kinds(value: str) -> tuple[str, ...]:
    # The number in an IBAN with an invisible character behind its country may read as something else, too.
    return ("EMAIL", "CREDIT_CARD", "IBAN", "SECRET") if value != SECRET else ("SECRET",)


def test_a_match_that_a_search_tool_has_coloured() -> None:
    line = "file.txt:\x1b[mjane.doe\x1b[01;31m\x1b[K@\x1b[m\x1b[Kacme.example.com"
    assert "jane" not in redact(line).value


def test_utf_16_that_was_read_as_bytes() -> None:
    text = f"mail {VALUES[0]}, card {VALUES[1]}".encode("utf-16-le").decode("latin-1")
    clean = redact(text)
    assert clean.counts() == {"credit_card": 1, "email": 1}


def test_a_page_of_a_manual() -> None:
    for text in ("".join(f"{c}\b{c}" for c in VALUES[1]), "".join(f"_\b{c}" for c in VALUES[1])):
        clean = redact(f"x {text} y").value
        assert clean.removeprefix(f"x {text[0]}\b").removeprefix("x ") == "[CREDIT_CARD] y"


def test_a_name_and_its_value_in_colours() -> None:
    assert "hunter22x" not in redact("\x1b[33mpassword\x1b[0m=\x1b[32mhunter22x\x1b[0m").value


def test_a_control_character_in_front_of_a_value_still_separates() -> None:
    """Taken out, it leaves x4111…; left in, it is the separator that it is."""
    assert redact("x\x0b4111111111111111").value == "x\x0b[CREDIT_CARD]"


def test_a_value_over_the_end_of_another_string() -> None:
    """A NUL and a line feed are between strings that are read together."""
    assert redact(["jane@exam\0", "\nple.com", "4111\0", "111111111111"]).findings == ()


def test_lines_tabs_and_colours_alone_are_no_finding() -> None:
    texts = [
        "a\tb\r\nc\r\n",
        "10%\r20%\r30%\r",
        "\x1b[1mbold\x1b[0m and \x1b[31mred\x1b[0m",
        "\0\0\0",
        "\x1b",
        "\x1b[",
    ]
    clean = redact(texts)
    assert clean.findings == ()
    assert clean.value is texts
