"""user_config: typed, checked, and put where it belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.consent.config import (
    MAX_VALUE,
    Setting,
    check_settings,
    check_uses,
    expand_path,
    fill,
    parse_setting,
    placeholders,
    secret_text,
    substitute,
)
from mpp_exec.errors import MppError
from mpp_exec.package.manifest import MAX_VALUES, ConfigField, Draft, RuntimeSpec, Tool

FIELDS = (
    ConfigField("data_dir", "directory", title="Folder with CSV files", required=True),
    ConfigField("level", "number", default=3),
    ConfigField("name", "string"),
    ConfigField("token", "string", sensitive=True, env="TOKEN"),
    ConfigField("verbose", "boolean", env="VERBOSE"),
)


def refusal(function: Any, *arguments: Any, **keywords: Any) -> MppError:
    with pytest.raises(MppError) as caught:
        function(*arguments, **keywords)
    assert caught.value.hint
    return caught.value


def draft(command: tuple[str, ...] = (), env: tuple[tuple[str, str], ...] = ()) -> Draft:
    return Draft(
        name="acme/csv",
        version="1.0.0",
        runtime=RuntimeSpec("exec", command=command, env=env),
        tools=(Tool("query", "", {"type": "object"}),),
        user_config=FIELDS,
    )


def test_set_takes_the_value_as_it_is() -> None:
    assert parse_setting("name=a=b", FIELDS) == Setting("name", "value", "a=b")
    assert parse_setting("name=@file", FIELDS) == Setting("name", "value", "@file")
    assert parse_setting("name=", FIELDS) == Setting("name", "value", "")


def test_set_of_a_secret_names_where_to_read_it() -> None:
    assert parse_setting("token=@/run/secret", FIELDS) == Setting("token", "file", "/run/secret")
    assert parse_setting("token=-", FIELDS) == Setting("token", "stdin", "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name", "config.malformed"),
        ("=x", "config.unknown"),
        ("nmae=x", "config.unknown"),
        ("token=hunter2", "config.sensitive_inline"),
        ("token=", "config.sensitive_inline"),
        ("token=@", "config.sensitive_inline"),
    ],
)
def test_set_refusals(text: str, code: str) -> None:
    error = refusal(parse_setting, text, FIELDS)
    assert error.code == code
    assert "hunter2" not in f"{error.message} {error.hint}", "a secret is not repeated"


def test_unknown_setting_names_the_nearest() -> None:
    assert "'name'" in refusal(parse_setting, "nmae=x", FIELDS).hint
    assert refusal(parse_setting, "x=1", ()).hint == "this package has no settings"


def test_text_is_typed_and_defaults_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    checked = check_settings(
        FIELDS, {"data_dir": f"{tmp_path}/link", "verbose": "true", "level": "0.5"}, {"token": "hunter2"}
    )
    assert checked.values == {"data_dir": str(tmp_path), "level": 0.5, "verbose": True}
    assert checked.secrets == {"token": "hunter2"}
    assert "hunter2" not in repr(checked)
    assert check_settings(FIELDS, {"data_dir": str(tmp_path)}).values == {
        "data_dir": str(tmp_path),
        "level": 3,
    }


def test_values_of_an_earlier_grant_are_taken_as_they_are(tmp_path: Path) -> None:
    first = check_settings(FIELDS, {"data_dir": str(tmp_path), "level": 7, "verbose": False}).values
    assert check_settings(FIELDS, first).values == first


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("level", "three", "config.type"),
        ("level", "NaN", "config.type"),
        ("level", "1e999", "config.type"),
        ("level", "9" * 30, "config.type"),
        ("level", float("nan"), "config.type"),
        ("level", True, "config.type"),
        ("level", "٣", "config.type"),
        ("verbose", "yes", "config.type"),
        ("verbose", 1, "config.type"),
        ("name", 5, "config.type"),
        ("name", "a\0b", "config.not_text"),
        ("name", "\udcff", "config.not_text"),
        ("name", "x" * (MAX_VALUE + 1), "config.too_long"),
        ("data_dir", "/absent/folder", "path.missing"),
        ("data_dir", "/usr/../etc", "path.dotdot"),
        ("data_dir", "/etc/passwd", "path.kind"),
        ("other", "x", "config.unknown"),
        ("token", "hunter2", "config.sensitive_inline"),
    ],
)
def test_wrong_values_are_refused(key: str, value: Any, code: str, tmp_path: Path) -> None:
    assert refusal(check_settings, FIELDS, {"data_dir": str(tmp_path), key: value}).code == code


def test_required_setting_must_have_a_value(tmp_path: Path) -> None:
    error = refusal(check_settings, FIELDS, {})
    assert (error.code, error.message) == ("config.missing", "data_dir (Folder with CSV files) has no value")
    secret = (ConfigField("token", "string", sensitive=True, required=True),)
    assert refusal(check_settings, secret, {}).hint == "give one: --set token=@FILE"
    assert check_settings(secret, {}, kept=["token"]).secrets == {}
    plain = (*FIELDS, *secret)
    assert check_settings(plain[-1:], {}, {"token": "t"}).secrets == {"token": "t"}
    assert (
        refusal(check_settings, FIELDS, {"data_dir": str(tmp_path)}, {"name": "x"}).code
        == "config.not_sensitive"
    )


def test_wrong_secret_is_not_repeated() -> None:
    fields = (ConfigField("pin", "number", sensitive=True),)
    error = refusal(check_settings, fields, {}, {"pin": "hunter2"})
    assert error.code == "config.type"
    assert "hunter2" not in str(error)


def test_sensitive_path_cannot_be_shown_and_is_refused() -> None:
    fields = (ConfigField("dir", "directory", sensitive=True),)
    assert refusal(check_settings, fields, {}).code == "config.sensitive_path"


def test_secret_from_a_file_loses_one_line_break() -> None:
    assert secret_text(b"hunter2\n", "token") == "hunter2"
    assert secret_text(b"hunter2\r\n", "token") == "hunter2"
    assert secret_text(b"two\n\n", "token") == "two\n"
    assert refusal(secret_text, b"\xff", "token").code == "config.not_text"
    assert refusal(secret_text, b"x" * (MAX_VALUE + 1), "token").code == "config.too_long"


def test_path_of_a_manifest_is_expanded(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "out").symlink_to("/usr")
    values = {"data_dir": str(tmp_path)}
    assert expand_path("${user_config.data_dir}", values) == (str(tmp_path),)
    assert expand_path("${user_config.data_dir}/sub", values) == (f"{tmp_path}/sub",)
    assert expand_path("${user_config.data_dir}/out", values) == ("/usr",)
    assert expand_path("${user_config.data_dir}/usr", {"data_dir": "/"}) == ("/usr",)
    assert expand_path("/usr", {}) == ("/usr",)
    assert expand_path("${user_config.other}", values) == ()
    assert refusal(expand_path, "${user_config.name}", {"name": "relative"}).code == "path.relative"
    assert refusal(expand_path, "${user_config.name}/x", {"name": "/usr/.."}).code == "path.dotdot"


SEVERAL = (
    ConfigField("dirs", "directory", multiple=True),
    ConfigField("tags", "string", multiple=True, env="TAGS", default=("x",)),
)


def test_a_setting_can_have_any_number_of_values(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    settings = check_settings(SEVERAL, {"dirs": (one, two, one)})
    assert settings.values == {"dirs": (one, two), "tags": ("x",)}
    assert check_settings(SEVERAL, {"dirs": one}).values["dirs"] == (one,)
    assert expand_path("${user_config.dirs}/sub", settings.values) == (f"{one}/sub", f"{two}/sub")
    several = replace(draft(("bin/x", "-d", "${user_config.dirs}", "end")), user_config=SEVERAL)
    filled = fill(several, settings.values, {}, storage="")
    assert filled.command == ("bin/x", "-d", one, two, "end")
    assert filled.env == {"TAGS": '["x"]'}
    none = fill(several, {"tags": ("a b", "c")}, {}, storage="")
    assert none.command == ("bin/x", "-d", "end")
    assert none.env == {"TAGS": '["a b", "c"]'}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"dirs": ()}, "config.too_many"),
        ({"tags": tuple(map(str, range(MAX_VALUES + 1)))}, "config.too_many"),
        ({"tags": ("x" * (MAX_VALUE // 2), "y" * (MAX_VALUE // 2))}, "config.too_long"),
        ({"tags": ("a", 1)}, "config.type"),
        ({"dirs": ("/usr", "/usr/..")}, "path.dotdot"),
    ],
)
def test_each_of_several_values_is_checked(values: Any, code: str) -> None:
    assert refusal(check_settings, SEVERAL, values).code == code


@pytest.mark.parametrize("value", ["0", "3.5", 4, "1e3", -1.0])
def test_a_number_out_of_its_bounds_is_refused(value: Any) -> None:
    bounded = ConfigField("n", "number", min=1, max=3)
    assert check_settings((bounded,), {"n": "3"}).values == {"n": 3}
    assert check_settings((bounded,), {"n": 1}).values == {"n": 1}
    error = refusal(check_settings, (bounded,), {"n": value})
    assert (error.code, error.hint) == ("config.type", "give a number between 1 and 3")
    several = ConfigField("n", "number", max=3, multiple=True)
    assert check_settings((several,), {"n": ("-7", "3")}).values == {"n": (-7, 3)}
    if value not in ("0", -1.0):
        assert refusal(check_settings, (several,), {"n": ("2", value)}).hint == "give a number at most 3"


def test_a_secret_number_out_of_its_bounds_is_refused_without_showing_it() -> None:
    secret = ConfigField("n", "number", sensitive=True, min=1000)
    error = refusal(check_settings, (secret,), {}, {"n": "777"})
    assert error.hint == "give a number at least 1000"
    assert "777" not in str(error)


def test_one_value_is_not_several() -> None:
    assert refusal(check_settings, (ConfigField("name", "string"),), {"name": ("a",)}).code == "config.type"


def test_command_and_environment_are_filled_in() -> None:
    package = draft(
        command=("bin/tool", "--dir=${user_config.data_dir}", "${app}/x", "$HOME ${storage}"),
        env=(("A", "${storage}/m.json"), ("B", "${user_config.name}"), ("C", "x${user_config.token}y")),
    )
    filled = fill(package, {"data_dir": "/data", "verbose": True}, {"token": "t"}, storage="/storage")
    assert filled.command == ("bin/tool", "--dir=/data", "/app/x", "$HOME /storage")
    assert filled.env == {"A": "/storage/m.json", "C": "xty", "TOKEN": "t", "VERBOSE": "true"}
    assert "xty" not in repr(filled)


def test_values_are_put_in_once() -> None:
    """A value that reads like a placeholder stays text: it is not substituted again."""
    package = draft(command=("t", "${user_config.name}"), env=(("E", "${user_config.name}"),))
    filled = fill(package, {"name": "${user_config.token}${storage}"}, {"token": "hunter2"}, storage="/s")
    assert filled.command[1] == filled.env["E"] == "${user_config.token}${storage}"


@given(
    values=st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=20), max_size=2),
    text=st.text(max_size=40),
)
def test_substitution_never_grows_a_placeholder(values: dict[str, str], text: str) -> None:
    found = substitute(text, lambda name: values.get(name, ""))
    if not placeholders(text):
        assert found == text


@pytest.mark.parametrize(
    ("command", "env", "code"),
    [
        (("${user_config.token}",), "", "config.sensitive_in_command"),
        (("--x=${user_config.token}",), "", "config.sensitive_in_command"),
        (("${user_config.name}",), "", "config.no_value"),
        (("${storage}",), "", "config.no_storage"),
        ((), "${storage}", "config.no_storage"),
        (("${HOME}",), "", "config.unknown_placeholder"),
        ((), "${user_config.absent}", "config.unknown_placeholder"),
    ],
)
def test_command_that_cannot_be_completed_is_refused_at_approval(
    command: tuple[str, ...], env: str, code: str
) -> None:
    package = draft(command=("t", *command), env=(("E", env),))
    settings = check_settings(FIELDS[1:], {}, {"token": "hunter2"})
    error = refusal(check_uses, package, settings, storage=0)
    assert error.code == code
    assert "hunter2" not in f"{error.message} {error.hint}"


def test_kept_secret_counts_as_a_value() -> None:
    package = draft(command=("t",), env=(("E", "${user_config.token}"),))
    check_uses(package, check_settings(FIELDS[1:], {}), kept=["token"], storage=0)
