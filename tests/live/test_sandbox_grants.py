"""Granted folders: what can be read, what can be written, who owns it, and what stays protected."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpp_exec.errors import HostError
from private_mounts import run_in_private_mounts
from sandbox_lab import ATTEMPTS, DENIED, GONE, HERE, RO, Lab, attempts, call, without_landlock


def test_read_grant_can_be_read_and_nothing_else(lab: Lab, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    seen = attempts(
        lab,
        ("read", folder / "a.txt"),
        ("read", folder / "sub/b.txt"),
        ("read", folder / "private"),
        ("list", folder),
        ("write", folder / "a.txt"),
        ("write", folder / "new"),
        ("unlink", folder / "a.txt"),
        ("mkdir", folder / "made"),
        ("rename", folder / "a.txt", str(folder / "c.txt")),
        ("chmod", folder / "a.txt", 0o777),
        ("utime", folder / "a.txt"),
        ("truncate", folder / "a.txt", 0),
        ("symlink", "/etc", str(folder / "link")),
        ("link", folder / "a.txt", str(folder / "linked")),
        ("rmdir", folder / "sub"),
        read=[folder],
    )
    assert seen[:3] == ["text", "deep", "mine"]
    assert seen[3] == ["a.txt", "private", "sub"]
    assert set(seen[4:]) <= {RO, DENIED}
    assert sorted(folder.rglob("*")) == before
    assert (folder / "a.txt").read_text() == "text"


def test_write_grant_can_be_written(lab: Lab, folder: Path) -> None:
    seen = attempts(
        lab,
        ("write", folder / "a.txt"),
        ("write", folder / "new"),
        ("mkdir", folder / "made"),
        ("rename", folder / "sub/b.txt", str(folder / "made/b.txt")),
        ("rmdir", folder / "sub"),
        ("unlink", folder / "private"),
        ("chmod", folder / "new", 0o640),
        ("truncate", folder / "a.txt", 2),
        ("symlink", "a.txt", str(folder / "link")),
        ("link", folder / "new", str(folder / "linked")),
        ("read", folder / "link"),
        write=[folder],
    )
    assert seen == ["done"] * 10 + ["ch"]
    assert (folder / "made/b.txt").read_text() == "deep"
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640
    assert not (folder / "sub").exists()


def test_files_written_belong_to_the_host_user(lab: Lab, folder: Path) -> None:
    """A host that is root would otherwise leave files of an id that nobody has."""
    seen = attempts(
        lab,
        ("write", folder / "new"),
        ("mkdir", folder / "made"),
        ("owner", folder / "a.txt"),
        ("owner", folder / "new"),
        write=[folder],
    )
    assert seen == ["done", "done", [1000, 1000], [1000, 1000]]
    for name in ("new", "made", "a.txt"):
        facts = (folder / name).stat()
        assert (facts.st_uid, facts.st_gid) == (os.geteuid(), os.getegid())


def test_tool_whose_operation_is_read_writes_nowhere(lab: Lab, folder: Path) -> None:
    """The publisher's claim is enforced, whatever was granted."""
    storage = folder / "sub"
    seen = attempts(
        lab,
        ("read", folder / "a.txt"),
        ("write", folder / "a.txt"),
        ("write", folder / "new"),
        ("read", "/storage/b.txt"),
        ("write", "/storage/new"),
        write=[folder],
        storage=1 << 20,
        storage_folder=storage,
        operation="read",
    )
    assert seen == ["text", RO, RO, "deep", RO]


def test_single_file_can_be_granted(lab: Lab, folder: Path) -> None:
    seen = attempts(
        lab,
        ("read", folder / "a.txt"),
        ("write", folder / "a.txt"),
        ("write", folder / "private"),
        ("read", folder / "private"),
        ("list", folder),
        ("read", folder / "sub/b.txt"),
        read=[folder / "a.txt"],
        write=[folder / "private"],
    )
    assert seen == ["text", RO, "done", "changed", DENIED, GONE]


def test_inner_grant_is_narrower_than_the_outer_one(lab: Lab, folder: Path) -> None:
    seen = attempts(
        lab,
        ("write", folder / "a.txt"),
        ("write", folder / "sub/b.txt"),
        read=[folder / "sub"],
        write=[folder],
    )
    assert seen == ["done", RO]
    seen = attempts(
        lab,
        ("write", folder / "a.txt"),
        ("write", folder / "sub/b.txt"),
        read=[folder],
        write=[folder / "sub"],
    )
    assert seen == [RO, "done"]


@pytest.mark.parametrize("inner", ["covers", "read"])
def test_what_lies_deeper_opens_no_read_grant_inside_a_write_grant(
    lab: Lab, folder: Path, inner: str
) -> None:
    """The folders above it are mounted on themselves, so that they cannot be renamed: read-only, here."""
    deep = folder / "sub/way/deep"
    deep.mkdir(parents=True)
    (folder / "sub/way/file").write_text("text")
    given = {"write": [folder], "read": [folder / "sub"]}
    given[inner] = [*given.get(inner, []), deep]
    seen = attempts(
        lab,
        ("write", folder / "a.txt"),
        ("write", folder / "sub/way/file"),
        ("write", folder / "sub/way/new"),
        ("rename", folder / "sub/way", str(folder / "sub/moved")),
        **given,
    )
    assert seen == ["done", RO, RO, RO]
    assert (folder / "sub/way/file").read_text() == "text"


def test_storage_outlives_the_call_and_belongs_to_the_host_user(lab: Lab, folder: Path) -> None:
    options: dict[str, Any] = {"storage": 1 << 20, "storage_folder": folder / "sub"}
    assert attempts(lab, ("write", "/storage/kept"), **options) == ["done"]
    assert attempts(lab, ("read", "/storage/kept"), ("list", folder), **options) == ["changed", GONE]
    assert (folder / "sub/kept").stat().st_uid == os.geteuid()


def test_odd_names_are_names(lab: Lab, ground: Path) -> None:
    folder = ground / "-rf * \n é 'quoted' $HOME"
    folder.mkdir()
    (folder / "--help").write_text("odd")
    seen = attempts(lab, ("read", folder / "--help"), ("write", folder / ";id"), write=[folder])
    assert seen == ["odd", "done"]
    assert (folder / ";id").exists()


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/ssl", "/etc"])
def test_grant_takes_the_place_of_what_is_synthetic(lab: Lab, path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"this host has no {path}")
    inner = path if path == "/etc/hosts" else "/etc/hosts"
    synthetic = "127.0.0.1 localhost mpp\n::1 localhost\n"
    hosts = synthetic if path == "/etc/ssl" else Path("/etc/hosts").read_text()
    assert attempts(lab, ("read", inner), read=[path]) == [hosts]


@pytest.mark.parametrize("write", [False, True])
def test_grant_in_tmp_leaves_scratch_private(lab: Lab, write: bool) -> None:
    """Where a read grant lies in /tmp, scratch is elsewhere; where a write grant does, beside it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name, "a").write_text("granted")
        code = (
            "import os, tempfile\n"
            "def run(path):\n"
            "    with tempfile.NamedTemporaryFile('w') as file:\n"
            "        file.write('x')\n"
            "    return [open(path).read(), os.getcwd() == tempfile.gettempdir() == os.environ['TMPDIR'],\n"
            "            os.path.isdir(os.environ['HOME']), os.environ['HOME'].startswith(os.getcwd())]\n"
        )
        granted: dict[str, Any] = {"write": [name]} if write else {"read": [name]}
        assert call(lab.python(code, **granted), path=f"{name}/a") == ["granted", True, True, True]
        assert [each.name for each in Path(name).iterdir()] == ["a"]


@pytest.mark.parametrize("how", ["gone", "a link", "a pipe", "a file for a folder"])
def test_granted_path_that_changed_since_stops_the_call(lab: Lab, folder: Path, how: str) -> None:
    """What was approved is what is mounted, or nothing is."""
    granted = folder / "sub"
    compiled = lab.python(ATTEMPTS, read=[granted])
    assert call(compiled, attempts=[["read", f"{granted}/b.txt"]]) == ["deep"]
    shutil.rmtree(granted)
    if how == "a link":
        granted.symlink_to("/etc")
    elif how == "a pipe":
        os.mkfifo(granted)
    elif how == "a file for a folder":
        granted.write_text("x")
    with pytest.raises(HostError) as caught:
        call(compiled, attempts=[["list", str(granted)]])
    assert str(granted) in caught.value.message


@pytest.fixture
def shared_mount() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mpp-shared-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


PROPAGATION = """
import json, os, subprocess, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import sandbox_lab

root = Path(sys.argv[1])
# No tmpfs: before Linux 6.3 it cannot be mounted with other ids, which a writable grant of root's needs.
subprocess.run(["mount", "--bind", root, root], check=True)
subprocess.run(["mount", "--make-shared", root], check=True)
(root / "packages").mkdir()
granted = root / "granted"
(granted / "hidden").mkdir(parents=True)
(granted / "hidden/key").write_text("secret")
(granted / ".git").mkdir()
before = Path("/proc/self/mountinfo").read_text()
code = '''
import fcntl
import os
def run(path):
    open(path + "/started", "w").close()
    while not os.path.exists(path + "/seen"):
        pass
    return os.listdir(path + "/hidden")
'''
compiled = sandbox_lab.Lab(root / "packages").python(code, write=[granted], covers=[granted / "hidden"])
inside = []
thread = threading.Thread(target=lambda: inside.append(sandbox_lab.call(compiled, path=str(granted))))
thread.start()
while not (granted / "started").exists() and thread.is_alive():
    pass
during = Path("/proc/self/mountinfo").read_text()
hidden = os.listdir(granted / "hidden")
subprocess.run(["mount", "-t", "tmpfs", "none", granted / ".git"], check=True)
(granted / ".git/later").touch()
(granted / "seen").touch()
thread.join()
subprocess.run(["umount", granted / ".git"], check=True)
print(json.dumps([during == before, hidden, inside, Path("/proc/self/mountinfo").read_text() == before]))
"""


def test_mounts_of_a_sandbox_never_reach_the_host(shared_mount: Path) -> None:
    """On a shared mount, as systemd makes all of them, a copy would be a peer, and covers hide host files."""
    if os.geteuid() != 0:
        pytest.skip("a host that is no root copies inside a namespace whose mounts are private already")
    seen = run_in_private_mounts(PROPAGATION, shared_mount, HERE)
    assert seen.strip() == '[true, ["key"], [[]], true]'


def test_landlock_is_not_what_makes_grants_work(lab: Lab, folder: Path) -> None:
    """Without Landlock the same is reachable: mounts and rules name the same places."""
    compiled = lab.python(ATTEMPTS, read=[folder / "sub"], write=[folder / "private"])
    tries = [
        ["read", f"{folder}/sub/b.txt"],
        ["write", f"{folder}/sub/b.txt"],
        ["write", f"{folder}/private"],
        ["read", f"{folder}/a.txt"],
        ["read", "/app/tool.py"],
    ]
    with_it, without_it = call(compiled, attempts=tries), call(without_landlock(compiled), attempts=tries)
    assert with_it == without_it
    assert with_it[:4] == ["deep", RO, "done", GONE]


def test_host_python_is_not_the_tools(lab: Lab) -> None:
    """Neither the packages of this interpreter nor its environment are inside."""
    seen = attempts(lab, ("list", sys.prefix), ("list", str(HERE)), ("list", "/usr"))
    assert seen == [GONE, GONE, GONE] or (sys.prefix == "/usr" and seen[1] == GONE)


def test_fifo_of_a_read_grant_is_read_and_not_written(lab: Lab, folder: Path) -> None:
    """The one trace that reading leaves outside (docs/threat-model.md)."""
    os.mkfifo(folder / "fifo")
    (folder / "fifo").chmod(0o666)
    ours = os.open(folder / "fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(ours, b"ours")
        code = (
            "import os\n"
            "def run(path):\n"
            "    seen = os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 9).decode()\n"
            "    try: os.open(path, os.O_WRONLY | os.O_NONBLOCK)\n"
            "    except OSError as error: return [seen, error.strerror]\n"
        )
        assert call(lab.python(code, read=[folder]), path=f"{folder}/fifo") == ["ours", DENIED]
    finally:
        os.close(ours)


def test_lock_on_a_file_of_a_read_grant_keeps_nobody_out(lab: Lab, folder: Path) -> None:
    """It is told that it has one: a lock would be a message to whoever else can open the file."""
    code = (
        "import fcntl, os\n"
        "def run(path, said, answer):\n"
        "    file = open(path)\n"
        "    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
        "    os.close(os.open(said, os.O_RDONLY))\n"  # both wait for the other end of it
        "    os.close(os.open(answer, os.O_RDONLY))\n"
        "    return 'held to the end'\n"
    )
    said, answer = folder / "said", folder / "answer"
    for fifo in (said, answer):
        os.mkfifo(fifo)
        fifo.chmod(0o666)
    taken: list[str] = []

    def outside() -> None:
        os.close(os.open(said, os.O_WRONLY))
        with (folder / "a.txt").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken.append("flock")
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken.append("lockf")
        os.close(os.open(answer, os.O_WRONLY))

    thread = threading.Thread(target=outside)
    thread.start()
    compiled = lab.python(code, read=[folder])
    seen = call(compiled, path=f"{folder}/a.txt", said=str(said), answer=str(answer))
    thread.join()
    assert (seen, taken) == ("held to the end", ["flock", "lockf"])
