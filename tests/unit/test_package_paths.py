"""What a file in a package may be called: one code for each way of being wrong."""

from __future__ import annotations

import pytest

from mpp_exec.errors import PackageError
from mpp_exec.package.limits import ArchiveLimits
from mpp_exec.package.paths import check_path, check_table, sort_key


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a.py",
        "a/b/c",
        ".hidden",
        "a b",
        "..a",
        "a..",
        "...",
        "Grüße/ñ",
        "日本語",
        "😀",
        "-",
        "a:b",
        "~",
        "x" * 255,
    ],
)
def test_plain_paths_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a\0b", "nul"),
        ("a\\b", "backslash"),
        ("..\\b", "backslash"),
        ("/a", "absolute_path"),
        ("//a", "absolute_path"),
        ("..", "parent_path"),
        ("a/../b", "parent_path"),
        ("a/..", "parent_path"),
        ("", "bad_path"),
        (".", "bad_path"),
        ("./a", "bad_path"),
        ("a/.", "bad_path"),
        ("a//b", "bad_path"),
        ("a/", "bad_path"),
        ("a\nb", "bad_path"),
        ("a\x1b[2Jb", "bad_path"),
        ("a\x7f", "bad_path"),
        ("a\u202eb", "bad_path"),
        ("a\u200bb", "bad_path"),
        ("a\U000e0041", "bad_path"),
        ("a\u2028b", "bad_path"),
        ("a\udcffb", "bad_path"),
        ("e\u0301", "not_nfc"),
        ("\u212b", "not_nfc"),
        ("x" * 256, "path_too_long"),
        ("é" * 128, "path_too_long"),
        ("/".join(["x" * 204] * 5 + ["x"]), "path_too_long"),
        ("/".join("x" * 33), "path_too_long"),
    ],
)
def test_each_bad_path_has_its_code(path: str, reason: str) -> None:
    with pytest.raises(PackageError) as error:
        check_path(path)
    assert error.value.code == f"package.{reason}"
    assert error.value.hint


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["a", "a"], "duplicate_member"),
        (["manifest.cose"], "duplicate_member"),
        (["Manifest.COSE"], "case_collision"),
        (["manifest.cose/x"], "bad_path"),
        (["README", "readme"], "case_collision"),
        (["A/x", "a/y"], "case_collision"),
        (["x/A/b", "x/a/b"], "case_collision"),
        (["a", "A/b"], "case_collision"),
        (["straße", "STRASSE"], "case_collision"),
        (["\u017f", "s"], "case_collision"),
        (["\u1e9e", "ss"], "case_collision"),
        (["K", "\u212a"], "not_nfc"),
        (["a", "a/b"], "bad_path"),
        (["a/b", "a"], "bad_path"),
        (["a/b/c", "a/b"], "bad_path"),
        (["ok", "../up"], "parent_path"),
    ],
)
def test_paths_that_cannot_stand_side_by_side(paths: list[str], reason: str) -> None:
    with pytest.raises(PackageError) as error:
        check_table(paths)
    assert error.value.code == f"package.{reason}"


def test_folders_may_be_shared() -> None:
    check_table(["a/b", "a/c", "a/d/e", "a/d/f", "ab", "a.b"])


def test_too_many_files_are_refused() -> None:
    limits = ArchiveLimits(members=2)
    check_table(["a", "b"], limits)
    with pytest.raises(PackageError) as error:
        check_table(["a", "b", "c"], limits)
    assert error.value.code == "package.too_large"


def test_paths_sort_by_their_bytes() -> None:
    assert sorted(["é", "z", "a/b", "a.b", "\uffee", "😀"], key=sort_key) == [
        "a.b",
        "a/b",
        "z",
        "é",
        "\uffee",
        "😀",
    ]


def test_a_long_path_is_shown_short() -> None:
    with pytest.raises(PackageError) as error:
        check_path("../" + "x" * 100_000)
    assert len(error.value.message) < 300
