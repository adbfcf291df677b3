"""The words of permissions and limits: what a person may write, and the one form it becomes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpp_exec.characters import forbidden_character
from mpp_exec.vocabulary import (
    HostPort,
    VocabularyError,
    format_duration,
    format_size,
    parse_duration,
    parse_env_name,
    parse_host_port,
    parse_kind,
    parse_path,
    parse_program,
    parse_size,
    path_placeholder,
)

SIZES = [
    ("0B", 0),
    ("1B", 1),
    ("16MiB", 16 << 20),
    ("1023KiB", 1023 << 10),
    ("2TiB", 2 << 40),
    ("4 GiB", 4 << 30),
]
DURATIONS = [("250ms", 250), ("10s", 10_000), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000)]

DESTINATIONS = [
    ("api.example.com:443", "api.example.com:443"),
    ("API.Example.COM:443", "api.example.com:443"),
    ("example.com.:80", "example.com:80"),
    ("*.Example.com:443", "*.example.com:443"),
    ("localhost:8080", "localhost:8080"),
    ("a-b.c1:1", "a-b.c1:1"),
    ("127.0.0.1:65535", "127.0.0.1:65535"),
    ("[::1]:443", "[::1]:443"),
    ("[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443"),
    ("[2001:db8::0:1]:443", "[2001:db8::1]:443"),
    ("bücher.example:443", "xn--bcher-kva.example:443"),
    ("BÜCHER.example:443", "xn--bcher-kva.example:443"),
    ("*.bücher.example:443", "*.xn--bcher-kva.example:443"),
    (unicodedata.normalize("NFD", "bücher.example:443"), "xn--bcher-kva.example:443"),
    ("XN--BCHER-KVA.example:443", "xn--bcher-kva.example:443"),
    ("例え.テスト:443", "xn--r8jz45g.xn--zckzah:443"),
]

NO_DESTINATIONS = [
    "",
    "example.com",
    ":443",
    "example.com:",
    "example.com:0",
    "example.com:65536",
    "example.com:0443",
    "example.com:+443",
    "example.com:\uff14\uff14\uff13",
    "example.com:443 ",
    " example.com:443",
    "exa mple.com:443",
    "https://example.com:443",
    "https://example.com",
    "example.com:443/path",
    "user@example.com:443",
    "example.com\0.evil.org:443",
    "example.com\n:443",
    "exam\u200bple.com:443",
    "example\u3002com:443",
    "example.com..:443",
    ".example.com:443",
    "a..b:443",
    "-a.example:443",
    "a-.example:443",
    "a_b.example:443",
    "a" * 64 + ".example:443",
    ".".join(["a" * 60] * 5) + ":443",
    "*:443",
    "*.com:443",
    "*.:443",
    "*:*",
    "example.com:*",
    "a.*.com:443",
    "*a.example.com:443",
    "**.example.com:443",
    "*.*.example.com:443",
    "*.1.2.3:443",
    "*.127.0.0.1:443",
    "127.1:80",
    "2130706433:80",
    "0x7f.0.0.1:80",
    "0x7f000001:80",
    "0177.0.0.1:80",
    "127.0.0.1.:08",
    "1.2.3.4.5:80",
    "256.1.1.1:80",
    "example.123:80",
    "::1:443",
    "[::1]443",
    "[::1:443",
    "[::ffff:127.0.0.1]:80",
    "[::ffff:7f00:1]:80",
    "[fe80::1%eth0]:80",
    "[fe80::1%25eth0]:80",
    "[::g]:80",
    "[]:80",
    "straße.example:443",
    "ςας.example:443",
    "a\u00adb.example:443",
    "\uff45xample\uff0ecom:443",
    "\ud800.example:443",
]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "milliseconds"), DURATIONS)
def test_durations(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "16",
        "16MB",
        "16mib",
        "1.5GiB",
        "-1MiB",
        "016MiB",
        "MiB",
        "\uff11MiB",
        "1MiB ",
        "1e3B",
        "9" * 16 + "B",
    ],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        parse_size(text)
    assert "MiB" in caught.value.hint


@pytest.mark.parametrize("text", ["", "10", "10 sec", "1d", "0.5s", "-1s", "10S", "1s1ms", "01s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(VocabularyError):
        parse_duration(text)


@given(st.integers(0, 1 << 48))
def test_sizes_and_durations_are_written_as_they_are_read(quantity: int) -> None:
    assert parse_size(format_size(quantity)) == quantity
    assert parse_duration(format_duration(quantity)) == quantity


@pytest.mark.parametrize(("text", "canonical"), DESTINATIONS)
def test_destinations(text: str, canonical: str) -> None:
    assert str(parse_host_port(text)) == canonical
    assert parse_host_port(canonical) == parse_host_port(text)


@pytest.mark.parametrize("text", NO_DESTINATIONS, ids=ascii)
def test_no_destinations(text: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        parse_host_port(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://example.com", "is a URL or path"),
        ("example.com:443/x", "is a URL or path"),
        ("*:443", "any host cannot be asked for"),
        ("a.*.com:443", "has a wildcard inside"),
        ("example.com", "has no port"),
        ("*.com:443", "is too wide"),
    ],
)
def test_frequent_mistakes_are_told_apart(text: str, message: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        parse_host_port(text)
    assert message in caught.value.message


@given(st.text(max_size=40) | st.from_regex(r"[a-zA-Z0-9.*-]{1,30}:[0-9]{1,5}", fullmatch=True))
def test_a_destination_has_one_spelling(text: str) -> None:
    try:
        destination = parse_host_port(text)
    except VocabularyError:
        return
    assert parse_host_port(str(destination)) == destination
    assert str(destination).isascii()
    assert str(destination) == str(destination).lower()


def test_what_a_wildcard_covers() -> None:
    wide = parse_host_port("*.example.com:443")
    for covered in ("a.example.com:443", "a.b.example.com:443", "*.a.example.com:443", "*.example.com:443"):
        assert wide.covers(parse_host_port(covered)), covered
    for other in (
        "example.com:443",
        "a.example.com:80",
        "badexample.com:443",
        "a.example.com.evil.org:443",
        "*.com.example:443",
        "127.0.0.1:443",
        "[::1]:443",
    ):
        assert not wide.covers(parse_host_port(other)), other
    assert not parse_host_port("a.example.com:443").covers(wide)


def test_an_ipv6_destination_is_written_in_brackets() -> None:
    assert str(HostPort("2001:db8::1", 443)) == "[2001:db8::1]:443"


@pytest.mark.parametrize("name", ["TZ", "API_KEY", "_x", "http_proxy", "LC_ALL", "SSL_CERT_FILE", "NODE_ENV"])
def test_variables(name: str) -> None:
    assert parse_env_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1A",
        "A-B",
        "A=B",
        "A B",
        "Ä",
        "A\0",
        "A\n",
        "A" * 129,
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "MPP_STORAGE",
        "MPP_X",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "ld_preload",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "MALLOC_CHECK_",
        "LOCPATH",
        "RES_OPTIONS",
        "HOSTALIASES",
        "TZDIR",
    ],
)
def test_variables_nobody_may_set(name: str) -> None:
    for constant in (False, True):
        with pytest.raises(VocabularyError):
            parse_env_name(name, constant=constant)


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONSTARTUP", "NODE_OPTIONS", "PERL5LIB", "RUBYOPT", "BASH_ENV", "ENV"]
)
def test_variables_that_name_code_are_for_signed_constants_only(name: str) -> None:
    assert parse_env_name(name, constant=True) == name
    with pytest.raises(VocabularyError):
        parse_env_name(name)


def test_programs_are_bare_names() -> None:
    for name in ("git", "g++", "python3.11", "clang-format-16"):
        assert parse_program(name) == name
    for name in ("", "/usr/bin/git", "./git", "..", "-c", "git status", "git;rm", "git\n", "gït", "a" * 65):
        with pytest.raises(VocabularyError):
            parse_program(name)


def test_kinds_of_data() -> None:
    assert parse_kind("credit_card") == "credit_card"
    for text in ("", "Email", "e-mail", "1x", "a" * 33, "e\n"):
        with pytest.raises(VocabularyError):
            parse_kind(text)


PATHS = [
    ("/", "/"),
    ("//", "/"),
    ("/a", "/a"),
    ("/a/", "/a"),
    ("//a///b/./c/.", "/a/b/c"),
    ("/a..b/...", "/a..b/..."),
    ("/ä ö/ü", "/ä ö/ü"),
    ("${user_config.dir}", "${user_config.dir}"),
    ("${user_config.dir}/", "${user_config.dir}"),
    ("${user_config.dir}//a/./b", "${user_config.dir}/a/b"),
]


@pytest.mark.parametrize(("text", "canonical"), PATHS)
def test_paths(text: str, canonical: str) -> None:
    assert parse_path(text, placeholder=True) == canonical
    assert parse_path(canonical, placeholder=True) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a",
        "a/b",
        "./a",
        "~",
        "~/a",
        "/..",
        "/a/../b",
        "/a/..",
        "${user_config.dir}/../x",
        "/a\0b",
        "/a\nb",
        "/a\u202eb",
        "/a\u200bb",
        "/\ud800",
        "/${user_config.dir}",
        "/a/${storage}",
        "${user_config.dir}x",
        "${storage}",
        "${user_config.}",
        "${user_config.a.b}",
        "${user_config.a}${user_config.b}",
        "$HOME",
        "/" + "a" * 4095,
    ],
    ids=ascii,
)
def test_no_paths(text: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        parse_path(text, placeholder=True)
    assert caught.value.hint


def test_a_placeholder_only_where_it_is_asked_for() -> None:
    with pytest.raises(VocabularyError):
        parse_path("${user_config.dir}")
    assert path_placeholder("${user_config.data-dir}/x") == "data-dir"
    assert path_placeholder("/x") == ""


@given(st.text(alphabet="/.a$", max_size=12))
def test_a_path_has_one_spelling_and_never_goes_up(text: str) -> None:
    try:
        path = parse_path(text)
    except VocabularyError:
        return
    assert parse_path(path) == path
    assert ".." not in path.split("/")


@pytest.mark.parametrize(
    "character",
    [
        "\0",
        "\t",
        "\n",
        "\r",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\u00ad",
        "\u034f",
        "\u061c",
        "\u115f",
        "\u180e",
        "\u200b",
        "\u200d",
        "\u200e",
        "\u200f",
        "\u2028",
        "\u2029",
        "\u202a",
        "\u202e",
        "\u2060",
        "\u2066",
        "\u2069",
        "\u3164",
        "\ufe0f",
        "\ufeff",
        "\uffa0",
        "\ufff9",
        "\U000e0001",
        "\U000e0041",
        "\U000e007f",
        "\U000e0100",
        "\ud800",
        "\uffff",
        "\u2800",
    ],
    ids=ascii,
)
def test_characters_nobody_sees_are_forbidden(character: str) -> None:
    assert forbidden_character(f"a{character}b") == f"U+{ord(character):04X}"


@given(st.characters())
def test_every_character_that_unicode_calls_a_control_or_invisible_is_forbidden(character: str) -> None:
    """The table is fixed so that every version of Python refuses the same; it must not fall behind."""
    category = unicodedata.category(character)
    visible_formats = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    assume(character not in visible_formats and not 0x13430 <= ord(character) <= 0x1345F)
    if category in {"Cc", "Cf", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(character) in {
        "LRE",
        "RLE",
        "PDF",
        "LRO",
        "RLO",
    }:
        assert forbidden_character(character)


@given(
    st.text(
        alphabet=st.characters(
            categories=["L", "N", "P", "Sm", "Sc", "Zs"], exclude_characters="\u115f\u1160\u3164\uffa0"
        )
    )
)
def test_visible_text_passes(text: str) -> None:
    assert not forbidden_character(text)


def test_line_breaks_pass_where_text_is_only_shown_escaped() -> None:
    assert not forbidden_character("a\tb\r\n", allow_line_breaks=True)
    assert forbidden_character("a\n\x1b", allow_line_breaks=True) == "U+001B"
