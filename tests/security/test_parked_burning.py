"""Attack: a tool that makes use of the time before its call has come, or of there being none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import until
from mcp_servers import server
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.sandbox import pool
from mpp_exec.sandbox.mounted import MountTable
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.pool import Pool
from mpp_exec.sandbox.shelf import Recipe
from sandbox_lab import CACHE, Lab, descendants, run
from stage import NAME, Stage

WHEN = "import time\nat = time.monotonic()\ndef run(**given):\n    return at\n"

# Once its handshake is over it burns what it can, and says a blank at each turn, so that there is always
# something to be heard.
TALKER = """
import threading
def burn():
    while True:
        sum(range(10_000))
        os.write(1, b" ")
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def parked(stage: Stage) -> Parked:
    """Begin to prepare a sandbox as the runtime would."""
    with stage.runtime.preparer.prepared(NAME, "") as made:
        recipe = made.recipe
    assert recipe.early_start
    return Parked(
        recipe.plan, constants=recipe.constants, cache=CACHE, early_start=True, command=recipe.command
    )


def ends(made: Parked, seconds: float) -> bool:
    try:
        return until(lambda: made.look(20) == "ended", seconds)
    finally:
        made.close()


def test_a_server_that_always_has_something_to_say_is_measured_all_the_same(stage: Stage) -> None:
    body = server('say(id=name, result=text("done"))')
    place = '    if method == "notifications/initialized":\n'
    assert place in body
    burning = body.replace(place, f"{place}        threading.Thread(target=burn, daemon=True).start()\n")
    stage.server(TALKER + burning, limits=Limits(cpu_ms=60_000, wall_ms=60_000))
    assert ends(parked(stage), 20), "its limits as a call's would let it burn for a minute"


def test_a_server_that_babbles_instead_of_shaking_hands_has_a_limit_of_time(stage: Stage) -> None:
    stage.server(
        "import os\nwhile True:\n    os.write(1, b' ')\n", limits=Limits(wall_ms=400, output=8 << 20)
    )
    begun = time.monotonic()
    assert ends(parked(stage), 30)
    assert time.monotonic() - begun < 6


def test_what_many_processes_hold_before_there_is_a_call_is_limited_together(lab: Lab) -> None:
    """Each keeps to the limit of one process; the import never ends."""
    hog = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        break
held = bytearray(90 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
time.sleep(3600)
"""
    limits = Limits(memory=128 << 20, wall_ms=60_000)
    compiled = lab.python(hog, limits=limits, subprocess=("true",))
    made = Parked(compiled, constants=(), cache=CACHE, early_start=True)
    assert ends(made, 20), "the limit of time is a minute"


def test_a_program_is_started_before_there_is_a_call_on_record(stage: Stage) -> None:
    """Other programs are the outside: with them nothing of the tool runs ahead."""
    stage.python(WHEN, permissions=Permissions(subprocess=("true",)))
    for _ in range(2):
        stage.runtime.call(NAME)
    assert until(lambda: stage.runtime._open().sandboxes.waiting)
    called = time.monotonic()
    result = stage.runtime.call(NAME)
    assert result.structured is not None
    assert result.structured["result"] > called


def test_a_call_that_was_prepared_before_a_withdrawal_has_sandboxes_made_after_it(lab: Lab) -> None:
    recipe = Recipe(lab.python(WHEN), "", (), early_start=True, basis="what was granted")
    made = Pool(CACHE, lambda: "what is granted now")
    try:
        for _ in range(8):
            with made.lent(recipe) as lent:
                assert lent is None
        assert not until(lambda: made.waiting, 2 * pool.PERIOD)
    finally:
        made.close()


def test_that_would_be_so_if_what_it_was_made_under_did_not_matter(lab: Lab) -> None:
    """The defence taken away: the attack is real."""
    recipe = Recipe(lab.python(WHEN), "", (), early_start=True, basis="what is granted now")
    made = Pool(CACHE, lambda: "what is granted now")
    try:
        for _ in range(8):
            with made.lent(recipe):
                pass
        assert until(lambda: made.waiting)
    finally:
        made.close()


def test_a_tool_that_burns_while_it_waits_is_made_again_less_and_less(stage: Stage) -> None:
    """To have been ready is no merit: only a call that was served ends the waiting."""
    stage.python(
        "import threading\ndef burn():\n    while True:\n        pass\n"
        "threading.Thread(target=burn, daemon=True).start()\ndef run():\n    return 1\n"
    )
    stage.runtime.call(NAME)
    stage.runtime.call(NAME)
    shelves = stage.runtime._open().sandboxes._stock.shelves
    assert until(lambda: any(shelf.failures >= 2 for shelf in shelves.values()), 60)
    stage.runtime.call(NAME)
    assert any(shelf.failures >= 2 for shelf in shelves.values()), "a call that nothing waited for"


def test_a_tool_that_hangs_takes_every_place_for_preparing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    hanging = (
        "import os, time\nif os.environ['MPP_TOOL'] != 'x':\n    time.sleep(3600)\ndef run():\n    return 1\n"
    )
    stage.python(hanging, limits=Limits(wall_ms=30_000))
    stage.python(WHEN, name="acme/good")
    made = stage.runtime._open().sandboxes
    for _ in range(3):
        for name in (NAME, "acme/good"):
            with stage.runtime.preparer.prepared(name, "") as prepared, made.lent(prepared.recipe):
                pass
    assert until(lambda: made.waiting, 20)
    assert sum(len(shelf.preparing) for shelf in made._stock.shelves.values() if shelf.package == NAME) <= 1


def test_what_was_unmounted_is_read_by_the_next_call(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox that waits holds what was mounted when it was made: a vault that was locked since, too.

    Changing the host's mounts is not for a test; the table that tells of it is.
    """
    told = [0]
    monkeypatch.setattr(MountTable, "changes", lambda _: told[0])
    folder = tmp_path / "granted"
    folder.mkdir(mode=0o755)
    stage.python(WHEN, permissions=Permissions(read=(str(folder),)))
    for _ in range(2):
        stage.runtime.call(NAME)
    made = stage.runtime._open().sandboxes
    assert until(lambda: made.waiting)
    told[0] += 1
    called = time.monotonic()
    result = stage.runtime.call(NAME)
    assert result.structured is not None
    assert result.structured["result"] > called, "it was made for this call"


def test_the_table_of_mounts_tells_of_each_change() -> None:
    """In a mount namespace of the test's own, if this host gives one."""
    code = """
import ctypes, os, sys
from mpp_exec.sandbox.mounted import MountTable
libc = ctypes.CDLL(None, use_errno=True)
uid = os.getuid()
if libc.unshare(0x10020000) != 0:
    sys.exit(7)
table = MountTable()
seen = [table.changes(), table.changes()]
assert libc.mount(b"none", sys.argv[1].encode(), b"tmpfs", 0, None) == 0, ctypes.get_errno()
seen += [table.changes(), table.changes()]
assert libc.umount2(sys.argv[1].encode(), 2) == 0
print(*seen, table.changes())
"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["0", "0", "1", "1", "2"]


def test_files_that_were_changed_after_they_were_verified_are_imported(stage: Stage) -> None:
    stage.python(WHEN)
    for _ in range(2):
        stage.runtime.call(NAME)
    made = stage.runtime._open().sandboxes
    assert until(lambda: made.waiting)
    code = next(stage.home.glob("packages/*/files/code.py"))
    code.chmod(0o644)
    code.write_text("open('/tmp/changed', 'w')\n" + WHEN)
    with stage.runtime.preparer._store.leased(stage.runtime.store.package(NAME)):
        shelf = next(iter(made._stock.shelves.values()))
        with made.lent(shelf.recipe) as lent:
            assert lent is not None, "what was imported before the change"
    assert until(lambda: shelf.failures)
    assert not shelf.all


def test_an_answer_from_before_the_call_is_taken_for_its_answer(lab: Lab) -> None:
    """A forged mark of readiness, and an answer behind it that no look has seen."""
    source = """
import os, threading, time
os.write(3, b"\\n")
def late():
    time.sleep(0.5)
    os.write(3, b'{"value": "written before the call"}')
    threading.Thread(target=time.sleep, args=(3600,)).start()
    os.read(0, 1)
    os._exit(0)
for work in (late, lambda: time.sleep(3600), lambda: time.sleep(3600)):
    threading.Thread(target=work).start()
time.sleep(3600)
"""
    made = Parked(lab.python(source), constants=(), cache=CACHE, early_start=True)
    try:
        assert until(lambda: made.look(20) == "ready" and made.state == "ready")
        assert until(lambda: any(threads(pid) == 5 for pid in descendants(os.getpid())))
        done = run(made.plan, b'{"arguments":{}}', parked=made, wall_ms=1000)
        assert "clone" in done.timing, "the call is another sandbox's, which begins with it"
    finally:
        made.close()


def threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def test_one_sandbox_alone_is_over_the_bound_of_all_that_wait(lab: Lab) -> None:
    compiled = lab.python("held = b'x' * (40 << 20)\ndef run():\n    return 1\n")
    recipe = Recipe(compiled, "", (), early_start=True, basis=0)
    made = Pool(CACHE, lambda: 0, memory=30 << 20)
    try:
        for _ in range(4):
            with made.lent(recipe):
                pass
        assert until(lambda: any(shelf.failures for shelf in made._stock.shelves.values()))
        assert not made.waiting
    finally:
        made.close()
