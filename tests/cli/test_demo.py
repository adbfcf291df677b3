"""``make demo`` shows what it says, as whoever runs the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from command import DEADLINE

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def test_demo() -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO)], capture_output=True, text=True, timeout=2 * DEADLINE, check=False
    )
    assert done.returncode == 0, done
    assert "AWS_ACCESS_KEY_ID=[SECRET]" in done.stdout
    assert "[package.digest_mismatch]" in done.stdout
    assert "is not granted to demo/codesearch" in done.stdout
    assert done.stdout.endswith("Everything was as it should be.\n")
