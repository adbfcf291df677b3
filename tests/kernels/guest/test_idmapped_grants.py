"""A root host maps ids on what it grants; where the kernel cannot, for a file system, nothing runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.errors import HostError
from sandbox_lab import ATTEMPTS, Lab, attempt


@pytest.fixture
def in_memory() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/srv"))
    (folder / "there").write_text("there")
    yield folder
    shutil.rmtree(folder)


def test_writable_grant_on_tmpfs(lab: Lab, in_memory: Path, claimed: dict[str, Any]) -> None:
    compiled = lab.python(ATTEMPTS, write=[in_memory])
    if os.geteuid() == 0 and not claimed["idmapped_tmpfs"]:
        with pytest.raises(HostError) as caught:
            attempt(compiled, ("write", in_memory / "new"))
        assert caught.value.code == "host.spawn_idmap_mount"
        assert "another file system" in caught.value.hint
        assert not (in_memory / "new").exists()
        return
    assert attempt(compiled, ("write", in_memory / "new")) == ["done"]
    assert (in_memory / "new").stat().st_uid == os.geteuid()


def test_read_grant_on_tmpfs(lab: Lab, in_memory: Path) -> None:
    in_memory.chmod(0o755)
    seen = attempt(
        lab.python(ATTEMPTS, read=[in_memory]), ("read", in_memory / "there"), ("write", in_memory / "new")
    )
    assert seen[0] == "there"
    assert seen[1] in ("Read-only file system", "Permission denied")


def test_writable_grant_on_a_disk(lab: Lab, ground: Path) -> None:
    assert attempt(lab.python(ATTEMPTS, write=[ground]), ("write", ground / "new")) == ["done"]
    assert (ground / "new").stat().st_uid == os.geteuid()
