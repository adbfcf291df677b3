"""The environment of the other implementations: made once, kept in ``.venv-interop``."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv-interop"
REQUIREMENTS = HERE / "requirements.txt"


@pytest.fixture(scope="session")
def interop_python() -> Path:
    """Return the Python of an environment that has what ``requirements.txt`` names."""
    ready = VENV / f".ready-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    python = VENV / "bin" / "python"
    try:
        with REQUIREMENTS.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may share the checkout
            if not ready.exists():
                run(sys.executable, "-m", "venv", "--clear", str(VENV))
                run(str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS))
                ready.touch()
    except (OSError, subprocess.SubprocessError) as error:
        problem = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
    else:
        return python
    pytest.fail(f"cannot make {VENV} for the interop tests (it needs PyPI): {problem}", pytrace=False)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)
