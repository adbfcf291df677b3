"""Images of packages: made for what is called again and is worth it, bounded, gone when nobody needs them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eventually import until
from mpp_exec.calls import images as images_module
from mpp_exec.calls.images import FILES_LEAST, Images, size_of
from mpp_exec.errors import InternalError
from mpp_exec.package.manifest import FileEntry
from mpp_exec.sandbox import stock
from mpp_exec.sandbox.image import Image
from stage import NAME, Stage

ECHO = "def run(**given):\n    return 'here'\n"
MANY = {f"data/{number}.txt": b"x" * number for number in range(FILES_LEAST)}
FILES = tuple(FileEntry(f"data/{number}", 4097, b"", executable=False) for number in range(FILES_LEAST))
DIGEST = "sha256:one"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[], Image]]:
    (tmp_path / "files").mkdir()
    folder = os.open(tmp_path, os.O_RDONLY)
    yield lambda: Image(folder, ("files",), 4096)
    os.close(folder)


@pytest.fixture
def kept() -> Iterator[Images]:
    images = Images()
    images.keep(frozenset({DIGEST, "sha256:two"}))
    yield images
    images.close()


def wanted(images: Images, make: Callable[[], Image], digest: str = DIGEST) -> bool:
    """Ask for an image until it is there or cannot be; return whether it is."""
    images.wanted(digest, FILES, make)
    assert until(lambda: images._making is None)
    return images.of(digest) is not None


def test_one_is_made_beside_whoever_asks_and_then_there(kept: Images, made: Callable[[], Image]) -> None:
    gate = threading.Event()

    def slowly() -> Image:
        assert gate.wait(30)
        return made()

    assert kept.wanted(DIGEST, FILES, slowly) is None, "and nobody waits"
    assert kept.wanted("sha256:two", FILES, made) is None, "one at a time"
    gate.set()
    assert until(lambda: kept.of(DIGEST))
    assert kept.wanted(DIGEST, FILES, made) is kept.of(DIGEST)


def test_signals_come_while_one_is_made(made: Callable[[], Image]) -> None:
    """One at the wrong moment was taken for the death of a child, in the making of any sandbox, too."""
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: came.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        while len(came) < 1500:
            made()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that there are threads
def test_the_host_is_forked_while_some_are_made(tmp_path: Path) -> None:
    """Each of its children has what is open to write in the host, until it ends or runs a program."""
    (tmp_path / "files").mkdir()
    names = ["files", *(f"files/{number}" for number in range(200))]
    for name in names[1:]:
        (tmp_path / name).write_bytes(b"x" * 4096)
    folder = os.open(tmp_path, os.O_RDONLY)
    ended = threading.Event()

    def forks() -> None:
        while not ended.is_set():
            if (child := os.fork()) == 0:
                os._exit(0)
            os.waitpid(child, 0)

    beside = threading.Thread(target=forks)
    beside.start()
    try:
        for _ in range(40):
            Image(folder, names, 1 << 21)
    finally:
        ended.set()
        beside.join()
        os.close(folder)


def test_few_files_many_bytes_and_what_nobody_keeps_get_none(
    kept: Images, made: Callable[[], Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.wanted(DIGEST, FILES[1:], made) is None
    assert kept._making is None
    assert not wanted(kept, made, "sha256:three")
    with monkeypatch.context() as patch:
        patch.setattr(images_module, "SIZE_MOST", size_of(FILES) - 1)
        assert not wanted(kept, made)
    monkeypatch.setattr(images_module, "ALL_MOST", size_of(FILES) * 2 - 1)
    assert wanted(kept, made)
    assert not wanted(kept, made, "sha256:two")


def test_a_size_is_in_pages() -> None:
    assert size_of(FILES[:1]) == 2 * 4096 + 2048


def test_what_failed_is_tried_again_later(kept: Images, made: Callable[[], Image]) -> None:
    tried: list[int] = []

    def fails() -> Image:
        tried.append(1)
        raise InternalError("sandbox.image", "it cannot be made")

    assert not wanted(kept, fails)
    assert not wanted(kept, fails)
    assert len(tried) == 1
    failures, _ = kept._failed[DIGEST]
    kept._failed[DIGEST] = failures, 0.0
    assert wanted(kept, made)
    kept.failed(DIGEST)
    assert not wanted(kept, made), "no sandbox could be made of it"


def test_one_that_is_ready_when_nobody_keeps_it_any_more_goes(
    kept: Images, made: Callable[[], Image]
) -> None:
    def late() -> Image:
        kept.keep(frozenset())
        return made()

    assert not wanted(kept, late)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as staged:
        yield staged


def stands(stage: Stage) -> bool:
    return stage.runtime._open().verifier.images.of(stage.runtime.store.package(NAME).digest) is not None


def warm(stage: Stage) -> None:
    """Call until there is an image."""
    images = stage.runtime._open().verifier.images
    for _ in range(6):
        stage.runtime.call(NAME)
        until(lambda: stands(stage), 0.5)
        assert until(lambda: images._making is None)
        if stands(stage):
            return
    raise AssertionError(f"there is no image: {images._failed}")


def test_it_goes_with_the_sandboxes_and_is_made_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.python(ECHO, files=MANY)
    warm(stage)
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(stock, "IDLE", 0.0)
        assert until(lambda: not stands(stage))
    assert until(lambda: descriptors() <= before - 3)
    warm(stage)


def test_a_runtime_without_sandboxes_that_wait_has_no_images(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=0) as staged:
        staged.python(ECHO, files=MANY)
        for _ in range(3):
            staged.runtime.call(NAME)
        assert not stands(staged)
        assert staged.runtime._open().verifier.images._making is None


def test_another_day_or_another_trust_looks(stage: Stage) -> None:
    stage.python(ECHO, files=MANY)
    warm(stage)
    verifier = stage.runtime._open().verifier
    approved = stage.runtime.store.approved(NAME)
    assert verifier.relied_on(approved) is not None
    verifier._clock = lambda: datetime.now(UTC) + timedelta(days=1)
    assert verifier.relied_on(approved) is None
