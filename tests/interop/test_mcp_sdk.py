"""The official Python SDK as the client of ``mpp-exec mcp``, in both of its modes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command import PROGRAM, Shell

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment

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


def connect(python: Path, shell: Shell, mode: str, *calls: Any, answer: bool | None = None) -> dict[str, Any]:
    request = {
        "command": PROGRAM[0],
        "args": [*PROGRAM[1:], "mcp"],
        "env": shell.environment(),
        "mode": mode,
        "calls": calls,
        "answer": answer,
    }
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("mcp_client.py"))],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk_agrees_on_the_version_of_its_mode_and_lists_the_tools(
    interop_python: Path, shell: Shell, mode: str
) -> None:
    seen = connect(interop_python, shell, mode)
    assert seen["version"] == MODES[mode]
    assert [tool["name"] for tool in seen["tools"]] == ["acme_echo_call", "acme_echo_wipe"]
    assert seen["tools"][1]["title"] == "Wipe"
    assert seen["tools"][1]["annotations"]["destructiveHint"] is True
    assert seen["tools"][0]["outputSchema"]["required"] == ["said"]


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk_calls_and_its_own_checks_of_the_result_pass(
    interop_python: Path, shell: Shell, mode: str
) -> None:
    seen = connect(
        interop_python,
        shell,
        mode,
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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("answer", [True, False, None], ids=["yes", "no", "cannot ask"])
def test_the_sdk_puts_a_confirmation_before_its_user(
    interop_python: Path, shell: Shell, mode: str, answer: bool | None
) -> None:
    seen = connect(interop_python, shell, mode, ["acme_echo_wipe", {"text": "all"}], answer=answer)
    (call,) = seen["calls"]
    assert call["isError"] is (answer is not True)
    assert len(seen["questions"]) == (0 if answer is None else 1)
    if answer is True:
        assert call["text"] == ["wiped"]
        assert '"text": "all"' in seen["questions"][0]
