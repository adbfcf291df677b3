"""What does a process pay before it can call: the import, and the whole command?"""

from __future__ import annotations

import sys

from bench import outside
from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, install_answer


def run(*, rounds: int, as_json: bool) -> bool:
    python = sys.executable
    with folder() as where:
        home, _ = install_answer(where)
        command = [python, "-m", "mpp_exec", "--home", str(home), "run", "bench/answer", "answer"]
        contestants = [
            Contestant("import mpp_exec", outside.process([python, "-c", "import mpp_exec"])),
            Contestant("import json, asyncio", outside.process([python, "-c", "import json, asyncio"])),
            Contestant("python -I -c pass", outside.process([python, "-I", "-c", "pass"])),
            Contestant("mpp-exec run", outside.process(command)),
        ]
        measure(contestants, rounds=max(10, rounds // 4))
        goals = [
            Goal("import mpp_exec", "import json, asyncio", 1.5),
            Goal("mpp-exec run", "python -I -c pass", 0.5),
        ]
        return report("the start of a process", contestants, goals, as_json=as_json)
