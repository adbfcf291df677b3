"""Canonical paths, the mount table as a value, and the folders that pin a cover."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.consent.mounts import MountTable, beneath
from mpp_exec.consent.paths import canonical_path, pins
from mpp_exec.errors import UsageError

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 254:0 /srv/deep /mnt/with\040space rw,relatime master:1 shared:3 - ext4 /dev/vda rw
41 27 0:50 / /mnt/tmp rw - tmpfs tmpfs rw
42 27 254:0 /srv/deep/er/leaf /mnt/leaf rw - ext4 /dev/vda rw
43 27 254:0 / /mnt/all rw - ext4 /dev/vda rw
"""


def test_mountinfo_is_parsed_with_its_escapes() -> None:
    mounts = MountTable.parse(TABLE).mounts
    assert [m.point for m in mounts] == ["/proc", "/", "/mnt/with space", "/mnt/tmp", "/mnt/leaf", "/mnt/all"]
    assert mounts[2].root == "/srv/deep"
    assert mounts[0].fstype == "proc"
    assert mounts[2].fstype == "ext4"


def test_folder_appears_wherever_it_or_its_inside_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = MountTable.parse(TABLE)
    monkeypatch.setattr(MountTable, "holding", lambda self, _path: self.mounts[1])
    assert table.appearances("/srv/deep/er") == (
        "/mnt/all/srv/deep/er",
        "/mnt/leaf",
        "/mnt/with space/er",
        "/srv/deep/er",
    )


def test_mounts_inside_a_folder_are_those_strictly_below() -> None:
    table = MountTable.parse(TABLE)
    assert [m.point for m in table.inside("/mnt/tmp")] == []
    assert {m.point for m in table.inside("/mnt")} == {"/mnt/with space", "/mnt/tmp", "/mnt/leaf", "/mnt/all"}


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [("/a/b", "/a", True), ("/a", "/a", True), ("/ab", "/a", False), ("/a", "/", True), ("/", "/a", False)],
)
def test_beneath_compares_whole_components(path: str, folder: str, expected: bool) -> None:
    assert beneath(path, folder) is expected


def test_canonical_path_follows_every_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "again").symlink_to(tmp_path / "link")
    assert canonical_path(f"{tmp_path}/again/file") == f"{tmp_path}/real/file"


@pytest.mark.parametrize("text", ["/usr", "//usr", "///usr//", "/./usr/."])
def test_canonical_path_has_one_spelling(text: str) -> None:
    assert canonical_path(text) == "/usr"


def test_canonical_path_takes_relative_and_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        canonical_path("data") == canonical_path("./data/") == canonical_path("~/data") == f"{tmp_path}/data"
    )
    assert canonical_path("~") == str(tmp_path)


def refused(text: str, kind: str = "") -> str:
    with pytest.raises(UsageError) as caught:
        canonical_path(text, kind=kind)
    assert caught.value.hint
    return caught.value.code


def test_canonical_path_refusals(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
    (tmp_path / "bytes").symlink_to(os.fsdecode(b"\xff"))
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    assert refused("") == "path.empty"
    assert refused("/usr/../etc") == "path.dotdot"
    assert refused("..") == "path.dotdot"
    assert refused(f"{tmp_path}/absent") == "path.missing"
    assert refused(f"{tmp_path}/loop") == "path.unreachable"
    assert refused(f"{tmp_path}/file/below") == "path.unreachable"
    assert refused(f"{tmp_path}/file", "directory") == "path.kind"
    assert refused(f"{tmp_path}", "file") == "path.kind"
    assert refused(f"{tmp_path}/fifo") == "path.kind"
    assert refused(f"{tmp_path}/socket", "file") == "path.kind"
    assert refused("/dev/null") == "path.kind"
    assert refused("/etc\0/passwd") == "path.encoding"
    assert refused(os.fsdecode(b"/\xff")) == "path.encoding"
    assert refused(f"{tmp_path}/bytes") == "path.encoding"


def test_two_dots_inside_a_name_are_a_name(tmp_path: Path) -> None:
    (tmp_path / "a..b").mkdir()
    assert canonical_path(f"{tmp_path}/a..b") == f"{tmp_path}/a..b"


def test_pins_are_the_folders_between() -> None:
    assert pins("/home/u/w", ["/home/u/w/a/b/mpp", "/home/u/w/x"]) == ("/home/u/w/a", "/home/u/w/a/b")
    assert pins("/home/u/w", ["/home/u/w/x", "/elsewhere/deep/er"]) == ()
    assert pins("/", ["/a/b"]) == ("/a",)


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(granted=paths, covers=st.lists(paths, max_size=4))
def test_every_folder_above_a_cover_is_the_grant_or_a_pin(granted: str, covers: list[str]) -> None:
    found = pins(granted, covers)
    for cover in covers:
        if beneath(cover, granted):
            above = {str(p) for p in Path(cover).parents if beneath(str(p), granted)} - {granted}
            assert above <= set(found)
    assert all(any(beneath(cover, pin) and cover != pin for cover in covers) for pin in found)
