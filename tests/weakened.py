"""The init program with one of its defences removed, to show that an attack is real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NATIVE = Path(__file__).parents[1] / "native"
FLAGS = (
    *("-std=c11", "-O2", "-ffreestanding", "-fPIE", "-fno-stack-protector", "-fcf-protection=none"),
    *("-static-pie", "-nostdlib", "-nostartfiles", "-w"),
)
PARTS = ("begin_exec", "init", "owner", "sound", "layout", "layout_late", "mounts", "confine", "network")
SOURCES = tuple(f"{part}.c" for part in PARTS)


def weakened(folder: Path, name: str, *changes: tuple[str, str]) -> int:
    """Compile init in *folder* with *changes* to the source file *name*; return its descriptor."""
    source = (NATIVE / name).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    (folder / name).write_text(source, encoding="utf-8")
    sources = [str(folder / each if each == name else NATIVE / each) for each in SOURCES]
    target = folder / "mpp-init"
    subprocess.run(["cc", *FLAGS, f"-I{NATIVE}", *sources, "-o", str(target)], check=True)
    return os.open(target, os.O_RDONLY | os.O_CLOEXEC)
