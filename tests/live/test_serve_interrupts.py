"""A client or the runtime ends at any step: the call ends with its client, and none is made twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import DEADLINE, Shell, Terminal
from mpp_exec.lifecycle.session import Session
from served import (
    CLIENT,
    WRITES,
    Runtime,
    connect_to,
    frame,
    go,
    hello,
    read_frame,
    require_client,
    run_client,
    serving,
    start_client,
    until,
)

# Each run of it appends a line; then it takes as long as it is told.
COUNTS = """\
import pathlib, time

def call(folder, seconds=0):
    with (pathlib.Path(folder) / "runs").open("a") as file:
        file.write("run\\n")
    time.sleep(seconds)
    return "done"
"""
SCHEMA = (
    '{ type = "object", properties = { folder = { type = "string" }, seconds = { type = "number" } }, '
    'required = ["folder"] }'
)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    require_client()
    tmp_path.chmod(0o755)
    made = Shell(tmp_path)
    folder = tmp_path / "granted"
    folder.mkdir()
    made.install(
        "acme/counts",
        "--set",
        f"folder={folder}",
        code=COUNTS,
        toml=WRITES,
        schema=SCHEMA,
        extra='operation = "write"',
    )
    return made


@pytest.fixture
def runtime(shell: Shell) -> Iterator[Runtime]:
    with serving(shell) as made:
        yield made


def runs(shell: Shell) -> int:
    """Return how often the tool ran."""
    file = shell.root / "granted" / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def words(shell: Shell, seconds: float = 60) -> list[str]:
    return ["run", "acme/counts", f"folder={shell.root / 'granted'}", f"seconds={seconds}"]


def inside(runtime: Runtime) -> list[int]:
    """Return the processes below the runtime: its sandboxes."""
    folder = Path(f"/proc/{runtime.process.pid}/task")
    found = []
    for task in folder.iterdir():
        try:
            found += [int(pid) for pid in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def outcomes(shell: Shell) -> list[str]:
    with Session(shell.home) as session:
        return [each.outcome for each in session.ledger.list() if each.kind == "start"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_client_ends_the_call(shell: Shell, runtime: Runtime, number: signal.Signals) -> None:
    """The sandbox is gone when the client is, and both say what they say without a runtime."""
    client = start_client(shell, *words(shell))
    until(lambda: runs(shell) == 1, "the tool begins")
    client.send_signal(number)
    out, err = client.communicate(timeout=DEADLINE)
    assert (client.returncode, out, err) == (128 + number, b"", b"interrupted\n")
    assert inside(runtime) == []
    assert runtime.status()["clients"] == 0
    until(lambda: outcomes(shell) == ["killed"], "it is on record")


def test_a_client_that_is_killed_ends_the_call(shell: Shell, runtime: Runtime) -> None:
    client = start_client(shell, *words(shell))
    until(lambda: runs(shell) == 1, "the tool begins")
    client.kill()
    client.communicate(timeout=DEADLINE)
    until(lambda: inside(runtime) == [], "the sandbox ends")
    until(lambda: outcomes(shell) == ["killed"], "it is on record")


def test_ctrl_c_at_a_terminal_ends_the_call(shell: Shell, runtime: Runtime) -> None:
    with Terminal([str(CLIENT), *words(shell)], shell.cwd, shell.environment()) as terminal:
        until(lambda: runs(shell) == 1, "the tool begins")
        terminal.type("\x03")
        code, screen = terminal.end()
    assert code == 130
    assert "interrupted" in screen
    assert inside(runtime) == []


def test_a_signal_while_the_arguments_are_read_ends_the_client(shell: Shell, runtime: Runtime) -> None:
    reading, writing = os.pipe()
    client = start_client(shell, "run", "acme/counts", "--args", "-", stdin=reading)
    os.close(reading)
    until(lambda: "pipe" in Path(f"/proc/{client.pid}/wchan").read_text() or blocked(client.pid), "it reads")
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=DEADLINE)
    os.close(writing)
    assert (client.returncode, err) == (130, b"interrupted\n")
    assert runs(shell) == 0
    assert runtime.status()["calls"] == 0


def blocked(pid: int) -> bool:
    """Tell whether the client has blocked its signals, as it does while it waits."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


def test_a_signal_that_is_ignored_stays_ignored(shell: Shell, runtime: Runtime) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        client = start_client(shell, *words(shell, 1))
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: runs(shell) == 1, "the tool begins")
    client.send_signal(signal.SIGHUP)
    out, _ = client.communicate(timeout=DEADLINE)
    assert (client.returncode, out) == (0, b"done\n")
    assert runtime.status()["calls"] == 1


def test_a_runtime_that_is_killed_in_a_call_is_not_stood_in_for(shell: Shell, runtime: Runtime) -> None:
    """The tool has run: nobody runs it again, and the client says that it does not know more."""
    client = start_client(shell, *words(shell), "--json")
    until(lambda: runs(shell) == 1, "the tool begins")
    sandboxes = inside(runtime)
    runtime.process.kill()
    out, err = client.communicate(timeout=DEADLINE)
    assert client.returncode == 7
    assert b'"code":"serve.lost"' in out
    assert b"whether the tool ran is not known" in err
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in sandboxes), "sandboxes die with it")
    assert runs(shell) == 1
    until(lambda: outcomes(shell) == ["unknown"], "it is on record")


def test_a_runtime_that_is_stopped_in_a_call_says_so(shell: Shell, runtime: Runtime) -> None:
    client = start_client(shell, *words(shell))
    until(lambda: runs(shell) == 1, "the tool begins")
    runtime.process.send_signal(signal.SIGTERM)
    out, err = client.communicate(timeout=DEADLINE)
    assert (client.returncode, out) == (6, b"")
    assert err == b"error: the runtime was closed [call.killed]\n"
    assert runtime.process.wait(DEADLINE) == 0
    until(lambda: outcomes(shell) == ["killed"], "it is on record")


@pytest.mark.usefixtures("runtime")
def test_a_deadline_includes_the_wait_for_a_turn(shell: Shell) -> None:
    """More calls than sandboxes: those whose time passes in the queue say so, and their tool never runs."""
    bound = 8 * len(os.sched_getaffinity(0))
    clients = [start_client(shell, *words(shell, 8), "--timeout", "4") for _ in range(bound + 4)]
    said = [client.communicate(timeout=DEADLINE) for client in clients]
    assert {client.returncode for client in clients} == {6}
    assert all(b"[call.timeout]" in err for _, err in said)
    until(lambda: outcomes(shell) == ["timeout"] * len(clients), "they are on record")


# -- a runtime that ends at each step ------------------------------------------------------------------


class Pretender:
    """Listens in the place of a runtime, plays *steps*, and breaks the connection."""

    def __init__(self, shell: Shell, *steps: bytes) -> None:
        folder = shell.home / "serve"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        number = os.open(folder, os.O_PATH)
        self._listener.bind(f"/proc/self/fd/{number}/socket")
        os.close(number)
        self._listener.listen()
        self._steps = steps
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(DEADLINE)
            for step in self._steps:
                if step == b"<":
                    self.heard.append(read_frame(connection)[0])
                else:
                    connection.sendall(step)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(DEADLINE)


BEGUN = (b"<", frame(b"B"), b"<")


@pytest.mark.parametrize(
    ("steps", "code", "count"),
    [
        ((), 0, 1),
        ((b"<",), 0, 1),
        ((b"<", b"B\0\0"), 0, 1),
        ((b"<", frame(b"O", b"half")), 0, 1),
        ((b"<", frame(b"A", b"no")), 0, 1),
        ((b"<", frame(b"Z")), 0, 1),
        ((b"<", b"O\xff\xff\xff\xff"), 0, 1),
        ((b"<", frame(b"B")), 7, 0),
        (BEGUN, 7, 0),
        ((*BEGUN, frame(b"O", b"half")), 7, 0),
        ((*BEGUN, b"O\0\0\1\0x"), 7, 0),
        ((*BEGUN, frame(b"B")), 7, 0),
        ((*BEGUN, b"D\0\0\0\2xx"), 7, 0),
        ((*BEGUN, frame(b"Z")), 7, 0),
        ((*BEGUN, frame(b"A", b"no")), 0, 1),
        ((*BEGUN, frame(b"O", b"all\n"), frame(b"D", b"\0")), 0, 0),
    ],
)
def test_a_call_is_made_here_unless_it_was_handed_over(
    shell: Shell, steps: tuple[bytes, ...], code: int, count: int
) -> None:
    """Before the client has said G it may make the call itself; after it, it must not, whatever happens."""
    pretender = Pretender(shell, *steps)
    done = run_client(shell, *words(shell, 0))
    pretender.close()
    assert done.code == code, done
    assert runs(shell) == count
    if code == 7:
        assert done.out == ""
        assert "[serve.lost]" in done.err


def test_what_was_read_for_a_runtime_that_ended_is_not_lost(shell: Shell) -> None:
    """Standard input can be read once: what came from it reaches whoever makes the call after all."""
    text = f'{{"folder": "{shell.root / "granted"}"}}'
    pretender = Pretender(shell, b"<", b"<")
    done = run_client(shell, "run", "acme/counts", "--args", "-", stdin=text)
    pretender.close()
    assert pretender.heard == [b"H", b"I"]
    assert (done.out, runs(shell)) == ("done\n", 1)


def test_a_pipe_that_is_named_is_left_to_who_reads_it_once(shell: Shell, runtime: Runtime) -> None:
    pipe = shell.cwd / "pipe"
    os.mkfifo(pipe)
    client = start_client(shell, "run", "acme/counts", "--args", "@pipe")
    with pipe.open("w") as file:
        file.write(f'{{"folder": "{shell.root / "granted"}"}}')
    out, _ = client.communicate(timeout=DEADLINE)
    assert (out, runs(shell)) == (b"done\n", 1)
    assert runtime.status()["calls"] == 0


@pytest.mark.parametrize("step", ["connected", "half of H", "H", "B", "G"])
def test_a_client_that_ends_at_any_step_leaves_nothing(shell: Shell, runtime: Runtime, step: str) -> None:
    """Its tool runs only if it said G, and not longer than it stays."""
    said = hello(runtime, *words(shell))
    with connect_to(runtime.path) as connection:
        if step == "half of H":
            connection.sendall(said[: len(said) // 2])
        elif step != "connected":
            connection.sendall(said)
        if step in ("B", "G"):
            letter, number = read_frame(connection)
            assert letter == b"B"
        if step == "G":
            connection.sendall(go(runtime, number))
            until(lambda: runs(shell) == 1, "the tool begins")
    until(lambda: runtime.status()["clients"] == 0, "it is forgotten")
    assert runs(shell) == (step == "G")
    assert inside(runtime) == []
    assert not [each for each in runtime.descriptors() if "eventfd" in each][3:]
    assert subprocess.run([CLIENT, "--version"], check=True, capture_output=True).stdout
