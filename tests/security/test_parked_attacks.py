"""Attack: a tool that runs before its call has come, against what its call will bring."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from mpp_exec.errors import HostError
from mpp_exec.sandbox import waiting
from mpp_exec.sandbox.parked import Parked, can_start_early
from sandbox_lab import CACHE, PARKED, Lab, answer, copied, descendants, init_processes, run
from stage import NAME, Stage
from weakened import weakened

NAMES = 120
SEVERAL = 4

# Started at import, it writes what is read-only in the grant, over and over, from before it is there. Through
# C: a tool that is heard to ask for its grants early is not prepared.
RACER = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
path, count = os.path.join({target!r}, ".z").encode(), [0, 0]
def race():
    while True:
        descriptor = libc.open(path, os.O_WRONLY | os.O_TRUNC)
        if descriptor >= 0:
            os.close(descriptor)
            count[1] += 1
        count[0] += 1
for _ in range(3):
    threading.Thread(target=race, daemon=True).start()
def run():
    return count
"""


def ready(lab: Lab, source: str, *, copy: bool = PARKED != "early", **granted: Any) -> Parked:
    plan = lab.python(source, **granted)
    made = copied(plan) if copy else Parked(plan, constants=(), cache=CACHE, early_start=True)
    while made.look(1000) == "preparing":
        pass
    assert made.state == "ready"
    return made


def serve(made: Parked, **arguments: Any) -> Any:
    done = run(made.plan, json.dumps({"arguments": arguments}).encode(), parked=made)
    return answer(done)["value"]


def race(lab: Lab, ground: Path, *, copy: bool = True) -> bool:
    """Let a tool race against the mounts of its grant; return whether it has written what is read-only."""
    for number in range(NAMES):
        (ground / f".a{number}").write_text("")
    (ground / ".z").write_text("precious")
    tried, done = serve(ready(lab, RACER.format(target=str(ground)), copy=copy, write=[ground]))
    assert tried > 0
    return done > 0 or (ground / ".z").read_text() != "precious"


def test_race_for_what_is_read_only_in_a_grant(lab: Lab, ground: Path) -> None:
    """The grant and what lies over it are put together where the tool cannot go, and moved there as one."""
    assert not any(race(lab, ground, copy=copy) for copy in (True, False) for _ in range(3))


# Answers, does not end, and goes on writing to what it was granted from threads of its own.
LINGERER = """
import os, threading
def write(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        os.write(descriptor, b"x" * 4096)
def run(path):
    os._exit = lambda status: threading.Event().wait()
    for number in range(4):
        threading.Thread(target=write, args=(path,), daemon=True).start()
    return os.getpid()
"""


def test_tool_goes_on_after_its_answer(lab: Lab, ground: Path) -> None:
    """Its answer is handed over before the kernel has freed what it had, and after its last instruction."""
    log = ground / "log"
    for _ in range(10):
        made = ready(lab, LINGERER, write=[ground])
        serve(made, path=str(log))
        written = log.stat().st_size
        made.close()
        assert log.stat().st_size == written
        log.unlink(missing_ok=True)


def test_forged_end_of_an_answer_ends_the_call(lab: Lab) -> None:
    """What a tool writes in the launcher's place is its answer, as if it had returned it; it ends there."""
    forger = """
import os, time
def run():
    os.write(3, b'{"value":"forged"}\\n')
    time.sleep(30)
"""
    assert serve(ready(lab, forger)) == "forged"


def test_race_is_won_where_a_grant_is_mounted_before_what_lies_over_it(
    lab: Lab, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defence taken away: the attack is real."""
    weak = weakened(
        tmp_path,
        "layout_late.c",
        ("error = attach(context->root, STAGE, folder);", "error = attach(context->root, outer, folder);"),
        ("if (error == 0) error = attach(context->root, outer, folder);\n    sys1", "sys1"),
    )
    monkeypatch.setattr(waiting, "init_program", lambda: weak)
    assert any(race(lab, ground, copy=False) for _ in range(200))  # on a busy machine it is seldom won


def test_stage_of_the_grants_cannot_be_entered(lab: Lab, ground: Path) -> None:
    (ground / "secret").write_text("granted")
    source = """
import os
held = []
def attempt(call, *given):
    try:
        return call(*given)
    except OSError as error:
        return error.strerror
for path in ("/.stage", "/.stage/secret"):
    held.append(attempt(os.open, path, os.O_RDONLY))
    held.append(attempt(os.chdir, path))
    held.append(attempt(os.chmod, path, 0o777))
    held.append(attempt(os.rename, path, "/tmp/stage"))
def run():
    return held
"""
    seen = serve(ready(lab, source, read=[ground]))
    assert set(seen) <= {"Permission denied", "Read-only file system", "Invalid cross-device link"}


def test_mount_point_in_scratch_is_moved_before_the_grant_comes(lab: Lab) -> None:
    """A writable grant below /tmp is mounted in scratch, the tool's own: what it does there is its loss."""
    folder = Path("/tmp") / f"mpp-attack-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        (folder / "file").write_text("granted")
        source = f"""
import ctypes, os
libc = ctypes.CDLL(None)
libc.rename({str(folder).encode()!r}, b"/tmp/elsewhere")
libc.symlink(b"/app", {str(folder).encode()!r})
def run():
    return sorted(os.listdir("/app")), os.path.exists("/tmp/elsewhere/file")
"""
        made = ready(lab, source, write=[folder])
        assert not can_start_early(made.plan), "the runtime starts it with its call"
        with pytest.raises(HostError, match="Too many levels of symbolic links") as refused:
            run(made.plan, b'{"arguments":{}}', parked=made)
        assert refused.value.code == "host.spawn_layout", "the mount, and not what comes behind it"
    finally:
        (folder / "file").unlink(missing_ok=True)
        folder.rmdir()


def second_call(lab: Lab, ground: Path, folder: Path) -> bool:
    """Have a release fail with one grant mounted and used; return whether the call was made once more."""
    for number in range(NAMES):
        (folder / f".p{number}").write_text("")  # mounts that take time
    source = f"""
import ctypes, os, threading
libc = ctypes.CDLL(None)
libc.rename({str(folder).encode()!r}, b"/tmp/elsewhere")
early = {str(ground).encode()!r} + b"/early-" + os.urandom(4).hex().encode()
def race():
    while libc.open(early, os.O_CREAT | os.O_WRONLY, 0o600) < 0:
        pass
for _ in range(3):
    threading.Thread(target=race, daemon=True).start()
def run():
    open({str(ground / "called")!r}, "w").close()
"""
    made = ready(lab, source, write=[ground, folder])
    with contextlib.suppress(HostError):
        run(made.plan, b'{"arguments":{}}', parked=made)
    return (ground / "called").exists()


def test_release_fails_half_way_and_the_call_is_made_twice(
    lab: Lab, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("/tmp") / f"mpp-attack-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        assert not second_call(lab, ground, folder)
        # The defence taken away: a release that failed counts as one that nobody saw.
        monkeypatch.setattr(Parked, "is_unaware", lambda *_: True)
        assert second_call(lab, ground, folder)
    finally:
        shutil.rmtree(folder)


def test_grant_is_swapped_for_another_folder_after_it_was_prepared(lab: Lab, ground: Path) -> None:
    """What was approved is mounted, or nothing: not what lies at its path by then."""
    (ground / "in").mkdir()
    (ground / "in/file").write_text("approved")
    facts = (ground / "in").stat()
    source = "def run(path):\n    return open(path).read()\n"
    identity = {str(ground / "in"): (facts.st_dev, facts.st_ino, 0)}
    made = ready(lab, source, read=[ground / "in"], identities=identity)
    (ground / "in").rename(ground / "old")
    (ground / "in").mkdir()
    (ground / "in/file").write_text("another")
    with pytest.raises(HostError) as caught:
        serve(made, path=str(ground / "in/file"))
    assert caught.value.code == "host.grant_changed"


def test_init_is_asked_to_release_by_the_tool(lab: Lab, ground: Path) -> None:
    """The socket that init listens to is the owner's: no descriptor of the tool leads to it."""
    source = """
import os
def links():
    found = []
    for number in range(64):
        try:
            found.append([number, os.fstat(number).st_mode >> 12])
        except OSError:
            pass
    return found
early = links()
def run():
    return early
"""
    seen = serve(ready(lab, source, read=[ground]))
    assert {kind for _, kind in seen} == {1}, "pipes alone"
    assert len(seen) <= 4


def test_command_line_of_one_that_waits_names_nothing_that_was_granted(lab: Lab, ground: Path) -> None:
    """Every user of the machine may read it (proc_pid_cmdline(5)), and the folders above it perhaps not."""
    made = ready(lab, "def run():\n    return 1\n", read=[ground])
    try:
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(os.getpid())]
        waiting = [line for line in lines if b"--parked" in line or b"/proc/self/fd/" in line]
        assert waiting
        assert not [line for line in lines if bytes(ground.name, "utf-8") in line]
    finally:
        made.close()


# -- outliving a withdrawal: how long it takes to take down what a tool wrote is the tool's to choose -----


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Stage]:
    """A home with a tool for whose calls several sandboxes wait."""
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=SEVERAL) as stage:
        stage.python("def run():\n    return 1\n")
        pool = stage.runtime._open().sandboxes
        with ThreadPoolExecutor(2 * SEVERAL) as threads:
            while pool.waiting < SEVERAL:
                list(threads.map(lambda _: stage.runtime.call(NAME), range(2 * SEVERAL)))
                until(lambda: pool.waiting == SEVERAL, 3)
        yield stage


@pytest.mark.parametrize("ending", ["withdrawn", "closed"])
def test_teardown_that_never_ends_keeps_no_other_alive(
    several: Stage, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """All are killed before any is waited for."""
    waiting, taken_down = init_processes(), threading.Event()
    assert len(waiting) == SEVERAL
    close = Parked.close

    def forever(parked: Parked) -> None:
        assert taken_down.wait(60)
        close(parked)

    monkeypatch.setattr(Parked, "close", forever)
    end = several.runtime.close if ending == "closed" else lambda: several.runtime.store.revoke(NAME)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(end)
        try:
            assert until(lambda: all(is_dead(pid) for pid in waiting))
        finally:
            taken_down.set()
        ended.result(60)
    assert until(lambda: not init_processes())


def test_one_that_does_not_die_keeps_nobody_from_noticing_a_withdrawal(
    several: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ended is still being taken down when all are withdrawn."""
    (first, *others), dead = sorted(init_processes()), threading.Event()
    kill = Parked.kill
    monkeypatch.setattr(Parked, "kill", lambda parked: kill(parked) and dead.is_set())
    os.kill(first, signal.SIGKILL)
    pool = several.runtime._open().sandboxes
    assert until(lambda: bool(pool._stock.dying))
    several.runtime.store.revoke(NAME)
    assert until(lambda: all(is_dead(pid) for pid in others))
    dead.set()
    assert until(lambda: not init_processes())


def is_dead(pid: int) -> bool:
    """Whether process *pid*, and by the kernel's rule its PID namespace, runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True
