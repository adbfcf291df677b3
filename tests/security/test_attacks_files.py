"""Attacks on files beside a granted folder, each against mounts alone, Landlock alone, both, and neither.

*Landlock alone* is a plan with a mount too many: the folder above the granted one is there and writable,
as if it had been approved, and no rule names it. What Landlock does not mediate is told by ``meta``.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from errno import EACCES, EBUSY, ENOENT, ENOSYS, EPERM, EROFS, EXDEV
from pathlib import Path
from typing import Any

import pytest

from file_attacks import (
    CHANGING,
    LOOKING,
    READING,
    STEERING,
    TOOL,
    FileAttack,
)
from mpp_exec.sandbox import layout
from mpp_exec.sandbox.layout import Entry
from mpp_exec.sandbox.plan import SandboxPlan
from sandbox_lab import Lab, call, without_landlock, without_seccomp


@pytest.fixture
def world(ground: Path) -> Path:
    """A folder with something to be granted, and beside it a file that everybody may read and write."""
    ground.chmod(0o777)
    (ground / "granted").mkdir()
    (ground / "granted/mine").write_text("mine")
    (ground / "empty").mkdir()
    (ground / "secret").write_text("secret")
    (ground / "secret").chmod(0o666)
    return ground


def attack(compiled: SandboxPlan, world: Path, code: str) -> Any:
    return call(compiled, granted=f"{world}/granted", secret=f"{world}/secret", code=code)


def one_mount_too_many(lab: Lab, world: Path) -> SandboxPlan:
    compiled = lab.python(TOOL, write=[world, world / "granted"])
    return replace(compiled, rules=tuple(rule for rule in compiled.rules if rule[0] != str(world)))


def snapshot(world: Path) -> list[tuple[str, int, bytes]]:
    files = (path for path in sorted(world.rglob("*")) if path.parent != world / "granted")
    return [(str(path), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in files]


@pytest.mark.parametrize("row", READING, ids=[row.name for row in READING])
def test_reading_what_lies_beside_a_grant(lab: Lab, world: Path, row: FileAttack) -> None:
    compiled = lab.python(TOOL, write=[world / "granted"])
    for variant in (compiled, without_landlock(compiled)):
        assert attack(variant, world, row.code) in (ENOENT, EACCES, EXDEV)
        shutil.rmtree(world / "granted")
        (world / "granted").mkdir()
    assert attack(one_mount_too_many(lab, world), world, row.code) in (EACCES, EXDEV, EROFS)
    assert (world / "secret").read_text() == "secret"
    neither = without_landlock(one_mount_too_many(lab, world))
    shutil.rmtree(world / "granted")
    (world / "granted").mkdir()
    # Between two mounts no file is moved or linked, whatever was granted: there the mount point is a defence.
    moved = "os.rename" in row.code or "os.link" in row.code
    assert attack(neither, world, row.code) in (("secret", EXDEV) if moved else ("secret", 6, 2, 3, 1)), (
        "the attack is real"
    )


@pytest.mark.parametrize("row", CHANGING, ids=[row.name for row in CHANGING])
def test_changing_what_lies_beside_a_grant(lab: Lab, world: Path, row: FileAttack) -> None:
    compiled = lab.python(TOOL, write=[world / "granted"])
    before = snapshot(world)
    for variant in (compiled, without_landlock(compiled)):
        assert attack(variant, world, row.code) in (ENOENT, EACCES, EXDEV, EROFS, EBUSY)
    assert attack(one_mount_too_many(lab, world), world, row.code) in (EACCES, EXDEV, EBUSY)
    assert snapshot(world) == before
    seen = attack(without_landlock(one_mount_too_many(lab, world)), world, row.code)
    assert seen in ((EXDEV, EBUSY) if "granted +" in row.code or "(granted" in row.code else (0, None)), (
        "the attack is real"
    )


@pytest.mark.parametrize("row", LOOKING, ids=[row.name for row in LOOKING])
def test_learning_what_lies_beside_a_grant(lab: Lab, world: Path, row: FileAttack) -> None:
    """Not there, for whoever asks in whatever way: ENOENT, as for a name that nobody has."""
    compiled = lab.python(TOOL, write=[world / "granted"])
    never = row.code.replace("secret", "beside + '/never'")
    for variant in (compiled, without_landlock(compiled)):
        seen = attack(variant, world, row.code)
        if "chdir" in row.code:
            assert seen == 1, "the folders on the way to a grant are there, and empty"
            seen = attack(variant, world, "os.chdir(beside) or os.path.exists('secret') or 2")
        assert seen in (ENOENT, False)
        assert "chdir" in row.code or seen == attack(variant, world, never)
    assert attack(without_landlock(one_mount_too_many(lab, world)), world, row.code), "the attack is real"


class TestWhileTheToolRuns:
    """Somebody outside moves what was granted, at the worst moment."""

    SWAPPED = """
def run(path, tries):
    seen = set()
    for _ in range(tries):
        try:
            with open(path) as file:
                seen.add(file.read())
        except OSError as error:
            seen.add(error.errno)
    return sorted(map(str, seen))
"""

    @pytest.fixture
    def swapping(self, world: Path) -> Iterator[Path]:
        """In the grant, `sub` is in turn a folder and a link to one beside the grant, with a secret in it."""
        granted = world / "granted"
        (granted / "real").mkdir()
        (granted / "real/file").write_text("granted")
        (world / "other").mkdir()
        (world / "other/file").write_text("secret")
        (granted / "sub").symlink_to("real")
        over = threading.Event()

        def swap() -> None:
            while not over.is_set():
                for target in ("../other", "real"):
                    (granted / "next").symlink_to(target)
                    (granted / "next").rename(granted / "sub")

        thread = threading.Thread(target=swap)
        thread.start()
        yield granted
        over.set()
        thread.join()

    def test_link_swapped_under_a_running_tool(self, lab: Lab, world: Path, swapping: Path) -> None:
        arguments = {"path": f"{swapping}/sub/file", "tries": 5000}
        compiled = lab.python(self.SWAPPED, read=[swapping])
        for variant in (compiled, without_landlock(compiled)):
            assert set(call(variant, **arguments)) <= {"granted", str(ENOENT)}
        shown = lab.python(self.SWAPPED, read=[world, swapping])
        alone = replace(shown, rules=tuple(rule for rule in shown.rules if rule[0] != str(world)))
        assert set(call(alone, **arguments)) <= {"granted", str(ENOENT), str(EACCES)}
        assert "secret" in call(without_landlock(shown), **arguments), "the attack is real"

    def test_open_folder_moved_out_of_the_grant(self, lab: Lab, world: Path) -> None:
        """From there `..` would lead past the mount's root, to everything beside it."""
        code = """
import os
def run(granted):
    os.chdir(granted + "/sub")
    folder = os.open(".", os.O_PATH)
    before = os.path.exists("../mine")
    open(granted + "/ready", "w").close()
    while not os.path.exists(granted + "/moved"):
        pass
    seen = []
    for attempt in (
        lambda: open("../secret").read(),
        lambda: os.listdir(".."),
        lambda: open("../../" + os.path.basename(os.path.dirname(granted)) + "/secret").read(),
        lambda: os.read(os.open("../secret", os.O_RDONLY, dir_fd=folder), 9),
    ):
        try:
            seen.append(str(attempt()))
        except OSError as error:
            seen.append(error.errno)
    return [before, seen]
"""
        granted = world / "granted"
        compiled = lab.python(code, write=[granted])
        for variant in (compiled, without_landlock(compiled)):
            (granted / "sub").mkdir()
            answers: list[Any] = []
            thread = threading.Thread(
                target=lambda plan=variant, into=answers: into.append(call(plan, granted=str(granted)))
            )
            thread.start()
            while not (granted / "ready").exists():
                assert thread.is_alive()
            (granted / "sub").rename(world / "sub")
            (granted / "moved").touch()
            thread.join()
            before, seen = answers[0]
            assert before
            assert set(seen) <= {ENOENT, EACCES}
            for path in (granted / "ready", granted / "moved"):
                path.unlink()
            (world / "sub").rmdir()


PROC = """
import os
def run(tries):
    seen = []
    for what, path in tries:
        try:
            if what == "list":
                seen.append(sorted(os.listdir(path)))
            elif what == "link":
                seen.append(os.readlink(path))
            else:
                descriptor = os.open(path, os.O_RDWR if what == "write" else os.O_RDONLY)
                seen.append(os.read(descriptor, 64).hex())
        except OSError as error:
            seen.append(error.errno)
    return seen
"""
THROUGH_PROC = (
    ("read", "environ"),
    ("list", "root/"),
    ("list", "cwd/"),
    ("link", "exe"),
    ("link", "fd/0"),
    ("read", "mem"),
    ("read", "maps"),
    ("link", "ns/mnt"),
    ("write", "exe"),
    ("read", "root/etc/hostname"),
)


@pytest.mark.parametrize(("what", "name"), THROUGH_PROC, ids=[f"{a} {b}" for a, b in THROUGH_PROC])
def test_process_of_the_host_through_proc(lab: Lab, what: str, name: str) -> None:
    """There is no /proc. Were the host's there: Landlock; and were that gone, another user namespace."""
    compiled = lab.python(PROC)
    tries = [[what, f"/proc/{os.getpid()}/{name}"], [what, f"/proc/self/{name}"], [what, f"/proc/1/{name}"]]
    assert call(compiled, tries=tries) == [ENOENT] * 3
    entries = (*compiled.entries, Entry("bind", "/proc", "/proc", attributes=layout.WRITABLE))
    shown = replace(compiled, entries=entries)
    assert call(shown, tries=tries[:1])[0] in (EACCES, EPERM)
    alone = without_landlock(shown)
    assert all(seen in (EACCES, EPERM, ENOENT) for seen in call(alone, tries=[tries[0], tries[2]]))
    cmdline = [["read", f"/proc/{os.getpid()}/cmdline"]]
    assert isinstance(call(alone, tries=cmdline)[0], str), "what needs no right over the process is there"
    assert call(shown, tries=cmdline) == [EACCES]


@pytest.mark.parametrize("path", STEERING)
def test_file_that_steers_the_kernel(lab: Lab, path: str) -> None:
    """Known ways out of containers; none is there, and the stand-in for each is a folder nobody approved."""
    compiled = lab.python(TOOL)
    code = f"os.open({path!r}, os.O_WRONLY)"
    for variant in (compiled, without_landlock(compiled), without_landlock(without_seccomp(compiled))):
        assert call(variant, granted="", secret="/x", code=code) == ENOENT


def test_socket_made_in_a_grant_for_the_host_to_find(lab: Lab, world: Path) -> None:
    compiled = lab.python(TOOL, write=[world / "granted"])
    code = "socket.socket(socket.AF_UNIX).bind(granted + '/service') or 1"
    assert attack(compiled, world, code) == ENOSYS
    assert attack(without_seccomp(compiled, "socket", "bind"), world, code) == EACCES, "Landlock alone"
    assert attack(without_landlock(without_seccomp(compiled, "socket", "bind")), world, code) == 1, (
        "the attack is real"
    )
