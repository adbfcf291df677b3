"""How late is a tool ended that takes all it can?

The bombs are those of the tests. Each goes off while another tool is called again and again. Its lateness is
the time from the instant of its limit until the call has returned and nothing of the sandbox is left.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.harness import ROOT, Contestant, report
from bench.stage import folder

if TYPE_CHECKING:
    from bombs import Bomb
    from mpp_exec.sandbox.plan import SandboxPlan

GOAL_MS = 100


def run(*, rounds: int, as_json: bool) -> bool:
    sys.path.insert(0, str(ROOT / "tests"))
    from bombs import BOMBS  # noqa: PLC0415 -- they lie beside the tests
    from sandbox_lab import Lab, build_program  # noqa: PLC0415

    rows = []
    with folder(None) as where:
        (where / "packages").mkdir(mode=0o755)
        lab = Lab(where / "packages")
        probe = build_program(ROOT / "tests" / "sandbox_probe.c", where / "probe")
        small = lab.program(probe, "status", "0")
        for bomb in BOMBS:
            if bomb.lateness is None:
                continue
            compiled = bomb.plan(lab, probe)
            row = Contestant(bomb.name, lambda: None)
            row.samples += [lateness(bomb, compiled, small) for _ in range(rounds)]
            rows.append(row)
    report("how late a limit is", rows, [], as_json=as_json)
    return all(row.median_us() < GOAL_MS * 1000 for row in rows)


def lateness(bomb: Bomb, compiled: SandboxPlan, small: SandboxPlan) -> int:
    """Set off *bomb* once, and return by how many ns it was ended late."""
    from bombs import explode  # noqa: PLC0415

    ended = explode(compiled, small)
    assert ended.done.outcome == bomb.outcome, ended.done
    assert bomb.lateness is not None
    return max(0, bomb.lateness(ended, bomb.limits))
