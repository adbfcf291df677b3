"""Whole calls without namespaces: scratch is watched, its folder goes with the call, SIGKILL is repaired."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox_lab
from mcp_servers import LEGACY, MODERN, server
from mpp_exec.errors import HostError
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.registry import places
from mpp_exec.registry.home import Home
from mpp_exec.registry.places import call_folder
from mpp_exec.sandbox import spaces
from mpp_exec.sandbox.spaces import Missing
from stage import NAME, Stage

DEADLINE = 30.0


@pytest.fixture
def stage(lab: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A home on a host that gives no namespaces."""
    assert lab
    monkeypatch.setattr(spaces, "missing", lambda: Missing("clone", errno.EPERM))
    with Stage(tmp_path) as made:
        yield made


def approved(stage: Stage, source: str, **limits: int) -> None:
    stage.python(source, limits=Limits(**limits), degrade=["namespaces"])


def places_of(home: Path) -> set[Path]:
    """Return the folders of calls that are there now."""
    shelf = places.SHELF if os.geteuid() == 0 else home / "tmp"
    return set(shelf.iterdir()) if shelf.exists() else set()


FILLS = """
def run():
    for number in range(4096):
        with open(f"{number}", "wb") as file:
            file.write(bytes(1 << 20))
"""


def test_scratch_that_is_full_ends_the_call(stage: Stage) -> None:
    approved(stage, FILLS, scratch=2 << 20)
    before = places_of(stage.home)
    result = stage.runtime.call(NAME)
    assert (result.outcome, result.reason) == ("killed", "its scratch is full")
    assert places_of(stage.home) == before


HIDES = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
def run(count, then=0):
    kept = set()
    for _ in range(count):
        with open("file", "wb+") as file:
            file.write(bytes(1 << 16))
            file.flush()
            kept.add(libc.mmap(None, 4096, 1, 2, file.fileno(), 0))
        os.unlink("file")
    time.sleep(then)
    return len(kept)
"""


def test_scratch_kept_in_files_that_are_deleted_and_mapped(stage: Stage) -> None:
    """No descriptor holds them and no name leads to them: each mapped page keeps a whole file on the disk."""
    approved(stage, HIDES, wall_ms=20_000)
    result = stage.runtime.call(NAME, arguments={"count": 1000, "then": 15})
    assert result.outcome == "killed"
    assert "deleted files of its scratch" in result.reason
    few = stage.runtime.call(NAME, arguments={"count": 100, "then": 0.5})
    assert few.structured == {"result": 100}


LEAVES = """
import os
def run():
    here = os.getcwd()
    os.makedirs("a/" * 100)
    os.symlink("/etc", "link")
    open(".hidden", "w").close()
    os.umask(0o777)
    os.mkdir("closed")
    return [here, os.environ["HOME"], sorted(os.listdir("."))]
"""


def test_folder_of_a_call_goes_with_it_whatever_is_in_it(stage: Stage) -> None:
    approved(stage, LEAVES)
    before = places_of(stage.home)
    first, second = (stage.runtime.call(NAME).structured for _ in range(2))
    assert first is not None
    assert second is not None
    assert first["result"][0] != second["result"][0], "each call has its own"
    assert first["result"][2] == [".hidden", "a", "closed", "home", "link"]
    assert not Path(first["result"][0]).exists()
    assert places_of(stage.home) == before


def test_failed_call_leaves_no_folder(stage: Stage) -> None:
    approved(stage, "def run():\n    raise ValueError\n")
    before = places_of(stage.home)
    assert stage.runtime.call(NAME).outcome == "tool_error"
    assert places_of(stage.home) == before


CALLS = """
import sys
sys.path[:0] = sys.argv[1:2]
from mpp_exec import Runtime
from mpp_exec.sandbox import spaces
spaces.missing = lambda: spaces.Missing("clone", 1)
with Runtime(sys.argv[2]) as runtime:
    runtime.call("acme/echo")
"""


def test_next_call_removes_what_a_killed_host_left(stage: Stage) -> None:
    approved(stage, "import time\ndef run():\n    time.sleep(600)\n", wall_ms=600_000)
    before = places_of(stage.home)
    command = [sys.executable, "-c", CALLS, str(sandbox_lab.HERE), str(stage.home)]
    with subprocess.Popen(command) as host:
        end = time.monotonic() + DEADLINE
        while not any((place / "mpp/seal.bpf").exists() for place in places_of(stage.home) - before):
            assert time.monotonic() < end
            time.sleep(0.01)
        host.kill()
    left = places_of(stage.home) - before
    assert left
    approved_again(stage)
    assert stage.runtime.call(NAME).structured == {"result": 5}
    assert not any(place.exists() for place in left)


def approved_again(stage: Stage) -> None:
    stage.python("def run():\n    return 5\n", version="1.0.1", degrade=["namespaces"])


def test_denied_path_is_explained(stage: Stage) -> None:
    approved(stage, "def run():\n    open('/etc/hostname')\n")
    result = stage.runtime.call(NAME)
    assert result.outcome == "tool_error"
    assert "/etc/hostname is not granted to acme/echo" in result.denied


def test_grant_without_the_name_runs_nothing(stage: Stage) -> None:
    stage.python("def run():\n    return 5\n", permissions=Permissions())
    with pytest.raises(HostError) as caught:
        stage.runtime.call(NAME)
    assert caught.value.code == "host.no_namespaces"


@pytest.mark.skipif(os.geteuid() != 0, reason="an unprivileged host keeps calls in its home")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o700], ids=oct)
def test_shelf_that_others_could_change_or_not_enter_is_refused(tmp_path: Path, mode: int) -> None:
    shelf = Path("/var/lib") / f"mpp-test-{os.getpid()}"
    shelf.mkdir()
    try:
        shelf.chmod(mode)
        with pytest.raises(HostError) as caught, call_folder(Home.open(tmp_path), root=True, shelf=shelf):
            pass
        assert caught.value.code == "host.no_call_folder"
        shelf.chmod(0o711)
        with call_folder(Home.open(tmp_path), root=True, shelf=shelf) as place:
            assert place.parent == shelf
        assert list(shelf.iterdir()) == []
    finally:
        shelf.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="an unprivileged host keeps calls in its home")
def test_shelf_that_is_a_link_is_refused(tmp_path: Path) -> None:
    shelf = Path("/var/lib") / f"mpp-test-{os.getpid()}"
    shelf.symlink_to(tmp_path)
    try:
        with (
            pytest.raises(HostError) as caught,
            call_folder(Home.open(tmp_path / "h"), root=True, shelf=shelf),
        ):
            pass
        assert caught.value.code == "host.no_call_folder"
    finally:
        shelf.unlink()


ANSWERS = 'say(id=name, result=text(json.dumps([params["arguments"], os.getcwd()])))'


@pytest.mark.parametrize("era", [LEGACY, MODERN], ids=["legacy", "modern"])
def test_an_mcp_server_is_called_as_anywhere(stage: Stage, era: str) -> None:
    stage.server(server(ANSWERS, era=era), degrade=["namespaces"])
    before = places_of(stage.home)
    for word in ("grüße", "again"):
        result = stage.runtime.call(NAME, "run", {"word": word})
        assert result.outcome == "ok", (result.reason, result.stderr)
        arguments, _ = json.loads(result.content[0]["text"])
        assert arguments == {"word": word}
    assert result.meta["mpp-exec/degraded"] == ["namespaces"]
    assert places_of(stage.home) == before


def test_an_mcp_server_cannot_write_outside_of_its_own_folder(stage: Stage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    source = server(
        f"""
        try:
            open({str(outside / "written")!r}, "w")
            words = "escaped"
        except OSError:
            open("here", "w").close()
            words = "held"
        say(id=name, result=text(words))
        """
    )
    stage.server(source, tool={"operation": "write"}, degrade=["namespaces"])
    assert stage.runtime.call(NAME).content[0]["text"] == "held"
    assert not list(outside.iterdir())


COUNTS = """
path = os.environ["MPP_STORAGE"] + "/n"
count = int(open(path).read()) + 1 if os.path.exists(path) else 1
open(path, "w").write(str(count))
say(id=name, result=text(str(count)))
"""


def test_an_mcp_server_remembers_in_its_storage(stage: Stage) -> None:
    asked = Permissions(storage=1 << 20)
    stage.server(server(COUNTS), tool={"operation": "write"}, permissions=asked, degrade=["namespaces"])
    if os.geteuid() == 0:  # the tool's own id cannot enter a folder of root's
        with pytest.raises(HostError) as refused:
            stage.runtime.call(NAME)
        assert refused.value.code == "host.needs_namespaces"
    else:
        assert [stage.runtime.call(NAME).content[0]["text"] for _ in range(2)] == ["1", "2"]


def test_an_mcp_server_that_never_answers_is_stopped_with_what_it_started(stage: Stage) -> None:
    stage.server(server("time.sleep(3600)"), limits=Limits(wall_ms=2000), degrade=["namespaces"])
    before = places_of(stage.home)
    assert stage.runtime.call(NAME).outcome == "timeout"
    assert places_of(stage.home) == before
