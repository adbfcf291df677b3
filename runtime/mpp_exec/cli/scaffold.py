"""The files of a new tool (``init``): one that builds and runs as it is, with a test.

Both kinds do the same, count the words of a text, so that what differs is only how a tool is called.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from mpp_exec.errors import InternalError, UsageError

KINDS: Final = ("python", "exec")

_HEAD: Final = """\
[package]
name = "{name}"
version = "0.1.0"
description = "Counts the words of a text"
license = "Apache-2.0"

"""
_RUNTIME: Final = {
    "python": """\
[runtime]
kind = "python"                      # each tool is a function, called with its arguments by name
requires = ["python>=3.11"]

""",
    "exec": """\
[runtime]
kind = "exec"                        # each call is a process: JSON object on stdin, JSON value on stdout
command = ["python", "${app}/tool.py"]   # or a static binary of the package, as in ["bin/tool"]
requires = ["python>=3.11"]

""",
}
_TOOLS: Final = """\
[[tools]]
name = "count"
title = "Count words"
description = "Returns how many lines, words and characters a text has."
{entry}operation = "read"                   # read, write or destructive; a tool that reads can change nothing
inputSchema = {{ type = "object", properties = {{ text = {{ type = "string" }} }}, required = ["text"], \
additionalProperties = false }}
outputSchema = {{ type = "object", required = ["lines", "words", "characters"] }}

# What is not asked for here is denied. A folder that the user chooses:
#
# [permissions.filesystem]
# read = ["${{user_config.folder}}"]
#
# [user_config.folder]
# type = "directory"
# title = "Folder to read"
# required = true
"""

_PYTHON_TOOL: Final = '''\
"""Counts words. The function is called in a fresh sandbox; what it returns is any JSON value."""


def count(text):
    """Return how many lines, words and characters *text* has."""
    return {"lines": len(text.splitlines()), "words": len(text.split()), "characters": len(text)}
'''
_PYTHON_TEST: Final = '''\
"""Run with: python3 -m unittest"""

import unittest

import tool


class CountTest(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(tool.count("one two\\nthree\\n"), {"lines": 2, "words": 3, "characters": 14})

    def test_nothing(self):
        self.assertEqual(tool.count(""), {"lines": 0, "words": 0, "characters": 0})
'''
_EXEC_TOOL: Final = '''\
"""Counts words. Reads {"name": ..., "arguments": {...}}, prints one JSON value."""

import json
import sys

request = json.load(sys.stdin)
text = request["arguments"]["text"]
json.dump({"lines": len(text.splitlines()), "words": len(text.split()), "characters": len(text)}, sys.stdout)
'''
_EXEC_TEST: Final = '''\
"""Run with: python3 -m unittest"""

import json
import pathlib
import subprocess
import sys
import unittest

TOOL = pathlib.Path(__file__).with_name("tool.py")


def call(name, **arguments):
    request = json.dumps({"name": name, "arguments": arguments})
    done = subprocess.run([sys.executable, TOOL], input=request, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class CountTest(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(call("count", text="one two\\nthree\\n"), {"lines": 2, "words": 3, "characters": 14})

    def test_nothing(self):
        self.assertEqual(call("count", text=""), {"lines": 0, "words": 0, "characters": 0})
'''
_IGNORE: Final = "test_*.py\n__pycache__/\n"


def scaffold(folder: Path, kind: str, publisher: str) -> list[str]:
    """Make *folder* with a new tool of *publisher* in it, all of it or nothing; return the files' names.

    Raises:
        UsageError: ``init.not_empty``, ``init.no_folder``.
        InternalError: ``init.io``.
    """
    package = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:63] or "tool"
    entry = 'entry = "tool:count"\n' if kind == "python" else ""
    files = {
        "mpp.toml": _HEAD.format(name=f"{publisher}/{package}") + _RUNTIME[kind] + _TOOLS.format(entry=entry),
        "tool.py": _PYTHON_TOOL if kind == "python" else _EXEC_TOOL,
        "test_tool.py": _PYTHON_TEST if kind == "python" else _EXEC_TEST,
        ".mppignore": _IGNORE,
    }
    _refuse_taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".mpp-init-", dir=folder.parent))
    except OSError as error:
        raise UsageError(
            "init.no_folder", f"{folder} cannot be made: {error.strerror}", "choose a folder of your own"
        ) from None
    try:
        for name, text in files.items():
            (made / name).write_text(text, encoding="utf-8")
        made.chmod(0o777 & ~_umask())
        made.rename(folder)
    except OSError as error:
        raise InternalError(
            "init.io", f"{folder} cannot be made: {error.strerror}", "check that the disk has room"
        ) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return list(files)


def _refuse_taken(folder: Path) -> None:
    try:
        taken = any(True for _ in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            "init.no_folder", f"{folder} is not a folder to use: {error.strerror}", "choose another one"
        ) from None
    if taken:
        raise UsageError("init.not_empty", f"{folder} is not empty", "name a folder that does not exist yet")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
