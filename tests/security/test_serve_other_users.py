"""Attacks on the resident runtime by another user of the machine: on its socket, its folder, its clients."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command import Shell
from marked import furnished, listen_in, mark, words
from served import Runtime, connect_to, frame, hello, read_frame, run_client, serving

ROOT = os.geteuid() == 0
OTHER = 1234
only_root = pytest.mark.skipif(not ROOT, reason="only root can be another user for a moment")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return furnished(tmp_path)


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


def as_another_user(work: Callable[[], bytes]) -> bytes:
    """Return what *work* returns in a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            os.write(writing, work())
        except OSError as error:
            os.write(writing, f"failed: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def open_up(shell: Shell) -> None:
    """Let everybody reach the socket, as if the home were not closed."""
    for parent in [shell.home, *shell.home.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    (shell.home / "serve").chmod(0o755)
    (shell.home / "serve" / "socket").chmod(0o666)


@only_root
def test_another_user_finds_the_socket_closed(runtime: Runtime) -> None:
    said = as_another_user(lambda: str(connect_to(runtime.path)).encode())
    assert said.startswith(b"failed: ")
    assert b"Permission denied" in said


@only_root
@pytest.mark.parametrize("letter", [b"S", b"Q", b"H"])
def test_another_user_who_reaches_the_socket_is_not_read_from(runtime: Runtime, letter: bytes) -> None:
    """The folder is opened up: what stays is what the kernel says of who connected."""
    said = hello(runtime, *words(runtime.shell)) if letter == b"H" else frame(letter)
    open_up(runtime.shell)

    def ask() -> bytes:
        with connect_to(runtime.path) as connection:
            try:
                connection.sendall(said)
            except (BrokenPipeError, ConnectionResetError):
                return b"closed"
            return b"answered" if read_frame(connection)[0] else b"closed"

    assert as_another_user(ask) == b"closed"
    assert runtime.process.poll() is None
    assert not mark(runtime.shell).exists()


def hears_nothing(listener: socket.socket) -> bool:
    """Tell whether nobody has said anything to *listener*."""
    listener.settimeout(0)
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return True
    with connection:
        connection.settimeout(5)
        return connection.recv(1) == b""


@only_root
def test_another_user_who_answers_as_the_runtime_is_told_nothing(shell: Shell) -> None:
    """The folder and the file are the user's own by now; who listens is asked of the kernel."""
    folder = shell.home / "serve"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    open_folders(shell)
    before = os.geteuid()
    os.seteuid(OTHER)
    try:
        listener = listen_in(folder)
    finally:
        os.seteuid(before)
    with listener:
        os.chown(folder, 0, 0)
        os.chown(folder / "socket", 0, 0)
        folder.chmod(0o700)
        done = run_client(shell, *words(shell), SECRET_OF_ONE="s3cret")
        assert (done.code, done.out) == (0, "s3cret\n")
        assert hears_nothing(listener)
        status = shell.run("serve", "--status")
        assert (status.code, "[serve.owner]" in status.err) == (4, True)


def open_folders(shell: Shell) -> None:
    for parent in [shell.home, *shell.home.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)


@only_root
def test_a_socket_that_another_user_put_there_is_not_connected_to(shell: Shell) -> None:
    folder = shell.home / "serve"
    folder.mkdir(mode=0o700)
    with listen_in(folder) as listener:
        os.chown(folder / "socket", OTHER, OTHER)
        assert run_client(shell, *words(shell)).code == 0
        assert hears_nothing(listener)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o701])
def test_a_folder_that_others_can_enter_is_not_used(shell: Shell, mode: int) -> None:
    folder = shell.home / "serve"
    folder.mkdir()
    folder.chmod(mode)
    with listen_in(folder) as listener:
        assert run_client(shell, *words(shell)).code == 0
        assert hears_nothing(listener)
    started = shell.run("serve")
    assert (started.code, "[serve.exposed]" in started.err) == (4, True)


def test_a_folder_that_is_a_link_is_not_followed(shell: Shell, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (shell.home / "serve").symlink_to(elsewhere)
    with listen_in(elsewhere) as listener:
        assert run_client(shell, *words(shell)).code == 0
        assert hears_nothing(listener)
    started = shell.run("serve")
    assert (started.code, "[serve.exposed]" in started.err) == (4, True)
    assert [each.name for each in elsewhere.iterdir()] == ["socket"]


def test_a_socket_that_is_a_link_is_not_followed(shell: Shell, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (shell.home / "serve").mkdir(mode=0o700)
    (shell.home / "serve" / "socket").symlink_to(elsewhere / "socket")
    with listen_in(elsewhere) as listener:
        assert run_client(shell, *words(shell)).code == 0
        assert hears_nothing(listener)


def test_a_link_at_the_place_of_the_lock_is_not_followed(shell: Shell, tmp_path: Path) -> None:
    (shell.home / "serve").mkdir(mode=0o700)
    (shell.home / "serve" / "lock").symlink_to(tmp_path / "made")
    started = shell.run("serve")
    assert (started.code, "[serve.io]" in started.err) == (7, True)
    assert not (tmp_path / "made").exists()
