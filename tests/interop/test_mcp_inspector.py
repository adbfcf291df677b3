"""The Inspector's command line as a client of ``mpp-exec mcp``: a server started for each thing it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command import PROGRAM, Shell
from node import Node

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment

SCRIPT = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
CODE = "def call(text='', fail=False):\n    return {'said': text} if not fail else 1 // 0\n"
SCHEMA = '{ type = "object", properties = { text = { type = "string" }, fail = { type = "boolean" } } }'
WIPE = f"""
[[tools]]
name = "wipe"
description = "Destroys."
entry = "tool:call"
operation = "destructive"
inputSchema = {SCHEMA}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("inspector"))
    made.root.chmod(0o755)
    made.install(code=CODE, schema=SCHEMA, extra=WIPE)
    return made


def inspect(node: Node, shell: Shell, *words: str) -> tuple[int, Any, str]:
    """Return exit code, JSON document and messages."""
    server = {"command": PROGRAM[0], "args": [*PROGRAM[1:], "mcp"], "env": shell.environment()}
    config = shell.root / "inspector.json"
    config.write_text(json.dumps({"mcpServers": {"mpp-exec": server}}))
    place = Path(shell.environment()["HOME"])
    variables = {"HOME": str(place), "MCP_INSPECTOR_SECRET_STORE": "memory"}
    done = node.run(
        SCRIPT,
        *("--cli", "--config", str(config), "--server", "mpp-exec"),
        *words,
        timeout=100,
        variables=variables,
        cwd=shell.cwd,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def call(node: Node, shell: Shell, tool: str, *pairs: str) -> tuple[int, Any, str]:
    words = [word for pair in pairs for word in ("--tool-arg", pair)]
    return inspect(node, shell, "--method", "tools/call", "--tool-name", tool, *words)


def test_it_lists_the_tools(interop_node: Node, shell: Shell) -> None:
    code, shown, _ = inspect(interop_node, shell, "--method", "tools/list", "--strict")
    assert code == 0
    assert [tool["name"] for tool in shown["tools"]] == ["acme_echo_call", "acme_echo_wipe"]
    assert shown["tools"][1]["annotations"]["destructiveHint"] is True


def test_it_calls_a_tool(interop_node: Node, shell: Shell) -> None:
    code, shown, _ = call(interop_node, shell, "acme_echo_call", "text=for jane@example.com")
    assert code == 0
    assert shown["structuredContent"] == {"said": "for [EMAIL]"}
    assert shown["_meta"]["mpp-exec/outcome"] == "ok"


def test_it_shows_what_went_wrong(interop_node: Node, shell: Shell) -> None:
    _, shown, _ = call(interop_node, shell, "acme_echo_call", "fail=true")
    assert shown["isError"] is True
    assert "ZeroDivisionError" in shown["content"][0]["text"]
    code, _, said = call(interop_node, shell, "acme_echo_absent")
    assert (code != 0, "acme_echo_absent" in said or "-32602" in said) == (True, True)


def test_it_cannot_ask_and_is_told_who_can(interop_node: Node, shell: Shell) -> None:
    _, shown, said = call(interop_node, shell, "acme_echo_wipe")
    assert shown is not None, said
    assert shown["isError"] is True
    assert shown["_meta"]["mpp-exec/error"]["code"] == "confirm.pending"
