"""The native client, under AddressSanitizer: a runtime that answers anything, and words of any form."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import DEADLINE
from needs import missing
from served import exactly, frame, read_frame

NATIVE = Path(__file__).resolve().parents[2] / "native"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion", '-DMPP_BUILD="0"']
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
FELL_BACK = 99
"""What the program that stands in for Python ends with."""
FINDINGS = (b"AddressSanitizer", b"runtime error", b"LeakSanitizer")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        missing("there is no C compiler")
    folder = tmp_path_factory.mktemp("client")
    program = folder / "mpp-exec"
    sources = sorted(map(str, NATIVE.glob("client*.c")))
    done = subprocess.run(
        ["cc", *FLAGS, *SANITIZERS, *sources, "-o", str(program)], capture_output=True, check=False
    )
    if b"cannot find" in done.stderr:
        missing("the runtime of AddressSanitizer is not installed")
    assert done.returncode == 0, done.stderr.decode()
    python = folder / "mpp-exec-python"
    python.write_text(f"#!/bin/sh\ncat >/dev/null\nexit {FELL_BACK}\n")
    python.chmod(0o755)
    return program


class Answers:
    """A socket in a home's folder that reads what a client says and sends *data*, again and again."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        (home / "serve").mkdir(mode=0o700)
        self.home = home
        self.data = b""
        self.is_deaf = False  # to what a client says after its first frame
        self.listener = socket.socket(socket.AF_UNIX)
        number = os.open(home / "serve", os.O_PATH)
        self.listener.bind(f"/proc/self/fd/{number}/socket")
        os.close(number)
        self.listener.listen()
        threading.Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE)
                try:
                    read_frame(connection)
                    if self.is_deaf:
                        connection.shutdown(socket.SHUT_RD)
                    connection.sendall(self.data)
                    if b"B\0\0\0\0" in self.data:
                        exactly(connection, 5)
                except OSError:
                    continue


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    made = Answers(tmp_path_factory.mktemp("home") / "h")
    yield made
    made.listener.close()


def run(
    client: Path, answers: Answers, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [client, *words],
        input=stdin,
        env={"MPP_HOME": str(answers.home), "PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert not [each for each in FINDINGS if each in done.stderr], done.stderr.decode()
    assert done.returncode >= 0, done
    return done


def streams() -> Iterator[bytes]:
    """Yield what a runtime might say: whole frames, cut, flipped, and shuffled; the same in every run."""
    chance = random.Random(4)
    parts = [
        frame(b"B"),
        frame(b"O", b"out\n"),
        frame(b"E", b"err\n"),
        frame(b"D", b"\0"),
        frame(b"D", b"\xff"),
        frame(b"A", b"no"),
        frame(b"O", b"x" * 5000),
        frame(b"O", b""),
        frame(b"O", b"y" * (1 << 20)),
    ]
    for part in parts:
        yield part
        yield frame(b"B") + part
        yield part[:-1]
    for letter in b"OEDABGHZ\0\xff":
        for size in (0, 1, 2, 4096, 1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
            yield bytes([letter]) + size.to_bytes(4) + b"x" * min(size, 3)
            yield frame(b"B") + bytes([letter]) + size.to_bytes(4)
    for _ in range(120):
        data = bytearray(b"".join(chance.choices(parts[:8], k=chance.randrange(1, 6))))
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(data[: chance.randrange(len(data) + 1)])


def test_whatever_a_runtime_answers_is_an_answer_or_none(client: Path, answers: Answers) -> None:
    """Nothing is read or written beside a buffer, and a call that was handed over is not made again."""
    for data in streams():
        answers.data = data
        done = run(client, answers, "run", "acme/x", "--json")
        if done.returncode == 7:
            assert b'"code":"serve.lost"' in done.stdout
        elif done.returncode != FELL_BACK or done.stdout:
            assert b"D\0\0\0\1" in data


def turns() -> Iterator[bytes]:
    """Yield what a runtime might say to a connection: turns that are true, false, cut and flipped."""
    chance = random.Random(6)
    numbers = (0, 1, 2, 3, 1000, (1 << 30), (1 << 31), (1 << 32) - 1)
    parts = [
        frame(b"O", b"out\n"),
        frame(b"E", b"err\n"),
        frame(b"T"),
        frame(b"T", b"\0" * 7),
        frame(b"D", b"\5"),
        *(frame(b"T", struct.pack(">II", read, 0) + b'{"form":1}') for read in numbers),
        *(frame(b"T", struct.pack(">II", 3, count) + bytes(12)) for count in numbers),
        *(frame(b"T", struct.pack(">III", 3, 1, needed)) for needed in numbers),
        b"T" + struct.pack(">I", 17 << 20),
    ]
    yield from parts
    for _ in range(200):
        data = bytearray(b"".join(chance.choices(parts, k=chance.randrange(1, 8))))
        for _ in range(chance.randrange(3)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(data[: chance.randrange(len(data) + 1)])


def test_whatever_a_runtime_says_to_a_connection_it_ends_or_goes_on(client: Path, answers: Answers) -> None:
    """Nothing is read or written beside a buffer, and nothing is shown that was not said to be whole."""
    lines = b'{"a":1}\n\n{"b":2}\n' + b"x" * (9 << 20) + b"\nno end"
    for at, data in enumerate(turns()):
        answers.data = frame(b"B") + data
        done = run(client, answers, "mcp", stdin=lines if at % 10 == 0 else lines[:14])
        if done.returncode == 7:
            assert b"[serve.lost]" in done.stderr
        elif done.returncode != FELL_BACK:
            assert b"D\0\0\0\1" in data
        assert not done.stdout or b"T\0\0\0" in data


def turn(state: bytes) -> bytes:
    """Return what tells a client that the first line was read, and needs nobody any more."""
    return frame(b"T", struct.pack(">II", 1, 0) + state)


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(b"T" + struct.pack(">I", 17 << 20), id="a turn too large to be kept"),
        pytest.param(frame(b"T", b"\0"), id="a turn that is none"),
        pytest.param(frame(b"T", struct.pack(">II", 1, 1 << 31)), id="a turn that is cut"),
        pytest.param(frame(b"Z"), id="a word that is none"),
        pytest.param(frame(b"O", b"x" * (1 << 20)) * 257, id="more than an answer"),
    ],
)
def test_a_connection_that_is_not_understood_is_not_gone_on_with(
    client: Path, answers: Answers, last: bytes
) -> None:
    """What was begun may stand in what could not be read: it would be made a second time."""
    answers.data = frame(b"B") + turn(b'{"form":1,"owed":[]}')
    assert run(client, answers, "mcp", stdin=b"{}\n").returncode == FELL_BACK
    answers.data += last
    done = run(client, answers, "mcp", stdin=b"{}\n")
    assert done.returncode == 7
    assert b"[serve.lost]" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["run"],
        ["--home"],
        ["--home=", "run"],
        ["--json", "--json", "run", "--", "--args", "-"],
        ["run", "--args"],
        ["run", "--args="],
        ["run", "--args", "@"],
        ["run", "--args", "@/"],
        ["run", "--args", "@/proc/self/mem"],
        ["run", "--args", "@/dev/zero"],
        ["run", "--args", "-", "--args", "-"],
        ["run", "--home", "x" * 5000],
        ["run", "x" * 100_000],
        ["run", "%s%n%x", "--timeout", "%n"],
        ["run", *["a=b"] * 5000],
        ["run", "\udcff\udc80"],
        ["list", "run"],
        ["--home", "run"],
        ["-"],
        ["run", "-"],
        ["run", "--args=-"],
        ["mcp", "--package"],
        ["mcp", "--package=a", "--package", "b"],
        ["--json", "mcp"],
    ],
)
def test_any_words_are_a_call_or_left_to_python(client: Path, answers: Answers, words: list[str]) -> None:
    answers.data = frame(b"O", b"served") + frame(b"D", b"\0")
    done = run(client, answers, *words)
    assert (done.returncode, done.stdout) in ((0, b"served"), (FELL_BACK, b""))


@pytest.mark.parametrize("size", [0, 1, 4096, 16384, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20])
def test_any_amount_of_input_is_sent_or_handed_on(client: Path, answers: Answers, size: int) -> None:
    answers.data = b""
    done = run(client, answers, "run", "x", "--args", "-", stdin=b"x" * size)
    assert done.returncode == FELL_BACK


def test_mutated_words_are_read_without_a_finding(client: Path, answers: Answers) -> None:
    answers.data = frame(b"O", b"served") + frame(b"D", b"\0")
    chance = random.Random(5)
    known = [
        "run",
        "--home",
        "--home=h",
        "--json",
        "--args",
        "--args=-",
        "-",
        "--",
        "@x",
        "x",
        "",
        "--confirm",
    ]
    for _ in range(150):
        done = run(client, answers, *chance.choices([*known, "run", "run"], k=chance.randrange(7)))
        assert done.returncode in (0, FELL_BACK)


def test_word_that_is_not_taken_is_no_call_where_the_runtime_says_so(client: Path, answers: Answers) -> None:
    """A runtime that gave a client's place away reads from it no more, and has told it before."""
    answers.is_deaf = True
    try:
        for data, code in ((frame(b"B") + frame(b"A", b"taken"), FELL_BACK), (frame(b"B"), 7)):
            answers.data = data
            assert run(client, answers, "run", "acme/x", "--json").returncode == code
    finally:
        answers.is_deaf = False
