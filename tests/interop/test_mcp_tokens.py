"""An address passes from one tool to another through ``mpp-exec mcp``, and its client never sees it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command import PROGRAM, Shell

pytestmark = pytest.mark.timeout(600)  # the first run makes the environment

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
ADDRESS = "jane.doe@example.com"


def connected(python: Path, shell: Shell, mode: str, *calls: Any) -> dict[str, Any]:
    """Return what the official SDK saw of one connection with *calls* in it, one after the other."""
    request = {
        "command": PROGRAM[0],
        "args": [*PROGRAM[1:], "mcp"],
        "env": shell.environment(),
        "mode": mode,
        "calls": [],
        "then": calls,
        "answer": None,
    }
    done = subprocess.run(
        [str(python), str(HERE / "mcp_client.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ADDRESS not in done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_address_goes_from_one_tool_to_another_and_the_sdk_never_sees_it(
    interop_python: Path, tmp_path: Path, mode: str
) -> None:
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    shell.ok("keygen", "demo")
    (shell.cwd / "book.csv").write_text(f"customer,email\nC-1017,{ADDRESS}\n")
    outbox = shell.cwd / "outbox"
    outbox.mkdir()
    for name, *words in (
        ("contacts", "--set", "book=book.csv", "--privacy", "email=token"),
        ("mailer", "--set", "outbox=outbox"),
    ):
        shell.ok("build", str(EXAMPLES / name))
        shell.ok("install", f"demo-{name}-1.0.0.mpp", "--approve", *words)
    message = {"to": "Jane <$email>", "subject": "Your order", "body": "It is on its way to $email."}
    seen = connected(
        interop_python,
        shell,
        mode,
        ["demo_contacts_find", {"customer": "C-1017"}],
        ["demo_mailer_send", message],
    )
    assert "token" in seen["instructions"]
    found, sent = seen["calls"]
    assert found["structured"]["email"].startswith("[EMAIL:")
    assert (sent["isError"], sent["structured"]["to"]) == (False, "Jane <[EMAIL]>")
    (written,) = outbox.glob("*.eml")
    assert f"To: Jane <{ADDRESS}>" in written.read_text()
    assert f"on its way to {ADDRESS}." in written.read_text()
    # The same token is worth nothing to the next connection.
    kept = {**message, "to": found["structured"]["email"]}
    (refused,) = connected(interop_python, shell, mode, ["demo_mailer_send", kept])["calls"]
    assert refused["isError"] is True
    assert list(outbox.glob("*.eml")) == [written]
