"""Versions, requirements and licences: three small grammars."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.package.requirement import parse_requirement
from mpp_exec.package.semver import Version
from mpp_exec.package.spdx import check_license
from mpp_exec.vocabulary import VocabularyError

# The order of SemVer 2.0.0 section 11, and what is before and after it.
ORDER = [
    "0.0.0-0",
    "0.0.0",
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.1.0",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0-1",
    "1.10.0-a",
    "1.10.0-a-",
    "1.10.0",
    "2.0.0",
    "10.0.0",
    "99999999999999999999.0.0",
]

NO_VERSIONS = [
    "",
    "1",
    "1.2",
    "1.2.3.4",
    "v1.2.3",
    "1.2.3 ",
    " 1.2.3",
    "1.2.3\n",
    "01.2.3",
    "1.02.3",
    "1.2.03",
    "-1.2.3",
    "1.2.x",
    "1.2.3-",
    "1.2.3+",
    "1.2.3-a..b",
    "1.2.3-01",
    "1.2.3-a.01",
    "1.2.3-ä",
    "1.2.3+a+b",
    "1.2.3-a_b",
    "\u0661.2.3",
    "1.2.3-" + "a" * 123,
]


def test_precedence() -> None:
    for (index, one), (other_index, other) in itertools.product(enumerate(ORDER), repeat=2):
        assert (Version(one) < Version(other)) == (index < other_index), (one, other)
        assert (Version(one) == Version(other)) == (index == other_index)
        assert (Version(one) >= Version(other)) == (index >= other_index)


def test_build_metadata_has_no_precedence() -> None:
    assert Version("1.0.0+a") == Version("1.0.0+b") == Version("1.0.0")
    assert hash(Version("1.0.0+a")) == hash(Version("1.0.0"))
    assert Version("1.0.0-rc.1+z") < Version("1.0.0+a")
    assert Version("1.0.0+a").text == "1.0.0+a"


@pytest.mark.parametrize("text", NO_VERSIONS, ids=ascii)
def test_no_versions(text: str) -> None:
    with pytest.raises(VocabularyError):
        Version(text)


numbers = st.integers(0, 12)
identifiers = st.sampled_from(["0", "1", "2", "10", "a", "b", "a1", "-", "rc"])
versions = st.builds(
    lambda core, pre: ".".join(map(str, core)) + (f"-{'.'.join(pre)}" if pre else ""),
    st.tuples(numbers, numbers, numbers),
    st.lists(identifiers, max_size=3),
)


@given(versions, versions, versions)
def test_a_total_order(one: str, two: str, three: str) -> None:
    a, b, c = Version(one), Version(two), Version(three)
    assert (a < b) + (a == b) + (b < a) == 1
    assert not (a < b < c) or a < c
    assert (a == b) == (one == two)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("python", "python"),
        ("python>=3.11", "python>=3.11"),
        (" python >= 3.11 ", "python>=3.11"),
        ("node>=20,<23", "node<23,>=20"),
        ("node<23,>=20,<23", "node<23,>=20"),
        ("ruby==3.*", "ruby==3.*"),
        ("perl!=5.36.1", "perl!=5.36.1"),
        ("lua~=5.4", "lua~=5.4"),
    ],
)
def test_requirements(text: str, canonical: str) -> None:
    assert str(parse_requirement(text)) == canonical
    assert parse_requirement(canonical) == parse_requirement(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ">=3.11",
        "cobol",
        "Python",
        "python3.11",
        "python 3.11",
        "python=3.11",
        "python>=",
        "python>=3.x",
        "python>=03",
        "python>=3.11rc1",
        "python>=3.11,",
        "python,>=3",
        "python>=3.*",
        "python~=3",
        "python===3.11",
        "python@3",
        "git",
        "python>=3;x",
        "python\n",
        "python>=" + "9" * 7,
        "python" + ",".join(f">={n}" for n in range(9)),
        "python==*",
    ],
    ids=ascii,
)
def test_no_requirements(text: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        parse_requirement(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "release", "allowed"),
    [
        ("python", (2, 7), True),
        ("python>=3.11", (3, 11), True),
        ("python>=3.11", (3, 11, 2), True),
        ("python>=3.11", (3, 10, 99), False),
        ("python>=3.11", (4,), True),
        ("python>=3.11.1", (3, 11), False),
        ("python>3.11", (3, 11, 0), False),
        ("python>3.11", (3, 11, 1), True),
        ("python<=3.11", (3, 11, 0), True),
        ("python<=3.11", (3, 11, 1), False),
        ("python<4", (3, 99), True),
        ("python<4", (4, 0), False),
        ("python==3.11", (3, 11, 0), True),
        ("python==3.11", (3, 11, 2), False),
        ("python==3.11.*", (3, 11, 2), True),
        ("python==3.11.*", (3, 1, 1), False),
        ("python==3.11.*", (3,), False),
        ("python!=3.11.*", (3, 11, 2), False),
        ("python!=3.11.*", (3, 12), True),
        ("python!=3.11", (3, 11, 0), False),
        ("python!=3.11", (3, 11, 1), True),
        ("python~=3.11", (3, 11), True),
        ("python~=3.11", (3, 99), True),
        ("python~=3.11", (4, 0), False),
        ("python~=3.11", (3, 10), False),
        ("python~=3.11.2", (3, 11, 9), True),
        ("python~=3.11.2", (3, 12), False),
        ("python>=3.11,<3.13", (3, 12, 1), True),
        ("python>=3.11,<3.13", (3, 13), False),
    ],
)
def test_which_releases_will_do(text: str, release: tuple[int, ...], *, allowed: bool) -> None:
    assert parse_requirement(text).allows(release) is allowed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIT",
        "Apache-2.0",
        "GPL-2.0+",
        "MIT OR Apache-2.0",
        "MIT AND (BSD-2-Clause OR ISC)",
        "((MIT))",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "MIT OR GPL-3.0-only WITH GCC-exception-3.1 AND ISC",
        "LicenseRef-acme",
        "DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2",
    ],
)
def test_licences(text: str) -> None:
    assert check_license(text) == text


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "MIT ",
        "Apache 2.0",
        "MIT OR",
        "OR MIT",
        "MIT or ISC",
        "(MIT",
        "MIT)",
        "()",
        "MIT OR (ISC",
        "MIT ISC",
        "MIT/ISC",
        "WITH x",
        "MIT WITH",
        "MIT WITH (x)",
        "MIT WITH a WITH b",
        "(MIT) WITH x",
        "MIT AND OR ISC",
        "MIT\n",
        "M\u0456T",
        "+MIT",
        "(" * 600,
        "MIT OR " * 100 + "MIT",
    ],
    ids=ascii,
)
def test_no_licences(text: str) -> None:
    with pytest.raises(VocabularyError):
        check_license(text)
