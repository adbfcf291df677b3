"""Attacks on the resident runtime by a tool that it runs, and on its client by what answers in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import DEADLINE, Shell
from marked import furnished, listen_in, mark, words
from served import CLIENT, Runtime, frame, read_frame, run_client, serving


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return furnished(tmp_path)


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


REACHES = """\
import os

def call(home):
    found = []
    for path in (home, f"{home}/serve", f"{home}/serve/socket"):
        try:
            found.append(sorted(os.listdir(path)) if not path.endswith("socket") else str(os.stat(path)))
        except OSError as error:
            found.append(type(error).__name__)
    try:
        import socket
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{home}/serve/socket")
        found.append("connected")
    except Exception as error:
        found.append(type(error).__name__)
    return found
"""
READS = """\
[permissions.filesystem]
read = ["${user_config.folder}"]

[user_config.folder]
type = "directory"
title = "Folder"
required = true
"""


def test_a_tool_that_is_granted_what_the_home_is_in_does_not_reach_the_socket(runtime: Runtime) -> None:
    shell = runtime.shell
    shell.install(
        "acme/reaches",
        "--set",
        f"folder={shell.root}",
        code=REACHES,
        toml=READS,
        schema='{ type = "object", properties = { home = { type = "string" } } }',
    )
    done = runtime.client("run", "acme/reaches", f"home={shell.home}", "--json")
    assert runtime.status()["calls"] == 1
    found = done.json["structuredContent"]["result"]
    assert found[0] == []  # covered by an empty folder
    assert found[1:3] == ["FileNotFoundError", "FileNotFoundError"]
    assert found[3] != "connected"


@pytest.mark.parametrize("inside", ["", "serve", "serve/socket"])
def test_the_socket_cannot_be_granted(runtime: Runtime, inside: str) -> None:
    shell = runtime.shell
    kind = "file" if inside.endswith("socket") else "directory"
    package = shell.package("acme/wants", code=REACHES, toml=READS.replace("directory", kind))
    done = shell.run("install", str(package), "--approve", "--set", f"folder={shell.home / inside}")
    assert done.code in (2, 4), done
    assert "[grant.protected]" in done.err or "[path.kind]" in done.err


def test_a_runtime_that_never_answers_does_not_hold_its_client(shell: Shell) -> None:
    """It takes the connection and says nothing: the client makes the call itself."""
    (shell.home / "serve").mkdir(mode=0o700)
    with listen_in(shell.home / "serve"):
        done = run_client(shell, *words(shell))
    assert (done.code, mark(shell).exists()) == (0, True)


def test_a_runtime_that_answers_without_end_is_given_up(shell: Shell) -> None:
    """More than any result has: the client takes no more, and says that it does not know."""
    (shell.home / "serve").mkdir(mode=0o700)
    with listen_in(shell.home / "serve") as listener:
        child = os.fork()
        if child == 0:
            code = 2
            try:
                connection, _ = listener.accept()
                read_frame(connection)
                connection.sendall(frame(b"B"))
                piece = frame(b"O", b"x" * (1 << 20))
                for _ in range(300):
                    connection.sendall(piece)
                code = 1
            except OSError:
                code = 0
            finally:
                os._exit(code)
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(CLIENT), *words(shell)],
            env=shell.environment(),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "it takes no more"
    assert (done.returncode, done.stdout) == (7, b"")
    assert b"[serve.lost]" in done.stderr


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
os.execv(sys.argv[1], sys.argv[1:])
"""
