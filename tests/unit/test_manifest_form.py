"""The signed map: a function of what the manifest means, and read back only if it is exactly that."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cddl_verifier import Validator

from manifest_samples import FULL, PYTHON
from mpp_exec.encoding import dumps, loads
from mpp_exec.errors import PackageError
from mpp_exec.package import canonical
from mpp_exec.package.manifest import MANIFEST_DEPTH, Draft, Manifest, Tool, default_confirm
from mpp_exec.package.rules_permissions import LIMIT_RANGES

SIZE = 1 << 24
CDDL = Path(__file__).parents[2] / "docs" / "manifest.cddl"


def refusal(value: Any) -> PackageError:
    with pytest.raises(PackageError) as caught:
        canonical.from_value(value)
    assert caught.value.hint
    return caught.value


def maps(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every map of a manifest whose keys the format decides, with its path."""
    if isinstance(value, dict):
        if where not in ("user_config", "runtime.env"):
            yield where, value
        for key, inner in value.items():
            if key not in ("inputSchema", "outputSchema"):
                yield from maps(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from maps(inner, f"{where}[{index}]")


def every_key() -> list[tuple[str, str]]:
    return [(where, key) for where, table in maps(canonical.to_value(FULL)) for key in table]


def at(value: Any, where: str) -> Any:
    for name, index in re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", where):
        value = value[name]
        if index:
            value = value[int(index)]
    return value


@pytest.mark.parametrize("manifest", [FULL, PYTHON], ids=["exec", "python"])
def test_round_trip_through_bytes(manifest: Manifest) -> None:
    data = dumps(canonical.to_value(manifest))
    read = canonical.from_value(loads(data, max_size=SIZE, max_depth=MANIFEST_DEPTH))
    assert read == manifest
    assert dumps(canonical.to_value(read)) == data


def test_every_default_is_written_out() -> None:
    """Nothing of what is signed depends on what a later version takes for granted."""
    few, all_of_it = canonical.to_value(PYTHON), canonical.to_value(FULL)
    assert few.keys() == all_of_it.keys()
    assert few["limits"].keys() == all_of_it["limits"].keys()
    assert few["tools"][0].keys() == all_of_it["tools"][0].keys()
    assert few["tools"][0]["confirm"] == "never"
    assert few["permissions"] == {
        "network": [],
        "environment": [],
        "subprocess": [],
        "storage": 0,
        "filesystem": {"read": [], "write": []},
    }


@pytest.mark.parametrize(("where", "key"), every_key())
def test_every_key_is_required_and_has_one_type(where: str, key: str) -> None:
    path = f"{where}.{key}" if where else key
    value = canonical.to_value(FULL)
    original = at(value, where)[key] if where else value[key]

    missing = copy.deepcopy(value)
    del (at(missing, where) if where else missing)[key]
    error = refusal(missing)
    if key == "manifest_version":
        assert error.code == "manifest.unknown_version"
    elif key == "default":
        assert error.code == "manifest.missing_key"
    else:
        assert error.code == "manifest.missing_key"
        assert f" {path} " in error.message

    for wrong in (None, True, 7, 1.5, "text", b"bytes", [], {}, [1], {"a": 1}):
        if type(wrong) is type(original):
            continue
        changed = copy.deepcopy(value)
        (at(changed, where) if where else changed)[key] = wrong
        allowed = {("expires", type(None)), ("outputSchema", type(None)), ("default", type(None))}
        if (key, type(wrong)) in allowed or (key == "default" and isinstance(wrong, (bool, str, float, int))):
            continue
        if key in ("min", "max") and type(wrong) in (type(None), int, float):
            continue
        error = refusal(changed)
        assert error.code in {
            "manifest.wrong_type",
            "manifest.unknown_version",
            "manifest.inconsistent",
            "schema.not_object",
        }, (wrong, error)
        assert key in error.message


@pytest.mark.parametrize("where", [where for where, _ in maps(canonical.to_value(FULL))])
def test_an_unknown_key_is_refused_and_named(where: str) -> None:
    value = canonical.to_value(FULL)
    (at(value, where) if where else value)["extra"] = 1
    error = refusal(value)
    assert error.code == "manifest.unknown_key"
    assert f" {where}.extra " in error.message if where else " extra " in error.message


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_another_version_is_told_before_anything_else(version: Any) -> None:
    assert refusal({"manifest_version": version, "entirely": "different"}).code == "manifest.unknown_version"
    assert refusal({}).code == "manifest.unknown_version"


@pytest.mark.parametrize("value", [None, [], "x", 1, b""])
def test_only_a_map_is_a_manifest(value: Any) -> None:
    assert refusal(value).code == "manifest.wrong_type"


@pytest.mark.parametrize(
    "row",
    [
        [],
        ["a", 1, b"\0" * 32],
        ["a", 1, b"\0" * 32, False, 1],
        ["a", True, b"\0" * 32, False],
        ["a", 1, "x", False],
        {},
    ],
)
def test_a_row_of_the_file_table_has_four_cells(row: Any) -> None:
    value = canonical.to_value(FULL)
    value["files"][0] = row
    assert refusal(value).code == "manifest.wrong_type"


@pytest.mark.parametrize(
    ("where", "key", "spelling"),
    [
        ("permissions", "network", ["API.example.com:443"]),
        ("permissions", "network", ["[::0:1]:443"]),
        ("permissions.filesystem", "read", ["/data/"]),
        ("permissions.filesystem", "write", ["//out"]),
        ("runtime", "requires", ["python >=3.11"]),
        ("runtime", "requires", ["python<4,>=3.11,<4"]),
        ("runtime", "requires", ["python>=3.11,<4"]),
    ],
)
def test_only_the_canonical_spelling_is_read(where: str, key: str, spelling: list[str]) -> None:
    value = canonical.to_value(FULL)
    at(value, where)[key] = spelling
    error = refusal(value)
    assert error.code == "manifest.not_canonical"
    assert f"{where}.{key}[0]" in error.message


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ("runtime", "requires"),
        ("runtime", "platforms"),
        ("permissions", "network"),
        ("permissions", "subprocess"),
        ("privacy", "receive"),
    ],
)
def test_sets_are_sorted_and_have_nothing_twice(where: str, key: str) -> None:
    value = canonical.to_value(FULL)
    entries = at(value, where)[key]
    assert len(entries) > 1
    at(value, where)[key] = entries[::-1]
    assert refusal(value).code == "manifest.not_sorted"
    at(value, where)[key] = [*entries, entries[-1]]
    error = refusal(value)
    assert error.code == "manifest.duplicate"
    assert f"{where}.{key}" in error.message


def test_a_draft_becomes_a_manifest_with_key_and_files() -> None:
    draft = Draft(
        **{name: getattr(FULL, name) for name in Draft.__dataclass_fields__}  # all but key and files
    )
    assert draft.seal(FULL.publisher_key, FULL.files) == FULL
    assert (draft.publisher, FULL.tool("query"), FULL.tool("none")) == ("acme", FULL.tools[0], None)


@pytest.mark.parametrize("operation", ["read", "write", "destructive"])
@pytest.mark.parametrize("open_world", [True, False])
def test_all_four_annotations_are_always_there(operation: Any, *, open_world: bool) -> None:
    """MCP takes what is absent for destructive and open: silence would be a claim."""
    tool = Tool(name="t", description="", input_schema={}, operation=operation)
    assert tool.annotations(open_world=open_world) == {
        "readOnlyHint": operation == "read",
        "destructiveHint": operation == "destructive",
        "idempotentHint": operation == "read",
        "openWorldHint": open_world,
    }


def test_only_a_destructive_tool_is_confirmed_always_by_default() -> None:
    assert [default_confirm(each) for each in ("read", "write", "destructive")] == [
        "never",
        "never",
        "always",
    ]


@pytest.fixture(scope="module")
def cddl() -> Validator:
    """Return a validator of the documented format, with a CBOR decoder of its own."""
    return Validator(CDDL)


@pytest.mark.parametrize(
    "manifest", [FULL, PYTHON, replace(PYTHON, files=(), expires=None)], ids=["exec", "python", "few"]
)
def test_the_documented_cddl_accepts_what_is_written(manifest: Manifest, cddl: Validator) -> None:
    result = cddl.validate(dumps(canonical.to_value(manifest)), root_type="manifest")
    assert result.valid, result.diagnostics


@pytest.mark.parametrize(("where", "key"), every_key())
def test_the_documented_cddl_refuses_what_the_code_refuses(where: str, key: str, cddl: Validator) -> None:
    """The document is no looser than the code: no key may be missing, mistyped or unknown."""
    for change in ("missing", "unknown", "mistyped"):
        value = canonical.to_value(FULL)
        table = at(value, where) if where else value
        if change == "missing":
            del table[key]
        elif change == "unknown":
            table[f"{key}_"] = table[key]
        else:
            table[key] = [7] if key != "files" else 7
        refusal(value)
        assert not cddl.validate(dumps(value), root_type="manifest").valid


@pytest.mark.parametrize(
    ("where", "key", "wrong"),
    [
        ("", "manifest_version", 2),
        ("", "name", "Acme/csv"),
        ("", "name", "acme"),
        ("", "name", "acme/csv/x"),
        ("", "version", "1.4"),
        ("", "version", "01.4.0"),
        ("", "expires", "tomorrow"),
        ("", "publisher_key", b"short"),
        ("", "tools", []),
        ("runtime", "kind", "ruby"),
        ("runtime", "requires", ["cobol"]),
        ("runtime", "platforms", ["windows"]),
        ("tools[0]", "name", "a b"),
        ("tools[0]", "operation", "delete"),
        ("tools[0]", "confirm", "maybe"),
        ("tools[0]", "result", "xml"),
        ("tools[0]", "inputSchema", {"type": "string"}),
        ("permissions", "network", ["example.com"]),
        ("permissions", "environment", ["A-B"]),
        ("permissions", "subprocess", ["/bin/sh"]),
        ("permissions.filesystem", "read", ["data"]),
        ("user_config.data_dir", "type", "text"),
        ("user_config.tags", "default", []),
        ("user_config.tags", "default", ["a"] * 65),
        ("user_config.tags", "default", [b"a"]),
        ("limits", "wall_ms", 0),
        ("limits", "scratch", 0),
        ("limits", "memory", 1 << 40),
        ("privacy", "allow", ["E-Mail"]),
        ("files[0]", "", ["/etc/passwd", 1, b"\0" * 32, False]),
        ("files[0]", "", ["a", 1 << 40, b"\0" * 32, False]),
        ("files[0]", "", ["a", 1, b"\0" * 31, False]),
    ],
)
def test_code_and_cddl_agree_on_what_is_wrong(where: str, key: str, wrong: Any, cddl: Validator) -> None:
    value = canonical.to_value(FULL)
    if key:
        (at(value, where) if where else value)[key] = wrong
    else:
        value["files"][0] = wrong
    refusal(value)
    assert not cddl.validate(dumps(value), root_type="manifest").valid


@pytest.mark.parametrize("bound", list(LIMIT_RANGES))
def test_code_and_cddl_agree_on_every_range(bound: str, cddl: Validator) -> None:
    least, most, _ = LIMIT_RANGES[bound]
    for number, valid in ((least, True), (most, True), (least - 1, False), (most + 1, False)):
        value = canonical.to_value(FULL)
        value["limits"][bound] = number
        assert cddl.validate(dumps(value), root_type="manifest").valid is valid, number
