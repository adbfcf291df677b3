"""The page of results: ``docs/benchmarks.md`` between its marks, and its plot ``docs/benchmarks.svg``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from bench.harness import ROOT, machine

PAGE: Final = ROOT / "docs" / "benchmarks.md"
PLOT: Final = ROOT / "docs" / "benchmarks.svg"
BEGIN: Final = "<!-- results: written by make bench -->"
END: Final = "<!-- end of results -->"

_BAR, _LEFT, _WIDTH = 26, 330, 900  # px


def write(documents: Sequence[dict[str, Any]]) -> None:
    """Put the results between the marks of the page, and draw the ratios.

    Raises:
        ValueError: the page has no marks.
    """
    text = PAGE.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{PAGE} has no marks between which results belong")
    PAGE.write_text(f"{before}{BEGIN}\n{tables(documents)}\n{END}{after}", encoding="utf-8")
    PLOT.write_text(plot(documents), encoding="utf-8")


def tables(documents: Sequence[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    parts = [f"\nMeasured on: {facts}.\n"]
    for document in documents:
        question = document["question"]
        parts.append(f"### {question[0].upper()}{question[1:]}\n")
        if "facts" in document:
            parts.append("| | |\n|---|---|")
            parts += [f"| {name} | {value} |" for name, value in document["facts"].items()]
            parts.append("")
            continue
        parts.append("| | p50, µs | p99, µs |\n|---|---:|---:|")
        for name, row in document["contestants"].items():
            parts.append(f"| {name} | {row['p50_us']:,.0f} | {row['p99_us']:,.0f} |")
        parts.append("")
        if document.get("ratios"):
            parts.append("| ratio | measured (95 %) | goal | |\n|---|---|---|---|")
            parts += [_row(each) for each in document["ratios"]]
            parts.append("")
    return "\n".join(parts)


def _row(each: dict[str, Any]) -> str:
    what = f"{each['of']} / {each['to']}{', p99' if each['p99'] else ''}"
    over = each["ratio"] / each["goal"]
    verdict = "met" if over <= 1 else f"missed, {over:.1f} times the goal"
    return (
        f"| {what} | {each['ratio']:.2f} ({each['low']:.2f} to {each['high']:.2f}) | "
        f"{each['goal']:.2f} | {verdict} |"
    )


def plot(documents: Sequence[dict[str, Any]]) -> str:
    """Return an SVG with a bar for each ratio, as a multiple of its goal: up to the line the goal is met."""
    rows = [
        (f"{each['of']} / {each['to']}{' (p99)' if each['p99'] else ''}", each["ratio"] / each["goal"])
        for document in documents
        for each in document.get("ratios", [])
    ]
    most = max(2.0, *(over for _, over in rows)) if rows else 2.0
    scale = (_WIDTH - _LEFT - 60) / most
    height = _BAR * len(rows) + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<text x="{_LEFT}" y="16">ratio as a multiple of its goal (1 is the goal; shorter is better)</text>',
    ]
    for number, (name, over) in enumerate(rows):
        top = 30 + number * _BAR
        colour = "#2a7" if over <= 1 else "#c63"
        lines += [
            f'<text x="{_LEFT - 6}" y="{top + 13}" text-anchor="end">{escape(name[:60])}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{max(1.0, over * scale):.1f}" height="18" fill="{colour}"/>',
            f'<text x="{_LEFT + over * scale + 5:.1f}" y="{top + 13}">{over:.2f}</text>',
        ]
    goal = _LEFT + scale
    lines += [
        f'<path d="M{goal:.1f} 24V{height - 16}" stroke="#000" stroke-dasharray="4 3"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
