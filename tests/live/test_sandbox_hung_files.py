"""A granted file system that does not answer holds a tool that reads it, whatever signal that is sent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import hung_files
from eventually import until
from mpp_exec.permissions import Limits
from needs import missing
from sandbox_lab import Lab, call, init_processes, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root mounts such a file system")


@pytest.fixture
def hung(ground: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The folder where it is mounted, and the process whose end is its end."""
    if not Path("/dev/fuse").exists():
        missing("this kernel has no FUSE")
    folder = ground / "hung"
    folder.mkdir()
    with subprocess.Popen([sys.executable, hung_files.__file__, folder], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != b"mounted\n":
                missing("this host mounts no FUSE")
            yield folder, server
        finally:
            server.kill()
            subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def test_tool_that_cannot_die_is_given_up_and_reaped_when_it_has(
    lab: Lab, hung: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    folder, server = hung
    small = lab.python("def run():\n    return 5\n")
    reader = lab.python(
        f"def run():\n    return open('{folder}/f').read()\n", read=[folder], limits=Limits(wall_ms=1000)
    )
    done = run(reader, b'{"arguments":{}}')
    assert (done.outcome, "killed and not dead" in done.reason) == ("timeout", True)
    assert len(init_processes()) == 1, "it is killed, and not dead"
    assert call(small) == 5, "others are served"
    assert len(init_processes()) == 1
    server.kill()
    server.wait()
    # Each call looks for those that have died since.
    assert until(lambda: call(small) == 5 and init_processes() == set())


PATH_THERE = """
import ctypes, mmap
def run():
    with open(FILE, "rb") as file:
        held = mmap.mmap(file.fileno(), 1, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    ctypes.CDLL(None).open(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(held))), 0)
"""


def test_path_that_lies_there_holds_no_trace(lab: Lab, hung: tuple[Path, subprocess.Popen[bytes]]) -> None:
    """Whoever watches has to read it, and waits as the tool would; the deadline is kept all the same."""
    folder, server = hung
    code = PATH_THERE.replace("FILE", repr(f"{folder}/f"))
    compiled = lab.python(code, read=[folder], limits=Limits(wall_ms=1000))
    before = own("task"), own("fd")
    in_time = threading.Timer(10, server.kill)
    in_time.start()
    done = run(compiled, b'{"arguments":{}}', traced=True)
    in_time.cancel()
    in_time.join()
    assert done.outcome == "timeout"
    assert done.timing["run"] < 5_000_000
    assert f"{folder}/f" in {each.path for each in done.accesses}, "what was seen before is told"
    assert own("task") > before[0], "one thread still waits"
    server.kill()
    server.wait()
    assert until(lambda: (own("task"), own("fd")) == before)


def own(what: str) -> int:
    return len(list(Path("/proc/self", what).iterdir()))
