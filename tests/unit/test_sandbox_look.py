"""Two looks at many files are equal if, and only if, nobody touched one of them in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mpp_exec.errors import InternalError
from mpp_exec.sandbox.look import Look

NAMES = (".", "a", "folder", "folder/b", "absent")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_text("a")
    (tmp_path / "folder" / "b").write_text("b")
    return tmp_path


def rewrite(place: Path) -> None:
    """Change the content, and put size and mtime back: ctime tells."""
    before = (place / "a").stat()
    (place / "a").write_text("A")
    os.utime(place / "a", ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(place: Path) -> None:
    before = (place / "a").stat()
    (place / "new").write_text("a")
    os.utime(place / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (place / "new").replace(place / "a")


def link(place: Path) -> None:
    (place / "a").rename(place.parent / f"{place.name}-moved")
    (place / "a").symlink_to(place.parent / f"{place.name}-moved")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": rewrite,
    "another file": replace,
    "a link to the same file": link,
    "mode": lambda place: (place / "folder" / "b").chmod(0o777),
    "gone": lambda place: (place / "folder" / "b").unlink(),
    "appeared": lambda place: (place / "absent").write_text(""),
    "a file beside them": lambda place: (place / "folder" / "extra").write_text(""),
    "a folder's mode": lambda place: (place / "folder").chmod(0o777),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(place: Path, change: str) -> None:
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        look = Look(NAMES, folder)
        assert look.is_same(folder)
        CHANGES[change](place)
        assert not look.is_same(folder)
        assert Look(NAMES, folder).is_same(folder)
    finally:
        os.close(folder)


def test_reading_is_no_change(place: Path) -> None:
    look = Look([str(place / name) for name in NAMES])
    (place / "a").read_text()
    list((place / "folder").iterdir())
    assert look.is_same()


def test_a_folder_that_is_closed_is_another_look(place: Path) -> None:
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    look = Look(NAMES, folder)
    os.close(folder)
    assert not look.is_same(folder)


@pytest.mark.parametrize("place_of_it", [0, 511, 512, 767, 1023, 1024, 1500])
def test_a_change_is_seen_wherever_it_is_among_many(tmp_path: Path, place_of_it: int) -> None:
    """Several threads look at that many: none of their parts is left out, and one alone sees the same."""
    names = [f"{number}-{'long' * (number % 7)}" for number in range(1501)]
    for name in names:
        (tmp_path / name).touch()
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    processors = os.sched_getaffinity(0)
    try:
        look = Look(names, folder)
        os.sched_setaffinity(0, {min(processors)})
        assert look.is_same(folder)
        os.sched_setaffinity(0, processors)
        assert look.is_same(folder)
        (tmp_path / names[place_of_it]).chmod(0o600 if place_of_it % 2 else 0o640)
        assert not look.is_same(folder)
    finally:
        os.sched_setaffinity(0, processors)
        os.close(folder)


def test_a_name_with_a_nul_is_refused() -> None:
    with pytest.raises(InternalError):
        Look(["a\0b"])
