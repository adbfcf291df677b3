"""What a static program tries on files that were not granted, by the system calls themselves.

``test_attacks_files.py`` tries from Python what takes several steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EACCES, ENOENT, EROFS, EXDEV
from pathlib import Path

import pytest

from sandbox_lab import Lab, sweep, without_landlock

CWD = -100

Call = tuple[str | int, ...]


@dataclass(frozen=True)
class Attack:
    """System calls, the last of them the attack. ``S`` is the file, ``B`` its folder, ``G`` what was granted.

    ``changes``: the folder is there, empty and read-only, which is said before anybody looks what is in it.
    """

    name: str
    calls: tuple[Call, ...]
    changes: bool = False


def _looks(name: str, *calls: Call) -> Attack:
    return Attack(name, calls)


def _changes(name: str, *calls: Call) -> Attack:
    return Attack(name, calls, changes=True)


ATTACKS = (
    _looks("open", ("open", "s:S", 0)),
    _looks("openat", ("openat", CWD, "s:S", 0)),
    _looks("open, to write", ("open", "s:S", 2)),
    _looks("open, as a path", ("open", "s:S", 0o10000000)),
    _looks("open, going up", ("open", "s:G/../secret", 0)),
    _looks("open, over a link", ("symlink", "s:../secret", "s:G/l"), ("open", "s:G/l", 0)),
    _looks("open, over a link in scratch", ("symlink", "s:S", "s:/tmp/l"), ("open", "s:/tmp/l", 0)),
    _looks("open, from where it went", ("chdir", "s:G"), ("open", "s:../secret", 0)),
    _looks("stat", ("stat", "s:S", "b")),
    _looks("lstat", ("lstat", "s:S", "b")),
    _looks("newfstatat", ("newfstatat", CWD, "s:S", "b", 0)),
    _looks("statx", ("statx", CWD, "s:S", 0, 0x7FF, "b")),
    _looks("access", ("access", "s:S", 0)),
    _looks("getxattr", ("getxattr", "s:S", "s:user.x", "b", 16)),
    _looks("listxattr", ("listxattr", "s:S", "b", 16)),
    _looks("truncate", ("truncate", "s:S", 0)),
    _changes("unlink", ("unlink", "s:S")),
    _changes("unlinkat", ("unlinkat", CWD, "s:S", 0)),
    _changes("rename", ("rename", "s:S", "s:G/x")),
    _looks("chmod", ("chmod", "s:S", 0o600)),
    _looks("utimensat", ("utimensat", CWD, "s:S", 0, 0)),
    _changes("rmdir", ("rmdir", "s:B/empty")),
    _looks("hard link", ("link", "s:S", "s:G/x")),
    _changes("make a file", ("open", "s:B/x", 0o101, 0o644)),
    _changes("make a folder", ("mkdir", "s:B/x", 0o755)),
    _changes("make a link", ("symlink", "s:/", "s:B/x")),
    _changes("rename onto", ("rename", "s:G/mine", "s:S")),
    _changes("hard link out of the grant", ("link", "s:G/mine", "s:B/x")),
    _changes("move the grant", ("rename", "s:G", "s:B/x")),
)


@pytest.fixture
def world(ground: Path) -> Path:
    ground.chmod(0o777)
    for name in ("granted", "empty"):
        (ground / name).mkdir()
        (ground / name).chmod(0o777)
    for name in ("granted/mine", "secret"):
        (ground / name).write_text(name)
        (ground / name).chmod(0o666)
    return ground


def snapshot(world: Path) -> list[tuple[str, int, bytes]]:
    files = (path for path in sorted(world.rglob("*")) if path.parent != world / "granted")
    return [(str(path), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in files]


def last(lab: Lab, probe: Path, world: Path, attack: Attack, *, variant: str) -> int:
    """Return what the attack's last call answers; without its last defence, the folder is granted as well."""
    wider = [world] if variant == "granted" else []
    compiled = lab.program(probe, "sweep", write=[*wider, world / "granted"])
    if variant == "mounts alone":
        compiled = without_landlock(compiled)

    def meant(word: str | int) -> str | int:
        if not isinstance(word, str) or not word.startswith("s:"):
            return word
        text = word.replace("s:S", f"s:{world}/secret")
        return text.replace("s:G", f"s:{world}/granted").replace("s:B", f"s:{world}")

    calls = [tuple(map(meant, call)) for call in attack.calls]
    return sweep(compiled, calls)[-1]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_program_on_a_file_beside_its_grant(lab: Lab, probe: Path, world: Path, attack: Attack) -> None:
    """It is not there; where it is granted as well, it is, so that the call is an attack."""
    before = snapshot(world)
    refused = {ENOENT, EACCES, EXDEV, EROFS} if attack.changes else {ENOENT}
    for variant in ("", "mounts alone"):
        assert last(lab, probe, world, attack, variant=variant) in refused
        assert snapshot(world) == before
        for left in ("l", "x"):
            (world / "granted" / left).unlink(missing_ok=True)
    alone = last(lab, probe, world, attack, variant="granted")
    assert alone == EXDEV or alone not in refused, "it is no attack"
