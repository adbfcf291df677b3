"""The file system of a sandbox as a list: parents, places that are there already, what no grant may be."""

from __future__ import annotations

import pytest

from mpp_exec.errors import ConsentError
from mpp_exec.sandbox import layout, native
from mpp_exec.sandbox.layout import Entry, Layout
from mpp_exec.sandbox.special import LED_ELSEWHERE


def rows(made: Layout) -> list[tuple[str, str]]:
    return [(entry.kind, entry.target) for entry in made.entries]


def test_parents_are_made_once_and_before_their_children() -> None:
    made = Layout()
    made.bind("/srv/a", "/srv/data/a", layout.READ_ONLY)
    made.bind("/srv/b", "/srv/data/b", layout.READ_ONLY)
    made.file("/etc/hosts", b"x")
    assert rows(made) == [
        ("dir", "/srv"),
        ("dir", "/srv/data"),
        ("bind", "/srv/data/a"),
        ("bind", "/srv/data/b"),
        ("dir", "/etc"),
        ("file", "/etc/hosts"),
    ]


def exists(entry: Entry) -> bool:
    return bool(entry.flags & native.ENTRY_EXISTS)


def test_mount_point_inside_a_bind_is_the_hosts() -> None:
    """Nothing is made in a folder of the user's: what is mounted there is mounted on what is there."""
    made = Layout()
    made.bind("/srv", "/srv", layout.WRITABLE)
    made.bind("/srv/in", "/srv/in", layout.READ_ONLY)
    made.folder("/srv/new")
    made.file("/srv/file", b"x")
    made.link("/srv/link", "/etc")
    assert rows(made) == [("bind", "/srv"), ("bind", "/srv/in")]
    assert [exists(entry) for entry in made.entries] == [False, True]


def test_name_that_only_begins_like_a_bind_is_not_inside_it() -> None:
    made = Layout()
    made.bind("/srv", "/srv", layout.WRITABLE)
    made.bind("/srv-other", "/srv-other", layout.READ_ONLY)
    assert [exists(entry) for entry in made.entries] == [False, False]


@pytest.mark.parametrize("make", ["folder", "file", "link", "bind"])
def test_bind_over_something_made_before_exists(make: str) -> None:
    """A grant of /etc/hosts takes the place of the synthetic one."""
    made = Layout()
    if make == "folder":
        made.folder("/etc/hosts")
    elif make == "file":
        made.file("/etc/hosts", b"x")
    elif make == "link":
        made.link("/etc/hosts", "elsewhere")
    else:
        made.bind("/a", "/etc/hosts", layout.READ_ONLY)
    made.bind("/etc/hosts", "/etc/hosts", layout.READ_ONLY)
    assert exists(made.entries[-1])
    assert rows(made)[-1] == ("bind", "/etc/hosts")


def test_cover_is_empty_and_read_only() -> None:
    made = Layout()
    made.bind("/srv", "/srv", layout.WRITABLE)
    made.cover("/srv/secret", is_dir=True)
    made.cover("/srv/key", is_dir=False)
    folder, file = made.entries[-2:]
    assert (folder.kind, folder.inodes, folder.size) == ("tmpfs", 1, 4096)
    assert (file.kind, file.source) == ("bind", "/dev/null")
    for entry in (folder, file):
        assert exists(entry)
        assert entry.attributes & native.MOUNT_RDONLY
        assert entry.attributes & native.MOUNT_NODEV, "a cover made of /dev/null cannot be opened"


@pytest.mark.parametrize("size", [64 << 10, 1 << 20, 16 << 30])
def test_scratch_is_bounded_in_bytes_and_inodes(size: int) -> None:
    """A tmpfs whose size or number of inodes is 0 has no bound."""
    made = Layout()
    made.scratch("/tmp", size)
    entry = made.entries[-1]
    assert entry.size == size
    assert 1024 <= entry.inodes <= max(1024, size // 4096)
    assert entry.attributes & native.MOUNT_NOEXEC


@pytest.mark.parametrize("path", ["/", *layout.RESERVED, *(f"{own}/below" for own in layout.RESERVED)])
def test_reserved_path_cannot_be_granted(path: str) -> None:
    with pytest.raises(ConsentError) as caught:
        layout.refuse_reserved(["/home/me/data", path])
    assert caught.value.code == "grant.reserved_path"


@pytest.mark.parametrize("path", ["/application", "/devices", "/home/app", "/tmp", "/tmp/x", "/srv/python"])
def test_other_path_can_be_granted(path: str) -> None:
    layout.refuse_reserved([path])


def test_names_that_are_looked_at_one_by_one_are_relative_and_stay_inside() -> None:
    for name in LED_ELSEWHERE:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert name.count("/") == 1, "its folder is listed, and decides whether it is looked at"
    assert len(set(LED_ELSEWHERE)) == len(LED_ELSEWHERE)
