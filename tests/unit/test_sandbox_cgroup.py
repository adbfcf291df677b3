"""Where a cgroup may be made, and what bounds it. What the kernel makes of it: tests/kernels/guest."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
from pathlib import Path

import pytest

from mpp_exec.errors import HostError, InternalError
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import cgroup, kernel
from mpp_exec.sandbox.explain import mechanisms
from sandbox_lab import Lab, run

MIB = 1 << 20
UNIFIED = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
HYBRID = (
    "30 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "31 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


@pytest.mark.parametrize(
    ("mountinfo", "membership", "folder"),
    [
        (UNIFIED, "0::/user.slice/x.scope\n", "/sys/fs/cgroup/user.slice/x.scope"),
        (UNIFIED, "0::/\n", "/sys/fs/cgroup"),
        (HYBRID, "4:memory:/a\n0::/b\n", "/sys/fs/cgroup/unified/b"),
        (HYBRID, "4:memory:/a\n", None),
        ("", "0::/\n", None),
        # A mount of a subtree shows what is below it, and nothing else.
        ("29 23 0:26 /pod /cg rw - cgroup2 cgroup2 rw\n", "0::/pod/one\n", "/cg/one"),
        ("29 23 0:26 /pod /cg rw - cgroup2 cgroup2 rw\n", "0::/pod\n", "/cg"),
        ("29 23 0:26 /pod /cg rw - cgroup2 cgroup2 rw\n", "0::/pods\n", None),
        (r"29 23 0:26 / /a\040b rw - cgroup2 cgroup2 rw", "0::/c\n", "/a b/c"),
    ],
)
def test_folder_of_this_process(mountinfo: str, membership: str, folder: str | None) -> None:
    assert cgroup.own_folder(mountinfo, membership) == folder


class TestWhereNobodyNamedAPlace:
    """A cgroup that is somebody else's to manage is left alone."""

    @pytest.fixture
    def own(self, ground: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A tree as the kernel shows one: the cgroup of this process, and a unit above it."""
        folder = ground / "unit" / "host"
        folder.mkdir(parents=True)
        for each in (folder, folder.parent):
            (each / "cgroup.procs").touch()
            (each / "cgroup.type").touch()
        monkeypatch.setattr(cgroup, "own_folder", lambda *_: str(folder))
        monkeypatch.setattr(cgroup, "_SYSTEMD", str(ground / "no systemd"))
        return folder

    @pytest.fixture
    def systemd(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cgroup, "_SYSTEMD", str(own))

    @pytest.mark.usefixtures("systemd")
    def test_unit_that_systemd_did_not_delegate(self) -> None:
        for user in (0, os.geteuid()):
            found = cgroup._candidate(user)
            assert (found.path, found.controllers) == ("", ())
            assert found.reason == "systemd has delegated no cgroup to this process"
            assert "Delegate=yes" in found.hint

    @pytest.mark.usefixtures("systemd")
    def test_unit_that_it_did_delegate(self, own: Path) -> None:
        os.setxattr(own.parent, "user.delegate", b"1")
        assert cgroup._candidate(1000).path == str(own.parent)
        os.setxattr(own.parent, "user.delegate", b"0")
        assert cgroup._candidate(1000).path == ""

    def test_cgroup_above_that_belongs_to_the_user(self, own: Path) -> None:
        owner = own.stat().st_uid or 1000
        os.chown(own.parent, owner, -1)
        assert cgroup._candidate(owner).path == str(own.parent)
        assert cgroup._candidate(owner + 1).path == "", "another user's"

    def test_root_takes_no_cgroup_but_the_root_of_the_hierarchy(self, own: Path) -> None:
        """That a folder is root's says nothing: a container's limits are set in the one above."""
        assert cgroup._candidate(0).path == ""
        (own / "cgroup.type").unlink()
        assert cgroup._candidate(0).path == str(own)


def test_bounds_are_those_of_the_limits() -> None:
    limits = Limits(memory=64 * MIB, scratch=16 * MIB, processes=8)
    rows = dict(cgroup.bounds(limits, ("cpu", "memory", "pids"), 4))
    assert int(rows["memory.max"]) == 80 * MIB + cgroup.OVERHEAD, "scratch is memory, too"
    assert rows["memory.swap.max"] == "0"
    assert rows["memory.oom.group"] == "1", "what is left of a tool would go on with half of itself"
    assert rows["pids.max"] == "9"
    assert rows["cpu.max"] == "300000 100000", "one processor is left to the host"


def test_memory_is_bounded_only_once_it_cannot_be_swapped_out() -> None:
    names = [name for name, _ in cgroup.bounds(Limits(), ("memory", "pids"), 4)]
    assert names.index("memory.swap.max") < names.index("memory.max")
    assert "cpu.max" not in names


def test_single_processor_is_not_divided() -> None:
    assert "cpu.max" not in dict(cgroup.bounds(Limits(), ("cpu", "memory", "pids"), 1))


def test_nothing_is_bounded_where_nothing_is_delegated() -> None:
    assert cgroup.bounds(Limits(), (), 4) == ()


def test_place_that_was_named_and_does_not_work_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a cgroup is not given less in silence."""
    monkeypatch.setenv("MPP_CGROUP", str(tmp_path))
    with pytest.raises(HostError) as caught:
        cgroup.delegation()
    assert caught.value.code == "host.cgroup"
    assert str(tmp_path) in caught.value.message
    assert "MPP_CGROUP" in caught.value.hint


def test_busy_machine_is_not_taken_for_one_without_cgroups(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found holds for the life of a process: it must not be found out with no descriptor left."""

    def exhausted(path: str) -> str:
        raise OSError(errno.EMFILE, "Too many open files", path)

    monkeypatch.setattr(cgroup, "_read", exhausted)
    cgroup._delegation.cache_clear()
    with pytest.raises(InternalError) as caught:
        cgroup.delegation()
    assert caught.value.code == "host.exhausted"
    monkeypatch.undo()
    cgroup.delegation()


def test_plan_that_counts_on_a_cgroup_runs_nothing_without_one(lab: Lab, probe: Path) -> None:
    compiled = dataclasses.replace(lab.program(probe, "echo"), cgroup=(("memory.max", "1"),))
    if cgroup.delegation().path:
        compiled = dataclasses.replace(compiled, cgroup=(("no.such.file", "1"),))
    with pytest.raises(HostError) as caught:
        run(compiled)
    assert caught.value.code == "host.cgroup"


def test_plan_says_which_of_the_two_counts(lab: Lab, probe: Path) -> None:
    facts = kernel.probe()
    plain = dataclasses.replace(lab.program(probe, "echo"), cgroup=())
    grouped = dataclasses.replace(plain, cgroup=cgroup.bounds(Limits(), ("cpu", "memory", "pids"), 4))
    assert "supervisor's sampling" in mechanisms(plain, facts)["memory"]
    assert not any("cgroup" in name for names in mechanisms(plain, facts).values() for name in names)
    assert {"cgroup: memory.max without swap", "cgroup: counted by the kernel"} < set(
        mechanisms(grouped, facts)["memory"]
    )
    assert "cgroup: pids.max" in mechanisms(grouped, facts)["new processes"]
    assert "cgroup: counted by the kernel" in mechanisms(grouped, facts)["time"]
    assert plain.fingerprint() != grouped.fingerprint()


def test_sweep_leaves_what_is_locked_or_is_none_of_ours(tmp_path: Path) -> None:
    """Folders stand in for groups: rmdir is the same call for both."""
    dead, living = (tmp_path / f"mpp-exec-{digit * 16}" for digit in "0a")
    others = [tmp_path / "mpp-exec-host", tmp_path / "mpp-exec-000000000000000g", tmp_path / "user.slice"]
    for folder in (dead, living, *others):
        folder.mkdir()
    held = os.open(living, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        cgroup.sweep(str(tmp_path))
        assert sorted(tmp_path.iterdir()) == sorted([living, *others])
    finally:
        os.close(held)
    cgroup.sweep(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(others), "its owner is gone"


def test_sweep_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "mpp-exec-0123456789abcdef").symlink_to(target)
    cgroup.sweep(str(tmp_path))
    assert target.is_dir()
