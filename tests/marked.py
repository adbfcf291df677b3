"""A home with a resident runtime whose tool leaves a mark when it has run: for attacks on that runtime."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from command import DEADLINE, Shell
from served import WRITES, Runtime, furnished_with

MARKS = """\
import os, pathlib

def call(folder):
    (pathlib.Path(folder) / "ran").touch()
    return os.environ.get("SECRET_OF_ONE", "nothing")
"""
SCHEMA = '{ type = "object", properties = { folder = { type = "string" } }, required = ["folder"] }'
PERMISSIONS = f'[permissions]\nenvironment = ["SECRET_OF_ONE"]\n\n{WRITES}'


def furnished(root: Path) -> Shell:
    return furnished_with(root, "acme/marks", code=MARKS, toml=PERMISSIONS, schema=SCHEMA)


def mark(shell: Shell) -> Path:
    """Return the file that exists once the tool has run."""
    return shell.root / "granted" / "ran"


def words(shell: Shell, package: str = "acme/marks") -> list[str]:
    return ["run", package, f"folder={shell.root / 'granted'}"]


def is_well(runtime: Runtime) -> bool:
    """Tell whether the runtime serves other clients as before."""
    calls = runtime.status()["calls"]
    mark(runtime.shell).unlink(missing_ok=True)
    done = runtime.client(*words(runtime.shell))
    return done.code == 0 and runtime.status()["calls"] == calls + 1


def listen_in(folder: Path) -> socket.socket:
    """Return a socket that listens as ``socket`` in *folder*."""
    listener = socket.socket(socket.AF_UNIX)
    number = os.open(folder, os.O_PATH)
    listener.bind(f"/proc/self/fd/{number}/socket")
    os.close(number)
    listener.listen()
    listener.settimeout(DEADLINE)
    return listener
