"""Another user puts a program where the host looks for one: it never runs as the host's user.

Each attack leaves a canary where it ran, and does run where the check is taken away.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eventually import until
from mpp_exec import owners
from mpp_exec.errors import HostError
from mpp_exec.package.requirement import parse_requirement
from mpp_exec.sandbox import hostprogram, interpreter
from mpp_exec.sandbox.template import Template
from sandbox_lab import Lab

OTHER = 1234


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A folder with programs that tell that they ran."""
    folder = tmp_path / "trap"
    folder.mkdir(mode=0o755)
    for name in ("lua", "python3", "dpkg-query", "sh-of-theirs"):
        program = folder / name
        program.write_text(f"#!/bin/sh\n: > {canary}\necho Lua 5.4.0\n")
        program.chmod(0o755)
    return folder


def writable_program(trap: Path) -> Path:
    (trap / "lua").chmod(0o777)
    return trap


def writable_folder(trap: Path) -> Path:
    trap.chmod(0o777)
    return trap


def writable_folder_above(trap: Path) -> Path:
    outer = trap.parent / "outer"
    outer.mkdir()
    outer.chmod(0o777)
    trap.rename(outer / "trap")
    return outer / "trap"


def writable_folder_behind_a_link(trap: Path) -> Path:
    front = trap.parent / "front"
    front.mkdir(mode=0o755)
    (front / "lua").symlink_to(trap / "lua")
    trap.chmod(0o777)
    return front


def folder_linked_from_a_shared_one(trap: Path) -> Path:
    shared = trap.parent / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "bin").symlink_to(trap)
    return shared / "bin"


def folder_of_another_user(trap: Path) -> Path:
    os.chown(trap, OTHER, OTHER)
    return trap


def folder_of_a_group(trap: Path) -> Path:
    os.chown(trap, 0, OTHER)
    trap.chmod(0o775)
    return trap


def link_of_another_user_in_a_sticky_folder(trap: Path) -> Path:
    shared = trap.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "bin").symlink_to(trap)
    os.chown(shared / "bin", OTHER, OTHER, follow_symlinks=False)
    return shared / "bin"


Way = Callable[[Path], Path]
WAYS: list[Way] = [
    writable_program,
    writable_folder,
    writable_folder_above,
    writable_folder_behind_a_link,
    folder_linked_from_a_shared_one,
]
AS_ROOT: list[Way] = [folder_of_another_user, folder_of_a_group, link_of_another_user_in_a_sticky_folder]
ALL = WAYS + (AS_ROOT if os.geteuid() == 0 else [])


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.__name__.replace("_", " "))
def test_an_interpreter_that_another_user_could_have_put_there_is_not_asked(
    way: Way, trap: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{way(trap)}:/usr/bin:/bin")
    with pytest.raises(HostError) as caught:
        interpreter.find(parse_requirement("lua>=5"))
    assert caught.value.code == "host.interpreter_untrusted"
    assert not canary.exists()
    monkeypatch.setattr(owners, "others_may_change", lambda *_, **__: False)
    with pytest.raises(HostError) as caught:
        interpreter.find(parse_requirement("lua>=5"))
    assert caught.value.code == "host.not_elf"
    assert canary.exists(), "without the check it runs"


def test_a_python_that_another_user_could_have_put_there_is_not_asked(
    trap: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{writable_folder(trap)}:/usr/bin:/bin")
    requirement = parse_requirement("python>=3.99")
    for code, ran in (("host.interpreter_untrusted", False), ("host.interpreter_version", True)):
        with pytest.raises(HostError) as caught:
            interpreter.find(requirement)
        assert (caught.value.code, canary.exists()) == (code, ran)
        monkeypatch.setattr(owners, "others_may_change", lambda *_, **__: False)


def test_a_program_to_start_asks_no_package_database_of_another_user(
    trap: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{writable_folder(trap)}:/usr/bin:/bin")
    assert interpreter.find_started("cat").name == "cat"
    assert not canary.exists()
    monkeypatch.setattr(owners, "others_may_change", lambda *_, **__: False)
    interpreter.find_started("cat")
    assert canary.exists(), "without the check it runs"


def test_what_a_trusted_shim_looks_up_is_not_found_in_a_folder_of_another_user(
    trap: Path, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = tmp_path / "shims"
    shims.mkdir(mode=0o755)
    shim = shims / "tool"
    shim.write_text("#!/bin/sh\nsh-of-theirs; echo 1.0\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}:{writable_folder(trap)}:/usr/bin:/bin")
    assert hostprogram.answer([str(shim)]) == "1.0\n"
    assert not canary.exists()
    monkeypatch.setattr(owners, "others_may_change", lambda *_, **__: False)
    hostprogram.answer([str(shim)])
    assert canary.exists(), "without the check it runs"


def test_questions_hand_over_no_variable_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(tmp_path / "none.so"))
    monkeypatch.setenv("SECRET", "hunter2")
    told = hostprogram.answer([shutil.which("env") or "env"])
    assert told is not None
    assert {line.partition("=")[0] for line in told.splitlines()} <= {"PATH", "HOME", "LC_ALL"}


def test_a_folder_of_root_or_the_user_is_trusted(tmp_path: Path) -> None:
    """Below a sticky folder, too: others cannot replace what is the user's in it."""
    (tmp_path / "bin").mkdir(mode=0o755)
    hostprogram.refuse_if_replaceable(str(tmp_path / "bin"))
    hostprogram.refuse_if_replaceable(os.path.realpath("/bin/sh"))


def test_an_interpreter_that_others_can_change_by_now_is_no_template(
    trap: Path, canary: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found stays known; a sandbox may run what became of it, and the host may not."""
    plan = lab.python("def run():\n    return 1\n")
    (python,) = (each for each in plan.programs if each.path == plan.exec_path)
    theirs = interpreter.HostFile(str(trap / "python3"), python.files[0].target, executable=True)
    changed = dataclasses.replace(python, files=(theirs, *python.files[1:]))
    plan = dataclasses.replace(plan, programs=(changed,))
    trap.chmod(0o777)
    made = Template(plan)
    made.close()
    assert not canary.exists()
    monkeypatch.setattr(owners, "others_may_change", lambda *_, **__: False)
    made = Template(plan)
    try:
        assert until(canary.exists), "without the defence"
    finally:
        made.close()
