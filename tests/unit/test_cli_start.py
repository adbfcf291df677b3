"""What a server imports before its first answer: a client waits for that, each time it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
CODE = """
import sys
sys.argv = ["mpp-exec", "mcp"]
from mpp_exec.cli.main import main
code = main()
sys.stderr.write(" ".join(sorted(sys.modules)))
sys.exit(code)
"""
COSTLY = ("pathlib", "sqlite3", "cffi", "asyncio", "urllib.parse", "termios", "mpp_exec.cli.terminal")


def test_first_answer_of_mcp_imports_nothing_costly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps(INITIALIZE) + "\n",
        env={"MPP_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]
    assert not set(done.stderr.split()) & set(COSTLY)
