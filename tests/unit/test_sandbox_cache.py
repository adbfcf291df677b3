"""The cache is never believed without reason, and never a reason to fail."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from mpp_exec import encoding
from mpp_exec.package.requirement import Requirement
from mpp_exec.sandbox import cache as cache_module
from mpp_exec.sandbox import interpreter, profiles, seccomp
from mpp_exec.sandbox.allow import Allow
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.interpreter import HostFile, Program

PROFILE = profiles.init_profile()
PYTHON = Requirement("python", ">=3.11")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Count what is compiled anew; the compiler is the real one."""
    made: list[object] = []
    compile_profile = seccomp.compile_profile

    def counted(profile: tuple[Allow, ...]) -> bytes:
        made.append(profile)
        return compile_profile(profile)

    monkeypatch.setattr(seccomp, "compile_profile", counted)
    return made


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_program_is_compiled_once_and_kept(folder: Path, compilations: list[object]) -> None:
    first = SandboxCache(folder).filter(PROFILE)
    other = SandboxCache(folder)
    assert other.filter(PROFILE) == other.filter(PROFILE) == first
    assert len(compilations) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert only_file(folder).stat().st_mode & 0o777 == 0o600


def test_without_a_folder_it_keeps_to_itself(compilations: list[object]) -> None:
    cache = SandboxCache(None)
    assert cache.filter(PROFILE) == cache.filter(PROFILE)
    assert len(compilations) == 1


def test_asked_again_it_keeps_nothing_more() -> None:
    """A program embeds a runtime for months, and traces a call now and then."""
    cache = SandboxCache(None)
    kept = set()
    for _ in range(3):
        cache.filter(PROFILE)
        cache.watch(PROFILE)
        cache.seal(profiles.SEALED_AWAY)
        kept.add(len(cache._held))
    assert kept == {3}


def test_seal_and_profile_are_different_programs(folder: Path) -> None:
    cache = SandboxCache(folder)
    assert cache.seal(profiles.SEALED_AWAY) == seccomp.compile_seal()
    assert cache.filter(PROFILE) != cache.seal(profiles.SEALED_AWAY)
    assert SandboxCache(folder).seal(profiles.SEALED_AWAY) == cache.seal(profiles.SEALED_AWAY)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "only a digest", "garbage"])
def test_damaged_file_is_made_again(damage: str, folder: Path, compilations: list[object]) -> None:
    """A flipped bit in a program would be another program."""
    good = SandboxCache(folder).filter(PROFILE)
    file = only_file(folder)
    content = file.read_bytes()
    changed = {
        "flip": content[:40] + bytes([content[40] ^ 1]) + content[41:],
        "cut": content[:-8],
        "empty": b"",
        "only a digest": content[:32],
        "garbage": os.urandom(len(content)),
    }
    file.write_bytes(changed[damage])
    assert SandboxCache(folder).filter(PROFILE) == good
    assert len(compilations) == 2
    assert file.read_bytes() == content


def test_program_of_another_profile_is_not_found_under_its_name(folder: Path) -> None:
    SandboxCache(folder).filter(PROFILE)
    narrower = PROFILE[1:]
    assert SandboxCache(folder).filter(narrower) == seccomp.compile_profile(narrower)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("kind", ["a file", "read-only", "missing above"])
def test_folder_that_cannot_be_used_costs_time_only(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    if kind == "a file":
        folder.write_text("x")
    elif kind == "read-only":
        folder.mkdir(mode=0o500)
    else:
        folder = tmp_path / "no" / "such" / "cache"
    assert SandboxCache(folder).filter(PROFILE) == seccomp.compile_profile(PROFILE)


def test_program_of_the_host_is_asked_once_while_its_files_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SandboxCache(folder).program(PYTHON)
    monkeypatch.setattr(interpreter, "find", lambda _: pytest.fail("it was asked again"))
    assert SandboxCache(folder).program(PYTHON) == found
    cache = SandboxCache(folder)
    assert cache.program(PYTHON) is cache.program(PYTHON)


def test_program_is_asked_again_when_a_library_of_it_was_replaced(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update may give a library another name, so what was found before is not there any more."""
    binary, library = tmp_path / "tool", tmp_path / "libx.so.1"
    asked: list[Requirement] = []

    def find(requirement: Requirement) -> Program:
        asked.append(requirement)
        files = (
            HostFile(str(binary), "/bin/tool", executable=True),
            HostFile(str(library), "/lib/libx.so.1"),
        )
        return Program("tool", "", "/bin/tool", files, (), interpreter._identities(files))

    monkeypatch.setattr(interpreter, "find", find)
    binary.write_text("program")
    library.write_text("library")
    cache = SandboxCache(folder)
    for _ in range(2):
        cache.program(Requirement("sh"))
    assert len(asked) == 1
    library.unlink()
    library.write_text("library, the next version")
    cache.program(Requirement("sh"))
    assert len(asked) == 2
    SandboxCache(folder).program(Requirement("sh"))
    assert len(asked) == 2


def test_search_path_is_part_of_the_question(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SandboxCache(folder).program(Requirement("sh"))
    other = tmp_path / "bin"
    other.mkdir()
    (other / "sh").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(other))
    assert SandboxCache(folder).program(Requirement("sh")).files[0].source == os.path.realpath("/bin/true")


def test_stored_answer_that_is_no_program_is_asked_again(folder: Path) -> None:

    found = SandboxCache(folder).program(PYTHON)
    body = b"\xa1\x64name\x61x"  # {"name": "x"}
    only_file(folder).write_bytes(hashlib.sha256(body).digest() + body)
    assert SandboxCache(folder).program(PYTHON) == found


def test_stored_answer_with_files_that_its_identity_leaves_out_is_asked_again(folder: Path) -> None:
    """Else one that names no file at all would be true for ever."""
    found = SandboxCache(folder).program(PYTHON)
    for forged in (
        dataclasses.replace(found, identity=()),
        dataclasses.replace(found, files=(*found.files, HostFile("/root", "/python/root"))),
    ):
        body = encoding.dumps(cache_module._to_value(forged))
        only_file(folder).write_bytes(hashlib.sha256(body).digest() + body)
        assert SandboxCache(folder).program(PYTHON) == found


@pytest.mark.parametrize("way", ["link", "writable", "fifo", *(["owner"] if os.geteuid() == 0 else [])])
def test_stored_answer_that_is_not_the_users_own_file_is_asked_again(folder: Path, way: str) -> None:
    """Who could put it there would choose what is mounted, or the seccomp program."""
    SandboxCache(folder).filter(PROFILE)
    stored = only_file(folder)
    stored.write_bytes(hashlib.sha256(b"forged").digest() + b"forged")
    assert SandboxCache(folder).filter(PROFILE) == b"forged"
    if way == "link":
        stored.rename(folder.parent / "elsewhere")
        stored.symlink_to(folder.parent / "elsewhere")
    elif way == "fifo":
        stored.unlink()
        os.mkfifo(stored)
    elif way == "owner":
        os.chown(stored, 1000, 1000)
    else:
        stored.chmod(0o666)
    assert SandboxCache(folder).filter(PROFILE) == seccomp.compile_profile(PROFILE)


def test_program_to_start_is_asked_once_while_its_files_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its helpers and what they load, all of which its identity names."""
    found = SandboxCache(folder).started("git")
    assert {file.source for file in found.files} <= {entry[0] for entry in found.identity}
    monkeypatch.setattr(interpreter, "find_started", lambda _: pytest.fail("it was asked again"))
    assert SandboxCache(folder).started("git") == found


def test_files_of_a_kind_are_bounded_and_the_newest_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each update of an interpreter makes a launcher, each PATH programs, and the old ones stay."""
    monkeypatch.setattr(cache_module, "_KEPT", {"launcher": 3})
    cache = SandboxCache(folder)
    cache._write("modules-a-b", b"of a package that is installed")
    for number in range(6):
        cache._write(f"launcher-{number}", b"code")
        os.utime(folder / f"launcher-{number}", (number, number))
    cache._write("launcher-6", b"code")
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["launcher-4", "launcher-5", "launcher-6", "modules-a-b"]


@pytest.mark.parametrize("kind", ["bpf", "program", "launcher"])
def test_every_kind_that_is_no_packages_is_bounded(kind: str) -> None:
    assert 0 < cache_module._KEPT[kind] <= 256
