"""What of a process is written down, and what cannot be, as /proc tells it."""

from __future__ import annotations

import os
import struct

import pytest

from mpp_exec.sandbox import mappings
from mpp_exec.sandbox.mappings import UnsavableError, encoded, told

ZERO, SAVED, FILE, VDSO, VVAR = range(1, 6)


def smaps(*rows: str) -> str:
    """Return the text of mappings: their first lines, and after a ``|`` what is said of them."""
    lines = []
    for row in rows:
        head, *facts = row.split("|")
        lines += [head.strip(), "Rss:                   0 kB", *(fact.strip() for fact in facts)]
    return "\n".join(lines) + "\n"


def regions(*rows: str) -> tuple[list[tuple[int, ...]], bytes]:
    data = encoded(smaps(*rows))
    count, size = struct.unpack_from("=II", data)
    found = [struct.unpack_from("=QQQIIII", data, 8 + index * 40) for index in range(count)]
    assert len(data) == 8 + count * 40 + size
    return found, data[8 + count * 40 :]


def test_file_that_nobody_has_written_to_is_mapped_again() -> None:
    found, texts = regions("1000-3000 r-xp 00005000 08:01 7      /usr/lib/a b.so | Rss: 4 kB")
    assert found == [(0x1000, 0x3000, 0x5000, FILE, 5, 1, 0)]
    assert texts == b"\0/usr/lib/a b.so\0"


def test_paths_are_told_once() -> None:
    one, two = "1000-2000 r--p 00000000 08:01 7 /a", "2000-3000 r-xp 00001000 08:01 7 /a"
    found, texts = regions(one, two, "3000-4000 r--p 00000000 08:01 8 /b")
    assert [row[5] for row in found] == [1, 1, 4]
    assert texts == b"\0/a\0/b\0"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("1000-2000 rw-p 00000000 08:01 7 /a | Anonymous: 4 kB | Rss: 4 kB", SAVED),
        ("1000-2000 rw-p 00000000 08:01 7 /a | Swap: 4 kB", SAVED),
        ("1000-2000 rw-p 00000000 00:00 0 | Rss: 4 kB | Anonymous: 4 kB", SAVED),
        ("1000-2000 rw-p 00000000 00:00 0 [heap] | Swap: 4 kB", SAVED),
        ("1000-2000 rw-p 00000000 00:00 0", ZERO),
        ("1000-2000 ---p 00000000 00:00 0", ZERO),
        ("1000-2000 rw-p 00000000 00:00 0 | Rss: 4 kB | VmFlags: rd wr mr mw me ac wf", ZERO),
        ("1000-2000 rw-p 00000000 00:00 0 | Rss: 4 kB | VmFlags: rd wr mr mw me dp", ZERO),
        ("1000-2000 r--s 00000000 08:01 7 /a | VmFlags: rd mr me ms", FILE),
        ("1000-2000 r--p 00000000 00:00 0 [vvar]", VVAR),
        ("1000-2000 r--p 00000000 00:00 0 [vvar_vclock]", VVAR),
        ("1000-2000 r-xp 00000000 00:00 0 [vdso]", VDSO),
    ],
)
def test_kind(row: str, kind: int) -> None:
    (found,), _ = regions(row)
    assert found[3] == kind


@pytest.mark.parametrize(
    "row",
    [
        "1000-2000 rw-s 00000000 08:01 7 /a",
        "1000-2000 r--s 00000000 08:01 7 /a | VmFlags: rd mr mw me ms",
        "1000-2000 r--s 00000000 00:00 0",
        "1000-2000 r-xp 00000000 00:00 0",
        "1000-2000 r-xp 00000000 08:01 7 /a | Anonymous: 4 kB",
        "1000-2000 rwxp 00000000 08:01 7 /a",
        "1000-2000 r--p 00000000 00:0f 7 anon_inode:x",
        "1000-2000 r--p 00000000 08:01 7 /a (deleted)",
        "1000-2000 ---p 00000000 00:00 0 | Rss: 4 kB",
    ],
)
def test_what_is_not_restored(row: str) -> None:
    with pytest.raises(UnsavableError):
        regions(row)


def test_what_the_kernel_has_everywhere_is_left_out_with_what_is_said_of_it() -> None:
    stack = "7ff000000000-7ff000021000 rw-p 00000000 00:00 0 [stack] | Rss: 4 kB"
    found, _ = regions(stack, "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]")
    assert [row[3] for row in found] == [ZERO, SAVED]


def test_stack_has_room_to_grow() -> None:
    (below, stack), _ = regions("7ff000000000-7ff000021000 rw-p 00000000 00:00 0 [stack] | Rss: 4 kB")
    assert stack[:2] == (0x7FF000000000, 0x7FF000021000)
    assert below[:2] == (0x7FF000021000 - mappings.STACK, 0x7FF000000000)


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "REGIONS_MAX", 1)
    rows = ("1000-2000 rw-p 00000000 00:00 0", "3000-4000 rw-p 00000000 00:00 0")
    with pytest.raises(UnsavableError):
        regions(*rows)
    monkeypatch.undo()
    monkeypatch.setattr(mappings, "SMAPS_MAX", 100)
    own = os.open("/proc/self", os.O_RDONLY)
    monkeypatch.setattr(mappings, "_listed", lambda _folder, _name: {"0"})
    try:
        with pytest.raises(UnsavableError, match="too many"):
            told(own)
    finally:
        os.close(own)
