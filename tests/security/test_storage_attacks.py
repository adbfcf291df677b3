"""A tool tries to leave more in its storage than it was granted, or something that cannot be removed."""

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpp_exec import ConsentError
from mpp_exec.calls import withdraw
from mpp_exec.calls.withdraw import Cancellation, RunningCall, Watchdog, folder_size
from mpp_exec.permissions import Limits, Permissions
from stage import NAME, Stage

DEEP = """
import os
def run(levels, size):
    os.chdir(os.environ["MPP_STORAGE"])
    for _ in range(levels):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    open("f", "wb").write(b"x" * size)
    return True
"""
CLOSED = """
import os
def run(levels, size):
    os.chdir(os.environ["MPP_STORAGE"])
    os.mkdir("closed")
    open("closed/f", "wb").write(b"x" * size)
    os.chmod("closed", 0)
    return True
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def install(stage: Stage, source: str) -> None:
    stage.python(
        source,
        permissions=Permissions(storage=1 << 20),
        tool={"operation": "write"},
        limits=Limits(wall_ms=20_000, cpu_ms=20_000, scratch=64 << 20),
    )


@pytest.mark.parametrize(
    ("source", "levels"), [(DEEP, 200), (DEEP, 60), (CLOSED, 0)], ids=["deep", "long", "closed"]
)
def test_what_lies_deep_or_closed_counts_at_the_next_call(stage: Stage, source: str, levels: int) -> None:
    install(stage, source)
    stage.runtime.call(NAME, "run", {"levels": levels, "size": 3 << 20})
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME, "run", {"levels": 0, "size": 0})
    assert refused.value.code == "storage.full"


FAST = """
import os
def run():
    with open(os.path.join(os.environ["MPP_STORAGE"], "f"), "wb") as f:
        os.posix_fallocate(f.fileno(), 0, 3 << 20)
    return "done"
"""


def test_what_is_written_between_two_looks_of_the_watchdog_ends_as_killed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdraw, "PERIOD", 30.0)  # no look while the call runs
    install(stage, FAST)
    result = stage.runtime.call(NAME, "run", {})
    assert (result.outcome, result.reason, result.is_error) == ("killed", "its storage is full", True)
    (ended,) = stage.runtime.ledger.list(kinds=["outcome"])
    assert ended.content["outcome"] == "killed"
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME, "run", {})
    assert refused.value.code == "storage.full"


def test_a_storage_that_takes_long_to_count_delays_no_withdrawal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, release = threading.Event(), threading.Event()

    def slow(_folder: Path, _limit: int) -> int:
        counting.set()
        release.wait(60)
        return 0

    monkeypatch.setattr(withdraw, "folder_size", slow)
    generation = [1]
    watchdog = Watchdog(lambda: generation[0], lambda: None)
    slowly = RunningCall(lambda: "", Cancellation())
    slowly.bound(tmp_path, 1, "full")
    withdrawn = RunningCall(lambda: "it was withdrawn" if generation[0] == 2 else "", Cancellation())
    try:
        with watchdog.watch(slowly, (1, None)), watchdog.watch(withdrawn, (1, None)):
            assert counting.wait(60)
            generation[0] = 2
            readable, _, _ = select.select([withdrawn.cancellation.fd], [], [], 30)
            assert readable
            assert withdrawn.reason == "it may not run any more: it was withdrawn"
            assert not slowly.reason
    finally:
        release.set()
        slowly.cancellation.close()
        withdrawn.cancellation.close()
        watchdog.close()


def test_counting_many_small_files_stops_at_a_4096th_of_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2000):
        (tmp_path / f"{number}").touch()
    looked = 0
    listed = os.scandir

    def counted(at: int) -> Iterator[os.DirEntry[str]]:
        nonlocal looked
        with listed(at) as entries:
            for entry in entries:
                looked += 1
                yield entry

    monkeypatch.setattr(os, "scandir", counted)
    assert folder_size(tmp_path, 1 << 20) > 1 << 20
    assert looked == (1 << 20) // 4096 + 1


def test_thousands_of_nested_folders_are_removed_and_harm_no_other_package(stage: Stage) -> None:
    install(stage, DEEP)
    stage.runtime.call(NAME, "run", {"levels": 2000, "size": 0})
    assert len(list(stage.home.glob("storage/acme/echo/*"))) == 1
    stage.runtime.store.uninstall(NAME)
    assert not stage.runtime.store.installed()
    assert list(stage.runtime.home.tmp.iterdir()) == []
    stage.runtime.store.repair()
    assert not stage.runtime.ledger.verify().problems


def test_a_closed_folder_is_removed(stage: Stage) -> None:
    install(stage, CLOSED)
    stage.runtime.call(NAME, "run", {"levels": 0, "size": 10})
    stage.runtime.store.uninstall(NAME)
    assert list(stage.runtime.home.tmp.iterdir()) == []


def test_counting_ends_at_the_limit_and_holds_few_descriptors(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(100):
        here = here / "d"
        here.mkdir()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert folder_size(tmp_path, 1 << 30) >= 100 * 4096
    assert folder_size(tmp_path, 8192) > 8192
    assert folder_size(tmp_path / "nothing", 1) == 2
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_link_out_of_storage_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    (tmp_path / "storage" / "link").symlink_to(tmp_path / "large")
    assert folder_size(tmp_path / "storage", 1 << 30) == 4096
