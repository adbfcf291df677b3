"""The official SDKs as clients of ``mpp-exec mcp``: Python's and both of TypeScript's, in each mode."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command import PROGRAM, Shell
from node import Node

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment

HERE = Path(__file__).parent
CODE = """\
import time
def call(text="", seconds=0):
    time.sleep(seconds)
    return {"said": text}
def wipe(text=""):
    return "wiped"
"""
SCHEMA = '{ type = "object", properties = { text = { type = "string" }, seconds = { type = "number" } } }'
WIPE = f"""
outputSchema = {{ type = "object", properties = {{ said = {{ type = "string" }} }}, required = ["said"] }}

[[tools]]
name = "wipe"
title = "Wipe"
description = "Destroys."
entry = "tool:wipe"
operation = "destructive"
inputSchema = {SCHEMA}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = Shell(tmp_path_factory.mktemp("sdk"))
    made.root.chmod(0o755)
    made.ok("keygen", "acme")
    made.ok("build", str(made.tool(code=CODE, schema=SCHEMA, extra=WIPE)))
    made.ok("install", "acme-echo-1.0.0.mpp", "--approve")
    return made


Connect = Callable[..., dict[str, Any]]

CLIENTS = {
    "python legacy": "2025-11-25",
    "python auto": "2026-07-28",
    "typescript v1": "2025-11-25",
    "typescript legacy": "2025-11-25",
    "typescript auto": "2026-07-28",
}
"""The version that each client, in the mode that is its last word, agrees on."""


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def connect(request: pytest.FixtureRequest, client: str, shell: Shell, tmp_path: Path) -> Connect:
    """Return what connects, makes calls at once, and says what came of each; *answer* is the user's."""
    language, _, mode = client.partition(" ")

    def run(*calls: Any, answer: bool | None = None) -> dict[str, Any]:
        asked = {
            "command": PROGRAM[0],
            "args": [*PROGRAM[1:], "mcp"],
            "env": shell.environment(),
            "mode": mode,
            "calls": calls,
            "answer": answer,
        }
        text = json.dumps(asked)
        if language == "python":
            python = request.getfixturevalue("interop_python")
            done = subprocess.run(
                [str(python), str(HERE / "mcp_client.py")],
                input=text,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        else:
            node: Node = request.getfixturevalue("interop_node")
            (tmp_path / "node_modules").symlink_to(node.modules)  # a module's imports are looked up beside it
            script = shutil.copy(HERE / "mcp_client.mjs", tmp_path)
            done = node.run(script, timeout=100, stdin=text)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_the_sdk_agrees_on_the_version_of_its_mode_and_lists_the_tools(client: str, connect: Connect) -> None:
    seen = connect()
    assert seen["version"] == CLIENTS[client]
    assert [tool["name"] for tool in seen["tools"]] == ["acme_echo_call", "acme_echo_wipe"]
    assert seen["tools"][1]["title"] == "Wipe"
    assert seen["tools"][1]["annotations"]["destructiveHint"] is True
    assert seen["tools"][0]["outputSchema"]["required"] == ["said"]


def test_the_sdk_calls_and_its_own_checks_of_the_result_pass(connect: Connect) -> None:
    seen = connect(
        ["acme_echo_call", {"text": "jane@example.com"}],
        ["acme_echo_call", {"text": 7}],
        ["acme_echo_absent", {}],
        *(["acme_echo_call", {"text": str(number)}] for number in range(8)),
    )
    first, wrong, absent, *rest = seen["calls"]
    assert first == {"isError": False, "structured": {"said": "[EMAIL]"}, "text": ['{"said":"[EMAIL]"}']}
    assert wrong["isError"] is True
    assert absent == {"code": -32602}
    assert [call["structured"]["said"] for call in rest] == [str(number) for number in range(8)]


@pytest.mark.parametrize("answer", [True, False, None], ids=["yes", "no", "cannot ask"])
def test_the_sdk_puts_a_confirmation_before_its_user(
    client: str, connect: Connect, answer: bool | None
) -> None:
    seen = connect(["acme_echo_wipe", {"text": "all"}], answer=answer)
    (call,) = seen["calls"]
    if answer is None and CLIENTS[client] == "2026-07-28":
        assert call == {"code": -32021}, "a capability is missing that it could have"
        assert seen["questions"] == []
        return
    assert call["isError"] is (answer is not True)
    assert len(seen["questions"]) == (0 if answer is None else 1)
    if answer is True:
        assert call["text"] == ["wiped"]
        assert '"text": "all"' in seen["questions"][0]
