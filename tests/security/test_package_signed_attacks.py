"""The author of a rightly signed package is the attacker: what is signed is not believed either."""

from __future__ import annotations

from pathlib import Path

import pytest

import forge
from attacks import VALUE, Attack, assert_refused, signed_bytes, signed_paths, signed_table, signed_value
from mpp_exec.encoding import dumps
from mpp_exec.package.limits import LIMITS


def many(item: bytes) -> bytes:
    """Return a map with a list of as many *item* as a manifest has room for."""
    count = (LIMITS.manifest - 4096) // len(item)
    return b"\xa1\x61z\x9a" + count.to_bytes(4, "big") + item * count


SIGNED = [
    Attack(
        "an unknown manifest version", "manifest.unknown_version", lambda: signed_value(manifest_version=2)
    ),
    Attack(
        "a manifest version that is true",
        "manifest.unknown_version",
        lambda: signed_value(manifest_version=True),
    ),
    Attack("an unknown key", "manifest.unknown_key", lambda: signed_value(surprise=1)),
    Attack(
        "a missing key",
        "manifest.missing_key",
        lambda: forge.pack(
            forge.raw_members(
                forge.sign({key: VALUE[key] for key in VALUE if key != "limits"}), forge.PYTHON_FILES
            )
        ),
    ),
    Attack("a manifest that is a list", "manifest.wrong_type", lambda: signed_bytes(dumps([1, 2]))),
    Attack("an empty manifest", "cbor.truncated", lambda: signed_bytes(b"")),
    Attack("keys out of order", "cbor.non_canonical", lambda: signed_bytes(b"\xa2\x61b\x00\x61a\x00")),
    Attack("a key twice", "cbor.duplicate_key", lambda: signed_bytes(b"\xa2\x61a\x00\x61a\x00")),
    Attack("a map of indefinite length", "cbor.indefinite", lambda: signed_bytes(b"\xbf\x61a\x00\xff")),
    Attack("a text of indefinite length", "cbor.indefinite", lambda: signed_bytes(b"\xa1\x61a\x7f\x61x\xff")),
    Attack("an integer longer than needed", "cbor.non_canonical", lambda: signed_bytes(b"\xa1\x61a\x18\x01")),
    Attack("a tag", "cbor.forbidden_type", lambda: signed_bytes(b"\xa1\x61a\xc0\x60")),
    Attack(
        "a tag that compiles a regular expression",
        "cbor.forbidden_type",
        lambda: signed_bytes(b"\xa1\x61a\xd8\x23\x61("),
    ),
    Attack("a bomb of nesting", "cbor.too_deep", lambda: signed_bytes(b"\x81" * 100_000 + b"\0")),
    Attack("a bomb of numbers", "cbor.too_many", lambda: signed_bytes(many(b"\x01"))),
    Attack("a bomb of empty lists", "cbor.too_many", lambda: signed_bytes(many(b"\x80"))),
    Attack("a bomb of small maps", "cbor.too_many", lambda: signed_bytes(many(b"\xa1\x61a\x01"))),
    Attack("bytes behind the manifest", "cbor.trailing", lambda: signed_bytes(dumps(VALUE) + b"\0")),
    Attack("a text that is not UTF-8", "cbor.invalid_text", lambda: signed_bytes(b"\xa1\x61a\x61\xff")),
    Attack("a map said to be huge", "cbor.truncated", lambda: signed_bytes(b"\xbb" + b"\x7f" * 8)),
    Attack("a floating NaN", "cbor.forbidden_type", lambda: signed_bytes(b"\xa1\x61a\xf9\x7e\x00")),
    Attack("an absolute path", "package.absolute_path", lambda: signed_paths("/etc/cron.d/x")),
    Attack("a path that climbs", "package.parent_path", lambda: signed_paths("../x")),
    Attack("a path that climbs in the middle", "package.parent_path", lambda: signed_paths("a/../../x")),
    Attack("a backslash", "package.backslash", lambda: signed_paths("a\\b")),
    Attack("a NUL", "package.nul", lambda: signed_paths("a\0b")),
    Attack("a name not in NFC", "package.not_nfc", lambda: signed_paths("e\u0301")),
    Attack("names that differ in case", "package.case_collision", lambda: signed_paths("A", "a")),
    Attack("folders that differ in case", "package.case_collision", lambda: signed_paths("A/x", "a/y")),
    Attack("a file that is a folder too", "package.bad_path", lambda: signed_paths("a", "a/b")),
    Attack("an empty part", "package.bad_path", lambda: signed_paths("a//b")),
    Attack("a dot", "package.bad_path", lambda: signed_paths("./b")),
    Attack("an invisible character", "package.bad_path", lambda: signed_paths("a\u200bb")),
    Attack("a path far too long", "package.path_too_long", lambda: signed_paths("/".join(["x" * 200] * 6))),
    Attack(
        "a file in the manifest's name", "package.duplicate_member", lambda: signed_paths("manifest.cose")
    ),
    Attack(
        "a file in the manifest's name in another case",
        "package.case_collision",
        lambda: signed_paths("Manifest.cose"),
    ),
    Attack(
        "a row twice", "package.duplicate_member", lambda: signed_table(lambda rows: rows.append(rows[-1]))
    ),
    Attack("rows out of order", "manifest.not_sorted", lambda: signed_table(lambda rows: rows.reverse())),
    Attack(
        "a negative size",
        "manifest.out_of_range",
        lambda: signed_table(lambda rows: rows[0].__setitem__(1, -1)),
    ),
    Attack(
        "a size beyond all bounds",
        "manifest.out_of_range",
        lambda: signed_table(lambda rows: rows[0].__setitem__(1, 1 << 63)),
    ),
    Attack(
        "a short digest",
        "manifest.bad_value",
        lambda: signed_table(lambda rows: rows[0].__setitem__(2, b"x")),
    ),
    Attack(
        "a description that turns right to left",
        "manifest.forbidden_character",
        lambda: forge.package("python", description="a\u202eb"),
    ),
    Attack(
        "a schema with a remote reference",
        "schema.remote_ref",
        lambda: forge.package(
            "python", tools=(forge.tool(input_schema={"type": "object", "$ref": "https://x.test/s"}),)
        ),
    ),
    Attack(
        "a schema that is no schema",
        "schema.invalid",
        lambda: forge.package("python", tools=(forge.tool(input_schema={"type": "object", "required": 1}),)),
    ),
]


@pytest.mark.parametrize("attack", [*SIGNED], ids=lambda attack: attack.name)
def test_refused_with_its_code_and_nothing_left_behind(attack: Attack, tmp_path: Path) -> None:
    assert_refused(attack, tmp_path)
