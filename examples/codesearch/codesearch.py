"""Two tools over a source tree: search it, and read one of its files. Standard library only."""

import fnmatch
import os
import re
from pathlib import Path

SKIPPED = {"__pycache__", "node_modules", "build", "dist"}
MAX_FILE = 1 << 20


def _files(folder, glob):
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and name[0] != ".")
        for name in sorted(names):
            if fnmatch.fnmatch(name, glob):
                yield Path(root, name)


def search(pattern, folder=None, glob="*", limit=50):
    """Return the lines below *folder* that match *pattern*, at most *limit* of them."""
    wanted = re.compile(pattern)
    base = Path(folder or os.environ["SOURCE_DIR"])
    matches, searched = [], 0
    for path in _files(base, glob):
        if path.is_symlink() or path.stat().st_size > MAX_FILE:
            continue
        searched += 1
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if wanted.search(line):
                matches.append(
                    {"path": str(path.relative_to(base)), "line": number, "text": line.strip()[:200]}
                )
                if len(matches) == limit:
                    return {"files_searched": searched, "matches": matches, "truncated": True}
    return {"files_searched": searched, "matches": matches, "truncated": False}


def read(path, lines=40):
    """Return the first *lines* of the file at *path*."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        return {"path": path, "text": "".join(line for _, line in zip(range(lines), file, strict=False))}
