"""Is anything half as fast as it was? ``python -m bench.against [REVISION]`` compares two revisions.

Both are measured in the same run, in turn, with the benchmarks of this tree. Machines are shared, and what a
figure is worth changes by the hour; a ratio between contestants of one run says more. It fails only where a
ratio has doubled, also when that question is asked once more. Without a revision to compare with, it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.harness import ROOT

QUESTIONS: Final = ("cold", "warm", "start")
DOUBLED: Final = 2.0
SECONDS: Final = 240
"""What one pass over the questions may take."""

Ratios = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.against", description=__doc__)
    parser.add_argument("revision", nargs="?", default=os.environ.get("MPP_BENCH_BASE", ""))
    revision = base_of(parser.parse_args().revision)
    if revision is None:
        print("no base revision here: nothing is compared (MPP_BENCH_BASE names one)")
        return 0
    with tempfile.TemporaryDirectory(prefix="mpp-base-") as folder:
        tree = Path(folder) / "base"
        git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            Path(folder).chmod(0o755)
            if not built(tree):
                print(f"{revision[:12]} cannot be built with this environment: nothing is compared")
                return 0
            return compare(tree, revision)
        except subprocess.TimeoutExpired:
            print(f"a pass took longer than {SECONDS} s on this machine: nothing is compared")
            return 0
        finally:
            git("worktree", "remove", "--force", str(tree))


def base_of(named: str) -> str | None:
    """Return the commit to compare with: *named*, or where this branch left main, or the previous commit."""
    for candidate in (named, "origin/main", "main", "HEAD~1"):
        if not candidate:
            continue
        found = git("merge-base", "HEAD", candidate, check=False)
        if found and found != git("rev-parse", "HEAD", check=False):
            return found
    return None


def git(*words: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip() if done.returncode == 0 else ""


def built(tree: Path) -> bool:
    """Build the C parts of another tree in place."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tree, capture_output=True, timeout=SECONDS, check=False)
    return done.returncode == 0


def compare(tree: Path, revision: str) -> int:
    """Measure both revisions, print what changed, and return 1 if a ratio has doubled."""
    before, now = measured(tree, QUESTIONS), measured(ROOT, QUESTIONS)
    doubled = worse(before, now)
    if doubled:
        print(f"once more: {', '.join(doubled)}")
        before, now = measured(tree, QUESTIONS), measured(ROOT, QUESTIONS)
        doubled = [name for name in worse(before, now) if name in doubled]
    print(f"\nagainst {revision[:12]}")
    for name in sorted(before.keys() & now.keys()):
        change = now[name] / before[name]
        print(f"  {change:5.2f}x  {name}: {before[name]:.2f} -> {now[name]:.2f}")
    for name in doubled:
        print(f"error: it has doubled: {name}", file=sys.stderr)
    return 1 if doubled else 0


def worse(before: Ratios, now: Ratios) -> list[str]:
    """Return the ratios that have doubled."""
    return [name for name in before if name in now and now[name] >= DOUBLED * before[name]]


def measured(tree: Path, questions: Sequence[str]) -> Ratios:
    """Return the ratios that this tree's benchmarks find for the ``mpp_exec`` of *tree*."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--short", "--json", *questions],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": str(tree / "runtime")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    found: Ratios = {}
    for line in done.stdout.splitlines():
        document = json.loads(line)
        for each in document["ratios"]:
            percentile = " (p99)" if each["p99"] else ""
            if not percentile:  # too few rounds for a 99th percentile
                found[f"{document['question']}: {each['of']} / {each['to']}"] = each["ratio"]
    if not found:
        raise RuntimeError(f"nothing was measured: {done.stderr.strip()[-500:]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
