"""Without namespaces, files are kept by Landlock alone, and their modes and times by seccomp alone.

Each attack is seen to succeed once the rule or the refusal that stops it is taken away.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

import sandbox_lab
from mpp_exec.errors import HostError
from mpp_exec.permissions import DEGRADATIONS
from mpp_exec.sandbox import landlock, layout, native
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import ATTEMPTS, Lab, attempt

DENIED = "Permission denied"
NO_CALL = "Function not implemented"


@pytest.fixture
def bare(lab: Lab) -> Lab:
    return lab.without_namespaces()


@pytest.fixture
def outside(ground: Path) -> Path:
    """A folder that every user may write to, with a file that every user may."""
    ground.chmod(0o777)
    for name in ("file", "other"):
        (ground / name).write_text("secret")
        (ground / name).chmod(0o666)
    return ground


def opened(plan: SandboxPlan, path: Path, wanted: int) -> SandboxPlan:
    """Return *plan* with a Landlock rule more: the defence taken away for this path."""
    held = Entry("hold", str(path), str(path), attributes=layout.WRITABLE)
    rule = (str(path), landlock.access(wanted, 7, is_dir=path.is_dir()))
    return dataclasses.replace(plan, entries=(*plan.entries, held), rules=(*plan.rules, rule))


def test_file_that_was_not_granted_is_not_read(bare: Lab, outside: Path) -> None:
    plan = bare.python(ATTEMPTS)
    tries = (("read", outside / "file"), ("list", outside))
    assert attempt(plan, *tries) == [DENIED, DENIED]
    assert attempt(opened(plan, outside, landlock.READ), *tries) == ["secret", ["file", "other"]]


@pytest.mark.parametrize(
    "try_",
    [
        ("write", "file"),
        ("truncate", "file", 0),
        ("unlink", "file"),
        ("mkdir", "made"),
        ("symlink", "file", "made"),
        ("rename", "file", "other"),
        ("mkfifo", "made"),
    ],
    ids=lambda each: each[0],
)
def test_nothing_outside_is_changed(bare: Lab, outside: Path, try_: tuple[object, ...]) -> None:
    what, *words = try_
    tries = (what, *(outside / word if isinstance(word, str) else word for word in words))
    plan = bare.python(ATTEMPTS)
    before = sorted((each.name, each.read_text()) for each in outside.iterdir())
    assert attempt(plan, tries)[0] in (DENIED, NO_CALL, "Invalid cross-device link")
    assert sorted((each.name, each.read_text()) for each in outside.iterdir()) == before
    if what != "mkfifo":  # that one no plan has a call for
        assert attempt(opened(plan, outside, landlock.WRITE), tries) == ["done"]


def test_read_grant_is_not_written_nor_emptied(bare: Lab, outside: Path) -> None:
    plan = bare.python(ATTEMPTS, read=[outside])
    tries = (("read", outside / "file"), ("write", outside / "file"), ("truncate", outside / "file", 0))
    assert attempt(plan, *tries) == ["secret", DENIED, DENIED]
    assert (outside / "file").read_text() == "secret"


def test_link_does_not_carry_a_file_into_scratch(bare: Lab, outside: Path) -> None:
    """A link in scratch would have scratch's rights."""
    (outside / "app").mkdir()
    plan = bare.python(ATTEMPTS, read=[outside])
    seen = attempt(plan, ("link", outside / "file", "mine"), ("symlink", outside / "file", "there"))
    assert seen[0] in (DENIED, "Invalid cross-device link", "Operation not permitted")
    assert attempt(plan, ("symlink", outside / "file", "there"), ("write", "there")) == ["done", DENIED]
    assert (outside / "file").read_text() == "secret"


@pytest.mark.parametrize(
    ("call", "words"),
    [("chmod", ("mine", 0o600)), ("utime", ("mine",))],
)
def test_modes_and_times_are_not_changed(bare: Lab, call: str, words: tuple[object, ...]) -> None:
    """Landlock does not see these calls, which work on every file that the tool's user owns."""
    plan = bare.python(ATTEMPTS)
    tries = (("write", "mine"), (call, *words))
    assert attempt(plan, *tries) == ["done", NO_CALL]
    calls = ("chmod", "fchmodat", "utimensat")
    assert attempt(sandbox_lab.without_seccomp(plan, *calls), *tries) == ["done", "done"]


def test_extended_attributes_of_host_files_are_not_read(bare: Lab, outside: Path) -> None:
    """They say where a download came from, among others, and Landlock does not see these calls."""
    plan = bare.python(ATTEMPTS)
    tries = (("listxattr", outside / "file"), ("getxattr", outside / "file", "user.origin"))
    assert attempt(plan, *tries) == [NO_CALL, NO_CALL]
    calls = ("listxattr", "getxattr")
    assert attempt(sandbox_lab.without_seccomp(plan, *calls), tries[0]) == ["done"]


def test_user_agrees_to_where_links_lead_being_seen(bare: Lab, outside: Path) -> None:
    """Landlock does not cover readlink, and no runtime does without it."""
    (outside / "link").symlink_to("elsewhere")
    assert attempt(bare.python(ATTEMPTS), ("readlink", outside / "link")) == ["done"]
    assert any("where links lead" in line for line in DEGRADATIONS["namespaces"])


@pytest.mark.parametrize(
    "path", ["/proc/1/status", "/proc/{host}/environ", "/proc/{host}/mem", "/proc/self/maps"]
)
def test_processes_are_not_looked_into(bare: Lab, path: str) -> None:
    assert attempt(bare.python(ATTEMPTS), ("read", path.format(host=os.getpid()))) == [DENIED]


def test_processes_links_are_not_followed(bare: Lab) -> None:
    """Landlock does not cover readlink; the check for tracing does."""
    seen = attempt(bare.python(ATTEMPTS), ("readlink", f"/proc/{os.getpid()}/exe"))
    assert seen[0] in (DENIED, "Operation not permitted")


def test_devices_are_not_opened(bare: Lab) -> None:
    plan = bare.python(ATTEMPTS)
    tries = [("read", path) for path in ("/dev/zero", "/dev/tty", "/dev/kmsg", "/dev/mem")]
    assert set(attempt(plan, *tries)) <= {DENIED, "No such file or directory", "No such device or address"}
    assert attempt(plan, ("write", "/dev/null")) == ["done"]


def test_host_files_are_not_there_to_be_read(bare: Lab) -> None:
    paths = ("/etc/passwd", "/etc/hostname", "/etc/shadow", "/root", "/home", "/sys/kernel", "/run")
    tries = [("list" if Path(path).is_dir() else "read", path) for path in paths if Path(path).exists()]
    assert set(attempt(bare.python(ATTEMPTS), *tries)) == {DENIED}


def test_plan_without_landlock_never_runs(bare: Lab) -> None:
    """Nothing would confine files then: init itself refuses, whatever the host asks for."""
    plan = dataclasses.replace(bare.python(ATTEMPTS), landlock=None)
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(plan)
    assert caught.value.code == "host.spawn_landlock"


def test_granted_path_that_was_replaced_is_not_opened(bare: Lab, outside: Path) -> None:
    """What was approved is told by device and inode: another file in its place gets no rule."""
    granted = outside / "file"
    status = granted.stat()
    plan = bare.python(ATTEMPTS, read=[granted], identities={str(granted): (status.st_dev, status.st_ino, 0)})
    assert attempt(plan, ("read", granted)) == ["secret"]
    (outside / "other").rename(granted)
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(plan)
    assert caught.value.code == "host.grant_changed"


def test_link_in_the_place_of_a_grant_is_not_followed(bare: Lab, outside: Path) -> None:
    plan = bare.python(ATTEMPTS, read=[outside / "file"])
    (outside / "file").unlink()
    (outside / "file").symlink_to("/etc/passwd")
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(plan)
    assert caught.value.code == "host.grant_changed"


def refused(bare: Lab, **granted: Any) -> str:
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(bare.python(ATTEMPTS, **granted))
    assert caught.value.exit_code == 5
    return caught.value.code


def test_hole_in_a_grant_is_refused(bare: Lab, outside: Path) -> None:
    (outside / "inner").mkdir()
    assert refused(bare, read=[outside], covers=[outside / "inner"]) == "host.needs_namespaces"
    assert refused(bare, write=[outside], read=[outside / "inner"]) == "host.needs_namespaces"


@pytest.mark.skipif(os.geteuid() == 0, reason="a host that is root gives no write grant here at all")
def test_write_grant_with_files_that_others_obey_is_refused(bare: Lab, outside: Path) -> None:
    plan = bare.python(ATTEMPTS, write=[outside])
    assert attempt(plan, ("write", outside / "new"), ("write", outside / "file")) == ["done", "done"]
    (outside / ".bashrc").write_text("x")
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(plan)
    assert caught.value.code == "host.needs_namespaces"
    assert ".bashrc" in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="an unprivileged host has these")
def test_root_gives_no_rights_that_only_mounts_could_give(bare: Lab, outside: Path) -> None:
    """The tool's id is nobody's: root's own files are not the tool's to write, and root's folders closed."""
    assert refused(bare, write=[outside]) == "host.needs_namespaces"
    (outside / "closed").mkdir(mode=0o700)
    (outside / "closed/file").write_text("x")
    assert refused(bare, read=[outside / "closed/file"]) == "host.needs_namespaces"


def test_programs_cannot_be_granted(bare: Lab) -> None:
    assert refused(bare, subprocess=("sh",)) == "host.not_enforceable"


def test_every_rule_is_for_what_is_held(bare: Lab, outside: Path) -> None:
    plan = bare.python(ATTEMPTS, read=[outside])
    assert [entry.source for entry in plan.entries] == [path for path, _ in plan.rules]
    assert {entry.kind for entry in plan.entries} == {"hold"}
    owned = [entry.target for entry in plan.entries if entry.flags & native.ENTRY_OWNED]
    assert owned == [plan.scratch, f"{plan.scratch}/home"]


def test_trace_is_refused_rather_than_wrong(bare: Lab) -> None:
    """What the host shows anyway would be told as used, and what is missing as refused."""
    with pytest.raises(HostError) as caught:
        sandbox_lab.run(bare.python("def run():\n    return 1\n"), traced=True)
    assert caught.value.code == "host.trace_without_namespaces"
