"""Libraries that look into ``/proc`` when they are imported: there is none inside, and they come up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from command import Shell

pytestmark = pytest.mark.timeout(600)  # a registry

MANIFEST = """
[package]
name = "acme/look"
version = "1.0.0"
description = "Looks at the machine."

[runtime]
kind = "python"
requires = ["python>=3.11"]
path = ["vendor"]

[[tools]]
name = "look"
description = "Looks."
entry = "look:look"
inputSchema = { type = "object" }
"""
TOOL = """
import psutil

def look():
    failed = []
    for ask in (psutil.virtual_memory, psutil.cpu_times, psutil.pids, psutil.Process):
        try:
            ask()
        except (OSError, psutil.NoSuchProcess):
            failed.append(ask.__name__)
    return [psutil.cpu_count() > 0, failed]
"""


def test_psutil_is_imported_and_tells_only_what_needs_no_proc(tmp_path: Path) -> None:
    """What it cannot read it says by an error, which a server may catch; nothing is made up for it."""
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    shell.ok("keygen", "acme")
    source = tmp_path / "source"
    source.mkdir()
    (source / "mpp.toml").write_text(MANIFEST)
    (source / "look.py").write_text(TOOL)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*install, "--target", str(source / "vendor"), "psutil==7.1.3"], check=True, timeout=300)
    shell.ok("build", str(source), "-o", str(tmp_path / "look.mpp"))
    shell.ok("install", str(tmp_path / "look.mpp"), "--approve")
    answer = shell.ok("run", "acme/look", "--json").json["structuredContent"]["result"]
    assert answer == [True, ["virtual_memory", "cpu_times", "pids", "Process"]]
