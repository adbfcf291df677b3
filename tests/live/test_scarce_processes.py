"""Where a user may have no more processes a call says so, none stalls, and later ones run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import simulated_host
from command import DEADLINE, Shell

WAITS = "import time\n\ndef call(seconds=0):\n    time.sleep(seconds)\n    return 'done'\n"

# Of ten calls at once some find room, each with two processes and a thread of the host's.
CROWD = """\
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from mpp_exec import MppError, Runtime

with Runtime(sys.argv[1], sandboxes=10, parked=0) as runtime:
    def call(seconds):
        try:
            return runtime.call("acme/one", "call", {"seconds": seconds}).outcome
        except MppError as error:
            return [error.code, error.hint, error.exit_code]
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
SOMEBODY = 61_440  # whoever owns nothing else here


def test_calls_beyond_what_there_is_are_told_so_and_later_ones_run(ground: Path) -> None:
    shell = Shell(ground)
    shell.install("acme/one", code=WAITS, schema='{ type = "object" }')
    shell.ok("run", "acme/one")  # in a user namespace of a user's own, root's files look like nobody's
    if os.getuid() == 0:
        for path in (shell.root, *shell.root.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    done = subprocess.run(
        simulated_host.on("few-processes", [sys.executable, "-P", "-c", CROWD, str(shell.home)]),
        capture_output=True,
        env=shell.environment(),
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    crowd, started, after = json.loads(done.stdout)
    assert len(crowd) == started
    assert "ok" in crowd
    refused = [each for each in crowd if each != "ok"]
    assert refused, crowd
    for code, hint, exit_code in refused:
        assert (code, exit_code) == ("host.exhausted", 7)
        assert "processes" in hint
    assert after == ["ok"] * 5
