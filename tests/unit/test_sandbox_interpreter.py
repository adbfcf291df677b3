"""Finding programs of the host: asked, resolved, described; never the host's own packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mpp_exec.errors import HostError
from mpp_exec.package.requirement import Requirement, parse_requirement
from mpp_exec.sandbox import elf, interpreter
from mpp_exec.sandbox.interpreter import Program


@pytest.fixture(scope="module")
def python() -> Program:
    return interpreter.find(Requirement("python", ">=3.11"))


def test_python_is_the_real_one_not_the_virtual_environments(python: Program) -> None:
    """What runs inside sees neither the environment of this process nor its packages."""
    assert python.files[0].source == os.path.realpath(sys.executable)
    assert not python.files[0].source.startswith(sys.prefix) or sys.prefix == sys.base_prefix
    assert python.path.startswith("/python/bin/python3.")
    assert python.version.startswith("3.")


def test_python_brings_its_standard_library_and_hides_its_packages(python: Program) -> None:
    library = next(file for file in python.files if file.target.startswith("/python/lib/python3."))
    assert Path(library.source, "json").is_dir()
    assert not any("site-packages" in file.target or "dist-packages" in file.target for file in python.files)
    for name in ("site-packages", "dist-packages"):
        hidden = f"{library.target}/{name}" in python.hidden
        assert hidden == Path(library.source, name).is_dir()


def test_every_file_is_real_and_appears_once(python: Program) -> None:
    for program in (python, interpreter.find(Requirement("sh"))):
        targets = [file.target for file in program.files]
        assert len(set(targets)) == len(targets)
        for file in program.files:
            assert os.path.realpath(file.source) == file.source
            assert Path(file.source).exists()
            assert file.target.startswith("/")


def test_only_the_program_and_its_loader_are_executable(python: Program) -> None:
    for program in (python, interpreter.find(Requirement("sh"))):
        executable = [file.target for file in program.files if file.executable]
        loader = elf.loader_of(program.files[0].source)
        assert executable == [program.path, loader] if loader else [program.path]


def test_identity_names_every_file(python: Program) -> None:
    assert {file.source for file in python.files} <= {entry[0] for entry in python.identity}
    assert python.still_true()


def test_vanished_file_makes_it_untrue(tmp_path: Path) -> None:
    copy = tmp_path / "sh"
    shutil.copy(os.path.realpath("/bin/sh"), copy)
    copy.chmod(0o755)
    found = interpreter._describe_program("sh", str(copy), "")
    assert found.still_true()
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert not found.still_true()
    copy.unlink()
    assert not found.still_true()


def test_missing_program_is_the_hosts_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        interpreter.find(Requirement("lua"))
    assert caught.value.code == "host.interpreter_missing"
    assert "lua" in caught.value.hint


@pytest.mark.parametrize("text", ["python>=3.99", "bash>=99", "bash<1"])
def test_wrong_version_is_named_with_what_was_found(text: str) -> None:
    with pytest.raises(HostError) as caught:
        interpreter.find(parse_requirement(text))
    assert caught.value.code == "host.interpreter_version"
    assert text in caught.value.message
    assert "is" in caught.value.message


def test_version_is_asked_where_the_package_cares() -> None:
    assert interpreter.find(parse_requirement("bash>=3")).version[0].isdigit()
    assert interpreter.find(parse_requirement("bash")).version == ""


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("20.11.1", (20, 11, 1)),
        ("20.11.1-pre", (20, 11, 1)),
        ("5.36.0", (5, 36, 0)),
        ("3.13.0rc1", (3, 13, 0)),
    ],
)
def test_release_is_the_leading_numbers(text: str, release: tuple[int, ...]) -> None:
    assert interpreter._release(text)[: len(release)] == release


def test_program_that_others_may_change_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "lua"
    shutil.copy(os.path.realpath("/bin/sh"), copy)
    copy.chmod(0o777)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        interpreter.find(Requirement("lua"))
    assert caught.value.code == "host.interpreter_untrusted"


def test_shim_in_front_of_an_interpreter_is_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version managers put scripts on the path that start another program."""
    real = os.path.realpath(sys.executable)
    shim = tmp_path / "python3"
    shim.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setattr(interpreter, "_python_candidates", lambda: [str(shim)])
    assert interpreter.find(Requirement("python")).files[0].source == real


@pytest.mark.parametrize("output", ["", "no json", "[]", "{}", '{"version": [3, 11, 0]}'])
def test_candidate_that_is_no_interpreter_is_passed_over(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "python3"
    liar.write_text(f"#!/bin/sh\necho '{output}'\n")
    liar.chmod(0o755)
    monkeypatch.setattr(interpreter, "_python_candidates", lambda: [str(liar), sys.executable])
    assert interpreter.find(Requirement("python")).files[0].source == os.path.realpath(sys.executable)


def test_loader_of_a_dynamic_and_of_a_static_program(probe: Path) -> None:
    loader = elf.loader_of(os.path.realpath("/bin/sh"))
    assert loader is not None
    assert Path(loader).exists()
    assert elf.loader_of(str(probe)) is None


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + b"\0" * 60, b"\x7fELF\x02\x02" + b"\0" * 60]
)
def test_file_that_is_no_elf_program_of_this_machine(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(HostError) as caught:
        elf.loader_of(str(path))
    assert caught.value.code == "host.not_elf"


def test_header_that_points_nowhere_has_no_loader(tmp_path: Path) -> None:
    header = bytearray(Path(os.path.realpath("/bin/sh")).read_bytes()[:64])
    header[32:40] = (1 << 40).to_bytes(8, "little")  # e_phoff, far behind the end
    path = tmp_path / "file"
    path.write_bytes(header)
    assert elf.loader_of(str(path)) is None


def test_libraries_are_those_that_the_loader_finds() -> None:
    program = os.path.realpath("/bin/sh")
    loader = elf.loader_of(program)
    assert loader is not None
    found = elf.libraries(program, loader)
    assert "libc.so.6" in found
    listed = subprocess.run([loader, "--list", program], capture_output=True, text=True, check=True).stdout
    assert all(path in listed for path in found.values())


def test_loader_that_cannot_say_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        elf.libraries(str(tmp_path / "absent"), "/bin/false")
    assert caught.value.code == "host.loader"
    with pytest.raises(HostError):
        elf.libraries("/bin/sh", str(tmp_path / "no-loader"))
