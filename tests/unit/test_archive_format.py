"""The form of an archive: exactly one for a manifest and its contents, and an ordinary ZIP file."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

import forge
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.records import Layout
from mpp_exec.package.writer import ArchiveWriter

FILES = {"bin/run": b"#!x\n", "empty": b"", "Grüße.txt": "später".encode(), "z": bytes(3_000_000)}


def written(signed: bytes, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> bytes:
    table = forge.files_table(files, executable)
    layout = Layout.of(len(signed), table)
    descriptor = os.memfd_create("package")
    try:
        writer = ArchiveWriter(descriptor, layout)
        for entry in table:
            data = files[entry.path]
            assert writer.add(iter([data[:1], data[1:]])) == entry.sha256
        writer.finish(signed)
        assert os.fstat(descriptor).st_size == layout.size
        return os.pread(descriptor, layout.size, 0)
    finally:
        os.close(descriptor)


def test_the_writer_writes_what_the_forge_writes() -> None:
    """Two writers that share no code agree on every byte."""
    made = written(b"signed", FILES, ("bin/run",))
    assert made == forge.pack(forge.raw_members(b"signed", FILES, ("bin/run",)))


def test_python_reads_it_as_a_zip_file() -> None:
    with zipfile.ZipFile(io.BytesIO(written(b"signed", FILES, ("bin/run",)))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.cose", "Grüße.txt", "bin/run", "empty", "z"]
        infos = {info.filename: info for info in archive.infolist()}
        assert archive.read("Grüße.txt").decode() == "später"
    assert {info.date_time for info in infos.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos.values()} == {zipfile.ZIP_STORED}
    assert stat.filemode(infos["bin/run"].external_attr >> 16) == "-rwxr-xr-x"
    assert stat.filemode(infos["empty"].external_attr >> 16) == "-rw-r--r--"
    assert not any(info.extra or info.comment for info in infos.values())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip on this machine")
def test_unzip_lists_and_tests_it(tmp_path: Path) -> None:
    (tmp_path / "package.mpp").write_bytes(written(b"signed", FILES))
    done = subprocess.run(
        ["unzip", "-tq", str(tmp_path / "package.mpp")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "No errors detected" in done.stdout


def test_no_package_needs_zip64() -> None:
    assert LIMITS.members + 1 < 0xFFFF
    assert LIMITS.member < LIMITS.archive < 0xFFFF_FFFF
    assert LIMITS.path < 0xFFFF


def test_contents_of_another_length_are_not_written_over_the_next() -> None:
    table = forge.files_table({"a": b"12345", "b": b"1"})
    descriptor = os.memfd_create("package")
    try:
        layout = Layout.of(3, table)
        for pieces in ([b"123456"], [b"1234"], [b"12", b"3456"], []):
            with pytest.raises(ValueError, match="bytes of contents"):
                ArchiveWriter(descriptor, layout).add(iter(pieces))
        writer = ArchiveWriter(descriptor, layout)
        writer.add(iter([b"12345"]))
        with pytest.raises(ValueError, match="laid out"):
            writer.finish(b"four")
        with pytest.raises(ValueError, match=r"shorter|longer"):
            writer.finish(b"yes")
    finally:
        os.close(descriptor)
