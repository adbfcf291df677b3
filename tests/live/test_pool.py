"""The sandboxes that wait for calls: made on demand, bounded, gone when they may not serve any more."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

import forge
from eventually import until
from mcp_servers import MODERN, server
from mpp_exec import ConsentError, MppError, UsageError
from mpp_exec.permissions import Limits, Permissions
from mpp_exec.registry.records import Revocation
from mpp_exec.sandbox import pool, stock
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.pool import Pool
from mpp_exec.sandbox.shelf import Recipe
from mpp_exec.trust import rotation
from sandbox_lab import CACHE, Lab, init_processes
from stage import NAME, Stage

MOST_STEPS = 445
"""Calls of Python functions in one warm call by one thread; 665 before they were first counted, then 380."""

WHEN = "import time\nat = time.monotonic()\ndef run(**given):\n    return at\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def waiting(stage: Stage) -> int:
    return stage.runtime._open().sandboxes.waiting


def warm(stage: Stage) -> None:
    """Call twice: from then on one waits."""
    stage.runtime.call(NAME)
    stage.runtime.call(NAME)
    assert until(lambda: waiting(stage) >= 1)


def prepared_before(stage: Stage) -> bool:
    """Whether the next call is served by a sandbox in which the tool was imported before it."""
    begun = time.monotonic()
    result = stage.runtime.call(NAME)
    return float(result.structured["result"]) < begun  # type: ignore[index]


def test_tool_that_is_called_again_is_prepared_for_its_next_call(stage: Stage) -> None:
    stage.python(WHEN)
    stage.runtime.call(NAME)
    assert not init_processes(), "one call says nothing about another"
    warm(stage)
    assert prepared_before(stage)
    assert until(lambda: waiting(stage) >= 1), "and another one waits for the call after that"


def test_a_warm_call_takes_few_calls_of_python_functions(stage: Stage) -> None:
    """What the host works for a call, by a measure that no load changes."""
    stage.python("def run(**given):\n    return {'ok': True}\n")

    def steps() -> int:
        warm(stage)
        made = 0

        def count(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal made
            made += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            stage.runtime.call(NAME, arguments={"text": "x"})
        finally:
            sys.setprofile(before)
        return made

    # Which thread commits the start of a call differs: in some calls it is the one that is counted here.
    assert any(steps() <= MOST_STEPS for _ in range(20))


def test_after_a_change_that_is_none_of_theirs_they_are_prepared_again(stage: Stage) -> None:
    """What waited is gone with any change of the home; what is made later, under what holds then, stays."""
    stage.python(WHEN)
    warm(stage)
    stage.python(WHEN, name="acme/other")
    assert until(lambda: waiting(stage) == 0)
    warm(stage)
    assert prepared_before(stage)


def test_first_calls_that_come_at_once_are_of_one_tool(stage: Stage) -> None:
    """They share one plan, and so one shelf: what is prepared for one is there for all."""
    stage.python(WHEN)
    callers, gate = 8, threading.Barrier(8)

    def call(_: int) -> None:
        gate.wait()
        stage.runtime.call(NAME)

    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(call, range(callers)))
    assert len(stage.runtime._open().sandboxes._stock.shelves) == 1


def test_files_that_several_calls_have_verified_are_the_same_files(stage: Stage) -> None:
    """As calls do that come at once, before anything is kept."""
    stage.python(WHEN)
    stage.runtime.call(NAME)
    stage.runtime._open().verifier._checked.clear()
    warm(stage)


def test_the_meta_says_how_long_the_release_took(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    timing = stage.runtime.call(NAME).to_call_tool_result()["_meta"]["mpp-exec/timing"]
    assert "sandbox.release" in timing
    assert "sandbox.clone" not in timing


def test_a_start_that_cannot_be_put_on_record_beside_the_tool_ends_the_call(stage: Stage) -> None:
    stage.python("def run(stay=False):\n    while stay:\n        pass\n")
    warm(stage)
    stage.runtime.ledger.close()
    begun = time.monotonic()
    with pytest.raises(UsageError) as refused:
        stage.runtime.call(NAME, "", {"stay": True})
    assert refused.value.code == "runtime.closed"
    assert time.monotonic() - begun < 5, "the tool was ended for it, not by its limit"


@pytest.mark.parametrize("parked", [0, 4])
def test_the_head_covers_a_call_that_was_put_on_record_quietly(tmp_path: Path, parked: int) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=parked) as stage:
        stage.python(WHEN)
        for _ in range(3):
            stage.runtime.call(NAME)
        head = stage.home / "ledger.head"
        assert until(lambda: time.time() - head.stat().st_mtime > 1.0), "it is at rest"
        sealed = head.read_bytes()
        stage.runtime.call(NAME)
        assert until(lambda: head.read_bytes() != sealed)


def test_nothing_is_prepared_where_that_is_not_wanted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=0) as stage:
        stage.python(WHEN)
        for _ in range(4):
            stage.runtime.call(NAME)
        assert not init_processes()
        assert not [each for each in threading.enumerate() if each.name == "mpp-exec-pool"]


def test_without_a_thread_to_be_had_nothing_is_prepared_and_all_of_it_is_closed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "mpp-exec-pool":
            raise RuntimeError("can't start new thread")
        start(thread)

    stage.python(WHEN)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        assert stage.runtime.call(NAME).outcome == "ok"
    opened = stage.runtime._open()
    stage.runtime.close()
    with pytest.raises(RuntimeError, match="closed"):
        opened.store.installed()


def test_closing_leaves_no_process_and_no_thread(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    assert init_processes()
    stage.runtime.close()
    assert not init_processes()
    assert not [each for each in threading.enumerate() if each.name == "mpp-exec-pool"]


def test_withdrawn_grant_ends_them_within_a_second(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    stage.runtime.store.revoke(NAME)
    revoked = time.monotonic()
    assert until(lambda: not init_processes())
    assert time.monotonic() - revoked < 1 + 1  # a second of this machine's own
    with pytest.raises(ConsentError):
        stage.runtime.call(NAME)


def test_revoked_former_key_ends_them(stage: Stage) -> None:
    """Also where its publisher has another key by now, under which sandboxes were prepared again."""
    stage.python(WHEN)
    store = stage.runtime.store
    statement = rotation.sign("acme", forge.KEY, forge.OTHER_KEY, forge.NOW.date())
    assert store.rotate_publisher(rotation.read(statement), statement, forge.NOW)
    warm(stage)
    assert init_processes()
    store.add_revocation(Revocation("key", forge.KEY.key_id, forge.NOW))
    assert until(lambda: not init_processes())
    with pytest.raises(MppError) as error:
        stage.runtime.call(NAME)
    assert error.value.code == "trust.revoked_key"


def test_changed_policy_ends_them(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    stage.system_policy.write_text('[packages]\ndeny = ["other/*"]\n')
    assert until(lambda: not init_processes())


def test_policy_that_cannot_be_read_ends_them(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    stage.system_policy.write_text("no policy [")
    assert until(lambda: not init_processes())
    with pytest.raises(MppError):
        stage.runtime.call(NAME)


def test_other_version_is_not_served_by_what_was_prepared_from_the_old_one(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n")
    warm(stage)
    stage.python("def run():\n    return 2\n", version="1.0.1")
    assert stage.runtime.call(NAME).structured == {"result": 2}


def test_changed_file_is_not_served_by_what_was_prepared_before(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    (code,) = (stage.home / "packages").rglob("code.py")
    mode = code.stat().st_mode
    code.chmod(0o644)
    content = code.read_text()
    code.write_text(content + "# changed\n")
    with pytest.raises(MppError):
        stage.runtime.call(NAME)
    code.write_text(content)
    code.chmod(mode)
    assert not prepared_before(stage)


def test_death_of_one_that_waits_is_no_matter(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    killed = init_processes()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: all(_state(pid) in ("", "Z") for pid in killed))
    result = stage.runtime.call(NAME)
    assert result.outcome == "ok"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_tool_that_cannot_be_prepared_is_tried_less_and_less_and_works(stage: Stage) -> None:
    stage.python("import os\nnumber = os.environ['MPP_INVOCATION']\ndef run():\n    return number\n")
    for _ in range(5):
        result = stage.runtime.call(NAME)
        assert result.structured == {"result": result.invocation}
    (shelf,) = stage.runtime._open().sandboxes._stock.shelves.values()
    assert until(lambda: shelf.failures)
    assert shelf.not_before > time.monotonic()


def test_variables_of_the_user_are_in_no_sandbox_that_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library could ask for one where nobody hears it: such a tool is not imported without its call."""
    monkeypatch.setenv("ACME_KEY", "needle")
    source = "import os, time\nat = time.monotonic()\nkey = os.environ.get('ACME_KEY')\n"
    stage.python(
        f"{source}def run():\n    return [key, at]\n", permissions=Permissions(environment=("ACME_KEY",))
    )
    warm(stage)
    for pid in init_processes():
        with contextlib.suppress(PermissionError):  # nobody but root may look into init
            assert b"needle" not in Path(f"/proc/{pid}/environ").read_bytes()
    begun = time.monotonic()
    key, at = stage.runtime.call(NAME).structured["result"]  # type: ignore[index]
    assert key == "needle"
    assert at > begun


def test_calls_faster_than_they_are_made_get_more_of_them_up_to_the_bound(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=3) as stage:
        stage.python(WHEN)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: stage.runtime.call(NAME), range(12)))
        assert until(lambda: waiting(stage) == 3)
        assert until(lambda: len(init_processes()) == 3), "beside those that are freed still"


def test_what_is_in_less_demand_makes_room(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Stage(tmp_path, parked=1) as stage:
        stage.python(WHEN)
        stage.python(WHEN, name="acme/other")
        warm(stage)
        for _ in range(2):
            stage.runtime.call("acme/other")

        def other_waits() -> bool:
            begun = time.monotonic()
            result = stage.runtime.call("acme/other")
            return float(result.structured["result"]) < begun  # type: ignore[index]

        assert until(other_waits)
        assert until(lambda: len(init_processes()) <= 1), "beside one that has answered, until it is freed"


def test_idle_ones_are_gone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.python(WHEN)
    warm(stage)
    monkeypatch.setattr(stock, "IDLE", 0.0)
    assert until(lambda: not init_processes())


def test_memory_of_all_of_them_is_bounded(lab: Lab) -> None:
    compiled = lab.python("held = b'x' * (20 << 20)\ndef run():\n    return 1\n")
    recipe = Recipe(compiled, "", (), early_start=True, basis=0)
    made = Pool(CACHE, lambda: 0, sandboxes=16, memory=50 << 20)
    try:
        for _ in range(12):
            with made.lent(recipe) as parked:
                assert parked is None or parked.state == "ready"
        assert until(lambda: made.waiting >= 1)
        # Each takes some 30 MiB: one, and another while the first still has to be seen.
        assert not until(lambda: made.waiting > 2, 2)
    finally:
        made.close()


def test_many_threads_at_once_are_served_once_each(stage: Stage) -> None:
    stage.python("import os\ndef run(n):\n    return [n, os.urandom(8).hex()]\n")
    warm(stage)
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda n: stage.runtime.call(NAME, "run", {"n": n}), range(48)))
    said = [result.structured["result"] for result in results]  # type: ignore[index]
    assert [n for n, _ in said] == list(range(48))
    assert len({token for _, token in said}) == 48


def test_fork_of_the_host_takes_none_of_them_along(stage: Stage) -> None:
    stage.python(WHEN)
    warm(stage)
    before = init_processes()
    assert stage.call_in_a_fork() == 0
    assert before <= init_processes(), "they are the parent's still"
    assert prepared_before(stage)


HOST = """
import sys
import termios
from mpp_exec import Runtime
with Runtime(sys.argv[1]) as runtime:
    for _ in range(2):
        runtime.call("acme/echo")
    while not runtime._open().sandboxes.waiting:
        pass
    print("ready", flush=True)
    sys.stdin.read()
"""


def _left(stage: Stage, calls: int, answer: object) -> list[bool]:
    """Make *calls* in prepared sandboxes; return of each whether its end was left to the kernel."""
    lent: list[Parked | None] = []
    pool = stage.runtime._open().sandboxes
    take = pool._take

    def taken(recipe: Recipe) -> Parked | None:
        lent.append(take(recipe))
        return lent[-1]

    pool._take = taken  # type: ignore[method-assign]
    for _ in range(calls):
        assert until(lambda: waiting(stage) >= 1)
        assert stage.runtime.call(NAME).structured == {"result": answer}
    return [parked.is_leaving for parked in lent if parked is not None]


def test_answer_is_not_waited_for_until_all_is_freed_and_close_waits_for_that(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n")
    warm(stage)
    assert _left(stage, 5, 1) == [True] * 5
    stage.runtime.close()
    assert not [pid for pid in _inits() if _parent(pid) == os.getpid()]


def test_kernel_tells_by_the_score_whether_a_thread_has_the_memory_still() -> None:
    """What the end of a tool with threads is seen by: the score of one that lives, and of a dead one."""
    start = "threading.Thread(target=threading.Event().wait).start()"
    waits = f"import threading\nfor _ in range(4): {start}\nprint()"
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        score = Path(f"/proc/{process.pid}/oom_score")
        spared = int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) < 0
        assert spared or int(score.read_text()) >= 666
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert int(score.read_text()) == 0, "it is dead, and not reaped"


def test_tool_with_threads_leaves_as_one_without_does(stage: Stage) -> None:
    threads = "import threading\ndef run():\n    for _ in range(4):\n"
    stage.python(f"{threads}        threading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    warm(stage)
    assert _left(stage, 3, None) == [True] * 3
    stage.runtime.close()
    assert not [pid for pid in _inits() if _parent(pid) == os.getpid()]


SPINNING = """
import threading

def spin():
    while True:
        sum(range(1000))

def run():
    for _ in range(3):
        threading.Thread(target=spin, daemon=True).start()
    return 1
"""


def test_nothing_of_a_tool_runs_when_its_answer_is_handed_over(stage: Stage) -> None:
    """Its threads work on until they are killed, and its end is waited for last of all."""
    stage.python(SPINNING)
    warm(stage)
    for _ in range(5):
        assert until(lambda: len(init_processes()) == waiting(stage) == 1)
        (init,) = init_processes()
        tool = Path(f"/proc/{init}/task/{init}/children").read_text().strip()
        score = os.open(f"/proc/{tool}/oom_score", os.O_RDONLY | os.O_CLOEXEC)
        try:
            assert stage.runtime.call(NAME).structured == {"result": 1}
            with contextlib.suppress(ProcessLookupError):
                assert int(os.pread(score, 32, 0)) == 0
        finally:
            os.close(score)


def test_killed_host_leaves_none_of_them(stage: Stage) -> None:
    stage.python(WHEN)
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(stage.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"ready\n"
        inits = {pid for pid in _inits() if _parent(pid) == host.pid}
        assert inits
        host.kill()
    assert until(lambda: not inits & _inits())


def _inits() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text()
            except OSError:
                continue
            if name == "mpp-init\n":
                found.add(int(entry.name))
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


SERVER = "import os\nstarted = os.times().elapsed\n" + server(
    'say(id=name, result=text(json.dumps([started, params["arguments"], message["id"]])))'
)


def test_mcp_server_has_its_handshake_behind_it(stage: Stage) -> None:
    stage.server(SERVER)
    warm(stage)
    begun = os.times().elapsed
    result = stage.runtime.call(NAME, "run", {"word": "a"})
    started, arguments, number = json.loads(result.content[0]["text"])
    assert (arguments, number) == ({"word": "a"}, 3), "initialize, tools/list, the call"
    assert started < begun, "and was started before the call"


TALKER = """
import threading
def tell():
    for pause in (0.2, 2, 8):
        time.sleep(pause)
        say(method="notifications/tools/list_changed")
"""


def test_what_a_server_says_behind_its_handshake_is_heard_before_its_call(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers on the official TypeScript SDK do so, and are not thrown away for it."""
    monkeypatch.setattr(pool, "_LOOK_AFTER", 3600.0)
    place = '    if method == "notifications/initialized":\n'
    assert place in SERVER
    said = f"{place}        threading.Thread(target=tell, daemon=True).start()\n"
    stage.server(SERVER.replace(place, said).replace("started =", f"{TALKER}\nstarted =", 1))
    before = _unread()
    warm(stage)
    assert until(lambda: bool(_unread() - before)), "the server has spoken, and nobody has listened"
    begun = os.times().elapsed
    result = stage.runtime.call(NAME, "run", {"word": "a"})
    started, _, number = json.loads(result.content[0]["text"])
    assert (number, result.is_error) == (3, False)
    assert started < begun, "it had been started before the call"


def _unread() -> set[str]:
    """The pipes of this process in which something waits to be read."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("pipe:") and any(fcntl.ioctl(int(entry.name), termios.FIONREAD, bytes(4))):
                found.add(name)
    return found


def test_mcp_server_of_the_other_era_has_told_what_it_is(stage: Stage) -> None:
    stage.server(server('say(id=name, result=text(f"{name}"))', era=MODERN))
    warm(stage)
    assert stage.runtime.call(NAME).content[0]["text"] == "4", (
        "initialize, server/discover, tools/list, the call"
    )


METHODS = server(
    'say(id=name, result=text(json.dumps([each["method"] for each in seen]) + " " * 600_000))', listed=False
)
ASKED = ["initialize", "notifications/initialized", "tools/list", "tools/call"]


@pytest.mark.parametrize(
    "listing",
    [
        'say(id=name, error={"code": -32601, "message": "no such method"})',
        'say(method="notifications/tools/list_changed"); say(id=name, result={"tools": []})',
        'say(id=name, result={"tools": "x" * 600_000})',
        "pass",
        'sys.stdout.write(" "); sys.stdout.flush()',
    ],
    ids=["refused", "listed", "more than half of the output", "not answered", "half a line"],
)
def test_mcp_server_that_was_asked_for_its_tools_serves_whatever_it_said(stage: Stage, listing: str) -> None:
    place = '    if method == "tools/call":\n'
    assert place in METHODS
    stage.server(METHODS.replace(place, f'    if method == "tools/list":\n        {listing}\n{place}'))
    warm(stage)
    assert json.loads(stage.runtime.call(NAME).content[0]["text"]) == ASKED


def test_mcp_server_that_answers_its_rehearsal_in_its_call_is_not_believed(stage: Stage) -> None:
    answered = 'say(id=2, result=text("of the rehearsal")); say(id=name, result=text("of the call"))'
    stage.server(server(answered, listed=False))
    warm(stage)
    assert stage.runtime.call(NAME).content[0]["text"] == "of the call"


def test_mcp_server_that_is_to_be_granted_something_is_asked_nothing_before(stage: Stage) -> None:
    stage.server(METHODS, permissions=Permissions(storage=1 << 20))
    warm(stage)
    assert json.loads(stage.runtime.call(NAME).content[0]["text"]) == [
        each for each in ASKED if each != "tools/list"
    ]


@pytest.mark.parametrize(
    ("when", "misbehaviour"),
    [
        ("initialize", "say(id=7, result={})"),
        ("notifications/initialized", "say(id=3, result={})"),
        ("initialize", 'sys.stdout.write("x" * (2 << 20)); sys.stdout.flush()'),
        ("initialize", "sys.exit(0)"),
        ("initialize", "time.sleep(3600)"),
    ],
    ids=["another's id", "an answer nobody asked for", "flood", "end", "silence"],
)
def test_mcp_server_that_misbehaves_before_its_call_is_not_kept(
    stage: Stage, when: str, misbehaviour: str
) -> None:
    body = server('say(id=name, result=text("done"))')
    place = f'    if method == "{when}":\n'
    assert place in body
    stage.server(body.replace(place, f"{place}        {misbehaviour}\n"), limits=Limits(wall_ms=1500))
    with stage.runtime.preparer.prepared(NAME, "") as made:
        recipe = made.recipe
    parked = Parked(
        recipe.plan, constants=(), cache=CACHE, early_start=recipe.early_start, command=recipe.command
    )
    try:
        assert until(lambda: parked.look(20) == "ended")
    finally:
        parked.close()
