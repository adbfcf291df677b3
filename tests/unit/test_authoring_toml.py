"""``mpp.toml`` as authors write it: what it means, and an answer to every mistake."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest_samples import FULL, TOML
from mpp_exec.errors import PackageError, UsageError
from mpp_exec.package import canonical
from mpp_exec.package.authoring import parse_toml
from mpp_exec.package.manifest import FileEntry, Requirement
from mpp_exec.permissions import HostPort, Limits, Permissions, Privacy

SMALLEST = """\
[package]
name = "acme/a"
version = "0.1.0"

[runtime]
kind = "python"

[[tools]]
name = "t"
description = "d"
entry = "m:f"
inputSchema = { type = "object" }
"""

SERVER = """\
[package]
name = "acme/memory"
version = "0.1.0"
[runtime]
kind = "mcp"
command = ["node", "${app}/server.js", "--key=${user_config.key}"]
env = { MEMORY_FILE_PATH = "${storage}/m.json", NODE_OPTIONS = "--max-old-space-size=64" }
requires = ["node >= 20"]
[[tools]]
name = "remember"
description = "d"
operation = "destructive"
inputSchema.type = "object"
[permissions]
storage = "1MiB"
[user_config.key]
type = "string"
sensitive = true
"""


def refusal(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_toml(text)
    return caught.value


def test_the_example_of_the_contract() -> None:
    draft = parse_toml(TOML)
    assert (draft.name, draft.version, draft.license) == ("acme/csv", "1.4.0", "Apache-2.0")
    assert draft.expires == "2027-06-30"
    assert draft.runtime.requires == (Requirement("python", ">=3.11"),)
    assert draft.permissions == Permissions(
        network=(HostPort("*.cdn.example.com", 443), HostPort("api.example.com", 443)),
        environment=("TZ",),
        subprocess=("git",),
        storage=16 << 20,
        read=("${user_config.data_dir}",),
    )
    assert draft.limits == Limits()
    assert draft.privacy == Privacy()
    (tool,) = draft.tools
    assert (tool.entry, tool.operation, tool.confirm, tool.result) == (
        "csvtool:query",
        "read",
        "never",
        "json",
    )
    (setting,) = draft.user_config
    assert (setting.key, setting.type, setting.required, setting.default) == (
        "data_dir",
        "directory",
        True,
        None,
    )


def test_what_may_be_left_out() -> None:
    draft = parse_toml(SMALLEST)
    assert draft.permissions == Permissions()
    assert draft.limits == Limits()
    assert draft.runtime.requires == (Requirement("python"),)  # the kind needs it
    assert (draft.tools[0].operation, draft.tools[0].confirm) == ("read", "never")
    assert (draft.description, draft.license, draft.homepage, draft.expires) == ("", "", "", None)


def test_defaults_that_depend() -> None:
    draft = parse_toml(SERVER)
    assert draft.tools[0].confirm == "always"  # destructive
    assert draft.tools[0].result == "mcp"  # of a server
    assert draft.runtime.env[0] == ("MEMORY_FILE_PATH", "${storage}/m.json")
    assert (
        parse_toml(SERVER.replace('"destructive"', '"destructive"\nconfirm = "once"')).tools[0].confirm
        == "once"
    )


def test_a_draft_with_files_is_a_valid_manifest() -> None:
    manifest = parse_toml(TOML.replace('path = ["vendor"]', "")).seal(
        b"\1" * 32, (FileEntry("csvtool.py", 1, b"\2" * 32),)
    )
    assert canonical.from_value(canonical.to_value(manifest)) == manifest


def test_everything_a_manifest_can_say_can_be_written() -> None:
    text = """
        [package]
        name = "acme/csv"
        version = "1.4.0-rc.1+build.5"
        description = "Query CSV files, also with ümlauts"
        license = "MIT OR (Apache-2.0 WITH LLVM-exception)"
        homepage = "https://example.org/csv?x=1"
        expires = "2027-06-30"
        [runtime]
        kind = "exec"
        command = ["bin/csv", "--dir", "${user_config.data_dir}", "--state", "${storage}/s", "${app}/data"]
        env.PYTHONPATH = "${app}/vendor"
        env.CSV_HOME = "${app}/data"
        requires = ["python >=3.11", "node>=20,<23"]
        platforms = ["linux-x86_64", "linux-aarch64"]
        [[tools]]
        name = "query"
        title = "Query a CSV file"
        description = "Runs a filter over a CSV file."
        [tools.inputSchema]
        type = "object"
        required = ["path"]
        additionalProperties = false
        [tools.inputSchema.properties]
        path = { type = "string", pattern = "^[a-z/.]+$" }
        limit = { type = "number", minimum = 0.5, maximum = 1e300 }
        [tools.outputSchema]
        type = "object"
        properties.rows.type = "array"
        [[tools]]
        name = "drop-rows.v2_x"
        description = "Deletes rows."
        inputSchema.type = "object"
        operation = "destructive"
        result = "mcp"
        [permissions]
        network = ["API.example.com.:443", "[0::1]:80", "*.CDN.example.com:443"]
        environment = ["TZ"]
        subprocess = ["rg", "git"]
        storage = "16384 KiB"
        filesystem.read = ["/usr/share//dict/", "${user_config.data_dir}/in"]
        filesystem.write = ["${user_config.data_dir}/out/"]
        [user_config]
        verbose = { type = "boolean", default = false, env = "VERBOSE" }
        data_dir = { type = "directory", title = "Folder with CSV files", required = true }
        ratio = { type = "number", description = "How much of it", default = 0.5, min = 0, max = 1.5 }
        tags = { type = "string", multiple = true, default = ["new", "old"] }
        api_key = { type = "string", title = "API key", required = true, sensitive = true, env = "API_KEY" }
        [limits]
        wall = "250ms"
        memory = "64MiB"
        [privacy]
        allow = ["email"]
        receive = ["iban", "credit_card"]
    """
    assert parse_toml(text).seal(FULL.publisher_key, FULL.files) == FULL


# What an author gets wrong: what is replaced by what, the code, what the message and the hint must say.
MISTAKES = [
    ("misspelt key", 'wall = "10s"', 'wal = "10s"', "unknown_key", "limits.wal ", "did you mean 'wall'?"),
    ("misspelt table", "[privacy]", "[privcy]", "unknown_key", "privcy ", "did you mean 'privacy'?"),
    ("misspelt key of a tool", "entry =", "entri =", "unknown_key", "tools[0].entri ", "'entry'"),
    ("key of another table", "[runtime]", "[runtime]\nname = 'x'", "unknown_key", "runtime.name ", "kind"),
    ("snake case", "inputSchema", "input_schema", "unknown_key", "tools[0].input_schema", "'inputSchema'"),
    (
        "misspelt setting key",
        "required = true",
        "requird = true",
        "unknown_key",
        "user_config.data_dir.requird",
        "'required'",
    ),
    (
        "bounds of a folder",
        "required = true",
        "required = true\nmax = 3",
        "inconsistent",
        "user_config.data_dir.max",
        "",
    ),
    (
        "misspelt permission",
        "subprocess",
        "subproces",
        "unknown_key",
        "permissions.subproces ",
        "'subprocess'",
    ),
    (
        "misspelt filesystem key",
        "read  =",
        "reads =",
        "unknown_key",
        "permissions.filesystem.reads",
        "'read'",
    ),
    ("one table too few", "[[tools]]", "[tools]", "wrong_type", "tools must be a list", "[[tools]]"),
    ("no tools", "[[tools]]", "[[tool]]", "unknown_key", "tool ", "'tools'"),
    ("missing name", 'name = "acme/csv"', "", "missing_key", "package.name", ""),
    (
        "missing description of a tool",
        'description = "Runs',
        '# "Runs',
        "missing_key",
        "tools[0].description",
        "",
    ),
    ("missing entry", 'entry = "csvtool:query"', "", "missing_key", "tools[0].entry", ""),
    ("missing type", 'type = "directory"', "", "missing_key", "user_config.data_dir.type", ""),
    ("number for a version", '"1.4.0"', "1.4", "wrong_type", "package.version must be text", "quotes"),
    ("text for a list", '["TZ"]', '"TZ"', "wrong_type", "permissions.environment must be a list", ""),
    ("number in a list", '["TZ"]', "[1]", "wrong_type", "permissions.environment[0] must be text", ""),
    ("text for a truth", "required = true", 'required = "yes"', "wrong_type", "must be true or false", ""),
    (
        "text for a number",
        "processes = 16",
        'processes = "16"',
        "wrong_type",
        "limits.processes must be an integer",
        "",
    ),
    (
        "truth for a number",
        "processes = 16",
        "processes = true",
        "wrong_type",
        "limits.processes must be an integer",
        "",
    ),
    ("number for a time", '"10s"', "10", "wrong_type", "limits.wall must be text with a unit", '"10s"'),
    (
        "number for a size",
        '"16MiB"',
        "16",
        "wrong_type",
        "permissions.storage must be text with a unit",
        '"16MiB"',
    ),
    ("time for a day", "2027-06-30 ", "2027-06-30T12:00:00 ", "wrong_type", "package.expires", "2027-06-30"),
    ("decimal unit", '"16MiB"', '"16MB"', "bad_value", "'16MB' is not a size", "MiB"),
    ("unknown unit", '"10s"', '"10sec"', "bad_value", "'10sec' is not a time", "ms, s, m or h"),
    (
        "misspelt kind",
        'kind = "python"',
        'kind = "pyhton"',
        "unknown_word",
        "runtime.kind",
        "did you mean 'python'?",
    ),
    ("misspelt operation", '"read"', '"raed"', "unknown_word", "tools[0].operation", "'read'"),
    (
        "misspelt type",
        '"directory"',
        '"folder"',
        "unknown_word",
        "user_config.data_dir.type cannot be 'folder'",
        "did you mean",
    ),
    ("bad name", '"acme/csv"', '"Acme CSV"', "bad_value", "package.name", "publisher/name"),
    ("bad version", '"1.4.0"', '"1.4"', "bad_value", "package.version", "SemVer"),
    ("bad licence", '"Apache-2.0"', '"Apache 2"', "bad_value", "package.license", "MIT"),
    ("bad tool name", 'name = "query"', 'name = "run query"', "bad_value", "tools[0].name", "letters"),
    ("bad entry", '"csvtool:query"', '"csvtool.query"', "bad_value", "tools[0].entry", "module:function"),
    ("entry with a file", '"csvtool:query"', '"csvtool.py:query"', "ok", "", ""),
    ("unknown interpreter", "python>=3.11", "git>=2", "bad_value", "runtime.requires[0]", "subprocess"),
    ("unknown platform", "linux-x86_64", "linux-amd64", "bad_value", "runtime.platforms[0]", "linux-x86_64"),
    (
        "URL for a host",
        '"api.example.com:443"',
        '"https://api.example.com"',
        "bad_value",
        "permissions.network[0]",
        "api.example.com:443",
    ),
    (
        "host without port",
        '"api.example.com:443"',
        '"api.example.com"',
        "bad_value",
        "has no port",
        "api.example.com:443",
    ),
    ("any host", '"api.example.com:443"', '"*:443"', "bad_value", "any host", "*.example.com:443"),
    (
        "host twice",
        '"*.cdn.example.com:443"',
        '"API.example.com:443"',
        "duplicate",
        "permissions.network[1]",
        "leave it out",
    ),
    (
        "path of a program",
        '["git"]',
        '["/usr/bin/git"]',
        "bad_value",
        "permissions.subprocess[0]",
        "bare name",
    ),
    ("variable of mpp-exec", '["TZ"]', '["PATH"]', "bad_value", "PATH belongs to mpp-exec", "another name"),
    (
        "variable that names code",
        '["TZ"]',
        '["PYTHONPATH"]',
        "bad_value",
        "permissions.environment[0]",
        "[runtime].env",
    ),
    ("home folder", "write = []", 'write = ["~/x"]', "bad_value", "depends on who runs it", "user_config"),
    (
        "relative path",
        "write = []",
        'write = ["out"]',
        "bad_value",
        "'out' is not an absolute path",
        "begin with /",
    ),
    ("path upwards", "write = []", 'write = ["/a/../b"]', "bad_value", "'..'", ""),
    (
        "undeclared setting",
        "${user_config.data_dir}",
        "${user_config.dir}",
        "unknown_placeholder",
        "${user_config.dir}",
        "[user_config.dir]",
    ),
    (
        "unused placeholder form",
        "${user_config.data_dir}",
        "${data_dir}",
        "bad_value",
        "permissions.filesystem.read[0]",
        "${user_config.KEY}",
    ),
    (
        "setting of another type",
        '"directory"',
        '"string"',
        "inconsistent",
        "permissions.filesystem.read[0]",
        "directory",
    ),
    (
        "command for python",
        'kind = "python"',
        'kind = "python"\ncommand = ["x"]',
        "inconsistent",
        "runtime.command",
        "entry",
    ),
    ("no command for exec", 'kind = "python"', 'kind = "exec"', "inconsistent", "runtime.path", ""),
    (
        "escape in a text",
        "Query CSV files",
        "Query \\u001b[31mCSV",
        "forbidden_character",
        "package.description",
        "leave it out",
    ),
    (
        "text turned round",
        "Query a CSV",
        "Query \\u202ea CSV",
        "forbidden_character",
        "tools[0].title",
        "leave it out",
    ),
    ("line break", '"Query CSV files"', '"""Query\nCSV"""', "forbidden_character", "U+000A", ""),
    ("limit out of range", '"1MiB"', '"1GiB"', "out_of_range", "limits.output of 1GiB", "MiB"),
    (
        "limit of nothing",
        'scratch = "64MiB"',
        'scratch = "0B"',
        "out_of_range",
        "limits.scratch of 0B",
        "64KiB",
    ),
    ("day that is none", "2027-06-30 ", '"30.6.2027"', "bad_value", "package.expires", "2027-06-30"),
    (
        "result for python",
        'confirm = "never"',
        'result = "text"',
        "unknown_word",
        "tools[0].result",
        "json, mcp",
    ),
    ("unfinished", "[privacy]", "[privacy", "syntax", "mpp.toml is not TOML", "toml.io"),
    ("value missing", 'wall = "10s"', "wall =", "syntax", "line 40", "toml.io"),
    ("key twice", 'cpu = "5s"', 'wall = "5s"', "syntax", "line 41", "toml.io"),
]

SCHEMA_MISTAKES = [
    (
        "misspelt type",
        '"string"',
        '"strnig"',
        "schema.invalid",
        "tools[0].inputSchema at /properties/path/type",
    ),
    (
        "not an object",
        'inputSchema = { type = "object"',
        'inputSchema = { type = "array"',
        "schema.not_object",
        "tools[0].inputSchema",
    ),
    ("look-ahead", 'type = "string"', 'pattern = "(?=a)"', "schema.bad_pattern", "/properties/path/pattern"),
    ("remote reference", 'type = "string"', '"$ref" = "https://a/b"', "schema.remote_ref", "https://a/b"),
    ("a day", 'type = "string"', "default = 2020-01-01", "schema.invalid", "JSON has not"),
    ("not a number", 'type = "string"', "maximum = nan", "schema.invalid", "JSON has not"),
]


@pytest.mark.parametrize(
    ("old", "new", "reason", "message", "hint"),
    [row[1:] for row in MISTAKES],
    ids=[row[0] for row in MISTAKES],
)
def test_mistakes(old: str, new: str, reason: str, message: str, hint: str) -> None:
    assert old in TOML
    text = TOML.replace(old, new, 1)
    if reason == "ok":  # csvtool/py.py: odd, but possible
        assert parse_toml(text).tools[0].entry == new.strip('"')
        return
    error = refusal(text)
    assert error.code == f"toml.{reason}", error
    assert message in error.message
    assert hint in error.hint
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [row[1:] for row in SCHEMA_MISTAKES],
    ids=[row[0] for row in SCHEMA_MISTAKES],
)
def test_mistakes_in_schemas_are_the_authors(old: str, new: str, code: str, message: str) -> None:
    error = refusal(TOML.replace(old, new, 1))
    assert error.code == code
    assert message in error.message
    assert "mpp.toml line 22: " in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('name = "acme/csv"', 'name = "x"', 2),
        ('version = "1.4.0"', "", 1),  # missing: where its table begins
        ('entry = "csvtool:query"', "", 15),
        ('entry = "csvtool:query"', 'entry = "x"', 19),
        ('environment = ["TZ"]', 'environment = ["TZ", "TZ"]', 26),
        ("write = []", 'write = ["x"]', 32),
        ('title = "Folder with CSV files"', "title = 1", 36),
        ('scratch = "64MiB"', 'scratch = "64"', 46),
        ("receive = []", "receive = [1]", 50),
    ],
)
def test_the_line_is_told(old: str, new: str, line: int) -> None:
    assert refusal(TOML.replace(old, new, 1)).message.startswith(f"mpp.toml line {line}: ")


def test_the_line_is_told_of_the_right_tool() -> None:
    second = SMALLEST[SMALLEST.index("[[tools]]") :].replace("m:f", "broken").replace('"t"', '"second"')
    text = SMALLEST + second
    line = text.splitlines().index('entry = "broken"') + 1
    error = refusal(text)
    assert error.message.startswith(f"mpp.toml line {line}: tools[1].entry ")


@pytest.mark.parametrize(
    "text", ["", "\0", "[", "a = " + "[" * 100_000, "a = " + "{a=" * 50_000, "\ufeff[package]"]
)
def test_no_toml(text: str) -> None:
    assert refusal(text).code in {"toml.syntax", "toml.missing_key"}


def test_number_of_more_digits_than_cpython_reads() -> None:
    """tomllib lets CPython's own ValueError through."""
    assert refusal(f"a = {'9' * 5000}").code == "toml.syntax"


def test_no_file_of_any_size() -> None:
    assert refusal("#" * (1 << 20) + "\n").code == "toml.too_large"


@given(st.data())
def test_no_change_of_the_text_ends_in_anything_but_an_answer(data: st.DataObject) -> None:
    lines = TOML.splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    kind = data.draw(st.sampled_from(["drop", "repeat", "value", "key"]))
    if kind == "drop":
        del lines[index]
    elif kind == "repeat":
        lines.insert(index, lines[index])
    else:
        key, equals, value = lines[index].partition("=")
        value = data.draw(
            st.sampled_from(["1", '""', "[]", "{}", "true", '["${"]', "inf", "1979-05-27", '"\\u0000"'])
        )
        lines[index] = f"{key}{equals}{value}" if kind == "value" else f"{key}x{equals}{value}"
    try:
        draft = parse_toml("\n".join(lines))
    except UsageError as error:
        assert error.message.startswith("mpp.toml")  # noqa: PT017 -- either way out is right
    else:
        sealed = replace(draft, runtime=replace(draft.runtime, path=())).seal(b"\1" * 32, ())
        with pytest.raises(PackageError):  # csvtool is missing, and nothing else
            canonical.from_value(canonical.to_value(sealed))


@given(st.text(max_size=200))
def test_no_text_ends_in_anything_but_an_answer(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert refusal(text).code == "toml.syntax"
    else:
        refusal(text)
