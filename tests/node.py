"""Node.js and the programs of tests/interop/package.json, where tests/interop/conftest.py puts them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """One Node.js, and the folder ``node_modules`` that its programs come from."""

    binary: Path
    modules: Path

    def command(self, script: str | Path, *words: str) -> list[str]:
        """Return the command line that runs *script*; a relative path is below ``node_modules``."""
        return [str(self.binary), str(self.modules / script), *words]

    def run(
        self,
        script: str | Path,
        *words: str,
        timeout: float,
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *script* to its end; *timeout* in seconds."""
        path = f"{self.binary.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        return subprocess.run(
            self.command(script, *words),
            input=stdin,
            capture_output=True,
            text=True,
            env={"HOME": os.environ.get("HOME", "/"), **(variables or {}), "PATH": path},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
