"""Do latency, memory and descriptors stay what they are over very many calls in one process?

Two threads at once call a Python tool, in windows. For each window it records p50, p99, and the resources of
the process at its end. The first windows warm up; the last window is compared with the one after them. It
also records how many network namespaces of ended sandboxes the kernel still has: it removes them
asynchronously.

``make bench`` does not ask this question. ``make bench-drift`` asks it for 100,000 calls, in an hour or two.
"""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.harness import Contestant, Goal, facts_of, report
from bench.stage import folder, install_python
from mpp_exec import Runtime

_WINDOWS: Final = 10
_CALLERS: Final = 2


def run(*, rounds: int, as_json: bool) -> bool:
    size = max(_CALLERS, rounds // _WINDOWS)
    windows: list[Contestant] = []
    seen: list[dict[str, int]] = []
    with (
        folder() as where,
        Runtime(install_python(where)) as runtime,
        ThreadPoolExecutor(_CALLERS) as callers,
    ):

        def call(_: int) -> int:
            at = time.perf_counter_ns()
            if runtime.call("bench/python", "answer", {}).is_error:
                raise RuntimeError("a call failed")
            return time.perf_counter_ns() - at

        for number in range(_WINDOWS):
            began = time.monotonic()
            window = Contestant(f"calls {number * size + 1} to {(number + 1) * size}", lambda: None)
            window.samples += callers.map(call, range(size))
            windows.append(window)
            gc.collect()
            seen.append(_state() | {"calls a second": round(size / (time.monotonic() - began))})
            if not as_json:
                print(f"  {window.name}: {window.median_us():.0f} µs, {seen[-1]}", flush=True)
        facts_of(
            f"what the process has after each of {_WINDOWS} times {size} calls",
            {name: [each[name] for each in seen] for name in seen[0]},
            as_json=as_json,
        )
    last, early = windows[-1].name, windows[1].name
    goals = [Goal(last, early, 1.2), Goal(last, early, 1.5, p99=True)]
    grown = seen[-1]["descriptors"] - seen[1]["descriptors"], seen[-1]["KiB"] / seen[1]["KiB"]
    kept = grown[0] <= _CALLERS and grown[1] <= 1.1
    return report("latency over many calls", windows, goals, as_json=as_json) and kept


def _state() -> dict[str, int]:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    slabs = Path("/proc/slabinfo")
    dying = 0
    if os.access(slabs, os.R_OK):
        lines = slabs.read_text(encoding="ascii").splitlines()
        dying = next((int(line.split()[1]) for line in lines if line.startswith("net_namespace ")), 0)
    return {
        "KiB": int(next(line.split()[1] for line in status if line.startswith("VmRSS"))),
        "threads": int(next(line.split()[1] for line in status if line.startswith("Threads"))),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "network namespaces in the kernel": dying,
    }
