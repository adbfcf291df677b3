"""Run a Python program in a mount namespace of its own, as root or (in a user namespace) as any user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def unshared(*command: str) -> list[str]:
    """Return *command* wrapped so that it has its own mounts, which end with it."""
    flags = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    return ["unshare", *flags, "--propagation", "private", "--", *command]


def mounted() -> list[str]:
    """Return the mounts that exist here, except those that concurrent tests make (``hung_files``)."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - fuse hung " not in line]


def run_in_private_mounts(program: str, *arguments: object, **options: Any) -> str:
    """Run *program* with *arguments* as ``sys.argv[1:]``; return its stdout, or fail with its stderr."""
    command = unshared(sys.executable, "-c", program, *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)
