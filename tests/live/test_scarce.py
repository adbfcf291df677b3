"""Where namespaces or processes are used up a call says so, none stalls, and later ones find room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import simulated_host
from command import DEADLINE, Shell

WAITS = "import time\n\ndef call(seconds=0):\n    time.sleep(seconds)\n    return 'done'\n"

CALLS = """\
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from mpp_exec import MppError, Runtime

def call(seconds):
    try:
        return runtime.call("acme/one", "call", {"seconds": seconds}).outcome
    except MppError as error:
        return [error.code, error.hint, error.exit_code]

"""

# Of five calls at once two find room; what came of each, and of a call after them.
CROWD = (
    CALLS
    + """\
with Runtime(sys.argv[1], sandboxes=8, parked=0) as runtime, ThreadPoolExecutor(5) as threads:
    call(0)
    print(json.dumps([list(threads.map(call, [3] * 5)), [call(0) for _ in range(5)]]))
"""
)

# Of ten calls at once some find room, each with two processes and a thread of the host's.
PROCESSES = (
    CALLS
    + """\
with Runtime(sys.argv[1], sandboxes=10, parked=0) as runtime:
    call(0)
    found = []
    threads = []
    for _ in range(10):
        thread = threading.Thread(target=lambda: found.append(call(3)))
        try:
            thread.start()
        except RuntimeError:
            break  # the host's own thread is one too many
        threads.append(thread)
    for thread in threads:
        thread.join()
    print(json.dumps([found, len(threads), [call(0) for _ in range(5)]]))
"""
)
SOMEBODY = 61_440  # whoever owns nothing else here

# What waits for a call of one tool has one of two; then another is called twice at once.
PARKED = """\
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from mpp_exec import Runtime

with Runtime(sys.argv[1], parked=8) as runtime, ThreadPoolExecutor(2) as threads:
    pool = runtime._open().sandboxes
    until = time.monotonic() + 30
    while not pool.waiting and time.monotonic() < until:
        runtime.call("acme/one")
        time.sleep(0.5)
    def call(_):
        return runtime.call("acme/other", "call", {"seconds": 2}).outcome
    print(json.dumps([pool.waiting, list(threads.map(call, range(2)))]))
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("scarce"))
    made.root.chmod(0o755)
    for name in ("acme/one", "acme/other"):
        made.install(name, code=WAITS, schema='{ type = "object" }')
        made.ok("run", name)  # in a user namespace of a user's own, root's files look like nobody's
    return made


def on_host(shell: Shell, script: str, host: str = "few-net-namespaces") -> Any:
    """Run *script* where a user has two network namespaces, or on another *host*."""
    command = [sys.executable, "-P", "-c", script, str(shell.home)]
    done = subprocess.run(
        simulated_host.on(host, command),
        capture_output=True,
        env=shell.environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_calls_beyond_what_there_is_are_told_so_and_later_ones_run(shell: Shell) -> None:
    crowd, after = on_host(shell, CROWD)
    refused = [each for each in crowd if each != "ok"]
    assert len(refused) == 3
    for code, hint, exit_code in refused:
        assert (code, exit_code) == ("host.namespaces_used_up", 7)
        assert "user.max_net_namespaces" in hint
    assert after == ["ok"] * 5, "one after the other, also while the kernel takes down the last"


def test_what_waits_makes_room_for_a_call(shell: Shell) -> None:
    waited, after = on_host(shell, PARKED)
    assert waited == 1
    assert after == ["ok"] * 2


def test_one_process_is_told_so_that_finds_none(shell: Shell) -> None:
    """Its first look at the host finds none: that is no host without namespaces."""
    script = (
        "import json, os, subprocess, sys\n"
        "take = ['unshare', '--user', '--net', 'cat']\n"
        "held = [subprocess.Popen(take, stdin=subprocess.PIPE) for _ in range(2)]\n"
        "for each in held:\n"
        "    while os.readlink(f'/proc/{each.pid}/ns/net') == os.readlink('/proc/self/ns/net'): pass\n"
        "done = subprocess.run([sys.executable, '-P', '-m', 'mpp_exec', '--home', sys.argv[1], 'run',"
        " 'acme/one'], capture_output=True, text=True)\n"
        "for each in held: each.communicate()\n"
        "print(json.dumps([done.returncode, done.stderr]))\n"
    )
    code, said = on_host(shell, script)
    assert (code, "[host.namespaces_used_up]" in said) == (7, True), said


def test_calls_beyond_the_processes_there_are_are_told_so_and_later_ones_run(ground: Path) -> None:
    shell = Shell(ground)
    shell.install("acme/one", code=WAITS, schema='{ type = "object" }')
    shell.ok("run", "acme/one")  # in a user namespace of a user's own, root's files look like nobody's
    if os.getuid() == 0:
        for path in (shell.root, *shell.root.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    crowd, started, after = on_host(shell, PROCESSES, "few-processes")
    assert len(crowd) == started
    assert "ok" in crowd
    refused = [each for each in crowd if each != "ok"]
    assert refused, crowd
    for code, hint, exit_code in refused:
        assert (code, exit_code) == ("host.exhausted", 7)
        assert "processes" in hint
    assert after == ["ok"] * 5
