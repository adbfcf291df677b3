"""What the host sees of a running sandbox: ids, namespaces, capabilities, filters."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.permissions import Limits
from mpp_exec.sandbox import kernel, properties
from sandbox_lab import Lab, call, descendants

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
WAIT = """
import os
def run(path):
    open(path + "/started", "w").close()
    while not os.path.exists(path + "/over"):
        pass
"""


@contextmanager
def running(lab: Lab, ground: Path, name: str = "one") -> Iterator[tuple[int, int]]:
    """Run a tool until the block ends; yield the host's numbers of init and of the tool."""
    folder = ground / name
    folder.mkdir()
    compiled = lab.python(WAIT, write=[folder], limits=Limits(wall_ms=30_000, cpu_ms=30_000))
    before = descendants(os.getpid())
    thread = threading.Thread(target=call, args=(compiled,), kwargs={"path": str(folder)})
    thread.start()
    try:
        while not (folder / "started").exists():
            assert thread.is_alive()
        init, tool = sorted(descendants(os.getpid()) - before)
        yield init, tool
    finally:
        (folder / "over").touch()
        thread.join()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_init_and_tool_hold_nothing(lab: Lab, ground: Path) -> None:
    with running(lab, ground) as processes:
        for pid in processes:
            seen = status(pid)
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(seen[kind], 16) == 0, kind
            assert seen["NoNewPrivs"] == "1"
            assert seen["Seccomp"] == "2"
        init, tool = map(status, processes)
        assert init["Seccomp_filters"] == "1"
        # The profile, the seal, and where Landlock has no scopes the one that lets it signal itself only.
        scopes = kernel.probe().landlock_abi >= properties.SCOPE_ABI
        assert tool["Seccomp_filters"] == ("2" if scopes else "3")
        assert (init["Name"], init["Threads"]) == ("mpp-init", "1")


def test_every_namespace_is_its_own(lab: Lab, ground: Path) -> None:
    def spaces(pid: int) -> dict[str, Any]:
        return {name: Path(f"/proc/{pid}/ns/{name}").readlink() for name in NAMESPACES}

    if os.geteuid() != 0:
        pytest.skip("only root may look at the links of a process that is not dumpable")
    with running(lab, ground) as (init, tool), running(lab, ground, "two") as (_, other):
        mine, theirs, others = spaces(os.getpid()), spaces(tool), spaces(other)
        assert spaces(init) == theirs
        for name in NAMESPACES:
            assert len({mine[name], theirs[name], others[name]}) == 3, name


def test_ids_on_the_host(lab: Lab, ground: Path) -> None:
    """A root host gives each living sandbox an id that nothing else has; any other host gives its own."""
    with running(lab, ground) as (init, tool), running(lab, ground, "two") as (_, other):
        seen = [status(pid) for pid in (init, tool, other)]
    uids = [set(each["Uid"].split()) for each in seen]
    gids = [set(each["Gid"].split()) for each in seen]
    assert all(len(ids) == 1 for ids in (*uids, *gids))
    assert uids[0] == uids[1]
    if os.geteuid() == 0:
        assert uids[1] != uids[2]
        assert all(int(ids.pop()) > 0x70000000 for ids in (*uids, *gids))
    else:
        assert uids[1] == uids[2] == {str(os.geteuid())}


def test_supplementary_groups_of_a_root_host_are_not_the_tools(lab: Lab, ground: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a host that is no root cannot empty them")
    before = os.getgroups()
    os.setgroups([4, 24])
    try:
        with running(lab, ground) as processes:
            assert [status(pid)["Groups"] for pid in processes] == ["", ""]
    finally:
        os.setgroups(before)


def test_host_is_not_a_parent_of_the_tool(lab: Lab, ground: Path) -> None:
    with running(lab, ground) as (init, tool):
        assert int(status(tool)["PPid"]) == init
        assert int(status(init)["PPid"]) == os.getpid()
