"""Opening and reading: whatever a path may lead to, and whatever happens to the file meanwhile."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import forge
from mpp_exec.errors import InternalError, MppError, PackageError, UsageError
from mpp_exec.package.archive import UnverifiedPackage, _Checksums, check_files, open_package
from mpp_exec.package.limits import ArchiveLimits
from mpp_exec.package.manifest import FileEntry
from mpp_exec.package.records import Layout
from mpp_exec.trust.verify import VerifiedPackage, verify

BIG = {"echo.py": b"x = 1\n", "big": bytes(range(256)) * 20_000, "small": b"s", "zero": b""}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "package.mpp"
    file.write_bytes(forge.package("python"))
    return file


def verified(package: UnverifiedPackage) -> VerifiedPackage:
    return verify(package, forge.view(), now=forge.NOW, platform=forge.PLATFORM)


def refusal(path: Path | str) -> MppError:
    with pytest.raises(MppError) as error:
        open_package(path).close()
    assert error.value.hint
    return error.value


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "folder", "socket"):
            assert refusal(tmp_path / name).code == "package.not_a_package"
    for device in ("/dev/zero", "/dev/null", "/dev/tty", "/proc/self"):
        assert refusal(device).code == "package.not_a_package"
    assert refusal("/proc/self/status").code == "package.not_a_package"


def test_a_regular_file_that_becomes_a_fifo_while_it_is_opened_is_refused(tmp_path: Path) -> None:
    """The look before opening can be outrun; the open descriptor is looked at again."""
    os.mkfifo(tmp_path / "fifo")
    descriptor = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(PackageError) as error:
            UnverifiedPackage(descriptor, "fifo")
    finally:
        os.close(descriptor)
    assert error.value.code == "package.not_a_package"


@pytest.mark.timeout(20)
def test_opening_does_not_wait_for_a_fifo_that_was_put_there_in_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a regular file had been replaced between the look and the opening."""
    os.mkfifo(tmp_path / "fifo")
    regular = path.stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    assert refusal(tmp_path / "fifo").code == "package.not_a_package"


def test_a_path_that_leads_nowhere_is_the_callers_mistake(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "none").code == "package.not_found"
    assert refusal(tmp_path / "none" / "deeper").code == "package.not_found"
    assert refusal(tmp_path / "loop").code == "package.unreadable"
    assert refusal("a\0b").code == "package.unreadable"
    assert isinstance(refusal("x" * 5000), UsageError)


def test_a_link_to_a_package_is_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "latest.mpp").symlink_to(path.name)
    with open_package(tmp_path / "latest.mpp") as package:
        assert verified(package)


def test_a_huge_sparse_file_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "huge.mpp"
    file.write_bytes(forge.package("python"))
    os.truncate(file, 1 << 40)
    assert refusal(file).code == "package.too_large"
    os.truncate(file, 1 << 30)
    with open_package(file) as package, pytest.raises(PackageError) as error:
        verified(package)
    assert error.value.code == "package.truncated"


def test_limits_are_in_force(path: Path) -> None:
    size = path.stat().st_size
    for limits in (ArchiveLimits(archive=size - 1), ArchiveLimits(manifest=500)):
        with pytest.raises(PackageError) as error:
            open_package(path, limits)
        assert error.value.code == "package.too_large"
    for limits in (ArchiveLimits(member=20), ArchiveLimits(members=1)):
        with open_package(path, limits) as package, pytest.raises(PackageError) as error:
            verified(package)
        assert error.value.code == "package.too_large"
    with open_package(path, ArchiveLimits(archive=size, member=32, members=2)) as package:
        assert verified(package)


def entry(path: str = "a", size: int = 1, sha256: bytes = bytes(32)) -> FileEntry:
    return FileEntry(path, size, sha256)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([entry("b"), entry("a")], "package.bad_table"),
        ([entry(sha256=b"")], "package.bad_table"),
        ([entry(size=-1)], "package.bad_table"),
        ([entry(size=1 << 31)], "package.too_large"),
        ([entry(f"{i}", 1 << 30) for i in range(3)], "package.too_large"),
        ([entry("a"), entry("a")], "package.duplicate_member"),
        ([entry("../a")], "package.parent_path"),
    ],
)
def test_a_table_that_cannot_be_laid_out_is_refused_by_itself(files: list[FileEntry], code: str) -> None:
    """The reader does not rely on the manifest's rules having been applied."""
    with pytest.raises(PackageError) as error:
        check_files(files)
    assert error.value.code == code


def test_a_large_package_is_read_by_two_threads_with_the_same_result(tmp_path: Path) -> None:
    file = tmp_path / "big.mpp"
    good = forge.package_of(BIG)
    assert len(good) > 4 * 1024 * 1024
    file.write_bytes(good)
    with open_package(file) as package:
        assert verified(package)
    middle = good.index(BIG["big"][:1024]) + 2_000_000
    crc = good.rindex(b"PK\x01\x02") + 16
    for index, code in ((middle, "package.digest_mismatch"), (crc, "package.bad_record")):
        file.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with open_package(file) as package, pytest.raises(PackageError) as error:
            verified(package)
        assert error.value.code == code


def test_what_stops_the_second_thread_is_told(tmp_path: Path) -> None:
    file = tmp_path / "package.mpp"
    file.write_bytes(forge.package_of(BIG))
    with open_package(file) as package:
        layout = Layout.of(len(package.signed), forge.files_table(BIG))
        os.truncate(file, 2_000_000)
        with _Checksums(package, layout.members[1:], threaded=True) as checksums:
            with pytest.raises(PackageError) as error:
                checksums.result()
            assert error.value.code == "package.truncated"


@pytest.mark.parametrize("files", [forge.PYTHON_FILES, BIG], ids=["small", "large"])
def test_progress_rises_from_the_beginning_to_the_whole(tmp_path: Path, files: dict[str, bytes]) -> None:
    file = tmp_path / "package.mpp"
    file.write_bytes(forge.package_of(files))
    seen: list[tuple[int, int]] = []
    with open_package(file) as package:
        verify(
            package,
            forge.view(),
            now=forge.NOW,
            platform=forge.PLATFORM,
            progress=lambda done, total: seen.append((done, total)),
        )
        assert {total for _, total in seen} == {package.size}
        assert seen == sorted(seen)
        assert seen[-1][0] == package.size


def test_a_file_that_shrinks_or_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "package.mpp"
    good = forge.package_of(BIG)
    for size in (len(good) - 100, 3_000_000, 0):
        file.write_bytes(good)
        with open_package(file) as package:
            os.truncate(file, size)
            with pytest.raises(PackageError) as error:
                verified(package)
            assert error.value.code == "package.truncated"
    file.write_bytes(good)
    with open_package(file) as package:
        with file.open("ab") as appending:
            appending.write(b"more")
        with pytest.raises(PackageError) as error:
            verified(package)
    assert error.value.code == "package.bad_record"


def test_the_file_is_the_one_that_was_opened_whatever_its_name_is_given_to(path: Path) -> None:
    with open_package(path) as package:
        path.rename(path.with_name("old"))
        path.write_bytes(b"something else")
        assert verified(package)


def test_a_closed_package_is_not_read(path: Path) -> None:
    package = open_package(path)
    package.close()
    package.close()
    with pytest.raises(InternalError) as error:
        verified(package)
    assert error.value.code == "package.io"


def test_no_descriptor_is_left_open(path: Path, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "bad.mpp").write_bytes(b"PK")
    with open_package(path) as package:
        verified(package)
    refusal(tmp_path / "bad.mpp")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
