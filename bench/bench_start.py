"""What does a process pay before it calls: the import, and the whole command, served by a runtime and not?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import outside
from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, install_answer, install_python

CLIENT = Path(sys.executable).with_name("mpp-exec")


def run(*, rounds: int, as_json: bool) -> bool:
    python = sys.executable
    with folder() as where:
        (where / "alone").mkdir()
        (where / "served").mkdir()
        alone, _ = install_answer(where / "alone")
        served, _ = install_answer(where / "served")
        install_python(where / "served")
        with resident(served):
            contestants = [
                Contestant("import mpp_exec", outside.process([python, "-c", "import mpp_exec"])),
                Contestant("import json, asyncio", outside.process([python, "-c", "import json, asyncio"])),
                Contestant("python -I -c pass", outside.process([python, "-I", "-c", "pass"])),
                Contestant("mpp-exec run, served", outside.process(command(served, "bench/answer"))),
                Contestant("mpp-exec run, served, python", outside.process(command(served, "bench/python"))),
                Contestant("mpp-exec run, no runtime", outside.process(command(alone, "bench/answer"))),
                Contestant("mpp-exec --version", outside.process([str(CLIENT), "--version"])),
            ]
            measure(contestants, rounds=max(10, rounds // 4))
        goals = [
            Goal("import mpp_exec", "import json, asyncio", 1.5),
            Goal("mpp-exec run, served", "python -I -c pass", 0.5),
            Goal("mpp-exec run, served, python", "python -I -c pass", 0.5),
        ]
        return report("the start of a process", contestants, goals, as_json=as_json)


def command(home: Path, package: str) -> list[str]:
    return [str(CLIENT), "--home", str(home), "run", package, "answer"]


@contextmanager
def resident(home: Path) -> Iterator[None]:
    """Run a resident runtime of *home* during the block; it must have made calls by the end of the block."""
    serve = [str(CLIENT), "--home", str(home), "serve"]
    # It gets the environment variables of its clients; otherwise the clients would make their calls
    # themselves.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        if not process.stderr.readline().startswith("serving"):
            raise RuntimeError("there is no resident runtime")
        yield
        asked = subprocess.run([*serve, "--status"], capture_output=True, text=True, check=True)
        status = asked.stdout
        if " 0 calls" in status or "themselves" in status:
            raise RuntimeError(f"calls were not made by the resident runtime: {status}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
