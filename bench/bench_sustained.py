"""How many calls a second are sustained on all processors, against bare C that makes as many sandboxes?"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from bench import outside
from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, install_answer
from mpp_exec import Runtime

CALLS = 40
"""Calls of one sample, and sandboxes of one sample of bare C."""


def run(*, rounds: int, as_json: bool) -> bool:
    processors = len(os.sched_getaffinity(0))
    with folder() as where:
        home, program = install_answer(where)
        floor = str(outside.compiled(where))
        share = str(CALLS // processors)

        def churn() -> None:
            command = [floor, "churn", str(program), share]
            running = [subprocess.Popen(command) for _ in range(processors)]
            statuses = [process.wait() for process in running]  # wait for all of them, whatever one returns
            if any(statuses):
                raise RuntimeError("bare C failed")

        with Runtime(home) as runtime, ThreadPoolExecutor(2 * processors) as callers:

            def calls() -> None:
                made = [callers.submit(runtime.call, "bench/answer", "answer", {}) for _ in range(CALLS)]
                if any(call.result().is_error for call in made):
                    raise RuntimeError("a call failed")

            contestants = [
                Contestant(f"mpp-exec, {CALLS} calls", calls),
                Contestant(f"C, {CALLS} sandboxes", churn),
            ]
            measure(contestants, rounds=max(5, rounds // 10))
        goals = [Goal(f"mpp-exec, {CALLS} calls", f"C, {CALLS} sandboxes", 1 / 0.85)]
        return report("sustained calls on all processors", contestants, goals, as_json=as_json)
