"""Attacks on the resident runtime by whoever may connect: frames that lie, no call at all, more rights."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import DEADLINE, Shell
from marked import furnished, is_well, mark, words
from mpp_exec.serving.service import MAX_CLIENTS
from needs import missing
from served import (
    CLIENT,
    Runtime,
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

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lack")


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


HOLDER = """
import os, socket, sys
os.chdir(sys.argv[1])
said = bytes.fromhex(sys.argv[3])
held = []
for _ in range(int(sys.argv[2])):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect("socket")
    held[-1].sendall(said)
    if said:
        held[-1].recv(1)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_process_holds(runtime: Runtime, places: int, said: bytes) -> Iterator[None]:
    """Have a process of the same user hold so many connections that have *said* something."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runtime.path.parent), str(places), said.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield
        finally:
            process.stdin.close()


@pytest.mark.parametrize("letter", [b"", b"S"], ids=["silent", "asked for its proof"])
def test_a_process_that_takes_all_places_keeps_nobody_from_the_runtime(
    runtime: Runtime, letter: bytes
) -> None:
    """Who has proven nothing makes room for a client of a process that holds fewer."""
    said = frame(letter) if letter else b""
    with another_process_holds(runtime, MAX_CLIENTS, said):
        assert is_well(runtime)
        assert runtime.status()["clients"] >= MAX_CLIENTS - 8
        assert is_well(runtime)


def test_who_has_to_make_room_is_told_that_nothing_ran(runtime: Runtime) -> None:
    """Also one that has given its word at that moment."""
    said = hello(runtime, *words(runtime.shell))
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(runtime.connect())
        first.sendall(said)
        letter, number = read_frame(first)
        assert letter == b"B"
        held = [stack.enter_context(runtime.connect()) for _ in range(MAX_CLIENTS - 1)]
        word = go(runtime, number)
        stack.enter_context(
            another_process_holds(runtime, 1, frame(b"S"))
        )  # it has its place when it is answered
        with contextlib.suppress(BrokenPipeError):
            first.sendall(word)
        assert read_frame(first)[0] == b"A"
        for connection in held:
            connection.close()
    assert not mark(runtime.shell).exists()
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

    def confined(code: str, *line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", code, str(CLIENT), *line],
            cwd=shell.cwd,
            env=shell.environment(),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )

    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"serving ")
        for code in (unprivileged, CONFINED):
            confined(code, *words(shell))
            seen = confined(unprivileged, "serve", "--status", "--json")
            assert json.loads(seen.stdout)["calls"] == 1
        for word in ("--status", "--stop"):  # nor does it learn of it, or end it
            done = confined(CONFINED, "serve", word)
            assert (done.returncode, b"[serve.confined]" in done.stderr, done.stdout) == (4, True, b"")
        assert confined(unprivileged, "serve", "--stop").returncode == 0
        assert process.wait(DEADLINE) == 0
    finally:
        process.terminate()
        process.communicate()


def confinements() -> list[list[str]]:
    """Return what takes rights from a command, in ways that this user has."""
    unshare = ["unshare", "--map-current-user", "--fork"]
    given = [["setpriv", "--no-new-privs"]]
    given += [[*unshare, option] for option in ("--mount", "--pid", "--net")]
    if os.geteuid() == 0:
        given += [["setpriv", "--bounding-set=-sys_admin"]]
    return given


def test_a_confined_process_ends_the_runtime_or_asks_how_it_is(runtime: Runtime) -> None:
    """It may reach the socket. What it could not do to the process, that does not do for it."""
    for confined in confinements():
        if subprocess.run([*confined, "true"], check=False, capture_output=True).returncode != 0:
            missing("this host gives no namespaces to unshare(1)")
        for letter in (b"Q", b"S"):
            script = (
                "import socket, sys\n"
                "said = socket.socket(socket.AF_UNIX)\n"
                "said.connect(sys.argv[1])\n"
                f"said.sendall({frame(letter)!r})\n"
                "print(said.recv(1).decode())\n"
            )
            path = os.path.relpath(runtime.path, runtime.shell.cwd)
            done = subprocess.run(
                [*confined, sys.executable, "-c", script, path],
                cwd=runtime.shell.cwd,
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
            assert done.stdout == b"A\n", (confined, letter, done.stderr)
    for letter in (b"Q", b"S"):  # nor for one that has as many rights, and does not show it
        for proof in (b"", b"x" * 16):
            with runtime.connect() as connection:
                connection.sendall(frame(letter))
                assert read_frame(connection)[0] == b"B"
                connection.sendall(frame(b"G", proof))
                assert read_frame(connection)[0] == b""
    assert is_well(runtime)
    # A limit is no confinement of that kind.
    done = subprocess.run(
        ["prlimit", "--nofile=512:", str(CLIENT), "serve", "--stop"],
        env=runtime.shell.environment(),
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert runtime.process.wait(DEADLINE) == 0


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
