"""Attacks on the watcher of a traced call: each ends, bounded, and gets nothing beyond the grant."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sandbox_lab
from mpp_exec.errors import HostError
from mpp_exec.permissions import Limits
from mpp_exec.sandbox import access, bpf, native, spawn, watching
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.supervise import WatchedRow
from needs import missing
from sandbox_lab import HERE, Lab, init_processes, run
from weakened import weakened

MAX_NOTES = 4096  # MPP_NOTES_MAX of contract.h
LISTENER = "anon_inode:seccomp notify"


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``trace_attacks.c``."""
    if shutil.which("cc") is None:
        missing("there is no C compiler")
    return sandbox_lab.build_program(
        HERE / "trace_attacks.c", tmp_path_factory.mktemp("attacker") / "attacker"
    )


def traced(compiled: SandboxPlan) -> tuple[spawn.Completed, list[str]]:
    """Run *compiled* traced, to a good end; return what is left and the lines it printed."""
    done = run(compiled, traced=True)
    assert done.outcome == "ok", f"{done.reason}\n{done.errors.decode(errors='replace')}"
    return done, done.output.decode().split()


def paths(done: spawn.Completed) -> set[str]:
    return {each.path for each in done.accesses}


def test_paths_that_point_to_nothing_are_not_read(lab: Lab, attacker: Path) -> None:
    """A pointer to nothing, to the kernel, or to a text without a NUL in its memory: EFAULT, and no note."""
    done, said = traced(lab.program(attacker, "pointers"))
    assert said == ["EFAULT"] * 6 + ["ENOENT"]
    assert {path for path in paths(done) if path.startswith("/srv")} == {"/srv/last"}


def test_a_path_longer_than_the_kernel_reads_is_not_kept(lab: Lab, attacker: Path) -> None:
    """4,095 bytes are a path, 4,096 are none, and a text without an end is read no further."""
    done, said = traced(lab.program(attacker, "lengths"))
    assert said == ["ENOENT", "ENOENT", "ENAMETOOLONG", "ENAMETOOLONG", "ENAMETOOLONG"]
    assert max(map(len, paths(done))) == 4095


def test_a_flood_of_paths_is_kept_to_its_bound(lab: Lab, attacker: Path) -> None:
    """16,000 paths from four threads: so many are kept, the others counted, and the tool comes to its end."""
    done, said = traced(lab.program(attacker, "flood"))
    assert said == ["done"]
    assert len(done.accesses) <= MAX_NOTES
    assert done.accesses_lost >= 16_000 - MAX_NOTES


def test_a_tool_that_never_stops_asking_is_stopped_at_its_deadline(lab: Lab, attacker: Path) -> None:
    """Who keeps the watcher busy does not keep it from the time."""
    done = run(lab.program(attacker, "spin", limits=Limits(wall_ms=1000, cpu_ms=60_000)), traced=True)
    assert done.outcome == "timeout"
    assert len(done.accesses) <= MAX_NOTES
    assert sum(done.timing.values()) < 5_000_000  # µs: bounded, on a machine that is busy with other things


def test_a_path_swapped_behind_the_watchers_back_opens_nothing(
    lab: Lab, attacker: Path, ground: Path
) -> None:
    """The watcher lets a call on whatever it read; mounts and Landlock decide what is opened."""
    for name, text in (("given", "granted"), ("other", "secret")):
        (ground / name).mkdir(mode=0o755)
        (ground / name / "file").write_text(text)
        (ground / name / "file").chmod(0o644)
    ground.chmod(0o755)
    words = [str(ground / name / "file") for name in ("given", "other")]
    done, said = traced(lab.program(attacker, "race", *words, read=[ground / "given"]))
    assert said == ["0"]
    assert set(words) & paths(done)
    # The attack is one: with both granted, the other file is opened through the swap.
    _, said = traced(lab.program(attacker, "race", *words, read=[ground]))
    assert said != ["0"]


def test_a_tool_that_interrupts_itself_is_watched_to_its_end(lab: Lab, attacker: Path) -> None:
    """A timer of 5,000 signals a second leaves no call repeated for ever."""
    _, said = traced(lab.program(attacker, "interrupt"))
    assert said == ["done"]


def test_a_tool_that_dies_in_the_middle_leaves_the_watcher_free(lab: Lab, attacker: Path) -> None:
    """Threads that die while they wait for an answer are no failure, and nobody waits for them."""
    for _ in range(10):
        assert run(lab.program(attacker, "vanish"), traced=True).outcome == "killed"


def test_a_storm_of_processes_is_watched_to_its_end(lab: Lab, attacker: Path) -> None:
    """Two thousand processes that open and end: each is answered, and the notes stay within their bound."""
    if not Path("/bin/true").exists():
        missing("there is no /bin/true")
    compiled = lab.program(
        attacker, "storm", subprocess=("true",), limits=Limits(wall_ms=30_000, cpu_ms=30_000)
    )
    done, said = traced(compiled)
    assert said == ["done"]
    assert len(done.accesses) <= MAX_NOTES


def test_the_listener_is_not_the_tools(lab: Lab, attacker: Path) -> None:
    """No descriptor of it is left inside, a second one is refused, and closing everything ends no watch."""
    done, said = traced(lab.program(attacker, "listener"))
    assert said == ["0", "ENOSYS", "ENOENT"]
    assert "/srv/after" in paths(done)


def test_what_the_watcher_refuses_stays_refused(
    lab: Lab, attacker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets and processes get ENOSYS as ever, and each is told; were they let on, they would be had."""
    compiled = lab.program(attacker, "refused")
    assert run(compiled).output.decode().split() == ["refused"] * 5
    done, said = traced(compiled)
    assert said == ["refused"] * 5
    told = {(each.does, each.call, each.family) for each in done.accesses if not each.path}
    assert told == {
        ("socket", "socket", 2),
        ("socket", "socket", 1),
        ("fork", "fork", 0),
        ("fork", "clone", 0),
    }
    rows = access.watched_rows(compiled.tool_profile)
    monkeypatch.setattr(spawn, "watched_rows", lambda _: tuple(replace(row, refuse=False) for row in rows))
    _, said = traced(compiled)
    assert said == ["allowed"] * 4 + ["refused"]  # namespaces are no business of the watcher


def test_a_call_that_no_row_knows_is_refused_and_ends_the_watch(
    lab: Lab, attacker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Program and rows that disagree are a fault of ours: the call ends, and goes on unwatched never."""
    compiled = lab.program(attacker, "control")
    rows: tuple[WatchedRow, ...] = access.watched_rows(compiled.tool_profile)
    openat = next(
        row.number
        for row, how in zip(rows, watching.watched_calls(compiled.tool_profile), strict=True)
        if how.name == "openat"
    )
    monkeypatch.setattr(spawn, "watched_rows", lambda _: tuple(row for row in rows if row.number != openat))
    done = run(compiled, traced=True)
    assert done.outcome == "killed"
    assert "watched" in done.reason


def test_a_watcher_without_its_listener_ends_the_call(lab: Lab, attacker: Path) -> None:
    """The descriptor closed under the watcher: the tool is killed, not left to run unwatched or to wait."""
    compiled = lab.program(attacker, "spin", limits=Limits(wall_ms=60_000, cpu_ms=60_000))
    ended: list[spawn.Completed] = []
    thread = threading.Thread(target=lambda: ended.append(run(compiled, traced=True)))
    thread.start()
    while not (found := list(_listeners())):
        assert thread.is_alive()
    os.close(found[0])
    thread.join(30)
    assert ended
    assert ended[0].outcome == "killed"
    assert not list(_listeners())


def _listeners() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()) == LISTENER:
                yield int(entry.name)
        except FileNotFoundError:
            continue


def test_a_traced_tool_dies_with_its_watcher(attacker: Path) -> None:
    """SIGKILL of the process that watches leaves no sandbox, and no tool that runs unwatched."""
    code = f"""
import pathlib, sys, tempfile
sys.path.insert(0, {str(HERE)!r})
from mpp_exec.permissions import Limits
from sandbox_lab import Lab, run
lab = Lab(pathlib.Path(tempfile.mkdtemp()))
plan = lab.program(pathlib.Path({str(attacker)!r}), "spin", limits=Limits(wall_ms=60_000, cpu_ms=60_000))
print("ready", flush=True)
run(plan, traced=True)
"""
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == b"ready\n"
        while not (inits := _inits_of(host.pid)):
            assert host.poll() is None
        pidfds = [os.pidfd_open(pid) for pid in inits]
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 30)[0]
        os.close(pidfd)
    assert host.stdout.read() == b""
    host.stdout.close()


def _inits_of(root: int) -> set[int]:
    return {pid for pid in sandbox_lab.descendants(root) if pid in init_processes()}


def test_bytes_that_are_no_text_are_kept_as_they_are(lab: Lab, attacker: Path) -> None:
    """What is odd about a path is for whoever prints it: no byte is lost on the way."""
    done, _ = traced(lab.program(attacker, "control"))
    assert {os.fsencode(path) for path in paths(done)} >= {
        b'/srv/\x1b]0;owned\x07\nread = ["/"]\n',
        b"/srv/\xff\xfe",
    }


def test_a_kernel_without_notifications_traces_nothing(
    lab: Lab, attacker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs, rather than unwatched; the same call without a trace does."""
    compiled = lab.program(attacker, "control")
    monkeypatch.setattr(native, "seccomp_has", lambda action: action != bpf.RET_USER_NOTIF)
    with pytest.raises(HostError) as refused:
        run(compiled, traced=True)
    assert refused.value.code == "host.no_user_notification"
    assert run(compiled).outcome == "ok"


def test_more_than_a_listener_is_kept_from_the_host(
    lab: Lab, attacker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An init that hands over two descriptors and not one: the call ends, and neither stays open."""
    strange = weakened(
        tmp_path,
        "init.c",
        (
            "hand_over(&watched, (const int[]){ (int)listener }, 1)",
            "hand_over(&watched, (const int[]){ (int)listener, (int)listener }, 2)",
        ),
    )
    monkeypatch.setattr(native, "init_program", lambda: strange)
    compiled = lab.program(attacker, "pointers")
    assert run(compiled, traced=True).outcome == "killed"
    before = sorted(Path("/proc/self/fd").iterdir())
    run(compiled, traced=True)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    os.close(strange)
