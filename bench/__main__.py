"""Run the benchmarks: ``python -m bench [--short] [--json] [--write] [QUESTION…]``."""

from __future__ import annotations

import argparse
import importlib
import sys

from bench import page
from bench.harness import documents, machine

QUESTIONS = {
    "cold": 200,
    "warm": 200,
    "sustained": 200,
    "resident": 120,
    "start": 120,
    "mcp": 100,
    "mcp_wrapped": 30,
    "mcp_start": 100,
    "stages": 200,
    "verify": 120,
    "redact": 100,
    "parked": 1000,
    "template": 60,
    "limits": 50,
    "egress": 300,
}
LONG = {"drift": 100_000}
"""Asked by name only: they take an hour or two."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument(
        "questions",
        nargs="*",
        choices=[*QUESTIONS, *LONG, []],
        metavar="QUESTION",
        help=", ".join(QUESTIONS | LONG),
    )
    parser.add_argument("--short", action="store_true", help="a fifth of the rounds")
    parser.add_argument("--json", action="store_true", help="one JSON document per question")
    parser.add_argument("--write", action="store_true", help="rewrite docs/benchmarks.md and its plot")
    chosen = parser.parse_args()
    if not chosen.json:
        print(", ".join(f"{name} {value}" for name, value in machine().items()))
    met = True
    for name in chosen.questions or QUESTIONS:
        rounds = (QUESTIONS | LONG)[name] // (5 if chosen.short else 1)
        met &= importlib.import_module(f"bench.bench_{name}").run(rounds=rounds, as_json=chosen.json)
    if chosen.write:
        page.write(documents)
        return 0
    return 0 if met or chosen.short else 1


if __name__ == "__main__":
    sys.exit(main())
