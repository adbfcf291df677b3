"""The processes that a process has started, each distinguished from a later process with the same pid."""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> set[tuple[int, str]]:
    """Return pid and start time of every descendant of *pid*."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(stat[1]), []).append((int(entry.name), stat[19]))
    found: set[tuple[int, str]] = set()
    pending = [pid]
    while pending:
        for child in parents.get(pending.pop(), []):
            found.add(child)
            pending.append(child[0])
    return found


def alive(process: tuple[int, str]) -> bool:
    """Say whether a process that was seen is still running; a zombie that init has not reaped is not."""
    try:
        stat = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return stat[19] == process[1] and stat[0] not in "ZX"
