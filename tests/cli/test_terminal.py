"""Questions are asked at the terminal, and nothing but a person's yes is a yes."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import Shell, error_lines

SECRET = """
[user_config.token]
type = "string"
title = "API token"
sensitive = true
required = true
env = "TOKEN"
"""
DESTRUCTIVE = 'operation = "destructive"'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def stranger(tmp_path: Path, **parts: str) -> Path:
    """Return a package that was built in another home, so that its publisher is unknown here."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    return Shell(elsewhere).package(**parts)


def test_trust_and_approval_are_two_questions(shell: Shell, tmp_path: Path) -> None:
    package = stranger(tmp_path)
    with shell.at_terminal("install", str(package)) as terminal:
        assert "publisher acme is not known here" in terminal.expect("Trust this key for acme? [y/N]")
        terminal.type("y\n")
        assert "package acme/echo 1.0.0" in terminal.expect("Approve?")
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert code == 0
    assert shell.ok("run", "acme/echo", "text=hi").out == "hi\n"


@pytest.mark.parametrize("answer", ["n\n", "\n", "maybe\n", "\x04", "Y E S\n"])
def test_anything_but_yes_is_no(shell: Shell, tmp_path: Path, answer: str) -> None:
    package = stranger(tmp_path)
    with shell.at_terminal("install", str(package), "--trust") as terminal:
        terminal.expect("Approve?")
        terminal.type(answer)
        code, rest = terminal.end()
    assert code == 4
    assert "[consent.refused]" in rest
    assert shell.ok("list", "--json").json == []
    assert shell.ok("publisher", "list", "--json").json == [], "trust was only for what was not installed"


def test_refused_trust_asks_nothing_more(shell: Shell, tmp_path: Path) -> None:
    package = stranger(tmp_path)
    with shell.at_terminal("install", str(package)) as terminal:
        terminal.expect("Trust this key")
        terminal.type("n\n")
        code, rest = terminal.end()
    assert code == 4
    assert "[trust.refused]" in rest
    assert "Approve" not in rest


def rotated(shell: Shell, tmp_path: Path) -> Path:
    """Trust acme of another home here, and return the statement that it has a new key."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Shell(elsewhere)
    other.ok("keygen", "acme")
    shell.ok("publisher", "add", "acme", other.ok("publisher", "show", "acme", "--json").json["public_key"])
    statement = tmp_path / "acme.rotation"
    other.ok("publisher", "rotate", "acme", "-o", str(statement))
    return statement


@pytest.mark.parametrize(("answer", "code", "former"), [("y\n", 0, 1), ("n\n", 4, 0), ("\n", 4, 0)])
def test_a_new_key_is_trusted_by_a_yes(
    shell: Shell, tmp_path: Path, answer: str, code: int, former: int
) -> None:
    with shell.at_terminal("publisher", "rotate", str(rotated(shell, tmp_path))) as terminal:
        assert "publisher acme has a new key" in terminal.expect("Trust the new key for acme? [y/N]")
        terminal.type(answer)
        assert terminal.end()[0] == code
    assert len(shell.ok("publisher", "show", "acme", "--json").json["former"]) == former


@pytest.mark.parametrize(("answer", "code", "former"), [("y\n", 0, 2), ("n\n", 4, 1)])
def test_a_key_from_before_is_a_former_one_by_a_yes(
    shell: Shell, tmp_path: Path, answer: str, code: int, former: int
) -> None:
    """Its statement is shown as one about that key: the trusted one stays what it is."""
    first = rotated(shell, tmp_path)
    other = Shell(tmp_path / "elsewhere")
    other.ok("publisher", "rotate", "acme", "-o", str(tmp_path / "second.rotation"))
    shell.ok("publisher", "remove", "acme")
    shell.ok("publisher", "add", "acme", other.ok("publisher", "show", "acme", "--json").json["public_key"])
    shell.ok("publisher", "rotate", str(tmp_path / "second.rotation"), "--yes")
    before = shell.ok("publisher", "show", "acme", "--json").json
    with shell.at_terminal("publisher", "rotate", str(first)) as terminal:
        shown = terminal.expect("Count it as a former key? [y/N]")
        assert "publisher acme had another key" in shown
        assert f"now   {before['key_id']}" in shown
        assert "new key" not in shown
        terminal.type(answer)
        assert terminal.end()[0] == code
    after = shell.ok("publisher", "show", "acme", "--json").json
    assert after["key_id"] == before["key_id"]
    assert len(after["former"]) == former
    again = shell.ok("publisher", "rotate", str(tmp_path / "second.rotation"), "--json").json
    assert (again["key_id"], again["rotated"]) == (before["key_id"], False)


def test_later_installs_without_an_approval(shell: Shell) -> None:
    with shell.at_terminal("install", str(shell.package())) as terminal:
        terminal.expect("Approve?")
        terminal.type("l\n")
        assert terminal.end()[0] == 0
    assert shell.ok("list", "--json").json[0]["state"] == "not approved"
    refused = shell.run("run", "acme/echo", "text=hi")
    assert (refused.code, error_lines(refused)[1]) == (4, "grant.none")
    with shell.at_terminal("approve", "acme/echo") as terminal:
        terminal.expect("Approve? [y/N]")
        terminal.type("y\n")
        assert terminal.end()[0] == 0
    assert shell.ok("run", "acme/echo", "text=hi").out == "hi\n"


def test_what_was_typed_before_the_question_is_no_answer(shell: Shell) -> None:
    with shell.at_terminal("install", str(shell.package())) as terminal:
        terminal.type("y\ny\ny\n")
        terminal.expect("Approve?")
        terminal.type("n\n")
        code, _ = terminal.end()
    assert code == 4
    assert shell.ok("list", "--json").json == []


def test_standard_input_answers_nothing(shell: Shell) -> None:
    done = shell.run("install", str(shell.package()), stdin="y\ny\ny\n")
    assert (done.code, error_lines(done)[1]) == (4, "consent.approval_needed")


def test_a_secret_is_asked_for_and_does_not_show(shell: Shell) -> None:
    code = "import os\ndef call(text):\n    return len(os.environ['TOKEN'])\n"
    package = shell.package(code=code, toml=SECRET)
    with shell.at_terminal("install", str(package)) as terminal:
        terminal.expect("token (API token):")
        terminal.type("hunter2hunter2\n")
        shown = terminal.expect("Approve?")
        terminal.type("y\n")
        ended, rest = terminal.end()
    assert ended == 0
    assert "hunter2" not in shown + rest
    assert "a secret, stored encrypted" in shown
    assert shell.ok("run", "acme/echo", "text=").out == "14\n"


def test_the_question_and_its_matter_appear_at_the_terminal_whatever_stderr_is(shell: Shell) -> None:
    """Redirected output cannot part the question from what it is about."""
    package = shell.package()
    with (
        (shell.root / "out").open("wb") as out,
        shell.at_terminal("install", str(package), out=out.fileno()) as terminal,
    ):
        assert "it may:" in terminal.expect("Approve?")
        terminal.type("y\n")
        assert terminal.end()[0] == 0
    assert (shell.root / "out").read_text() == "installed acme/echo 1.0.0\n"


def test_a_destructive_call_is_shown_in_full_and_confirmed_at_the_terminal(shell: Shell) -> None:
    shell.install(extra=DESTRUCTIVE)
    with shell.at_terminal("run", "acme/echo", "text=\x1b[2Jgone", "--confirm") as terminal:
        shown = terminal.expect("Run this call? [y/N]")
        terminal.type("y\n")
        code, rest = terminal.end()
    assert code == 0
    assert "may destroy things" in shown
    assert "\\u001b[2Jgone" in shown
    assert "\x1b[2J" not in shown + rest
    assert "\\x1b[2Jgone" in rest, "on a terminal the result is escaped, too"


def test_a_refused_call_does_not_run(shell: Shell) -> None:
    shell.install(extra=DESTRUCTIVE, code="def call(text):\n    raise SystemExit('it ran')\n")
    with shell.at_terminal("run", "acme/echo", "text=x", "--confirm") as terminal:
        terminal.expect("Run this call?")
        terminal.type("n\n")
        code, rest = terminal.end()
    assert code == 4
    assert "[confirm.refused]" in rest
    assert "it ran" not in rest


@pytest.mark.parametrize("words", [[], ["--confirm"]])
def test_without_a_terminal_nothing_can_confirm(shell: Shell, words: list[str]) -> None:
    shell.install(extra=DESTRUCTIVE)
    done = shell.run("run", "acme/echo", "text=x", *words, stdin="y\ny\n")
    assert (done.code, error_lines(done)[1]) == (4, "confirm.pending")


def test_at_a_terminal_a_call_is_only_asked_about_if_that_was_wanted(shell: Shell) -> None:
    shell.install(extra=DESTRUCTIVE)
    with shell.at_terminal("run", "acme/echo", "text=x") as terminal:
        code, screen = terminal.end()
    assert (code, "[confirm.required]" in screen) == (4, True)


def test_once_is_asked_once(shell: Shell) -> None:
    shell.install(extra='confirm = "once"')
    with shell.at_terminal("run", "acme/echo", "text=x", "--confirm") as terminal:
        terminal.expect("Run this call, and every later one of this tool?")
        terminal.type("y\n")
        assert terminal.end()[0] == 0
    assert shell.ok("run", "acme/echo", "text=x").out == "x\n"


def test_a_passphrase_is_asked_twice_and_then_for_each_build(shell: Shell) -> None:
    with shell.at_terminal("keygen", "acme", "--passphrase") as terminal:
        terminal.expect("Passphrase for the new key:")
        terminal.type("correct horse\n")
        terminal.expect("The same again:")
        terminal.type("correct horse\n")
        code, rest = terminal.end()
    assert code == 0
    assert "horse" not in rest
    folder = shell.tool()
    done = shell.run("build", str(folder))
    assert (done.code, error_lines(done)[1]) == (4, "key.needs_passphrase")
    for passphrase, expected in (("wrong\n", 4), ("correct horse\n", 0)):
        with shell.at_terminal("build", str(folder)) as terminal:
            terminal.expect("Passphrase for the key of acme:")
            terminal.type(passphrase)
            assert terminal.end()[0] == expected


def test_two_different_passphrases_make_no_key(shell: Shell) -> None:
    with shell.at_terminal("keygen", "acme", "--passphrase") as terminal:
        terminal.expect("Passphrase for the new key:")
        terminal.type("one\n")
        terminal.expect("The same again:")
        terminal.type("two\n")
        code, rest = terminal.end()
    assert code == 2
    assert "[key.passphrases_differ]" in rest
    assert not (shell.home / "keys" / "acme.key").exists()


def test_several_values_are_asked_for_until_none_is_given(shell: Shell) -> None:
    toml = '[user_config.tags]\ntype = "string"\nmultiple = true\nrequired = true\n'
    with shell.at_terminal("install", str(shell.package(toml=toml))) as terminal:
        for said in ("one\n", "two\n", "\n"):
            terminal.expect("tags (one of any number, nothing to end):")
            terminal.type(said)
        shown = terminal.expect("Approve?")
        terminal.type("y\n")
        assert terminal.end()[0] == 0
    assert "tags = one" in shown
    assert "tags = two" in shown
