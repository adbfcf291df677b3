"""Landlock really confines the thread that `run_confined` starts, and only that thread."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import landlock
import pytest

from mpp_exec.confined import landlock_abi, run_confined
from mpp_exec.errors import HostError, InternalError
from needs import missing


@pytest.fixture(autouse=True)
def _enforced() -> None:
    if landlock_abi() == 0:
        missing("this kernel offers no Landlock")


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the granted one, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    (folder / "sub").mkdir()
    return folder


def attacks(inside: Path, outside: Path) -> dict[str, Callable[[], object]]:
    """Every way in which a bug of a reader could touch something outside its folder."""
    return {
        "create": lambda: (outside / "new").write_text("x"),
        "create through dotdot": lambda: (inside / ".." / "outside" / "new").write_text("x"),
        "create through a link": lambda: (inside / "link" / "new").write_text("x"),
        "overwrite": lambda: (outside / "precious").write_text("x"),
        "append": lambda: (outside / "precious").open("ab").close(),
        "truncate": lambda: os.truncate(outside / "precious", 0),
        "unlink": (outside / "precious").unlink,
        "mkdir": (outside / "made").mkdir,
        "rmdir": (outside / "sub").rmdir,
        "rename out": lambda: (inside / "mine").rename(outside / "mine"),
        "rename in": lambda: (outside / "precious").rename(inside / "taken"),
        "hard link in": lambda: os.link(outside / "precious", inside / "linked"),
        "symlink inside": lambda: (inside / "sym").symlink_to("/etc/passwd"),
        "fifo inside": lambda: os.mkfifo(inside / "fifo"),
        "socket inside": lambda: bind_socket(inside / "socket"),
        "read": (outside / "precious").read_text,
        "list": lambda: list(outside.iterdir()),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
    }


def bind_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


ATTACKS = sorted(attacks(Path("x"), Path("y")))


def prepare(inside: Path, outside: Path) -> None:
    (inside / "link").symlink_to(outside)
    (inside / "mine").write_text("mine")


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_succeeds_unconfined(name: str, inside: Path, outside: Path) -> None:
    """Each attack is a real one: without confinement it goes through."""
    prepare(inside, outside)
    attacks(inside, outside)[name]()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused_confined(name: str, inside: Path, outside: Path) -> None:
    prepare(inside, outside)
    before = {path.name for path in outside.iterdir()}
    with pytest.raises(OSError, match=r"denied|cross-device") as caught:
        run_confined(attacks(inside, outside)[name], write=[inside])
    assert caught.value.errno in (errno.EACCES, errno.EXDEV)
    assert {path.name for path in outside.iterdir()} == before
    assert (outside / "precious").read_text() == "precious"


def test_work_inside_goes_through(inside: Path, outside: Path) -> None:
    def work() -> str:
        (inside / "folder" / "deep").mkdir(parents=True)
        (inside / "folder" / "deep" / "file").write_text("one")
        (inside / "folder" / "deep" / "file").rename(inside / "folder" / "deep" / "renamed")
        text = (inside / "folder" / "deep" / "renamed").read_text()
        (inside / "folder" / "deep" / "renamed").unlink()
        (inside / "folder" / "deep").rmdir()
        return text + (outside / "precious").read_text()

    result = run_confined(work, read=[outside], write=[inside])
    assert result == "oneprecious"


def test_read_does_not_permit_writing(inside: Path) -> None:
    with pytest.raises(PermissionError):
        run_confined(lambda: (inside / "new").write_text("x"), read=[inside])


def test_single_files_can_be_named(outside: Path) -> None:
    """A rule on a file takes file rights only; naming one opens it and nothing beside it."""
    (outside / "other").write_text("other")
    assert run_confined((outside / "precious").read_text, read=[outside / "precious"]) == "precious"
    run_confined(lambda: (outside / "precious").write_text("new"), write=[outside / "precious"])
    assert (outside / "precious").read_text() == "new"
    with pytest.raises(PermissionError):
        run_confined((outside / "other").read_text, read=[outside / "precious"])


def test_open_descriptor_stays_usable(outside: Path, inside: Path) -> None:
    with (outside / "precious").open() as stream:
        assert run_confined(stream.read, write=[inside]) == "precious"


def test_caller_and_its_threads_stay_free(outside: Path, inside: Path) -> None:
    """Only the short-lived thread is confined, and no_new_privs stays off in the caller."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    get_no_new_privs = 39  # PR_GET_NO_NEW_PRIVS, <linux/prctl.h>
    before = prctl(get_no_new_privs, 0, 0, 0, 0)
    inner = run_confined(lambda: prctl(get_no_new_privs, 0, 0, 0, 0), write=[inside])
    assert inner == 1
    assert prctl(get_no_new_privs, 0, 0, 0, 0) == before
    (outside / "new").write_text("x")
    other: list[bool] = []
    thread = threading.Thread(target=lambda: other.append((outside / "new").exists()))
    thread.start()
    thread.join()
    assert other == [True]


def test_thread_started_by_the_work_is_confined_too(outside: Path, inside: Path) -> None:
    errors: list[BaseException] = []

    def attack() -> None:
        try:
            (outside / "new").write_text("x")
        except OSError as error:
            errors.append(error)

    def work() -> None:
        thread = threading.Thread(target=attack)
        thread.start()
        thread.join()

    run_confined(work, write=[inside])
    assert isinstance(errors[0], PermissionError)
    assert not (outside / "new").exists()


def test_no_descriptor_and_no_thread_stays_behind(inside: Path) -> None:
    run_confined(lambda: None, write=[inside])
    descriptors, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(50):
        run_confined(lambda: None, write=[inside])
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert threading.active_count() == threads


def test_exception_of_the_work_reaches_the_caller(inside: Path) -> None:
    def work() -> None:
        raise KeyError("from inside")

    with pytest.raises(KeyError, match="from inside"):
        run_confined(work, write=[inside])


def test_missing_path_refuses_the_work(inside: Path) -> None:
    """A path that is not there never means that the others are enforced and this one forgotten."""
    called: list[int] = []
    with pytest.raises(InternalError) as caught:
        run_confined(lambda: called.append(1), write=[inside, inside / "absent"])
    assert caught.value.code == "confined.path"
    assert called == []


def test_stale_errno_does_not_disturb(inside: Path, outside: Path) -> None:
    """The library mistakes a stale errno for a failure; the wrapper does not let it."""
    landlock.plumbing.landlock_abi_version.cache_clear()
    ctypes.set_errno(errno.EIO)
    with pytest.raises(PermissionError):
        run_confined((outside / "precious").read_text, write=[inside])


@pytest.mark.parametrize("sabotage", ["apply", "allow"])
def test_library_that_does_nothing_is_found_out(
    sabotage: str, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enforcement is found out by trying, so a library that fails or silently does nothing is noticed."""

    def fail(*_: Any, **__: Any) -> None:
        if sabotage == "allow":
            raise landlock.SyscallError(errno.EINVAL, "no rule")

    monkeypatch.setattr(landlock.Ruleset, sabotage, fail)
    called: list[int] = []
    with pytest.raises(InternalError) as caught:
        run_confined(lambda: called.append(1), write=[inside])
    assert caught.value.code == ("confined.ineffective" if sabotage == "apply" else "confined.setup")
    assert called == []


def test_kernel_without_landlock_confines_nothing_that_has_to_be(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSYS, what a kernel before 5.13 answers: only work that can do without is called."""

    def probe() -> int:
        ctypes.set_errno(errno.ENOSYS)
        raise landlock.SyscallError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(landlock, "landlock_abi_version", probe)
    called: list[int] = []
    with pytest.raises(HostError) as caught:
        run_confined(lambda: called.append(1), write=[inside])
    assert caught.value.code == "host.no_landlock"
    assert called == []
    assert run_confined(lambda: 5, write=[inside], required=False) == 5


def test_unexpected_answer_of_the_kernel_is_no_absence(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe() -> int:
        ctypes.set_errno(errno.EFAULT)
        raise ValueError("invalid literal for int(): '1+'")

    monkeypatch.setattr(landlock, "landlock_abi_version", probe)
    with pytest.raises(InternalError) as caught:
        run_confined(lambda: 5, write=[inside])
    assert caught.value.code == "confined.probe"


def test_interruption_waits_for_the_work(inside: Path) -> None:
    """Ctrl-C sets the cancel event, and the caller gets it only after the work has stopped writing."""
    program = f"""
import os, signal, threading
from pathlib import Path
from mpp_exec.confined import run_confined
cancel = threading.Event()
def work():
    os.kill(os.getpid(), signal.SIGINT)
    assert cancel.wait(20)
    Path({str(inside)!r}, "last").write_text("x")
try:
    run_confined(work, write=[{str(inside)!r}], cancel=cancel)
except KeyboardInterrupt:
    assert Path({str(inside)!r}, "last").exists()
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "interrupted\n"


def test_interruption_at_any_moment_leaves_no_work_behind(inside: Path) -> None:
    """Wherever the interruption falls, the work has either ended or will never begin."""
    program = f"""
import os, random, signal, time
from mpp_exec.confined import landlock_abi, run_confined
landlock_abi()  # a class that is interrupted while it is made is another error: RuntimeError
running, ends, interrupted = 0, 0, 0
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
def work():
    global running, ends
    running += 1
    time.sleep(0.001)
    running -= 1
    ends += 1
chance = random.Random(5)
for _ in range(400):
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00002, 0.002))
        try:
            run_confined(work, write=[{str(inside)!r}])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    assert running == 0, "the work goes on"
# Counted by the kernel: an interrupted Thread.start can leave an entry in Python's own list.
deadline = time.monotonic() + 10
while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < deadline:
    time.sleep(0.001)
assert len(os.listdir("/proc/self/task")) == 1
print(interrupted > 20, ends > 20)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
