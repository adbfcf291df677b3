"""Tools that take all they can, through the resident runtime: each ends with its word, others are served.

How late each is ended is measured without it (``test_sandbox_bombs.py``): who asks makes no difference.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from mcp_peer import Peer
from served import Runtime, require_client, serving

LIMITS = """\
[permissions]
subprocess = ["true"]

[limits]
wall = "{wall}"
cpu = "1s"
memory = "160MiB"
processes = 12
output = "200KiB"
"""
BOMBS = """\
import os, signal, threading, time

def again(work):
    while True:
        try:
            work()
        except OSError:
            pass

def forks():
    while os.fork():
        pass
    signal.pause()

def sleep():
    for number in range(1, 65):
        if number not in (9, 19, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(100)

def held():
    kept = []
    again(lambda: kept.append(bytearray(b"x" * (1 << 20))))

def forked():
    try:
        forks()
    except OSError:
        time.sleep(1)
        os._exit(1)

KINDS = {
    "cpu": lambda: again(lambda: sum(range(10_000))),
    "timeout": sleep,
    "memory": lambda: [os.fork() or held() for _ in range(4)] and signal.pause(),
    "processes": forked,
    "output": lambda: again(lambda: os.write(2, b"x" * 4096)),
}

def call(kind):
    KINDS[kind]()
"""
GIVEN = '{ type = "object", properties = { kind = { type = "string" } }, required = ["kind"] }'
KINDS = ("cpu", "timeout", "memory", "processes", "output")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    require_client()
    root = tmp_path_factory.mktemp("limits")
    root.chmod(0o755)
    shell = Shell(root)
    for name, wall in (("acme/bomb", "100s"), ("acme/sleeps", "1s")):
        shell.install(name, code=BOMBS, schema=GIVEN, toml=LIMITS.format(wall=wall))
    shell.install("acme/small", code="def call():\n    return 5\n", schema='{ type = "object" }')
    with serving(shell) as made:
        yield made


def named(kind: str) -> str:
    return "sleeps" if kind == "timeout" else "bomb"


def is_served(runtime: Runtime) -> bool:
    done = runtime.client("run", "acme/small")
    return (done.code, done.out) == (0, "5\n")


def served_meanwhile(runtime: Runtime, thread: threading.Thread) -> int:
    """Return how many calls of others began and ended while *thread* lived."""
    served = 0
    thread.start()
    while thread.is_alive():
        assert is_served(runtime)
        served += thread.is_alive()
    thread.join()
    return served


@pytest.mark.parametrize("kind", KINDS)
def test_bomb_of_one_client(runtime: Runtime, kind: str) -> None:
    calls = runtime.status()["calls"]
    seen: list[Any] = []
    words = ("run", f"acme/{named(kind)}", f"kind={kind}", "--json")
    thread = threading.Thread(target=lambda: seen.append(runtime.client(*words)))
    served = served_meanwhile(runtime, thread)
    (done,) = seen
    assert done.code == 6, done
    assert json.loads(done.out)["_meta"]["mpp-exec/outcome"] == kind
    if kind in ("cpu", "timeout"):  # which last
        assert served >= 1
    assert runtime.status()["calls"] >= calls + 1 + served, "none of them was made elsewhere"


def test_bombs_of_one_connection(runtime: Runtime) -> None:
    """Over ``mcp``, one after the other; the connection and other clients go on."""
    seen: list[str] = []

    def explode() -> None:
        with Peer(runtime.shell, native=True) as peer:
            peer.initialize()
            for kind in KINDS:
                answer = peer.call(f"acme_{named(kind)}_call", {"kind": kind})
                seen.append(answer["result"]["_meta"]["mpp-exec/outcome"])

    assert served_meanwhile(runtime, threading.Thread(target=explode)) >= 1
    assert seen == list(KINDS)
    assert is_served(runtime)
    assert Path(f"/proc/{runtime.process.pid}").exists()
