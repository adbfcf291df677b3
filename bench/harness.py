"""One way to measure: contestants in turn, medians and p99, ratios with a confidence interval.

Machines are shared, and their speed drifts. So contestants take turns within each round, and are compared by
the ratio of their medians; the interval comes from resampling rounds. CPU, kernel and commit are printed with
every table, since a figure without them says nothing.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_RESAMPLES = 400


@dataclass
class Contestant:
    """A name and something to time, once per round. ``run`` may return the ns it took by its own clock."""

    name: str
    run: Callable[[], object]
    samples: list[int] = field(default_factory=list)

    def median_us(self) -> float:
        return statistics.median(self.samples) / 1000

    def p99_us(self) -> float:
        return sorted(self.samples)[max(0, int(len(self.samples) * 0.99) - 1)] / 1000


@dataclass(frozen=True)
class Goal:
    """The goal of a ratio: ``contestant`` over ``against`` must not exceed ``at_most``.

    ``p99`` compares the 99th percentiles instead of the medians.
    """

    contestant: str
    against: str
    at_most: float
    p99: bool = False


documents: list[dict[str, Any]] = []
"""What every question of this process has found, for whoever writes it down."""


def measure(contestants: Sequence[Contestant], *, rounds: int, warm_up: int = 3) -> None:
    """Fill in the samples (ns): each contestant runs once per round, in a changing order."""
    order = list(contestants)
    shuffle = random.Random(1)
    for _ in range(warm_up):
        for contestant in order:
            contestant.run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle.shuffle(order)
            for contestant in order:
                begin = time.perf_counter_ns()
                own = contestant.run()
                took = time.perf_counter_ns() - begin
                contestant.samples.append(own if isinstance(own, int) else took)
    finally:
        gc.enable()


def ratio(one: Contestant, other: Contestant, *, p99: bool = False) -> tuple[float, float, float]:
    """Return the ratio of medians (or 99th percentiles) with its 95 % interval, from resampled rounds."""
    middle: Callable[[Iterable[int]], float] = _p99 if p99 else statistics.median
    rounds = min(len(one.samples), len(other.samples))
    draw = random.Random(2)
    found = []
    for _ in range(_RESAMPLES):
        chosen = [draw.randrange(rounds) for _ in range(rounds)]
        found.append(middle(one.samples[i] for i in chosen) / middle(other.samples[i] for i in chosen))
    found.sort()
    exact = middle(one.samples) / middle(other.samples)
    return exact, found[int(_RESAMPLES * 0.025)], found[int(_RESAMPLES * 0.975)]


def _p99(samples: Iterable[int]) -> float:
    ordered = sorted(samples)
    return float(ordered[max(0, int(len(ordered) * 0.99) - 1)])


def machine() -> dict[str, str]:
    """Return the facts about the machine and the revision that are needed to interpret a figure."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    git = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": f"{os.cpu_count()}x {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "unprivileged",
        "load": f"{os.getloadavg()[0]:.1f} before it began",
        "commit": git.stdout.strip() or "unknown",
    }


def facts_of(title: str, facts: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print the results that are not times."""
    document = {"question": title, "machine": machine(), "facts": dict(facts)}
    documents.append(document)
    if as_json:
        print(json.dumps(document))
        return
    print(f"\n{title}")
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name:<{width}}  {value}")


def report(
    title: str, contestants: Sequence[Contestant], goals: Sequence[Goal], *, as_json: bool = False
) -> bool:
    """Print the table of one question; return whether every goal is met."""
    by_name = {contestant.name: contestant for contestant in contestants}
    rows = [
        (goal, *ratio(by_name[goal.contestant], by_name[goal.against], p99=goal.p99))
        for goal in goals
        if goal.contestant in by_name and goal.against in by_name
    ]
    document = {
        "question": title,
        "machine": machine(),
        "contestants": {
            each.name: {"p50_us": each.median_us(), "p99_us": each.p99_us(), "rounds": len(each.samples)}
            for each in contestants
        },
        "ratios": [
            {
                "of": goal.contestant,
                "to": goal.against,
                "p99": goal.p99,
                "ratio": exact,
                "low": low,
                "high": high,
                "goal": goal.at_most,
            }
            for goal, exact, low, high in rows
        ],
    }
    documents.append(document)
    if as_json:
        print(json.dumps(document))
    else:
        print(f"\n{title}")
        width = max(len(each.name) for each in contestants)
        for each in contestants:
            print(f"  {each.name:<{width}}  p50 {each.median_us():>10.0f} µs   p99 {each.p99_us():>10.0f} µs")
        for goal, exact, low, high in rows:
            met = "met" if exact <= goal.at_most else "NOT MET"
            of = f"{goal.contestant} / {goal.against}{' (p99)' if goal.p99 else ''}"
            print(f"  {of}: {exact:.2f} ({low:.2f} to {high:.2f}), goal at most {goal.at_most:g}: {met}")
    return all(exact <= goal.at_most for goal, exact, _, _ in rows)
