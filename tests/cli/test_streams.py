"""Results on stdout, everything else on stderr; nothing untrusted reaches a terminal as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command import DEADLINE, PROGRAM, Shell, error_lines

# Moves the cursor, clears, reorders, hides, tags: what text can do to a terminal and its reader.
HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x9bc\u202edcba\u2066e\u200bf\U000e0041g\rh\x08i"
SHOWN = r"a\x1b[2J\x1b]0;owned\x07b\x9bc\u202edcba\u2066e\u200bf\U000e0041g\rh\x08i"
SAYS_IT = f"""
import sys
def call(text):
    print({HOSTILE!r}, file=sys.stderr)
    return {HOSTILE!r}
"""

WHO_HAS = """
import os, sys
closed = [int(word) for word in sys.argv[1:]]
for descriptor in closed:
    os.close(descriptor)
from mpp_exec.cli.main import main
main(["--version"])
taken = [descriptor for descriptor in range(3) if os.readlink(f"/proc/self/fd/{descriptor}") != os.devnull]
assert not set(taken) & set(closed), taken
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_pipe_gets_the_result_as_it_is(shell: Shell) -> None:
    """A program wants the bytes; stderr is for people wherever it goes, so it is escaped."""
    shell.install(code=SAYS_IT)
    done = shell.ok("run", "acme/echo", "text=x")
    assert done.out == f"{HOSTILE}\n"
    assert SHOWN in done.err
    assert not any(character in done.err for character in "\x1b\x07\x9b\u202e\u2066\u200b\U000e0041\r\x08")


def test_a_terminal_gets_the_result_escaped(shell: Shell) -> None:
    shell.install(code=SAYS_IT)
    with shell.at_terminal("run", "acme/echo", "text=x") as terminal:
        code, screen = terminal.end()
    assert code == 0
    assert screen.count(SHOWN) == 2, "the result and the tool's stderr"
    assert not any(character in screen for character in "\x1b\x07\x9b\u202e\u2066\u200b\U000e0041\x08")


def test_json_is_escaped_and_says_the_same(shell: Shell) -> None:
    shell.install(code=SAYS_IT)
    done = shell.ok("run", "acme/echo", "text=x", "--json")
    assert done.json["content"][0]["text"] == HOSTILE
    assert done.out.rstrip("\n").isprintable()
    assert done.out.count("\n") == 1, "one document on one line"
    with shell.at_terminal("run", "acme/echo", "text=x", "--json") as terminal:
        code, screen = terminal.end()
    assert code == 0
    assert not any(character in screen for character in "\x1b\x07\x9b\u202e\u2066\u200b\U000e0041\x08")


@pytest.mark.parametrize(
    "words",
    [("verify", HOSTILE), (HOSTILE,), ("inspect", f"./{HOSTILE}"), ("build", HOSTILE), ("run", HOSTILE)],
    ids=["file", "verb", "path", "folder", "name"],
)
def test_what_was_typed_is_escaped_in_messages(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run(*words)
    assert done.code in (2, 3)
    assert done.err.replace("\n", "").isprintable()
    assert len(done.err.splitlines()) == 2, "a line break in a name makes no line of its own"


def test_a_file_name_that_is_no_text(shell: Shell) -> None:
    done = subprocess.run(
        [*(word.encode() for word in PROGRAM), b"verify", b"\xff\xfe.mpp", b"--json"],
        capture_output=True,
        cwd=shell.cwd,
        env=shell.environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "package.not_found"
    assert b"\\udcff\\udcfe.mpp" in done.stderr


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    for number in range(3):
        shell.install(f"acme/echo{number}")
    read, write = os.pipe()
    os.close(read)
    try:
        process = shell.start("audit", "export", stdout=write)
    finally:
        os.close(write)
    with process:
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + 13
    assert err == b""


def test_head_takes_what_it_wants(shell: Shell) -> None:
    shell.install()
    command = f"set -o pipefail; {' '.join(PROGRAM)} list | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        cwd=shell.cwd,
        env=shell.environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"acme/echo 1.0.0  approved\n", b"")


def test_a_full_disk_under_stdout_is_reported(shell: Shell) -> None:
    shell.install()
    with Path("/dev/full").open("wb") as full, shell.start("list", stdout=full) as process:
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 7
    assert b"[output.io]" in err
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_hurt_nothing(shell: Shell, closed: str) -> None:
    """A descriptor that is not there is not given to the next file that is opened."""
    for words in (["install", str(shell.package()), "--approve"], ["run", "acme/echo", "text=hi"]):
        command = f"{' '.join([*PROGRAM, *words])} {closed}"
        done = subprocess.run(
            ["bash", "-c", command],
            env=shell.environment(),
            cwd=shell.cwd,
            stdout=subprocess.PIPE,
            timeout=DEADLINE,
            check=True,
            start_new_session=True,
        )
    assert done.stdout == (b"" if ">&-" in closed.split() else b"hi\n")
    assert shell.ok("run", "acme/echo", "text=hi").out == "hi\n"
    assert shell.ok("audit", "verify", "--json").json["ok"]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_taken_by_nothing_else(closed: tuple[int, ...]) -> None:
    """Else what a library prints on descriptor 2 would land in a database."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WHO_HAS, *map(str, closed)],
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert not done.stderr


def test_colour_only_at_a_terminal_and_not_with_no_color(shell: Shell) -> None:
    def screen(**variables: str) -> str:
        with Shell(shell.root, variables).at_terminal("instal") as terminal:
            return terminal.end()[1]

    assert "\x1b[1;31merror:\x1b[0m" in screen()
    assert "\x1b" not in screen(NO_COLOR="1")
    assert "\x1b" not in screen(TERM="dumb")
    assert "\x1b" not in shell.run("instal").err


def test_long_work_shows_a_bar_at_a_terminal(shell: Shell) -> None:
    """And takes it away when the work is done. Without a terminal there is none: test_cli_console."""
    shell.ok("keygen", "acme")
    folder = shell.tool()
    with (folder / "large.bin").open("wb") as file:
        file.truncate(600 << 20)
    try:
        with shell.at_terminal("build", str(folder)) as terminal:
            code, screen = terminal.end()
    finally:
        for path in (folder / "large.bin", *shell.cwd.glob("*.mpp")):
            path.unlink()
    assert code == 0
    assert screen.count("packing [") >= 2, "it moves"
    assert "%\r\x1b[K" in screen


def test_results_are_alone_on_stdout(shell: Shell) -> None:
    done = shell.install()
    assert done.out == "installed acme/echo 1.0.0\n"
    assert "it may:" in done.err
    assert shell.ok("run", "acme/echo", "text=jane@example.com").out == "[EMAIL]\n"
    failed = shell.run("run", "acme/echo", "text=x", "nonsense")
    assert failed.out == ""
    assert error_lines(failed)[1] == "arguments.word"


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("inspect", "acme/echo"),
        ("explain", "acme/echo"),
        ("doctor",),
        ("audit", "list"),
        ("audit", "verify"),
        ("publisher", "list"),
        ("publisher", "show", "acme"),
        ("run", "acme/echo", "text=x"),
        ("approve", "acme/echo", "--yes"),
    ],
    ids=" ".join,
)
def test_json_is_exactly_one_document(shell: Shell, words: tuple[str, ...]) -> None:
    shell.install()
    assert shell.ok(*words, "--json").json


def test_names_that_begin_with_a_dash(shell: Shell) -> None:
    package = shell.package().rename(shell.cwd / "-x.mpp")
    assert package.exists()
    assert shell.run("verify", "-x.mpp").code == 2
    assert shell.ok("verify", "--", "-x.mpp").out.startswith("verified")
    assert shell.ok("verify", "./-x.mpp").out.startswith("verified")
    assert shell.ok("install", "--approve", "--", "-x.mpp").out == "installed acme/echo 1.0.0\n"
    assert shell.ok("run", "acme/echo", "text=--json").out == "--json\n"
    assert shell.ok("run", "acme/echo", "--", "call", "text=-h").out == "-h\n"


def test_special_file_that_appeared_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    """On stderr, with the result on stdout as ever; as JSON it stands in the result."""
    project = tmp_path / "project"
    project.mkdir()
    shell.install(
        code="def call(text):\n    open(text, 'w').close()\n    return 'done'\n",
        extra='operation = "write"',
        toml=f'[permissions.filesystem]\nwrite = ["{project}"]\n',
    )
    done = shell.ok("run", "acme/echo", f"text={project}/.envrc")
    assert done.out == "done\n"
    assert f"warning: while the tool ran, {project}/.envrc appeared" in done.err
    (project / ".envrc").unlink()
    done = shell.ok("run", "acme/echo", f"text={project}/.envrc", "--json")
    assert done.json["_meta"]["mpp-exec/appeared"] == [f"{project}/.envrc"]
