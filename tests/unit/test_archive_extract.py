"""Unpacking: exactly what was signed, or nothing at all; and noticing what was touched since."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import forge
from mpp_exec.errors import ConsentError, InternalError, MppError, PackageError
from mpp_exec.package.archive import open_package
from mpp_exec.package.extract import extract
from mpp_exec.trust.installed import InstalledPackage, verify_installed
from mpp_exec.trust.verify import VerifiedPackage, verify

FILES = {
    "echo.py": b"def echo(text): ...\n",
    "a-b": b"sorts between a and a/",
    "a/x": b"1",
    "a/deep/er/y": b"2",
    "a/z": b"",
    "b/run": b"#!\n",
    "Grüße": b"hi",
    "big": bytes(2_500_000),
}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "target").mkdir()
    folder = os.open(tmp_path / "target", os.O_RDONLY)
    yield folder
    os.close(folder)


@pytest.fixture
def package(tmp_path: Path) -> Iterator[VerifiedPackage]:
    file = tmp_path / "package.mpp"
    file.write_bytes(forge.package_of(FILES, executable=("b/run",)))
    with open_package(file) as opened:
        yield verify(opened, forge.view(), now=forge.NOW, platform=forge.PLATFORM)


def check(folder: int, package: VerifiedPackage, fingerprint: str | None = None) -> InstalledPackage:
    return verify_installed(
        folder,
        package.digest,
        forge.view(),
        now=forge.NOW,
        platform=forge.PLATFORM,
        known_fingerprint=fingerprint,
    )


def refusal(folder: int, package: VerifiedPackage, fingerprint: str | None = None) -> str:
    with pytest.raises(MppError) as error:
        check(folder, package, fingerprint)
    assert error.value.hint
    return error.value.code


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_unpacks_what_was_packed_with_fixed_modes(
    package: VerifiedPackage, target: int, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        package.extract(target)
    finally:
        os.umask(before)
    root = tmp_path / "target"
    assert {path: (root / "files" / path).read_bytes() for path in FILES} == FILES
    assert (root / "manifest.cose").read_bytes() == package.package.signed
    found = modes(root)
    folders = {"files", "files/a", "files/a/deep", "files/a/deep/er", "files/b"}
    assert {path for path, mode in found.items() if mode == "drwxr-xr-x"} == folders
    assert {path for path, mode in found.items() if mode == "-rwxr-xr-x"} == {"files/b/run"}
    assert {mode for path, mode in found.items() if path not in folders | {"files/b/run"}} == {"-rw-r--r--"}
    assert len(found) == len(folders) + len(FILES) + 1


def test_the_process_itself_is_not_confined_afterwards(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    package.extract(target)
    (tmp_path / "outside").write_text("still allowed")


def test_progress_rises_to_the_whole(package: VerifiedPackage, target: int) -> None:
    seen: list[tuple[int, int]] = []
    package.extract(target, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (package.package.size, package.package.size)


def test_a_folder_that_is_not_empty_is_left_alone(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    (tmp_path / "target" / "files").mkdir()
    (tmp_path / "target" / "files" / "mine").write_text("x")
    with pytest.raises(InternalError) as error:
        package.extract(target)
    assert error.value.code == "package.not_empty"
    assert (tmp_path / "target" / "files" / "mine").read_text() == "x"


@pytest.mark.parametrize("where", ["echo.py", "big"])
def test_a_file_changed_between_verifying_and_unpacking_is_refused(
    package: VerifiedPackage, target: int, tmp_path: Path, where: str
) -> None:
    """What is written is hashed again: the check cannot be outrun."""
    file = tmp_path / "package.mpp"
    data = file.read_bytes()
    index = data.index(b"\0" * 1000) if where == "big" else data.index(FILES["echo.py"])
    with file.open("r+b") as changing:
        changing.seek(index)
        changing.write(b"!")
    with pytest.raises(PackageError) as error:
        package.extract(target)
    assert error.value.code == "package.digest_mismatch"
    assert list((tmp_path / "target").iterdir()) == []


def test_a_file_cut_off_between_verifying_and_unpacking_is_refused(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    os.truncate(tmp_path / "package.mpp", 200_000)
    with pytest.raises(PackageError) as error:
        package.extract(target)
    assert error.value.code == "package.truncated"
    assert list((tmp_path / "target").iterdir()) == []


def test_a_write_that_fails_half_way_leaves_nothing(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(InternalError) as error:
            package.extract(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.code == "package.io"
    assert list((tmp_path / "target").iterdir()) == []


def test_unpacking_can_be_cancelled_and_leaves_nothing(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    cancel = threading.Event()
    with pytest.raises(InternalError) as error:
        package.extract(target, lambda done, total: cancel.set(), cancel)  # noqa: ARG005
    assert error.value.code == "package.cancelled"
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "..", ".", "", "a//b", "files/../../x"])
def test_unpacking_by_itself_writes_nowhere_else(
    package: VerifiedPackage, target: int, tmp_path: Path, path: str
) -> None:
    """Even with a table that nobody checked, no path leads out: each part is made and entered by itself."""
    before = sorted(tmp_path.rglob("*"))
    hostile = replace(package.manifest.files[0], path=path)
    with pytest.raises(InternalError) as error:
        extract(package.package, [hostile], target)
    assert error.value.code == "package.io"
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/evil").exists()


def test_an_unpacked_package_verifies_and_keeps_its_fingerprint(
    package: VerifiedPackage, target: int
) -> None:
    package.extract(target)
    first = check(target, package)
    assert first.manifest == package.manifest
    assert first.key_id == package.key_id
    assert not first.first_use
    assert check(target, package, first.fingerprint).fingerprint == first.fingerprint
    assert check(target, package, "sha256:other").fingerprint == first.fingerprint


def rewrite_in_place(file: Path) -> None:
    """Change contents, not size, and put the modification time back."""
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    with file.open("r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "contents changed": (lambda files: rewrite_in_place(files / "echo.py"), "package.digest_mismatch"),
    "contents grown": (lambda files: (files / "a/z").write_bytes(b"x"), "package.digest_mismatch"),
    "file replaced": (lambda files: replace_file(files / "echo.py"), "package.digest_mismatch"),
    "file removed": (lambda files: (files / "a/x").unlink(), "package.missing_member"),
    "folder removed": (
        lambda files: (files / "b").rename(files.parent.parent / "b"),
        "package.missing_member",
    ),
    "file added": (lambda files: (files / "sitecustomize.py").write_text("evil"), "package.extra_member"),
    "file added deep": (lambda files: (files / "a/deep/new").write_text("evil"), "package.extra_member"),
    "folder added": (lambda files: (files / "new").mkdir(), "package.extra_member"),
    "file added beside": (lambda files: (files.parent / "new").write_text("x"), "package.extra_member"),
    "made executable": (lambda files: (files / "echo.py").chmod(0o755), "package.changed_member"),
    "made writable": (lambda files: (files / "echo.py").chmod(0o666), "package.changed_member"),
    "made set-id": (lambda files: (files / "b/run").chmod(0o4755), "package.changed_member"),
    "folder made writable": (lambda files: (files / "a").chmod(0o777), "package.changed_member"),
    "top folder made writable": (lambda files: files.chmod(0o777), "package.changed_member"),
    "file made a link": (lambda files: make_link(files / "a/x"), "package.changed_member"),
    "folder made a link": (lambda files: make_link(files / "a"), "package.changed_member"),
    "file made a FIFO": (lambda files: make_fifo(files / "a/x"), "package.changed_member"),
    "file made a folder": (lambda files: make_folder(files / "a/x"), "package.changed_member"),
    "manifest changed": (
        lambda files: rewrite_in_place(files.parent / "manifest.cose"),
        "package.digest_mismatch",
    ),
    "manifest removed": (lambda files: (files.parent / "manifest.cose").unlink(), "package.missing_member"),
    "manifest made a link": (
        lambda files: make_link(files.parent / "manifest.cose"),
        "package.changed_member",
    ),
    "manifest made a FIFO": (
        lambda files: make_fifo(files.parent / "manifest.cose"),
        "package.changed_member",
    ),
    "manifest grown": (
        lambda files: os.truncate(files.parent / "manifest.cose", 1 << 30),
        "package.too_large",
    ),
}


def replace_file(file: Path) -> None:
    new = file.with_name("new")
    new.write_bytes(bytes(file.stat().st_size))
    new.chmod(0o644)
    new.rename(file)


def make_link(path: Path) -> None:
    """Put a link in place of *path* that leads to the very same contents."""
    root = next(parent for parent in path.parents if parent.name == "target")
    path.symlink_to(path.rename(root.with_name("moved")))


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o644)
    path.chmod(0o644)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("remembered", [False, True], ids=["full", "with fingerprint"])
@pytest.mark.parametrize("case", TAMPERINGS)
def test_whatever_is_touched_in_an_unpacked_package_is_found(
    package: VerifiedPackage,
    target: int,
    tmp_path: Path,
    case: str,
    *,
    remembered: bool,
) -> None:
    package.extract(target)
    fingerprint = check(target, package).fingerprint if remembered else None
    tamper, code = TAMPERINGS[case]
    tamper(tmp_path / "target" / "files")
    assert refusal(target, package, fingerprint) == code


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_belongs_to_somebody_else_is_found(
    package: VerifiedPackage, target: int, tmp_path: Path
) -> None:
    package.extract(target)
    fingerprint = check(target, package).fingerprint
    os.chown(tmp_path / "target/files/echo.py", 12345, 12345)
    assert refusal(target, package, fingerprint) == "package.changed_member"


def test_what_is_no_longer_trusted_does_not_verify_again(package: VerifiedPackage, target: int) -> None:
    package.extract(target)
    fingerprint = check(target, package).fingerprint
    for view, code in (
        (forge.view(revoked_keys=frozenset({package.key_id})), "trust.revoked_key"),
        (forge.view(revoked_digests=frozenset({package.digest})), "trust.revoked_digest"),
        (forge.view(publishers={}), "trust.unknown_publisher"),
        (forge.view(publishers={}, trust_first_use=True), "trust.unknown_publisher"),
        (forge.view(publishers={"acme": forge.publisher("acme", forge.OTHER_KEY)}), "trust.key_mismatch"),
    ):
        with pytest.raises((PackageError, ConsentError)) as error:
            verify_installed(
                target,
                package.digest,
                view,
                now=forge.NOW,
                platform=forge.PLATFORM,
                known_fingerprint=fingerprint,
            )
        assert error.value.code == code


def test_another_package_in_its_place_is_refused(package: VerifiedPackage, target: int) -> None:
    """Signed by the same publisher and in order, but not the one that was approved."""
    package.extract(target)
    other = replace(package, digest="sha256:" + "0" * 64)
    assert refusal(target, other) == "package.digest_mismatch"
