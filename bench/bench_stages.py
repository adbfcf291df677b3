"""Where does the time of a call go outside the sandbox?

Only this benchmark leaves out the sandbox: its answer is given at once. The table shows everything else by
stage, with the home on tmpfs; the first row is the sum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from bench.harness import Contestant, report
from bench.stage import folder, install_answer, install_python
from mpp_exec import Runtime
from mpp_exec.sandbox import spawn
from mpp_exec.sandbox.spawn import Completed

ANSWERS = {"bench/answer": b'{"ok":true}', "bench/python": b'{"value":{"ok":true}}'}


def run(*, rounds: int, as_json: bool) -> bool:
    shared = Path("/dev/shm")
    with folder(shared if shared.is_dir() else None) as where:
        install_answer(where)
        home = install_python(where)
        for package, answer in ANSWERS.items():
            done = Completed("ok", "", answer, b"", {}, 1, 1, 1)

            def answered(*_: Any, done: Completed = done, **__: Any) -> Completed:
                return done

            rows: dict[str, Contestant] = {}
            with mock.patch.object(spawn, "run", answered), Runtime(home) as runtime:
                for number in range(rounds * 5 + 50):
                    timing = runtime.call(package, "answer", {}).meta["mpp-exec/timing"]
                    if number < 50:
                        continue
                    timing = {"all": sum(timing.values()), **timing}
                    for name, value in timing.items():
                        row = rows.setdefault(name, Contestant(name, lambda: None))
                        row.samples.append(value * 1000)
            report(f"outside the sandbox, {package}", list(rows.values()), [], as_json=as_json)
    return True
