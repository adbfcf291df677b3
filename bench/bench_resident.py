"""Does a call cost more when the host is large? 2 GiB resident against 50 MiB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.harness import ROOT, Contestant, Goal, report
from bench.stage import folder, install_answer

# Each host is a process of its own. The hosts take turns, with one call at a time.
HOST = """
import sys, time
from mpp_exec import Runtime
home, mib = sys.argv[1], int(sys.argv[2])
ballast = bytearray(mib << 20)
for page in range(0, len(ballast), 4096):
    ballast[page] = 1
with Runtime(home) as runtime:
    for line in sys.stdin:
        begin = time.perf_counter_ns()
        runtime.call("bench/answer", "answer", {})
        print(time.perf_counter_ns() - begin, flush=True)
"""


def run(*, rounds: int, as_json: bool) -> bool:
    with folder() as where:
        home, _ = install_answer(where)
        hosts = {"host of 2 GiB": _host(home, 2048), "host of 50 MiB": _host(home, 50)}
        contestants = [Contestant(name, lambda: None) for name in hosts]
        try:
            for count in range(rounds + 5):
                for contestant in contestants if count % 2 else reversed(contestants):
                    took = _one(hosts[contestant.name])
                    if count >= 5:
                        contestant.samples.append(took)
        finally:
            for process in hosts.values():
                if process.stdin is not None:
                    process.stdin.close()
                process.wait(timeout=30)
                if process.stdout is not None:
                    process.stdout.close()
        goals = [Goal("host of 2 GiB", "host of 50 MiB", 1.1)]
        return report("cold call by the size of the host process", contestants, goals, as_json=as_json)


def _host(home: Path, mib: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOST, str(home), str(mib)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
        env=dict(os.environ),
    )


def _one(process: subprocess.Popen[str]) -> int:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the host has no pipes")
    process.stdin.write("go\n")
    return int(json.loads(process.stdout.readline()))
