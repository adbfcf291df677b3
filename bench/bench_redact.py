"""What does redaction cost: per KiB of a small result, and per MB of mixed text of growing size?

Run by itself: ``python -m bench.bench_redact``. The mixed text is log lines, JSON, prose and code, with
a value in about one line of twenty; nothing of it comes from a data set.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from bench.harness import Contestant, machine, measure
from mpp_exec.privacy.redact import redact

LINES = (
    "2026-03-04T05:06:07.089Z INFO request id=7f3a9c21 path=/v1/items/8841 status=200 took=12.5ms bytes=182",
    '{"id": 48213, "name": "Widget", "price": 19.99, "tags": ["a", "b"], "created": "2026-03-04T05:06:07Z"}',
    "The quick brown fox jumps over the lazy dog, and then, having thought better of it, comes back.",
    "    for (std::size_t i = 0; i < items.size(); ++i) { total += items[i].price * 1.19; }  // a[1::2]",
    "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab  release-1.4.12.tar.gz",
)
VALUES = (
    "mail from jane@example.com",
    "peer 203.0.113.9:443",
    "card 4111 1111 1111 1111",
    "AKIAIOSFODNN7EXAMPLE",
)
OBJECT = {
    "id": 48213,
    "name": "Widget number 7",
    "price": 19.99,
    "url": "https://shop.example/items/48213",
    "created": "2026-03-04T05:06:07Z",
    "note": "Lorem ipsum dolor sit amet, consectetur",
}


def mixed(size: int) -> str:
    """Return *size* characters of mixed text."""
    lines: list[str] = []
    length = 0
    while length < size:
        number = len(lines)
        lines.append(VALUES[number // 20 % len(VALUES)] if number % 20 == 19 else LINES[number % len(LINES)])
        length += len(lines[-1]) + 1
    return "\n".join(lines)[:size]


def run(*, rounds: int, as_json: bool = False) -> bool:
    """Print the table. There is no goal to miss here: promise 10 is measured on whole calls."""
    clean, found = [OBJECT] * 6, [OBJECT] * 5 + [OBJECT | {"note": "mail jane@example.com"}]
    inputs = {
        "JSON, 1 KiB": clean,
        "JSON, 1 KiB, a value": found,
        "text, 1 KiB": mixed(1 << 10),
        "text, 16 KiB": mixed(1 << 14),
        "text, 256 KiB": mixed(1 << 18),
        "text, 1 MiB": mixed(1 << 20),
        "prose, 64 KiB": (LINES[2] + " ") * 690,
        "base64, 64 KiB": "TUlJRXZRSUJBREFOQmdrcWhraUc5dzBC" * 2048,
        "digits, 64 KiB": "1203,4411,99812,17.25\n" * 2979,
    }
    contestants = [Contestant(name, partial(redact, value)) for name, value in inputs.items()]
    measure(contestants, rounds=rounds)
    sizes = {
        name: len(value) if isinstance(value, str) else len(json.dumps(value))
        for name, value in inputs.items()
    }
    rows = {
        each.name: {
            "bytes": sizes[each.name],
            "p50_us": each.median_us(),
            "p99_us": each.p99_us(),
            "mb_per_s": sizes[each.name] / each.median_us(),
        }
        for each in contestants
    }
    if as_json:
        print(json.dumps({"question": "redaction", "machine": machine(), "contestants": rows}))
        return True
    print("\nredaction")
    print(f"{'':22} {'p50 µs':>10} {'p99 µs':>10} {'ns/KiB':>10} {'MB/s':>8}")
    for name, row in rows.items():
        per_kib = row["p50_us"] * 1000 / (row["bytes"] / 1024)
        print(f"{name:22} {row['p50_us']:10.0f} {row['p99_us']:10.0f} {per_kib:10.0f} {row['mb_per_s']:8.1f}")
    return True


if __name__ == "__main__":
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    sys.exit(0 if run(rounds=40) else 1)
