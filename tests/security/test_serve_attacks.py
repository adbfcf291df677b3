"""Attacks on the resident runtime and its client: from another user, from a client, from a tool."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, Shell
from mpp_exec.serving.service import MAX_CLIENTS
from needs import missing
from served import (
    CLIENT,
    WRITES,
    Runtime,
    connect_to,
    exactly,
    frame,
    go,
    hello,
    read_frame,
    require_client,
    run_client,
    serving,
    until,
)

ROOT = os.geteuid() == 0
OTHER = 1234
only_root = pytest.mark.skipif(not ROOT, reason="only root can be another user for a moment")

MARKS = """\
import os, pathlib

def call(folder):
    (pathlib.Path(folder) / "ran").touch()
    return os.environ.get("SECRET_OF_ONE", "nothing")
"""
SCHEMA = '{ type = "object", properties = { folder = { type = "string" } }, required = ["folder"] }'
PERMISSIONS = f'[permissions]\nenvironment = ["SECRET_OF_ONE"]\n\n{WRITES}'


def furnished(root: Path) -> Shell:
    require_client()
    root.chmod(0o755)
    made = Shell(root)
    folder = root / "granted"
    folder.mkdir()
    for name, extra in (("acme/marks", ""), ("acme/asks", 'confirm = "always"\n')):
        made.install(
            name,
            "--set",
            f"folder={folder}",
            code=MARKS,
            toml=PERMISSIONS,
            schema=SCHEMA,
            extra=f'{extra}operation = "write"',
        )
    return made


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return furnished(tmp_path)


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime for all attacks that must leave it as it was: each is made where the others were."""
    with serving(furnished(tmp_path_factory.mktemp("lasting"))) as made:
        yield made


def mark(shell: Shell) -> Path:
    """Return what is there once the tool ran."""
    return shell.root / "granted" / "ran"


def words(shell: Shell, package: str = "acme/marks") -> list[str]:
    return ["run", package, f"folder={shell.root / 'granted'}"]


def is_well(runtime: Runtime) -> bool:
    """Tell whether the runtime serves others as before."""
    calls = runtime.status()["calls"]
    mark(runtime.shell).unlink(missing_ok=True)
    done = runtime.client(*words(runtime.shell))
    return done.code == 0 and runtime.status()["calls"] == calls + 1


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


# -- another user --------------------------------------------------------------------------------------


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


def listen_in(folder: Path) -> socket.socket:
    """Return a socket that listens as ``socket`` in *folder*."""
    listener = socket.socket(socket.AF_UNIX)
    number = os.open(folder, os.O_PATH)
    listener.bind(f"/proc/self/fd/{number}/socket")
    os.close(number)
    listener.listen()
    listener.settimeout(DEADLINE)
    return listener


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


# -- a client that lies --------------------------------------------------------------------------------


def says(runtime: Runtime, data: bytes, *, answer: bool = True, then: bytes = b"") -> bytes:
    """Return the letters of what the runtime answers to *data*, until it ends the connection.

    To each B it is sent the G that it asks for, and *then* what else is to follow.
    """
    with runtime.connect() as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return b""
        if not answer:
            connection.shutdown(socket.SHUT_WR)
        letters = b""
        while True:
            letter, payload = read_frame(connection)
            if not letter:
                return letters
            letters += letter
            if letter == b"B":
                connection.sendall(go(runtime, payload) + then)


@pytest.mark.parametrize(
    "data",
    [
        b"H\xff\xff\xff\xff",
        b"H\x00\x10\x00\x01",
        b"I\x00\x00\x00\x01x",
        frame(b"G"),
        frame(b"D", b"\0"),
        frame(b"Z"),
        frame(b"S", b"x"),
        frame(b"H"),
        frame(b"H", b"\0"),
        frame(b"H", b"mpp-exec serve 4\0"),
        frame(b"H", b"mpp-exec serve 4\0" * 3),
        frame(b"H", b"mpp-exec serve 4\0\0\0\0\0\0\x00999999\0"),
        frame(b"H", b"mpp-exec serve 4\0\0\0\0\0\0\0-1\0"),
        frame(b"H", b"x" * (1 << 20)),
        b"\0" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_frame_that_lies_ends_its_connection_and_nothing_else(lasting: Runtime, data: bytes) -> None:
    assert says(lasting, data) == b""
    assert is_well(lasting)


def test_a_length_is_believed_as_far_as_bytes_have_come(lasting: Runtime) -> None:
    """Clients that announce a megabyte each, and send nothing of it, take no memory."""

    def resident() -> int:
        return int(Path(f"/proc/{lasting.process.pid}/statm").read_text().split()[1])

    assert is_well(lasting)
    before = resident()
    held = [lasting.connect() for _ in range(MAX_CLIENTS // 2)]
    for connection in held:
        connection.sendall(b"H\x00\x10\x00\x00")
    until(lambda: lasting.status()["clients"] == len(held), "they are there")
    grown = (resident() - before) * os.sysconf("SC_PAGE_SIZE")
    for connection in held:
        connection.close()
    assert grown < 16 << 20


def test_slow_clients_are_given_up_and_delay_nobody(lasting: Runtime) -> None:
    said = hello(lasting, *words(lasting.shell))
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(lasting.connect()) for _ in range(8)]
        for number, connection in enumerate(held):
            connection.sendall(said[: 4 * number])
        assert is_well(lasting)
        assert [exactly(connection, 1) for connection in held] == [b""] * 8
    until(lambda: lasting.status()["clients"] == 0, "all are gone")


def test_too_many_clients_are_sent_away_and_others_are_served_without(runtime: Runtime) -> None:
    held = [runtime.connect() for _ in range(MAX_CLIENTS)]
    with runtime.connect() as beyond:
        beyond.settimeout(4)  # those that have a place are given up later than that
        assert exactly(beyond, 1) == b""
    shell = runtime.shell
    assert run_client(shell, *words(shell)).code == 0
    assert mark(shell).exists()
    for connection in held:
        connection.close()
    until(lambda: is_well(runtime), "it serves again")


def test_a_client_that_says_it_is_confirmed_is_sent_away(runtime: Runtime) -> None:
    """No word of the protocol is an answer: the question is asked where the terminal is, or not at all."""
    shell = runtime.shell
    said = hello(runtime, *words(shell, "acme/asks"), "--confirm")
    assert says(runtime, said, then=frame(b"Y") + b"y\n") == b"BA"
    assert not mark(shell).exists()
    done = run_client(shell, *words(shell, "acme/asks"), "--confirm", stdin="y\ny\n")
    assert (done.code, "[confirm.pending]" in done.err) == (4, True)
    assert not mark(shell).exists()


def test_a_replayed_word_makes_no_second_call(runtime: Runtime) -> None:
    """Everything that a call consists of, three times on one connection."""
    said = hello(runtime, *words(runtime.shell))
    assert says(runtime, said, then=said * 2).count(b"D") <= 1
    until(lambda: runtime.status()["clients"] == 0, "it is over")
    assert runtime.status()["calls"] == 1
    assert len(started(runtime.shell)) == 1


def started(shell: Shell) -> list[Any]:
    return [each for each in shell.ok("audit", "list", "--json").json if each["kind"] == "start"]


@pytest.mark.parametrize(
    "line",
    [
        ["list"],
        ["revoke", "acme/marks"],
        ["serve", "--stop"],
        ["publisher", "remove", "run"],
        ["--json", "audit", "erase", "run"],
        ["install", "run", "--approve"],
        ["confirm", "run"],
    ],
)
def test_nothing_but_a_call_is_done_for_a_client(lasting: Runtime, line: list[str]) -> None:
    assert says(lasting, hello(lasting, *line)) == b"A"
    assert is_well(lasting)


def test_a_client_of_another_home_is_sent_away(runtime: Runtime, tmp_path: Path) -> None:
    shell = runtime.shell
    other = Shell(tmp_path / "other")
    other.root.mkdir()
    other.ok("list")
    facts = other.home.stat()
    call = words(shell)
    lies = [
        hello(runtime, *call, "--home", str(other.home)),
        hello(runtime, f"--home={other.home}", *call),
        hello(runtime, *call, environ=shell.environment() | {"MPP_HOME": str(other.home)}),
        hello(runtime, *call, environ={**shell.environment(), "MPP_HOME": ""}),
        hello(runtime, *call, home=f"{facts.st_dev}:{facts.st_ino}"),
        hello(runtime, *call, "--home", str(other.home), home=f"{facts.st_dev}:{facts.st_ino}"),
        hello(runtime, *call, "--home", "home"),
        hello(runtime, *call, "--home", "~/home"),
    ]
    assert [says(runtime, lie) for lie in lies] == [b"A"] * len(lies)
    assert not mark(shell).exists()
    assert is_well(runtime)


def test_descriptors_that_a_client_sends_along_are_closed(runtime: Runtime) -> None:
    reading, writing = os.pipe()
    pipe = f"pipe:[{os.fstat(reading).st_ino}]"
    said = hello(runtime, *words(runtime.shell))
    with runtime.connect() as connection:
        rights = array.array("i", [writing] * 64)
        connection.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(writing)
        letters, number = read_frame(connection)
        connection.sendall(go(runtime, number))
        while letter := read_frame(connection)[0]:
            letters += letter
        assert letters.endswith(b"D")
        assert pipe not in runtime.descriptors()
        assert os.read(reading, 1) == b""  # nobody has the other end any more
    os.close(reading)


CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: as whoever confines itself does, root or not
# Everything may be read, run and written: the domain itself is what is looked for.
handled = ctypes.c_uint64(1 << 12)  # LANDLOCK_ACCESS_FS_MAKE_SYM
ruleset = libc.syscall(444, ctypes.byref(handled), 8, 0)
assert ruleset >= 0 and libc.syscall(446, ruleset, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_client_in_a_landlock_domain_gets_out_through_the_runtime(shell: Shell) -> None:
    """Nothing in /proc shows the domain where server and client have no new privileges alike."""
    require_client()
    unprivileged = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", unprivileged, str(CLIENT), "serve"],
        cwd=shell.cwd,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    runtime = Runtime(shell, process)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"serving ")
        for code, served in ((unprivileged, 1), (CONFINED, 1)):
            subprocess.run(
                [sys.executable, "-c", code, str(CLIENT), *words(shell)],
                cwd=shell.cwd,
                env=shell.environment(),
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
            assert runtime.status()["calls"] == served
    finally:
        process.terminate()
        process.communicate()


def test_a_word_without_its_proof_begins_nothing(runtime: Runtime) -> None:
    said = hello(runtime, *words(runtime.shell))
    for proof in (b"", b"x" * 16):
        with runtime.connect() as connection:
            connection.sendall(said)
            assert read_frame(connection)[0] == b"B"
            connection.sendall(frame(b"G", proof))
            assert read_frame(connection)[0] == b""
    until(lambda: runtime.status()["clients"] == 0, "it is over")
    assert started(runtime.shell) == []


def test_a_tool_sees_the_variables_of_its_client_and_none_of_the_runtime(shell: Shell) -> None:
    shell.variables = {"SECRET_OF_ONE": "of the runtime"}
    with serving(shell) as runtime:
        shell.variables = {}
        done = run_client(shell, *words(shell))
        assert done.out == "nothing\n"
        assert run_client(shell, *words(shell), SECRET_OF_ONE="of the client").out == "of the client\n"
        assert run_client(shell, *words(shell)).out == "nothing\n"
        assert runtime.status()["calls"] == 3


def test_a_client_that_may_gain_no_privileges_does_not_reach_further(runtime: Runtime) -> None:
    """What confines a process has set that flag: such a client makes its call itself, confined as it is."""
    command = ["setpriv", "--no-new-privs", str(CLIENT), *words(runtime.shell)]
    subprocess.run(command, env=runtime.shell.environment(), check=False, capture_output=True)
    status = runtime.status()
    assert (status["calls"], status["sent_away"]) == (0, 1)
    assert status["last_sent_away"] == "it has other rights, or is in a sandbox"


@pytest.mark.parametrize("option", ["--mount", "--net", "--pid", "--uts"])
def test_a_client_in_other_namespaces_does_not_reach_out_of_them(runtime: Runtime, option: str) -> None:
    unshare = ["unshare", "--map-current-user", "--fork", option]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        missing("this host gives no namespaces to unshare(1)")
    command = [*unshare, str(CLIENT), *words(runtime.shell)]
    subprocess.run(command, env=runtime.shell.environment(), check=False, capture_output=True)
    status = runtime.status()
    assert (status["calls"], status["sent_away"]) == (0, 1)


@only_root
def test_a_client_with_fewer_capabilities_does_not_gain_any(runtime: Runtime) -> None:
    command = ["setpriv", "--bounding-set=-sys_admin", str(CLIENT), *words(runtime.shell)]
    subprocess.run(command, env=runtime.shell.environment(), check=False, capture_output=True)
    assert runtime.status()["last_sent_away"] == "it has other rights, or is in a sandbox"


# -- a tool --------------------------------------------------------------------------------------------

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


# -- who asks the runtime what it is -------------------------------------------------------------------


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
