"""The words between the resident runtime and its clients: read as they are written, or refused."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.serving.alike import Likeness
from mpp_exec.serving.peer import own_standing, peer_of, standing_of
from mpp_exec.serving.wire import (
    GO,
    HELLO,
    INPUT,
    MAX_HELLO,
    OUT,
    Frames,
    Hello,
    WireError,
    read_hello,
)

HEADER = Path(__file__).resolve().parents[2] / "native" / "client.h"
FIELDS = [b"mpp-exec serve 4", b"build", b"/bin", b"/work", b"1:2", b"o80e80", b"-"]
strings = st.binary(max_size=20).filter(lambda data: b"\0" not in data)


def payload(*words: bytes, variables: tuple[bytes, ...] = (), count: bytes | None = None) -> bytes:
    number = str(len(words)).encode() if count is None else count
    return b"".join(each + b"\0" for each in (*FIELDS, number, *words, *variables))


@pytest.mark.parametrize(
    ("said", "columns"),
    [(b"", (None, None)), (b"o0", (0, None)), (b"e120", (None, 120)), (b"o80e99999", (80, 99999))],
)
def test_terminals_and_their_columns(said: bytes, columns: tuple[int | None, int | None]) -> None:
    hello = read_hello(payload(b"run").replace(b"\0o80e80\0", b"\0%b\0" % said))
    assert (hello.out_columns, hello.err_columns) == columns


@pytest.mark.parametrize("said", [b"o", b"e80o80", b"o-1", b"o123456", b"x", b"o80 ", "o٣".encode()])
def test_terminals_that_are_none(said: bytes) -> None:
    with pytest.raises(WireError):
        read_hello(payload(b"run").replace(b"\0o80e80\0", b"\0%b\0" % said))


@given(st.lists(strings), st.lists(strings))
def test_words_and_variables_are_read_as_python_reads_its_own(
    words: list[bytes], variables: list[bytes]
) -> None:
    hello = read_hello(payload(*words, variables=tuple(variables)))
    assert [os.fsencode(word) for word in hello.words] == words
    expected: dict[bytes, bytes] = {}
    for each in variables:
        name, equals, value = each.partition(b"=")
        if equals:
            expected.setdefault(name, value)
    assert {os.fsencode(name): os.fsencode(value) for name, value in hello.environ.items()} == expected


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_hello(data)


@pytest.mark.parametrize(
    "broken",
    [
        payload(b"run")[:-1],
        payload(b"run", count=b"2"),
        payload(count=b"-1"),
        payload(count=b""),
        payload(count=b"1e3"),
        payload(count=b"9999999"),
        b"mpp-exec serve 1\0" + payload(b"run").partition(b"\0")[2],
        b"\0".join(FIELDS) + b"\0",
    ],
)
def test_what_is_cut_off_or_miscounted_is_refused(broken: bytes) -> None:
    with pytest.raises(WireError):
        read_hello(broken)


def test_a_frame_arrives_whole_however_it_was_cut() -> None:
    ours, theirs = socket.socketpair()
    data = b"I" + (300_000).to_bytes(4) + b"x" * 300_000

    def send() -> None:
        for start in range(0, len(data), 70_001):
            theirs.sendall(data[start : start + 70_001])

    with ours, theirs:
        thread = threading.Thread(target=send)
        thread.start()
        assert Frames(ours).receive(HELLO + INPUT, 10) == (INPUT, b"x" * 300_000)
        thread.join()


@pytest.mark.parametrize(
    "data",
    [b"H", b"Z\0\0\0\0", b"G\0\0\0\21" + b"x" * 17, b"H" + (MAX_HELLO + 1).to_bytes(4), b""],
)
def test_a_frame_without_a_place_ends_the_reading(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(WireError):
            Frames(ours).receive(HELLO + GO, 10)


def test_who_says_nothing_and_who_reads_nothing_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames = Frames(ours)
        with pytest.raises(WireError, match="too slow"):
            frames.receive(GO, 0.05)
        with pytest.raises(WireError, match="too slow"):
            frames.send(OUT, b"x" * (8 << 20), 0.05)


def test_both_sides_have_the_same_bounds() -> None:
    text = HEADER.read_text(encoding="utf-8")
    assert '#define PROTOCOL "mpp-exec serve 4"' in text
    assert "#define MAX_HELLO ((size_t)1 << 20)" in text
    assert "#define MAX_ARGUMENTS ((size_t)4 << 20)" in text


def test_this_process_stands_where_it_stands() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
        assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
        assert standing_of(ours, peer) == own_standing()


def hello(**changes: str) -> Hello:
    likeness = Likeness(own_standing(), {"PATH": "/bin", "HOME": "/h"})
    environ = {"PATH": "/bin", "HOME": "/h", "OTHER": "x"} | changes
    return Hello(likeness.build, likeness.programs, "/", "1:2", False, False, "", ("run",), environ)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"OTHER": "y", "LANG": "de_DE.UTF-8"}, ""),
        ({"LANG": "C"}, ""),
        ({"PATH": "/sbin"}, "it has another PATH"),
        ({"MPP_POLICY": "/p"}, "it has another MPP_POLICY"),
        ({"XDG_DATA_HOME": "/d"}, "it has another XDG_DATA_HOME"),
        ({"LD_PRELOAD": "/l"}, "it has another LD_PRELOAD"),
        ({"PYTHONPATH": "/p"}, "it has another PYTHONPATH"),
        ({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "C.UTF-8"}, "its locale has another encoding than UTF-8"),
        ({"LANG": "de_DE"}, "its locale has another encoding than UTF-8"),
    ],
)
def test_what_would_find_other_programs_is_another_client(changes: dict[str, str], why: str) -> None:
    likeness = Likeness(own_standing(), {"PATH": "/bin", "HOME": "/h"})
    assert likeness.build
    assert likeness.differs(hello(**changes), own_standing()) == why
    assert likeness.differs(hello(), None)


def test_a_path_that_is_relative_to_a_folder_is_another_for_each_client() -> None:
    environ = {"PATH": "bin:/bin", "HOME": "/h"}
    likeness = Likeness(own_standing(), environ)
    assert likeness.differs(hello(**environ), own_standing()) == "its PATH is relative to its folder"
