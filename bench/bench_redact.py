"""What does redaction cost, and how much does it find?

Cost: per KiB of a small result, and per MB of mixed text of growing size. The mixed text consists of log
lines, JSON, prose and code, with a value in about one line of twenty; none of it comes from a data set.

Found: recall by kind, false alarms, and secrets by line, on labelled data, by the rules of
``redaction_scores``. To run it alone: ``python -m bench.bench_redact [--data FOLDER] [--json]``; without a
folder (or MPP_PRIVACY_DATA) it measures only the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from bench import redaction_scores
from bench.harness import Contestant, machine, measure
from mpp_exec.privacy.meter import Bounds
from mpp_exec.privacy.redact import Redactor, redact

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
    """Print the table. It has no goal, since promise 10 is measured on whole calls."""
    clean, with_value = [OBJECT] * 6, [OBJECT] * 5 + [OBJECT | {"note": "mail jane@example.com"}]
    inputs = {
        "JSON, 1 KiB": clean,
        "JSON, 1 KiB, a value": with_value,
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


# The pieces that keep redaction busiest: at each of them something begins that redaction must read far to
# decide.
REPEATED = (
    "key=", "auth0=", "mdp=", "password=", "pass=Ab1defgh ", "street: 1 A St, ", "home: ", "last_name=",
    "l1O0", "AZDO212-555-0199  a@b.co ", "redis-cli>", "a@b.co ", "Jane <j@e.co> ", "\\xfc", '{\\"',
)  # fmt: skip
_REPEATED_SIZE = 1 << 18


def repeated() -> dict[str, float]:
    """Return processor seconds for a MiB of each short, repeated piece, computed from a part of a MiB."""
    seconds = {}
    for piece in REPEATED:
        text = piece * (_REPEATED_SIZE // len(piece))
        start = time.thread_time()
        redact(text)
        seconds[piece] = (time.thread_time() - start) * (1 << 20) / len(text)
    return seconds


GROWTH = tuple(1 << power for power in range(10, 27, 2))  # 1 KiB to 64 MiB
# The channels of a result, most of them empty: the fixed cost of a call.
CHANNELS = ("value", "blocks", "structured", "message", "reason", "place", "appeared", "stderr")
CALLS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a number": {"value": {"sum": 3}},
    "a short string": {"value": "done"},
    "a row": {"value": {"rows": [{"id": 1, "name": "two", "price": 3.5}]}},
    "a row and a line on stderr": {"value": {"rows": [{"id": 1}]}, "stderr": "warning: slow\n"},
    "1 KiB of JSON": {"value": [OBJECT] * 6},
}


def growth(largest: int) -> dict[int, float]:
    """Return processor seconds for mixed text of each size, the best of a few runs."""
    best: dict[int, float] = {}
    for size in (size for size in GROWTH if size <= largest):
        text = mixed(size)
        times = []
        for _ in range(max(2, min(20, (1 << 22) // size))):
            start = time.thread_time()
            redact(text)
            times.append(time.thread_time() - start)
        best[size] = min(times)
    return best


def calls() -> dict[str, float]:
    """Return processor microseconds for the channels of small results, the best of many runs."""
    best = {}
    for name, channels in CALLS.items():
        empty: dict[str, Any] = dict.fromkeys(CHANNELS)
        value = empty | {"blocks": [], "message": "", "reason": "", "stderr": ""} | channels
        times = []
        for _ in range(2000):
            start = time.thread_time_ns()
            Redactor(bounds=Bounds(50_000, 5.0, time.thread_time, lambda: False)).redact_many(value)
            times.append(time.thread_time_ns() - start)
        best[name] = min(times) / 1000
    return best


IMPORTS = {
    "import mpp_exec": "import mpp_exec",
    "import mpp_exec.cli.main": "import mpp_exec.cli.main",
    "import mpp_exec.privacy.redact": "import mpp_exec.privacy.redact",
}


def imports(rounds: int = 9) -> dict[str, dict[str, float]]:
    """Return processor milliseconds for imports, and how many modules of privacy each import loads.

    They run in fresh processes, interleaved. The result is the median of *rounds*; one run before them makes
    the bytecode.
    """
    program = (
        "import sys, time; start = time.process_time()\n{}\nprint(time.process_time() - start,"
        " sum(name.startswith('mpp_exec.privacy') for name in sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    modules: dict[str, int] = {}
    for _ in range(rounds + 1):
        for name, statement in IMPORTS.items():
            command = [sys.executable, "-c", program.format(statement)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            said = done.stdout.split()
            seconds[name].append(float(said[0]))
            modules[name] = int(said[1])
    return {
        name: {"ms": statistics.median(each[1:]) * 1000, "modules": modules[name]}
        for name, each in seconds.items()
    }


HELD = 1 << 23  # code points of the texts during which holding the interpreter is measured


def longest_hold() -> dict[str, float]:
    """Return the duration of the longest call of a C function in redacting 8 MiB of text, in milliseconds.

    It uses the processor's clock, since waiting for a busy machine is not holding the interpreter. It leaves
    out the pass over the text, which lets other threads run, and C functions that call back into Python.
    """
    text = mixed(HELD)
    texts = {
        "mixed": text,
        "not Latin": text.replace("fox", "\u72d0"),
        "a control character in front": f"\x01{text}",
        "digits and spaces": "1 " * (HELD // 2),
    }
    return {name: _longest_call(each) for name, each in texts.items()}


def _longest_call(text: str) -> float:
    began: list[float] = []
    longest = 0.0

    def watch(_frame: FrameType, event: str, function: Any) -> None:
        nonlocal longest
        if event == "c_call":
            began.append(time.thread_time())
        elif event in ("c_return", "c_exception") and began:
            taken = time.thread_time() - began.pop()
            if getattr(function, "__name__", "") not in _CALLS_BACK:
                longest = max(longest, taken)

    sys.setprofile(watch)
    try:
        redact(text)
    finally:
        sys.setprofile(None)
    return longest * 1000


# The time of these is the time of the Python code that they run. The pass in C does not hold the interpreter.
_CALLS_BACK = (
    "mpp_scan_text",
    "mpp_scan_marks",
    "sorted",
    "join",
    "any",
    "sum",
    "update",
    "__import__",
    "exec",
)


def found(data: Path) -> dict[str, Any]:
    """Return the scores of redaction on the labelled data of a folder."""
    rows = list(redaction_scores.documents(data))
    plain = redaction_scores.score(row for row in rows if not row.adversarial)
    harmless = redaction_scores.score(redaction_scores.harmless(data))
    secrets = redaction_scores.score_lines(redaction_scores.lines(data))
    structured = redaction_scores.STRUCTURED
    changed = {
        how: redaction_scores.score(row for row in rows if row.adversarial == how)
        for how in sorted({row.adversarial for row in rows} - {""})
    }
    return {
        "kinds": {
            kind: {"labels": each.labels, "found": each.share, "named": each.named / each.labels}
            for kind, each in sorted(plain.kinds.items())
        },
        "structured": plain.recall(structured),
        "adversarial": {how: scores.recall(structured) for how, scores in changed.items()},
        "excess": plain.excess,
        "harmless": {"documents": harmless.harmless, "alarm_rate": harmless.alarm_rate},
        "secrets": {
            "lines": secrets.secrets,
            "recall": secrets.recall,
            "recall_of_all": secrets.recall_of_all,
            "without": secrets.others,
            "precision": secrets.precision,
        },
        "declined": dict(plain.declined + secrets.declined),
    }


def _print_found(scores: dict[str, Any]) -> None:
    print(f"\n{'kind':18} {'labels':>7} {'found':>7} {'named':>7}")
    for kind, row in scores["kinds"].items():
        print(f"{kind:18} {row['labels']:7} {row['found']:7.3f} {row['named']:7.3f}")
    print(f"structured kinds: {scores['structured']:.3f}; found and not labelled: {scores['excess']:.4f}")
    print("adversarial: " + ", ".join(f"{how} {share:.3f}" for how, share in scores["adversarial"].items()))
    harmless, secrets = scores["harmless"], scores["secrets"]
    print(f"harmless documents: {harmless['documents']}, with an alarm {harmless['alarm_rate']:.4f}")
    print(
        f"secrets: {secrets['lines']} lines with and {secrets['without']} without, "
        f"recall {secrets['recall']:.3f} (with what is declined {secrets['recall_of_all']:.3f}), "
        f"precision {secrets['precision']:.3f}"
    )
    for reason, count in scores["declined"].items():
        print(f"declined: {count}, {reason}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.bench_redact")
    parser.add_argument(
        "--data", metavar="FOLDER", help=f"labelled data; default ${redaction_scores.VARIABLE}"
    )
    parser.add_argument("--largest", type=int, default=64, metavar="MIB", help="of mixed text; default 64")
    parser.add_argument("--json", action="store_true", help="JSON documents instead of tables")
    chosen = parser.parse_args()
    if not chosen.json:
        print(", ".join(f"{name} {value}" for name, value in machine().items()))
    run(rounds=40, as_json=chosen.json)
    fixed, grown, started, held = calls(), growth(chosen.largest << 20), imports(), longest_hold()
    hostile = repeated()
    if chosen.json:
        print(json.dumps({"question": "redaction of a call", "machine": machine(), "us": fixed}))
        print(json.dumps({"question": "redaction by size", "machine": machine(), "seconds": grown}))
        print(json.dumps({"question": "redaction imported", "machine": machine(), "imports": started}))
        print(json.dumps({"question": "redaction, the longest hold", "machine": machine(), "ms": held}))
        print(json.dumps({"question": "redaction, repeated", "machine": machine(), "s_per_mib": hostile}))
    else:
        print(f"\n{'a result of':28} {'µs':>8}")
        for name, microseconds in fixed.items():
            print(f"{name:28} {microseconds:8.1f}")
        print(f"\n{'mixed text, KiB':22} {'ms':>10} {'ns/byte':>10} {'MB/s':>8}")
        for size, seconds in grown.items():
            rate = f"{seconds * 1e9 / size:10.1f} {size / seconds / 1e6:8.1f}"
            print(f"{size >> 10:<22} {seconds * 1e3:10.2f} {rate}")
        print(f"\n{'':34} {'ms':>8} {'modules of privacy':>20}")
        for name, row in started.items():
            print(f"{name:34} {row['ms']:8.1f} {row['modules']:20.0f}")
        print(f"\n{'the longest hold, 8 MiB of':34} {'ms':>8}")
        for name, milliseconds in held.items():
            print(f"{name:34} {milliseconds:8.1f}")
        print(f"\n{'again and again':34} {'s/MiB':>8}")
        for piece, seconds in sorted(hostile.items(), key=lambda each: -each[1]):
            print(f"{piece!r:34} {seconds:8.2f}")
    if data := redaction_scores.folder(chosen.data):
        scores = found(data)
        if chosen.json:
            print(json.dumps({"question": "found", "machine": machine(), **scores}))
        else:
            _print_found(scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
