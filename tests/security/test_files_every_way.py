"""The tables of attacks on files, and on what tells of the host, over the other ways of a call.

``mcp``, the resident runtime, a tool that is an MCP server, and without namespaces.

Each way takes all of them in one call. That the way carries an attack is shown by a grant of everything.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from errno import EACCES, EBUSY, ECHILD, ENOENT, ENOSYS, EPERM, EROFS, ESRCH, EXDEV
from pathlib import Path
from typing import Any

import pytest

from command import Shell
from file_attacks import (
    BY_NUMBER,
    CHANGING,
    LOOKING,
    READING,
    STEERING,
    TOOL,
)
from mcp_peer import Peer
from mcp_servers import server
from mpp_exec.permissions import Permissions
from sandbox_lab import Lab, call
from served import WRITES, require_client, serving
from stage import NAME, Stage

TRIES = """
import re
def each(granted, secret, codes, pid):
    seen = []
    for code in codes:
        os.chdir(HERE)
        answer = run(granted, secret, re.sub(r"\\bpid\\b", str(pid), code))
        seen.append(answer if isinstance(answer, (int, str)) else repr(answer))
    return seen
HERE = os.getcwd()
"""
BATCH = TOOL + TRIES
CALL = f"{BATCH}\ndef call(given):\n    return each(**given)\n"
GIVEN = '{ type = "object", properties = { given = { type = "object" } }, required = ["given"] }'
SERVER = server(
    'say(id=name, result=text(json.dumps(tool["each"](**params["arguments"]["given"]))))',
    start=f"tool = {{}}\nexec({BATCH!r}, tool)",
)

OUTSIDE = tuple(row.code for row in READING + CHANGING + LOOKING)
HOST = (
    *(f"os.open({path!r}, os.O_WRONLY)" for path in STEERING),
    *(f"os.open('/proc/{name}', 0)" for name in ("loadavg", "meminfo", "self/mountinfo", "pid/environ")),
    *(f"os.stat('/etc/{name}')" for name in ("machine-id", "hostname", "os-release", "shadow")),
    *(f"os.readlink('/proc/self/fd/{number}')" for number in range(3)),
)
NAMES = "[os.uname().nodename, socket.gethostname()]"
NUMBERS = tuple(BY_NUMBER.values())
REAL = tuple(row.code for row in READING[:6])
"""That leave everything as it was; where all is granted they succeed."""


@pytest.fixture
def world(ground: Path) -> Path:
    ground.chmod(0o777)
    for folder in ("granted", "empty"):
        (ground / folder).mkdir()
        (ground / folder).chmod(0o777)
    for name, content in (("granted/mine", "mine"), ("secret", "secret")):
        (ground / name).write_text(content)
        (ground / name).chmod(0o666)
    return ground


def given(world: Path, codes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of a call that tries *codes*, one after the other."""
    (world / "granted/link").unlink(missing_ok=True)
    paths = {"granted": f"{world}/granted", "secret": f"{world}/secret"}
    return {**paths, "codes": list(codes), "pid": os.getpid()}


def beside(world: Path) -> list[tuple[str, int, bytes]]:
    """Return all that is there and was not granted."""
    files = (path for path in sorted(world.rglob("*")) if world / "granted" not in path.parents)
    return [(str(path), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in files]


def assert_nothing_was_reached(seen: Sequence[Any], codes: Sequence[str]) -> None:
    """Hold what a tool with namespaces of its own was answered against what such attacks end with."""
    assert len(seen) == len(codes)
    for code, answer in zip(codes, seen, strict=True):
        if code == NAMES:
            assert answer == repr(["mpp", "mpp"])
        elif code in NUMBERS:
            assert answer in (ESRCH, ECHILD, ENOSYS), code
        elif code == "os.chdir(beside) or 1":
            assert answer == 1, "the folders on the way to a grant are there, and empty"
        elif code == "os.access(secret, os.F_OK)":
            assert answer is False
        elif code in HOST or code in (row.code for row in LOOKING):
            assert answer == ENOENT, code
        else:
            assert answer in (ENOENT, EACCES, EXDEV, EROFS, EBUSY), code


ALL = (*OUTSIDE, *HOST, *NUMBERS, NAMES)


@pytest.fixture
def shell(tmp_path: Path, world: Path) -> Shell:
    """A home with the same tool twice: granted one folder, and granted what is around it, too."""
    require_client()
    tmp_path.chmod(0o755)
    made = Shell(tmp_path)
    for name, folder in (("acme/kept", world / "granted"), ("acme/free", world)):
        made.install(
            name,
            *("--set", f"folder={folder}"),
            code=CALL,
            toml=WRITES,
            schema=GIVEN,
            extra='operation = "write"',
        )
    return made


def test_files_and_facts_of_the_host_by_mcp_and_the_resident_runtime(shell: Shell, world: Path) -> None:
    before = beside(world)

    def by_mcp(peer: Peer, package: str, codes: Sequence[str]) -> Any:
        answer = peer.call(f"acme_{package}_call", {"given": given(world, codes)})
        return answer["result"]["structuredContent"]["result"]

    with Peer(shell) as peer:
        peer.initialize()
        assert_nothing_was_reached(by_mcp(peer, "kept", ALL), ALL)
        assert by_mcp(peer, "free", REAL) == ["secret"] * len(REAL), "the attacks are real"
    with serving(shell) as runtime:
        for package, codes in (("kept", ALL), ("free", REAL)):
            words = json.dumps({"given": given(world, codes)})
            done = runtime.client("run", f"acme/{package}", "--args", "-", "--json", stdin=words)
            seen = json.loads(done.out)["structuredContent"]["result"]
            if package == "kept":
                assert_nothing_was_reached(seen, codes)
            else:
                assert seen == ["secret"] * len(REAL), "the attacks are real"
        assert runtime.status()["calls"] == 2
        with Peer(shell, native=True) as peer:
            peer.initialize()
            # The third is served by a sandbox that waited for it.
            for _ in range(3):
                assert_nothing_was_reached(by_mcp(peer, "kept", ALL), ALL)
            assert by_mcp(peer, "free", REAL) == ["secret"] * len(REAL), "the attacks are real"
            assert runtime.status()["connections"] == 1
    assert beside(world) == before


def test_files_and_facts_of_the_host_from_a_tool_that_is_a_server(tmp_path: Path, world: Path) -> None:
    tmp_path.chmod(0o755)
    before = beside(world)
    for granted, codes in ((world / "granted", ALL), (world, REAL)):
        (tmp_path / granted.name).mkdir(mode=0o755)
        with Stage(tmp_path / granted.name) as stage:
            stage.server(SERVER, permissions=Permissions(write=(str(granted),)), tool={"operation": "write"})
            result = stage.runtime.call(NAME, arguments={"given": given(world, codes)})
            assert result.outcome == "ok", result.reason
            seen = json.loads(result.content[0]["text"])
            if codes is ALL:
                assert_nothing_was_reached(seen, codes)
            else:
                assert seen == ["secret"] * len(REAL), "the attacks are real"
    assert beside(world) == before


def test_files_beside_a_grant_without_namespaces(lab: Lab, world: Path) -> None:
    """There Landlock keeps contents and folders, seccomp modes and times; that a file is there, nobody."""
    bare = lab.without_namespaces()
    before = beside(world)
    code = CALL.replace("def run(", "def evaluated(").replace("run(granted", "evaluated(granted")
    code = code.replace("def call(", "def run(")
    codes = tuple(row.code for row in READING + CHANGING)
    for plan in (bare.python(code, read=[world / "granted"]), bare.python(code)):
        for attack, answer in zip(codes, call(plan, given=given(world, codes)), strict=True):
            assert answer in (EACCES, EPERM, EXDEV, ENOENT, ENOSYS, EBUSY), attack
    shut = ("len(os.listxattr(secret)) + 1", "os.chmod(secret, 0o600) or 1", "os.utime(secret, (1, 1)) or 1")
    assert {row.code for row in LOOKING} >= set(shut)
    assert call(plan, given=given(world, shut)) == [ENOSYS] * len(shut)
    host = tuple(code for code in HOST if not re.search("/etc/|readlink", code))
    for attack, answer in zip(host, call(plan, given=given(world, host)), strict=True):
        assert answer in (EACCES, EPERM, ENOENT, EROFS), attack
    real = tuple(code for code in REAL if "/link'" not in code)  # which takes a write grant
    seen = call(bare.python(code, read=[world]), given=given(world, real))
    assert seen == ["secret"] * len(real), "the attacks are real"
    assert beside(world) == before
