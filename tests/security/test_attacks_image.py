"""Attacks on the image of a package: what would make a call run something else than what was signed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec import ConsentError, InternalError, PackageError, UsageError
from mpp_exec.calls import verifier as verifier_module
from mpp_exec.calls.images import FILES_LEAST
from mpp_exec.sandbox import shelf as shelf_module
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.native import ffi, lib
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.pool import Pool
from stage import NAME, Stage

GOOD = "def run(**given):\n    return 'as signed'\n"
BAD = "def run(**given):\n    return 'CHANGED !'\n"
NAMES = ("manifest.cose", "files", "files/inner", "files/inner/text")
MANY = {f"data/{number}.txt": b"x" * number for number in range(FILES_LEAST)}
WRITES = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
def run(**given):
    done = []
    def attempt(name, work):
        try:
            work()
        except (OSError, ValueError, PermissionError) as error:
            return
        done.append(name)
    here = os.open("/app", os.O_RDONLY | os.O_DIRECTORY)
    code = os.open("/app/code.py", os.O_RDONLY)
    def again(flags):
        os.close(os.open("code.py", flags, dir_fd=here))
    def mapped():
        with mmap.mmap(code, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
            memory[0] = 35
    def protected():
        libc.mmap.restype = ctypes.c_void_p
        at = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, code, 0)
        if libc.mprotect(ctypes.c_void_p(at), 4096, mmap.PROT_READ | mmap.PROT_WRITE):
            raise OSError
    attempt("open to write", lambda: again(os.O_WRONLY))
    attempt("open to append", lambda: again(os.O_RDWR | os.O_APPEND))
    attempt("truncate as it is opened", lambda: again(os.O_RDONLY | os.O_TRUNC))
    attempt("truncate", lambda: os.truncate("/app/code.py", 0))
    attempt("through its own descriptor", lambda: os.open(f"/proc/self/fd/{code}", os.O_RDWR))
    attempt("write to what is open", lambda: os.write(code, b"#"))
    attempt("make", lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    attempt("make a folder", lambda: os.mkdir("folder", dir_fd=here))
    attempt("unlink", lambda: os.unlink("/app/data/1.txt"))
    attempt("rename", lambda: os.rename("/app/data/1.txt", "/app/data/one"))
    attempt("link", lambda: os.link("/app/data/1.txt", "/app/data/one"))
    attempt("symlink", lambda: os.symlink("/etc", "/app/one"))
    attempt("fchmod", lambda: os.fchmod(code, 0o777))
    attempt("utime", lambda: os.utime(code))
    attempt("setxattr", lambda: os.setxattr(code, "user.x", b"x"))
    attempt("map to write", mapped)
    attempt("make a mapping writable", protected)
    attempt("fallocate", lambda: os.posix_fallocate(code, 0, 1 << 20))
    return {"done": done, "device": os.fstat(here).st_dev}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """The folder of a package, nothing of it signed."""
    (tmp_path / "files" / "inner").mkdir(parents=True)
    (tmp_path / "files" / "inner" / "text").write_text("as copied")
    (tmp_path / "manifest.cose").write_text("not signed")
    folder = os.open(tmp_path, os.O_RDONLY)
    yield folder
    os.close(folder)


def descriptors() -> list[str]:
    """The numbers that are open, in order, without the one that this takes."""
    return sorted((path.name for path in Path("/proc/self/fd").iterdir() if path.exists()), key=int)


def copied_text(image: Image, name: str) -> str:
    return Path(f"/proc/self/fd/{image.folder}/{name}").read_text()


def image_of(stage: Stage) -> Image | None:
    return stage.runtime._open().verifier.images.of(stage.runtime.store.package(NAME).digest)


def ready(stage: Stage) -> list[Parked]:
    made = stage.runtime._open().sandboxes
    return [parked for shelf in list(made._stock.shelves.values()) for parked in list(shelf.ready)]


def waits_in_image(stage: Stage) -> bool:
    return image_of(stage) is not None and any(parked.image is not None for parked in ready(stage))


def call(stage: Stage) -> Any:
    result = stage.runtime.call(NAME)
    structured = result.structured
    assert isinstance(structured, dict), (result.outcome, result.reason)
    return structured.get("result", structured)


def warm(stage: Stage, source: str = GOOD) -> None:
    """Call until the next call runs the image."""
    stage.python(source, files=MANY)
    images = stage.runtime._open().verifier.images
    call(stage)
    for _ in range(6):
        call(stage)
        assert until(lambda: ready(stage))
        until(lambda: image_of(stage) is not None, 1)
        assert until(lambda: images._making is None)
        if waits_in_image(stage):
            return
    raise AssertionError(f"no sandbox has been made of an image: {images._failed}")


def change(stage: Stage, text: str = BAD) -> None:
    code = next(stage.home.glob("packages/*/files/code.py"))
    code.write_text(text)


def refusals(stage: Stage) -> list[str]:
    return [entry.content["code"] for entry in stage.runtime.ledger.list(limit=20) if entry.kind == "refused"]


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "started"])
def test_a_tool_writes_to_the_image_that_it_runs_from(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, copied: bool
) -> None:
    monkeypatch.setattr(shelf_module, "_WITHOUT_COPIES", 0.0)
    if not copied:
        monkeypatch.setattr(shelf_module, "can_be_copied", lambda _: False)
    warm(stage, WRITES)
    image = image_of(stage)
    assert image is not None
    for _ in range(6):  # a template that was slow to start is given up, and another one made
        if ready(stage)[-1].is_copied is copied:
            break
        call(stage)
        assert until(lambda: ready(stage))
    assert ready(stage)[-1].is_copied is copied
    assert call(stage) == {"done": [], "device": os.fstat(image.folder).st_dev}
    assert copied_text(image, "files/code.py") == WRITES


WRITING: dict[str, Callable[[int], object]] = {
    "open it to write": lambda root: os.open("files/inner/text", os.O_RDWR, dir_fd=root),
    "through proc": lambda root: os.open(f"/proc/self/fd/{root}/files/inner/text", os.O_WRONLY),
    "make a file": lambda root: os.open("files/new", os.O_CREAT | os.O_WRONLY, dir_fd=root),
    "remove a file": lambda root: os.unlink("files/inner/text", dir_fd=root),
    "put another in its place": lambda root: os.rename("manifest.cose", "files/inner/text",
                                                       src_dir_fd=root, dst_dir_fd=root),
    "change its mode": lambda root: os.chmod("files/inner/text", 0o777, dir_fd=root),
    "change its time": lambda root: os.utime("files/inner/text", dir_fd=root),
}  # fmt: skip


@pytest.mark.parametrize("way", WRITING)
def test_the_host_itself_writes_to_a_sealed_image(source: int, way: str) -> None:
    """Whoever has a descriptor of the image, and the rights of its owner."""
    image = Image(source, NAMES, 1 << 16)
    with pytest.raises(OSError, match="Read-only file system"):
        WRITING[way](image.folder)


def test_an_image_is_sealed_while_somebody_can_still_write_to_it(source: int) -> None:
    slot = ffi.gc(ffi.new("struct mpp_image **"), lib.mpp_image_close)
    assert lib.mpp_image_make(1 << 20, 64, slot) == 0
    names = ffi.from_buffer("char[]", b"\0".join(os.fsencode(name) for name in NAMES) + b"\0")
    assert lib.mpp_image_fill(slot[0], source, names, len(NAMES)) == 0
    tree = ffi.new("int *")
    assert lib.mpp_image_tree(slot[0], 0, tree) != 0, "it is not sealed"
    writer = os.open("files/inner/text", os.O_WRONLY, dir_fd=lib.mpp_image_folder(slot[0]))
    assert lib.mpp_image_seal(slot[0]) != 0
    assert lib.mpp_image_tree(slot[0], 0, tree) != 0
    os.close(writer)
    assert lib.mpp_image_seal(slot[0]) == 0


def test_a_file_is_swapped_while_it_is_copied(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one for the copy, and the right one back in its place before anybody looks."""
    tried: list[str] = []
    turn = threading.Lock()  # no call reads the installed files meanwhile

    def swapped(folder: int, names: list[str], size: int) -> Image:
        with turn, os.fdopen(os.open("files/code.py", os.O_RDWR, dir_fd=folder), "wb") as file:
            os.pwrite(file.fileno(), BAD.encode(), 0)
            image = Image(folder, names, size)
            os.pwrite(file.fileno(), GOOD.encode(), 0)
        tried.append(copied_text(image, "files/code.py"))
        return image

    monkeypatch.setattr(verifier_module, "Image", swapped)
    stage.python(GOOD, files=MANY)
    images = stage.runtime._open().verifier.images

    def calls() -> bool:
        with contextlib.suppress(PackageError), turn:  # seen by a look at that moment
            assert call(stage) == "as signed"
        return bool(tried)

    assert until(calls)
    assert tried == [BAD]
    assert until(lambda: images._making is None)
    assert image_of(stage) is None
    assert call(stage) == "as signed"


def test_a_file_is_changed_after_it_was_copied(stage: Stage) -> None:
    """It never runs; and it is refused and on record once another sandbox is begun."""
    warm(stage)
    change(stage)
    said = []

    def until_refused() -> None:
        for _ in range(3):
            said.append(call(stage))
            until(lambda: image_of(stage) is None, 5)

    with pytest.raises(PackageError) as caught:
        until_refused()
    assert caught.value.code == "package.digest_mismatch"
    assert said in ([], ["as signed"])
    assert image_of(stage) is None, "none of those that wait serves a call any more"
    assert refusals(stage) == ["package.digest_mismatch"]


def test_a_changed_package_is_called_when_nothing_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call relied on its image, and gets the installed files after all."""
    warm(stage)
    monkeypatch.setattr(Pool, "_take", lambda *_: None)
    monkeypatch.setattr(Pool, "_copied", lambda *_: None)
    change(stage)
    with pytest.raises(PackageError) as caught:
        call(stage)
    assert caught.value.code == "package.digest_mismatch"
    assert refusals(stage) == ["package.digest_mismatch"]


def test_a_sandbox_of_an_image_dies_and_the_installed_files_are_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made in its place would have these."""
    warm(stage)
    release = Parked.call

    def dies(self: Parked, *given: Any, **named: Any) -> Any:
        change(stage)
        self.kill()
        return release(self, *given, **named)

    monkeypatch.setattr(Parked, "call", dies)
    with pytest.raises(PackageError) as caught:
        call(stage)
    assert caught.value.code == "package.digest_mismatch"


@pytest.mark.parametrize("what", ["revoke", "uninstall"])
def test_a_package_is_withdrawn_and_its_image_stands(stage: Stage, what: str) -> None:
    warm(stage)
    package = stage.runtime.store.package(NAME)
    getattr(stage.runtime.store, what)(NAME)
    with pytest.raises((ConsentError, UsageError)):
        stage.runtime.call(NAME)
    assert until(lambda: stage.runtime._open().verifier.images.of(package.digest) is None)


LYING: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a descriptor": lambda path: path.symlink_to("/proc/self/fd/0"),
    "a FIFO that nobody writes to": os.mkfifo,
}


@pytest.mark.parametrize("what", LYING)
def test_something_else_lies_where_a_file_was(source: int, tmp_path: Path, what: str) -> None:
    """It is not followed, waited for or copied."""
    text = tmp_path / "files" / "inner" / "text"
    text.unlink()
    LYING[what](text)
    before = descriptors()
    with pytest.raises(InternalError, match="could not be filled"):
        Image(source, (*NAMES, "files/inner/text/below"), 1 << 16)
    assert descriptors() == before


@pytest.mark.parametrize("name", ["../outside", "files/../../outside"])
def test_a_name_leads_out_of_the_package(tmp_path: Path, name: str) -> None:
    (tmp_path / "package" / "files").mkdir(parents=True)
    (tmp_path / "outside").write_text("not the package's")
    folder = os.open(tmp_path / "package", os.O_RDONLY)
    with pytest.raises(InternalError, match="could not be filled"):
        Image(folder, ("files", name), 1 << 16)
    os.close(folder)


def test_a_file_grows_while_it_is_copied(source: int, tmp_path: Path) -> None:
    """More bytes or files than were signed do not fit, and nothing is left of what was begun."""
    before = descriptors()
    os.truncate(tmp_path / "files" / "inner" / "text", 64 << 20)
    with pytest.raises(InternalError, match="No space left"):
        Image(source, NAMES, 1 << 16)
    assert descriptors() == before


def test_a_host_has_other_files_behind_the_numbers_of_an_image(source: int) -> None:
    """It closed all that it had open, and somebody else's image came to lie there."""
    before = set(descriptors())
    image = Image(source, NAMES, 1 << 16)
    own = sorted(set(descriptors()) - before, key=int)
    other = Image(source, NAMES, 1 << 16)
    others = sorted(set(descriptors()) - before - set(own), key=int)
    for mine, its in zip(own, others, strict=True):
        os.dup2(int(its), int(mine), inheritable=False)
    tree = ffi.new("int *")
    assert lib.mpp_image_tree(other.handle, 0, tree) == 0
    os.close(tree[0])
    assert lib.mpp_image_tree(image.handle, 0, tree) != 0


def test_an_image_gives_no_mounts_any_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls go on with the installed files, which are looked at again."""
    warm(stage)
    monkeypatch.setattr(Image, "handle", property(lambda _: ffi.NULL))
    for _ in range(3):
        assert call(stage) == "as signed"
        assert until(lambda: ready(stage))
    assert image_of(stage) is None
    assert all(parked.image is None for parked in ready(stage))
    change(stage)
    for _ in range(2):
        with pytest.raises(PackageError):
            call(stage)


HOST = """
import os, sys
from mpp_exec.sandbox import native
from mpp_exec.sandbox.image import Image
made = Image(os.open(sys.argv[1], os.O_RDONLY), sys.argv[2:], 1 << 20)
print("made", flush=True)
sys.stdin.read()
"""
# In a user namespace of its own, which says how many mount namespaces there may be below it.
BESIDE = """
import errno, os, signal, subprocess, sys
from mpp_exec.sandbox import native
def allow(most):
    with open("/proc/sys/user/max_mnt_namespaces", "w") as limit:
        print(most, file=limit)
allow(3)  # detached mounts count, too
host = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert host.stdout.readline() == b"made\\n"
allow(1)
both = native.lib.CLONE_NEWUSER | native.lib.CLONE_NEWNS
print(errno.errorcode[native.try_clone(both)])
host.send_signal(signal.SIGKILL)
host.wait()
for _ in range(3000):
    left = native.try_clone(both)
    if not left:
        break
print(left)
"""


@pytest.mark.usefixtures("source")
def test_a_host_is_killed_that_has_an_image(tmp_path: Path) -> None:
    """Its namespaces, and with them the memory, are gone: no process was in them, nothing else holds them."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", BESIDE, HOST, str(tmp_path)]
    done = subprocess.run([*command, *NAMES], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["ENOSPC", "0"], done.stderr


def test_an_image_leaves_a_process_a_mount_or_a_descriptor(source: int) -> None:
    def seen() -> tuple[object, ...]:
        mounts = Path("/proc/self/mountinfo").read_text()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return mounts, children, descriptors()

    before = seen()
    image = Image(source, NAMES, 1 << 16)
    assert seen()[:2] == before[:2], "not even while it is there"
    del image
    assert seen() == before
