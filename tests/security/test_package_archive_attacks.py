"""An archive changed on the way: every record is compared, and the reason has a code of its own."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import forge
from attacks import DIRECTORY, END, GOOD, Attack, assert_refused, changed, members, with_extra

LOCAL = GOOD.index(b"PK\x03\x04", 4)  # of the first file

FILE = [
    # name, code, bytes of the file
    Attack("an empty file", "package.not_a_package", lambda: b""),
    Attack("a text", "package.not_a_package", lambda: b"#!/bin/sh\n" * 50),
    Attack("zeros", "package.not_a_package", lambda: bytes(4096)),
    Attack("an ELF program", "package.not_a_package", lambda: b"\x7fELF" + bytes(200)),
    Attack("a ZIP without a manifest", "package.not_a_package", lambda: forge.pack(members()[1:])),
    Attack("an empty ZIP", "package.not_a_package", lambda: forge.pack([])),
    Attack("the manifest is not the first", "package.not_a_package", lambda: forge.pack(members()[::-1])),
    Attack("a program in front of the archive", "package.not_a_package", lambda: b"#!/bin/sh\n" + GOOD),
    Attack(
        "a program in front, offsets adjusted",
        "package.not_a_package",
        lambda: forge.pack(members(), before=b"#!x\n"),
    ),
    Attack("cut in the first record", "package.truncated", lambda: GOOD[:20]),
    Attack("cut behind the first record", "package.truncated", lambda: GOOD[:43]),
    Attack("cut in the manifest", "package.truncated", lambda: GOOD[:500]),
    Attack("cut in a file", "package.truncated", lambda: GOOD[: DIRECTORY - 5]),
    Attack("cut before the directory", "package.truncated", lambda: GOOD[:DIRECTORY]),
    Attack("cut in the directory", "package.truncated", lambda: GOOD[: DIRECTORY + 60]),
    Attack("cut before the end record", "package.truncated", lambda: GOOD[:END]),
    Attack("cut by one byte", "package.truncated", lambda: GOOD[:-1]),
    Attack("one byte appended", "package.trailing_bytes", lambda: GOOD + b"\0"),
    Attack("another package appended", "package.bad_record", lambda: GOOD + GOOD),
    Attack(
        "a manifest said to be huge", "package.too_large", lambda: changed(0, size=1 << 30, packed=1 << 30)
    ),
]

RECORDS = [
    Attack("a missing file", "package.missing_member", lambda: forge.pack(members()[:-1])),
    Attack("an extra file", "package.extra_member", lambda: with_extra(forge.RawMember(b"zzz.py", b"x"))),
    Attack(
        "an extra file without a directory record",
        "package.extra_member",
        lambda: with_extra(forge.RawMember(b"zzz.py", b"x", in_directory=False)),
    ),
    Attack(
        "a directory record without a file",
        "package.extra_member",
        lambda: with_extra(forge.RawMember(b"zzz.py", b"", in_body=False)),
    ),
    Attack("a file twice", "package.duplicate_member", lambda: with_extra(members()[-1])),
    Attack(
        "a file twice with other contents",
        "package.duplicate_member",
        lambda: with_extra(forge.RawMember(b"echo.py", b"import os\n")),
    ),
    Attack("a second manifest", "package.duplicate_member", lambda: with_extra(members()[0])),
    Attack(
        "two files in the other order",
        "package.bad_record",
        lambda: forge.pack([members()[0], members()[2], members()[1]]),
    ),
    Attack(
        "an extra absolute path",
        "package.absolute_path",
        lambda: with_extra(forge.RawMember(b"/etc/cron.d/x")),
    ),
    Attack("an extra path that climbs", "package.parent_path", lambda: with_extra(forge.RawMember(b"../x"))),
    Attack(
        "an extra path that climbs later",
        "package.parent_path",
        lambda: with_extra(forge.RawMember(b"a/../../x")),
    ),
    Attack("an extra backslash", "package.backslash", lambda: with_extra(forge.RawMember(b"..\\x"))),
    Attack("an extra NUL", "package.nul", lambda: with_extra(forge.RawMember(b"a\0.py"))),
    Attack(
        "an extra name not in NFC", "package.not_nfc", lambda: with_extra(forge.RawMember("e\u0301".encode()))
    ),
    Attack("an extra name not in UTF-8", "package.bad_path", lambda: with_extra(forge.RawMember(b"\xff"))),
    Attack("an extra name with a newline", "package.bad_path", lambda: with_extra(forge.RawMember(b"a\nb"))),
    Attack(
        "an extra name that turns right to left",
        "package.bad_path",
        lambda: with_extra(forge.RawMember("a\u202eyp.b".encode())),
    ),
    Attack("an extra empty name", "package.bad_path", lambda: with_extra(forge.RawMember(b""))),
    Attack("an extra folder", "package.bad_path", lambda: with_extra(forge.RawMember(b"d/", mode=0o040755))),
    Attack(
        "an extra name in another case",
        "package.case_collision",
        lambda: with_extra(forge.RawMember(b"ECHO.py")),
    ),
    Attack(
        "an extra symbolic link",
        "package.symlink_member",
        lambda: with_extra(forge.RawMember(b"link", b"/etc/passwd", mode=0o120777)),
    ),
    Attack("a file turned into a symbolic link", "package.symlink_member", lambda: changed(1, mode=0o120777)),
    Attack(
        "an extra device",
        "package.device_member",
        lambda: with_extra(forge.RawMember(b"null", mode=0o020666)),
    ),
    Attack(
        "an extra FIFO", "package.device_member", lambda: with_extra(forge.RawMember(b"pipe", mode=0o010666))
    ),
    Attack(
        "an extra socket",
        "package.device_member",
        lambda: with_extra(forge.RawMember(b"sock", mode=0o140666)),
    ),
    Attack("a file turned into a folder", "package.device_member", lambda: changed(1, mode=0o040755)),
    Attack("a compressed file", "package.compressed_member", lambda: changed(1, method=8)),
    Attack("a compressed manifest", "package.compressed_member", lambda: changed(0, method=8)),
    Attack("an encrypted file", "package.encrypted_member", lambda: changed(1, flags=0x0801)),
    Attack(
        "an extra name far too long",
        "package.path_too_long",
        lambda: with_extra(forge.RawMember(b"x" * 5000)),
    ),
    Attack(
        "other contents",
        "package.digest_mismatch",
        lambda: changed(2, data=b"def echo(text):\n    return 'pwn'\n"),
    ),
    Attack(
        "other contents, their checksum kept",
        "package.digest_mismatch",
        lambda: GOOD.replace(b"return text", b"return t3xt"),
    ),
    Attack("longer contents", "package.digest_mismatch", lambda: changed(2, data=b"x" * 100)),
    Attack("empty contents", "package.digest_mismatch", lambda: changed(2, data=b"")),
    Attack("a wrong checksum", "package.bad_record", lambda: changed(1, crc=1)),
    Attack("a wrong checksum of the manifest", "package.bad_record", lambda: changed(0, crc=1)),
    Attack(
        "a wrong checksum in the local record only",
        "package.bad_record",
        lambda: GOOD[: LOCAL + 14] + b"\0\0\0\0" + GOOD[LOCAL + 18 :],
    ),
    Attack("an executable bit", "package.bad_record", lambda: changed(1, mode=0o100755)),
    Attack("a set-id bit", "package.bad_record", lambda: changed(1, mode=0o104644)),
    Attack("no mode at all", "package.bad_record", lambda: changed(1, mode=0)),
    Attack("MS-DOS attributes", "package.bad_record", lambda: changed(1, low_attributes=0x10)),
    Attack("another time", "package.bad_record", lambda: changed(1, time=1)),
    Attack("another date", "package.bad_record", lambda: changed(1, date=0x0022)),
    Attack("another maker", "package.bad_record", lambda: changed(1, made_by=0x0014)),
    Attack("another version needed", "package.bad_record", lambda: changed(1, needed=45)),
    Attack("no UTF-8 flag", "package.bad_record", lambda: changed(1, flags=0)),
    Attack("a flag for a data descriptor", "package.bad_record", lambda: changed(1, flags=0x0808)),
    Attack(
        "a data descriptor",
        "package.bad_record",
        lambda: changed(1, flags=0x0808, descriptor=b"PK\x07\x08" + bytes(12)),
    ),
    Attack("an extra field", "package.bad_record", lambda: changed(1, extra=b"\x01\x00\x00\x00")),
    Attack(
        "an extra field in the directory",
        "package.bad_record",
        lambda: changed(1, central_extra=b"\x01\x00\x00\x00"),
    ),
    Attack(
        "an extra field that renames (0x7075)",
        "package.bad_record",
        lambda: changed(1, central_extra=struct.pack("<HHBI", 0x7075, 9, 1, 0) + b"evil"),
    ),
    Attack("a comment on a file", "package.bad_record", lambda: changed(1, comment=b"hello")),
    Attack("a comment on the archive", "package.bad_record", lambda: forge.pack(members(), comment=b"hello")),
    Attack(
        "another name in the directory",
        "package.extra_member",
        lambda: changed(1, central_name=b"data/wordz.txt"),
    ),
    Attack(
        "a climbing name in the directory",
        "package.parent_path",
        lambda: changed(1, central_name=b"../../../x.txt"),
    ),
    Attack(
        "a name shorter by a byte in the directory",
        "package.extra_member",
        lambda: changed(1, central_name=b"data/word.txt"),
    ),
    Attack("another disk", "package.bad_record", lambda: changed(1, disk=1)),
    Attack("a text flag", "package.bad_record", lambda: changed(1, internal=1)),
    Attack(
        "a gap before the directory",
        "package.bad_record",
        lambda: (
            GOOD[:DIRECTORY]
            + bytes(16)
            + GOOD[DIRECTORY : END + 16]
            + struct.pack("<I", DIRECTORY + 16)
            + GOOD[END + 20 :]
        ),
    ),
    Attack(
        "sizes of ZIP64", "package.digest_mismatch", lambda: changed(1, packed=0xFFFFFFFF, size=0xFFFFFFFF)
    ),
    Attack(
        "a wrong number of files",
        "package.bad_record",
        lambda: GOOD[: END + 8] + struct.pack("<HH", 2, 2) + GOOD[END + 12 :],
    ),
    Attack(
        "a wrong offset of the directory",
        "package.bad_record",
        lambda: GOOD[: END + 16] + struct.pack("<I", DIRECTORY - 1) + GOOD[END + 20 :],
    ),
    Attack(
        "an offset of the directory behind the end",
        "package.bad_record",
        lambda: GOOD[: END + 16] + struct.pack("<I", 0xFFFFFFFF) + GOOD[END + 20 :],
    ),
]


@pytest.mark.parametrize("attack", [*FILE, *RECORDS], ids=lambda attack: attack.name)
def test_refused_with_its_code_and_nothing_left_behind(attack: Attack, tmp_path: Path) -> None:
    assert_refused(attack, tmp_path)
