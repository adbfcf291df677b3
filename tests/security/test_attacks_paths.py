"""The attacks on the kernel from where the laboratory's tools do not run: a server, and the resident runtime.

What they do without the filter is said in ``test_attacks_kernel.py``, from a program and from Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from errno import ENOSYS, EPERM
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from eventually import until
from kernel_attacks import ALL, PYTHON_SWEEP
from mcp_servers import server
from mpp_exec.sandbox.profiles import SEALED_AWAY
from mpp_exec.sandbox.syscalls import X86_64
from served import require_client, serving
from stage import NAME, Stage

CALLS = [(X86_64[str(row.call[0])], *row.call[1:]) for row in ALL]
SERVER = server(
    f"say(id=name, result=text(json.dumps(run({CALLS!r}))))",
    start=PYTHON_SWEEP,
)
TOOL = f"{PYTHON_SWEEP}\ndef call():\n    return run({CALLS!r})\n"
SEALED = [EPERM if str(row.call[0]) in SEALED_AWAY else ENOSYS for row in ALL]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def refused(answers: Any, expected: list[int]) -> list[str]:
    """Return the attacks that were not answered as *expected*."""
    assert len(answers) == len(ALL)
    return [row.name for row, seen, wanted in zip(ALL, answers, expected, strict=True) if seen != wanted]


def test_attacks_from_a_server_whose_handshake_is_in_the_call(stage: Stage) -> None:
    stage.server(SERVER)
    said = stage.runtime.call(NAME)
    assert refused(json.loads(said.content[0]["text"]), [ENOSYS] * len(ALL)) == []


def test_attacks_from_a_server_that_waited_for_its_call(stage: Stage) -> None:
    stage.server(SERVER)
    for _ in range(2):
        stage.runtime.call(NAME)
    assert until(lambda: stage.runtime._open().sandboxes.waiting)
    said = stage.runtime.call(NAME)
    assert "sandbox.release" in said.meta["mpp-exec/timing"], "it was made before the call"
    assert refused(json.loads(said.content[0]["text"]), [ENOSYS] * len(ALL)) == []


def test_attacks_by_way_of_the_resident_runtime(tmp_path: Path) -> None:
    """First in a sandbox that is made for the call, then in ones that waited."""
    require_client()
    tmp_path.chmod(0o755)
    shell = Shell(tmp_path)
    shell.install("acme/sweeps", code=TOOL, schema='{ type = "object" }')
    with serving(shell) as runtime:
        for count in range(1, 5):
            done = runtime.client("run", "acme/sweeps", "--json")
            assert done.code == 0, done
            assert refused(done.json["structuredContent"]["result"], SEALED) == []
            assert runtime.status()["calls"] == count
