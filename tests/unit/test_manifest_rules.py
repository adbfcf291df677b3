"""What must hold of a manifest beyond types: one broken thing at a time, each with its code and its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest_samples import FULL, PYTHON
from mpp_exec.characters import forbidden_character
from mpp_exec.errors import PackageError
from mpp_exec.package import canonical
from mpp_exec.package.manifest import ConfigField, FileEntry, Manifest, Requirement, Tool
from mpp_exec.package.rules_permissions import LIMIT_RANGES
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy

Change = Callable[[Manifest], Manifest]

EMPTY = b"\0" * 32


def runtime(**changes: Any) -> Change:
    return lambda base: replace(base, runtime=replace(base.runtime, **changes))


def permissions(**changes: Any) -> Change:
    return lambda base: replace(base, permissions=replace(base.permissions, **changes))


def tool(**changes: Any) -> Change:
    return lambda base: replace(base, tools=(replace(base.tools[0], **changes), *base.tools[1:]))


def config(field: ConfigField) -> Change:
    def change(base: Manifest) -> Manifest:
        others = [each for each in base.user_config if each.key != field.key]
        return replace(base, user_config=tuple(sorted([*others, field], key=lambda each: each.key)))

    return change


def files(*rows: FileEntry) -> Change:
    return lambda base: replace(base, files=(FULL.files if base is FULL else PYTHON.files) + rows)


def top(**changes: Any) -> Change:
    return lambda base: replace(base, **changes)


def row(path: str) -> FileEntry:
    return FileEntry(path, 1, EMPTY)


# What is changed, of which manifest, with which code, at which key.
BROKEN: list[tuple[str, Manifest, Change, str, str]] = [
    ("upper case", FULL, top(name="Acme/csv"), "bad_value", "name"),
    ("no publisher", FULL, top(name="csv"), "bad_value", "name"),
    ("leading hyphen", FULL, top(name="-a/csv"), "bad_value", "name"),
    ("64 characters", FULL, top(name="a" * 64 + "/csv"), "bad_value", "name"),
    ("trailing newline", FULL, top(name="acme/csv\n"), "bad_value", "name"),
    ("other digits", FULL, top(name="acme/csv\u0663"), "bad_value", "name"),
    ("no semver", FULL, top(version="1.4"), "bad_value", "version"),
    ("a v in front", FULL, top(version="v1.4.0"), "bad_value", "version"),
    ("escape sequence", FULL, top(description="a\x1b[2Jb"), "forbidden_character", "description"),
    ("line break", FULL, top(description="a\nb"), "forbidden_character", "description"),
    ("right-to-left override", FULL, top(description="a\u202eb"), "forbidden_character", "description"),
    ("too long", FULL, top(description="a" * 10_001), "out_of_range", "description"),
    ("no licence", FULL, top(license="Apache 2"), "bad_value", "license"),
    ("no web address", FULL, top(homepage="javascript:alert(1)"), "bad_value", "homepage"),
    ("address with user", FULL, top(homepage="https://a@b/"), "bad_value", "homepage"),
    ("address with a space", FULL, top(homepage="https://a.b/c d"), "bad_value", "homepage"),
    ("no day", FULL, top(expires="2027-02-30"), "bad_value", "expires"),
    ("a week", FULL, top(expires="2027-W01-1"), "bad_value", "expires"),
    ("a compact day", FULL, top(expires="20270101"), "bad_value", "expires"),
    ("short key", FULL, top(publisher_key=b"\1" * 31), "bad_value", "publisher_key"),
    # [runtime]
    ("command for python", PYTHON, runtime(command=("a",)), "inconsistent", "runtime.command"),
    ("python without python", PYTHON, runtime(requires=()), "inconsistent", "runtime.requires"),
    ("path for exec", FULL, runtime(path=("data",)), "inconsistent", "runtime.path"),
    ("exec without command", FULL, runtime(command=()), "missing_key", "runtime.command"),
    ("path outside", PYTHON, runtime(path=("../x",)), "bad_path", "runtime.path[0]"),
    ("path twice", PYTHON, runtime(path=("vendor", "vendor")), "duplicate", "runtime.path"),
    ("path to nothing", PYTHON, runtime(path=("vendors",)), "missing_file", "runtime.path[0]"),
    ("path to a file", PYTHON, runtime(path=("echo.py",)), "missing_file", "runtime.path[0]"),
    ("program outside", FULL, runtime(command=("../csv",)), "bad_path", "runtime.command[0]"),
    ("absolute program", FULL, runtime(command=("/bin/sh",)), "bad_path", "runtime.command[0]"),
    ("program missing", FULL, runtime(command=("bin/none",)), "missing_file", "runtime.command[0]"),
    ("interpreter not required", FULL, runtime(command=("ruby", "x")), "missing_file", "runtime.command[0]"),
    ("program not executable", FULL, runtime(command=("data.txt",)), "not_executable", "runtime.command[0]"),
    (
        "unknown setting",
        FULL,
        runtime(command=("bin/csv", "${user_config.x}")),
        "unknown_placeholder",
        "runtime.command[1]",
    ),
    (
        "unknown scope",
        FULL,
        runtime(command=("bin/csv", "${HOME}")),
        "unknown_placeholder",
        "runtime.command[1]",
    ),
    (
        "open placeholder",
        FULL,
        runtime(command=("bin/csv", "${user_config.ratio")),
        "unknown_placeholder",
        "runtime.command[1]",
    ),
    (
        "empty placeholder",
        FULL,
        runtime(command=("bin/csv", "${}")),
        "unknown_placeholder",
        "runtime.command[1]",
    ),
    (
        "NUL in an argument",
        FULL,
        runtime(command=("bin/csv", "a\0b")),
        "forbidden_character",
        "runtime.command[1]",
    ),
    ("storage not asked for", FULL, permissions(storage=0), "unknown_placeholder", "runtime.command[4]"),
    (
        "interpreter twice",
        FULL,
        runtime(requires=(Requirement("python", "<4"), Requirement("python", ">=3"))),
        "duplicate",
        "runtime.requires",
    ),
    ("unknown platform", FULL, runtime(platforms=("linux-amd64",)), "bad_value", "runtime.platforms[0]"),
    (
        "variable of the loader",
        FULL,
        runtime(env=(("LD_PRELOAD", "x"),)),
        "bad_value",
        "runtime.env.LD_PRELOAD",
    ),
    ("variable of mpp-exec", FULL, runtime(env=(("MPP_TOOL", "x"),)), "bad_value", "runtime.env.MPP_TOOL"),
    ("no variable", FULL, runtime(env=(("A=B", "x"),)), "bad_value", "runtime.env.A=B"),
    (
        "code for the launcher",
        PYTHON,
        runtime(env=(("PYTHONPATH", "x"),)),
        "bad_value",
        "runtime.env.PYTHONPATH",
    ),
    (
        "unknown setting in a variable",
        FULL,
        runtime(env=(("A", "${user_config.x}"),)),
        "unknown_placeholder",
        "runtime.env.A",
    ),
    # [[tools]]
    ("no tools", FULL, top(tools=()), "missing_key", "tools"),
    (
        "too many tools",
        FULL,
        top(tools=tuple(replace(FULL.tools[0], name=f"t{n}") for n in range(257))),
        "out_of_range",
        "tools",
    ),
    ("no tool name", FULL, tool(name=""), "bad_value", "tools[0].name"),
    ("space in a tool name", FULL, tool(name="a b"), "bad_value", "tools[0].name"),
    ("129 characters of name", FULL, tool(name="a" * 129), "bad_value", "tools[0].name"),
    ("tool name twice", FULL, tool(name=FULL.tools[1].name), "duplicate", "tools[1].name"),
    ("zero width in a title", FULL, tool(title="a\u200bb"), "forbidden_character", "tools[0].title"),
    ("tag characters", FULL, tool(description="a\U000e0041"), "forbidden_character", "tools[0].description"),
    ("entry for exec", FULL, tool(entry="a:b"), "inconsistent", "tools[0].entry"),
    ("python without entry", PYTHON, tool(entry=""), "bad_value", "tools[0].entry"),
    ("entry without function", PYTHON, tool(entry="echo"), "bad_value", "tools[0].entry"),
    ("entry with a path", PYTHON, tool(entry="../echo:echo"), "bad_value", "tools[0].entry"),
    ("entry with a keyword", PYTHON, tool(entry="echo.class:echo"), "bad_value", "tools[0].entry"),
    ("entry with an expression", PYTHON, tool(entry="echo:echo()"), "bad_value", "tools[0].entry"),
    ("module missing", PYTHON, tool(entry="ecco:echo"), "missing_file", "tools[0].entry"),
    ("module in an unnamed folder", PYTHON, runtime(path=()), "ok", ""),
    ("module below path missing", PYTHON, tool(entry="vendor.libs:f"), "missing_file", "tools[0].entry"),
    ("JSON from an MCP server", FULL, runtime(kind="mcp"), "inconsistent", "tools[0].result"),
    # [permissions]
    ("unsorted", FULL, permissions(environment=("Z", "A")), "not_sorted", "permissions.environment"),
    ("twice", FULL, permissions(environment=("A", "A")), "duplicate", "permissions.environment"),
    (
        "too many",
        FULL,
        permissions(environment=tuple(f"V{n:03}" for n in range(257))),
        "out_of_range",
        "permissions.environment",
    ),
    (
        "unsorted hosts",
        FULL,
        permissions(network=(HostPort("b", 1), HostPort("a", 1))),
        "not_sorted",
        "permissions.network",
    ),
    (
        "loader's variable",
        FULL,
        permissions(environment=("LD_PRELOAD",)),
        "bad_value",
        "permissions.environment[0]",
    ),
    (
        "interpreter's variable",
        FULL,
        permissions(environment=("PYTHONPATH",)),
        "bad_value",
        "permissions.environment[0]",
    ),
    (
        "path of a program",
        FULL,
        permissions(subprocess=("/bin/sh",)),
        "bad_value",
        "permissions.subprocess[0]",
    ),
    ("little storage", FULL, permissions(storage=1), "out_of_range", "permissions.storage"),
    ("much storage", FULL, permissions(storage=1 << 50), "out_of_range", "permissions.storage"),
    ("relative path", FULL, permissions(read=("data",)), "bad_value", "permissions.filesystem.read[0]"),
    ("upwards", FULL, permissions(write=("/a/../b",)), "bad_value", "permissions.filesystem.write[0]"),
    ("home", FULL, permissions(read=("~/data",)), "bad_value", "permissions.filesystem.read[0]"),
    ("not normal", FULL, permissions(read=("/a//b",)), "not_canonical", "permissions.filesystem.read[0]"),
    (
        "undeclared setting",
        FULL,
        permissions(read=("${user_config.x}",)),
        "unknown_placeholder",
        "permissions.filesystem.read[0]",
    ),
    (
        "setting that is no path",
        FULL,
        permissions(read=("${user_config.ratio}",)),
        "inconsistent",
        "permissions.filesystem.read[0]",
    ),
    (
        "storage as a path",
        FULL,
        permissions(read=("${storage}",)),
        "bad_value",
        "permissions.filesystem.read[0]",
    ),
    ("kind of data", FULL, top(privacy=Privacy(allow=("E-Mail",))), "bad_value", "privacy.allow[0]"),
    ("kinds unsorted", FULL, top(privacy=Privacy(receive=("b", "a"))), "not_sorted", "privacy.receive"),
    # [user_config]
    (
        "several secrets",
        FULL,
        config(ConfigField("x", "string", sensitive=True, multiple=True)),
        "inconsistent",
        "user_config.x.multiple",
    ),
    (
        "several booleans",
        FULL,
        config(ConfigField("x", "boolean", multiple=True)),
        "inconsistent",
        "user_config.x.multiple",
    ),
    (
        "one default of several",
        FULL,
        config(ConfigField("x", "string", default="a", multiple=True)),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "several defaults of one",
        FULL,
        config(ConfigField("x", "string", default=("a",))),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "a default twice",
        FULL,
        config(ConfigField("x", "string", default=("a", "a"), multiple=True)),
        "duplicate",
        "user_config.x.default[1]",
    ),
    (
        "a default of another type",
        FULL,
        config(ConfigField("x", "number", default=(1, "a"), multiple=True)),
        "wrong_type",
        "user_config.x.default[1]",
    ),
    (
        "a bound that is no number",
        FULL,
        config(ConfigField("x", "number", min=True)),
        "wrong_type",
        "user_config.x.min",
    ),
    (
        "a bound without end",
        FULL,
        config(ConfigField("x", "number", max=float("inf"))),
        "out_of_range",
        "user_config.x.max",
    ),
    (
        "nothing between the bounds",
        FULL,
        config(ConfigField("x", "number", min=2, max=1.5)),
        "inconsistent",
        "user_config.x.max",
    ),
    (
        "a default out of bounds",
        FULL,
        config(ConfigField("x", "number", default=0, min=1)),
        "out_of_range",
        "user_config.x.default",
    ),
    (
        "one of several defaults out of bounds",
        FULL,
        config(ConfigField("x", "number", default=(1, 3), max=2, multiple=True)),
        "out_of_range",
        "user_config.x.default[1]",
    ),
    (
        "several values inside of an argument",
        FULL,
        runtime(command=("bin/csv", "--tags=${user_config.tags}")),
        "inconsistent",
        "runtime.command[1]",
    ),
    (
        "several values as the program",
        FULL,
        runtime(command=("${user_config.tags}",)),
        "inconsistent",
        "runtime.command[0]",
    ),
    (
        "several values in a variable",
        FULL,
        runtime(env=(("A", "${user_config.tags}"),)),
        "inconsistent",
        "runtime.env.A",
    ),
    ("no name", FULL, config(ConfigField("1x", "string")), "bad_value", "user_config.1x"),
    (
        "unseen in a title",
        FULL,
        config(ConfigField("x", "string", title="\u2066")),
        "forbidden_character",
        "user_config.x.title",
    ),
    (
        "unseen in a description",
        FULL,
        config(ConfigField("x", "string", description="\x07")),
        "forbidden_character",
        "user_config.x.description",
    ),
    (
        "secret with a default",
        FULL,
        config(ConfigField("x", "string", sensitive=True, default="a")),
        "inconsistent",
        "user_config.x.default",
    ),
    (
        "text for a number",
        FULL,
        config(ConfigField("x", "number", default="1")),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "truth for a number",
        FULL,
        config(ConfigField("x", "number", default=True)),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "number for a text",
        FULL,
        config(ConfigField("x", "string", default=1)),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "number for a truth",
        FULL,
        config(ConfigField("x", "boolean", default=1)),
        "wrong_type",
        "user_config.x.default",
    ),
    (
        "infinite default",
        FULL,
        config(ConfigField("x", "number", default=float("inf"))),
        "out_of_range",
        "user_config.x.default",
    ),
    (
        "huge default",
        FULL,
        config(ConfigField("x", "number", default=1 << 63)),
        "out_of_range",
        "user_config.x.default",
    ),
    (
        "relative default",
        FULL,
        config(ConfigField("x", "directory", default="data")),
        "bad_value",
        "user_config.x.default",
    ),
    (
        "default not normal",
        FULL,
        config(ConfigField("x", "file", default="/a/./b")),
        "not_canonical",
        "user_config.x.default",
    ),
    (
        "unseen in a default",
        FULL,
        config(ConfigField("x", "string", default="\u200b")),
        "forbidden_character",
        "user_config.x.default",
    ),
    (
        "variable of mpp-exec",
        FULL,
        config(ConfigField("x", "string", env="HOME")),
        "bad_value",
        "user_config.x.env",
    ),
    (
        "variable that names code",
        FULL,
        config(ConfigField("x", "string", env="NODE_OPTIONS")),
        "bad_value",
        "user_config.x.env",
    ),
    (
        "variable set twice",
        FULL,
        config(ConfigField("x", "string", env="CSV_HOME")),
        "duplicate",
        "user_config.x.env",
    ),
    (
        "variable granted and set",
        FULL,
        permissions(environment=("API_KEY",)),
        "duplicate",
        "permissions.environment",
    ),
    (
        "setting of a file looked below",
        FULL,
        config(ConfigField("data_dir", "file")),
        "inconsistent",
        "permissions.filesystem.read[0]",
    ),
    (
        "sensitive setting as a path",
        FULL,
        config(ConfigField("data_dir", "directory", sensitive=True)),
        "inconsistent",
        "permissions.filesystem.read[0]",
    ),
    # files
    ("size below zero", FULL, files(FileEntry("z", -1, EMPTY)), "out_of_range", "files[3]"),
    ("size beyond bounds", FULL, files(FileEntry("z", 1 << 40, EMPTY)), "out_of_range", "files[3]"),
    ("short digest", FULL, files(FileEntry("z", 1, b"")), "bad_value", "files[3]"),
    ("not sorted", FULL, files(row("a")), "not_sorted", "files"),
    ("invisible in a path", FULL, files(row("z\u3164")), "forbidden_character", "files[3]"),
]

FILE_TABLE = [
    ("/etc/passwd", "package.absolute_path"),
    ("../x", "package.parent_path"),
    ("z/../x", "package.parent_path"),
    ("z\\x", "package.backslash"),
    ("z\0x", "package.nul"),
    ("z//x", "package.bad_path"),
    ("z/", "package.bad_path"),
    ("", "package.bad_path"),
    ("z\x1b", "package.bad_path"),
    ("zu\u0308", "package.not_nfc"),
    ("BIN/x", "package.case_collision"),
    ("Data.TXT", "package.case_collision"),
    ("data.txt", "package.duplicate_member"),
    ("data.txt/x", "package.bad_path"),
    ("manifest.cose", "package.case_collision"),
    ("Manifest.COSE", "package.case_collision"),
]


def refusal(manifest: Manifest) -> PackageError:
    with pytest.raises(PackageError) as caught:
        canonical.from_value(canonical.to_value(manifest))
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("base", "change", "reason", "key"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN]
)
def test_one_broken_thing(base: Manifest, change: Change, reason: str, key: str) -> None:
    manifest = change(base)
    if reason == "ok":
        assert canonical.from_value(canonical.to_value(manifest)) == manifest
        return
    error = refusal(manifest)
    assert error.code == f"manifest.{reason}", error
    assert f"manifest key {key} " in error.message


@pytest.mark.parametrize(("path", "code"), FILE_TABLE, ids=ascii)
def test_file_table(path: str, code: str) -> None:
    rows = sorted([*FULL.files, row(path)], key=lambda entry: entry.path.encode())
    error = refusal(replace(FULL, files=tuple(rows)))
    assert error.code in {code, "package.duplicate_member"} if path == "manifest.cose" else error.code == code


@pytest.mark.parametrize("bound", [field.name for field in fields(Limits)])
def test_every_limit_has_two_ends(bound: str) -> None:
    least, most, _ = LIMIT_RANGES[bound]
    for value in (least, most):
        canonical.from_value(canonical.to_value(replace(FULL, limits=replace(Limits(), **{bound: value}))))
    for value in (least - 1, most + 1, 0):
        error = refusal(replace(FULL, limits=replace(Limits(), **{bound: value})))
        assert error.code == "manifest.out_of_range"
        assert f"limits.{bound} " in error.message


def test_defaults_are_within_the_ranges() -> None:
    plain = replace(FULL, limits=Limits(), permissions=replace(FULL.permissions))
    canonical.from_value(canonical.to_value(plain))


@pytest.mark.parametrize("place", ["inputSchema", "outputSchema"])
def test_schemas_are_checked_and_the_key_is_named(place: str) -> None:
    value = canonical.to_value(FULL)
    value["tools"][1][place] = {"type": "object", "$ref": "https://evil.example/schema"}
    with pytest.raises(PackageError) as caught:
        canonical.from_value(value)
    assert caught.value.code == "schema.remote_ref"
    assert f"tools[1].{place}" in caught.value.message


@pytest.mark.timeout(30)
def test_schemas_that_are_harmless_one_by_one_do_not_add_up_to_a_hang() -> None:
    """Each takes a good part of a second to compile, and a manifest may have 512 of them."""
    slow = {"type": "object", "properties": {"a": {"pattern": r"\s" * 90}}}
    tools = tuple(
        replace(FULL.tools[0], name=f"t{n}", input_schema=slow, output_schema=slow) for n in range(200)
    )
    error = refusal(replace(FULL, tools=tools))
    assert error.code == "schema.too_complex"


@pytest.mark.parametrize("module", ["echo", "lib", "vendor.lib", "native", "pack.native"])
def test_where_an_entry_may_be(module: str) -> None:
    native = [row("native.cpython-311-x86_64-linux-gnu.so"), row("pack/native.abi3.so")]
    rows = sorted([*PYTHON.files, *native], key=lambda entry: entry.path.encode())
    manifest = replace(PYTHON, files=tuple(rows), tools=(replace(PYTHON.tools[0], entry=f"{module}:f"),))
    assert canonical.from_value(canonical.to_value(manifest)) == manifest


def test_an_interpreter_of_the_host_may_be_the_command() -> None:
    manifest = runtime(command=("node", "${app}/data.txt"))(FULL)
    assert canonical.from_value(canonical.to_value(manifest)) == manifest


def test_an_mcp_server_is_taken_as_it_is() -> None:
    tools = (Tool("t", "d", {"type": "object"}, result="mcp"),)
    manifest = replace(runtime(kind="mcp")(FULL), tools=tools)
    assert canonical.from_value(canonical.to_value(manifest)) == manifest


@given(st.text(max_size=20))
def test_no_text_gets_in_that_cannot_be_seen(text: str) -> None:
    manifest = top(description=text)(FULL)
    if forbidden_character(text):
        error = refusal(manifest)
        assert error.code == "manifest.forbidden_character"
        assert forbidden_character(text) in error.message
    else:
        assert canonical.from_value(canonical.to_value(manifest)) == manifest


def test_no_permissions_at_all() -> None:
    manifest = replace(
        FULL,
        permissions=Permissions(),
        user_config=(),
        runtime=replace(FULL.runtime, command=("bin/csv",), env=()),
    )
    assert canonical.from_value(canonical.to_value(manifest)) == manifest
