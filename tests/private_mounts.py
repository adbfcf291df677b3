"""Run a Python program in a mount namespace of its own, as root or (in a user namespace) as anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def unshared(*command: str) -> list[str]:
    """Return *command* wrapped so that its mounts are its own and end with it."""
    flags = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    return ["unshare", *flags, "--propagation", "private", "--", *command]


def mounted() -> list[str]:
    """Return what is mounted here, but for what tests that run beside this one mount (``hung_files``)."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - fuse hung " not in line]


def run_in_private_mounts(program: str, *arguments: object, **options: Any) -> str:
    """Run *program* with ``sys.argv[1:]`` being *arguments*; return its stdout, fail with its stderr."""
    command = unshared(sys.executable, "-c", program, *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)
