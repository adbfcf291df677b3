"""A signal ends a command cleanly: no process, no half of anything, and the ledger says how it ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import DEADLINE, Shell
from mpp_exec.audit.entry import Entry
from mpp_exec.lifecycle.session import Session
from processes_below import alive, descendants

SLOW = """
import pathlib, time

def call(folder):
    pathlib.Path(folder, "started").write_text("x")
    time.sleep(60)
"""
WRITES = """
[limits]
wall = "60s"

[permissions.filesystem]
write = ["${user_config.folder}"]

[user_config.folder]
type = "directory"
required = true
"""
SCHEMA = '{ type = "object" }'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail after the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.01)


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Hold the write lock of a database, so that whoever wants to write waits."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def entries(shell: Shell) -> list[Entry]:
    """Return what is on the ledger, newest first."""
    with Session(shell.home) as session:
        return list(session.ledger.list())


def slow_tool(shell: Shell, code: str = SLOW) -> Path:
    """Install a tool that takes a minute; return the folder where it says that it has begun."""
    folder = shell.root / "granted"
    folder.mkdir()
    parts = {"code": code, "toml": WRITES, "schema": SCHEMA, "extra": 'operation = "write"'}
    shell.install("acme/slow", "--set", f"folder={folder}", **parts)
    return folder


def slow_call(shell: Shell) -> tuple[subprocess.Popen[bytes], set[tuple[int, str]]]:
    """Start a call that takes a minute; return it and its processes, when the tool has begun."""
    folder = shell.root / "granted"
    folder.mkdir()
    extra = 'operation = "write"'
    shell.install(
        "acme/slow", "--set", f"folder={folder}", code=SLOW, toml=WRITES, schema=SCHEMA, extra=extra
    )
    process = shell.start("run", "acme/slow", f"folder={folder}")
    until((folder / "started").exists, "the tool begins")
    return process, descendants(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_call_ends_with_its_command(shell: Shell, number: signal.Signals) -> None:
    process, inside = slow_call(shell)
    with process:
        assert len(inside) >= 2, "init and the tool"
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number, err
    assert out == b""
    assert err == b"interrupted\n"
    assert not any(alive(each) for each in inside)
    call = next(entry for entry in entries(shell) if entry.kind == "start")
    assert call.outcome == "killed", "how it ended is on the ledger"


def test_sigkill_leaves_no_process(shell: Shell) -> None:
    process, inside = slow_call(shell)
    with process:
        process.kill()
        process.wait(DEADLINE)
    until(lambda: not any(alive(each) for each in inside), "the sandbox dies with its host")
    call = next(entry for entry in entries(shell) if entry.kind == "start")
    assert call.outcome == "unknown"


def test_ctrl_c_at_a_terminal_ends_a_call(shell: Shell) -> None:
    folder = shell.root / "granted"
    folder.mkdir()
    extra = 'operation = "write"'
    shell.install(
        "acme/slow", "--set", f"folder={folder}", code=SLOW, toml=WRITES, schema=SCHEMA, extra=extra
    )
    with shell.at_terminal("run", "acme/slow", f"folder={folder}") as terminal:
        until((folder / "started").exists, "the tool begins")
        inside = descendants(terminal.pid)
        terminal.type("\x03")
        code, screen = terminal.end()
    assert code == 130
    assert "interrupted" in screen
    assert "Traceback" not in screen
    assert not any(alive(each) for each in inside)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_install_leaves_nothing(shell: Shell, number: signal.Signals) -> None:
    """The signal arrives when everything is unpacked and the transaction is about to begin."""
    package = shell.package()
    before = [entry.kind for entry in entries(shell)]
    tmp = shell.home / "tmp"
    with held(shell.home / "state.db"):
        process = shell.start("install", str(package), "--approve")
        until(lambda: any(tmp.glob("*/manifest.cose")), "the package is unpacked")
        process.send_signal(number)
    with process:
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number, err
    assert out == b""
    assert b"Traceback" not in err
    assert not any(tmp.iterdir())
    assert not any((shell.home / "packages").iterdir())
    assert shell.ok("list", "--json").json == []
    assert [entry.kind for entry in entries(shell)] == before
    assert shell.ok("install", str(package), "--approve").out == "installed acme/echo 1.0.0\n"


def test_sigkill_in_an_install_leaves_nothing_after_the_next_command(shell: Shell) -> None:
    package = shell.package()
    tmp = shell.home / "tmp"
    with held(shell.home / "state.db"):
        process = shell.start("install", str(package), "--approve")
        until(lambda: any(tmp.glob("*/manifest.cose")), "the package is unpacked")
        process.kill()
        process.communicate(timeout=DEADLINE)
    assert shell.ok("list", "--json").json == []
    assert not any(tmp.iterdir())
    assert not any((shell.home / "packages").iterdir())


def test_ctrl_c_at_a_question_changes_nothing(shell: Shell) -> None:
    with shell.at_terminal("install", str(shell.package())) as terminal:
        terminal.expect("Approve?")
        terminal.type("\x03")
        code, screen = terminal.end()
    assert code == 130
    assert "Traceback" not in screen
    assert shell.ok("list", "--json").json == []


def test_ctrl_c_at_a_passphrase_gives_the_echo_back(shell: Shell) -> None:
    with shell.at_terminal("keygen", "acme", "--passphrase") as terminal:
        terminal.expect("Passphrase for the new key:")
        terminal.type("\x03")
        assert terminal.end()[0] == 130
        assert terminal.echoes()
    assert not (shell.home / "keys" / "acme.key").exists()


def test_a_signal_that_is_ignored_stays_ignored(shell: Shell) -> None:
    """``nohup mpp-exec run …`` goes on when its terminal is closed."""
    folder = shell.root / "granted"
    folder.mkdir()
    extra = 'operation = "write"'
    code = SLOW.replace("60", "1") + "    return 'done'\n"
    shell.install(
        "acme/slow", "--set", f"folder={folder}", code=code, toml=WRITES, schema=SCHEMA, extra=extra
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = shell.start("run", "acme/slow", f"folder={folder}")
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        until((folder / "started").exists, "the tool begins")
        os.kill(process.pid, signal.SIGHUP)
        out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"done\n")
