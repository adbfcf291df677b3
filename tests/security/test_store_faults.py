"""Whatever breaks, and whenever: the state before stays, or the state after is complete."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import forge
from mpp_exec.errors import MppError
from mpp_exec.package.archive import open_package
from mpp_exec.registry import folders
from mpp_exec.registry import store as store_module
from mpp_exec.registry.folders import Workspace, retire, sweep
from mpp_exec.registry.store import Store
from mpp_exec.trust.installed import verify_installed
from mpp_exec.trust.verify import verify
from private_mounts import run_in_private_mounts
from store_samples import grant_of, install, open_store

NAME = "acme/echo"
HELPERS = str(Path(__file__).parent.parent)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    folder.mkdir()
    return folder


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check_whole(store: Store) -> None:
    """Assert that every row has its folder, complete, and nothing else is there."""
    connection = sqlite3.connect(store.home.state)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    installed = store.installed()
    assert listed(store.home.packages) == sorted(each.digest[7:] for each in installed)
    assert listed(store.home.tmp) == []
    for each in installed:
        folder = os.open(store.home.package_folder(each.digest), os.O_RDONLY)
        try:
            verify_installed(
                folder,
                each.digest,
                store.trust_view(),
                now=forge.NOW,
                platform=forge.PLATFORM,
                known_fingerprint=None,
            )
        finally:
            os.close(folder)


CHURN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import grant_of, install, open_store
home, packages, seed = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
files = {f"data/{n}": bytes([n]) * 3000 for n in range(3)} | {"echo.py": b"def echo(text): ..."}
store = open_store(home)
print("ready", flush=True)
step = 0
while True:
    step += 1
    version = f"{seed}.{step}.0"
    found = install(store, packages, files=files, version=version)
    store.approve(grant_of(found, version=version))
    if step % 3 == 0:
        install(store, packages, files=files, version=version)
    if step % 4 == 0:
        store.uninstall("acme/echo")
    print(step, flush=True)
"""


def test_killed_at_any_moment_the_home_is_whole(tmp_path: Path, packages: Path) -> None:
    """SIGKILL at random moments of installing, approving, replacing and removing, fifteen times over."""
    home = tmp_path / "home"
    chance = random.Random(20261123)
    steps = 0
    longest = 0.3  # seconds; more where the machine is too busy to get anything done in that time
    for round_ in range(15):
        command = [sys.executable, "-c", CHURN, HELPERS, str(home), str(packages), str(round_ + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline() != "ready\n":
                pytest.fail(process.stderr.read())
            try:
                process.wait(chance.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            output, errors = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL, errors
            steps += len(output.split())
            longest *= 1 if steps > 2 * round_ else 1.3
        with open_store(home) as store:
            check_whole(store)
    assert steps > 5, "the killed processes did get something done"


EVERY_STEP = """
import os, signal, shutil, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import forge
from store_samples import NOW, grant_of, install, open_store, verified
base, packages, scenario = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
STEPS = {
    "execute", "mkdir", "rename", "renameat2", "fsync", "write", "flock", "fchmod", "chmod", "open",
    "rmdir", "unlink", "link",
}
with open_store(base / "prepared") as store:
    old = install(store, packages)
    store.approve(grant_of(old))

def change(home, packages):
    with open_store(home) as store:
        if scenario == "update":
            install(store, packages, version="2.0.0")
        elif scenario == "same":
            install(store, packages)
        elif scenario == "uninstall":
            store.uninstall("acme/echo")
        else:
            store.approve(grant_of(old))

def child(home, packages, step):
    left = [step]
    def hook(frame, event, argument):
        if event == "c_call" and getattr(argument, "__name__", "") in STEPS:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    threading.setprofile(hook)
    sys.setprofile(hook)
    change(home, packages)
    sys.setprofile(None)
    os._exit(0)

from test_store_faults import check_whole
step, states = 0, []
while True:
    home, built = base / "home", base / "scratch"
    for folder in (home, built):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base / "prepared", home)
    built.mkdir()
    pid = os.fork()
    if pid == 0:
        try:
            child(home, built, step)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), (step, status)
    with open_store(home) as store:
        check_whole(store)
        found = [each.version for each in store.installed()]
        granted = store.grant("acme/echo") is not None
        states.append((*found, granted))
    if status == 0:
        break
    step += 1
print(step, states[0], states[-1], set(states) == {states[0], states[-1]})
changes = sum(one != other for one, other in zip(states, states[1:]))
print(changes)
"""


@pytest.mark.parametrize(
    ("scenario", "before", "after"),
    [
        ("update", ("1.0.0", True), ("2.0.0", True)),
        ("same", ("1.0.0", True), ("1.0.0", True)),
        ("uninstall", ("1.0.0", True), (False,)),
        ("approve", ("1.0.0", True), ("1.0.0", True)),
    ],
)
def test_killed_at_every_single_step_the_home_is_whole(
    scenario: str, before: tuple[object, ...], after: tuple[object, ...], tmp_path: Path, packages: Path
) -> None:
    """SIGKILL before each system call and each statement: there are two states, and one change."""
    environ = {**os.environ, "PYTHONPATH": f"{HELPERS}:{Path(__file__).parent}"}
    command = [sys.executable, "-c", EVERY_STEP, HELPERS, str(tmp_path), str(packages), scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environ)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert int(first.split()[0]) > 10
    assert first.split(" ", 1)[1] == f"{before} {after} True"
    assert int(second) == (before != after)


def test_many_installers_and_repairers_at_once(tmp_path: Path, packages: Path) -> None:
    """Repair never takes away what another process is just making."""
    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import install, open_store
home, packages, number = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
packages = packages / str(number)
packages.mkdir()
for step in range(1, 13):
    with open_store(home) as store:
        found = install(store, packages, name=f"acme/p{number % 3}-{number}", version=f"1.{step}.0")
        with store.leased(found) as folder:
            assert sorted(__import__("os").listdir(folder)) == ["files", "manifest.cose"]
        if step % 5 == 0:
            store.uninstall(found.name)
"""
    command = [sys.executable, "-W", "error", "-c", program, HELPERS, str(tmp_path / "home"), str(packages)]
    running = [
        subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE, text=True) for number in range(6)
    ]
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    with open_store(tmp_path / "home") as store:
        assert len(store.installed()) == 6
        check_whole(store)


def test_same_package_installed_by_many_at_once(tmp_path: Path, packages: Path) -> None:
    """All of them exchange the same folder; one whole package remains."""
    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import install, open_store
home, packages = Path(sys.argv[2]), Path(sys.argv[3]) / sys.argv[4]
packages.mkdir()
for step in range(10):
    with open_store(home) as store:
        install(store, packages)
        if step % 4 == 3:
            try:
                store.uninstall("acme/echo")
            except Exception as error:
                assert error.code == "store.not_installed", error
"""
    command = [sys.executable, "-W", "error", "-c", program, HELPERS, str(tmp_path / "home"), str(packages)]
    running = [
        subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE, text=True) for number in range(5)
    ]
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    with open_store(tmp_path / "home") as store:
        check_whole(store)


FULL = """
import ctypes, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
base = Path(sys.argv[2]) / "small"
base.mkdir()
if libc.mount(b"none", bytes(base), b"tmpfs", 0, b"size=%d,mode=700" % (int(sys.argv[3]) * 1024)):
    raise OSError(ctypes.get_errno(), "mount")
from store_samples import grant_of, install, open_store
from mpp_exec.errors import MppError
packages = Path(sys.argv[2]) / "built"
"""


@pytest.mark.usefixtures("packages")
def test_full_disk_while_unpacking(tmp_path: Path) -> None:
    """The package does not fit: an error with a code, the old version still there and whole."""
    program = """
store = open_store(base / "home")
first = install(store, packages)
store.approve(grant_of(first))
try:
    install(store, packages, version="2.0.0", files={"echo.py": b"", "big": bytes(3_000_000)})
except MppError as error:
    print(error.code, bool(error.hint))
print(store.approved("acme/echo").installed == first)
print(os.listdir(store.home.tmp), len(os.listdir(store.home.packages)))
store.close()
"""
    out = run_in_private_mounts(FULL + program, HELPERS, tmp_path, 1500).splitlines()
    assert out == ["package.io True", "True", "[] 1"]


@pytest.mark.usefixtures("packages")
def test_full_disk_while_writing_the_database(tmp_path: Path) -> None:
    """Filled to the last block: nothing changes, what is there can be read, and freed it goes on."""
    program = """
store = open_store(base / "home")
first = install(store, packages)
store.approve(grant_of(first))
filler = base / "filler"
with filler.open("wb", buffering=0) as stream:
    try:
        while True:
            stream.write(bytes(4096))
    except OSError:
        pass
codes = set()
for _ in range(300):
    try:
        store.approve(grant_of(first))
    except MppError as error:
        codes.add(error.code)
        break
print(codes)
print(store.approved("acme/echo").installed == first)
try:
    store.revoke("acme/echo")
    print("revoked")
except MppError as error:
    print(error.code, store.grant("acme/echo") is not None)
filler.unlink()
print(store.revoke("acme/echo"), store.grant("acme/echo"))
store.close()
"""
    out = run_in_private_mounts(FULL + program, HELPERS, tmp_path, 1500).splitlines()
    assert out == ["{'store.full'}", "True", "store.full True", "True None"]


def test_full_disk_while_making_a_home(tmp_path: Path) -> None:
    program = """
with (base / "filler").open("wb", buffering=0) as stream:
    try:
        while True:
            stream.write(bytes(4096))
    except OSError:
        pass
try:
    open_store(base / "home")
except MppError as error:
    print(error.code)
(base / "filler").unlink()
with open_store(base / "home") as store:
    print(store.installed())
"""
    out = run_in_private_mounts(FULL + program, HELPERS, tmp_path, 400).splitlines()
    assert out[0] in ("store.full", "store.io", "key.io", "store.cannot_open")
    assert out[1] == "[]"


@pytest.mark.usefixtures("packages")
def test_read_only_home(tmp_path: Path) -> None:
    program = """
store = open_store(base / "home")
first = install(store, packages)
store.approve(grant_of(first))
store.close()
if libc.mount(b"none", bytes(base), None, 32 | 1, None):
    raise OSError(ctypes.get_errno(), "remount")
try:
    with open_store(base / "home") as store:
        print("opened")
        store.revoke("acme/echo")
except MppError as error:
    print(error.code, bool(error.hint))
if libc.mount(b"none", bytes(base), None, 32, None):
    raise OSError(ctypes.get_errno(), "remount")
with open_store(base / "home") as store:
    print(store.approved("acme/echo").installed == first)
"""
    out = run_in_private_mounts(FULL + program, HELPERS, tmp_path, 3000).splitlines()
    assert out[-2] in ("store.read_only True", "store.cannot_open True")
    assert out[-1] == "True"


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """Leave this process room for *more* descriptors."""
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir() if path.name.isdigit())
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    holders = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1 + more, old[1]))
    try:
        # Fill the gaps below, so that exactly *more* are left.
        while True:
            descriptor = os.open("/", os.O_PATH | os.O_CLOEXEC)
            holders.append(descriptor)
    except OSError:
        for descriptor in holders[-more:] if more else []:
            os.close(descriptor)
        holders = holders[: len(holders) - more]
        yield
    finally:
        for descriptor in holders:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


STARVED = (
    "store.descriptors",
    "store.cannot_open",
    "package.io",
    "confined.setup",
    "confined.path",
    "confined.ineffective",
)


@pytest.mark.parametrize("more", range(12))
def test_out_of_descriptors(tmp_path: Path, packages: Path, more: int) -> None:
    """With ever so few descriptors left, an installation fails with a code or succeeds; never in between."""
    with open_store(tmp_path / "home") as store:
        first = install(store, packages)
        view = store.trust_view()
        path = packages / "second.mpp"
        path.write_bytes(forge.package(version="2.0.0"))
        with open_package(path) as opened:
            package = verify(opened, view, now=forge.NOW, platform=forge.PLATFORM)
            with few_descriptors(more):
                try:
                    store.install(package, now=forge.NOW)
                    failed = ""
                except MppError as error:
                    failed = error.code
        assert failed in ("", *STARVED)
        store.repair()
        assert (store.installed() == [first]) == bool(failed)
        check_whole(store)


# Folders


def test_a_change_whose_remains_cannot_be_removed_is_made_all_the_same(
    tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told that it failed would believe that the package is still what it was, or still there."""

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_store(tmp_path / "home") as store:
        install(store, packages)
        monkeypatch.setattr(store_module, "sweep", fail)
        assert install(store, packages, version="2.0.0").version == "2.0.0"
        assert store.uninstall(NAME).version == "2.0.0"
        assert store.installed() == []
        monkeypatch.undo()
        store.repair()
        check_whole(store)


def test_repair_removes_what_a_crash_left(tmp_path: Path, packages: Path) -> None:
    with open_store(tmp_path / "home") as store:
        found = install(store, packages)
        (store.home.tmp / "half").mkdir()
        (store.home.tmp / "half" / "file").write_text("x")
        (store.home.tmp / "stray").write_text("x")
        (store.home.tmp / "link").symlink_to(tmp_path)
        orphan = store.home.packages / ("ab" * 32)
        orphan.mkdir()
        (store.home.packages / "odd name").write_text("x")
        (store.home.storage / "gone" / "package").mkdir(parents=True)
    with open_store(tmp_path / "home") as store:
        check_whole(store)
        assert store.installed() == [found]
        assert listed(store.home.storage / "gone") == []
    assert packages.exists()


def test_repair_follows_no_link(tmp_path: Path) -> None:
    """A link left in tmp/ or storage/ is removed, not what it points to."""
    precious = tmp_path / "precious"
    (precious / "inside").mkdir(parents=True)
    (precious / "inside" / "file").write_text("precious")
    with open_store(tmp_path / "home") as store:
        (store.home.tmp / "a").symlink_to(precious)
        (store.home.tmp / "b").mkdir()
        (store.home.tmp / "b" / "link").symlink_to(precious)
        (store.home.storage / "acme").mkdir()
        (store.home.storage / "acme" / "csv").symlink_to(precious)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"/proc/self/fd/{(fd := os.open(store.home.tmp, os.O_PATH))}/sock")
            os.close(fd)
        store.repair()
        assert listed(store.home.tmp) == []
    assert (precious / "inside" / "file").read_text() == "precious"


def test_sweeping_leaves_what_is_being_made(tmp_path: Path) -> None:
    with Workspace(tmp_path) as work:
        sweep(tmp_path)
        assert len(listed(tmp_path)) == 1
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=work.descriptor))
        assert work.publish(tmp_path / "target") is False
    assert listed(tmp_path) == ["target"]
    assert listed(tmp_path / "target") == ["file"]


def test_folder_swept_before_it_was_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sweeper removed between opening and locking is locked well, and is nowhere."""
    honest = folders._try_lock
    swept: list[str] = []

    def sweep_first(descriptor: int, kind: int) -> bool:
        if not swept:
            (entry,) = tmp_path.iterdir()
            swept.append(entry.name)
            entry.rmdir()
        return honest(descriptor, kind)

    monkeypatch.setattr(folders, "_try_lock", sweep_first)
    with Workspace(tmp_path):
        assert len(listed(tmp_path)) == 1
        assert listed(tmp_path) != swept


def test_workspace_is_removed_unless_published(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Workspace(tmp_path):
        raise KeyError
    assert listed(tmp_path) == []


def test_publishing_replaces_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("x")
    missing: list[bool] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            missing.append(not (tmp_path / "target").is_dir())

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(200):
        with Workspace(tmp_path / "tmp") as work:
            assert work.publish(tmp_path / "target") is True
    stop.set()
    thread.join()
    assert not any(missing)
    assert listed(tmp_path / "tmp") == listed(tmp_path / "target") == []


def test_unpublishing_touches_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with Workspace(tmp_path / "tmp") as work:
        work.publish(tmp_path / "target")
        retire(tmp_path / "target", tmp_path / "tmp")
        (tmp_path / "target").mkdir()
        with pytest.raises(FileNotFoundError):
            work.unpublish(tmp_path / "target")
    assert (tmp_path / "target").is_dir()


def test_sweepers_and_makers_never_collide(tmp_path: Path) -> None:
    """A maker whose folder is swept before it is locked makes another one."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def sweeper() -> None:
        while not stop.is_set():
            try:
                sweep(tmp_path)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

    threads = [threading.Thread(target=sweeper) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        with Workspace(tmp_path) as work:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=work.descriptor))
            assert os.stat("file", dir_fd=work.descriptor).st_nlink == 1
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert listed(tmp_path) == []


def test_grant_survives_a_crash_between_two_commits(tmp_path: Path, packages: Path) -> None:
    """A commit that was reported is on disk, also when the process ends without a word."""
    with open_store(tmp_path / "home") as store:
        found = install(store, packages)
    program = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store_samples import grant_of, open_store
store = open_store(Path(sys.argv[2]))
store.approve(grant_of(store.package("acme/echo")))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, HELPERS, str(tmp_path / "home")], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with open_store(tmp_path / "home") as store:
        assert store.approved(NAME).grant == grant_of(found)
