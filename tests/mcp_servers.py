"""MCP servers in Python for tests: a well-behaved one of either era, and ways to misbehave in one place.

A test provides *behaviour*: lines of Python that run when the server has read a message.
"""

from __future__ import annotations

import textwrap

PREAMBLE = """\
import json, os, sys, time

def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()

def text(words, **more):
    return {"content": [{"type": "text", "text": words}], **more}

def read():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)

def welcome(version="2025-11-25"):
    about = {"name": "s", "version": "1"}
    return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
"""

LOOP = """
seen = []
while True:
    message = read()
    seen.append(message)
    method, name = message.get("method"), message.get("id")
    params = message.get("params", {})
    if method == "tools/list" and not UNLISTED:
        say(id=name, result={"tools": []})
        continue
"""

LEGACY = """
    if method == "initialize":
        say(id=name, result=welcome(VERSION))
        continue
    if method == "notifications/initialized":
        continue
"""

MODERN = """
    if method == "initialize":
        say(id=name, error={"code": -32022, "message": "modern only", "data": {"supported": ["2026-07-28"]}})
        continue
    meta = params.get("_meta", {})
    if "io.modelcontextprotocol/clientCapabilities" not in meta:
        say(id=name, error={"code": -32602, "message": "no _meta"})
        continue
    if method == "server/discover":
        say(id=name, result={"supportedVersions": ["2026-07-28"], "capabilities": {}})
        continue
"""


def server(
    on_call: str, *, era: str = LEGACY, version: str = "2025-11-25", start: str = "", listed: bool = True
) -> str:
    """Return a server that runs *start* at its beginning, and *on_call* for each ``tools/call``.

    *listed* says whether it answers ``tools/list``; the answer is empty.
    """
    call = textwrap.indent(textwrap.dedent(on_call).strip(), "        ")
    begin = textwrap.dedent(start)
    return (
        f'{PREAMBLE}\nVERSION, UNLISTED = "{version}", {not listed}\n{begin}\n{LOOP}{era}\n'
        f'    if method == "tools/call":\n{call}\n'
    )


def raw(behaviour: str) -> str:
    """Return a server that consists only of *behaviour*."""
    return f"{PREAMBLE}\n{textwrap.dedent(behaviour)}"
